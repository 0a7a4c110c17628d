"""Groups shrunk towards their own schools, and the R package's shrinkage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from school_results import plain_spec, results
from scipy.special import ndtr

from growth._types import FloatArray
from growth.errors import SpecError
from growth.school import school_growth
from growth.school.shrinkage import sgp_constant, sgp_shrink
from growth.spec import GrowthSpec

SYSTEMS = 25
SCHOOLS = 80
SD = 28.0
"""About that of percentiles."""


def students_of(
    seed: int, correlation: float, *, everyone: bool = False
) -> tuple[pl.DataFrame, FloatArray, FloatArray]:
    """Return students with flags, and true group effects and group sizes of schools.

    Results are normal around their school's effect, well inside 0-100. Groups have 4 to 60 students, the rest
    0 to 300; with `everyone`, some schools have nobody else.
    """
    rng = np.random.default_rng([77, seed])
    shared = rng.standard_normal(SCHOOLS)
    own = correlation * shared + np.sqrt(1 - correlation**2) * rng.standard_normal(SCHOOLS)
    truth = 46.0 + 5.0 * own
    in_group = np.exp(rng.uniform(np.log(4), np.log(60), SCHOOLS)).astype(np.int64)
    rest = np.exp(rng.uniform(np.log(10), np.log(300), SCHOOLS)).astype(np.int64)
    if everyone:
        rest[: SCHOOLS // 4] = 0
    school = np.concatenate([np.repeat(np.arange(SCHOOLS), size) for size in (in_group, rest)])
    flag = np.arange(len(school)) < in_group.sum()
    mean = np.where(flag, truth[school], 52.0 + 6.0 * shared[school])
    value = np.clip(mean + 10.0 * rng.standard_normal(len(school)), 0.5, 99.5) / 100
    return results(value, school, english_learner=flag), truth, in_group.astype(np.float64)


def spec_of(towards: str, **changes: object) -> GrowthSpec:
    asked: dict[str, object] = {
        "groups__flags": {"EL": "english_learner"},
        "groups__min_n": 1,
        "groups__shrink_towards": towards,
        "school__shrinkage": "empirical_bayes",
    }
    return plain_spec(**(asked | changes))


def of_group(students: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    return school_growth(students, spec).frame.filter(pl.col("group") == "EL").sort("school_id")


@pytest.mark.parametrize(("correlation", "everyone"), [(0.8, False), (0.8, True), (0.0, False)])
def test_shrinking_to_the_own_school_is_more_accurate_and_still_covers(
    correlation: float, everyone: bool
) -> None:
    errors: dict[str, list[FloatArray]] = {"raw": [], "group": [], "school": []}
    inside: list[FloatArray] = []
    sizes: list[FloatArray] = []
    for seed in range(SYSTEMS):
        students, truth, size = students_of(seed, correlation, everyone=everyone)
        for towards in ("group", "school"):
            frame = of_group(students, spec_of(towards))
            errors[towards].append(frame["shrunk"].to_numpy() - truth)
        errors["raw"].append(frame["effect"].to_numpy() - truth)
        inside.append(np.abs(errors["school"][-1]) <= 1.96 * frame["shrunk_se"].to_numpy())
        sizes.append(size)
    mse = {name: np.concatenate(values) ** 2 for name, values in errors.items()}
    n = np.concatenate(sizes)
    # 2,000 intervals: a Monte-Carlo SE of 0.5 points, more as those of a system share a line.
    assert 0.93 < np.mean(inside) < 0.97
    for low, high in ((4, 10), (10, 20), (20, 35), (35, 50)):
        here = (n >= low) & (n < high)
        assert mse["school"][here].mean() < mse["raw"][here].mean()
        bound = 0.9 if correlation and high <= 35 and not everyone else 1.03
        assert mse["school"][here].mean() < bound * mse["group"][here].mean()


def test_a_group_that_is_the_whole_school_keeps_to_its_own_numbers() -> None:
    students, _, _ = students_of(1, 0.8, everyone=True)
    growth = school_growth(students, spec_of("school"))
    wide = growth.frame.pivot("group", index="school_id", values="effect").sort("school_id")
    whole = wide.head(SCHOOLS // 4)
    np.testing.assert_allclose(whole["EL"], whole["All"], 1e-12)
    assert growth.frame.filter(pl.col("group") == "EL")["shrunk"].null_count() == 0
    variance = growth.variance.filter(pl.col("group") == "EL").row(0, named=True)
    assert variance["source"] == "own"
    assert 3.5**2 < variance["tau2"] < 7.0**2  # 5 squared, line and scatter together


def test_a_group_in_few_schools_is_shrunk_as_before() -> None:
    students, _, _ = students_of(2, 0.8)
    few = students.with_columns(english_learner=pl.col("english_learner") & (pl.col("school_id") < "0009"))
    ours, plain = (of_group(few, spec_of(towards)) for towards in ("school", "group"))
    assert ours.equals(plain)


@pytest.mark.parametrize("rule", ["moments", "reml", "integrated"])
def test_rests_without_spread_draw_no_line(rule: str) -> None:
    students, _, _ = students_of(3, 0.8)
    same = students.with_columns(
        percentile=pl.when("english_learner")
        .then("percentile")
        .otherwise(0.5 + 0.1 * (pl.int_range(pl.len()).over("school_id") % 2) - 0.05)
    )
    even = same.filter(pl.col("english_learner") | (pl.int_range(pl.len()).over("school_id") < 10**6))
    frame = of_group(even, spec_of("school", school__variance=rule))
    assert frame["shrunk"].is_finite().all()
    assert frame["shrunk_se"].is_finite().all()


@pytest.mark.parametrize("shrinkage", ["none", "sgp"])
def test_what_does_not_shrink_cannot_shrink_towards_schools(shrinkage: str) -> None:
    with pytest.raises(SpecError, match="shrink_towards"):
        spec_of("school", school__shrinkage=shrinkage)


def shrunk_by_package(table: pl.DataFrame, effect: str, se: str) -> FloatArray:
    medians, errors = (table[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in (effect, se))
    return sgp_shrink(medians, errors, sgp_constant(medians, errors))


@pytest.mark.parametrize(("name", "rows"), [("school_summary", 60), ("school_grade_summary", 180)])
def test_own_summaries_are_shrunk_as_by_the_package(repository: Path, name: str, rows: int) -> None:
    table = pl.read_csv(repository / "fixtures" / "own" / f"{name}.csv")
    want = table["median_shrunk"].cast(pl.Float64)
    assert want.drop_nulls().len() == rows
    np.testing.assert_array_equal(
        shrunk_by_package(table, "median_sgp", "median_se"), want.fill_null(np.nan).to_numpy()
    )


@pytest.mark.parametrize(
    # The stored tables are parts of the package's, which c was computed from: one c must explain all rows.
    ("name", "constant", "rows"),
    [("school_summary", 232.0, 123), ("school_grade_summary", 258.0, 328)],
)
def test_golden_summaries_are_shrunk_as_by_the_package(
    golden: Path, name: str, constant: float, rows: int
) -> None:
    columns = ("MEDIAN_SGP", "MEDIAN_SGP_STANDARD_ERROR", "MEDIAN_SGP_with_SHRINKAGE")
    table = pl.read_parquet(golden / f"{name}.parquet").filter(pl.col(columns[2]).is_not_null())
    median, se, want = (table[column].to_numpy() for column in columns)
    assert len(want) == rows
    np.testing.assert_array_equal(sgp_shrink(median, se, constant), want)


def test_the_package_rule_in_a_run_of_schools(repository: Path) -> None:
    rng = np.random.default_rng(5)
    school = rng.integers(0, 30, 900)
    z = rng.standard_normal(900) + 0.4 * rng.standard_normal(30)[school]
    students = results(ndtr(z / np.hypot(1, 0.4)), school)
    changes: dict[str, Any] = {
        "school__shrinkage": "sgp",
        "school__percentile": "integer",
        "school__aggregate": "median",
        "school__standard_error": "sgp",
        "school__min_n": 10,
    }
    frame = school_growth(students, plain_spec(**changes)).frame
    want = shrunk_by_package(frame, "median_percentile", "median_se")
    np.testing.assert_array_equal(frame["shrunk"], want)
    assert frame["shrunk_se"].null_count() == frame["growth_percentile_low"].null_count() == frame.height
    assert frame["growth_percentile"].null_count() == frame["shrunk"].null_count() == 0
    assert frame.sort("shrunk")["growth_percentile"].is_sorted()


def test_the_package_rule_without_variance_moves_all_to_the_middle() -> None:
    assert sgp_constant(np.array([50.0, 50.0, np.nan]), np.array([3.0, 4.0, 5.0])) == 0.0
    assert sgp_constant(np.array([50.0]), np.array([3.0])) == 0.0
    np.testing.assert_array_equal(
        sgp_shrink(np.array([30.0, np.nan]), np.array([5.0, 5.0]), 0.0), [50.0, np.nan]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"school__aggregate": "mean_residual"},
        {"school__growth_percentile": "normal"},
    ],
)
def test_the_package_rule_is_for_percentiles(changes: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="sgp"):
        plain_spec(school__shrinkage="sgp", **changes)
