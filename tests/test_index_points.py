"""The index: exact points, shares of groups, domains, missing metrics by stated rules."""

from __future__ import annotations

from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from index_cases import GROUPS, index_spec, metric_row, perfect, types

from growth.errors import ColumnError, SpecError, TableError
from growth.index import LevelCuts, school_index
from growth.index.points import Cell, award, group_shares

THREE = ("redesignation", "chronic_absence", "suspension")
ACADEMIC = ("academic_performance", "growth")


def quality(group: str, level: int, metric: str = "suspension") -> Cell:
    return Cell("school_quality", metric, "", group, level)


def test_13_33_is_exactly_40_thirds_and_never_13_35() -> None:
    """Published reports showed 13.35 of 13.33 points: five rounded fifths (METHOD A, source 11)."""
    found = school_index(pl.DataFrame(perfect(*ACADEMIC, *THREE)), index_spec(), schools=types())
    points = found.points.filter(pl.col("metric") == "chronic_absence")
    assert points.height == 5
    assert round(sum(round(x, 2) for x in points["points"]), 2) == 13.35
    cells = [
        Cell("school_quality", metric, "", group, 10)
        for metric in THREE
        for group in (GROUPS if metric != "redesignation" else ("All",))
    ]
    exact = award(cells, index_spec())
    for metric in THREE:
        own = [p for p, cell in zip(exact.points, cells, strict=True) if cell.metric == metric]
        assert sum(own, Fraction(0)) == Fraction(40, 3)
    assert exact.domains["school_quality"] == 40
    assert found.exact[(2025, "A")] == 100
    assert found.index["index"].item() == 100.0
    assert found.index["school_quality"].item() == 40.0
    assert float(Fraction(40, 3)) == 40 / 3


@pytest.mark.parametrize("active", range(1, 12))
@pytest.mark.parametrize("all_share", ["equal", 0.5, 0.3])
def test_a_perfect_school_has_exactly_what_is_possible(active: int, all_share: float | str) -> None:
    names = [f"metric{i}" for i in range(active)]
    metrics = {name: {"domain": "school_quality"} for name in names}
    spec = index_spec(metrics=metrics, all_share=all_share, empty_domain="renormalise", min_metrics=1)
    cells = [Cell("school_quality", name, "", group, 10) for name in names for group in GROUPS]
    assert award(cells, spec).total == 100


def test_shares_are_equal_fifths_or_a_half_and_eighths() -> None:
    assert group_shares(index_spec(), "suspension") == dict.fromkeys(GROUPS, Fraction(1, 5))
    half = group_shares(index_spec(all_share=0.5), "suspension")
    assert half == {"All": Fraction(1, 2), **dict.fromkeys(GROUPS[1:], Fraction(1, 8))}
    decimal = group_shares(index_spec(all_share=0.3), "suspension")
    assert decimal == {"All": Fraction(3, 10), **dict.fromkeys(GROUPS[1:], Fraction(7, 40))}
    assert group_shares(index_spec(), "redesignation") == {"All": Fraction(1)}


@given(
    st.dictionaries(st.sampled_from(GROUPS), st.integers(1, 10), min_size=1), st.sampled_from(["equal", 0.5])
)
def test_shares_renormalise_over_reported_groups(levels: dict[str, int], all_share: float | str) -> None:
    spec = index_spec(all_share=all_share, empty_domain="renormalise")
    found = award([quality(group, level) for group, level in levels.items()], spec)
    assert sum(found.share) == 1
    assert sum(found.weight) == 100
    own = group_shares(spec, "suspension")
    whole = sum(own[group] for group in levels)
    assert found.total == sum(100 * own[g] / whole * Fraction(level, 10) for g, level in levels.items())


