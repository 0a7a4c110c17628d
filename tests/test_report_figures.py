"""The page's charts in a notebook: the same numbers, the same suppression."""

from __future__ import annotations

import json
from typing import Any

import altair as alt
import polars as pl
import pytest
from report_system import CANARY, MadeRun, made_run

from growth.errors import GrowthError
from growth.release.published import shown_results
from growth.report import Figures, figures


@pytest.fixture(scope="module")
def run() -> MadeRun:
    return made_run(40, years=(2024, 2025))


@pytest.fixture(scope="module")
def charts(run: MadeRun) -> Figures:
    return figures(run)


def drawn(chart: alt.LayerChart) -> list[dict[str, Any]]:
    """Return the data of a chart."""
    return list(chart.to_dict()["datasets"]["rows"])


def shown(run: MadeRun, name: str = "schools", year: int = 2025) -> pl.DataFrame:
    told = shown_results(run.polars("schools"), run.spec).filter("shown")
    rows = run.polars(name).join(told, on=["year", "subject", "group", "school_id"], how="semi")
    rows = rows.filter(pl.col("reason").is_null(), year=year, subject="MATH")
    return rows.sort("growth_percentile", "school_id")


def test_schools_are_those_of_the_run_and_none_that_is_withheld(run: MadeRun, charts: Figures) -> None:
    schools = shown(run).filter(group="All")
    for chart in (charts.ranks("MATH"), charts.achievement("MATH", chosen="S0030")):
        rows = sorted(drawn(chart), key=lambda row: (row["gp"], row["id"]))
        assert [row["id"] for row in rows] == schools["school_id"].to_list()
        assert [row["gp"] for row in rows] == schools["growth_percentile"].to_list()
        assert min(row["n"] for row in rows) >= 20
    before = drawn(charts.ranks("MATH", 2024))
    assert [row["id"] for row in before] != [row["id"] for row in drawn(charts.ranks("MATH"))]


def test_levels_and_changes_count_schools(run: MadeRun, charts: Figures) -> None:
    levels = shown(run, "levels")
    cells = drawn(charts.levels("MATH"))
    assert sum(int(cell["shown"] or 0) for cell in cells) == levels.height
    learners = [int(cell["shown"] or 0) for cell in cells if cell["group"] == "English learners"]
    own = levels.filter(group="EL")["level"].to_list()
    assert learners == [own.count(level) for level in range(1, 11)]
    moved = levels.filter(group="All").drop_nulls("level_last_year")
    grid = {(c["last"], c["level"]): int(c["shown"] or 0) for c in drawn(charts.changes("MATH"))}
    pairs = moved.select("level_last_year", "level").rows()
    assert grid == {cell: pairs.count(cell) for cell in grid}
    assert sum(grid.values()) == moved.height > 20


def test_one_school(run: MadeRun, charts: Figures) -> None:
    row = shown(run).row(
        by_predicate=(pl.col("school_id") == "S0030") & (pl.col("group") == "All"), named=True
    )
    chances = drawn(charts.chances("S0030", "MATH"))
    assert [cell["p"] for cell in chances] == [round(100 * row[f"p_level_{i}"]) for i in range(1, 11)]
    assert [cell["level"] for cell in chances if cell["own"]] == [int(row["growth_percentile"] // 10) + 1]
    assert [cell["year"] for cell in drawn(charts.years("S0030", "MATH"))] == [2024, 2025]
    with pytest.raises(GrowthError, match="no result with probabilities"):
        charts.chances("S0001", "MATH")


def test_what_is_not_there_is_named(charts: Figures) -> None:
    with pytest.raises(GrowthError, match=r"no subject 'MATHS'; did you mean 'MATH'"):
        charts.ranks("MATHS")
    with pytest.raises(GrowthError, match="2024, 2025, not of 2023"):
        charts.levels("MATH", 2023)
    with pytest.raises(GrowthError, match="level of the year before"):
        charts.changes("MATH", 2024)
    assert repr(charts) == "Figures(ELA, MATH; 2024, 2025; 39 schools)"


def test_charts_stand_on_their_own(charts: Figures) -> None:
    vl_convert = pytest.importorskip("vl_convert", reason="charts need the extra: report")
    for chart in (charts.ranks("MATH", chosen="S0030"), charts.waterfall(), charts.changes("ELA")):
        spec = chart.to_dict()
        text = json.dumps(spec)
        assert "var(--" not in text
        assert CANARY not in text
        assert vl_convert.vegalite_to_svg(spec).count("<path") > 10
