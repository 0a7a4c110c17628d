"""Pairs: optimal, within the rules, sitting pairs kept, each explained."""

from __future__ import annotations

import itertools
from time import process_time

import numpy as np
import polars as pl
import pytest
from pairing_cases import SPANS, invented, needs_table, pairing_spec
from scipy.optimize import linprog
from scipy.sparse import coo_array

from growth import GrowthRun
from growth.errors import ColumnError, SpecError, TableError
from growth.index import (
    Pairs,
    growth_metrics,
    growth_needs,
    lowest_schools,
    needs_of,
    pair_schools,
    school_profiles,
)
from growth.index.needs import read_needs
from growth.index.pairing import _choice
from growth.index.similarity import between, whiten
from growth.index.why import ALONE
from growth.spec import GrowthSpec

ROUNDING = 1e-9
"""Sums of some hundred distances, added in another order."""
SECONDS = 2.0
"""CPU time of 178 pairs among 1,500 schools; 0.1 s here."""


def costs(
    profiles: pl.DataFrame, low: list[str], spec: GrowthSpec, needs: pl.DataFrame | None = None
) -> np.ndarray:
    """Return the cost of each low school with each school, infinite where not allowed."""
    space = whiten(profiles, spec.pairing.ridge)
    rows = np.array([space.ids.index(school) for school in sorted(low)])
    choice = _choice(space, rows, read_needs(needs, space, spec.pairing), spec)
    return np.where(choice.allowed, choice.cost, np.inf)


def exhaustive(cost: np.ndarray, capacity: int) -> tuple[int, float]:
    """Return (most pairs, least cost of so many) by trying every assignment."""
    places = np.repeat(np.arange(cost.shape[1]), capacity)
    options = [[-1, *np.flatnonzero(np.isfinite(row[places]))] for row in cost]
    best = (0, 0.0)
    for chosen in itertools.product(*options):
        used = [place for place in chosen if place >= 0]
        if len(set(used)) == len(used):
            total = sum(cost[k, places[p]] for k, p in enumerate(chosen) if p >= 0)
            best = max(best, (len(used), -total))
    return best[0], -best[1]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("capacity", [1, 2])
def test_it_equals_an_exhaustive_solver(seed: int, capacity: int) -> None:
    profiles = invented(14, seed=seed, spans=SPANS[: 1 + seed % 2])
    spec = pairing_spec(capacity=capacity, caliper=0.6, sitting_caliper=0.6)
    low = lowest_schools(profiles, 0.3)
    found = pair_schools(profiles, spec, low=low)
    pairs, total = exhaustive(costs(profiles, low, spec), capacity)
    assert found.pairs.height == pairs
    assert found.pairs["cost"].sum() == pytest.approx(total, abs=ROUNDING)
    assert found.pairs.height + found.unmatched.height == len(low)


@pytest.fixture(scope="module")
def state() -> tuple[pl.DataFrame, list[str], Pairs, float]:
    profiles = invented(1_500, seed=7, spans=SPANS)
    low = lowest_schools(profiles, 178 / 1_500)
    start = process_time()
    found = pair_schools(profiles, GrowthSpec(), low=low)
    return profiles, low, found, process_time() - start


def test_178_of_1500_are_paired_optimally_and_fast(
    state: tuple[pl.DataFrame, list[str], Pairs, float],
) -> None:
    """The linear program has the same optimum, since its corners are assignments."""
    profiles, low, found, seconds = state
    assert len(low) == 178
    assert found.pairs.height > 150
    assert seconds < SECONDS
    cost = costs(profiles, low, GrowthSpec())
    row, column = np.nonzero(np.isfinite(cost))
    variables = np.arange(len(row))
    size = sum(cost.shape)
    constraints = coo_array(
        (np.ones(2 * len(row)), (np.concatenate([row, len(cost) + column]), np.tile(variables, 2))),
        shape=(size, len(row)),
    )
    prize = 10.0 * cost[row, column].max() * len(cost)
    best = linprog(cost[row, column] - prize, A_ub=constraints.tocsr(), b_ub=np.ones(size), bounds=(0, 1))
    total = best.fun + prize * round(best.x.sum())
    assert found.pairs.height == round(best.x.sum())
    assert found.pairs["cost"].sum() == pytest.approx(total, rel=1e-7)


