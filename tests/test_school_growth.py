"""School results on cases that can be done by hand, and the rules of who counts and who is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from school_results import plain_spec, results, system
from scipy.special import ndtr

from growth.errors import ColumnError, GrowthError, SpecError
from growth.measures import SchoolGrowthPercentile, SchoolMeanPercentile
from growth.school import SchoolGrowth, school_growth
from growth.school.aggregates import aggregate
from growth.school.columns import PROBABILITIES
from growth.school.shrinkage import shrink
from growth.school.spread import spread
from growth.school.standing import TENS, standing_of_ranks
from growth.school.summaries import Rows, summarise_rows
from growth.spec import GrowthSpec

ROUNDING = 1e-12
"""Relative; the same formula in another order."""

THREE = results([0.2, 0.4, 0.6, 0.8, 0.7, 0.5], [1, 1, 2, 2, 2, 3])
GROUPED = {"groups.flags": {"EL": "english_learner"}, "groups.race": "race_ethnicity"}


def row(growth: SchoolGrowth, school: str, group: str = "All") -> dict[str, Any]:
    found = growth.frame.filter(pl.col("school_id") == school, pl.col("group") == group)
    assert found.height == 1
    return found.row(0, named=True)


def everyone(growth: SchoolGrowth, *columns: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return growth.frame.filter(pl.col("group") == "All").select(columns).to_numpy().T


def test_means_medians_and_ranks_of_three_schools() -> None:
    growth = school_growth(THREE, plain_spec())
    n, mean, median, effect, rank = everyone(
        growth, "n", "mean_percentile", "median_percentile", "effect", "growth_percentile"
    )
    assert n.tolist() == [2, 3, 1]
    np.testing.assert_allclose(mean, [30, 70, 50], ROUNDING)
    np.testing.assert_allclose(median, [30, 70, 50], ROUNDING)
    np.testing.assert_array_equal(effect, mean)
    np.testing.assert_allclose(rank, [100 / 6, 500 / 6, 50], ROUNDING)
    assert growth.frame.schema["n"] == pl.Int64
    assert growth.frame["shrunk"].null_count() == growth.frame["shrunk_se"].null_count() == 3
    assert growth.frame["reason"].null_count() == 3


def test_years_may_be_texts() -> None:
    """As in tables of the R package; whatever they look like, they are compared, not counted with."""
    named = pl.lit("2024/25, spring").alias("year")
    shown = ["school_id", "n", "n_effective", "mean_percentile", "mean_se", "effect", "growth_percentile"]
    found = school_growth(THREE.with_columns(named), plain_spec()).frame
    assert_frame_equal(found.select(shown), school_growth(THREE, plain_spec()).frame.select(shown))


@pytest.mark.parametrize(
    ("rule", "mean_se", "median_se"),
    [
        # Squared deviations 200 and 200 with 1 + 2 degrees of freedom: pooled variance 400 / 3.
        ("pooled", np.sqrt(400 / 3 / np.array([2, 3])), 50 / np.sqrt([2, 3])),
        ("own", [10.0, np.sqrt(100 / 3)], 50 / np.sqrt([2, 3])),
        ("sgp", [10.0, np.sqrt(100 / 3)], 1.253 * np.array([10.0, np.sqrt(100 / 3)])),
    ],
)
def test_standard_errors(rule: str, mean_se: list[float], median_se: list[float]) -> None:
    growth = school_growth(THREE, plain_spec(school__standard_error=rule))
    got = everyone(growth, "mean_se", "median_se", "effect_se")[:, :2]
    np.testing.assert_allclose(got, [mean_se, median_se, mean_se], ROUNDING)
    of_medians = plain_spec(school__standard_error=rule, school__aggregate="median")
    np.testing.assert_allclose(
        everyone(school_growth(THREE, of_medians), "effect_se")[0, :2], median_se, ROUNDING
    )


def test_median_and_integer_percentiles_are_used_when_asked() -> None:
    data = results([0.119, 0.129, 0.999, 0.5, 0.6], [1, 1, 1, 2, 2])
    growth = school_growth(data, plain_spec(school__percentile="integer", school__aggregate="median"))
    first = row(growth, "0001")
    assert (first["median_percentile"], first["effect"]) == (12.0, 12.0)
    assert first["mean_percentile"] == pytest.approx((11 + 12 + 99) / 3, rel=ROUNDING)


def test_shrinkage_of_a_case_done_by_hand() -> None:
    effect, se = np.array([40.0, 50.0, 60.0]), np.full(3, 5.0)
    found = spread(effect, se, "moments")
    # w = 1/25: Q = 200/25 = 8; sum w - sum w^2 / sum w = 3/25 - 1/25; tau^2 = (8 - 2) / 0.08 = 75.
    np.testing.assert_allclose(
        [found.mean, found.q, found.tau2_point, np.sqrt(found.tau2_point)], [50, 8, 75, np.sqrt(75)], ROUNDING
    )
    theta, posterior = shrink(effect, se, found.mean, found.tau2_point)
    np.testing.assert_allclose(theta, [42.5, 50, 57.5], ROUNDING)
    np.testing.assert_allclose(posterior**2, [18.75] * 3, ROUNDING)


def test_schools_alike_have_no_variance_and_the_rank_of_all() -> None:
    found = spread(np.array([50.0, 50.1, 49.9]), np.full(3, 5.0), "moments")
    assert found.tau2_point == 0.0
    data = results(np.tile([0.2, 0.5, 0.8], 12), np.repeat(np.arange(12), 3))
    names = ("growth_percentile", "growth_percentile_low", "growth_percentile_high", "shrunk_se")
    for rule in ("moments", "reml"):
        spec = plain_spec(school__shrinkage="empirical_bayes", school__variance=rule)
        got = everyone(school_growth(data, spec), *names)
        np.testing.assert_array_equal(got, np.repeat([[50.0], [50.0], [50.0], [0.0]], 12, axis=1))
    # An estimate of 0 is no proof that schools are alike: three students in each of twelve say little.
    spec = plain_spec(school__shrinkage="empirical_bayes", school__variance="integrated")
    rank, low, high, se = everyone(school_growth(data, spec), *names)
    assert (rank == 50.0).all()
    assert low.max() < 25.0
    assert high.min() > 75.0
    assert se.min() > 1.0


def test_moments_match_a_loop_over_schools() -> None:
    rng = np.random.default_rng(3)
    effect, se = 50 + 8 * rng.standard_normal(25), rng.uniform(2, 7, 25)
    w = [1 / s**2 for s in se]
    centre = sum(a * y for a, y in zip(w, effect, strict=True)) / sum(w)
    q = sum(a * (y - centre) ** 2 for a, y in zip(w, effect, strict=True))
    tau2 = max(0.0, (q - 24) / (sum(w) - sum(a * a for a in w) / sum(w)))
    v = [1 / (tau2 + s**2) for s in se]
    found = spread(effect, se, "moments")
    np.testing.assert_allclose(
        [found.q, found.tau2_point, found.mean],
        [q, tau2, sum(a * y for a, y in zip(v, effect, strict=True)) / sum(v)],
        1e-10,
    )


def test_published_numbers_follow_from_each_other() -> None:
    spec = plain_spec(school__shrinkage="empirical_bayes", school__min_n=20, school__variance="moments")
    growth = school_growth(system(), spec)
    variance = growth.variance.row(0, named=True)
    n, effect, se, shrunk, shrunk_se, rank, low, high = everyone(
        growth, "n", "effect", "effect_se", "shrunk", "shrunk_se", "growth_percentile",
        "growth_percentile_low", "growth_percentile_high",
    )  # fmt: skip
    share = variance["tau2"] / (variance["tau2"] + se**2)
    np.testing.assert_allclose(shrunk, variance["mean"] + share * (effect - variance["mean"]), ROUNDING)
    np.testing.assert_allclose(shrunk_se, np.sqrt(variance["tau2"] * (1 - share)), ROUNDING)
    np.testing.assert_allclose(se, variance["within_sd"] / np.sqrt(n), ROUNDING)
    assert variance["reliability"] == pytest.approx(share.mean(), rel=ROUNDING)
    assert variance["schools"] == len(n)
    assert variance["students"] == n.sum()
    assert (low <= rank).all()
    assert (rank <= high).all()
    assert low.min() >= 0
    assert high.max() <= 100
    np.testing.assert_allclose(np.sort(rank), 100 * (np.arange(len(n)) + 0.5) / len(n), ROUNDING)
    (norm,) = growth.norms
    np.testing.assert_array_equal(norm.effects, np.sort(shrunk))
    np.testing.assert_array_equal(norm.rank(shrunk), rank)


def test_equal_effects_share_their_mean_rank() -> None:
    data = results([0.3, 0.5, 0.5, 0.7], [1, 2, 3, 4])
    growth = school_growth(data, plain_spec(school__min_n=1))
    assert everyone(growth, "growth_percentile")[0].tolist() == [12.5, 50.0, 50.0, 87.5]


def test_normal_rule_is_the_normal_distribution_of_true_effects() -> None:
    spec = plain_spec(
        school__shrinkage="empirical_bayes", school__growth_percentile="normal", school__min_n=20
    )
    growth = school_growth(system(), spec)
    variance = growth.variance.row(0, named=True)
    mean, tau = variance["mean"], np.sqrt(variance["tau2"])
    shrunk, se, place, low, high = everyone(
        growth, "shrunk", "shrunk_se", "growth_percentile", "growth_percentile_low", "growth_percentile_high"
    )
    np.testing.assert_allclose(place, 100 * ndtr((shrunk - mean) / tau), 1e-10)
    np.testing.assert_allclose(low, 100 * ndtr((shrunk - 1.959964 * se - mean) / tau), 1e-6)
    np.testing.assert_allclose(high, 100 * ndtr((shrunk + 1.959964 * se - mean) / tau), 1e-6)


def test_normal_rule_without_shrinkage_uses_the_spread_of_the_effects_themselves() -> None:
    growth = school_growth(system(), plain_spec(school__growth_percentile="normal", school__min_n=20))
    effect, place = everyone(growth, "effect", "growth_percentile")
    np.testing.assert_allclose(place, 100 * ndtr((effect - effect.mean()) / effect.std(ddof=1)), 1e-10)


def test_small_schools_are_withheld_with_a_reason_and_do_not_rank_others() -> None:
    data = results([0.2] * 3 + [0.4] * 3 + [0.6] * 3 + [0.9] * 2, np.repeat([1, 2, 3, 4], [3, 3, 3, 2]))
    growth = school_growth(data, plain_spec(school__min_n=3))
    small = row(growth, "0004")
    assert (small["n"], small["reason"]) == (2, "n_below_minimum")
    kept = {"year", "subject", "group", "school_id", "n", "reason"}
    assert all(value is None for name, value in small.items() if name not in kept)
    assert [row(growth, f"000{j}")["growth_percentile"] for j in (1, 2, 3)] == pytest.approx(
        [100 / 6, 50, 500 / 6]
    )


def test_a_school_without_counted_students_still_has_a_row() -> None:
    data = pl.concat(
        [THREE, THREE.tail(1).with_columns(school_id=pl.lit("0009"), status=pl.lit("no_prior_score"))]
    )
    absent = row(school_growth(data, plain_spec()), "0009")
    assert (absent["n"], absent["reason"]) == (0, "n_below_minimum")


def test_one_school_cannot_be_ranked() -> None:
    spec = plain_spec(school__shrinkage="empirical_bayes")
    growth = school_growth(results([0.2, 0.5, 0.9], [1, 1, 1]), spec)
    assert row(growth, "0001")["reason"] == "no_reference"
    assert len(growth.norms) == 0
    assert growth.variance["source"].to_list() == ["none"]


def test_a_school_whose_students_do_not_vary_cannot_be_shrunk_by_its_own_sd() -> None:
    data = results([0.5, 0.5, 0.2, 0.4, 0.6, 0.9], [1, 1, 2, 2, 3, 3])
    changes = {"school__shrinkage": "empirical_bayes", "school__standard_error": "own"}
    growth = school_growth(data, plain_spec(**changes))
    assert row(growth, "0001")["reason"] == "no_standard_error"
    assert [row(growth, s)["growth_percentile"] for s in ("0002", "0003")] == [25.0, 75.0]


def test_without_a_standard_error_there_is_a_rank_but_no_band() -> None:
    growth = school_growth(THREE, plain_spec(school__standard_error="own"))
    single = row(growth, "0003")
    assert (single["mean_se"], single["growth_percentile"], single["reason"]) == (None, 50.0, None)
    assert single["growth_percentile_low"] is single["growth_percentile_high"] is None


def test_rows_that_do_not_count_are_counted_out() -> None:
    more = THREE.with_columns(
        status=pl.Series(["scored", "no_prior_score", "scored", "scored", "scored", "scored"]),
        highest=pl.Series([True, False, True, False, True, True]),
        school_id=pl.Series(["0001", "0001", "0002", "0002", None, "0003"]),
        enrolled=pl.Series([True, True, None, True, True, True]),
    )
    growth = school_growth(more, plain_spec(school__enrolled_only=True))
    assert growth.counts.select("step", "rows", "excluded", "reason").rows() == [
        ("results", 6, 0, None),
        ("scored", 5, 1, "not_scored"),
        ("highest", 4, 1, "lower_order"),
        ("has_school", 3, 1, "no_school"),
        ("enrolled", 2, 1, "not_enrolled"),
    ]
    assert everyone(growth, "n")[0].tolist() == [1, 0, 1]
    assert everyone(school_growth(more, plain_spec()), "n")[0].tolist() == [1, 1, 1]


GROUP_DATA = results(
    [0.1, 0.3, 0.2, 0.6, 0.8, 0.9, 0.4, 0.5],
    [1, 1, 1, 1, 2, 2, 2, 2],
    english_learner=[True, True, False, None, True, False, False, False],
    race_ethnicity=["B", "B", "A", "A", "A", "A", None, "B"],
)


def test_groups_are_the_same_students_seen_apart() -> None:
    spec = plain_spec(**{key.replace(".", "__"): value for key, value in GROUPED.items()}, groups__min_n=1)
    growth = school_growth(GROUP_DATA, spec)
    assert growth.frame["group"].unique(maintain_order=True).to_list() == [
        "All", "EL", "race:A", "race:B", "race:lowest",
    ]  # fmt: skip
    for school, group, n, mean in [
        ("0001", "EL", 2, 20.0),
        ("0002", "EL", 1, 80.0),
        ("0001", "race:A", 2, 40.0),
        ("0001", "race:B", 2, 20.0),
        ("0002", "race:A", 2, 85.0),
        ("0002", "race:B", 1, 50.0),
    ]:
        found = row(growth, school, group)
        assert (found["n"], found["effect"]) == (n, pytest.approx(mean))
    # The schools' own results, 30 and 65, are the reference: 20 lies below both, 40 between, 80 above.
    ranks = [
        row(growth, *key)["growth_percentile"] for key in [("0001", "EL"), ("0001", "race:A"), ("0002", "EL")]
    ]
    assert ranks == [0.0, 50.0, 100.0]


def test_lowest_race_is_that_race_number_for_number() -> None:
    spec = plain_spec(**{key.replace(".", "__"): value for key, value in GROUPED.items()}, groups__min_n=1)
    growth = school_growth(GROUP_DATA, spec)
    for school in ("0001", "0002"):
        lowest, race = row(growth, school, "race:lowest"), row(growth, school, "race:B")
        assert lowest.pop("group_detail") == "B"
        assert race.pop("group_detail") is None
        assert lowest.pop("group") == "race:lowest"
        assert race.pop("group") == "race:B"
        assert lowest == race


def test_lowest_race_among_those_shown_only() -> None:
    spec = plain_spec(**{key.replace(".", "__"): value for key, value in GROUPED.items()}, groups__min_n=2)
    growth = school_growth(GROUP_DATA, spec)
    assert row(growth, "0002", "race:B")["reason"] == "n_below_minimum"
    assert row(growth, "0002", "race:lowest")["group_detail"] == "A"
    none_shown = school_growth(GROUP_DATA, spec.replace({"groups.min_n": 3}))
    lowest = row(none_shown, "0001", "race:lowest")
    assert (lowest["reason"], lowest["n"], lowest["group_detail"]) == ("n_below_minimum", None, None)
    without = school_growth(GROUP_DATA, spec.replace({"groups.lowest_race": False}))
    assert "race:lowest" not in without.frame["group"]


def test_equally_low_races_are_settled_by_name() -> None:
    data = results([0.3, 0.3, 0.5, 0.6], [1, 1, 2, 2], race_ethnicity=["B", "A", "A", "B"])
    growth = school_growth(data, plain_spec(groups__race="race_ethnicity", groups__min_n=1))
    assert row(growth, "0001", "race:lowest")["group_detail"] == "A"


def test_minimum_of_four_groups_falls_by_chance_as_the_docstring_says() -> None:
    rng = np.random.default_rng(11)
    schools, n = 400, 20
    data = results(
        rng.random(schools * 4 * n),
        np.repeat(np.arange(schools), 4 * n),
        race_ethnicity=np.tile(np.repeat(["A", "B", "C", "D"], n), schools),
    )
    growth = school_growth(data, plain_spec(groups__race="race_ethnicity"))
    lowest = growth.frame.filter(pl.col("group") == "race:lowest")["effect"]
    # The mean of 400 minima has an SE of 0.23 points.
    assert lowest.mean() == pytest.approx(50 - 6.6, abs=0.7)


def test_groups_can_be_ranked_among_their_own_results() -> None:
    spec = GrowthSpec().replace({"groups.reference": "group", "groups.min_n": 10})
    growth = school_growth(system(), spec)
    learners = growth.frame.filter(pl.col("group") == "EL", pl.col("reason").is_null())
    ranks = np.sort(learners["growth_percentile"].to_numpy())
    np.testing.assert_allclose(ranks, 100 * (np.arange(len(ranks)) + 0.5) / len(ranks), ROUNDING)
    assert {norm.group for norm in growth.norms} >= {"All", "EL", "SWD", "SED"}
    assert {norm.group for norm in school_growth(system(), GrowthSpec()).norms} == {"All"}


def test_a_group_in_few_schools_borrows_the_variance_of_all_students() -> None:
    students = system().with_columns(english_learner=pl.col("school_id").is_in(["0001", "0002"]))
    growth = school_growth(students, GrowthSpec())
    variance = {line["group"]: line for line in growth.variance.iter_rows(named=True)}
    assert variance["All"]["source"] == variance["SED"]["source"] == "own"
    assert variance["EL"]["source"] == "all_students"
    assert variance["EL"]["tau2"] == variance["All"]["tau2"]
    assert variance["EL"]["q"] is None
    assert variance["SED"]["tau2"] != variance["All"]["tau2"]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_is_immaterial(seed: int) -> None:
    students = system(20, 600)
    spec = GrowthSpec().replace({"groups.min_n": 5, "school.band_draws": 200})
    shuffled = students.sample(fraction=1.0, shuffle=True, seed=seed)
    assert_frame_equal(
        school_growth(students, spec).frame, school_growth(shuffled, spec).frame, check_exact=True
    )


def test_a_subject_s_results_do_not_depend_on_what_else_is_in_the_run() -> None:
    math, ela = system(seed=1), system(seed=2, subject="ELA")
    both, alone = (school_growth(x, GrowthSpec()) for x in (pl.concat([ela, math]), math))
    assert_frame_equal(both.frame.filter(pl.col("subject") == "MATH"), alone.frame, check_exact=True)
    ungrouped = school_growth(math, GrowthSpec().replace({"groups.flags": {}, "groups.race": ""}))
    assert_frame_equal(alone.frame.filter(pl.col("group") == "All"), ungrouped.frame, check_exact=True)


def test_the_seed_moves_bands_and_probabilities_and_nothing_else() -> None:
    one, other = (
        school_growth(system(), GrowthSpec().replace({"school.seed": seed})).frame for seed in (1, 2)
    )
    band = ["growth_percentile_low", "growth_percentile_high", *(column.name for column in PROBABILITIES)]
    assert_frame_equal(one.drop(band), other.drop(band), check_exact=True)
    assert not one.select(band).equals(other.select(band))


def test_band_ends_are_outer_order_statistics_of_ranks() -> None:
    rng = np.random.default_rng(8)
    draws = rng.integers(5, size=(201, 4)).astype(np.float64)
    reference = np.sort(rng.integers(5, size=(201, 7)), axis=1).astype(np.float64)
    below = (reference[:, None, :] < draws[:, :, None]).sum(axis=2)
    equal = (reference[:, None, :] == draws[:, :, None]).sum(axis=2)
    ranks = np.sort(100 * (below + equal / 2) / 7, axis=0)
    band = standing_of_ranks(draws, reference, TENS)
    low, high = band.low, band.high
    np.testing.assert_allclose(low, ranks[5], ROUNDING)
    np.testing.assert_allclose(high, ranks[195], ROUNDING)


def test_a_band_never_excludes_its_percentile_and_says_how_often_it_had_to_stretch() -> None:
    # One large school at +1 SD among many small ones: by posterior means it outranks nearly all,
    # while its effect is known to outrank 84 %.
    rng = np.random.default_rng(4)
    size = np.array([20_000, *[20] * 80])
    effect = np.array([0.1, *0.1 * rng.standard_normal(80)])
    school = np.repeat(np.arange(81), size)
    data = results(ndtr((rng.standard_normal(len(school)) + effect[school]) / np.hypot(1, 0.1)), school)
    spec = plain_spec(school__shrinkage="empirical_bayes", school__min_n=20, school__variance="moments")
    growth = school_growth(data, spec)
    assert growth.variance["bands_extended"].item() >= 1
    rank, low, high = everyone(growth, "growth_percentile", "growth_percentile_low", "growth_percentile_high")
    assert (low <= rank).all()
    assert (rank <= high).all()


def test_results_come_in_types_that_cannot_be_confused() -> None:
    growth = school_growth(system(), GrowthSpec())
    assert isinstance(growth.growth_percentile, SchoolGrowthPercentile)
    assert isinstance(growth.mean_percentile, SchoolMeanPercentile)
    assert len(growth.growth_percentile) == growth.frame.height


def test_repr_says_what_was_measured() -> None:
    text = repr(school_growth(system(), GrowthSpec()))
    assert "60 of 60 school x subject x year results" in text
    assert "MATH 2025: 60 schools, mean" in text
    assert "groups: All, EL, SWD, SED, race:A" in text


def test_an_empty_students_frame_gives_empty_frames_with_the_same_columns() -> None:
    full, empty = (school_growth(x, GrowthSpec()) for x in (system(), system().clear()))
    assert empty.frame.schema == full.frame.schema
    assert empty.variance.schema == full.variance.schema
    assert empty.counts.schema == full.counts.schema
    assert empty.frame.height == len(empty.norms) == 0


@pytest.mark.parametrize(
    ("column", "needed_by", "changes"),
    [
        ("status", "every run", {}),
        ("percentile", "school.percentile", {}),
        ("sgp", "school.percentile", {"school.percentile": "integer"}),
        ("disability", "groups.flags.SWD", {}),
        ("race_ethnicity", "groups.race", {}),
        ("enrolled", "school.enrolled_only", {"school.enrolled_only": True}),
    ],
)
def test_missing_columns_are_named_with_who_needs_them(
    column: str, needed_by: str, changes: dict[str, object]
) -> None:
    students = system().drop(column, strict=False)
    with pytest.raises(ColumnError, match=rf"'{column}' is missing.*needed by {needed_by}"):
        school_growth(students, GrowthSpec().replace(changes))


@pytest.mark.parametrize("value", [None, float("nan"), -0.1, 55.0])
def test_scored_rows_need_a_percentile(value: float | None) -> None:
    broken = THREE.with_columns(pl.Series("percentile", [value, *THREE["percentile"][1:]], dtype=pl.Float64))
    with pytest.raises(ColumnError, match=r"'percentile'.*Rows affected: 1") as caught:
        school_growth(broken, plain_spec())
    assert "55" not in str(caught.value)
    assert "0001" not in str(caught.value)


@pytest.mark.parametrize("label", ["All", "race:A"])
def test_group_labels_must_not_collide(label: str) -> None:
    with pytest.raises(SpecError, match=r"groups\.flags.*are used by the engine"):
        GrowthSpec().replace({"groups.flags": {label: "disability"}})


def test_a_race_named_lowest_is_refused() -> None:
    students = system().with_columns(race_ethnicity=pl.lit("lowest"))
    with pytest.raises(GrowthError, match="recode it"):
        school_growth(students, GrowthSpec())


def test_pooled_sd_is_undefined_when_every_school_has_one_student() -> None:
    values = np.array([40.0, 60.0])
    single = Rows(values, values, np.ones(2), np.arange(2), np.arange(3))
    found = aggregate(summarise_rows(single, GrowthSpec().school), GrowthSpec().school)
    assert np.isnan(found.within_sd)
    assert np.isnan(found.mean_se).all()
    assert found.median_se.tolist() == [50.0, 50.0]
