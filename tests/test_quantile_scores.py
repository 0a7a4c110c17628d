"""Reading a fitted process: quantiles, counts and percentiles against their slow twins."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import naive
import numpy as np
import problems
import pytest

from growth._types import FloatArray
from growth.errors import ColumnError, SpecError
from growth.quantile import QuantileProcess, Scores, designs, fit_quantiles
from growth.quantile import scores as chapter

SAME_SUM = 1e-11
"""Relative; a twin adds up x'b in another order."""
MANY = 6_000
"""Rows; enough for tables, also in chunks of `SOME`."""
SOME = 2_500
WAYS: list[dict[str, Any]] = [
    {},
    {"digits": 5},
    {"digits": 0},
    {"digits": -1},
    {"digits": 15},  # scores are so many steps of 1e-15 that rounding errors count
    {"bounds": (2500.0, 2620.0)},
    {"digits": 5, "bounds": (2500.0, 2620.0)},
    {"digits": 1, "rearrange": False},
]


def curves_process(taus: FloatArray, curves: FloatArray) -> QuantileProcess:
    """Return a process whose curves do not depend on the design (one column of ones)."""
    fitted = fit_quantiles(np.ones((3, 1)), np.arange(3.0), taus)
    return dataclasses.replace(fitted, coef=curves[:, None])


@pytest.fixture(scope="module")
def fitted() -> tuple[problems.Problem, QuantileProcess]:
    problem = problems.make("splines", 700, 15, 0)
    return problem, fit_quantiles(problem.design, problem.response)


@pytest.mark.parametrize("digits", [None, 5, 0])
@pytest.mark.parametrize("bounds", [None, (2500.0, 2620.0)])
def test_curves(
    fitted: tuple[problems.Problem, QuantileProcess], digits: int | None, bounds: tuple[float, float] | None
) -> None:
    problem, process = fitted
    got = process.predict(problem.design, digits=digits, bounds=bounds)
    expected = naive.curves(problem.design, process.coef, digits=digits, bounds=bounds)
    np.testing.assert_allclose(got, expected, rtol=SAME_SUM)
    assert (np.diff(got, axis=1) >= 0).all()


def test_curves_as_fitted(fitted: tuple[problems.Problem, QuantileProcess]) -> None:
    problem, process = fitted
    got = process.predict(problem.design, rearrange=False)
    np.testing.assert_allclose(got, problem.design @ process.coef.T, rtol=SAME_SUM)
    steps = np.diff(got, axis=1)  # curves that meet in a row are equal up to rounding
    crossed = process.score(problem.design, problem.response).crossing_share
    assert 0.0 < (steps < -1e-9).mean() <= crossed <= (steps < 1e-9).mean() < 0.5


@pytest.mark.parametrize("bounds", [None, (2500.0, 2620.0)])
def test_places(fitted: tuple[problems.Problem, QuantileProcess], bounds: tuple[float, float] | None) -> None:
    problem, process = fitted
    y = problem.response if bounds is None else np.clip(problem.response, *bounds)
    scores = process.score(problem.design, y, digits=5, bounds=bounds)
    values = naive.curves(problem.design, process.coef, digits=5, bounds=bounds)
    np.testing.assert_array_equal(scores.below, naive.count_below(values, y))
    np.testing.assert_array_equal(scores.upto, naive.count_upto(values, y))
    assert (scores.upto - scores.below).max() > 0
    expected = [naive.percentile(row, process.taus, v) for row, v in zip(values, y, strict=True)]
    np.testing.assert_allclose(scores.percentile, expected, rtol=1e-9)
    assert scores.percentile.min() > 0.0
    assert scores.percentile.max() < 1.0
    np.testing.assert_allclose(scores.median, (values[:, 49] + values[:, 50]) / 2, rtol=SAME_SUM)


def test_counts_do_not_need_rearrangement(fitted: tuple[problems.Problem, QuantileProcess]) -> None:
    problem, process = fitted
    sorted_, raw = (
        process.score(problem.design, problem.response, rearrange=r, digits=5) for r in (True, False)
    )
    np.testing.assert_array_equal(sorted_.below, raw.below)
    np.testing.assert_array_equal(sorted_.upto, raw.upto)