def test_a_case_done_by_hand() -> None:
    rows = [
        metric_row("growth", part="ELA", level=7),
        metric_row("growth", "EL", part="ELA", level=4),
        metric_row("growth", part="MATH", level=9),
        metric_row("academic_performance", value=35.0),  # level 4
        metric_row("suspension", value=8.0),  # 92 % not suspended: level 10
        metric_row("suspension", "SED", value=35.0),  # level 7
        metric_row("suspension", "EL", value=35.0, n=19),  # too few
    ]
    found = school_index(pl.DataFrame(rows), index_spec(), schools=types())
    # academic: 60 over two metrics; growth: 15 a subject, in ELA halves for all students and EL
    academic = Fraction(15, 2) * Fraction(7, 10) + Fraction(15, 2) * Fraction(4, 10) + 15 * Fraction(9, 10)
    academic += 30 * Fraction(4, 10)
    expected = academic + 20 * Fraction(10, 10) + 20 * Fraction(7, 10)
    assert found.exact[(2025, "A")] == expected
    row = found.index.row(0, named=True)
    assert (row["metrics"], row["applicable"], row["coverage"]) == (3, 3, 1.0)
    assert (row["academic_possible"], row["school_quality_possible"]) == (60.0, 40.0)
    total, part = float(expected), float(academic)
    assert row["sentence"] == (
        f"Index {total:.1f} of 100: academic {part:.1f} of 60, school quality 34.0 of 40, "
        "from 3 of 3 metrics."
    )
    hidden = found.points.filter((pl.col("metric") == "suspension") & (pl.col("group") == "EL"))
    assert hidden.select("n", "value", "points", "reason").row(0) == (None, None, None, "n_below_minimum")
    assert found.explain("A")[1].startswith(
        "academic performance, all students: 35.0 % of 50 students is level 4"
    )
    assert len(found.explain("A")) == 1 + found.points.height


def test_counts_that_tell_of_few_students_are_withheld() -> None:
    """All 60 minus 45 leaves 15: their rate would follow from the other two."""
    rows = [metric_row("suspension", value=10.0, n=60), metric_row("suspension", "SED", 8.0, n=45)]
    rows += [metric_row("suspension", "EL", 8.0, n=40), metric_row("growth", value=55.0)]
    points = school_index(pl.DataFrame(rows), index_spec(), schools=types()).points
    found = {row["group"]: row for row in points.filter(metric="suspension").iter_rows(named=True)}
    assert {group: found[group]["n"] for group in ("All", "SED", "EL")} == {"All": 60, "SED": None, "EL": 40}
    assert "suspension, SED: 8.0 % of its students (lower is better) is level 10" in found["SED"]["sentence"]


def test_sentences_name_the_next_level_and_what_chance_does() -> None:
    rows = [metric_row("climate", value=74.0, n=60), metric_row("growth", value=55.0)]
    rows += [metric_row("climate", f"race:{name}", v, n=30, se=5.0) for name, v in (("B", 70.0), ("W", 78.0))]
    points = school_index(pl.DataFrame(rows), index_spec(), schools=types()).points
    lowest = points.filter(group="race:lowest", metric="climate").row(0, named=True)
    by_chance = 74.0 - 5.0 / 3.141592653589793**0.5
    assert lowest["chance_expected"] == pytest.approx(by_chance)
    assert lowest["sentence"].endswith(
        f"; level 9 is +10.0 points away; if groups did not differ, the lowest would be expected at "
        f"{by_chance:.1f} %."
    )


def others(*metrics: str) -> list[dict[str, object]]:
    """Rows of a school B of the same type, which make metrics active."""
    return [metric_row(metric, school_id="B") for metric in metrics]


def test_missing_metrics_follow_the_stated_rules() -> None:
    rows = pl.DataFrame(
        [
            metric_row("growth"),
            metric_row("suspension", value=5.0),
            *others("growth", "suspension", "climate"),
        ]
    )
    schools = types(B="Elementary")
    found = school_index(rows, index_spec(), schools=schools)
    a = found.index.filter(pl.col("school_id") == "A").row(0, named=True)
    assert (a["index"], a["metrics"], a["applicable"], a["reason"]) == (100.0, 2, 3, None)
    assert a["sentence"].endswith("from 2 of 3 metrics. Without a result: climate.")
    strict = school_index(rows, index_spec(missing="no_index"), schools=schools).index
    assert strict["reason"].to_list() == ["metric_missing", None]
    assert strict["index"].to_list()[0] is None
    assert set(found.inactive) == set(index_spec().index.metrics) - {"growth", "suspension", "climate"}


