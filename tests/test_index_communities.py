"""Communities of practice: sizes kept, as good as trying everything on small cases, needs shared."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from pairing_cases import SPANS, invented, needs_table, pairing_spec

from growth.errors import TableError
from growth.index import communities
from growth.index.communities import Sizes, _improve, divide, objective
from growth.index.why import ALONE
from growth.spec import GrowthSpec

ROUNDING = 1e-9
"""Sums of distances, added in another order."""


def divisions(n: int, sizes: Sizes) -> Iterator[np.ndarray]:
    """Yield every division of n schools into `sizes.count` communities of allowed size."""

    def place(labels: list[int], held: list[int]) -> Iterator[np.ndarray]:
        if len(labels) == n:
            if len(held) == sizes.count and min(held) >= sizes.least:
                yield np.array(labels)
            return
        for community, size in enumerate(held):
            if size < sizes.most:
                yield from place([*labels, community], [*held[:community], size + 1, *held[community + 1 :]])
        if len(held) < sizes.count:
            yield from place([*labels, len(held)], [*held, 1])

    yield from place([], [])


def random_costs(n: int, seed: int) -> np.ndarray:
    points = np.random.default_rng(seed).standard_normal((n, 3))
    return np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))


@pytest.mark.parametrize("n", [4, 6, 7, 8, 9])
@pytest.mark.parametrize("seed", range(6))
def test_small_cases_equal_the_best_of_all_divisions(n: int, seed: int) -> None:
    cost = random_costs(n, seed)
    sizes = Sizes.of(n, GrowthSpec().pairing)
    best = min(objective(cost, labels) for labels in divisions(n, sizes))
    assert objective(cost, divide(cost, sizes, seed=1)) == pytest.approx(best, abs=ROUNDING)


@pytest.mark.parametrize(("n", "size"), [(6, 2), (8, 2), (6, 3), (9, 3), (8, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_where_only_swaps_are_possible_the_best_is_found_too(n: int, size: int, seed: int) -> None:
    cost = random_costs(n, seed)
    sizes = Sizes(size, size, n // size)
    best = min(objective(cost, labels) for labels in divisions(n, sizes))
    assert objective(cost, divide(cost, sizes, seed=1)) == pytest.approx(best, abs=ROUNDING)


def test_a_search_ends_where_no_swap_improves() -> None:
    sizes = Sizes(2, 2, 6)
    for seed in range(5):
        cost = random_costs(12, seed)
        labels = _improve(cost, np.tile(np.arange(6), 2), sizes)
        for i in range(12):
            for j in range(i):
                swapped = labels.copy()
                swapped[[i, j]] = labels[[j, i]]
                assert objective(cost, swapped) > objective(cost, labels) - ROUNDING


def test_the_objective_is_the_mean_cost_of_fellows() -> None:
    cost = np.array([[0, 1, 4, 9], [1, 0, 2, 9], [4, 2, 0, 9], [9, 9, 9, 0]], dtype=float)
    assert objective(cost, np.array([0, 0, 1, 1])) == 1 + 1 + 9 + 9
    assert objective(cost, np.array([0, 0, 0, 1])) == (1 + 4) / 2 + (1 + 2) / 2 + (4 + 2) / 2


def test_no_move_or_swap_improves_a_large_division() -> None:
    n = 60
    cost = random_costs(n, 3)
    sizes = Sizes.of(n, GrowthSpec().pairing)
    labels = divide(cost, sizes, seed=1)
    value = objective(cost, labels)
    held = np.bincount(labels)
    assert len(held) == sizes.count == 20
    assert held.min() >= 2
    assert held.max() <= 4
    for i in range(n):
        for j in range(i):
            swapped = labels.copy()
            swapped[[i, j]] = labels[[j, i]]
            assert objective(cost, swapped) > value - ROUNDING
        for community in range(sizes.count):
            moved = labels.copy()
            moved[i] = community
            if np.bincount(moved, minlength=sizes.count).min() >= 2 and np.bincount(moved).max() <= 4:
                assert objective(cost, moved) > value - ROUNDING


@pytest.mark.parametrize("schools", range(2, 40))
def test_any_number_of_schools_can_be_divided(schools: int) -> None:
    for low, high, mean in ((2, 4, 3.0), (2, 3, 2.0), (3, 5, 4.0)):
        rules = pairing_spec(community_min=low, community_max=high, community_size=mean).pairing
        sizes = Sizes.of(schools, rules)
        if schools < low:
            assert sizes.count == 0
        else:
            assert sizes.count * low <= schools <= sizes.count * high


def test_planted_communities_are_found_by_students_and_needs() -> None:
    rng = np.random.default_rng(2)
    profiles = invented(40).with_columns(pl.Series("mean_prior", np.repeat([-2.0, 2.0], 20)))
    areas = ("attendance", "math", "ela", "climate")
    planted = {f"{i:04d}": areas[i % 4] for i in range(12)}
    needs = needs_table({s: {a: (2 if a == own else 6) for a in areas} for s, own in planted.items()})
    order = rng.permutation(sorted(planted)).tolist()
    found = communities(profiles, pairing_spec(need_weight=50.0), order, needs=needs)
    assert found.members["size"].to_list() == [3] * 12
    for _, own in found.members.group_by("community"):
        assert len({planted[school] for school in own["school_id"]}) == 1
        need = planted[own["school_id"][0]]
        assert own["shared_needs"].to_list() == [[need]] * 3
        assert own["sentence"].str.contains(f"all need help with {need}").all()
    plain = communities(profiles, GrowthSpec(), order)
    assert plain.members["cost"].equals(plain.members["distance"])
    assert (
        plain.cost <= communities(profiles, pairing_spec(need_weight=0.0), order, needs=needs).cost + ROUNDING
    )


def test_grades_are_never_mixed_and_nobody_is_lost() -> None:
    profiles = invented(90, spans=SPANS)
    profiles = profiles.with_columns(
        pl.when(pl.col("school_id") == "0000")
        .then(pl.lit("8-8"))
        .otherwise("grade_span")
        .alias("grade_span"),
        pl.when(pl.col("school_id") == "0001").then(pl.lit("n_below_minimum")).alias("reason"),
    )
    taking = [f"{i:04d}" for i in range(40)] + ["9999"]
    found = communities(profiles, GrowthSpec(), taking)
    assert sorted([*found.members["school_id"], *found.alone["school_id"]]) == sorted(taking)
    reasons = dict(found.alone.select("school_id", "reason").iter_rows())
    assert reasons == {"0000": "no_fellow_with_these_grades", "0001": "n_below_minimum", "9999": "not_in_run"}
    assert all(ALONE[reason] in s for reason, s in found.alone.select("reason", "sentence").iter_rows())
    mixed = found.members.group_by("community").agg(pl.col("grade_span").n_unique())["grade_span"]
    assert mixed.to_list() == [1] * len(mixed)
    assert found.members.filter(~pl.col("size").is_between(2, 4)).is_empty()
    again = communities(profiles.sample(fraction=1.0, shuffle=True, seed=1), GrowthSpec(), taking[::-1])
    assert again.members.equals(found.members)
    assert repr(found).startswith(f"Communities({found.members.height} schools in ")


def test_schools_are_named_once() -> None:
    with pytest.raises(TableError, match="more than once"):
        communities(invented(10), GrowthSpec(), ["0001", "0001"])
