"""No solution leaves `fit_quantiles` without a proof: wrong vertices are refused, rescued ones recorded."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, cast

import naive
import numpy as np
import problems
import pytest
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.errors import ConvergenceError
from growth.kernels import bases, process
from growth.kernels.process.data import STALLED
from growth.quantile import fit, fit_quantiles
from growth.quantile.prepare import Prepared
from growth.quantile.single import weighted_quantiles
from growth.quantile.start import Start
from growth.quantile.walk import Walked

TAUS = (0.1, 0.25, 0.5, 0.9)
SAME_DUAL = 1e-9
"""Duals solve a p x p system in another order of operations."""


def _spoil(
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[IntArray], None],
    change_ties: Callable[[NDArray[np.int32]], None] | None = None,
) -> None:
    """Let the walk return other bases than it found, or other sides of rows on the hyperplanes."""
    walk = fit.walk_taus

    def spoiled(prepared: Prepared, taus: FloatArray, n_jobs: int | None, start: Start | None) -> Walked:
        walked = walk(prepared, taus, n_jobs, start)
        change(walked.basis)
        if change_ties is not None:
            change_ties(walked.ties)
        return walked

    monkeypatch.setattr(fit, "walk_taus", spoiled)


@pytest.mark.parametrize("kind", ["gaussian", "splines", "weighted", "integer_ties", "far_columns"])
@pytest.mark.parametrize("n", [200, 1_500])
def test_another_vertex_is_refused(kind: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problems.make(kind, n, 8, 0)
    best = fit_quantiles(problem.design, problem.response, TAUS, problem.weights)
    residual = problem.response - problem.design @ best.coef[1]
    used = np.ones(n, bool) if problem.weights is None else problem.weights > 0
    far = int(np.argmax(np.where(used, np.abs(residual), -1.0)[used]))

    def exchange(basis: IntArray) -> None:
        basis[1, 3] = far

    _spoil(monkeypatch, exchange)
    with pytest.raises(ConvergenceError, match=r"1 of 4 quantiles .* tau = 0\.25, relative gap .* <= 1e-09"):
        fit_quantiles(problem.design, problem.response, TAUS, problem.weights)


def test_the_neighbours_vertex_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimal at tau = 0.5, but not at tau = 0.25: only the dual point can tell."""
    problem = problems.make("gaussian", 400, 6, 1)

    def copy(basis: IntArray) -> None:
        basis[1] = basis[2]

    _spoil(monkeypatch, copy)
    with pytest.raises(ConvergenceError, match=r"1 of 4 .* tau = 0\.25"):
        fit_quantiles(problem.design, problem.response, TAUS)


def test_a_singular_basis_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problems.make("gaussian", 400, 6, 1)

    def repeat(basis: IntArray) -> None:
        basis[3, 1] = basis[3, 0]

    _spoil(monkeypatch, repeat)
    with pytest.raises(ConvergenceError, match=r"tau = 0\.9, relative gap (inf|nan)"):
        fit_quantiles(problem.design, problem.response, TAUS)


def test_a_row_has_one_side_or_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sides count by their sign: the walk cannot make a row weigh more than once in the proof."""
    problem = problems.make("integer_ties", 1_500, 8, 0)
    honest = fit_quantiles(problem.design, problem.response, TAUS)

    def exaggerate(ties: NDArray[np.int32]) -> None:
        assert (ties[:, 2] < 0).any()
        ties[:, 2] *= 40

    _spoil(monkeypatch, lambda basis: None, exaggerate)
    spoiled = fit_quantiles(problem.design, problem.response, TAUS)
    np.testing.assert_array_equal(spoiled.dual, honest.dual)
    np.testing.assert_array_equal(spoiled.relative_gap, honest.relative_gap)


def test_the_twin_refuses_them_too() -> None:
    problem = problems.make("gaussian", 400, 6, 1)
    best = fit_quantiles(problem.design, problem.response, TAUS)
    for k, tau in enumerate(TAUS):
        for j in range(len(TAUS)):
            proof = naive.prove(problem.design, problem.response, tau, best.coef[j], zero=problem.zero)
            assert (proof.infeasible < 1e-12) == (j == k)


@pytest.mark.parametrize("kind", ["gaussian", "weighted", "far_weights", "heavy_tails", "badly_scaled"])
def test_duals_are_those_of_the_definition(kind: str) -> None:
    """Without ties the dual point is determined: sum over all rows of d x = 0."""
    problem = problems.make(kind, 1_000, 7, 2)
    design, response, _ = problem
    process = fit_quantiles(*problem[:2], TAUS, problem.weights)
    weights = np.ones(response.size) if problem.weights is None else problem.weights
    for tau, coef, rows, dual in zip(TAUS, process.coef, process.basis, process.dual, strict=True):
        others = np.setdiff1d(np.arange(response.size), rows)
        below = (response - design @ coef)[others] < 0
        gradient = (weights[others] * (tau - below)) @ design[others]
        scale = np.abs(design).max(axis=0)
        expected = np.linalg.solve((design[rows] / scale).T, -gradient / scale) / weights[rows]
        np.testing.assert_allclose(dual, expected, rtol=SAME_DUAL, atol=SAME_DUAL)


def _stall(monkeypatch: pytest.MonkeyPatch, position: int, times: int) -> list[int]:
    """Let the solver report that it stalled at one tau, the first `times` times."""
    solve: Any = process.solve_path
    calls: list[int] = []

    def stalling(*arguments: object) -> None:
        solve(*arguments)
        order, status = cast(IntArray, arguments[5]), cast(IntArray, arguments[-1])
        if position in order and len(calls) < times:
            calls.append(position)
            status[position] = STALLED

    monkeypatch.setattr(process, "solve_path", stalling)
    return calls


@pytest.mark.parametrize("kind", ["gaussian", "splines"])
def test_a_stalled_search_falls_back_on_all_rows(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problems.make(kind, 1_500, 8, 0)
    before = fit_quantiles(problem.design, problem.response, TAUS)
    assert before.status == ("certified",) * 4
    calls = _stall(monkeypatch, position=1, times=1)
    after = fit_quantiles(problem.design, problem.response, TAUS)
    assert calls == [1]
    assert after.status == ("certified", "fallback", "certified", "certified")
    np.testing.assert_array_equal(after.coef, before.coef)
    assert after.relative_gap.max() <= 1e-9


def test_a_search_that_fails_in_all_ways_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the neighbour, from scratch, and both again in orthogonal columns."""
    problem = problems.make("gaussian", 1_500, 8, 0)
    _stall(monkeypatch, position=3, times=4)
    with pytest.raises(ConvergenceError, match=r"1 of 4 quantiles"):
        fit_quantiles(problem.design, problem.response, TAUS)


