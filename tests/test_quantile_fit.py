"""`fit_quantiles` is exact: against HiGHS, against all vertices, and by a proof from the definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import naive
import numpy as np
import problems
import pytest

from growth._types import FloatArray
from growth.errors import ColumnError, SpecError
from growth.quantile import QuantileProcess, fit_quantiles

OBJECTIVE = 1e-9
"""Relative; beyond it only the rounding errors of a sum of residuals (`naive.rounding`) are allowed."""
FEASIBLE = 1e-9
"""|X'd| relative to sum_i w_i |x_i|: what HiGHS itself promises (1e-10), times ten."""
INTERPOLATED = 1e-6
"""Residual of a basic row [score points]: SGPs need 5e-6 (SGP_FACTS section 5)."""
TAUS = (0.005, 0.1, 0.25, 0.5, 0.77, 0.995)
GRID = (np.arange(1, 101) - 0.5) / 100
SMALL = [(30, 1), (31, 4), (57, 3), (90, 12), (150, 6), (400, 12)]
LARGE = [(1_500, 5), (2_500, 12)]
"""More rows than are solved as one band: screening and the proof of rows outside the band take part."""
TINY = [(1, 1), (2, 2), (4, 2), (8, 3)]


def fit(
    problem: problems.Problem, taus: Sequence[float] | FloatArray = TAUS, **options: object
) -> QuantileProcess:
    return fit_quantiles(problem.design, problem.response, taus, problem.weights, **cast(Any, options))


def assert_exact(problem: problems.Problem, process: QuantileProcess) -> None:
    """Objective as HiGHS finds it, a dual point from the definition, and every promise of the result."""
    design, response, weights = problem
    for k, tau in enumerate(process.taus):
        coef = process.coef[k]
        found = naive.solve_lp(design, response, tau, weights)
        allowed = OBJECTIVE * found.primal + naive.rounding(design, response, coef, weights)
        here = naive.check_loss(response - design @ coef, tau, weights)
        assert abs(process.objective[k] - here) <= allowed
        assert abs(process.objective[k] - found.primal) <= allowed + found.accuracy
        assert process.objective[k] >= found.dual - allowed - found.accuracy
        proof = naive.prove(design, response, tau, coef, weights, zero=problem.zero)
        assert proof.gap <= allowed
        assert proof.infeasible <= FEASIBLE
    assert (process.relative_gap <= OBJECTIVE).all()
    assert (process.relative_gap >= 0.0).all()
    assert set(process.status) <= {"certified", "fallback"}
    assert process.basis.shape == process.dual.shape == (process.taus.size, process.rank)
    for rows, dual, coef, tau in zip(process.basis, process.dual, process.coef, process.taus, strict=True):
        assert np.unique(rows).size == process.rank
        assert np.linalg.matrix_rank(design[rows] / np.abs(design).max(axis=0).clip(1e-300)) == process.rank
        reach = naive.rounding(design[rows], response[rows], coef)
        assert np.abs(response[rows] - design[rows] @ coef).max() <= max(problem.zero, reach)
        assert (dual >= tau - 1.0 - OBJECTIVE).all()
        assert (dual <= tau + OBJECTIVE).all()


@pytest.mark.parametrize("kind", problems.FULL_RANK)
def test_small_problems(kind: str) -> None:
    for seed, (n, p) in enumerate(SMALL * 2):
        problem = problems.make(kind, n, p, seed)
        process = fit(problem)
        assert_exact(problem, process)
        assert process.dropped == ()
        assert process.rank == problem.design.shape[1]


@pytest.mark.parametrize("kind", problems.KINDS)
@pytest.mark.parametrize(("n", "p"), LARGE)
def test_large_problems(kind: str, n: int, p: int) -> None:
    problem = problems.make(kind, n, p, 0)
    assert_exact(problem, fit(problem, (0.005, 0.4, 0.9)))


@pytest.mark.parametrize("kind", sorted(set(problems.KINDS) - {"splines", "leverage", "nearly_perfect"}))
def test_few_rows(kind: str) -> None:
    for seed, (n, p) in enumerate(TINY):
        problem = problems.make(kind, n, p, seed)
        if problem.weights is not None:
            problem = problem._replace(weights=problem.weights + 0.5)
        assert_exact(problem, fit(problem))


