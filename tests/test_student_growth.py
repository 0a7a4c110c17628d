"""The student room: knots, covariates, grids and frozen curves; and whether it tells the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import naive
import numpy as np
import pytest
from scipy.stats import chisquare

from growth._types import FloatArray, IntArray
from growth.errors import CohortError, SpecError
from growth.panel import Panel, Pattern, Prior
from growth.panel.simulate import SimulatedCohort, simulate_cohort
from growth.quantile import SplineBasis, spline_design
from growth.spec import GrowthSpec
from growth.student import StudentGrowth, student_growth
from growth.student.growth import percentile_cuts

SPEC = GrowthSpec.preset("sgp")
STUDENTS = 20_000
ERROR = 1.5
"""Largest mean absolute error of the percentile [percentile points] (issue 2); found: 0.5 to 1.0."""
SHARE = 0.03
"""Within a prior decile (2,000 students) each tenth of the percentiles holds 10 % of them; sampling alone has
a standard deviation of 0.67 %, so the largest of 100 deviations stays below 3 points."""
LEVEL = 1e-3
"""Fixed seeds: a smaller chi-square p-value in one of ten deciles is a wrong method, not bad luck."""
MEAN = 2.5
"""Mean percentile of a decile: sampling alone has a standard deviation of 0.65 points."""
PINNED = 0.1
"""A flag in the model pins its group's mean at 50, up to interpolated students [percentile points]."""


def panel_of(cohort: SimulatedCohort, *, flag: bool = False, **changes: Any) -> Panel:  # noqa: ANN401
    n, k = cohort.priors.shape
    panel = Panel(
        subject="MATH",
        grade=8,
        year=2025,
        pattern=Pattern(tuple(Prior("MATH", lag, 8 - lag) for lag in range(1, k + 1))),
        row=np.arange(n),
        score=cohort.score,
        priors=cohort.priors,
        covariates=cohort.flag[:, None].astype(float) if flag else np.empty((n, 0)),
        covariate_names=("flag",) if flag else (),
        knot_scores=tuple(cohort.priors.T),
        bounds=None,
        norm_group="2024/MATH_7; 2025/MATH_8",
    )
    return replace(panel, **changes)


@pytest.fixture(scope="module")
def cohort() -> SimulatedCohort:
    """Whole scores, so that ties happen."""
    drawn = simulate_cohort(900, 2, n_schools=20, flag_gap=-0.5, seed=1)
    return replace(drawn, score=np.round(drawn.score), priors=np.round(drawn.priors, -1))


@pytest.fixture(scope="module")
def growth(cohort: SimulatedCohort) -> StudentGrowth:
    return student_growth(panel_of(cohort, flag=True), SPEC)


def test_percentiles_are_those_of_the_twin(cohort: SimulatedCohort, growth: StudentGrowth) -> None:
    bases = tuple(SplineBasis.from_scores(prior) for prior in cohort.priors.T)
    assert growth.bases == bases
    design = spline_design(cohort.priors, bases, cohort.flag[:, None].astype(float))
    curves = naive.curves(design, growth.process.coef, digits=5)
    np.testing.assert_array_equal(growth.sgp, naive.sgp(curves, cohort.score))
    taus = growth.process.taus
    expected = [naive.percentile(row, taus, y) for row, y in zip(curves, cohort.score, strict=True)]
    np.testing.assert_allclose(growth.percentile, expected, rtol=1e-9)
    np.testing.assert_allclose(growth.expected, (curves[:, 49] + curves[:, 50]) / 2)
    raw = np.diff(design @ growth.process.coef.T, axis=1)
    # curves that meet in a student are equal up to rounding
    assert (raw < -1e-9).mean() <= growth.crossing_share <= (raw < 1e-9).mean()


def test_integers_and_continuous_percentiles_belong_together(growth: StudentGrowth) -> None:
    """SGP m counts m curves below: the percentile lies between their taus, or on one where the score does."""
    low = np.where(growth.sgp == 1, 0.0, (growth.sgp - 0.5) / 100)
    assert (growth.percentile >= low).all()
    apart = np.abs(100 * growth.percentile - growth.sgp)
    assert np.median(apart) < 1.0
    assert growth.percentile.min() > 0.0
    assert growth.percentile.max() < 1.0


