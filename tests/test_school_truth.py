"""School results against a truth that is known: effects, variances, ranks."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from school_results import plain_spec, results
from scipy.stats import rankdata

from growth._types import FloatArray
from growth.panel.simulate import simulate_cohort
from growth.school import SchoolGrowth, school_growth
from growth.school.posterior import Observed, shrunken
from growth.school.shrinkage import shrink
from growth.school.spread import Expected, spread
from growth.school.standing import TENS, standing_of_ranks

SEEDS = range(25)
SCHOOLS = 100
COVERAGE = (0.92, 0.97)
"""A 95 % interval with estimated variance; 2,500 schools make its Monte-Carlo SE 0.5 points."""
BAND_COVERAGE = (0.93, 0.98)
"""Ranks are discrete and band ends are the outer ones, hence slightly more than 95 %."""

EB = {"school__shrinkage": "empirical_bayes", "school__min_n": 20}


def model(seed: int, tau: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return true effects, observed effects and SEs of schools with 20 to 400 students."""
    rng = np.random.default_rng([20170813, seed])
    se = 28.0 / np.sqrt(np.exp(rng.uniform(np.log(20), np.log(400), SCHOOLS)))
    truth = 50 + tau * rng.standard_normal(SCHOOLS)
    return truth, truth + se * rng.standard_normal(SCHOOLS), se


@pytest.mark.parametrize("tau", [3.0, 7.0])
def test_variance_between_schools_is_estimated_without_bias(tau: float) -> None:
    found = np.array([spread(*model(seed, tau)[1:], "moments").tau2_point for seed in range(200)])
    assert abs(found.mean() - tau**2) < 3 * found.std(ddof=1) / np.sqrt(len(found))


@pytest.mark.parametrize("tau", [3.0, 7.0])
def test_posterior_intervals_cover_true_effects_and_beat_raw_effects(tau: float) -> None:
    inside, loss, raw_loss = [], [], []
    for seed in range(60):
        truth, effect, se = model(seed, tau)
        found = spread(effect, se, "moments")
        theta, posterior = shrink(effect, se, found.mean, found.tau2_point)
        inside.append(np.abs(theta - truth) < 1.96 * posterior)
        loss.append((theta - truth) ** 2)
        raw_loss.append((effect - truth) ** 2)
    assert COVERAGE[0] < np.mean(inside) < COVERAGE[1]
    small = np.array([model(seed, tau)[2] > 28 / np.sqrt(50) for seed in range(60)])
    assert np.mean(np.array(loss)[small]) < 0.8 * np.mean(np.array(raw_loss)[small])


@pytest.mark.parametrize("tau", [3.0, 7.0])
def test_shrunken_effects_beat_raw_ones_at_every_size_below_fifty(tau: float) -> None:
    """By the default rule, which does not know the variance between schools."""
    size, loss, raw_loss = [], [], []
    for seed in range(60):
        rng = np.random.default_rng([5, seed])
        n = np.exp(rng.uniform(np.log(2), np.log(400), SCHOOLS))
        se = 28.0 / np.sqrt(n)
        truth = 50 + tau * rng.standard_normal(SCHOOLS)
        effect = truth + se * rng.standard_normal(SCHOOLS)
        found = shrunken(Observed(effect, se, Expected.alike(SCHOOLS), spread(effect, se, "integrated")))
        size.append(n)
        loss.append((found.mean - truth) ** 2)
        raw_loss.append((effect - truth) ** 2)
    for low, high in ((2, 5), (5, 10), (10, 20), (20, 30), (30, 40), (40, 50)):
        inside = (np.array(size) >= low) & (np.array(size) < high)
        assert inside.sum() > 200
        assert np.mean(np.array(loss)[inside]) < 0.9 * np.mean(np.array(raw_loss)[inside])


@pytest.mark.parametrize("tau", [3.0, 7.0])
def test_rank_bands_cover_true_ranks_in_the_model(tau: float) -> None:
    inside = []
    for seed in SEEDS:
        truth, effect, se = model(seed, tau)
        found = spread(effect, se, "moments")
        theta, posterior = shrink(effect, se, found.mean, found.tau2_point)
        draws = theta + posterior * np.random.default_rng(seed).standard_normal((1000, SCHOOLS))
        band = standing_of_ranks(draws, np.sort(draws, axis=1), TENS)
        low, high = band.low, band.high
        rank = percentile_rank(truth)
        inside.append((low <= rank) & (rank <= high))
    assert BAND_COVERAGE[0] < np.mean(inside) < BAND_COVERAGE[1]


