"""The engines beside the quantile one: against closed forms, brute force, peers and simulated truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_cases import CONTEXT, FLAG, SLOPE, columns, extrapolated, means, omega, simulated
from scipy.linalg import eigh
from scipy.special import ndtr
from scipy.stats import kstest, rankdata

from growth._types import FloatArray
from growth.errors import CohortError, GrowthWarning, SpecError
from growth.panel import Panel
from growth.panel.csem import natural_spline
from growth.panel.simulate import SimulatedCohort, simulate_cohort
from growth.spec import GrowthSpec
from growth.student import (
    LinearGrowth,
    NormalGrowth,
    QuantileGrowth,
    percentile_cuts,
    student_growth,
)
from growth.student.engines.eiv import eiv_growth
from growth.student.least_squares import LEAST_RELIABILITY, fit_linear, independent_columns
from growth.student.result import percentile_ranks, sgp_of

PLAIN = GrowthSpec.preset("sgp").replace({"peers.flags": ("flag",)})
EIV = PLAIN.replace({"student.engine": "eiv", "measurement.csem": "column"})
GAIN = PLAIN.replace({"student.engine": "residual_gain"})
NORMAL = PLAIN.replace({"student.engine": "normal"})
QUADRATIC = {"student.prior_terms": "quadratic"}

SAME = 1e-7
"""Two ways to the same least-squares solution, one of them through normal equations [relative]."""
NOISE = 3.0
"""Monte-Carlo standard errors between exact and simulated coefficients (issue 4)."""
PERCENTILE = 1.0
"""Mean absolute error of the normal engine's percentile on Gaussian data, 20,000 students [percentile
points]; found: 0.6. Issue 2 allows the quantile engine 1.5."""
SPREAD = 0.05
"""Relative error of the conditional SD over the middle 90 % of 20,000 students; its sampling SD is 1 %."""
REPEATS = 400
COVERAGE = 0.033
"""Three binomial standard deviations of a 95 % interval's coverage in `REPEATS` repetitions."""


def linear(panel: Panel, spec: GrowthSpec) -> LinearGrowth:
    growth = student_growth(panel, spec)
    assert isinstance(growth, LinearGrowth)
    return growth


def normal(panel: Panel) -> NormalGrowth:
    growth = student_growth(panel, NORMAL)
    assert isinstance(growth, NormalGrowth)
    return growth


