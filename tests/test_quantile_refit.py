"""Warm refits are exact and equal fits from scratch; floors and far tiles do not disturb the walk."""

from __future__ import annotations

import numpy as np
import problems
import pytest

from growth._types import FloatArray
from growth.errors import SpecError
from growth.quantile import QuantileProcess, SplineBasis, fit_quantiles, spline_design

TAUS = (np.arange(1, 41) - 0.5) / 40
GAP = 1e-9


def _cohort(n: int, seed: int) -> tuple[FloatArray, FloatArray, SplineBasis]:
    rng = np.random.default_rng(seed)
    prior = 2500.0 + 80.0 * rng.standard_normal(n)
    score = 2500.0 + 0.8 * (prior - 2500.0) + 45.0 * rng.standard_normal(n)
    return prior, score, SplineBasis.from_scores(prior)


def _assert_same(warm: QuantileProcess, cold: QuantileProcess) -> None:
    np.testing.assert_array_equal(warm.coef, cold.coef)
    np.testing.assert_array_equal(warm.basis, cold.basis)
    assert warm.relative_gap.max() <= GAP


def test_a_measurement_error_replicate() -> None:
    prior, score, basis = _cohort(4_000, 0)
    process = fit_quantiles(spline_design(prior[:, None], [basis]), score, TAUS)
    rng = np.random.default_rng(1)
    for _ in range(3):
        noisy = spline_design((prior + 20.0 * rng.standard_normal(prior.size))[:, None], [basis])
        process = process.refit(noisy, score)
        assert process.warm
        _assert_same(process, fit_quantiles(noisy, score, TAUS))


def test_bootstrap_weights_with_zeros() -> None:
    prior, score, basis = _cohort(3_000, 2)
    design = spline_design(prior[:, None], [basis])
    weights = np.random.default_rng(3).multinomial(3_000, np.full(3_000, 1 / 3_000)).astype(np.float64)
    warm = fit_quantiles(design, score, TAUS).refit(design, score, weights)
    _assert_same(warm, fit_quantiles(design, score, TAUS, weights))
    assert warm.n == np.count_nonzero(weights)


@pytest.mark.parametrize("rows", [1_200, 6_000])
def test_another_number_of_rows(rows: int) -> None:
    prior, score, basis = _cohort(6_000, 4)
    design = spline_design(prior[:, None], [basis])
    process = fit_quantiles(design[:3_000], score[:3_000], TAUS)
    _assert_same(process.refit(design[:rows], score[:rows]), fit_quantiles(design[:rows], score[:rows], TAUS))


def test_coded_columns() -> None:
    prior, score, basis = _cohort(5_000, 5)
    design = spline_design(np.rint(prior / 4.0)[:, None] * 4.0, [basis])
    blocks = [slice(1, 1 + basis.n_columns)]
    warm = fit_quantiles(design, score, TAUS, blocks=blocks).refit(design, np.rint(score))
    cold = fit_quantiles(design, np.rint(score), TAUS)
    np.testing.assert_array_equal(warm.coef, cold.coef)  # of equal rows any one may be in the basis
    assert warm.relative_gap.max() <= GAP


def test_threads_change_nothing() -> None:
    prior, score, basis = _cohort(3_000, 6)
    design = spline_design(prior[:, None], [basis])
    process = fit_quantiles(design, score, TAUS)
    one, two = (process.refit(design, score + 1.0, n_jobs=jobs) for jobs in (1, 2))
    _assert_same(two, one)


@pytest.mark.parametrize("kind", ["gone", "equal"])
def test_where_the_start_does_not_help(kind: str) -> None:
    """A column without values, or responses on one hyperplane: fitted from scratch, and said so."""
    prior, score, basis = _cohort(2_000, 7)
    flag = np.zeros((2_000, 1))
    flag[::7] = 1.0
    process = fit_quantiles(spline_design(prior[:, None], [basis], flag), score, TAUS)
    other = spline_design(prior[:, None], [basis], flag * (kind != "gone"))
    response = np.full(2_000, 2400.0) if kind == "equal" else score
    again = process.refit(other, response)
    assert not again.warm
    assert len(again.dropped) == (kind == "gone")
    _assert_same(again, fit_quantiles(other, response, TAUS))


def test_other_columns_are_refused() -> None:
    problem = problems.make("gaussian", 200, 3, 0)
    process = fit_quantiles(problem.design, problem.response, TAUS)
    with pytest.raises(SpecError, match=r"2 columns.*3 columns"):
        process.refit(problem.design[:, :2], problem.response)


@pytest.mark.parametrize("end", ["floor", "ceiling"])
@pytest.mark.parametrize("share", [0.05, 0.4, 0.7])
def test_a_floor_or_ceiling_of_the_scale(end: str, share: float) -> None:
    """Curves run along the end of the scale, where any side of its rows could do; unscreened fits agree."""
    prior, score, basis = _cohort(3_000, 8)
    score = np.rint(score)
    if end == "floor":
        score = np.maximum(score, np.quantile(score, share))
    else:
        score = np.minimum(score, np.quantile(score, 1.0 - share))
    design = spline_design(prior[:, None], [basis])
    process = fit_quantiles(design, score, TAUS)
    assert process.relative_gap.max() <= GAP
    for k in (2, 15, 20, 36):
        alone = fit_quantiles(design, score, [TAUS[k]])
        np.testing.assert_allclose(alone.objective[0], process.objective[k], rtol=1e-12)