@pytest.mark.parametrize(
    ("y", "below", "upto", "percentile"),
    [
        (0.0, 0, 0, 0.05),  # half of the probability below the first curve
        (10.0, 0, 1, 0.1),  # on a curve: its tau
        (15.0, 1, 1, 0.2),  # half way between two
        (20.0, 1, 3, 0.5),  # on two curves: the middle of their taus
        (25.0, 3, 3, 0.8),
        (30.0, 3, 4, 0.9),
        (99.0, 4, 4, 0.95),
    ],
)
def test_percentiles_by_hand(y: float, below: int, upto: int, percentile: float) -> None:
    process = curves_process(np.array([0.1, 0.3, 0.7, 0.9]), np.array([10.0, 20.0, 20.0, 30.0]))
    scores = process.score(np.ones((1, 1)), np.array([y]))
    assert (scores.below[0], scores.upto[0]) == (below, upto)
    assert scores.percentile[0] == pytest.approx(percentile, abs=1e-15)
    assert scores.median[0] == 20.0


def test_higher_scores_never_get_lower_percentiles() -> None:
    rng = np.random.default_rng(3)
    process = curves_process(
        np.sort(rng.uniform(0.01, 0.99, 30)), np.sort(rng.integers(0, 20, 30)).astype(float)
    )
    y = np.linspace(-3.0, 25.0, 2_000)
    percentile = process.score(np.ones((2_000, 1)), y).percentile
    assert (np.diff(percentile) >= 0).all()


