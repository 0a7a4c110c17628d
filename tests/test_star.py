"""Real data through the one call: Tennessee STAR, kindergarten to grade 3."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import kstest, rankdata
from star import star_table

import growth
from growth.spec import GrowthSpec

UNIFORM = 0.005
"""A fit makes percentiles uniform by construction; heaped scores leave small steps."""
COHORT_MEAN = 0.5
"""Mean percentile of a cohort of 4,000, in points around 50; sampling noise does not enter it."""
GAP = 1e-9
SPEC = GrowthSpec.from_dict(
    {
        "name": "star",
        "cohorts": {"years": "all", "own_priors": 1, "other_priors": 1, "min_cohort": 300},
        "groups": {"flags": {"SED": "econ_disadvantaged"}},
    }
)


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return star_table()


@pytest.fixture(scope="module")
def result(table: pl.DataFrame) -> growth.GrowthRun:
    return growth.run(table, SPEC)


@pytest.fixture(scope="module")
def scored(result: growth.GrowthRun) -> pl.DataFrame:
    return result.students.filter(pl.col("status") == "scored")


def test_the_table_has_the_published_size(table: pl.DataFrame) -> None:
    assert table["student_id"].n_unique() == 11_598
    assert table.drop_nulls("score").height == 48_875
    assert not table.select("student_id", "year", "subject").is_duplicated().any()
    pairs = table.select("student_id", "subject", year=pl.col("year") + 1, prior="score")
    both = table.join(pairs, on=["student_id", "subject", "year"]).drop_nulls(["score", "prior"])
    assert both.group_by("grade", "subject").len()["len"].is_between(4_000, 4_800).all()


def test_every_row_is_accounted_for(table: pl.DataFrame, result: growth.GrowthRun) -> None:
    counts = result.counts
    assert counts["rows"][0] == table.height
    in_scope = table.filter(pl.col("grade") > 0)
    assert result.students.height == in_scope.height
    status = dict(result.students["status"].value_counts().iter_rows())
    assert status["no_current_score"] == in_scope["score"].null_count()
    per_cell = counts.filter(pl.col("step") == "scored")
    assert per_cell["rows"].sum() == status["scored"]


def test_scores_and_only_scores_have_percentiles(result: growth.GrowthRun, scored: pl.DataFrame) -> None:
    assert scored["sgp"].is_between(1, 99).all()
    assert scored["percentile"].is_between(0, 1, closed="none").all()
    others = result.students.filter(pl.col("status") != "scored")
    assert others["percentile"].is_null().all()
    assert others["sgp"].is_null().all()


def test_percentiles_are_uniform(scored: pl.DataFrame) -> None:
    assert kstest(scored["percentile"].to_numpy(), "uniform").statistic < UNIFORM
    cohorts = scored.group_by("subject", "year").agg(pl.mean("percentile"), pl.len())
    assert cohorts.height == 6
    assert (100 * cohorts["percentile"] - 50).abs().max() < COHORT_MEAN


def test_percentiles_do_not_depend_on_the_prior(table: pl.DataFrame, scored: pl.DataFrame) -> None:
    prior = table.select("student_id", "subject", year=pl.col("year") + 1, prior="score")
    both = scored.join(prior, on=["student_id", "subject", "year"])
    assert both.height == scored.height
    third = pl.col("prior").rank().over("subject", "year") * 3 // (pl.len().over("subject", "year") + 1)
    means = both.with_columns(third=third).group_by("subject", "year", "third").agg(pl.mean("percentile"))
    assert (100 * means["percentile"] - 50).abs().max() < 2


def test_percentiles_agree_with_ranked_regression_residuals(
    table: pl.DataFrame, scored: pl.DataFrame
) -> None:
    prior = table.select("student_id", "subject", year=pl.col("year") + 1, prior="score")
    wide = prior.pivot("subject", index=["student_id", "year"], values="prior")
    part = scored.filter(pl.col("subject") == "READ", pl.col("year") == 1988, pl.col("n_priors") == 2)
    part = part.join(wide, on=["student_id", "year"])
    x = part.select(pl.lit(1.0), "READ", "MATH").to_numpy()
    y = part["score"].to_numpy()
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    assert np.corrcoef(rankdata(residual), part["percentile"].to_numpy())[0, 1] > 0.97


def test_every_fit_is_certified(result: growth.GrowthRun) -> None:
    cells = result.cells
    assert cells.height == 3 * 2 * 2
    assert cells["max_relative_gap"].max() <= GAP
    assert cells["crossing_share"].is_between(0, 0.2).all()


def test_schools_are_ranked(result: growth.GrowthRun, scored: pl.DataFrame) -> None:
    everyone = result.schools.filter(pl.col("group") == "All")
    shown = everyone.filter(pl.col("reason").is_null())
    assert shown.group_by("year", "subject").len()["len"].is_between(70, 80).all()
    assert everyone["n"].sum() == scored.height
    assert (shown["n"] >= SPEC.school.min_n).all()
    assert shown["growth_percentile"].is_between(0, 100).all()
    assert (shown["growth_percentile_low"] <= shown["growth_percentile"]).all()
    assert (shown["growth_percentile"] <= shown["growth_percentile_high"]).all()
    ranks = shown.sort("year", "subject", "shrunk").group_by("year", "subject", maintain_order=True)
    for _, cell in ranks:
        assert cell["growth_percentile"].is_sorted()
    centres = shown.group_by("year", "subject").agg(pl.mean("growth_percentile"))
    assert (centres["growth_percentile"] - 50).abs().max() < 1


def test_small_groups_are_withheld(result: growth.GrowthRun) -> None:
    small = result.schools.filter(pl.col("n") < SPEC.groups.min_n)
    assert small.height > 0
    assert small["growth_percentile"].is_null().all()
    assert (small["reason"] == "n_below_minimum").all()


def test_levels_follow_the_school_percentile(result: growth.GrowthRun) -> None:
    levels = result.levels.drop_nulls("level")
    expected = (levels["growth_percentile"] // 10 + 1).clip(1, 10).cast(pl.Int8)
    assert (levels["level"] == expected).all()
