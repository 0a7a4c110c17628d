"""What must hold for every data set: equivariance, symmetry, and indifference to what cannot matter.

Statements about coefficients need a unique optimum. It is unique where the dual point lies strictly inside
its boxes (a nondegenerate dual vertex); elsewhere the statements are made about objectives.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from growth._types import BoolArray, FloatArray
from growth.quantile import QuantileProcess, fit_quantiles

TAUS = np.array([0.05, 0.25, 0.4, 0.5, 0.75, 0.95])
OBJECTIVE = 1e-9
"""Relative; plus the rounding errors of sums of numbers as large as the response."""
COEFFICIENT = 1e-8
"""Relative to the largest coefficient; times the condition of the basis, which random flags keep moderate."""
INSIDE = 1e-7
"""Distance of duals from their box edges that proves uniqueness beyond rounding."""
quick = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.data_too_large]
)


class Data(NamedTuple):
    design: FloatArray
    response: FloatArray
    weights: FloatArray | None
    rng: np.random.Generator


@st.composite
def data_sets(draw: st.DrawFn, *, largest: int = 160, weighted: bool = True) -> Data:
    """Draw whole or continuous responses, columns that are flags, counts or continuous, weights or none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, q = draw(st.integers(12, largest)), draw(st.integers(0, 4))
    columns = [np.ones(n)]
    for _ in range(q):
        kind = draw(st.sampled_from(["flag", "count", "continuous"]))
        flag = (rng.random(n) < 0.4).astype(float)
        columns.append(
            {"flag": flag, "count": rng.integers(0, 6, n) * 1.0, "continuous": rng.standard_normal(n)}[kind]
        )
    design = np.column_stack(columns)
    assume(np.linalg.matrix_rank(design) == q + 1)
    signal = design @ rng.normal(0, 3, q + 1)
    whole = draw(st.booleans())
    response = np.round(signal + rng.normal(0, 4, n)) if whole else signal + rng.standard_t(3, n)
    weights = rng.integers(0, 4, n).astype(float) if weighted and draw(st.booleans()) else None
    if weights is not None:
        used = weights > 0
        assume(np.linalg.matrix_rank(design[used]) == q + 1)
    return Data(design, response, weights, rng)


def fit(data: Data, taus: FloatArray = TAUS) -> QuantileProcess:
    return fit_quantiles(data.design, data.response, taus, data.weights)


def unique(process: QuantileProcess) -> BoolArray:
    tau = process.taus[:, None]
    edge = np.minimum(tau - process.dual, process.dual - (tau - 1.0))
    return np.asarray((edge > INSIDE).all(axis=1))


def assert_same_coefficients(got: FloatArray, expected: FloatArray) -> None:
    size = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(got, expected, rtol=COEFFICIENT, atol=COEFFICIENT * size)


def assert_same_objective(got: FloatArray, expected: FloatArray, response: FloatArray) -> None:
    np.testing.assert_allclose(
        got, expected, rtol=OBJECTIVE, atol=1e-13 * response.size * np.abs(response).max()
    )


@quick
@given(data_sets(), st.floats(1e-3, 1e3))
def test_scale(data: Data, factor: float) -> None:
    one, scaled = fit(data), fit(data._replace(response=factor * data.response))
    assert_same_objective(scaled.objective, factor * one.objective, factor * data.response)
    where = unique(one)
    assert_same_coefficients(scaled.coef[where] / factor, one.coef[where])


@quick
@given(data_sets(), st.floats(-1e3, 1e3))
def test_shift_and_regression(data: Data, shift: float) -> None:
    """Adding any combination of the columns to the response adds it to the coefficients."""
    added = np.r_[shift, data.rng.normal(0, 10, data.design.shape[1] - 1)]
    moved = data._replace(response=data.response + data.design @ added)
    one, other = fit(data), fit(moved)
    assert_same_objective(other.objective, one.objective, np.r_[moved.response, data.response])
    where = unique(one)
    assert_same_coefficients(other.coef[where] - added, one.coef[where])


@quick
@given(data_sets())
def test_other_coordinates(data: Data) -> None:
    """Columns mixed by an invertible matrix A: coefficients become A^-1 b, curves stay."""
    p = data.design.shape[1]
    mix = np.eye(p) + 0.3 * data.rng.uniform(-1, 1, (p, p)) / p
    one, other = fit(data), fit(data._replace(design=data.design @ mix))
    assert_same_objective(other.objective, one.objective, data.response)
    where = unique(one)
    assert_same_coefficients(other.coef[where] @ mix.T, one.coef[where])