def test_crossed_curves_are_counted_and_sorted() -> None:
    process = curves_process(np.array([0.2, 0.4, 0.6, 0.8]), np.array([1.0, 3.0, 2.0, 4.0]))
    scores = process.score(np.ones((5, 1)), np.array([0.0, 1.5, 2.5, 3.5, 9.0]))
    assert scores.crossing_share == pytest.approx(1 / 3)
    np.testing.assert_array_equal(scores.below, [0, 1, 2, 3, 4])
    np.testing.assert_allclose(scores.percentile, [0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_array_equal(process.predict(np.ones((1, 1))), [[1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_array_equal(process.predict(np.ones((1, 1)), rearrange=False), [[1.0, 3.0, 2.0, 4.0]])


def test_the_median_lies_between_the_taus_around_one_half() -> None:
    for taus, expected in (
        ([0.25, 0.5, 0.75], 2.0),
        ([0.1, 0.4, 0.8], 2.0 + 0.25 * 2.0),
        ([0.6, 0.7, 0.8], 1.0),
    ):
        process = curves_process(np.array(taus), np.array([1.0, 2.0, 4.0]))
        assert process.score(np.ones((1, 1)), np.array([0.0])).median[0] == pytest.approx(expected)


def test_new_designs_must_fit(fitted: tuple[problems.Problem, QuantileProcess]) -> None:
    problem, process = fitted
    with pytest.raises(SpecError, match=r"shape \(700, 3\).*process has 15 columns"):
        process.predict(problem.design[:, :3])
    with pytest.raises(SpecError, match=r"process has 15 columns"):
        process.score(problem.design[0], problem.response)
    with pytest.raises(ColumnError, match=r"shape \(700, 15\).*shape \(5,\)"):
        process.score(problem.design, problem.response[:5])
    unknown = np.where(np.arange(700) < 3, np.nan, problem.response)
    with pytest.raises(ColumnError, match=r"NaN.*Rows affected: 3"):
        process.score(problem.design, unknown)


@pytest.fixture(scope="module", params=["intercept", "flags", "all in blocks"])
def tabled(request: pytest.FixtureRequest) -> tuple[problems.Problem, QuantileProcess]:
    """Integer priors; outside the blocks one column, several that are constant in places, or none."""
    problem = problems.make("splines", MANY, 15, 4)
    rng = np.random.default_rng(9)
    design, blocks = problem.design, [slice(1, 8), slice(8, 15)]
    if request.param == "flags":
        varied = np.arange(MANY) >= SOME
        design = np.column_stack([design, (rng.random((MANY, 5)) < 0.3) * varied[:, None]])
    if request.param == "all in blocks":
        blocks = [slice(0, 8), slice(8, 15)]
    process = fit_quantiles(design, problem.response, blocks=blocks)
    # Curves cross all over, also where they are read off.
    shaken = process.coef + rng.normal(0.0, 1.0, process.coef.shape)
    return problem._replace(design=design), dataclasses.replace(process, coef=shaken)


def require_same(scores: Scores, expected: Scores, rows: slice = slice(None)) -> None:
    """Equal to the last bit."""
    for name in ("below", "upto", "percentile", "median"):
        np.testing.assert_array_equal(getattr(scores, name), getattr(expected, name)[rows], err_msg=name)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_tables_chunks_and_threads_do_not_change_a_bit(
    tabled: tuple[problems.Problem, QuantileProcess], way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (design, y, _), process = tabled
    assert designs.CodedDesign.of(design, process.blocks) is not None
    whole = process.score(design, y, **way)
    few = slice(SOME - 10, SOME + 10)  # so few are not looked up
    require_same(process.score(design[few], y[few], **way), whole, few)
    require_same(process.score(np.asfortranarray(design), y, **way), whole)
    monkeypatch.setattr(chapter, "CHUNK", SOME)
    for n_jobs in (1, 2):
        chunked = process.score(design, y, n_jobs=n_jobs, **way)
        require_same(chunked, whole)
        assert chunked.crossing_share == whole.crossing_share
    monkeypatch.setattr(designs, "CODE_FROM", MANY + 1)
    dense = process.score(design, y, **way)
    require_same(dense, whole)
    assert dense.crossing_share == whole.crossing_share > 0.05


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_places_count_the_curves_that_are_predicted(
    tabled: tuple[problems.Problem, QuantileProcess], way: dict[str, Any]
) -> None:
    """Scores at, and a rounding error beside, a predicted curve; at both bounds; and beyond everything."""
    (design, y, _), process = tabled
    design = design[: MANY // 2]
    curves = process.predict(design, **way)
    n, m = curves.shape
    on = curves[np.arange(n), np.arange(n) % m]
    ends = np.resize([2500.0, 2620.0, -np.inf, np.inf, 1e12], n)
    for response in (y[:n], on, np.nextafter(on, 1e9), np.nextafter(on, 0.0), ends):
        scores = process.score(design, response, **way)
        np.testing.assert_array_equal(scores.below, (curves < response[:, None]).sum(axis=1))
        np.testing.assert_array_equal(scores.upto, (curves <= response[:, None]).sum(axis=1))
        rows = range(0, n, 7)
        expected = [naive.percentile(np.sort(curves[i]), process.taus, response[i]) for i in rows]
        np.testing.assert_allclose(scores.percentile[rows], expected, rtol=1e-9)
        np.testing.assert_array_equal(scores.median, 0.5 * curves[:, 49] + 0.5 * curves[:, 50])


def test_blocks_change_no_more_than_the_last_bits(tabled: tuple[problems.Problem, QuantileProcess]) -> None:
    (design, y, _), process = tabled
    single = dataclasses.replace(process, blocks=())
    np.testing.assert_allclose(process.predict(design), single.predict(design), rtol=SAME_SUM)
    scores, expected = process.score(design, y), single.score(design, y)
    np.testing.assert_allclose(scores.percentile, expected.percentile, rtol=1e-7)


def test_designs_must_be_known(tabled: tuple[problems.Problem, QuantileProcess]) -> None:
    (design, y, _), process = tabled
    holes = design.copy()
    holes[[3, 70], 2] = np.nan, np.inf
    for read in (lambda: process.predict(holes), lambda: process.score(holes, y)):
        with pytest.raises(ColumnError, match=r"not finite.*Rows affected: 2.*drop"):
            read()


def test_nobody_to_score(fitted: tuple[problems.Problem, QuantileProcess]) -> None:
    scores = fitted[1].score(np.empty((0, 15)), np.empty(0))
    assert scores.below.size == scores.percentile.size == 0
    assert scores.crossing_share == 0.0


def test_a_single_curve() -> None:
    process = fit_quantiles(np.ones((5, 1)), np.arange(5.0), [0.25])
    scores = process.score(np.ones((3, 1)), np.array([0.0, 1.0, 7.0]))
    np.testing.assert_array_equal(scores.median, 1.0)
    np.testing.assert_allclose(scores.percentile, [0.125, 0.25, 0.625])
    assert scores.crossing_share == 0.0


def test_a_process_reads_well(fitted: tuple[problems.Problem, QuantileProcess]) -> None:
    _, process = fitted
    shown = repr(process)
    assert "100 taus in [0.005, 0.995]" in shown
    assert "n=700, p=15" in shown
    assert "largest relative gap" in shown
    with pytest.raises(dataclasses.FrozenInstanceError):
        cast(object, process).__setattr__("n", 3)
