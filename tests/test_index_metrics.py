"""Metrics from plain records: definitions at their thresholds, who counts, groups, and known truth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from index_cases import index_spec, metric_row, types
from school_results import system

from growth import simulate_table
from growth.errors import ColumnError, TableError
from growth.index import (
    RECORDS,
    MetricResult,
    growth_metrics,
    level_cuts,
    level_table,
    school_index,
    together,
)
from growth.index.lowest import expected_maximum
from growth.index.metric_table import read_metrics
from growth.index.rates import METRIC_COLUMNS
from growth.panel.simulate import SimulatedRecords, simulate_records
from growth.panel.simulate.system import SimulatedSystem
from growth.school import school_growth
from growth.spec import GrowthSpec

PLAIN = {"groups.flags": {}, "groups.race": "", "index.min_n": 1}
INTEGRAL = 1e-6
"""Of expected maxima, relative to closed forms."""
STEP = 1e-3
"""The same where a group without spread makes a step of the integrand."""
FIVE_PERCENT = 0.10
"""Share of schools outside two standard errors that is taken for chance: 5 % expected of 100 schools, and
some more, because rates are not normal."""


def plain(**changes: object) -> GrowthSpec:
    """Return a specification without groups and with no smallest number of students."""
    return GrowthSpec().replace(PLAIN | {f"index.{key}": value for key, value in changes.items()})


def students(**columns: list[object]) -> pl.DataFrame:
    n = len(next(iter(columns.values())))
    base = {"student_id": [str(i) for i in range(n)], "year": [2025] * n, "school_id": ["A"] * n}
    return pl.DataFrame(base | columns, strict=False)


def value(result: MetricResult, part: str = "") -> tuple[int, float]:
    rows = result.frame.filter((pl.col("part") == part) & (pl.col("group") == "All"))
    return rows["n"].item(), rows["value"].item()


def excluded(result: MetricResult) -> dict[str, int]:
    return dict(result.counts.filter(pl.col("excluded") > 0).select("reason", "excluded").iter_rows())


def test_attendance_of_90_percent_is_chronic_absence() -> None:
    rows = students(days_enrolled=[180, 180, 10, 10, 0, 100], days_attended=[162, 163, 9, 10, 0, None])
    result = RECORDS["chronic_absence"](rows, plain())
    assert value(result) == (4, 50.0)
    assert excluded(result) == {"few_days_enrolled": 1, "attendance_unknown": 1}
    assert value(RECORDS["chronic_absence"](rows, plain(**{"definitions.min_days": 100}))) == (2, 50.0)


def ready(**changes: object) -> dict[str, object]:
    row = {
        "grade": 8,
        "gpa": 2.5,
        "days_enrolled": 100,
        "days_attended": 96,
        "ela_mark": "C-",
        "math_mark": "c",
    }
    return row | {"suspensions": 0} | changes


def test_readiness_for_high_school_at_each_threshold() -> None:
    cases = [
        ready(),
        ready(gpa=2.49),
        ready(days_attended=95),
        ready(ela_mark="D+"),
        ready(math_mark="F"),
        ready(suspensions=1),
        ready(gpa=None),
        ready(grade=7),
    ]
    rows = students(**{name: [case[name] for case in cases] for name in cases[0]})
    result = RECORDS["high_school_readiness"](rows, plain())
    assert value(result) == (6, pytest.approx(100 / 6))
    assert excluded(result) == {"other_grade": 1, "missing_indicator": 1}
    strict = RECORDS["high_school_readiness"](rows, plain(**{"definitions.readiness_missing": "not_ready"}))
    assert value(strict) == (7, pytest.approx(100 / 7))


def test_a_96_percent_attendance_is_exactly_96_percent() -> None:
    rows = students(**{name: [v] * 25 for name, v in ready(days_enrolled=175, days_attended=168).items()})
    rows = rows.with_columns(pl.Series("suspensions", [0] * 24 + [1]))
    assert value(RECORDS["high_school_readiness"](rows, plain())) == (25, 96.0)


def test_suspended_or_expelled_at_least_once() -> None:
    rows = students(suspensions=[0, 1, 3, 0, None], expulsions=[0, 0, 1, 1, 0])
    result = RECORDS["suspension"](rows, plain())
    assert value(result) == (4, 75.0)
    assert excluded(result) == {"suspensions_unknown": 1}
    assert value(RECORDS["suspension"](rows.drop("expulsions"), plain())) == (4, 50.0)


def test_redesignation_is_about_english_learners() -> None:
    rows = students(english_learner_start=[1, 1, 1, 0, None], redesignated=[1, 0, None, 1, 1])
    result = RECORDS["redesignation"](rows, plain())
    assert value(result) == (2, 50.0)
    assert excluded(result) == {"not_an_english_learner": 2, "redesignation_unknown": 1}


def test_cohort_graduation_rates_of_four_five_and_six_years() -> None:
    rows = pl.DataFrame(
        {
            "student_id": [str(i) for i in range(9)],
            "school_id": ["A"] * 9,
            "cohort_year": [2025, 2025, 2025, 2024, 2024, 2023, 2023, 2023, 2022],
            "graduated_year": [2025, None, None, 2024, 2025, 2023, 2025, None, 2022],
            "left_cohort": [0, 0, 1, 0, 0, 0, 0, 0, 0],
        }
    )
    result = RECORDS["graduation"](rows, plain())
    assert value(result, "4-year") == (2, 50.0)
    assert value(result, "5-year") == (2, 100.0)
    assert value(result, "6-year") == (3, pytest.approx(200 / 3))
    assert set(result.frame["year"]) == {2025}
    assert excluded(result) == {"left_cohort": 1}


def test_proficiency_by_levels_and_by_cut_scores() -> None:
    rows = students(
        subject=["MATH"] * 3 + ["ELA"],
        grade=[3, 3, 4, 4],
        score=[2436, 2435, 2485, None],
        achievement_level=[3, 2, 4, 3],
    )
    assert value(RECORDS["academic_performance"](rows, plain()), "MATH")[1] == pytest.approx(200 / 3)
    cuts = {"MATH": {3: 2436.0, 4: 2485.0}}
    by_score = RECORDS["academic_performance"](rows, plain(**{"definitions.proficient_scores": cuts}))
    assert value(by_score, "MATH") == (3, pytest.approx(200 / 3))
    assert excluded(by_score) == {"no_score": 1}
    lacking = plain(**{"definitions.proficient_scores": {"MATH": {3: 2436.0}}})
    with pytest.raises(ColumnError, match="no proficient score for MATH grade 4"):
        RECORDS["academic_performance"](rows, lacking)


def test_surveys_count_each_respondent_once() -> None:
    rows = pl.DataFrame(
        {
            "respondent_id": ["1", "1", "2", "2", "3", "3", "3", "4"],
            "respondent": ["students"] * 7 + ["staff"],
            "year": [2025] * 8,
            "school_id": ["A"] * 8,
            "item": ["a", "b", "a", "b", "a", "b", "c", "a"],
            "response": [4, 3, 5, 5, 1, None, None, 2],
        }
    )
    result = RECORDS["climate"](rows, plain())
    assert value(result, "students") == (2, 75.0)  # the third answered one of three items
    assert value(result, "staff") == (1, 0.0)
    assert excluded(result) == {"few_items_answered": 1}
    with pytest.raises(ColumnError, match="'response' is impossible"):
        RECORDS["climate"](rows.with_columns(pl.lit(6).alias("response")), plain())
    with pytest.raises(TableError, match="do not identify a row"):
        RECORDS["climate"](pl.concat([rows, rows]), plain())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"days_enrolled": [10]}, "'days_attended' is missing"),
        ({"days_enrolled": [10], "days_attended": [11]}, "Days of attendance are impossible"),
        ({"days_enrolled": ["soon"], "days_attended": [9]}, "'days_enrolled' has values that cannot be read"),
        ({"days_enrolled": [10.0], "days_attended": [float("inf")]}, "NaN or infinite"),
        ({"days_enrolled": [10], "days_attended": [9], "year": [None]}, "'year' has blanks"),
    ],
)
def test_records_are_checked_and_never_quoted(columns: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ColumnError, match=message) as caught:
        RECORDS["chronic_absence"](students(**columns), plain())
    assert "soon" not in str(caught.value)


def test_columns_of_groups_are_needed_and_students_are_there_once() -> None:
    rows = students(days_enrolled=[10, 10], days_attended=[9, 9])
    with pytest.raises(ColumnError, match="'english_learner' is missing"):
        RECORDS["chronic_absence"](rows, GrowthSpec())
    with pytest.raises(TableError, match="Rows affected: 2"):
        RECORDS["chronic_absence"](rows.with_columns(pl.lit("1").alias("student_id")), plain())


def in_races(sizes: dict[str, int], absent: dict[str, int], school: str = "A") -> pl.DataFrame:
    race = [name for name, n in sizes.items() for _ in range(n)]
    days = [90 if i < absent[name] else 100 for name, n in sizes.items() for i in range(n)]
    ids = [f"{school}{i}" for i in range(len(race))]
    return students(race_ethnicity=race, days_enrolled=[100] * len(race), days_attended=days).with_columns(
        pl.lit(school).alias("school_id"), pl.Series("student_id", ids)
    )


RACES = {"groups.flags": {}, "groups.race": "race_ethnicity"}


def test_the_lowest_group_is_the_one_with_most_absence_and_small_ones_do_not_compete() -> None:
    rows = in_races({"B": 40, "H": 60, "W": 19}, {"B": 12, "H": 6, "W": 19})
    result = RECORDS["chronic_absence"](rows, GrowthSpec().replace(RACES))
    by = {row["group"]: row for row in result.frame.iter_rows(named=True)}
    assert (by["race:lowest"]["group_detail"], by["race:lowest"]["value"]) == ("B", 30.0)
    assert by["race:W"]["reason"] == "n_below_minimum"
    assert by["race:W"]["numerator"] is None
    assert by["race:lowest"]["chance_expected"] > 18.0  # the mean of both groups: what chance adds is upward


def test_shrinkage_can_change_which_group_is_lowest_but_not_its_result() -> None:
    """A small group far out is drawn back further than a large one."""
    rng = np.random.default_rng(5)
    schools = [
        in_races(
            {"B": 200, "H": 20},
            {"B": int(60 + rng.integers(-6, 7)), "H": int(5 + rng.integers(-1, 2))},
            f"{i:02d}",
        )
        for i in range(30)
    ]
    odd = in_races({"B": 200, "H": 20}, {"B": 66, "H": 7}, "odd")
    rows = pl.concat([*schools, odd])
    lowest = {}
    for rule in ("raw", "shrunk"):
        spec = GrowthSpec().replace(RACES | {"index.select_on": rule})
        frame = RECORDS["chronic_absence"](rows, spec).frame.filter(pl.col("school_id") == "odd")
        lowest[rule] = frame.filter(pl.col("group") == "race:lowest").select("group_detail", "value").row(0)
    assert lowest == {"raw": ("H", 35.0), "shrunk": ("B", 33.0)}


def test_one_group_without_error_leaves_the_others_shrunken() -> None:
    rows = [
        metric_row("suspension", group, value, n=30) | {"school_id": f"{i:02d}", "se": se}
        for i in range(12)
        for group, value, se in (
            ("All", 5.0, 1.0),
            ("race:B", 5.0 + i % 2, 0.5),
            ("race:W", 6.0 + i % 2, 0.6),
        )
    ]
    rows[-2]["se"] = 0.0
    rows[1]["value"], rows[1]["se"] = 9.0, 3.0  # far out, and hardly known
    spec = GrowthSpec().replace(RACES | {"index.select_on": "shrunk"})
    lowest = read_metrics(pl.DataFrame(rows), spec).filter(group="race:lowest").sort("school_id")
    assert lowest["group_detail"].to_list()[:2] == ["W", "W"]


def test_expected_maximum_against_closed_forms() -> None:
    one = np.ones((1, 8))
    known = {2: 1 / np.sqrt(np.pi), 3: 1.5 / np.sqrt(np.pi), 4: 1.0293753730}
    for k, expected in known.items():
        assert expected_maximum(2.0 * one[:, :k])[0] == pytest.approx(2 * expected, rel=INTEGRAL)
    # two normals: sqrt((a^2 + b^2) / (2 pi)); those without spread or missing
    se = np.array([[3.0, 1.0, np.nan], [np.nan] * 3, [2.0, np.nan, np.nan]])
    expected = [np.sqrt(10 / (2 * np.pi)), 0.0, 0.0]
    np.testing.assert_allclose(expected_maximum(se), expected, rtol=INTEGRAL, atol=INTEGRAL)
    assert expected_maximum(np.array([[3.0, 0.0]]))[0] == pytest.approx(3 / np.sqrt(2 * np.pi), rel=STEP)


def test_four_equal_groups_of_20_lose_6_6_points_by_chance() -> None:
    """METHOD C13, with percentiles of SD 28.9."""
    assert expected_maximum(np.full((1, 4), 28.9 / np.sqrt(20)))[0] == pytest.approx(6.65, abs=0.02)


def test_growth_of_a_run_with_its_levels() -> None:
    spec = GrowthSpec()
    schools = school_growth(system(60, 6_000), spec).frame
    levels = level_table(schools, level_cuts(spec, schools))
    table = growth_metrics(schools, levels, spec)
    assert table.columns == list(METRIC_COLUMNS)
    own = levels.join(table, on=["year", "school_id", "group"], suffix="_table").filter(
        pl.col("reason_table").is_null()
    )
    assert own["level"].equals(own["level_table"], null_equal=True)
    assert own["growth_percentile"].to_list() == own["value"].to_list()
    chances = schools.with_columns(*(pl.lit(0.1).alias(f"p_level_{k}") for k in range(1, 11)))
    expected = growth_metrics(chances, levels, spec)["expected_level"].drop_nulls()
    assert len(expected)
    np.testing.assert_allclose(expected, 5.5)
    shrunk = growth_metrics(schools, levels, spec.replace({"index.select_on": "shrunk"}))
    assert shrunk.height == table.height
    with pytest.raises(ColumnError, match="'effect' is missing from the schools frame"):
        growth_metrics(schools.drop("effect"), levels, spec)


@pytest.fixture(scope="module")
def city() -> SimulatedSystem:
    return simulate_table(20_000, 100, years=1, seed=3)


@pytest.fixture(scope="module")
def records(city: SimulatedSystem) -> SimulatedRecords:
    return simulate_records(city)


def source(records: SimulatedRecords, metric: str) -> pl.DataFrame:
    own = {name: getattr(records, name) for name in ("graduation", "climate", "social_emotional")}
    return own.get(metric, records.students)


@pytest.mark.parametrize(
    "metric", ["chronic_absence", "suspension", "redesignation", "graduation", "climate"]
)
def test_rates_meet_the_truth_within_their_errors(records: SimulatedRecords, metric: str) -> None:
    found = RECORDS[metric](source(records, metric), GrowthSpec()).frame
    everyone = found.filter((pl.col("group") == "All") & pl.col("part").is_in(["", "4-year"]))
    joined = everyone.join(records.truth.filter(pl.col("metric") == metric), on=["year", "school_id"])
    joined = joined.drop_nulls("value").filter(pl.col("n") >= 50)
    outside = ((joined["value"] - 100 * joined["rate"]).abs() > 2 * joined["se"]).mean()
    assert joined.height > 10
    assert outside <= FIVE_PERCENT  # type: ignore[operator]


def test_records_become_an_index(city: SimulatedSystem, records: SimulatedRecords) -> None:
    spec = index_spec()
    names = [name for name in RECORDS if name != "academic_performance"]
    table = together([RECORDS[name](source(records, name), spec) for name in names])
    found = school_index(table.frame, spec.replace({"index.empty_domain": "renormalise"}), schools=city.table)
    assert found.index["index"].drop_nulls().len() > 90
    assert found.index["index"].drop_nulls().is_between(10, 100).all()
    assert set(found.inactive) == {"academic_performance", "growth"}
    for school, total in found.points.group_by("school_id").agg(pl.col("points").sum()).iter_rows():
        assert float(found.exact[(2025, school)]) == pytest.approx(total)
    again = simulate_records(city)
    assert again.students.equals(records.students)
    assert again.climate.equals(records.climate)


def test_kinds_of_frames_and_files(records: SimulatedRecords, tmp_path: object) -> None:
    frame = records.students.head(500)
    file = f"{tmp_path}/attendance.csv"
    frame.write_csv(file)

    def read(given: object) -> pl.DataFrame:
        return RECORDS["chronic_absence"](given, GrowthSpec()).frame

    expected = read(frame)
    for given in (frame.to_pandas(), frame.to_arrow(), frame.lazy(), file):
        assert read(given).equals(expected)


def test_lowest_groups_of_given_tables_are_chosen() -> None:
    rows = [metric_row("suspension", value=5.0, n=60)]
    rows += [metric_row("suspension", f"race:{name}", v, n=30) for name, v in (("B", 4.0), ("W", 6.0))]
    found = school_index(
        pl.DataFrame(rows), index_spec(empty_domain="renormalise", min_metrics=1), schools=types()
    )
    lowest = found.points.filter(pl.col("group") == "race:lowest").row(0, named=True)
    assert (lowest["group_detail"], lowest["value"]) == ("W", 6.0)
    with pytest.raises(ColumnError, match="'se' has blanks"):
        school_index(pl.DataFrame(rows), index_spec(select_on="shrunk"), schools=types())
