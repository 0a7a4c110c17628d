"""The variance between schools: against lme4, a slow grid, and truth in systems of few schools."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from growth._types import FloatArray, VarianceRule
from growth.school.posterior import Observed, Posterior, posterior_draws, shrunken
from growth.school.shrinkage import shrink
from growth.school.spread import Expected, Spread, spread

LME4 = 1e-6
"""lme4's optimiser stops at some 1e-8 of the optimum of a 1-D search (PROVENANCE.md)."""
GRID = 1e-4
"""Relative; the twin's grid has steps of 1/2000 of its range."""


def posterior_of(effect: FloatArray, se: FloatArray, rule: VarianceRule) -> Posterior:
    return shrunken(Observed(effect, se, Expected.alike(len(effect)), spread(effect, se, rule)))


def schools(seed: int, count: int, tau: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    rng = np.random.default_rng([seed, count])
    se = rng.uniform(2.0, 6.0, count)
    truth = 50.0 + tau * rng.standard_normal(count)
    return truth, truth + se * rng.standard_normal(count), se


@pytest.fixture(scope="module")
def lme4(repository: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    folder = repository / "fixtures" / "own" / "eblp"
    rule = pl.col("method") == "REML"
    return tuple(pl.read_csv(folder / f"lme4_{name}.csv").filter(rule) for name in ("varcomp", "blups"))  # type: ignore[return-value]


def test_reml_and_its_shrinkage_are_those_of_lme4(lme4: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    # At the joint maximum the between-school variance maximises the likelihood given the residual variance,
    # and the likelihood of students is that of their school means times what does not depend on it.
    components, blups = lme4
    assert components.height == 4
    for cell in components.iter_rows(named=True):
        rows = blups.filter(pl.col("block") == cell["block"])
        n, mean = rows["n"].to_numpy(), rows["mean"].to_numpy()
        se = np.sqrt(cell["var_resid"] / n)
        found = spread(mean, se, "reml")
        np.testing.assert_allclose(found.tau2_point, cell["var_school"], rtol=0, atol=LME4)
        np.testing.assert_allclose(found.mean, cell["intercept"], rtol=0, atol=LME4)
        posterior = posterior_of(mean, se, "reml")
        np.testing.assert_allclose(posterior.mean - found.mean, rows["blup"], rtol=0, atol=LME4)
        np.testing.assert_allclose(posterior.sd, rows["cond_sd"], rtol=0, atol=LME4)


def slow_log_density(tau: float, effect: FloatArray, se: FloatArray, x: FloatArray) -> float:
    v = np.diag(tau**2 + se**2)
    inside = np.linalg.inv(v)
    gram = x.T @ inside @ x
    p = inside - inside @ x @ np.linalg.inv(gram) @ x.T @ inside
    return -0.5 * float(np.linalg.slogdet(v)[1] + np.linalg.slogdet(gram)[1] + effect @ p @ effect)


@pytest.mark.parametrize("columns", [1, 2])
def test_posterior_is_that_of_a_slow_grid(columns: int) -> None:
    _, effect, se = schools(5, 12, 3.0)
    x = np.column_stack([np.ones(12), np.linspace(-1, 1, 12)])[:, :columns]
    expected = Expected(x, np.zeros(12))
    found = spread(effect, se, "integrated", expected)
    end = 5 * (effect.std(ddof=1) + np.sqrt(np.mean(se**2)))
    taus = (np.arange(2000) + 0.5) * end / 2000
    log = np.array([slow_log_density(tau, effect, se, x) for tau in taus])
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    mean, second = np.zeros(12), np.zeros(12)
    for tau, w in zip(taus, weight, strict=True):
        noise = np.diag(1 / se**2)
        # (beta, theta) jointly normal given tau: invert its precision.
        top = x.T @ x / tau**2
        precision = np.block([[top, -x.T / tau**2], [-x / tau**2, noise + np.eye(12) / tau**2]])
        cov = np.linalg.inv(precision)[columns:, :]
        m = cov @ np.concatenate([np.zeros(columns), effect / se**2])
        mean += w * m
        second += w * (np.diag(cov[:, columns:]) + (m - effect) ** 2)
    posterior = shrunken(Observed(effect, se, expected, found))
    np.testing.assert_allclose(posterior.mean, mean, GRID)
    np.testing.assert_allclose(posterior.sd, np.sqrt(second - (mean - effect) ** 2), 10 * GRID)
    median = taus[np.searchsorted(np.cumsum(weight), 0.5)]
    np.testing.assert_allclose(np.sqrt(found.tau2_point), median, 0.01)
    best = taus[np.argmax(log)]
    assert np.sqrt(spread(effect, se, "reml", expected).tau2_point) == pytest.approx(best, abs=end / 2000)


def test_draws_are_the_posterior_and_move_together() -> None:
    _, effect, se = schools(2, 12, 2.0)
    posterior = posterior_of(effect, se, "integrated")
    draws = posterior_draws(posterior, 40_000, np.random.default_rng(1))
    np.testing.assert_allclose(draws.mean(axis=0), posterior.mean, rtol=0, atol=0.06)
    np.testing.assert_allclose(draws.std(axis=0), posterior.sd, 0.02)
    # What is not known of the mean is common to all schools.
    assert np.corrcoef(draws.T)[np.triu_indices(12, 1)].mean() > 0.05
    known = posterior_draws(posterior_of(effect, se, "moments"), 40_000, np.random.default_rng(1))
    assert np.abs(np.corrcoef(known.T)[np.triu_indices(12, 1)]).max() < 0.03


def test_many_schools_leave_nothing_to_integrate() -> None:
    _, effect, se = schools(3, 4000, 4.0)
    found, reml = spread(effect, se, "integrated"), spread(effect, se, "reml")
    assert found.tau2_point == pytest.approx(reml.tau2_point, rel=0.01)
    assert found.interval[0] < 4.0 < found.interval[1]
    averaged, plug_in = (posterior_of(effect, se, rule) for rule in ("integrated", "reml"))
    np.testing.assert_allclose(averaged.mean, plug_in.mean, rtol=0, atol=0.01)
    np.testing.assert_allclose(averaged.sd, plug_in.sd, 0.01)


@pytest.mark.parametrize(("count", "tau"), [(30, 1.5), (15, 3.0)])
def test_few_schools_are_covered_by_integrating_and_not_otherwise(count: int, tau: float) -> None:
    inside = {rule: np.empty((200, count), np.bool_) for rule in ("moments", "integrated")}
    error = {rule: np.empty((200, count)) for rule in inside}
    for seed, rule in product(range(200), inside):
        truth, effect, se = schools(seed, count, tau)
        found = posterior_of(effect, se, rule)  # type: ignore[arg-type]
        error[rule][seed] = found.mean - truth
        inside[rule][seed] = np.abs(error[rule][seed]) <= 1.96 * found.sd
    # 3,000 or more intervals, dependent within a system: their Monte-Carlo SE is about a point.
    assert 0.925 < inside["integrated"].mean() < 0.98
    assert inside["moments"].mean() < 0.88
    assert np.mean(error["integrated"] ** 2) < 1.01 * np.mean(error["moments"] ** 2)


@pytest.mark.parametrize("rule", ["moments", "reml", "integrated"])
def test_shrunken_effects_beat_raw_ones_at_every_size_below_fifty(rule: VarianceRule) -> None:
    rng = np.random.default_rng(50)
    n = np.exp(rng.uniform(np.log(2), np.log(200), (60, 80)))
    truth = 50.0 + 6.0 * rng.standard_normal(n.shape)
    se = 28.0 / np.sqrt(n)
    effect = truth + se * rng.standard_normal(n.shape)
    shrunk = np.array([posterior_of(y, s, rule).mean for y, s in zip(effect, se, strict=True)])
    for low, high in ((2, 5), (5, 10), (10, 20), (20, 30), (30, 40), (40, 50)):
        here = (n >= low) & (n < high)
        assert here.sum() > 200
        assert np.mean((shrunk - truth)[here] ** 2) < 0.9 * np.mean((effect - truth)[here] ** 2)


def test_two_schools_and_equal_effects_have_a_posterior() -> None:
    for effect in (np.array([40.0, 60.0]), np.array([50.0, 50.0])):
        found: Spread = spread(effect, np.full(2, 5.0), "integrated")
        assert np.isfinite([found.tau2_point, *found.interval]).all()
        assert 0 < found.tau2_point < (5 * (20 + 5)) ** 2


def test_a_known_spread_is_the_formula_by_hand() -> None:
    effect, se = np.array([40.0, 50.0, 60.0]), np.full(3, 5.0)
    posterior = posterior_of(effect, se, "moments")
    mean, sd = shrink(effect, se, 50.0, 75.0)
    np.testing.assert_allclose(posterior.mean, mean, 1e-12)
    np.testing.assert_allclose(posterior.sd, sd, 1e-12)
