r"""Communities of practice: 2-4 schools with similar students that need help with the same things.

Schools of one grade span are divided into a given number of communities c, each of allowed size, so that

.. math::
    \sum_c \sum_{i \in c} \frac{1}{|c| - 1} \sum_{j \in c, j \ne i} D_{ij}, \qquad
    D_{ij} = d(i, j) + w (1 - s_{ij}),

is smallest: the mean cost of a school's fellows, over all schools. d is the distance of
`growth.index.similarity`, s the Jaccard similarity of needs. The problem is NP-hard. A local search (move a
school, swap two) from several seeded starts finds a division that no move or swap improves; on small cases it
is the optimum (see the tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.errors import TableError, problem
from growth.index.needs import Needs, read_needs, shared
from growth.index.similarity import Space, between, one_blas_thread, whiten
from growth.index.why import unmatched_sentence
from growth.spec import GrowthSpec
from growth.spec.pairing import Pairing

__all__ = ["Communities", "Sizes", "communities", "divide", "objective"]

_WORK = 2_000
"""Starts times schools of a search: many starts for few schools."""
_LEAST_STARTS = 4
_GAIN = 1e-12
"""Smallest improvement that counts [largest cost]: above rounding, so that the search ends."""
_DIGITS = 9
"""Objectives that differ less are equal, and the first start counts."""
_COMMUNITIES: dict[str, pl.DataType] = {
    "community": pl.Int64(),
    "school_id": pl.String(),
    "grade_span": pl.String(),
    "size": pl.Int64(),
    "cost": pl.Float64(),
    "distance": pl.Float64(),
    "shared_needs": pl.List(pl.String()),
    "sentence": pl.String(),
}
_ALONE: dict[str, pl.DataType] = {"school_id": pl.String(), "reason": pl.String(), "sentence": pl.String()}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of communities, and how many there are."""

    least: int
    most: int
    count: int

    @classmethod
    def of(cls, schools: int, rules: Pairing) -> Sizes:
        """Return sizes that so many schools can be divided into; no community if there are too few."""
        fewest = -(-schools // rules.community_max)
        largest = schools // rules.community_min
        wanted = int(schools / rules.community_size + 0.5)
        count = min(max(wanted, fewest), largest) if fewest <= largest else 0
        return cls(rules.community_min, rules.community_max, count)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Communities:
    """Who learns with whom."""

    members: pl.DataFrame
    """One row per school: community (a number), grade_span, size, cost and distance (means over the school's
    fellows), shared_needs of all members, sentence."""
    alone: pl.DataFrame
    """Schools in no community: reason, sentence."""
    cost: float
    """The objective."""

    def __repr__(self) -> str:
        count = self.members["community"].n_unique()
        counts = f"{self.members.height:,} schools in {count:,} communities"
        return f"Communities({counts}, {self.alone.height:,} alone)"


@one_blas_thread
def communities(
    profiles: pl.DataFrame,
    spec: GrowthSpec,
    schools: Sequence[str],
    *,
    needs: pl.DataFrame | None = None,
) -> Communities:
    """Form communities of practice among given schools.

    Parameters
    ----------
    profiles : polars.DataFrame
        See `growth.index.profiles.school_profiles`; all schools, which set the scale of distances.
    spec : GrowthSpec
        ``spec.pairing``.
    schools : sequence of str
        Those that take part, as schools with low-performing groups that have no partner.
    needs : polars.DataFrame, optional
        school_id, need, level (1-10); without it only students count.

    Returns
    -------
    Communities

    Raises
    ------
    ColumnError, TableError
        If a table cannot be used, or a school is named twice.
    """
    wanted = sorted(schools)
    if len(set(wanted)) != len(wanted):
        twice = len(wanted) - len(set(wanted))
        raise TableError(problem("The list names schools more than once", rows=twice, fix="drop the copies"))
    rules = spec.pairing
    space = whiten(profiles, rules.ridge)
    place = {school: at for at, school in enumerate(space.ids)}
    found = read_needs(needs, space, rules)
    taking = np.array([place[school] for school in wanted if school in place], dtype=np.int64)
    withheld = dict(profiles.select("school_id", "reason").iter_rows())
    alone = [(school, withheld.get(school) or "not_in_run") for school in wanted if school not in place]
    rows: list[dict[str, object]] = []
    total = 0.0
    for code in np.unique(space.span[taking]):
        members = taking[space.span[taking] == code]
        sizes = Sizes.of(len(members), rules)
        if not sizes.count:
            alone += [(space.ids[school], "no_fellow_with_these_grades") for school in members]
            continue
        distance = between(space, members, members)
        cost = distance + rules.need_weight * (1.0 - shared(found, members)) * bool(found.areas)
        np.fill_diagonal(cost, 0.0)
        labels = divide(cost, sizes, seed=rules.seed + int(code))
        total += objective(cost, labels)
        rows += _rows(space, members, labels, (cost, distance), found)
    return Communities(_numbered(rows), _alone_frame(alone), total)


def objective(cost: FloatArray, labels: IntArray) -> float:
    """Return the sum over schools of the mean cost of their fellows.

    Parameters
    ----------
    cost : ndarray, shape (n, n)
        Symmetric, 0 on the diagonal.
    labels : ndarray, shape (n,)
        Community of each school.
    """
    same = labels[:, None] == labels[None, :]
    fellows = same.sum(axis=1) - 1
    return float(((cost * same).sum(axis=1) / np.maximum(fellows, 1)).sum())


def divide(cost: FloatArray, sizes: Sizes, *, seed: int) -> IntArray:
    """Divide n schools into communities, shape (n,); numbered by first member.

    Parameters
    ----------
    cost : ndarray, shape (n, n)
        Symmetric, 0 on the diagonal.
    sizes : Sizes
        At least one community, and sizes that n schools can be divided into.
    seed : int
        Of the starts; equal seeds give equal results.
    """
    n = len(cost)
    starts = max(_LEAST_STARTS, _WORK // n)
    streams = (np.random.default_rng([seed, start]) for start in range(starts))
    found = [_improve(cost, _start(cost, sizes, rng), sizes) for rng in streams]
    best = min(found, key=lambda labels: round(objective(cost, labels), _DIGITS))
    _, first = np.unique(best, return_index=True)
    order = np.empty(sizes.count, dtype=np.int64)
    order[np.argsort(first)] = np.arange(sizes.count)
    return order[best]


def _start(cost: FloatArray, sizes: Sizes, rng: np.random.Generator) -> IntArray:
    """Return a division: random founders, far from each other, and each community its nearest in turn."""
    n, count = len(cost), sizes.count
    founders = [int(rng.integers(n))]
    while len(founders) < count:
        nearest = cost[:, founders].min(axis=1) * rng.uniform(0.5, 1.0, n)
        nearest[founders] = -1.0
        founders.append(int(np.argmax(nearest)))
    labels = np.full(n, -1, dtype=np.int64)
    labels[founders] = np.arange(count)
    target = np.full(count, n // count)
    target[: n % count] += 1
    while (labels < 0).any():
        for community in rng.permutation(count):
            members = np.flatnonzero(labels == community)
            free = np.flatnonzero(labels < 0)
            if len(free) and len(members) < target[community]:
                labels[free[np.argmin(cost[np.ix_(free, members)].sum(axis=1))]] = community
    return labels


def _improve(cost: FloatArray, labels: IntArray, sizes: Sizes) -> IntArray:
    """Return labels after the best moves and swaps, until none improves the objective."""
    n, count = len(cost), sizes.count
    least = _GAIN * float(cost.max())
    labels = labels.copy()
    everyone = np.arange(n)
    while True:
        member = np.zeros((n, count))
        member[everyone, labels] = 1.0
        to = cost @ member  # (n, count): cost of each school with each community's members
        size = member.sum(axis=0)
        inside = (member * to).sum(axis=0)  # (count,): twice the cost within
        value = inside / np.maximum(size - 1, 1)
        own = to[everyone, labels]
        # A move: school i from its community a to b.
        left = _mean(inside[labels] - 2 * own, size[labels] - 1)
        entered = _mean(inside[None, :] + 2 * to, size[None, :] + 1)
        move = left[:, None] + entered - value[labels][:, None] - value[None, :]
        move[size[labels] <= sizes.least] = np.inf
        move[:, size >= sizes.most] = np.inf
        move[everyone, labels] = np.inf
        # A swap: i of a with j of b; symmetric in i and j.
        joins = inside[labels][None, :] + 2 * (to[:, labels] - cost - own[None, :])  # i takes j's place in b
        change = joins / np.maximum(size[labels] - 1, 1)[None, :] - value[labels][None, :]
        swap = change + change.T
        swap[labels[:, None] == labels[None, :]] = np.inf
        if min(move.min(), swap.min()) >= -least:
            return labels
        if move.min() <= swap.min():
            i, b = np.unravel_index(int(np.argmin(move)), move.shape)
            labels[i] = b
        else:
            i, j = np.unravel_index(int(np.argmin(swap)), swap.shape)
            labels[i], labels[j] = labels[j], labels[i]


def _mean(inside: FloatArray, size: FloatArray) -> FloatArray:
    return np.asarray(inside / np.maximum(size - 1, 1))


def _rows(
    space: Space, members: IntArray, labels: IntArray, costs: tuple[FloatArray, FloatArray], needs: Needs
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for community in range(int(labels.max()) + 1):
        inside = np.flatnonzero(labels == community)
        common = set(needs.areas).intersection(*(needs.names(int(school)) for school in members[inside]))
        together = sorted(common)
        names = [space.ids[school] for school in members[inside]]
        for at, name in zip(inside, names, strict=True):
            fellows = [other for other in names if other != name]
            cost, distance = (float(x[at, inside].sum() / len(fellows)) for x in costs)
            rows.append(
                {
                    "school_id": name,
                    "grade_span": space.spans[space.span[members[at]]],
                    "size": len(inside),
                    "cost": cost,
                    "distance": distance,
                    "shared_needs": together,
                    "sentence": _sentence(name, fellows, together, bool(needs.areas)),
                    "_first": names[0],
                }
            )
    return rows


def _numbered(rows: list[dict[str, object]]) -> pl.DataFrame:
    schema = {name: dtype for name, dtype in _COMMUNITIES.items() if name != "community"}
    frame = pl.DataFrame(rows, schema={**schema, "_first": pl.String()})
    number = pl.col("_first").rank("dense").cast(pl.Int64).alias("community")
    return frame.with_columns(number).sort("community", "school_id").select(list(_COMMUNITIES))


def _alone_frame(alone: list[tuple[str, str]]) -> pl.DataFrame:
    rows = [
        {"school_id": school, "reason": reason, "sentence": unmatched_sentence(school, reason)}
        for school, reason in sorted(alone)
    ]
    return pl.DataFrame(rows, schema=_ALONE)


def _sentence(school: str, fellows: Sequence[str], needs: Sequence[str], asked: bool) -> str:
    words = f"{school} works with {', '.join(fellows)}, schools of the same grades with similar students"
    if needs:
        return f"{words}; all need help with {', '.join(need.replace('_', ' ') for need in needs)}."
    return f"{words}; no need is common to all." if asked else f"{words}."