class TestErrorsInVariables:
    def test_one_prior_is_the_textbook_slope(self) -> None:
        """Fuller (1987), section 1.2: covariance over the variance less that of the errors."""
        case = simulated(3_000, 40, seed=1)
        panel = replace(case.panel, covariates=np.empty((3_000, 0)), covariate_names=())
        fit = linear(panel, EIV).fit
        w, y = panel.priors[:, 0], panel.score
        variance = np.var(w) - np.mean(panel.csem**2)
        slope = np.cov(w, y, bias=True)[0, 1] / variance
        np.testing.assert_allclose(fit.coef, [y.mean(), slope], rtol=SAME)
        assert fit.least_reliability == pytest.approx(variance / np.var(w), rel=SAME)
        assert fit.names == ("intercept", "MATH_lag1")

    @pytest.mark.parametrize(("priors", "context"), [(1, False), (2, False), (1, True), (2, True)])
    def test_moments_are_corrected_student_by_student(self, priors: int, context: bool) -> None:
        panel = simulated(400, 12, seed=2, priors=priors, context=context).panel
        fit = linear(panel, EIV).fit
        x = columns(panel, panel.priors, panel.priors.mean(axis=0), quadratic=False)
        errors = omega(panel)
        inverse = np.linalg.inv(x.T @ x - errors.sum(axis=0))
        coef = inverse @ x.T @ panel.score
        np.testing.assert_allclose(fit.coef, coef, rtol=SAME)
        psi = np.array(
            [
                x[i] * (panel.score[i] - x[i] @ coef) + errors[i] @ coef
                for i in range(len(panel))
            ]
        )  # fmt: skip
        sums = np.array([psi[panel.school == j].sum(axis=0) for j in np.unique(panel.school)])
        n, p = x.shape
        variance = 12 / 11 * (n - 1) / (n - p) * inverse @ sums.T @ sums @ inverse
        np.testing.assert_allclose(fit.standard_error, np.sqrt(np.diag(variance)), rtol=SAME)
        assert fit.clusters == 12

    def test_students_without_a_school_have_the_mean_of_all(self) -> None:
        """As the column of school means has it where school_id may be missing."""
        panel = simulated(500, 10, seed=15, context=True).panel
        school = np.where(panel.school == 0, -1, panel.school)
        column = means(panel.priors[:, 0], panel.school)
        column[school < 0] = panel.priors[:, 0].mean()
        covariates = np.column_stack([panel.covariates[:, 0], column])
        lost = replace(panel, school=school, covariates=covariates, covariate_names=panel.covariate_names[:2])
        variance, where = panel.csem[:, 0] ** 2, school < 0
        own = np.where(where, variance / 500, variance / np.bincount(panel.school)[panel.school])
        shared = np.where(
            where,
            variance.sum() / 500**2,
            means(variance, panel.school) / np.bincount(panel.school)[panel.school],
        )
        x = np.column_stack([np.ones(500), panel.priors[:, 0], covariates])
        x[:, [1, 3]] -= panel.priors[:, 0].mean()
        total = np.zeros((4, 4))
        total[1, 1], total[1, 3], total[3, 1], total[3, 3] = (
            variance.sum(),
            own.sum(),
            own.sum(),
            shared.sum(),
        )
        expected = np.linalg.solve(x.T @ x - total, x.T @ panel.score)
        np.testing.assert_allclose(linear(lost, EIV).fit.coef, expected, rtol=SAME)

    @pytest.mark.parametrize("quadratic", [False, True])
    @pytest.mark.parametrize(("priors", "context"), [(1, False), (2, True)])
    def test_simulation_and_extrapolation_agree(self, quadratic: bool, priors: int, context: bool) -> None:
        """Error products of squares and of school means, found by adding error instead of by formula."""
        panel = simulated(1_500, 60, seed=3, priors=priors, context=context, curve=5e-4).panel
        fit = linear(panel, EIV.replace(QUADRATIC) if quadratic else EIV).fit
        runs = np.array([extrapolated(panel, quadratic, draws=200, seed=seed) for seed in range(25)])
        error = runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
        # columns without a share in the errors have hardly any Monte-Carlo noise of their own
        assert (np.abs(fit.coef - runs.mean(axis=0)) <= NOISE * error + SAME * np.abs(fit.coef)).all()
        naive = linear(panel, GAIN.replace(QUADRATIC) if quadratic else GAIN).fit
        assert abs(naive.coef[1] - runs[:, 1].mean()) > 10 * error[1], "the correction is far above the noise"

    def test_intervals_cover_the_true_coefficients(self) -> None:
        truth = np.array([SLOPE, FLAG, CONTEXT])
        inside = np.zeros(3)
        naive = 0
        for seed in range(REPEATS):
            panel = simulated(1_500, 100, seed=seed, context=True).panel
            panel = replace(
                panel, covariates=panel.covariates[:, :2], covariate_names=panel.covariate_names[:2]
            )
            fit = linear(panel, EIV).fit
            at = [fit.names.index(name) for name in ("MATH_lag1", "flag", "school_mean:prior")]
            inside += np.abs(fit.coef[at] - truth) <= 1.96 * fit.standard_error[at]
            plain = linear(panel, GAIN).fit
            naive += abs(plain.coef[1] - SLOPE) <= 1.96 * plain.standard_error[1]
        np.testing.assert_allclose(inside / REPEATS, 0.95, atol=COVERAGE)
        assert naive == 0, "uncorrected slopes are attenuated beyond their intervals"

    def test_a_curved_relation_is_found_behind_the_errors(self) -> None:
        case = simulated(60_000, 300, seed=4, curve=5e-4, effect_sd=0.0)
        spec = EIV.replace(QUADRATIC)
        fit = linear(case.panel, spec).fit
        centre = case.panel.priors.mean()
        slope = SLOPE + 2 * 5e-4 * (centre - 2500)
        found = np.abs(fit.coef[1:3] - [slope, 5e-4]) / fit.standard_error[1:3]
        assert (found < NOISE).all()
        assert abs(linear(case.panel, GAIN.replace(QUADRATIC)).fit.coef[2] - 5e-4) > 1e-4

    def test_schools_with_able_intakes_are_no_longer_favoured(self) -> None:
        case = simulated(20_000, 100, seed=5)
        bias = []
        for spec in (GAIN, EIV):
            residual = linear(case.panel, spec).residual
            error = np.bincount(case.panel.school, weights=residual) / np.bincount(case.panel.school)
            bias.append(np.polyfit(case.intake, error - case.effect, 1)[0])
        assert bias[0] > 0.08, "points of school result per point of intake"
        assert abs(bias[1]) < bias[0] / 4

    @pytest.mark.parametrize("changes", [{}, QUADRATIC])
    def test_without_errors_it_is_least_squares(self, changes: dict[str, Any]) -> None:
        panel = simulated(800, 20, seed=6, priors=2, context=True).panel
        exact = linear(replace(panel, csem=np.zeros_like(panel.priors)), EIV.replace(changes))
        plain = linear(panel, GAIN.replace(changes))
        np.testing.assert_allclose(exact.fit.coef, plain.fit.coef, rtol=SAME)
        np.testing.assert_allclose(exact.fit.standard_error, plain.fit.standard_error, rtol=SAME)
        np.testing.assert_array_equal(exact.sgp, plain.sgp)
        assert (exact.fit.least_reliability, exact.fit.capped) == (1.0, 0)

    def test_too_much_error_is_refused_or_partly_removed(self) -> None:
        panel = simulated(900, 20, seed=7, priors=2).panel
        noisy = replace(panel, csem=2.0 * panel.csem)
        with pytest.raises(
            CohortError, match=r"MATH_2025_G8_own1_other1: Removing the measurement error"
        ) as e:
            student_growth(noisy, EIV)
        assert "student.not_definite" in str(e.value)
        with pytest.warns(GrowthWarning, match=r"removed from 1 of 4 combinations of columns"):
            fit = linear(noisy, EIV.replace({"student.not_definite": "partial"})).fit
        assert fit.capped == 1
        assert fit.least_reliability < LEAST_RELIABILITY
        x = columns(noisy, noisy.priors, noisy.priors.mean(axis=0), quadratic=False)
        errors = omega(noisy)
        share, v = eigh(errors.sum(axis=0), x.T @ x)  # v' W'W v = 1
        assert fit.least_reliability == pytest.approx(1 - share[-1], rel=SAME)
        capped = np.minimum(share, 1 - LEAST_RELIABILITY)
        inverse = (v / (1 - capped)) @ v.T
        np.testing.assert_allclose(fit.coef, inverse @ x.T @ noisy.score, rtol=SAME)
        narrow = np.diag(np.sqrt(np.where(share > capped, capped / np.where(share > 0, share, 1), 1)))
        t = np.linalg.inv(v).T @ narrow @ v.T
        left = np.array([t @ one @ t.T for one in errors])
        np.testing.assert_allclose(np.linalg.inv(inverse), x.T @ x - left.sum(axis=0), rtol=SAME, atol=1e-4)
        psi = x * (noisy.score - x @ fit.coef)[:, None] + left @ fit.coef
        sums = np.array([psi[noisy.school == j].sum(axis=0) for j in range(20)])
        variance = 20 / 19 * 899 / 896 * inverse @ sums.T @ sums @ inverse
        np.testing.assert_allclose(fit.standard_error, np.sqrt(np.diag(variance)), rtol=SAME)

    def test_a_part_keeps_the_correction_where_it_can_be_had(self) -> None:
        """Two school means too many among few schools must not undo the correction of the student's prior."""
        panel = simulated(8_000, 4, seed=16, context=True).panel
        extra = np.column_stack([panel.covariates, means(panel.priors[:, 0] ** 2 / 2500, panel.school)])
        few = replace(
            panel, covariates=extra, covariate_names=(*panel.covariate_names, "school_mean:something")
        )
        with pytest.warns(GrowthWarning, match="partly biased"):
            fit = linear(few, EIV.replace({"student.not_definite": "partial"})).fit
        naive = linear(few, GAIN).fit
        assert abs(naive.coef[1] - SLOPE) > 0.1 > 10 * abs(fit.coef[1] - SLOPE)

    def test_columns_of_unknown_error_are_refused(self) -> None:
        panel = simulated(300, 10, seed=8, context=True).panel
        with pytest.raises(SpecError, match="needs the CSEM"):
            eiv_growth(replace(panel, csem=None), EIV)
        with pytest.raises(SpecError, match="school of every student"):
            eiv_growth(replace(panel, school=None), EIV)
        strange = replace(panel, covariate_names=("flag", "school_mean:prior", "flag:prior"))
        with pytest.raises(SpecError, match="error in the columns flag:prior"):
            eiv_growth(strange, EIV)