@pytest.mark.parametrize("kind", problems.DEFICIENT)
def test_dependent_columns(kind: str) -> None:
    for seed, (n, p) in enumerate(SMALL):
        problem = problems.make(kind, n, p, seed)
        process = fit(problem)
        assert_exact(problem, process)
        extra = problem.design.shape[1] - np.linalg.matrix_rank(problem.design)
        assert len(process.dropped) == extra >= 1
        assert (process.coef[:, process.dropped] == 0.0).all()
        kept = np.delete(problem.design, process.dropped, axis=1)
        same = fit(problem._replace(design=kept))
        np.testing.assert_array_equal(same.coef, np.delete(process.coef, process.dropped, axis=1))


@pytest.mark.parametrize("kind", ["gaussian", "integer_ties", "counted", "skewed"])
@pytest.mark.parametrize(("n", "p"), [(6, 1), (9, 2), (10, 3)])
def test_no_vertex_is_better(kind: str, n: int, p: int) -> None:
    for seed in range(3):
        problem = problems.make(kind, n, p, seed)
        if np.linalg.matrix_rank(problem.design) < p:
            continue
        design, response, weights = problem
        process = fit(problem, (0.1, 0.5, 0.8))
        best = [naive.best_vertex(design, response, tau, weights) for tau in process.taus]
        np.testing.assert_allclose(process.objective, best, rtol=OBJECTIVE, atol=1e-12)


@pytest.mark.parametrize("kind", ["splines", "flags", "gaussian", "far_columns"])
def test_the_whole_grid(kind: str) -> None:
    """Each tau starts from its neighbour: all 100, proven from the definition."""
    problem = problems.make(kind, 900, 15, 3)
    process = fit(problem, GRID)
    design, response, _ = problem
    for coef, rows, tau in zip(process.coef, process.basis, GRID, strict=True):
        proof = naive.prove(design, response, tau, coef, zero=problem.zero)
        assert proof.gap <= OBJECTIVE * proof.primal + naive.rounding(design, response, coef)
        assert proof.infeasible <= FEASIBLE
        assert np.abs(response[rows] - design[rows] @ coef).max() < INTERPOLATED


def test_one_column_gives_sample_quantiles() -> None:
    response = np.random.default_rng(0).permutation(np.arange(1.0, 101.0))
    process = fit_quantiles(np.ones((100, 1)), response, GRID)
    np.testing.assert_array_equal(process.coef[:, 0], np.arange(1.0, 101.0))


def test_of_several_solutions_the_limit_from_below() -> None:
    """Any number between the middle two is a median; the documented choice is the limit from smaller taus."""
    for response in ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 2.0, 5.0, 9.0, 9.0]):
        process = fit_quantiles(np.ones((len(response), 1)), np.array(response), [0.5])
        assert process.coef[0, 0] == 2.0


