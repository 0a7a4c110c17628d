"""Every engine from the table to the page: the same frames, the same account, its own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import spearmanr

import growth
from growth._types import FloatArray
from growth.errors import CohortError, GrowthWarning, SpecError
from growth.pipeline import FRAMES, GrowthRun
from growth.report import render_report, report_input
from growth.spec import GrowthSpec

CORE = GrowthSpec.preset("core").replace({"peers.composition": "none"})
"""Not in two steps, which the engine `eiv` does not take; twelve schools are too few for it anyway."""
ENGINES: dict[str, dict[str, Any]] = {
    "normal": {"student.engine": "normal"},
    "eiv": {"student.engine": "eiv", "measurement.csem": "column"},
    "residual_gain": {"student.engine": "residual_gain", "student.prior_terms": "quadratic"},
}
FACTS = {
    "normal": {"outside_knots", "residual_sd", "r2", "skewness", "excess_kurtosis"},
    "eiv": {"residual_sd", "r2", "prior_slope", "prior_slope_se", "least_reliability", "capped_columns"},
    "residual_gain": {"residual_sd", "r2", "prior_slope", "prior_slope_se"},
}
OF_CURVES = {"crossing_share", "max_relative_gap", "pivots", "fallbacks"}
SENTENCES = {
    "normal": "on a normal curve with this average and spread",
    "eiv": "corrected for the error of measurement in the earlier scores",
    "residual_gain": "predicted from the earlier scores and their squares by least squares",
}
CENTRE = 0.005
"""Mean percentile of a subject around .5; ranks average .5 exactly in every cohort, normal scores nearly."""


@pytest.fixture(scope="module", params=ENGINES)
def run(request: pytest.FixtureRequest, city_file: Path) -> GrowthRun:
    return growth.run(city_file, CORE.replace(ENGINES[request.param]))


def test_frames_have_the_columns_of_the_quantile_engine(run: GrowthRun, city_run: GrowthRun) -> None:
    for name in FRAMES:
        found, expected = (
            one.polars(name).drop("csem", "composition_se", strict=False).schema for one in (run, city_run)
        )
        assert found == expected, name
    same = ["student_id", "subject", "status", "cohort", "n_priors", "norm_group", "highest"]
    assert_frame_equal(run.students.select(same), city_run.students.select(same))
    assert_frame_equal(run.counts, city_run.counts)


def test_students_have_percentiles_expected_scores_and_residuals(run: GrowthRun, city_run: GrowthRun) -> None:
    scored = run.students.filter(status="scored")
    assert scored["sgp"].is_between(1, 99).all()
    assert scored["percentile"].is_between(0, 1, closed="none").all()
    assert scored["residual"].is_finite().all()
    np.testing.assert_allclose(scored["residual"], scored["score"] - scored["expected_score"], atol=1e-9)
    means = scored.group_by("subject").agg(pl.col("percentile").mean())["percentile"]
    np.testing.assert_allclose(means, 0.5, atol=CENTRE)
    curves = city_run.students.filter(status="scored")
    for found in ("percentile", "expected_score", "residual"):
        assert spearmanr(scored[found], curves[found]).statistic > 0.9, found


def test_schools_come_out_much_the_same(run: GrowthRun, city_run: GrowthRun) -> None:
    keys = ["school_id", "subject", "group"]
    both = run.schools.filter(group="All").join(city_run.schools, on=keys, suffix="_curves")
    assert spearmanr(both["mean_percentile"], both["mean_percentile_curves"]).statistic > 0.8
    assert run.levels["level"].drop_nulls().is_between(1, 10).all()


def test_cells_hold_what_the_engine_knows(run: GrowthRun, city_run: GrowthRun) -> None:
    engine = run.spec.student.engine
    assert set(run.cells["engine"]) == {engine}
    facts = set().union(*FACTS.values()) | OF_CURVES
    known = {name for name in facts if run.cells[name].null_count() < run.cells.height}
    assert known == FACTS[engine]
    assert run.cells["r2"].is_between(0.3, 1).all()
    assert (run.cells["p"] >= 2).all()
    assert set(city_run.cells["engine"]) == {"quantile"}
    assert {"r2", "least_reliability"} <= {c.name for c in city_run.cells if c.null_count() == len(c)}


def test_removing_the_error_makes_prior_scores_count_for_more(city_file: Path) -> None:
    """With one prior and no more, in every cohort by the inverse of its reliability."""
    few = {"cohorts.other_priors": 0, "peers.flags": []}
    plain, exact = (
        growth.run(city_file, CORE.replace(few | ENGINES[name] | {"student.prior_terms": "linear"})).cells
        for name in ("residual_gain", "eiv")
    )
    gain = exact["prior_slope"] / plain["prior_slope"]
    np.testing.assert_allclose(gain, 1 / exact["least_reliability"], rtol=1e-6)
    assert gain.is_between(1.02, 1.25).all()
    assert exact["prior_slope_se"].is_between(0, 0.1, closed="right").all()


def test_manifest_and_headline_claim_no_certificate(run: GrowthRun) -> None:
    assert run.manifest["certificates"]["largest_relative_gap"] is None
    assert run.manifest["certificates"]["cohorts"] == run.cells.height
    assert f"engine {run.spec.student.engine}" in repr(run)
    assert "optimality" not in repr(run)


def test_the_page_tells_the_engine(run: GrowthRun) -> None:
    page = render_report(report_input(run))
    assert SENTENCES[run.spec.student.engine] in " ".join(page.split())
    assert "were fitted by least squares" in page
    assert "dual certificate" not in page
    assert "quantile regression" not in page


def test_threads_change_nothing(run: GrowthRun, city_file: Path) -> None:
    again = growth.run(city_file, run.spec, n_jobs=2)
    for name in FRAMES:
        left, right = (one.polars(name).drop("seconds", strict=False) for one in (run, again))
        assert_frame_equal(left, right, check_exact=True)


def test_a_function_gives_what_the_column_gives(city_file: Path) -> None:
    table = pl.read_csv(city_file, schema_overrides={"student_id": pl.String, "school_id": pl.String})
    lines = table.drop_nulls("score").group_by("subject", "grade", "score").agg(pl.col("csem").first())
    known = dict(lines.sort("score").group_by("subject", "grade", maintain_order=True))

    def csem(score: FloatArray, subject: str, grade: int, year: int) -> FloatArray:
        part = known[subject, grade]
        return np.interp(score, part["score"].to_numpy(), part["csem"].to_numpy())

    column = CORE.replace({"student.engine": "eiv", "measurement.csem": "column"})
    function = column.replace({"measurement.csem": "function"})
    found = growth.run(table, function, csem=csem).students
    assert_frame_equal(found.drop("csem"), growth.run(table, column).students.drop("csem"))
    with pytest.raises(SpecError, match="the argument csem is missing"):
        growth.run(table, function)


def test_too_much_error_ends_the_run_or_is_said_on_the_page(city_file: Path) -> None:
    table = pl.read_csv(city_file, schema_overrides={"student_id": pl.String, "school_id": pl.String})
    table = table.with_columns(csem=60.0)
    spec = CORE.replace({"student.engine": "eiv", "measurement.csem": "column"})
    with pytest.raises(CohortError, match="Removing the measurement error leaves too little"):
        growth.run(table, spec)
    with pytest.warns(GrowthWarning, match="Results may stay partly biased"):
        partial = growth.run(table, spec.replace({"student.not_definite": "partial"}))
    few = partial.cells.filter(pl.col("capped_columns") > 0)
    assert few.height > 0
    assert (few["least_reliability"] < 0.05).all()
    assert f"In {few.height} of them only a part" in render_report(report_input(partial))


def test_other_priors_and_percentile_kinds(city_file: Path) -> None:
    """The sgp preset's choices downstream of the engine hold for any engine."""
    spec = GrowthSpec.preset("sgp").replace({"student.engine": "residual_gain", "cohorts.min_cohort": 50})
    found = growth.run(city_file, spec)
    assert found.students.filter(status="scored")["sgp"].is_between(1, 99).all()
    assert found.schools["median_percentile"].drop_nulls().is_between(1, 99).all()