class TestResidualGain:
    @pytest.mark.parametrize("changes", [{}, QUADRATIC])
    def test_it_is_least_squares_of_a_peer(self, changes: dict[str, Any]) -> None:
        import statsmodels.api as sm

        panel = simulated(700, 15, seed=9, priors=2).panel
        growth = linear(panel, GAIN.replace(changes))
        x = columns(panel, panel.priors, panel.priors.mean(axis=0), quadratic=bool(changes))
        peer = sm.OLS(panel.score, x).fit(cov_type="cluster", cov_kwds={"groups": panel.school})
        np.testing.assert_allclose(growth.fit.coef, peer.params, rtol=SAME)
        np.testing.assert_allclose(growth.fit.standard_error, peer.bse, rtol=SAME)
        np.testing.assert_allclose(growth.residual, peer.resid, atol=SAME)
        np.testing.assert_allclose(growth.expected, peer.fittedvalues, rtol=SAME)
        assert growth.fit.residual_sd == pytest.approx(np.sqrt(peer.mse_resid), rel=SAME)
        assert growth.fit.r2 == pytest.approx(peer.rsquared, rel=SAME)
        np.testing.assert_allclose(growth.scaled, peer.resid / np.sqrt(peer.mse_resid), atol=SAME)
        assert "least_reliability" not in growth.diagnostics

    def test_percentiles_are_ranks_within_the_cohort(self) -> None:
        panel = simulated(999, 15, seed=10).panel
        growth = linear(panel, GAIN)
        np.testing.assert_allclose(growth.percentile, (rankdata(growth.residual) - 0.5) / 999, atol=1e-12)
        np.testing.assert_array_equal(growth.residual, panel.score - growth.expected)
        assert growth.percentile.mean() == pytest.approx(0.5)
        assert (growth.sgp.min(), growth.sgp.max()) == (1, 99)

    def test_equal_students_have_equal_percentiles(self) -> None:
        """Rounding must not break ties; half of oneself and of one's equals counts as below."""
        panel = simulated(200, 5, seed=11).panel
        twice = np.tile(np.arange(200), 2)
        double = replace(
            panel,
            row=np.arange(400),
            score=panel.score[twice],
            priors=panel.priors[twice],
            covariates=panel.covariates[twice],
            school=panel.school[twice],
        )
        percentile = linear(double, GAIN).percentile
        np.testing.assert_array_equal(percentile[:200], percentile[200:])
        np.testing.assert_allclose(np.sort(percentile)[::2], (np.arange(200) + 0.5) / 200)

    def test_students_without_a_school_stand_alone(self) -> None:
        panel = simulated(300, 10, seed=12).panel
        nobody = linear(replace(panel, school=np.full(300, -1)), GAIN).fit
        unknown = linear(replace(panel, school=None), GAIN).fit
        assert nobody.clusters == unknown.clusters == 300
        np.testing.assert_allclose(nobody.standard_error, unknown.standard_error, rtol=SAME)
        one = linear(replace(panel, school=np.zeros(300, dtype=np.int64)), GAIN).fit
        assert one.clusters == 1
        assert np.isnan(one.standard_error).all()

    def test_dependent_columns_are_named_and_take_no_part(self) -> None:
        panel = simulated(300, 10, seed=13).panel
        covariates = np.column_stack([panel.covariates, np.ones(300), 1 - panel.covariates])
        wide = replace(panel, covariates=covariates, covariate_names=("flag", "all", "other"))
        fit, plain = linear(wide, GAIN).fit, linear(panel, GAIN).fit
        assert fit.dropped == ("all", "other")
        np.testing.assert_allclose(fit.coef, [*plain.coef, 0.0, 0.0], rtol=SAME)
        assert np.isnan(fit.standard_error[3:]).all()
        np.testing.assert_allclose(fit.standard_error[:3], plain.standard_error, rtol=SAME)

    def test_cohorts_that_cannot_be_fitted_are_named(self) -> None:
        panel = simulated(300, 10, seed=14).panel
        with pytest.raises(CohortError, match=r"MATH_2025_G8_own1: The cohort is too small.* 3 columns"):
            student_growth(
                replace(
                    panel,
                    row=np.arange(3),
                    score=panel.score[:3],
                    priors=panel.priors[[0, 1, 3]],
                    covariates=np.array([[0.0], [1.0], [0.0]]),
                    school=panel.school[:3],
                ),
                GAIN,
            )
        with pytest.raises(CohortError, match=r"MATH_2025_G8_own1: .* predicted without error"):
            student_growth(replace(panel, score=panel.priors[:, 0]), GAIN)


