"""The whole street against known truth: students' percentiles, schools' intervals and rank bands."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import growth
from growth.panel.simulate import simulate_cohort

SEEDS = range(6)
STUDENTS = 20_000
STUDENT_ERROR = 1.5
"""Largest mean absolute error of students' percentiles [percentile points] (issue 2)."""
COVERAGE = (0.92, 0.97)
"""Share of 95 % intervals that hold the true school mean (issue 2)."""
BAND_COVERAGE = (0.93, 0.98)
"""Bands are posterior quantiles of ranks on a grid of 100 schools: coarser than intervals."""

SPEC = growth.GrowthSpec.from_dict(
    {"name": "truth", "groups": {"flags": {}, "race": "", "lowest_race": False}}
)


@pytest.fixture(
    scope="module",
    params=[{"n_schools": 100}, {"n_schools": 200, "intake_sd": 0.4}],
    ids=["even", "segregated"],
)
def results(request: pytest.FixtureRequest) -> tuple[list[float], pl.DataFrame]:
    """Return per seed the students' error, and all schools with their true mean and rank."""
    errors, schools = [], []
    for seed in SEEDS:
        cohort = simulate_cohort(STUDENTS, seed=seed, **request.param)
        table = cohort.table()
        run = growth.run(table, SPEC)
        students = run.polars("students").filter(pl.col("status") == "scored").sort("student_id")
        errors.append(float(np.abs(students["percentile"].to_numpy() - cohort.percentile).mean()) * 100)
        truth = pl.DataFrame({"school_id": table["school_id"].drop_nulls().unique().sort()}).with_columns(
            true_mean=pl.Series(np.asarray(cohort.school_mean))
        )
        found = run.polars("schools").filter(pl.col("group") == "All", pl.col("reason").is_null())
        schools.append(
            found.join(truth, on="school_id").with_columns(
                true_rank=100 * (pl.col("true_mean").rank() - 0.5) / pl.len(),
            )
        )
    return errors, pl.concat(schools)


def test_students_are_placed_where_they_belong(results: tuple[list[float], pl.DataFrame]) -> None:
    assert max(results[0]) < STUDENT_ERROR


@pytest.mark.parametrize(("value", "error"), [("effect", "effect_se"), ("shrunk", "shrunk_se")])
def test_intervals_of_schools_cover(
    results: tuple[list[float], pl.DataFrame], value: str, error: str
) -> None:
    schools = results[1]
    inside = (schools[value] - schools["true_mean"]).abs() <= 1.96 * schools[error]
    assert COVERAGE[0] <= inside.mean() <= COVERAGE[1]


def test_rank_bands_cover(results: tuple[list[float], pl.DataFrame]) -> None:
    rank = pl.col("true_rank").is_between("growth_percentile_low", "growth_percentile_high")
    covered = results[1].select(rank.mean()).item()
    assert BAND_COVERAGE[0] <= covered <= BAND_COVERAGE[1]


def test_shrinkage_helps(results: tuple[list[float], pl.DataFrame]) -> None:
    schools = results[1]
    raw, shrunk = (float(((schools[c] - schools["true_mean"]) ** 2).mean()) for c in ("effect", "shrunk"))
    assert shrunk < raw