def test_pairs_are_within_the_rules(state: tuple[pl.DataFrame, list[str], Pairs, float]) -> None:
    profiles, low, found, _ = state
    rules = GrowthSpec().pairing
    known = {row["school_id"]: row for row in profiles.iter_rows(named=True)}
    assert found.pairs["partner_id"].is_unique().all()
    assert found.pairs["school_id"].is_unique().all()
    for row in found.pairs.iter_rows(named=True):
        assert row["partner_id"] not in low
        assert known[row["school_id"]]["grade_span"] == known[row["partner_id"]]["grade_span"]
        assert row["partner_level"] > rules.low_level
        assert row["partner_level"] >= rules.min_level or row["probability"] >= rules.min_probability
    assert set(found.pairs["school_id"]) | set(found.unmatched["school_id"]) == set(low)
    before, after = found.balance["smd_before"].abs(), found.balance["smd"].abs()
    assert after.mean() < before.mean()  # type: ignore[operator]
    assert found.balance["balanced"].all()


def test_top_three_are_the_three_nearest(state: tuple[pl.DataFrame, list[str], Pairs, float]) -> None:
    profiles, low, found, _ = state
    cost = costs(profiles, low, GrowthSpec())
    for k, school in enumerate(low[:20]):
        own = found.top.filter(pl.col("school_id") == school)
        assert own["place"].to_list() == list(range(1, own.height + 1))
        np.testing.assert_allclose(own["cost"], np.sort(cost[k][np.isfinite(cost[k])])[:3])


def test_every_pair_has_a_sentence(state: tuple[pl.DataFrame, list[str], Pairs, float]) -> None:
    _, _, found, _ = state
    for row in found.pairs.iter_rows(named=True):
        sentence = row["sentence"]
        assert sentence.startswith(f"{row['school_id']} (grades {row['grade_span']}, ")
        assert f"is paired with {row['partner_id']} (" in sentence
        assert "most different in" in sentence
        assert sentence.count(".") >= 1
        assert sentence.endswith(".")
        place = "the best match of" if row["rank"] == 1 else f"number {row['rank']} of"
        assert place in sentence


def test_the_order_of_rows_does_not_matter(state: tuple[pl.DataFrame, list[str], Pairs, float]) -> None:
    profiles, low, found, _ = state
    shuffled = profiles.sample(fraction=1.0, shuffle=True, seed=5)
    again = pair_schools(shuffled, GrowthSpec(), low=low[::-1])
    for name in ("pairs", "top", "unmatched", "balance"):
        assert getattr(again, name).equals(getattr(found, name))


def test_equal_candidates_go_by_school_id() -> None:
    profiles = invented(8).with_columns(
        pl.Series("level", [1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 5.0, 5.0]),
        pl.Series("mean_prior", [0.0] * 6 + [1.0, -1.0]),
        *(pl.lit(0.3).alias(f"share_{group}") for group in ("SED", "EL", "SWD")),
        pl.lit(4.0).alias("log_n"),
    )
    found = pair_schools(profiles, pairing_spec(caliper=1.0, sitting_caliper=1.0), low=["0000", "0001"])
    assert set(found.pairs["partner_id"]) <= {"0002", "0003", "0004", "0005"}
    assert found.top["partner_id"].to_list() == ["0002", "0003", "0004"] * 2
    assert "alike in every trait" in found.pairs["sentence"][0]


def test_distances_equal_the_formula() -> None:
    profiles = invented(40, spans=SPANS[:2])
    space = whiten(profiles, 0.1)
    x = profiles.select(space.traits).to_numpy()
    span = np.array([SPANS.index(name) for name in profiles["grade_span"]])
    centred = x - np.array([x[span == s].mean(axis=0) for s in range(2)])[span]
    freedom = len(x) - 2
    z = centred / np.sqrt((centred**2).sum(axis=0) / freedom)
    inverse = np.linalg.inv(z.T @ z / freedom + 0.1 * np.eye(z.shape[1]))
    found = between(space, np.arange(40), np.arange(40))
    for j, k in ((0, 2), (1, 3), (4, 38)):
        assert found[j, k] == pytest.approx(np.sqrt((z[j] - z[k]) @ inverse @ (z[j] - z[k])))
    assert np.diag(found).max() == 0.0


def kept_case(**changes: object) -> tuple[pl.DataFrame, GrowthSpec]:
    profiles = invented(60, seed=3, spans=SPANS[:2])
    return profiles, pairing_spec(caliper=0.5, sitting_caliper=0.8, **changes)