@pytest.fixture(scope="module")
def gaussian() -> tuple[SimulatedCohort, Panel]:
    cohort = simulate_cohort(20_000, 2, flag_gap=-0.5, seed=21)
    panel = simulated(20_000, 100, seed=1, priors=2).panel
    return cohort, replace(
        panel,
        score=cohort.score,
        priors=cohort.priors,
        covariates=cohort.flag[:, None].astype(float),
        knot_scores=tuple(cohort.priors.T),
        school=cohort.school,
        csem=None,
    )


class TestNormal:
    def test_gaussian_percentiles_are_true_and_agree_with_the_curves(
        self, gaussian: tuple[SimulatedCohort, Panel]
    ) -> None:
        cohort, panel = gaussian
        growth = normal(panel)
        error = 100 * np.abs(growth.percentile - cohort.percentile)
        assert error.mean() < PERCENTILE
        curves = student_growth(panel, PLAIN)
        assert isinstance(curves, QuantileGrowth)
        assert error.mean() < 100 * np.abs(curves.percentile - cohort.percentile).mean(), "it knows the shape"
        assert 100 * np.abs(growth.percentile - curves.percentile).mean() < 2 * PERCENTILE
        assert np.corrcoef(growth.sgp, curves.sgp)[0, 1] > 0.995
        middle = _middle(growth.expected)
        assert np.abs(growth.expected - cohort.expected)[middle].mean() < 0.02 * cohort.spread
        np.testing.assert_allclose(growth.spread[middle], cohort.spread, rtol=SPREAD)
        assert abs(growth.skewness) < 0.1
        assert abs(growth.excess_kurtosis) < 0.15

    def test_spread_that_depends_on_the_expected_score_is_found(self) -> None:
        rng = np.random.default_rng(22)
        prior = 2500 + 80 * rng.standard_normal(20_000)
        expected = 400 + 0.85 * prior
        sd = 40 * np.exp(0.5 * ((prior - 2500) / 100))
        score = expected + sd * rng.standard_normal(20_000)
        panel = simulated(20_000, 100, seed=1).panel
        panel = replace(
            panel, score=score, priors=prior[:, None], knot_scores=(prior,), covariates=panel.covariates
        )
        growth = normal(panel)
        middle = _middle(prior)
        np.testing.assert_allclose(growth.spread[middle], sd[middle], rtol=2 * SPREAD)
        truth = ndtr((score - expected) / sd)
        assert 100 * np.abs(growth.percentile - truth).mean() < PERCENTILE
        for part in np.array_split(np.argsort(prior), 10):
            assert kstest(growth.percentile[part], "uniform").pvalue > 1e-3
        flat = ndtr(growth.residual / growth.fit.residual_sd)
        assert kstest(flat[np.argsort(prior)[:2000]], "uniform").pvalue < 1e-9, "one SD for all would not do"

    def test_spread_is_that_of_a_peer(self) -> None:
        """Maximum likelihood for log s^2 given the residuals is a Gamma regression of their squares."""
        import statsmodels.api as sm

        panel = simulated(2_000, 30, seed=23).panel
        growth = normal(panel)
        knots = np.quantile(growth.expected, [0.05, 0.275, 0.5, 0.725, 0.95])
        basis = natural_spline(knots.tolist(), np.eye(5))(growth.expected)
        link = sm.families.links.Log()
        model = sm.GLM(growth.residual**2, basis, family=sm.families.Gamma(link))
        peer = model.fit(tol=1e-12, maxiter=200).fittedvalues
        factor = len(panel) / (len(panel) - len(growth.fit.names))
        np.testing.assert_allclose(growth.spread**2, factor * peer, rtol=1e-5)

    def test_few_students_and_cuts(self) -> None:
        panel = simulated(60, 5, seed=24).panel
        growth = normal(panel)
        assert growth.spread.min() > 0
        inside = (growth.percentile > 0) & (growth.percentile < 1)
        assert inside.all()
        cuts = percentile_cuts(growth, panel, (10, 50, 90), NORMAL, digits=6)
        share = ndtr((cuts - growth.expected[:, None]) / growth.spread[:, None])
        np.testing.assert_allclose(share, np.tile([0.105, 0.505, 0.905], (60, 1)), atol=1e-6)

    def test_far_outliers_stay_inside(self) -> None:
        panel = simulated(3_000, 20, seed=25).panel
        score = panel.score.copy()
        score[0] += 1e5
        percentile = normal(replace(panel, score=score)).percentile
        assert percentile[0] < 1

    def test_it_says_where_scores_are_not_normal(self) -> None:
        panel = simulated(4_000, 20, seed=26).panel
        skewed = 40 * np.random.default_rng(1).exponential(size=4_000)
        growth = normal(replace(panel, score=0.8 * panel.priors[:, 0] + skewed))
        assert growth.skewness == pytest.approx(2.0, abs=0.4)
        assert growth.diagnostics["excess_kurtosis"] == growth.excess_kurtosis > 2


