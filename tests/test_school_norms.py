"""Frozen reference distributions: ranks, storage, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from school_results import plain_spec, system
from scipy.stats import percentileofscore

from growth.errors import SpecError
from growth.school import Norms, ReferenceNorm, school_growth
from growth.spec import GrowthSpec

CORE = ("mean", "continuous", "empirical_bayes")
BAND_NOISE = 6.0
"""Percentile points; 2,000 draws of the norm are not the draws of the base year."""
PROBABILITY_NOISE = 0.1
"""The same for probabilities; schools of a norm are drawn on their own, those of the base year jointly."""


def norm_of(effects: list[float], spread: float = 5.0) -> ReferenceNorm:
    key = (2024, "MATH", "All")
    return ReferenceNorm.of(key, np.array(effects), np.ones(len(effects)), (50.0, spread), CORE)


@given(
    st.lists(st.integers(40, 60), min_size=2, max_size=30),
    st.lists(st.integers(38, 62), min_size=1, max_size=10),
)
def test_rank_is_the_mean_percentile_of_score(effects: list[int], values: list[int]) -> None:
    got = norm_of([float(x) for x in effects]).rank(np.array(values, dtype=np.float64))
    np.testing.assert_allclose(got, percentileofscore(effects, values, kind="mean"), rtol=1e-12, atol=1e-12)


def test_ranks_on_a_multiple_of_ten_are_exact() -> None:
    norm = norm_of([float(x) for x in range(15)])
    assert norm.rank(np.array([1.0]))[0] == 10.0
    assert np.isnan(norm.rank(np.array([np.nan]))[0])


def test_normal_rule_of_a_norm_without_spread_is_the_limit() -> None:
    assert norm_of([50.0, 50.0], spread=0.0).normal(np.array([49.0, 50.0, 51.0])).tolist() == [
        0.0,
        50.0,
        100.0,
    ]


def test_norms_survive_json_bit_for_bit() -> None:
    growth = school_growth(system(), GrowthSpec())
    restored = Norms.from_dict(json.loads(json.dumps(growth.norms.to_dict())))
    for a, b in zip(growth.norms, restored, strict=True):
        assert (a.year, a.subject, a.group, a.mean, a.spread, a.measure) == (
            b.year, b.subject, b.group, b.mean, b.spread, b.measure,
        )  # fmt: skip
        np.testing.assert_array_equal(a.effects, b.effects)
        np.testing.assert_array_equal(a.se, b.se)
    later = system(seed=9, year=2026)
    by_both = [school_growth(later, GrowthSpec(), norms=norms).frame for norms in (growth.norms, restored)]
    assert_frame_equal(*by_both, check_exact=True)


def test_missing_standard_errors_survive_json() -> None:
    norm = ReferenceNorm.of(
        (2024, "MATH", "All"), np.array([60.0, 40.0]), np.array([1.0, np.nan]), (50, 1), CORE
    )
    np.testing.assert_array_equal(ReferenceNorm.from_dict(norm.to_dict()).se, [np.nan, 1.0])


@pytest.mark.parametrize("rule", ["rank", "normal"])
def test_base_year_schools_keep_their_percentiles_in_their_own_norm(rule: str) -> None:
    spec = GrowthSpec().replace({"school.growth_percentile": rule, "school.band_draws": 2000})
    base = school_growth(system(), spec)
    again = school_growth(system(), spec, norms=base.norms)
    noise = dict.fromkeys(["growth_percentile_low", "growth_percentile_high"], BAND_NOISE)
    noise |= {name: PROBABILITY_NOISE for name in base.frame.columns if name.startswith("p_")}
    assert_frame_equal(base.frame.drop(noise), again.frame.drop(noise), check_exact=True)
    for name, most in noise.items():
        difference = (base.frame[name] - again.frame[name]).abs()
        assert difference.max() <= (most if rule == "rank" else 0.0)


def test_a_shift_of_all_schools_shows_in_a_frozen_norm_only() -> None:
    base = school_growth(system(), GrowthSpec())
    later = system(shift=0.2, year=2026)
    moving, frozen = (school_growth(later, GrowthSpec(), norms=norms).frame for norms in (None, base.norms))
    everyone = pl.col("group") == "All"
    means = [x.filter(everyone)["growth_percentile"].mean() for x in (base.frame, moving, frozen)]
    assert means[:2] == [50.0, 50.0]
    assert means[2] is not None
    assert means[2] > 60.0
    rows = frozen.filter(pl.col("reason").is_null())
    assert (rows["growth_percentile_low"] <= rows["growth_percentile"]).all()
    assert (rows["growth_percentile"] <= rows["growth_percentile_high"]).all()


def test_a_single_school_can_be_ranked_in_a_frozen_norm() -> None:
    base = school_growth(system(), GrowthSpec())
    one = system(year=2026).filter(pl.col("school_id") == "0003")
    growth = school_growth(one, GrowthSpec(), norms=base.norms)
    assert growth.variance.row(0, named=True)["source"] == "norm"
    assert growth.variance.row(0, named=True)["tau2"] == pytest.approx(base.variance["tau2"][0])
    school = growth.frame.row(0, named=True)
    (norm,) = base.norms
    share = norm.spread**2 / (norm.spread**2 + school["effect_se"] ** 2)
    assert school["shrunk"] == pytest.approx(norm.mean + share * (school["effect"] - norm.mean))
    assert school["growth_percentile"] == norm.rank(np.array([school["shrunk"]]))[0]


def test_a_subject_without_a_frozen_norm_is_withheld() -> None:
    base = school_growth(system(), GrowthSpec())
    both = pl.concat([system(year=2026), system(year=2026, subject="ELA")])
    frame = school_growth(both, GrowthSpec(), norms=base.norms).frame.filter(pl.col("group") == "All")
    assert set(frame.filter(pl.col("subject") == "ELA")["reason"]) == {"no_reference"}
    assert set(frame.filter(pl.col("subject") == "MATH")["reason"]) == {None}


def test_norms_of_several_years_must_be_narrowed_to_one() -> None:
    years = pl.concat([system(), system(seed=5, year=2026)])
    norms = school_growth(years, GrowthSpec()).norms
    assert {norm.year for norm in norms} == {2025, 2026}
    with pytest.raises(SpecError, match=r"several years: \[2025, 2026\].*of_year"):
        school_growth(system(), GrowthSpec(), norms=norms)
    school_growth(system(), GrowthSpec(), norms=norms.of_year(2025))
    with pytest.raises(SpecError, match=r"no reference norm of 2020.*\[2025, 2026\]"):
        norms.of_year(2020)


@pytest.mark.parametrize(
    "changes",
    [{"school.aggregate": "median"}, {"school.percentile": "integer"}, {"school.shrinkage": "none"}],
)
def test_another_kind_of_effect_is_not_ranked_in_a_frozen_norm(changes: dict[str, str]) -> None:
    norms = school_growth(system(), GrowthSpec()).norms
    with pytest.raises(SpecError, match="effects of its own kind"):
        school_growth(system(), GrowthSpec().replace(changes), norms=norms)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"effects": [50.0]}, "not usable"),
        ({"effects": [50.0, float("nan")]}, "not usable"),
        ({"spread": -1.0}, "not usable"),
        ({"effects": None}, "not usable"),
        ({"year": "last"}, "cannot be read"),
        ({"se": None}, "cannot be read"),
    ],
)
def test_broken_norms_are_refused(change: dict[str, object], message: str) -> None:
    data = norm_of([45.0, 55.0]).to_dict()
    with pytest.raises(SpecError, match=message):
        ReferenceNorm.from_dict(data | change)


def test_norms_without_their_key_are_refused() -> None:
    with pytest.raises(SpecError, match="'norms' is missing; did you mean 'norm'"):
        Norms.from_dict({"norm": []})
    with pytest.raises(SpecError, match="KeyError"):
        Norms.from_dict({"norms": [{}]})


def test_a_norm_is_read_only_and_says_what_it_is() -> None:
    norm = norm_of([60.0, 40.0])
    with pytest.raises(ValueError, match="read-only"):
        norm.effects[0] = 0.0
    assert repr(norm) == "ReferenceNorm(MATH 2024, All: 2 schools, mean 50.0, spread 5.0)"
    assert "MATH 2024" in repr(Norms((norm,)))


def test_without_shrinkage_a_norm_keeps_observed_effects() -> None:
    growth = school_growth(system(), plain_spec(school__min_n=20))
    (norm,) = growth.norms
    np.testing.assert_array_equal(norm.effects, np.sort(growth.frame["effect"].to_numpy()))
    assert norm.spread == pytest.approx(growth.frame["effect"].std())