def test_sitting_pairs_are_kept_and_the_others_are_paired_around_them() -> None:
    profiles, spec = kept_case()
    low = lowest_schools(profiles, 0.15)
    first = pair_schools(profiles, spec, low=low)
    assert first.pairs.height >= 6
    again = pair_schools(profiles, spec, low=low, sitting=first.pairs)
    assert again.pairs["kept"].all()
    assert again.ended.is_empty()
    # A worse sitting pair stays as well, and nobody else gets its partner.
    top = first.top.filter(pl.col("place") == 3).row(0, named=True)
    sitting = pl.DataFrame({"school_id": [top["school_id"]], "partner_id": [top["partner_id"]]})
    kept = pair_schools(profiles, spec, low=low, sitting=sitting)
    row = kept.pairs.filter(pl.col("kept")).row(0, named=True)
    assert (row["school_id"], row["partner_id"], row["rank"]) == (top["school_id"], top["partner_id"], 3)
    assert kept.pairs["partner_id"].is_unique().all()
    assert "keeps its partner" in row["sentence"]
    free = pair_schools(profiles, spec.replace({"pairing.keep_sitting": False}), low=low, sitting=sitting)
    assert free.pairs.equals(first.pairs)


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("partner_closed", {}),
        ("partner_withheld", {"reason": "n_below_minimum"}),
        ("other_grades", {"grade_span": "6-8"}),
        ("partner_low", {"level": 4.0}),
        ("partner_fell", {"level": 5.5, "effect": 40.0}),
        ("too_different", {"mean_prior": 9.0}),
    ],
)
def test_a_sitting_pair_ends_for_a_reason_that_is_told(reason: str, change: dict[str, object]) -> None:
    profiles, spec = kept_case()
    low = lowest_schools(profiles, 0.15)
    pair = (
        pair_schools(profiles, spec, low=low).pairs.filter(pl.col("grade_span") == "4-5").row(0, named=True)
    )
    partner = pl.col("school_id") == pair["partner_id"]
    if reason == "partner_closed":
        later = profiles.filter(~partner)
    else:
        later = profiles.with_columns(
            pl.when(partner).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
            for name, value in change.items()
        )
    sitting = pl.DataFrame({"school_id": [pair["school_id"]], "partner_id": [pair["partner_id"]]})
    found = pair_schools(later, spec, low=low, sitting=sitting)
    assert found.ended["reason"].to_list() == [reason]
    assert found.ended["sentence"][0].startswith(f"{pair['school_id']} and {pair['partner_id']} part: ")
    assert not found.pairs["kept"].any()


def test_schools_that_are_no_longer_low_and_partners_with_too_many_schools() -> None:
    profiles, spec = kept_case(capacity=1)
    low = lowest_schools(profiles, 0.15)
    first = pair_schools(profiles, spec, low=low)
    one, two = (
        row["school_id"]
        for row in first.pairs.filter(pl.col("grade_span") == "4-5").head(2).iter_rows(named=True)
    )
    partner = first.pairs.filter(pl.col("school_id") == one)["partner_id"].item()
    sitting = pl.DataFrame({"school_id": [one, two, "0099"], "partner_id": [partner] * 3})
    found = pair_schools(profiles, spec, low=low, sitting=sitting)
    assert set(found.ended["reason"]) <= {"capacity", "too_different", "school_closed"}
    assert found.pairs["kept"].sum() == 1
    space = whiten(profiles, spec.pairing.ridge)
    near = between(space, *(np.array([space.ids.index(s) for s in who]) for who in ([one, two], [partner])))[
        :, 0
    ]
    stays = found.pairs.filter("kept")["school_id"].item()
    assert stays == (one, two)[int(np.argmin(near))]
    others = [school for school in low if school != one]
    assert pair_schools(profiles, spec, low=others, sitting=sitting[:1]).ended["reason"].to_list() == [
        "no_longer_low"
    ]
    both = pair_schools(
        profiles,
        spec.replace({"pairing.capacity": 2, "pairing.sitting_caliper": 1.0}),
        low=low,
        sitting=sitting[:2],
    )
    assert both.pairs["kept"].sum() == 2