@pytest.mark.parametrize("scale", [1.0, 0.7427, 1e5 / 3])
def test_duals_on_the_edge_of_their_box_are_not_lost_to_rounding(scale: float) -> None:
    """Where tau n is a whole number sums over all rows decide, and their rounding is amplified by 1 / tau."""
    rng = np.random.default_rng(0)
    response = rng.normal(2_500, 60, 60_000)
    weights = rng.integers(1, 4, response.size).astype(float)
    weights[0] += (-weights.sum()) % 1_000
    process = fit_quantiles(np.full((response.size, 1), scale), response, weights=weights)
    assert process.relative_gap.max() <= 1e-9


@pytest.mark.parametrize("off", [1e-11, 1e-8, 1e-7])
def test_what_lies_beyond_its_box_is_not_taken_for_rounding(
    off: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vertex just above tau = .1 has its dual value on the edge there, and `off` below beyond it."""

    def above(prepared: Prepared, _: FloatArray) -> Walked:
        return weighted_quantiles(prepared, np.array([0.1 + 1e-6]))

    monkeypatch.setattr(fit, "weighted_quantiles", above)
    response = np.random.default_rng(0).permutation(1_000).astype(float)
    with pytest.raises(ConvergenceError, match=f"1 of 1 quantiles have no proof.* gap {1e4 * off:.1e}"):
        fit_quantiles(np.ones((1_000, 1)), response, [0.1 - off])


def test_duals_are_those_of_exact_fractions() -> None:
    """Whole numbers and unequal weights: each of two groups has a quantile of its own."""
    rng = np.random.default_rng(1)
    flag, weight = rng.integers(0, 2, 30_001), rng.integers(1, 5, 30_001)
    response = rng.permutation(30_001)
    design = np.column_stack([np.ones(flag.size), flag]) / 3.0
    fitted = fit_quantiles(design, response.astype(float), [0.25], weight.astype(float))
    for row, dual in zip(fitted.basis[0].tolist(), fitted.dual[0].tolist(), strict=True):
        group = flag == flag[row]
        above = Fraction(int(weight[group & (response > response[row])].sum()))
        below = Fraction(int(weight[group & (response < response[row])].sum()))
        exact = (below * Fraction(3, 4) - above * Fraction(1, 4)) / int(weight[row])
        assert dual == pytest.approx(float(exact), rel=0, abs=1e-13)


def test_coefficients_that_miss_their_basis_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """By so little that no other row changes sides."""
    problem = problems.make("gaussian", 400, 6, 1)
    solve: Any = bases.vertex_coefficients

    def missing(*arguments: Any) -> None:  # noqa: ANN401
        solve(*arguments)
        arguments[-1][2] += 1e-6

    monkeypatch.setattr(bases, "vertex_coefficients", missing)
    with pytest.raises(ConvergenceError, match=r"1 of 4 quantiles .* tau = 0\.5, relative gap inf"):
        fit_quantiles(problem.design, problem.response, TAUS)


def test_more_ties_than_foreseen() -> None:
    """Thousands of rows on each hyperplane: their sides are part of the proof."""
    rng = np.random.default_rng(0)
    prior: FloatArray = rng.integers(0, 5, 3_000).astype(float)
    design = np.column_stack([np.ones(3_000), prior, rng.standard_normal(3_000) < 1.5])
    response = np.where(rng.random(3_000) < 0.8, 10.0 * prior, rng.integers(-30, 80, 3_000))
    process = fit_quantiles(design, response)
    on = (response[:, None] == design @ process.coef.T).sum(axis=0)
    assert on.max() > 2_000
    assert process.relative_gap.max() <= 1e-9
    for k in (0, 25, 50, 99):
        proof = naive.prove(design, response, process.taus[k], process.coef[k], zero=1e-9)
        assert proof.infeasible < 1e-12
        assert proof.gap <= 1e-9 * proof.primal


def test_columns_that_lose_digits_get_a_second_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """What scaled columns do not prove is solved in orthogonal ones."""
    problem = problems.make("gaussian", 400, 6, 1)
    design, response = problem.design, problem.response
    expected = fit_quantiles(design, response)
    solve, failed = fit.solve, []

    def failing_once(*arguments: Any) -> fit.Solved:  # noqa: ANN401
        if not failed:
            failed.append(True)
            raise ConvergenceError("no proof")
        return solve(*arguments)

    monkeypatch.setattr(fit, "solve", failing_once)
    process = fit_quantiles(design, response)
    assert set(process.status) == {"fallback"}
    assert process.relative_gap.max() <= fit.GAP_TOLERANCE
    np.testing.assert_allclose(process.objective, expected.objective, rtol=1e-12)
    np.testing.assert_allclose(design @ process.coef.T, design @ expected.coef.T, rtol=1e-9)