def test_an_empty_domain_and_few_metrics_follow_the_stated_rules() -> None:
    rows = pl.DataFrame([metric_row("growth", value=55.0), metric_row("academic_performance", value=25.0)])
    assert school_index(rows, index_spec(), schools=types()).index["reason"].item() == "domain_empty"
    renormalised = index_spec(empty_domain="renormalise")
    assert school_index(rows, renormalised, schools=types()).index["index"].item() == 45.0
    few = school_index(rows[:1], renormalised, schools=types()).index
    assert few.select("index", "reason").row(0) == (None, "too_few_metrics")
    assert school_index(rows[:1], renormalised.replace({"index.min_metrics": 1}), schools=types()).index[
        "index"
    ].to_list() == [60.0]


def test_metrics_are_for_the_types_that_they_are_for() -> None:
    rows = [metric_row("growth"), metric_row("graduation"), metric_row("suspension")]
    rows += [row | {"school_id": "H"} for row in rows]
    found = school_index(pl.DataFrame(rows), index_spec(), schools=types(H="High"))
    assert found.index["applicable"].to_list() == [2, 3]
    assert found.ignored == 1
    weights = found.points.filter((pl.col("metric") == "growth") & (pl.col("group") == "All"))["possible"]
    assert weights.to_list() == [60.0, 30.0]


def test_a_school_without_any_result_is_listed_with_its_reason() -> None:
    rows = pl.DataFrame([metric_row("growth", n=3), metric_row("growth", n=30, school_id="B")])
    for kind in ("Elementary", "Middle"):
        found = school_index(rows, index_spec(), schools=types(B=kind))
        row = found.index.filter(pl.col("school_id") == "A").row(0, named=True)
        assert (row["index"], row["reason"]) == (None, "too_few_metrics")
        assert row["sentence"].startswith("No index: results in too few metrics.")


def test_expected_points_follow_expected_levels() -> None:
    rows = [metric_row("growth", level=7, expected_level=6.5), metric_row("suspension", value=0.0)]
    index = school_index(pl.DataFrame(rows), index_spec(), schools=types()).index
    assert index["expected_index"].item() == pytest.approx(60 * 0.65 + 40)
    assert index["index"].item() == 82.0


def test_changes_of_level_and_what_the_next_levels_need() -> None:
    rows = [
        metric_row("suspension", value=35.0, year=2024),
        metric_row("suspension", value=12.0),
        metric_row("climate", value=79.0),
        metric_row("growth", level=3),
    ]
    points = school_index(pl.DataFrame(rows), index_spec(), schools=types()).points.filter(
        pl.col("year") == 2025, pl.col("group") == "All"
    )
    by = {row["metric"]: row for row in points.iter_rows(named=True)}
    assert (by["suspension"]["level"], by["suspension"]["level_change"]) == (9, 2)
    needed = ("needed_1", "needed_2", "needed_3")
    assert [by["suspension"][name] for name in needed] == [pytest.approx(-2.0), None, None]
    assert [by["climate"][name] for name in needed] == [1.0, 11.0, None]
    assert [by["growth"][name] for name in needed] == [None] * 3
    assert by["growth"]["level_source"] == "given"


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_published_cuts_are_kept_in_the_units_they_were_published_in(better: str) -> None:
    points = [10.0, 20, 30, 40, 50, 60, 70, 80, 90]
    cuts = points if better == "higher" else points[::-1]
    metric = {"domain": "academic", "better": better, "cuts": {"MATH/Elementary": cuts, "all": [0.0] * 9}}
    spec = index_spec(metrics={"m": metric}, min_metrics=1, empty_domain="renormalise")
    rows = [
        metric_row("m", value=v, part="MATH", school_id=f"{i}")
        for i, v in enumerate([0.0, 10, 89.9, 90, 100])
    ]
    schools = pl.DataFrame({"school_id": list("01234"), "school_type": ["Elementary"] * 5})
    found = school_index(pl.DataFrame(rows), spec, schools=schools).points.filter(pl.col("group") == "All")
    assert found["level"].to_list() == ([1, 2, 9, 10, 10] if better == "higher" else [10, 10, 2, 2, 1])
    assert set(found["level_source"]) == {"published"}


