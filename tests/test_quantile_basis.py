"""Spline bases against scipy's, and knots against the rule in words."""

from __future__ import annotations

import naive
import numpy as np
import pytest

from growth.errors import CohortError, SpecError
from growth.quantile import SplineBasis, spline_design

SAME = 1e-12
"""Basis functions are at most 1 inside the boundaries; outside they are polynomials, compared relatively."""

KNOTS = {
    "usual": ((392.0, 440.0, 481.0, 529.0), (150.0, 700.0)),
    "repeated": ((400.0, 400.0, 450.0, 450.0), (300.0, 600.0)),
    "on the boundary": ((300.0, 350.0, 600.0), (300.0, 600.0)),
    "all on a boundary": ((300.0, 300.0, 300.0, 300.0), (300.0, 600.0)),
    "none": ((), (0.0, 1.0)),
    "close": ((1.0, 1.0 + 1e-9, 2.0), (0.0, 3.0)),
}


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
@pytest.mark.parametrize("name", KNOTS)
def test_columns(name: str, degree: int) -> None:
    knots, boundaries = KNOTS[name]
    low, high = boundaries
    x = np.r_[np.random.default_rng(0).uniform(low, high, 200), knots, low, np.nextafter(high, low)]
    # Where a knot lies on the upper boundary scipy's rows are zero there; the limit from inside is right.
    x = x[x < high]
    basis = SplineBasis(knots, boundaries, degree)
    got = basis.design(x)
    np.testing.assert_allclose(got, naive.spline_columns(x, knots, boundaries, degree), rtol=0, atol=SAME)
    assert got.shape == (x.size, len(knots) + degree)
    edge = basis.design(np.array([high - 1e-12 * (high - low), high]))
    np.testing.assert_allclose(edge[1], edge[0], atol=1e-8)


@pytest.mark.parametrize("degree", [1, 3])
def test_outside_the_boundaries_the_end_polynomials_go_on(degree: int) -> None:
    knots, boundaries = KNOTS["usual"]
    x = np.array([-200.0, 100.0, 149.999, 700.001, 760.0, 1200.0])
    basis = SplineBasis(knots, boundaries, degree)
    expected = naive.spline_columns(x, knots, boundaries, degree)
    np.testing.assert_allclose(basis.design(x), expected, rtol=1e-10, atol=SAME)
    assert basis.outside(x) == 6
    assert basis.outside(np.array([150.0, 700.0, 400.0])) == 0


@pytest.mark.parametrize("name", ["usual", "none"])
def test_the_span_holds_every_cubic(name: str) -> None:
    knots, boundaries = KNOTS[name]
    x = np.linspace(*boundaries, 50)
    design = spline_design(x[:, None], [SplineBasis(knots, boundaries)])
    u = (x - x[0]) / (x[-1] - x[0])
    for power in range(4):
        fitted = design @ np.linalg.lstsq(design, u**power, rcond=None)[0]
        np.testing.assert_allclose(fitted, u**power, atol=1e-10)


def test_the_design_is_additive() -> None:
    rng = np.random.default_rng(1)
    priors, flags = rng.uniform(300, 600, (40, 2)), rng.integers(0, 2, (40, 3)).astype(float)
    bases = [SplineBasis((400.0, 500.0), (250.0, 650.0)), SplineBasis((450.0,), (250.0, 650.0), 2)]
    design = spline_design(priors, bases, flags)
    assert design.shape == (40, 1 + 5 + 3 + 3)
    np.testing.assert_array_equal(design[:, 0], 1.0)
    np.testing.assert_array_equal(design[:, 1:6], bases[0].design(priors[:, 0]))
    np.testing.assert_array_equal(design[:, 6:9], bases[1].design(priors[:, 1]))
    np.testing.assert_array_equal(design[:, 9:], flags)
    np.testing.assert_array_equal(spline_design(priors, bases), design[:, :9])
    with pytest.raises(SpecError, match="2 priors but 1 bases"):
        spline_design(priors, bases[:1])


def test_knots_by_hand() -> None:
    """Scores 0..10: type-7 quantiles at 2, 4, 6, 8 and a tenth of 10 beyond each end."""
    scores = np.r_[np.arange(11.0), np.nan]
    basis = SplineBasis.from_scores(scores)
    assert basis.knots == (2.0, 4.0, 6.0, 8.0)
    assert basis.boundaries == (-1.0, 11.0)
    assert basis.n_columns == 7
    third = SplineBasis.from_scores(scores, quantiles=[1 / 3], margin=0.0, digits=1, degree=2)
    assert third == SplineBasis((3.3,), (0.0, 10.0), 2)
    assert SplineBasis.from_scores(scores, quantiles=[1 / 3], digits=None).knots[0] == pytest.approx(10 / 3)


def test_rounding_never_pushes_knots_over_the_boundaries() -> None:
    scores = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.00049])
    basis = SplineBasis.from_scores(scores, margin=0.0)
    assert basis.boundaries[0] <= basis.knots[0] <= basis.knots[-1] <= basis.boundaries[1]


@pytest.mark.parametrize("scores", [[], [np.nan], [500.0, 500.0, np.nan]])
def test_priors_that_do_not_vary(scores: list[float]) -> None:
    with pytest.raises(CohortError, match=r"do not vary.*Rows affected.*at least two different"):
        SplineBasis.from_scores(np.array(scores))


@pytest.mark.parametrize(
    ("knots", "boundaries", "degree", "message"),
    [
        ((5.0, 4.0), (0.0, 9.0), 3, "not decrease"),
        ((5.0,), (6.0, 9.0), 3, "within the boundaries"),
        ((np.nan,), (0.0, 9.0), 3, "finite"),
        ((), (0.0, np.inf), 3, "finite"),
        ((4.0,), (4.0, 4.0), 3, "must differ"),
        ((4.0,), (0.0, 9.0), 0, "degree must be 1 to 8"),
        ((4.0,), (0.0, 9.0), 9, "degree must be 1 to 8"),
    ],
)
def test_impossible_bases(
    knots: tuple[float, ...], boundaries: tuple[float, float], degree: int, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        SplineBasis(knots, boundaries, degree)
