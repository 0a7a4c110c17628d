"""Probabilities of levels, expected ranks, comparisons, histories and the n-size trade-off."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from school_results import plain_spec, results, system
from scipy.special import ndtr

from benchmarks.schools import CALIBRATION, CASES, Case, simulate
from growth.errors import ColumnError, SpecError, TableError
from growth.school import (
    Norms,
    SchoolGrowth,
    column_table,
    compare_schools,
    n_size_tradeoff,
    school_growth,
    school_history,
)
from growth.school.columns import HISTORY, PROBABILITIES, SCHOOLS, TRADEOFF
from growth.school.standing import LEVELS, TENS, standing_of_percentiles, standing_of_ranks
from growth.spec import GrowthSpec

EB = {"school__shrinkage": "empirical_bayes", "school__min_n": 20}
NAMES = [column.name for column in PROBABILITIES]
DRAWS = 0.045
"""A share of 2,000 draws has an SE of 1.1 points at most; the largest of some hundreds is within four."""


def test_probabilities_match_a_loop_over_draws() -> None:
    rng = np.random.default_rng(1)
    draws = rng.integers(6, size=(50, 4)).astype(np.float64)
    reference = np.sort(rng.integers(6, size=(50, 10)), axis=1).astype(np.float64)
    found = standing_of_ranks(draws, reference, TENS)
    for j in range(4):
        ranks = [
            100 * (sum(r < d[j] for r in ref) + sum(r == d[j] for r in ref) / 2) / 10
            for d, ref in zip(draws, reference, strict=True)
        ]
        levels = [min(int(rank // 10), 9) for rank in ranks]
        np.testing.assert_allclose(found.levels[j], [levels.count(k) / 50 for k in range(LEVELS)])
        np.testing.assert_allclose(found.expected[j], np.mean(ranks))
        np.testing.assert_allclose(found.bottom[j], np.mean([rank < 5 for rank in ranks]))
        above = [1.0 if rank > 50 else 0.5 if rank == 50 else 0.0 for rank in ranks]
        np.testing.assert_allclose(found.above[j], np.mean(above))


def test_probabilities_of_given_percentiles() -> None:
    nothing = np.zeros(1)
    found = standing_of_percentiles(
        np.array([[4.0], [10.0], [99.0], [50.0]]), (nothing, nothing), np.array([*TENS[:8], 99.0])
    )
    np.testing.assert_array_equal(found.levels[0], [0.25, 0.25, 0, 0, 0, 0.25, 0, 0, 0, 0.25])
    assert (found.bottom[0], found.above[0]) == (0.25, 0.375)


@pytest.mark.parametrize("rule", ["rank", "normal", "expected"])
def test_every_shown_school_has_probabilities(rule: str) -> None:
    frame = school_growth(system(), GrowthSpec().replace({"school.growth_percentile": rule})).frame
    shown = frame.filter(pl.col("reason").is_null())
    assert 0 < shown.height < frame.height
    levels = shown.select(NAMES[:LEVELS]).to_numpy()
    np.testing.assert_allclose(levels.sum(axis=1), 1.0)
    assert (shown["p_bottom_5"] <= shown["p_level_1"]).all()
    upper = levels[:, 5:].sum(axis=1)
    assert np.abs(upper - shown["p_above_average"].to_numpy()).max() < 0.05
    assert frame.filter(pl.col("reason").is_not_null()).select(NAMES).null_count().row(0) == (
        frame.height - shown.height,
    ) * len(NAMES)


def test_the_expected_percentile_is_the_mean_probability_of_lying_above() -> None:
    """With the spread taken as known, posteriors are independent and the closed form holds."""
    spec = plain_spec(**EB, school__growth_percentile="expected", school__variance="moments")
    frame = school_growth(system(), spec).frame
    mean, sd = frame.select("shrunk", "shrunk_se").to_numpy().T
    above = ndtr((mean[:, None] - mean) / np.hypot(sd[:, None], sd))
    np.testing.assert_allclose(frame["growth_percentile"], 100 * above.mean(axis=1), atol=100 * DRAWS / 2)
    assert (
        frame["growth_percentile"]
        .is_between(frame["growth_percentile_low"], frame["growth_percentile_high"])
        .all()
    )


def test_expected_percentiles_lie_closer_to_true_ranks_than_ranks_of_means() -> None:
    losses = {}
    for rule in ("rank", "expected"):
        frames = []
        for seed in range(12):
            rng = np.random.default_rng(seed)
            effect = 0.1 * rng.standard_normal(80)
            size = rng.integers(20, 120, size=80)
            school = np.repeat(np.arange(80), size)
            score = effect[school] + rng.standard_normal(len(school))
            spec = plain_spec(**EB, school__growth_percentile=rule)
            found = school_growth(results(ndtr(score), school), spec).frame["growth_percentile"].to_numpy()
            rank = 100 * (np.argsort(np.argsort(effect)) + 0.5) / 80
            frames.append((found - rank) ** 2)
        losses[rule] = np.mean(frames)
    assert losses["expected"] < 0.95 * losses["rank"]


@pytest.mark.parametrize("case", [CASES[0], CASES[-1]], ids=["own norm", "frozen norm"])
def test_bands_cover_and_probabilities_are_calibrated(case: Case) -> None:
    """The short form of ``python -m benchmarks.schools``."""
    found = simulate(case, 30)
    assert case.covered(found.coverage)
    assert found.worst() < CALIBRATION


def test_schools_that_do_not_differ_are_in_no_half() -> None:
    data = results(np.tile([0.2, 0.5, 0.8], 12), np.repeat(np.arange(12), 3))
    spec = plain_spec(school__shrinkage="empirical_bayes", school__variance="moments")
    frame = school_growth(data, spec).frame
    assert frame["p_above_average"].to_list() == [0.5] * 12
    assert frame["p_level_6"].to_list() == [1.0] * 12


def test_cut_points_move_probabilities() -> None:
    cuts = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 50])
    frame = school_growth(system(), plain_spec(**EB), cuts={"MATH": cuts}).frame
    np.testing.assert_allclose(frame["p_level_10"], frame["p_above_average"], atol=DRAWS)


def test_a_frozen_norm_gives_probabilities_in_it() -> None:
    base = school_growth(system(), plain_spec(**EB))
    later = school_growth(system(shift=0.2, seed=2), plain_spec(**EB), norms=Norms(tuple(base.norms)))
    assert later.frame["p_above_average"].mean() > 0.55
    assert base.frame["p_above_average"].mean() == pytest.approx(0.5, abs=1e-9)


def test_comparisons_match_joint_draws() -> None:
    from growth.school.posterior import Observed, posterior_draws, shrunken
    from growth.school.spread import Expected, spread

    spec = plain_spec(**EB)
    frame = school_growth(system(schools=25, students=1_500), spec).frame
    effect, se = frame.select("effect", "effect_se").to_numpy().T
    posterior = shrunken(Observed(effect, se, Expected.alike(len(effect)), spread(effect, se, "integrated")))
    draws = posterior_draws(posterior, 20_000, np.random.default_rng(1))
    own = frame["school_id"][0]
    found = compare_schools(frame, own, subject="MATH")
    assert found.height == frame.height - 1
    assert found["difference"].abs().is_sorted()
    joint = pl.DataFrame({"school_id": frame["school_id"], "joint": (draws[:, :1] > draws).mean(axis=0)})
    both = found.join(joint, on="school_id")
    assert (both["p_above"] - both["joint"]).abs().max() < 0.03
    inside = (found["difference_low"] < 0) & (found["difference_high"] > 0)
    assert (inside != found["different"]).all()
    some = compare_schools(frame, own, subject="MATH", among=frame["school_id"][1:4].to_list())
    assert_frame_equal(some, found.filter(pl.col("school_id").is_in(some["school_id"].to_list())))


def test_a_school_without_result_is_not_compared() -> None:
    frame = school_growth(system(), plain_spec(**EB)).frame
    with pytest.raises(TableError, match="no result in MATH"):
        compare_schools(frame, "none such", subject="MATH")
    with pytest.raises(ColumnError, match="'shrunk' is missing"):
        compare_schools(frame.drop("shrunk"), "0001", subject="MATH")


def yearly(values: dict[int, tuple[float, float, float]]) -> pl.DataFrame:
    """Return schools frame rows of one school: year -> (effect, SE, growth percentile)."""
    rows = [("MATH", "All", "0001", year, *value) for year, value in values.items()]
    names = ["subject", "group", "school_id", "year", "effect", "effect_se", "growth_percentile"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("year").cast(pl.Int32))


def history(values: dict[int, tuple[float, float, float]]) -> dict[str, object]:
    return school_history(yearly(values), GrowthSpec()).row(0, named=True)


def test_a_trend_by_hand() -> None:
    found = history({2023: (50.0, 2.0, 60.0), 2024: (52.0, 2.0, 70.0), 2025: (57.0, 1.0, 71.0)})
    weight, year = np.array([0.25, 0.25, 1.0]), np.array([2023, 2024, 2025])
    middle = weight @ year / weight.sum()
    spread = weight @ (year - middle) ** 2
    slope = weight * (year - middle) @ np.array([50, 52, 57]) / spread
    np.testing.assert_allclose([found["trend"], found["trend_se"]], [slope, spread**-0.5], 1e-9)
    np.testing.assert_allclose(found["trend_high"], slope + 1.959964 * spread**-0.5, 1e-6)
    assert (found["high_years"], found["sustained_high"], found["years"]) == (2, False, 3)


@pytest.mark.parametrize(
    ("years", "high"),
    [((2023, 2024, 2025), 3), ((2022, 2024, 2025), 2), ((2022, 2023, 2024), 0), ((2025,), 1)],
)
def test_high_years_are_consecutive_and_reach_the_latest(years: tuple[int, ...], high: int) -> None:
    rows = [yearly(dict.fromkeys(years, (60.0, 2.0, 90.0)))]
    rows.append(yearly({2025: (50.0, 2.0, 40.0)}).with_columns(school_id=pl.lit("0002")))
    found = school_history(pl.concat(rows), GrowthSpec()).row(0, named=True)
    assert (found["high_years"], found["sustained_high"]) == (high, high >= 3)
    assert (found["trend"] is None) == (len(years) < 3)


def test_trends_cover_true_slopes() -> None:
    rng = np.random.default_rng(2)
    schools, slope = 400, 2.0
    se = rng.uniform(1.0, 4.0, size=(schools, 3))
    effect = 50 + slope * np.arange(3) + se * rng.standard_normal((schools, 3))
    frame = pl.concat(
        [
            yearly({2023 + t: (effect[s, t], se[s, t], 50.0) for t in range(3)}).with_columns(
                school_id=pl.lit(f"{s:04d}")
            )
            for s in range(schools)
        ]
    )
    found = school_history(frame, GrowthSpec())
    inside = ((found["trend_low"] < slope) & (slope < found["trend_high"])).mean()
    assert abs(float(inside or 0) - 0.95) < 0.035  # three SEs of 400 schools


def test_a_history_needs_years_by_themselves() -> None:
    with pytest.raises(SpecError, match="overlap"):
        school_history(yearly({2025: (50.0, 1.0, 50.0)}), GrowthSpec().replace({"school.years": 3}))
    with pytest.raises(ColumnError, match="'effect_se' is missing"):
        school_history(yearly({2025: (50.0, 1.0, 50.0)}).drop("effect_se"), GrowthSpec())


def measured() -> SchoolGrowth:
    sizes = [4, 10, 20, 30, 100]
    rng = np.random.default_rng(3)
    school = np.repeat(np.arange(60), np.tile(sizes, 12))
    effect = rng.standard_normal(60)
    return school_growth(
        results(ndtr(0.3 * effect[school] + rng.standard_normal(len(school))), school),
        plain_spec(school__shrinkage="empirical_bayes", school__min_n=20),
    )


def test_the_price_of_a_smallest_number_of_students() -> None:
    growth = measured()
    found = n_size_tradeoff(growth.frame, growth.variance)
    assert found["min_n"].to_list() == list(range(5, 51))
    icc = growth.variance["icc"].item()
    at_20 = found.row(by_predicate=pl.col("min_n") == 20, named=True)
    assert at_20["schools"] == 36
    np.testing.assert_allclose(at_20["school_share"], 0.6)
    np.testing.assert_allclose(at_20["student_share"], 150 / 164)
    np.testing.assert_allclose(at_20["reliability_at_n"], 20 * icc / (1 + 19 * icc))
    shown = np.mean([n * icc / (1 + (n - 1) * icc) for n in (20, 30, 100)])
    np.testing.assert_allclose(at_20["reliability_shown"], shown)
    assert found["school_share"].is_sorted(descending=True)
    none = n_size_tradeoff(growth.frame, growth.variance, [200]).row(0, named=True)
    assert (none["schools"], none["reliability_shown"]) == (0, None)
    with pytest.raises(SpecError, match="from 1 on"):
        n_size_tradeoff(growth.frame, growth.variance, [0])


def test_every_group_has_its_own_tradeoff() -> None:
    growth = school_growth(system(), GrowthSpec())
    found = n_size_tradeoff(growth.frame, growth.variance)
    groups = [g for g in growth.frame["group"].unique(maintain_order=True) if g != "race:lowest"]
    assert found["group"].unique(maintain_order=True).to_list() == groups
    assert found.group_by("group").len()["len"].to_list() == [46] * len(groups)


def test_frames_have_the_documented_columns() -> None:
    growth = school_growth(system(), GrowthSpec())
    history = school_history(growth.frame, GrowthSpec())
    tradeoff = n_size_tradeoff(growth.frame, growth.variance)
    for frame, columns in ((growth.frame, SCHOOLS), (history, HISTORY), (tradeoff, TRADEOFF)):
        assert list(frame.schema.items()) == [(column.name, column.dtype) for column in columns]
        assert column_table(columns).height == len(columns)
    values = growth.frame.filter(pl.col("reason").is_not_null()).drop(
        "year", "subject", "group", "school_id", "group_detail", "span", "n", "reason"
    )
    assert values.height > 0
    assert all(values[name].null_count() == values.height for name in values.columns)