def test_needs_decide_between_similar_partners_and_can_be_required() -> None:
    profiles = invented(30, seed=2)
    low = lowest_schools(profiles, 0.1)
    spec = pairing_spec(caliper=1.0, sitting_caliper=1.0)
    school = low[0]
    first = pair_schools(profiles, spec, low=[school])
    nearest = first.pairs["partner_id"].item()
    other = first.top["partner_id"][1]
    table = needs_table(
        {
            school: {"attendance": 2, "math": 3, "ela": 6},
            other: {"attendance": 8, "math": 7},
            nearest: {"math": 5},
        }
    )
    found = pair_schools(profiles, spec.replace({"pairing.need_weight": 20.0}), low=[school], needs=table)
    row = found.pairs.row(0, named=True)
    assert (row["partner_id"], row["needs"], row["needs_met"]) == (other, 2, 1.0)
    assert row["cost"] == row["distance"]
    assert "strong in 2 of its 2 needs (attendance, math)" in row["sentence"]
    light = pair_schools(profiles, spec.replace({"pairing.need_weight": 0.0}), low=[school], needs=table)
    assert light.pairs["partner_id"].item() == nearest
    required = spec.replace({"pairing.need_weight": 0.0, "pairing.needs_met": 0.5})
    assert pair_schools(profiles, required, low=[school], needs=table).pairs["partner_id"].item() == other
    nobody = table.filter(pl.col("school_id") != other)
    assert (
        pair_schools(profiles, required, low=[school], needs=nobody).unmatched["reason"].item()
        == "needs_not_met"
    )


def test_schools_without_a_partner_and_why() -> None:
    profiles = invented(30, seed=4)
    spec = pairing_spec(caliper=1.0, sitting_caliper=1.0)
    low = lowest_schools(profiles, 0.1)

    def reason(changed: pl.DataFrame, choices: GrowthSpec = spec, schools: list[str] = low[:1]) -> list[str]:
        found = pair_schools(changed, choices, low=schools)
        assert all(
            f" {ALONE[reason]}." in s
            for reason, s in found.unmatched.select("reason", "sentence").iter_rows()
        )
        return found.unmatched["reason"].to_list()

    own = pl.col("school_id") == low[0]
    assert reason(profiles, schools=["9999"]) == ["not_in_run"]
    few = profiles.with_columns(pl.when(own).then(pl.lit("n_below_minimum")).alias("reason"))
    assert reason(few) == ["n_below_minimum"]
    alone = profiles.with_columns(
        pl.when(own).then(pl.lit("8-8")).otherwise("grade_span").alias("grade_span")
    )
    assert reason(alone) == ["no_school_with_these_grades"]
    average = profiles.with_columns(
        pl.when(own).then("level").otherwise(6.0).alias("level"), pl.lit(50.0).alias("effect")
    )
    assert reason(average) == ["no_stronger_school"]
    assert reason(profiles, pairing_spec(caliper=1e-9)) == ["none_within_caliper"]
    best = profiles.with_columns(
        pl.when(pl.col("level") == 10.0).then("level").otherwise(5.0).alias("level"),
        pl.when(pl.col("level") == 10.0).then("effect").otherwise(40.0).alias("effect"),
    )
    single = best.filter(
        (pl.col("level") < 10) | (pl.col("school_id") == best.filter(pl.col("level") == 10)["school_id"][0])
    )
    assert reason(single, schools=low) == ["capacity"] * (len(low) - 1)


def test_shares_of_few_students_are_not_told() -> None:
    profiles = invented(30, seed=2).with_columns(pl.lit(0.02).alias("share_SWD"))
    low = lowest_schools(profiles, 0.1)[:1]
    odd = profiles.with_columns(
        pl.when(pl.col("school_id") == low[0]).then(0.9).otherwise("share_SWD").alias("share_SWD")
    )
    sentence = (
        pair_schools(odd, pairing_spec(caliper=1.0, sitting_caliper=1.0), low=low).pairs["sentence"].item()
    )
    assert "most different in share of SWD;" in f"{sentence[:-1]};"
    told = (
        pair_schools(
            odd.with_columns(pl.lit(5_000).alias("n")),
            pairing_spec(caliper=1.0, sitting_caliper=1.0),
            low=low,
        )
        .pairs["sentence"]
        .item()
    )
    assert "share of SWD (90% and 2%)" in told


def test_tables_that_cannot_be_used() -> None:
    profiles = invented(20)
    with pytest.raises(TableError, match="schools more than once"):
        pair_schools(profiles, GrowthSpec(), low=["0001", "0001"])
    sitting = pl.DataFrame({"school_id": ["0001"] * 2, "partner_id": ["0002", "0003"]})
    with pytest.raises(TableError, match="several sitting partners"):
        pair_schools(profiles, GrowthSpec(), low=["0001"], sitting=sitting)
    with pytest.raises(ColumnError, match="'partner_id' is missing from the sitting pairs"):
        pair_schools(profiles, GrowthSpec(), low=["0001"], sitting=pl.DataFrame({"school_id": ["0001"]}))
    with pytest.raises(ColumnError, match="'level' is missing from the table of needs"):
        pair_schools(profiles, GrowthSpec(), needs=pl.DataFrame({"school_id": ["1"], "need": ["a"]}))
    with pytest.raises(TableError, match="profiles has schools more than once"):
        pair_schools(pl.concat([profiles, profiles]), GrowthSpec(), low=["0001"])