@pytest.mark.parametrize(("groups", "size"), [(2, 1_000), (4, 3_000), (8, 1_000)])
def test_in_groups_the_limit_from_below_at_every_tau(groups: int, size: int) -> None:
    """tau * size is a whole number: of the two values around it the lower one, even if no other is near."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(groups), size)
    response = rng.normal(250.0, 30.0, group.size)
    process = fit_quantiles(np.eye(groups)[group], response, GRID)
    lower = np.round(GRID * size).astype(int) - 1
    for g in range(groups):
        np.testing.assert_allclose(process.coef[:, g], np.sort(response[group == g])[lower], rtol=1e-14)


@pytest.mark.parametrize("kind", ["weighted", "counted", "integer_ties", "splines", "gaussian"])
def test_threads_do_not_matter(kind: str) -> None:
    for n in (200, 2_500):
        problem = problems.make(kind, n, 8, 1)
        one, two = fit(problem, GRID, n_jobs=1), fit(problem, GRID, n_jobs=2)
        for name in ("coef", "objective", "relative_gap", "dual", "basis"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert one.status == two.status
        for name, counts in one.counters.items():
            np.testing.assert_array_equal(counts, two.counters[name])


def _repeated(n: int, scale: float) -> problems.Problem:
    """Few designs, many responses: 4 x 40 different rows among n."""
    rng = np.random.default_rng(9)
    few = scale * rng.standard_normal((4, 2))
    design = np.column_stack([np.ones(n), few[rng.integers(4, size=n)]])
    return problems.Problem(design, rng.integers(0, 40, n) / 16)


def test_equal_rows_are_merged_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = _repeated(9_000, 1.0)
    merged = fit(problem)
    monkeypatch.setattr("growth.quantile.prepare.COLLAPSE_FROM", 10**9)
    apart = fit(problem)
    assert merged.counters["band"].max() <= 160 < apart.counters["band"].min()
    assert merged.n == apart.n == 9_000
    np.testing.assert_allclose(merged.objective, apart.objective, rtol=OBJECTIVE)
    assert_exact(problem, merged)
    distinct = np.unique(np.column_stack([problem.design, problem.response]), axis=0, return_index=True)[1]
    assert set(merged.basis.ravel()) <= set(distinct)


def test_merged_rows_add_their_weights() -> None:
    problem = _repeated(9_000, 1.0)
    weights = np.random.default_rng(1).gamma(1.0, 1.0, 9_000)
    assert_exact(problem._replace(weights=weights), fit(problem._replace(weights=weights)))


def test_rows_that_differ_in_the_response_alone_are_not_merged() -> None:
    """A sum over a huge design row and its response does not show the response any more."""
    problem = _repeated(9_000, 1e16)
    assert_exact(problem, fit(problem))


@pytest.mark.parametrize("kind", ["splines", "flags"])
@pytest.mark.parametrize("blocked", [8, 15])
def test_coded_columns_change_nothing(kind: str, blocked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of columns with few distinct values are looked up: the same vertices with the same bits."""
    problem = problems.make(kind, 2_500, 15, 1)
    plain = fit(problem, GRID)
    monkeypatch.setattr("growth.quantile.designs.CODE_FROM", 0)
    coded = fit(problem, GRID, blocks=[slice(1, 8), slice(8, blocked)][: blocked // 7])
    np.testing.assert_array_equal(coded.coef, plain.coef)
    np.testing.assert_array_equal(coded.basis, plain.basis)


@pytest.mark.parametrize("power", [-80, -60, 60])
def test_units_of_the_response_do_not_matter(power: int) -> None:
    problem = problems.make("gaussian", 1_500, 5, 0)
    one, other = fit(problem, GRID), fit(problem._replace(response=problem.response * 2.0**power), GRID)
    np.testing.assert_array_equal(other.coef, one.coef * 2.0**power)
    np.testing.assert_array_equal(other.objective, one.objective * 2.0**power)


def test_rows_without_weight_take_no_part() -> None:
    problem = problems.make("weighted", 300, 5, 2)
    weights = problem.weights
    assert weights is not None
    used = weights > 0
    wild = np.where(used, problem.response, 1e9)
    process = fit_quantiles(problem.design, wild, TAUS, weights)
    same = fit_quantiles(problem.design[used], problem.response[used], TAUS, weights[used])
    np.testing.assert_array_equal(process.coef, same.coef)
    np.testing.assert_array_equal(process.basis, np.flatnonzero(used)[same.basis])
    assert process.n == used.sum()


def test_an_empty_knot_interval_is_reported() -> None:
    """No prior within the support of two basis functions: their columns are zero and drop out by name."""
    from growth.quantile import SplineBasis

    rng = np.random.default_rng(4)
    prior = np.r_[rng.uniform(400, 500, 150), rng.uniform(900, 1000, 150)]
    basis = SplineBasis((510.0, 560.0, 610.0, 660.0, 720.0, 800.0), (400.0, 1000.0), degree=1)
    design = np.column_stack([np.ones(300), basis.design(prior)])
    names = ["intercept", *(f"b{j}" for j in range(1, basis.n_columns + 1))]
    process = fit_quantiles(design, prior + rng.normal(0, 20, 300), TAUS, names=names)
    assert_exact(problems.Problem(design, prior + 0.0), fit_quantiles(design, prior + 0.0, TAUS))
    empty = [name for name, column in zip(names, design.T, strict=True) if not column.any()]
    assert len(empty) == 4
    assert set(empty) <= set(process.dropped_names)
    assert process.rank == np.linalg.matrix_rank(design)
    assert "dropped=" in repr(process)


def test_dropped_columns_have_names() -> None:
    rng = np.random.default_rng(5)
    prior, flag = rng.standard_normal(200), (rng.random(200) < 0.3).astype(float)
    design = np.column_stack([np.ones(200), prior, flag, np.ones(200), 1 - flag])
    names = ("intercept", "prior", "el", "always", "not_el")
    process = fit_quantiles(design, prior + rng.standard_normal(200), TAUS, names=names)
    assert process.dropped_names == ("always", "not_el")
    assert process.dropped == (3, 4)
    assert process.rank == 3
    unnamed = fit_quantiles(design, prior + rng.standard_normal(200), TAUS)
    assert unnamed.dropped_names == ("x3", "x4")


def _with(where: tuple[int | slice, ...], value: float, shape: tuple[int, ...] = (10,)) -> FloatArray:
    array = np.ones(shape)
    array[where] = value
    return array


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (np.ones((10, 2)), np.ones(9)),
            ColumnError,
            r"design has shape \(10, 2\).*response has shape \(9,\)",
        ),
        ((np.ones(10), np.ones(10)), ColumnError, r"design has shape \(10,\)"),
        ((np.ones((10, 2)), np.ones(10), TAUS, np.ones(3)), ColumnError, r"weights have shape \(3,\)"),
        ((_with((3, 1), np.nan, (10, 2)), np.ones(10)), ColumnError, r"design holds NaN.*Rows affected: 1\."),
        (
            (np.ones((10, 2)), _with((slice(2),), np.inf)),
            ColumnError,
            r"response holds NaN or inf.*affected: 2\.",
        ),
        ((np.ones((10, 2)), np.ones(10), TAUS, _with((0,), np.nan)), ColumnError, r"weights holds? NaN"),
        (
            (np.ones((10, 2)), np.ones(10), TAUS, _with((0,), -1.0)),
            ColumnError,
            r"[Ww]eights are negative.*: 1\.",
        ),
        ((np.ones((10, 2)), np.ones(10), TAUS, np.zeros(10)), ColumnError, r"one row of positive weight"),
        ((np.ones((10, 0)), np.ones(10)), ColumnError, r"at least one column"),
        ((np.ones((0, 2)), np.ones(0)), ColumnError, r"one row"),
        ((np.zeros((10, 2)), np.ones(10)), ColumnError, r"columns of the design are zero"),
        ((np.ones((10, 2)), np.ones(10), [0.0, 0.5]), SpecError, r"strictly between 0 and 1"),
        ((np.ones((10, 2)), np.ones(10), [0.5, 1.0]), SpecError, r"strictly between 0 and 1"),
        ((np.ones((10, 2)), np.ones(10), [0.5, 0.5]), SpecError, r"must increase"),
        ((np.ones((10, 2)), np.ones(10), [0.7, 0.5]), SpecError, r"must increase"),
        ((np.ones((10, 2)), np.ones(10), []), SpecError, r"taus"),
        ((np.ones((10, 2)), np.ones(10), [np.nan]), SpecError, r"taus"),
        ((np.ones((10, 2)), np.ones(10), [[0.2, 0.5]]), SpecError, r"taus"),
    ],
)
def test_bad_arguments(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit_quantiles(*arguments)


def test_names_must_fit() -> None:
    with pytest.raises(SpecError, match="1 names for 2 columns"):
        fit_quantiles(np.ones((10, 2)), np.ones(10), names=["intercept"])


def test_the_callers_arrays_are_not_changed() -> None:
    for kind, n in (("counted", 2_500), ("badly_scaled", 200)):
        problem = problems.make(kind, n, 6, 0)
        before = [None if a is None else a.copy() for a in problem]
        fit(problem)
        for then, now in zip(before, problem, strict=True):
            np.testing.assert_array_equal(np.asarray(then), np.asarray(now))


def test_one_tau_does_not_depend_on_the_others() -> None:
    """Where the optimum is unique, every path ends in the same vertex with the same bits."""
    problem = problems.make("gaussian", 1_500, 8, 7)
    grid = fit(problem, GRID)
    for k in (0, 30, 99):
        alone = fit(problem, [GRID[k]])
        np.testing.assert_array_equal(alone.coef[0], grid.coef[k])
        np.testing.assert_array_equal(alone.basis[0], grid.basis[k])


def test_columns_beyond_single_precision() -> None:
    """Columns of size 1e-50 and 1e50 do not exist in single precision; solution and proof do not notice."""
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(1_000), rng.standard_normal((1_000, 3))])
    response = design @ [500.0, 30.0, 20.0, 10.0] + 20 * rng.standard_normal(1_000)
    size = np.array([1.0, 1e-50, 1e50, 1e-8])
    plain, far = fit_quantiles(design, response), fit_quantiles(design * size, response)
    np.testing.assert_array_equal(far.basis, plain.basis)
    np.testing.assert_allclose(far.coef * size, plain.coef, rtol=1e-9)
