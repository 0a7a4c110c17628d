"""Index points and partner schools on the page: how they add up, and what they must not tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from browser import browser_path, open_tab
from report_system import MadeRun, made_run

from growth.index import SchoolIndex, growth_metrics, school_index
from growth.release.published import shown_results
from growth.report import IndexTables, PairTables, render_report, write_report
from growth.report.points import PageIndex, page_index, page_pairs

CLOSE = 1e-9
ROUNDED = 0.02
"""Two numbers of two decimals each."""
GROUPS = ("All", "EL", "SWD", "SED")


@pytest.fixture(scope="module")
def run() -> MadeRun:
    return made_run(40)


@pytest.fixture(scope="module")
def found(run: MadeRun) -> SchoolIndex:
    """Return an index of growth and two made-up metrics; school S9999 has no growth results."""
    counts = run.polars("schools").filter(pl.col("group").is_in(GROUPS), subject="MATH")
    rng = np.random.default_rng(0)
    parts = []
    for metric in ("climate", "academic_performance"):
        values = pl.Series("value", rng.uniform(20, 90, counts.height))
        rows = counts.select("year", "school_id", "group", "n").with_columns(values)
        other = rows.head(4).with_columns(
            pl.lit("S9999").alias("school_id"), pl.Series("group", GROUPS), pl.lit(60, pl.Int64).alias("n")
        )
        parts.append(pl.concat([rows, other]).with_columns(pl.lit(metric).alias("metric")))
    table = pl.concat(parts).with_columns(pl.lit("").alias("part"))
    growth = growth_metrics(run.polars("schools"), run.polars("levels"), run.spec)
    ids = table["school_id"].unique().sort()
    types = pl.DataFrame({"school_id": ids, "school_type": ["Elementary"] * len(ids)})
    return school_index(pl.concat([table, growth], how="diagonal"), run.spec, schools=types)


@pytest.fixture(scope="module")
def shown(found: SchoolIndex, run: MadeRun) -> PageIndex:
    return page_index(found, run.polars("schools"), run.spec)


@pytest.fixture(scope="module")
def pairs(run: MadeRun) -> PairTables:
    """Return two pairs, one with a school that is not shown, and a school that stays alone."""
    rows = pl.DataFrame(
        {
            "school_id": ["S0010", "S0001"],
            "partner_id": ["S0020", "S0021"],
            "kept": [False, True],
            "rank": [2, 1],
            "candidates": [7, 9],
            "level": [2.5, 3.0],
            "partner_level": [8.0, 9.0],
            "probability": [0.97, 0.5],
            "needs": [3, 0],
            "needs_met": [2 / 3, None],
            "sentence": ["S0010 has 40 students", ""],
        }
    )
    alone = pl.DataFrame({"school_id": ["S0030", "S0002"], "reason": ["capacity", "capacity"]})
    return PairTables(rows, alone)


def embedded(page: str) -> dict[str, Any]:
    return dict(json.loads(page.split('id="data">', 1)[1].split("</script>", 1)[0]))


def test_points_of_lines_add_up_to_the_index(shown: PageIndex, found: SchoolIndex) -> None:
    sums = shown.lines.group_by("school_id").agg(pl.col("points", "possible").sum())
    both = shown.schools.drop_nulls("index").join(sums, on="school_id")
    assert both.height > 30
    assert (both["index"] - both["points"]).abs().max() < CLOSE  # type: ignore[operator]
    assert (both["possible"] - 100).abs().max() < CLOSE  # type: ignore[operator]
    divided = shown.cells.drop_nulls("points").group_by("school_id", "metric", "part")
    whole = divided.agg(pl.col("points").sum().alias("sum"))
    lines = shown.lines.join(whole, on=["school_id", "metric", "part"])
    assert lines.height == shown.lines["divided"].sum() > 10
    assert (lines["sum"] - lines["points"]).abs().max() < CLOSE  # type: ignore[operator]
    assert found.index.height == shown.schools.height


def test_withheld_groups_have_no_level_and_no_remainder(
    shown: PageIndex, found: SchoolIndex, run: MadeRun
) -> None:
    told = shown_results(run.polars("schools"), run.spec)
    hidden = told.filter(~pl.col("shown")).select("school_id", "group").unique()
    assert shown.cells.join(hidden, on=["school_id", "group"]).is_empty()
    assert shown.cells["group"].n_unique() == 5
    reported = found.points.filter(pl.col("reason").is_null() & (pl.col("n") >= 20))
    lost = reported.join(hidden, on=["school_id", "group"], how="semi")
    assert lost.height > 10
    place = ["school_id", "metric", "part"]
    assert shown.lines.join(lost, on=place, how="semi")["divided"].sum() == 0
    undivided = shown.lines.filter(~pl.col("divided"))
    assert undivided.height > 10
    assert shown.cells.join(undivided, on=place, how="semi")["points"].count() == 0


def test_a_lowest_group_is_withheld_with_its_race(shown: PageIndex, run: MadeRun) -> None:
    told = shown_results(run.polars("schools"), run.spec)
    hidden = told.filter(~pl.col("shown")).select("school_id", pl.col("group").str.strip_prefix("race:"))
    lowest = shown.cells.filter(group="race:lowest")
    assert lowest.height > 10
    named = lowest.select("school_id", pl.col("group_detail").alias("group"))
    assert named.join(hidden, on=["school_id", "group"]).is_empty()


def test_pairs_are_of_schools_that_are_shown(pairs: PairTables) -> None:
    rows, alone = page_pairs(pairs, pl.Series(["S0010", "S0020", "S0021", "S0030"]))
    assert rows.select("school_id", "partner_id").rows() == [("S0010", "S0020")]
    assert "sentence" not in rows.columns
    assert alone["school_id"].to_list() == ["S0030"]


def test_the_page_carries_no_number_of_students_of_a_metric(
    run: MadeRun, found: SchoolIndex, pairs: PairTables
) -> None:
    data = embedded(render_report(run, index=found, pairs=pairs))
    assert data["schools"]["id"][-1] == "S9999"
    assert set(data["index"]) == {
        *("year", "metrics", "parts", "groups", "types", "school", "type", "index", "academic"),
        *("academic_possible", "school_quality", "school_quality_possible", "with", "of", "reason", "lines"),
    }
    assert set(data["index"]["lines"]) == {
        *("school", "domain", "metric", "part", "points", "possible", "groups")
    }
    assert len(data["pairs"]["school"]) == 1
    plain = embedded(render_report(run))
    assert plain["index"] is None
    assert plain["pairs"]["school"] == []


def test_the_page_shows_how_points_add_up(
    run: MadeRun, found: SchoolIndex, pairs: PairTables, tmp_path: Path
) -> None:
    tables = IndexTables(found.index, found.points)
    page = write_report(run, tmp_path / "report.html", index=tables, pairs=pairs)
    row = found.index.row(by_predicate=pl.col("school_id") == "S0010", named=True)
    with open_tab(browser_path(), tmp_path / "profile") as tab:
        tab.open(page, "#school=S0010")
        text = tab.do("document.querySelector('#school .index').innerText")
        assert f"Index {row['index']:.1f} of 100: academic {row['academic']:.1f} of 60" in text
        numbers = tab.do(
            "[...document.querySelectorAll('.points-table tr:not(.itself) td:nth-last-child(2)')].slice()"
            ".map(cell => Number(cell.textContent))"
        )
        assert sum(numbers) == pytest.approx(row["index"], abs=ROUNDED * len(numbers))
        text = tab.do("document.querySelector('#school .pairs').innerText")
        assert "is the partner of this school (average level 2.5)" in text
        assert "with a probability of 97%" in text
        assert "number 2 of 7 schools" in text
        assert "strong in 2 of 3 areas" in text
        tab.do("document.querySelector('#school .pairs p a').click()")
        tab.wait("location.hash === '#school=S0020'")
        tab.wait("document.querySelector('#school .pairs')?.innerText.includes('This school helps')")
        tab.open(page, "#school=S0030")
        text = tab.do("document.querySelector('#school .pairs').innerText")
        assert "all its candidates help others" in text
        tab.open(page, "#school=S9999")
        assert "No students with a result" in tab.do("document.querySelector('#school').innerText")
        tab.open(page, "#index")
        first = "Number(document.querySelector('#index-table tbody td.big').textContent)"
        high = tab.do(first)
        tab.do("document.querySelectorAll('#index-table thead button')[2].click()")
        assert tab.do(first) < high
        tab.wait("document.querySelector('.chart.index').dataset.drawn")
        assert tab.complaints == []