@quick
@given(data_sets())
def test_tau_symmetry(data: Data) -> None:
    """The tau-curve of y is minus the (1 - tau)-curve of -y."""
    one, mirrored = fit(data), fit(data._replace(response=-data.response), 1.0 - TAUS[::-1])
    assert_same_objective(mirrored.objective[::-1], one.objective, data.response)
    where = unique(one)
    assert_same_coefficients(-mirrored.coef[::-1][where], one.coef[where])


@quick
@given(data_sets())
def test_order_of_rows(data: Data) -> None:
    order = data.rng.permutation(data.response.size)
    weights = None if data.weights is None else data.weights[order]
    one, shuffled = fit(data), fit(Data(data.design[order], data.response[order], weights, data.rng))
    assert_same_objective(shuffled.objective, one.objective, data.response)
    where = unique(one)
    assert_same_coefficients(shuffled.coef[where], one.coef[where])


@quick
@given(data_sets())
def test_order_of_columns(data: Data) -> None:
    order = data.rng.permutation(data.design.shape[1])
    one, other = fit(data), fit(data._replace(design=data.design[:, order]))
    assert_same_objective(other.objective, one.objective, data.response)
    where = unique(one)
    assert_same_coefficients(other.coef[where], one.coef[where][:, order])


@quick
@given(data_sets(weighted=False))
def test_weights_are_repeats(data: Data) -> None:
    times = data.rng.integers(0, 4, data.response.size)
    assume(np.linalg.matrix_rank(data.design[times > 0]) == data.design.shape[1])
    weighted = fit(data._replace(weights=times.astype(float)))
    repeated = fit(Data(data.design.repeat(times, 0), data.response.repeat(times), None, data.rng))
    assert_same_objective(weighted.objective, repeated.objective, data.response.repeat(3))
    where = unique(weighted)
    assert_same_coefficients(repeated.coef[where], weighted.coef[where])


@quick
@given(data_sets(), st.floats(1e-3, 1e3))
def test_only_relative_weights_matter(data: Data, factor: float) -> None:
    weights = np.ones(data.response.size) if data.weights is None else data.weights
    one, other = fit(data._replace(weights=weights)), fit(data._replace(weights=factor * weights))
    assert_same_objective(other.objective / factor, one.objective, data.response)
    where = unique(one)
    assert_same_coefficients(other.coef[where], one.coef[where])


@quick
@given(data_sets(largest=60), st.integers(2, 40))
def test_the_whole_sample_again_changes_nothing(data: Data, times: int) -> None:
    """Many copies of every row: merged where there are thousands, solved as they are where not."""
    weights = None if data.weights is None else np.tile(data.weights, times)
    tiled = Data(np.tile(data.design, (times, 1)), np.tile(data.response, times), weights, data.rng)
    one, other = fit(data), fit(tiled)
    assert_same_objective(other.objective / times, one.objective, data.response)
    where = unique(one)
    assert_same_coefficients(other.coef[where], one.coef[where])


@quick
@given(data_sets())
def test_rows_far_above_may_be_anywhere_above(data: Data) -> None:
    """Only the side of a row matters: moving rows above all curves further up changes nothing."""
    one = fit(data)
    curves = data.design @ one.coef.T
    above = (data.response[:, None] > curves + 1e-6).all(axis=1)
    far = np.where(above, data.response + data.rng.exponential(50.0, above.size), data.response)
    other = fit(data._replace(response=far))
    where = unique(one)
    assert_same_coefficients(other.coef[where], one.coef[where])


@quick
@given(data_sets())
def test_shares_below_the_curves(data: Data) -> None:
    """With an intercept: weight strictly below <= tau x total <= weight at or below."""
    process = fit(data)
    weights = np.ones(data.response.size) if data.weights is None else data.weights
    residual = data.response[:, None] - data.design @ process.coef.T
    near = 1e-9 * max(1.0, np.abs(data.response).max())
    total = weights.sum()
    assert (weights @ (residual < -near) <= TAUS * total + 1e-9 * total).all()
    assert (weights @ (residual <= near) >= TAUS * total - 1e-9 * total).all()


@quick
@given(data_sets())
def test_threads(data: Data) -> None:
    one = fit_quantiles(data.design, data.response, TAUS, data.weights, n_jobs=1)
    two = fit_quantiles(data.design, data.response, TAUS, data.weights, n_jobs=2)
    for name in ("coef", "objective", "relative_gap", "dual", "basis"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_most_optima_are_unique() -> None:
    """The statements about coefficients are not empty."""
    rng = np.random.default_rng(0)
    share = []
    for whole in (False, True):
        design = np.column_stack([np.ones(100), rng.standard_normal((100, 2))])
        response = 10 * rng.standard_normal(100)
        share.append(unique(fit_quantiles(design, np.round(response) if whole else response, TAUS)).mean())
    assert min(share) > 0.6
