"""Published systems as presets: each runs on the small city as it is, and does what it stands for."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtr
from scipy.stats import rankdata

import growth
from growth import GrowthRun
from growth.errors import GrowthWarning
from growth.report import render_report, report_input
from growth.spec import GrowthSpec
from growth.spec.model import PRESETS

CITY = Path(__file__).parents[1] / "fixtures" / "small_city.csv"
REPLICATES = 4
"""Of SIMEX, instead of 50: enough to see what it does."""
DEGREES = 0.01
"""Cohort SDs may count degrees of freedom [SDs]."""
SAME = 1e-8
"""Two ways to one least-squares solution [scale-score points]."""


@cache
def run(preset: str) -> GrowthRun:
    with warnings.catch_warnings():
        # twelve schools and six school means: the vendor's model says what it could not remove
        warnings.filterwarnings("ignore", "(?s).*only a part of the measurement error", GrowthWarning)
        spec = GrowthSpec.preset(preset)
        return growth.run(
            CITY, spec.replace({"simex.replicates": REPLICATES}) if preset == "georgia" else spec
        )


@cache
def scored(preset: str) -> pl.DataFrame:
    """Return the results of ELA in grade 5 of students with a full set of prior scores, and these scores."""
    table = pl.read_csv(CITY, schema_overrides={"student_id": pl.String, "school_id": pl.String})
    earlier = table.filter(pl.col("year") < 2025).with_columns(
        test=pl.concat_str("subject", pl.col("year") - 2000, separator="_")
    )
    earlier = earlier.pivot("test", index="student_id", values="score")
    students = run(preset).students.filter(status="scored", subject="ELA", grade=5)
    fullest = students.filter(pl.col("n_priors") == pl.col("n_priors").max())
    return fullest.join(earlier, on="student_id").sort("student_id")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_system_runs_from_table_to_page(preset: str) -> None:
    result = run(preset)
    everyone = result.schools.filter(group="All").drop_nulls("growth_percentile")
    assert everyone.group_by("subject").len()["len"].min() >= 10, "all twelve, but for the two high schools"
    assert (everyone["n"] >= result.spec.school.min_n).all()
    assert everyone["growth_percentile"].is_between(0, 100).all()
    assert result.levels["level"].drop_nulls().is_between(1, 10).all()
    scored = result.students.filter(status="scored")
    assert scored.height > 3_000
    assert scored["sgp"].is_between(1, 99).all()
    page = render_report(report_input(result))
    assert "their % quantiles" not in page


def test_systems_disagree_about_schools_and_agree_about_most_students() -> None:
    tables = [run(preset).students.filter(status="scored") for preset in PRESETS]
    at = PRESETS.index("georgia")
    tables[at] = tables[at].with_columns(percentile="percentile_simex_ranked")
    keys = ["student_id", "subject"]
    both = tables[0].select(*keys, "percentile")
    for number, table in enumerate(tables[1:]):
        both = both.join(table.select(*keys, pl.col("percentile").alias(f"p{number}")), on=keys)
    found = np.corrcoef(both.drop(keys).to_numpy().T)
    assert found.min() > 0.75
    assert found[np.triu_indices(len(found), 1)].max() < 0.999


def test_georgia_corrects_what_the_r_package_computes() -> None:
    georgia, sgp = (run(preset).students.filter(status="scored") for preset in ("georgia", "sgp"))
    both = georgia.join(sgp, on=["student_id", "subject"], suffix="_r").filter(
        pl.col("n_priors") == pl.col("n_priors_r")
    )
    assert both.height == georgia.height
    assert (both["sgp"] == both["sgp_r"]).all(), "up to two priors there are no more in this table"
    assert (both["sgp_simex_ranked"] != both["sgp"]).mean() > 0.5
    schools = run("georgia").schools.filter(group="All").drop_nulls("mean_percentile")
    mean = georgia.group_by("school_id", "subject").agg(mean=100 * pl.mean("percentile_simex_ranked"))
    found = schools.join(mean, on=["school_id", "subject"])
    np.testing.assert_allclose(found["mean_percentile"], found["mean"], atol=SAME)


def test_california_is_least_squares_on_both_priors() -> None:
    rows = scored("california")
    x = rows.select(pl.lit(1.0), "ELA_24", "MATH_24").to_numpy()
    y = rows["score"].to_numpy()
    residual = y - x @ np.linalg.lstsq(x, y)[0]
    np.testing.assert_allclose(rows["residual"], residual, atol=1e3 * SAME)
    np.testing.assert_allclose(rows["percentile"], (rankdata(residual.round(6)) - 0.5) / len(y), atol=SAME)
    spec = run("california").spec
    assert not spec.peers.flags
    assert set(run("california").students.filter(status="scored")["grade"]) == {4, 5, 6, 7, 8}
    assert (run("california").students.filter(status="scored")["n_priors"] == 2).all()
    assert spec.school.min_n == 11
    students = run("california").students.filter(status="scored")
    cohort = students.group_by("cohort").agg(sd=(pl.col("residual") ** 2).mean() ** 0.5)
    scaled = (
        students.join(cohort, on="cohort")
        .group_by("school_id", "subject")
        .agg(mean=(pl.col("residual") / pl.col("sd")).mean())
    )
    schools = run("california").schools.filter(group="All").drop_nulls("effect")
    found = schools.join(scaled, on=["school_id", "subject"])
    np.testing.assert_allclose(found["effect"], found["mean"], atol=DEGREES)


def test_new_york_is_linear_normal_theory() -> None:
    rows = scored("new_york")
    flags = ["english_learner", "disability", "econ_disadvantaged"]
    priors = ["ELA_24", "ELA_23", "MATH_24"]
    x = rows.select(pl.lit(1.0), *priors, *(pl.col(flag).cast(pl.Float64) for flag in flags)).to_numpy()
    y = rows["score"].to_numpy()
    fitted = x @ np.linalg.lstsq(x, y)[0]
    np.testing.assert_allclose(rows["expected_score"], fitted, atol=1e3 * SAME)
    flat = ndtr((y - fitted) / (y - fitted).std())
    assert np.corrcoef(flat, rows["percentile"])[0, 1] > 0.99
    spec = run("new_york").spec
    assert (spec.cohorts.own_priors, spec.cohorts.other_priors, spec.peers.flags) == (3, 1, tuple(flags))


def test_the_vendor_corrects_for_error_and_takes_composition_in_one_step() -> None:
    result = run("core_vendor")
    assert set(result.cells["engine"]) == {"eiv"}
    assert (result.cells["least_reliability"] < 1).all()
    assert (result.cells["p"] == 1 + result.cells["n_priors"] + 5 + 6).all()
    flags = result.fairness.filter("in_model")
    assert (flags["adjusted"] - 50).abs().max() < 3
    core, vendor = GrowthSpec.preset("core"), result.spec
    assert vendor.replace({"cohorts.orders": "nested"}).cohorts == core.cohorts
    assert vendor.peers.flags == core.peers.flags
    for choice in ("shrinkage", "growth_percentile", "min_n"):
        assert getattr(vendor.school, choice) == getattr(core.school, choice)
    assert vendor.school.aggregate == "mean_residual"


def test_residuals_are_scaled_by_their_whole_cohort() -> None:
    """Also where a cohort's results are reported of the few who have no fuller pattern of priors."""
    nested = {"cohorts.orders": "nested", "cohorts.min_cohort": 0, "groups.race": "", "groups.flags": {}}
    spec = GrowthSpec.preset("california").replace(nested)
    run = growth.run(CITY, spec)
    students = run.polars("students").filter(pl.col("status") == "scored")
    spread = (
        run.polars("cells")
        .select("cohort", "n")
        .join(
            students.group_by("cohort").agg(pl.len().alias("reported"), pl.col("residual_sd").n_unique()),
            on="cohort",
        )
    )
    assert (spread["residual_sd"] == 1).all()
    assert (spread["reported"] < spread["n"]).any(), "some cohorts report few of their students"