@pytest.mark.parametrize(
    "changes",
    [
        {"strong_level": 3},
        {"sitting_level": 9.0},
        {"sitting_caliper": 0.1},
        {"low_level": 6.0},
        {"community_size": 5.0},
        {"community_min": 3},
    ],
)
def test_contradictory_rules_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        pairing_spec(**changes)


def test_lowest_schools_are_those_of_the_index_where_there_is_one() -> None:
    profiles = invented(40)
    assert lowest_schools(profiles, 0.05) == sorted(profiles.sort("growth_percentile")["school_id"].head(2))
    index = profiles.with_columns((100.0 - pl.col("growth_percentile")).alias("index"))
    assert lowest_schools(index, 0.05) == sorted(profiles.sort("growth_percentile")["school_id"].tail(2))
    assert len(lowest_schools(profiles, 0.001)) == 1


def test_profiles_of_a_run(city_run: GrowthRun) -> None:
    profiles = school_profiles(city_run.frames, city_run.spec)
    students = city_run.polars("students").filter((pl.col("status") == "scored") & pl.col("highest"))
    for row in profiles.filter(pl.col("reason").is_null()).iter_rows(named=True):
        own = students.filter(pl.col("school_id") == row["school_id"])
        people = own.unique("student_id")
        assert row["n"] == people.height
        assert row["share_EL"] == pytest.approx(people["english_learner"].cast(pl.Float64).mean())
        assert row["log_n"] == pytest.approx(np.log(row["n"]))
        levels = (
            city_run.polars("levels").filter(school_id=row["school_id"], group="All")["level"].drop_nulls()
        )
        assert row["level"] == pytest.approx(levels.cast(pl.Float64).mean())
    cells = students.with_columns(
        ((pl.col("prior_score") - pl.col("prior_score").mean()) / pl.col("prior_score").std())
        .over("subject", "grade")
        .alias("z")
    )
    means = cells.group_by("school_id").agg(pl.col("z").mean())
    joined = profiles.filter(pl.col("reason").is_null()).join(means, on="school_id")
    np.testing.assert_allclose(joined["mean_prior"], joined["z"], atol=1e-12)
    assert set(profiles["grade_span"]) == {"4-5", "6-8", "11-11"}
    old = {**city_run.frames, "students": city_run.polars("students").drop("prior_score")}
    with pytest.raises(ColumnError, match="'prior_score' is missing"):
        school_profiles(old, city_run.spec)
    with pytest.raises(TableError, match="no students in schools"):
        school_profiles(city_run.frames, city_run.spec, year=1999)


def test_a_composite_is_no_further_subject(city_run: GrowthRun) -> None:
    with_composite = {
        name: pl.concat([frame, frame.filter(subject="ELA").with_columns(subject=pl.lit("COMPOSITE"))])
        if name in ("schools", "levels")
        else frame
        for name, frame in city_run.frames.items()
    }
    plain = city_run.frames
    spec = city_run.spec
    assert school_profiles(with_composite, spec).equals(school_profiles(plain, spec))
    assert growth_needs(with_composite["levels"]).equals(growth_needs(plain["levels"]))
    metrics = [growth_metrics(of["schools"], of["levels"], spec) for of in (with_composite, plain)]
    assert metrics[0].equals(metrics[1])


def test_small_schools_have_no_profile(city_run: GrowthRun) -> None:
    strict = city_run.spec.replace({"school.min_n": 100})
    profiles = school_profiles(city_run.frames, strict)
    hidden = profiles.filter(pl.col("reason") == "n_below_minimum")
    assert hidden.height
    shown = {"school_id", "grade_span", "reason"}
    assert hidden.drop(shown).null_count().row(0) == (hidden.height,) * (profiles.width - len(shown))


def test_needs_come_from_the_points_of_an_index() -> None:
    points = pl.DataFrame(
        {
            "year": [2024, 2025, 2025, 2025],
            "school_id": ["A"] * 4,
            "metric": ["growth"] * 3 + ["suspension"],
            "part": ["ELA", "ELA", "MATH", ""],
            "group": ["All", "All", "EL", "All"],
            "level": [1, 2, 3, None],
        }
    )
    assert needs_of(points).rows() == [("A", "growth ELA", 2)]