def test_base_year_deciles_are_by_type_and_kept_for_later_years() -> None:
    names = [f"{i:02d}" for i in range(20)]
    base = [metric_row("suspension", value=float(i), school_id=s) for i, s in enumerate(names)]
    schools = pl.DataFrame({"school_id": names, "school_type": ["Elementary"] * 10 + ["Middle"] * 10})
    spec = index_spec(levels="base_deciles", empty_domain="renormalise", min_metrics=1)
    found = school_index(pl.DataFrame(base), spec, schools=schools)
    everyone = found.points.filter(pl.col("group") == "All")
    assert everyone["level"].to_list() == list(range(10, 0, -1)) * 2
    kept = LevelCuts.from_dict(found.cuts.to_dict())
    better = pl.DataFrame([row | {"year": 2026, "value": max(0.0, row["value"] - 3)} for row in base])
    later = school_index(better, spec, schools=schools, cuts=kept)
    assert later.index["index"].mean() > found.index["index"].mean()  # type: ignore[operator]
    moving = school_index(better, spec, schools=schools)
    assert moving.index["index"].tail(10).to_list() == found.index["index"].tail(10).to_list()
    with pytest.raises(SpecError, match="no cut points for climate in schools of type Middle"):
        school_index(pl.DataFrame([metric_row("climate", school_id="15")]), spec, schools=schools, cuts=kept)
    with pytest.raises(TableError, match="Deciles of suspension cannot be set: 9 schools of type"):
        school_index(pl.DataFrame(base[:9]), spec, schools=schools)


def test_types_follow_from_grades() -> None:
    grades = pl.DataFrame({"school_id": ["A", "A", "B", "B", "C"], "grade": [3, 5, 5, 8, 11]})
    rows = pl.DataFrame([metric_row("growth", school_id=s) for s in "ABC"])
    found = school_index(rows, index_spec(), schools=grades).index
    assert found["school_type"].to_list() == ["Elementary", "Middle", "High"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"metric": "grwth"}, TableError, "no metric 'grwth'; did you mean 'growth'"),
        ({"group": "ELL"}, TableError, "unknown groups"),
        ({"value": 101.0}, ColumnError, "'value' is impossible"),
        ({"level": 11}, ColumnError, "'level' is impossible"),
        ({"n": 3.5}, ColumnError, "'n' is impossible"),
        ({"school_id": "Z"}, TableError, "type of 1 schools"),
        ({"year": "soon"}, ColumnError, "'year' has values that cannot be read"),
    ],
)
def test_impossible_tables_are_refused(
    change: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        school_index(pl.DataFrame([metric_row("growth") | change]), index_spec(), schools=types())


def test_rows_are_there_once_and_columns_are_named() -> None:
    rows = pl.DataFrame([metric_row("growth")] * 2)
    with pytest.raises(TableError, match="do not identify a row"):
        school_index(rows, index_spec(), schools=types())
    with pytest.raises(ColumnError, match="'value' is missing"):
        school_index(rows[:1].drop("value"), index_spec(), schools=types())
    with pytest.raises(ColumnError, match="'school_type' is missing"):
        school_index(rows[:1], index_spec(), schools=pl.DataFrame({"school_id": ["A"]}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {}}, "at least one metric"),
        ({"metrics": {"a|b": {"domain": "academic"}}}, "may hold"),
        ({"metrics": {"a": {"domain": "academic"}}, "min_metrics": 1}, "no school would have an index"),
        ({"min_metrics": 10}, "more than the 9 metrics"),
        ({"academic_points": 100.0}, "would have no points"),
        ({"metrics.growth.cuts": {"all": [1.0] * 8}}, "must be 9 numbers"),
        ({"metrics.suspension.cuts": {"all": list(range(9))}}, "do not increase"),
        ({"school_types": {"High": 13, "Elementary": 6}}, "by increasing highest grade"),
        ({"definitions.favourable_from": 6}, "no answer would be favourable"),
        ({"definitions.graduation_years": [4, 4]}, "each given once"),
    ],
)
def test_contradictory_rules_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        index_spec(**changes)