def percentile_rank(values: FloatArray) -> FloatArray:
    return np.asarray(100 * (rankdata(values) - 0.5) / len(values))


@pytest.fixture(scope="module")
def runs() -> list[tuple[FloatArray, SchoolGrowth]]:
    """Return the true mean percentiles of schools and the results from their students' true percentiles."""
    pairs = []
    for seed in SEEDS:
        cohort = simulate_cohort(SCHOOLS * 70, n_schools=SCHOOLS, effect_sd=0.15, seed=seed)
        students = results(cohort.percentile, cohort.school)
        pairs.append((cohort.school_mean, school_growth(students, plain_spec(**EB))))
    return pairs


def columns(growth: SchoolGrowth, *names: str) -> FloatArray:
    assert growth.frame.height == SCHOOLS
    return growth.frame.select(names).to_numpy().T


def test_intervals_from_students_cover_true_school_means(runs: list[tuple[FloatArray, SchoolGrowth]]) -> None:
    inside = []
    for truth, growth in runs:
        theta, se = columns(growth, "shrunk", "shrunk_se")
        inside.append(np.abs(theta - truth) < 1.96 * se)
    assert COVERAGE[0] < np.mean(inside) < COVERAGE[1]


def test_variance_from_students_matches_that_of_true_school_means(
    runs: list[tuple[FloatArray, SchoolGrowth]],
) -> None:
    ratio = np.array([growth.variance["tau2"].item() / truth.var(ddof=1) for truth, growth in runs])
    assert abs(ratio.mean() - 1) < 3 * ratio.std(ddof=1) / np.sqrt(len(ratio))


def test_stated_reliability_is_the_squared_correlation_with_truth(
    runs: list[tuple[FloatArray, SchoolGrowth]],
) -> None:
    stated = np.mean([growth.variance["reliability"].item() for _, growth in runs])
    real = np.mean([np.corrcoef(truth, columns(growth, "effect")[0])[0, 1] ** 2 for truth, growth in runs])
    assert stated == pytest.approx(real, abs=0.03)


def test_rank_bands_from_students_cover_true_ranks(runs: list[tuple[FloatArray, SchoolGrowth]]) -> None:
    inside = []
    for truth, growth in runs:
        low, high = columns(growth, "growth_percentile_low", "growth_percentile_high")
        rank = percentile_rank(truth)
        inside.append((low <= rank) & (rank <= high))
    assert BAND_COVERAGE[0] < np.mean(inside) < BAND_COVERAGE[1]


def test_group_intervals_cover_true_group_means(runs: list[tuple[FloatArray, SchoolGrowth]]) -> None:
    inside = []
    for seed, (truth, _) in zip(SEEDS, runs, strict=True):
        cohort = simulate_cohort(SCHOOLS * 70, n_schools=SCHOOLS, effect_sd=0.15, seed=seed)
        students = results(cohort.percentile, cohort.school, disability=cohort.flag)
        spec = plain_spec(**EB, groups__flags={"SWD": "disability"}, groups__min_n=10)
        frame = school_growth(students, spec).frame
        shown = frame.filter(pl.col("group") == "SWD", pl.col("reason").is_null())
        at = truth[shown["school_id"].cast(pl.Int64).to_numpy()]
        theta, se = shown.select("shrunk", "shrunk_se").to_numpy().T
        inside.append(np.abs(theta - at) < 1.96 * se)
    assert COVERAGE[0] < np.mean(np.concatenate(inside)) < COVERAGE[1]


def test_medians_have_the_standard_error_of_uniform_data_not_that_of_normal_data() -> None:
    rng = np.random.default_rng(2)
    schools, n = 2_000, 40
    students = results(rng.random(schools * n), np.repeat(np.arange(schools), n))
    spread = school_growth(students, plain_spec()).frame["median_percentile"].std()
    # SD over 2,000 schools: Monte-Carlo error 1.6 %.
    for rule, right in (("pooled", True), ("sgp", False)):
        stated = school_growth(students, plain_spec(school__standard_error=rule)).frame["median_se"].mean()
        assert (abs(stated / spread - 1) < 0.06) is right
