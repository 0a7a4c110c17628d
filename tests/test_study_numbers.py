"""The numbers of a study, against hand computation and slow twins."""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl
import pytest

from growth.spec import GrowthSpec
from growth.study.agreement import (
    Sides,
    agreement,
    classification,
    reliability_at,
    split_half,
    weighted_kappa,
)
from growth.study.clock import in_words
from growth.study.decisions import alone, crossed, percent_ranks, regressed
from growth.study.designs import d_efficiency, designed, fraction, main_effects
from growth.study.factors import Variant, as_factors
from growth.study.gains import level_changes, narrowest, profiles, quartiles, who_gains

ROUNDING = 1e-12
"""Sums of a few numbers of order one."""
BASE = GrowthSpec.preset("core")


def _twenty() -> Sides:
    """Twenty schools in order; in the variant the lowest two trade places with the highest two."""
    base = np.arange(20.0)
    other = base.copy()
    other[[0, 1, 18, 19]] = [18.0, 19.0, 0.0, 1.0]
    place = [100 * (values + 0.5) / 20 for values in (base, other)]
    level = [(values // 10).astype(np.int64) + 1 for values in place]
    return Sides((base, other), (place[0], place[1]), (level[0], level[1]))


def test_agreement_by_hand() -> None:
    found = agreement(_twenty())
    # Four schools move 18 places of 20: sum of squared differences 4 x 324 = 1296, n (n^2 - 1) = 7980.
    assert found.spearman == pytest.approx(1 - 6 * 1296 / 7980, abs=ROUNDING)
    assert found.pearson == pytest.approx(found.spearman, abs=ROUNDING)
    # Discordant: each of the 4 with the 16 others, and the 4 pairs across; of 190 pairs.
    assert found.kendall == pytest.approx(1 - 2 * (4 * 16 + 4) / 190, abs=ROUNDING)
    assert found.schools == 20
    assert found.level_changed == found.level_changed_by_more == found.quintile_changed == 20.0
    assert found.rmse == pytest.approx(np.sqrt(4 * 90.0**2 / 20), abs=1e-9)
    assert found.bottom_turnover == 100.0  # the lowest school of 20 is not
    assert found.top_turnover == 100.0


def test_agreement_with_itself() -> None:
    base = _twenty()
    same = Sides(*((pair[0], pair[0]) for pair in (base.value, base.percentile, base.level)))  # type: ignore[arg-type]
    found = agreement(same)
    assert (found.level_changed, found.rmse, found.bottom_turnover, found.top_turnover) == (0, 0, 0, 0)
    assert found.kappa == found.kendall == 1
    assert (found.pearson, found.spearman) == pytest.approx((1, 1))


def test_ties_make_no_turnover() -> None:
    level = np.ones(20, np.int64)
    flat = np.zeros(20)
    found = agreement(Sides((np.arange(20.0), flat), (flat, flat), (level, level)))
    assert (found.bottom_turnover, found.top_turnover) == (0, 0)
    assert found.pearson is found.kappa is found.kendall is None


def test_weighted_kappa_by_hand() -> None:
    # Seen: (0 + 1 + 0 + 4) / 4; by chance: mean of all squared differences of the two margins.
    a, b = np.array([1, 2, 3, 4]), np.array([1, 3, 3, 2])
    chance = np.mean([(i - j) ** 2 for i, j in product(a, b)])
    assert weighted_kappa(a, b) == pytest.approx(1 - 1.25 / chance, abs=ROUNDING)


def test_classification_by_hand() -> None:
    p = np.zeros((2, 10))
    p[0, [0, 1]] = 0.8, 0.2
    p[1, [1, 2]] = 0.5, 0.5
    accuracy, consistency, kappa = classification(p, np.array([1, 3]))
    assert accuracy == pytest.approx(0.65, abs=ROUNDING)
    assert consistency == pytest.approx((0.68 + 0.5) / 2, abs=ROUNDING)
    chance = 0.4**2 + 0.35**2 + 0.25**2
    assert kappa == pytest.approx((0.59 - chance) / (1 - chance), abs=ROUNDING)


def test_reliability_and_halves() -> None:
    assert reliability_at(0.04, 25) == pytest.approx(25 * 0.04 / 1.96, abs=ROUNDING)
    assert split_half(np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(2 * 0.5 / 1.5)
    assert split_half(np.array([1.0, 1.0]), np.array([1.0, 3.0])) is None


def test_shares_of_a_full_factorial_against_loops() -> None:
    rng = np.random.default_rng(2)
    codes = np.array(list(product(range(2), range(3), range(2))))
    ranks = rng.normal(size=(12, 5)) + 3 * codes[:, [1]] + codes[:, [0]] * codes[:, [2]]
    found = crossed(ranks, codes)
    variance = ranks.var(axis=0).sum()
    for i in range(3):
        means = np.array([ranks[codes[:, i] == level].mean(axis=0) for level in range(codes[:, i].max() + 1)])
        assert found.main[i] == pytest.approx(means.var(axis=0).sum() / variance, abs=ROUNDING)
        others = np.delete(codes, i, axis=1)
        within = [ranks[(others == row).all(axis=1)].var(axis=0) for row in np.unique(others, axis=0)]
        assert found.total[i] == pytest.approx(np.mean(within, axis=0).sum() / variance, abs=ROUNDING)
    assert (found.total >= found.main - ROUNDING).all()


def test_least_squares_is_the_analysis_of_variance_where_that_is_balanced() -> None:
    rng = np.random.default_rng(4)
    codes = np.array(list(product(range(2), range(3))))
    ranks = rng.normal(size=(6, 4))
    columns = [(codes[:, [i]] == np.arange(1, codes[:, i].max() + 1)).astype(float) for i in range(2)]
    assert regressed(ranks, columns).main == pytest.approx(crossed(ranks, codes).main, abs=ROUNDING)


def test_one_at_a_time_by_hand() -> None:
    ranks = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0]])
    found = alone(ranks, [np.array([0, 1]), np.array([0, 2])])
    assert found.main == pytest.approx([0.2, 0.8], abs=ROUNDING)  # variances 1 and 4 of single schools
    assert found.sd == pytest.approx([np.sqrt(0.5), np.sqrt(2.0)], abs=ROUNDING)


