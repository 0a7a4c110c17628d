"""Bands know of the error of what composition took out: truth, closed formula, slow twin."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from school_results import plain_spec, system

from growth import GrowthSpec
from growth._types import FloatArray
from growth.school import school_growth
from growth.school.beside import composition_errors
from growth.school.estimate import noise_left
from growth.school.inputs import school_inputs
from growth.school.posterior import Observed, posterior_draws, shrunken
from growth.school.spread import Expected, known_spread, spread
from growth.student.composition import school_line

SCHOOLS, TRAITS = 60, 6
TWO_STEP = {"peers.composition": "two_step"}


def _system(seed: int, tau: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return effects freed from traits, SEs, the errors of what was taken out, and true effects [points]."""
    rng = np.random.default_rng([9, seed])
    n = rng.integers(20, 200, SCHOOLS)
    traits = rng.standard_normal((SCHOOLS, TRAITS))
    truth = tau * rng.standard_normal(SCHOOLS)
    seen = truth + traits @ rng.standard_normal(TRAITS) + 28.0 * rng.standard_normal(SCHOOLS) / np.sqrt(n)
    # school_line wants SDs of students within schools: 28 points
    line = school_line(seen / 28.0, traits, n)
    error = 28.0 * np.sqrt(np.einsum("jk,kl,jl->j", traits, line.covariance, traits))
    return seen - 28.0 * traits @ line.slopes, 28.0 / np.sqrt(n), error, truth


@pytest.mark.parametrize("tau", [3.0, 8.0])
def test_intervals_cover_true_effects_only_if_they_know_of_the_line(tau: float) -> None:
    inside: dict[bool, list[FloatArray]] = {True: [], False: []}
    for seed in range(150):
        effect, se, error, truth = _system(seed, tau)
        for knows, found in inside.items():
            composed = error if knows else None
            between = spread(effect, noise_left(se, composed), "integrated")
            posterior = shrunken(Observed(effect, se, Expected.alike(SCHOOLS), between, composed))
            found.append(np.abs(posterior.mean - truth) <= 1.96 * posterior.sd)
    assert 0.94 < np.mean(inside[True]) < 0.97
    assert np.mean(inside[False]) < 0.935


def test_variance_is_that_of_best_linear_prediction_with_estimated_slopes() -> None:
    """Slow twin: mixed-model equations (Henderson 1975) solved densely, flat prior on slopes and mean."""
    rng = np.random.default_rng(3)
    n, traits = rng.integers(5, 80, 12), rng.standard_normal((12, 2))
    tau2, noise = 0.03, 1.0 / n
    effect = rng.standard_normal(12)
    design = np.column_stack([np.ones(12), traits])
    inverse = np.diag(1.0 / noise)
    whole = np.block(
        [[design.T @ inverse @ design, design.T @ inverse], [inverse @ design, inverse + np.eye(12) / tau2]]
    )
    covariance = np.linalg.inv(whole)
    solution = covariance @ np.concatenate([design.T @ inverse @ effect, inverse @ effect])
    # in the same terms: free the effects from the line, shrink what is left, add the line's error
    weight = 1.0 / (tau2 + noise)
    of_line = np.linalg.inv(design.T @ (design * weight[:, None]))
    slopes = of_line @ design.T @ (weight * effect)
    error = np.sqrt(np.einsum("jk,kl,jl->j", design, of_line, design))
    rest = effect - design @ slopes
    alone = known_spread(0.0, tau2)
    found = shrunken(Observed(rest, np.sqrt(noise), Expected.alike(12), alone, error))
    np.testing.assert_allclose(found.mean, solution[3:], atol=1e-12)
    np.testing.assert_allclose(found.sd**2, np.diag(covariance)[3:], rtol=1e-10)
    draws = posterior_draws(found, 40_000, np.random.default_rng(1))
    np.testing.assert_allclose(draws.std(axis=0), found.sd, rtol=0.02)


def test_covariance_of_slopes_is_that_of_repeated_systems() -> None:
    found, stated = [], []
    for seed in range(400):
        rng = np.random.default_rng([2, seed])
        n, traits = rng.integers(10, 60, 80), np.random.default_rng(1).standard_normal((80, 2))
        traits[:, 1] = 0.8 * traits[:, 0] + 0.6 * traits[:, 1]
        effect = 0.2 * rng.standard_normal(80) + rng.standard_normal(80) / np.sqrt(n)
        line = school_line(effect, traits, n)
        found.append(line.slopes)
        stated.append(line.covariance)
    np.testing.assert_allclose(np.cov(np.array(found).T), np.mean(stated, axis=0), rtol=0.2)


def _with_errors(frame: pl.DataFrame) -> pl.DataFrame:
    se = pl.when(pl.col("school_id") < "0030").then(12.0).otherwise(None)
    return frame.with_columns(composition_se=se, residual_sd=pl.lit(40.0))


@pytest.mark.parametrize(
    ("changes", "per_point"),
    [
        ({}, 50 / np.sqrt(np.pi) / 40),
        ({"school.aggregate": "median"}, 100 / np.sqrt(2 * np.pi) / 40),
    ],
)
def test_errors_are_on_the_scale_of_effects(changes: dict[str, object], per_point: float) -> None:
    students = _with_errors(system())
    spec = plain_spec().replace({**TWO_STEP, **changes})
    inputs = school_inputs(students, spec)
    errors = composition_errors(inputs, spec)
    assert errors is not None
    units = inputs.placement.units.with_columns(error=pl.Series(errors))
    for row in units.iter_rows(named=True):
        counted = students.filter(
            pl.col("status") == "scored",
            pl.col("highest"),
            school_id=row["school_id"],
            subject=row["subject"],
            year=row["year"],
        )
        mean = (counted["composition_se"].fill_null(0.0).mean() or 0.0) * per_point
        assert row["error"] == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("sd", [0.0, None])
def test_a_cohort_whose_residuals_do_not_vary_adds_nothing(sd: float | None) -> None:
    spec = plain_spec().replace(TWO_STEP)
    students = _with_errors(system()).with_columns(residual_sd=pl.lit(sd, dtype=pl.Float64))
    errors = composition_errors(school_inputs(students, spec), spec)
    assert errors is not None
    assert not errors.any()


def test_bands_widen_and_means_hardly_move() -> None:
    spec = plain_spec().replace({**TWO_STEP, "school.shrinkage": GrowthSpec().school.shrinkage})
    known, unknown = school_growth(_with_errors(system()), spec), school_growth(system(), spec)
    moved = (known.frame["shrunk"] - unknown.frame["shrunk"]).to_numpy()
    assert np.nanmax(np.abs(moved)) < 1.0  # the variance between schools is somewhat larger
    wider = (known.frame["shrunk_se"] - unknown.frame["shrunk_se"]).to_numpy()
    some = known.frame["school_id"].to_numpy() < "0030"
    shown = known.frame["reason"].is_null().to_numpy()
    assert np.all(wider[some & shown] > 0.5)
    assert np.all(np.abs(wider[~some & shown]) < 0.2)
    refit = spec.replace({"school.standard_error": "refit"})
    assert composition_errors(school_inputs(_with_errors(system()), refit), refit) is None
    none = GrowthSpec()
    assert composition_errors(school_inputs(_with_errors(system()), none), none) is None