class TestOneInterface:
    @pytest.mark.parametrize("spec", [PLAIN, NORMAL, EIV, GAIN], ids=lambda spec: spec.student.engine)
    def test_every_engine_places_every_student(self, spec: GrowthSpec) -> None:
        panel = simulated(1_500, 20, seed=31, priors=2).panel
        growth = student_growth(panel, spec)
        assert growth.key == panel.key
        for values in (growth.sgp, growth.percentile, growth.expected, growth.residual):
            assert values.shape == (1_500,)
        assert ((growth.percentile > 0) & (growth.percentile < 1)).all()
        assert np.median(np.abs(100 * growth.percentile - growth.sgp)) < 1.0
        np.testing.assert_array_equal(growth.residual, panel.score - growth.expected)
        assert {"p", "dropped_columns"} <= growth.diagnostics.keys()
        assert "1,500 students" in repr(growth)

    def test_engines_agree_where_their_assumptions_hold(self) -> None:
        panel = simulated(5_000, 50, seed=32, csem=0.0).panel
        ranks = [student_growth(panel, spec).percentile for spec in (PLAIN, NORMAL, EIV, GAIN)]
        assert np.corrcoef(ranks).min() > 0.995

    def test_frozen_curves_are_for_the_quantile_engine(self) -> None:
        panel = simulated(300, 5, seed=33).panel
        curves = student_growth(panel, PLAIN)
        assert isinstance(curves, QuantileGrowth)
        with pytest.raises(SpecError, match="not 'normal'"):
            student_growth(panel, NORMAL, process=curves.process)
        with pytest.raises(SpecError, match="no percentile curves"):
            percentile_cuts(student_growth(panel, GAIN), panel, (50,), GAIN)

    def test_integers_count_the_taus_below(self) -> None:
        percentile = np.array([1e-9, 0.005, 0.0051, 0.015, 0.0151, 0.5, 0.985, 0.99, 0.9951, 1 - 1e-9])
        taus = (np.arange(100) + 0.5) / 100
        expected = [min(max(int((taus < p).sum()), 1), 99) for p in percentile]
        np.testing.assert_array_equal(sgp_of(percentile), expected)

    def test_ranks_count_ties_by_half(self) -> None:
        found = percentile_ranks(np.array([3.0, 1.0, 1.0 + 1e-12, 2.0]), 1.0)
        np.testing.assert_allclose(found, [0.875, 0.25, 0.25, 0.625])


def test_least_squares_without_clusters_or_errors() -> None:
    rng = np.random.default_rng(41)
    x = np.column_stack([np.ones(50), rng.standard_normal((50, 2))])
    y = rng.standard_normal(50)
    fit = fit_linear(x, y, ("a", "b", "c"))
    np.testing.assert_allclose(fit.coef, np.linalg.lstsq(x, y)[0], rtol=1e-10)
    assert fit.clusters == 50


def test_later_columns_are_kept_behind_a_dependent_one() -> None:
    rng = np.random.default_rng(42)
    a, b, c = rng.standard_normal((3, 200))
    assert independent_columns(np.column_stack([a, 1e6 * a, b, a + b, 1e-6 * c, 0 * c])) == [0, 2, 4]


def _middle(values: FloatArray) -> Any:  # noqa: ANN401
    low, high = np.quantile(values, [0.05, 0.95])
    return (values > low) & (values < high)