def test_columns_have_names(growth: StudentGrowth) -> None:
    names = growth.process.names
    assert names[:3] == ("intercept", "MATH_lag1_b1", "MATH_lag1_b2")
    assert names[8] == "MATH_lag2_b1"
    assert names[-1] == "flag"
    assert len(names) == 1 + 7 + 7 + 1
    assert growth.key == "MATH_2025_G8_own2"
    assert "900 students, 2 priors" in repr(growth)


def test_constant_flags_are_reported(cohort: SimulatedCohort) -> None:
    n = len(cohort.score)
    columns = np.column_stack([np.zeros(n), np.ones(n), cohort.flag])
    panel = panel_of(cohort, covariates=columns, covariate_names=("foster", "tested", "flag"))
    process = student_growth(panel, SPEC).process
    assert process.dropped_names == ("foster", "tested")


def test_the_spec_places_knots(cohort: SimulatedCohort) -> None:
    spec = SPEC.replace(
        {
            "basis.knot_quantiles": [0.5],
            "basis.boundary_margin": 0.0,
            "basis.degree": 2,
            "basis.round_digits": 0,
        }
    )
    basis = student_growth(panel_of(cohort), spec).bases[0]
    prior = cohort.priors[:, 0]
    assert basis == SplineBasis((float(np.median(prior)),), (prior.min(), prior.max()), 2)
    wide = panel_of(cohort, knot_scores=(np.array([0.0, 100.0]), np.array([0.0, 1000.0])))
    assert student_growth(wide, SPEC).bases[1].boundaries == (-100.0, 1100.0)


def test_fixed_knots_win_over_data(cohort: SimulatedCohort) -> None:
    knots = {"knots": (2450.0, 2550.0), "boundaries": (2400.0, 2600.0)}
    growth = student_growth(panel_of(cohort), SPEC.replace({"basis.fixed": {"MATH": {"7": knots}}}))
    assert growth.bases[0] == SplineBasis((2450.0, 2550.0), (2400.0, 2600.0))
    assert growth.bases[1] == SplineBasis.from_scores(cohort.priors[:, 1])
    outside = (cohort.priors[:, 0] < 2400) | (cohort.priors[:, 0] > 2600)
    assert growth.outside_knots == outside.sum() > 0


@pytest.mark.parametrize(
    "grid", [{"quantiles.count": 20}, {"quantiles.taus": tuple(np.linspace(0.2, 0.8, 100).tolist())}]
)
def test_other_grids_give_percentiles_all_the_same(
    cohort: SimulatedCohort, growth: StudentGrowth, grid: dict[str, Any]
) -> None:
    """Counting curves counts percentiles only on the grid of hundred; elsewhere the integer is read off."""
    panel = panel_of(cohort, flag=True)
    coarse = student_growth(panel, SPEC.replace(grid))
    np.testing.assert_array_equal(coarse.sgp, np.clip(np.floor(100 * coarse.percentile), 1, 99))
    middle = (growth.sgp > 25) & (growth.sgp < 75)
    assert np.abs(coarse.sgp - growth.sgp)[middle].mean() < 3
    with pytest.raises(SpecError, match="100 taus"):
        percentile_cuts(coarse, panel, (50,), SPEC)


def test_percentile_cuts_are_upper_ends(cohort: SimulatedCohort, growth: StudentGrowth) -> None:
    """A score below cut c earns an SGP of at most c; one above it more than c."""
    panel = panel_of(cohort, flag=True)
    cuts = percentile_cuts(growth, panel, (10, 50, 90), SPEC, digits=4)
    for c, cut in zip((10, 50, 90), cuts.T, strict=True):
        assert (growth.sgp[cohort.score < cut - 1e-3] <= c).all()
        assert (growth.sgp[cohort.score > cut + 1e-3] > c).all()
    clipped = percentile_cuts(growth, replace(panel, bounds=(2480.0, 2520.0)), (1, 99), SPEC)
    assert clipped.min() == 2480.0
    assert clipped.max() == 2520.0