def test_percent_ranks() -> None:
    assert percent_ranks(np.array([[3.0, 1.0, 3.0, 9.0]])).tolist() == [[50.0, 12.5, 50.0, 87.5]]


@pytest.mark.parametrize(("sizes", "runs"), [([2] * 7, 8), ([2] * 3, 4), ([3] * 4, 9), ([2] * 11, 12)])
def test_fractions_are_orthogonal_arrays_where_there_are_such(sizes: list[int], runs: int) -> None:
    rows = fraction(sizes, runs, seed=1)
    x = main_effects(rows, sizes)
    assert np.abs(x.T @ x / runs - np.eye(x.shape[1])).max() < 1e-9
    assert d_efficiency(rows, sizes) == pytest.approx(1.0)
    assert np.array_equal(rows, fraction(sizes, runs, seed=1))


def test_a_mixed_fraction_is_as_good_as_the_best_of_all() -> None:
    sizes = [2, 3]
    cells = np.array(list(product(range(2), range(3))))
    from itertools import combinations

    best = max(d_efficiency(cells[list(rows)], sizes) for rows in combinations(range(6), 4))
    found = fraction(sizes, 4, seed=3)
    assert len({*map(tuple, found.tolist())}) == 4
    assert d_efficiency(found, sizes) == pytest.approx(best)


def test_one_at_a_time_has_the_base_once() -> None:
    given = {
        "school.aggregate": ["mean", "median"],
        "peers": {"none": {"peers.flags": [], "peers.composition": "none"}},
    }
    planned = designed(BASE, as_factors(given, BASE), "one_at_a_time", None, 1)
    assert [one.levels for one in planned] == [("mean", "base"), ("median", "base"), ("mean", "none")]
    assert isinstance(planned[0], Variant)
    assert planned[0].spec == BASE


def _schools() -> pl.DataFrame:
    """Return 20 schools with levels that a variant raises for the even ones."""
    rows = []
    for variant, school in product(range(2), range(20)):
        up = variant == 1 and school % 2 == 0
        place = school * 5 + 2.5 + 10 * up
        rows.append((variant, 2025, "ELA", f"{school:02}", 50, place, place, min(int(place // 10) + 1, 10)))
    names = ["variant", "year", "subject", "school_id", "n", "value", "growth_percentile", "level"]
    return pl.DataFrame(rows, schema=names, orient="row")


def test_who_gains_by_hand() -> None:
    schools = _schools()
    base = schools.filter(variant=0)
    intake = base.select(
        "year", "subject", "school_id", "n", SED=pl.col("value") / 100, prior=-pl.col("value")
    )
    found = who_gains(schools, intake, "SED").filter(by="poverty")
    assert found["quartile"].to_list() == [1, 2, 3, 4]
    # Schools 0-4: three of five are even.
    assert found["schools"].to_list() == [5, 5, 5, 5]
    assert found["change"].to_list() == pytest.approx([6.0, 4.0, 6.0, 4.0])
    assert found["rising"].to_list() == pytest.approx([60.0, 40.0, 60.0, 20.0])  # level 10 is the last
    assert found["falling"].to_list() == [0.0] * 4
    few = who_gains(schools.filter(pl.col("school_id") < "16"), intake, "SED").filter(by="poverty")
    assert few["change"].null_count() == 4  # four schools in a quarter are too few to show
    assert quartiles(base, intake, "prior").filter(school_id="00")["quartile"].item() == 4
    assert set(who_gains(schools, intake, "none")["by"]) == {"size", "prior"}


def test_level_changes_by_hand() -> None:
    found = level_changes(_schools()).filter(level_base=3)
    assert found.select("level", "schools", "share").rows() == [(3, 1, 50.0), (4, 1, 50.0)]


def test_profiles_by_hand() -> None:
    assert narrowest(np.array([4] * 10 + [5] * 5 + [6] * 4 + [9])) == (4, 6)  # 19 of 20
    assert narrowest(np.array([4] * 10 + [5] * 5 + [6] * 3 + [9] * 2)) == (4, 9)
    assert narrowest(np.array([7])) == (7, 7)
    row = profiles(_schools()).filter(school_id="04").row(0, named=True)
    assert (row["level_base"], row["level_low"], row["level_high"], row["at_base"]) == (3, 3, 4, 50.0)
    assert row["sentence"] == "School 04 is level 3-4 in ELA in 100 % of 2 variants."


def test_time_left() -> None:
    assert [in_words(s) for s in (2, 47, 100, 7_200)] == ["5 s", "45 s", "2 min", "2.0 h"]