def test_frozen_curves_are_not_fitted_again(cohort: SimulatedCohort) -> None:
    """With frozen curves and knots the same student gets the same percentile, whoever else is there."""
    spec = SPEC.replace(
        {
            "basis.fixed": {
                "MATH": {
                    str(8 - lag): {"knots": basis.knots, "boundaries": basis.boundaries}
                    for lag, basis in enumerate(map(SplineBasis.from_scores, cohort.priors.T), start=1)
                }
            }
        }
    )
    base = student_growth(panel_of(cohort), spec)
    few = slice(0, 100)
    some = replace(cohort, score=cohort.score[few], priors=cohort.priors[few], flag=cohort.flag[few])
    later = student_growth(panel_of(some), spec, process=base.process)
    assert later.process is base.process
    for name in ("sgp", "percentile", "expected"):
        np.testing.assert_array_equal(getattr(later, name), getattr(base, name)[few])
    better = student_growth(panel_of(replace(some, score=some.score + 20)), spec, process=base.process)
    assert better.percentile.mean() > later.percentile.mean() + 0.05
    with pytest.raises(SpecError, match="columns"):
        student_growth(panel_of(some, flag=True), spec, process=base.process)
    with pytest.raises(SpecError, match="knots it was fitted with"):
        student_growth(panel_of(some), SPEC, process=base.process)


def test_threads_do_not_matter(cohort: SimulatedCohort, growth: StudentGrowth) -> None:
    two = student_growth(panel_of(cohort, flag=True), SPEC, n_jobs=2)
    np.testing.assert_array_equal(two.percentile, growth.percentile)
    np.testing.assert_array_equal(two.sgp, growth.sgp)


def test_priors_must_vary(cohort: SimulatedCohort) -> None:
    with pytest.raises(CohortError, match="do not vary"):
        student_growth(panel_of(cohort, knot_scores=(np.full(9, 2500.0), np.full(9, 2500.0))), SPEC)


def test_the_ceiling_correction_needs_bounds(cohort: SimulatedCohort) -> None:
    changes = {"scale.bounds": {"ELA": {"8": (2000.0, 3000.0)}}, "correction.loss_hoss": True}
    with pytest.raises(SpecError, match=r"scale\.bounds.*MATH, grade 8"):
        student_growth(panel_of(cohort), SPEC.replace(changes))


# --- truth --------------------------------------------------------------------------------------------------


Truth = tuple[SimulatedCohort, StudentGrowth]


@pytest.fixture(
    scope="module",
    params=[
        {"k_priors": 1},
        {"k_priors": 2, "flag_gap": -0.6},
        {"k_priors": 3, "intake_sd": 0.3, "reliability": 0.85},
    ],
    ids=["one prior", "a flag", "three noisy priors"],
)
def truth(request: pytest.FixtureRequest) -> Truth:
    cohort = simulate_cohort(STUDENTS, seed=7, **request.param)
    return cohort, student_growth(panel_of(cohort, flag="flag_gap" in request.param), SPEC)


def deciles(prior: FloatArray) -> IntArray:
    return np.searchsorted(np.quantile(prior, np.arange(1, 10) / 10), prior)


def test_percentiles_are_the_conditional_distribution(truth: Truth) -> None:
    cohort, growth = truth
    assert 100 * np.abs(growth.percentile - cohort.percentile).mean() < ERROR
    assert 100 * np.abs((growth.sgp - 0.5) / 100 - cohort.percentile).mean() < ERROR + 0.5
    assert np.abs(growth.expected - cohort.expected).mean() < 0.05 * cohort.spread


def test_percentiles_are_uniform_within_every_prior_decile(truth: Truth) -> None:
    cohort, growth = truth
    for prior in cohort.priors.T:
        decile = deciles(prior)
        for d in range(10):
            mine = growth.percentile[decile == d]
            counts = np.histogram(mine, np.linspace(0, 1, 11))[0]
            assert np.abs(counts / mine.size - 0.1).max() < SHARE
            assert chisquare(counts).pvalue > LEVEL
            assert abs(100 * mine.mean() - 50) < MEAN


def test_growth_is_not_achievement(truth: Truth) -> None:
    cohort, growth = truth
    for prior in cohort.priors.T:
        assert abs(np.corrcoef(growth.percentile, prior)[0, 1]) < 0.01


def test_a_flag_in_the_model_pins_its_group(truth: Truth) -> None:
    cohort, growth = truth
    if "flag" not in growth.process.names:
        assert abs(100 * growth.percentile.mean() - 50) < PINNED
        return
    for group in (cohort.flag, ~cohort.flag):
        assert abs(100 * growth.percentile[group].mean() - 50) < PINNED
    unadjusted = student_growth(panel_of(cohort), SPEC)
    assert 100 * unadjusted.percentile[cohort.flag].mean() < 50 - 1.0
