r"""Pairs of schools: the lowest with high-growth schools of similar students, each partner at most so often.

For low schools k and candidates j with the same grades,

.. math::
    \min \sum_{k, j} x_{kj} \big( d(j, k) + w u_{kj} \big), \quad
    \sum_j x_{kj} \le 1, \; \sum_k x_{kj} \le c, \; x_{kj} \in \{0, 1\},

over all assignments with the largest number of pairs: d is the distance of `growth.index.similarity`, u the
share of k's needs in which j is not strong. The optimum is exact (`scipy.optimize.linear_sum_assignment` with
one column for each place of a partner, and dummy columns for schools that stay alone). Sitting pairs are
settled before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import linear_sum_assignment
from scipy.special import ndtr

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import TableError, problem
from growth.index.needs import Needs, read_needs, unmet
from growth.index.similarity import Space, between, one_blas_thread, span_quantiles, whiten
from growth.index.sitting import Market, settle
from growth.index.why import balance_table, pair_sentence, unmatched_sentence
from growth.spec import GrowthSpec

__all__ = ["Pairs", "lowest_schools", "pair_schools"]

_TOP = 3
_PAIRS: dict[str, pl.DataType] = {
    "school_id": pl.String(),
    "partner_id": pl.String(),
    "grade_span": pl.String(),
    "kept": pl.Boolean(),
    "distance": pl.Float64(),
    "cost": pl.Float64(),
    "rank": pl.Int64(),
    "candidates": pl.Int64(),
    "level": pl.Float64(),
    "partner_level": pl.Float64(),
    "probability": pl.Float64(),
    "needs": pl.Int64(),
    "needs_met": pl.Float64(),
    "sentence": pl.String(),
}
_TOP_COLUMNS: dict[str, pl.DataType] = {
    "school_id": pl.String(),
    "place": pl.Int64(),
    "partner_id": pl.String(),
    "distance": pl.Float64(),
    "cost": pl.Float64(),
    "partner_level": pl.Float64(),
    "probability": pl.Float64(),
    "needs_met": pl.Float64(),
    "paired": pl.Boolean(),
}
_UNMATCHED: dict[str, pl.DataType] = {
    "school_id": pl.String(),
    "reason": pl.String(),
    "sentence": pl.String(),
}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pairs:
    """Who works with whom, and why."""

    pairs: pl.DataFrame
    """One row per pair: kept (a sitting pair), distance, cost (distance and needs), rank of the partner by
    cost among the school's candidates, how many those are, mean levels of both, probability that the
    partner's growth is higher, number of needs and share that the partner is strong in (null without needs),
    sentence."""
    top: pl.DataFrame
    """The three best candidates of each school, assigned to it or not."""
    unmatched: pl.DataFrame
    """Schools without a partner: reason, sentence."""
    ended: pl.DataFrame
    """Sitting pairs that end: school_id, partner_id, reason, sentence."""
    balance: pl.DataFrame
    """Per trait: mean of paired schools, of their partners, of all candidates; standardised mean differences
    before (candidates) and after (partners) pairing; balanced: below .25."""
    low: tuple[str, ...]
    """Schools that a partner was sought for."""

    def __repr__(self) -> str:
        kept = int(self.pairs["kept"].sum())
        balanced = int(self.balance["balanced"].sum())
        return (
            f"Pairs({self.pairs.height:,} of {len(self.low):,} schools have a partner, {kept:,} keep theirs, "
            f"{balanced} of {self.balance.height} traits balanced)"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """K low schools and J schools: who could be whose partner, and at what cost."""

    low: IntArray  # (K,), rows of the space
    distance: FloatArray  # (K, J)
    unmet: FloatArray  # (K, J)
    probability: FloatArray  # (K, J), that the growth of j is above that of k
    cost: FloatArray  # (K, J)
    comparable: BoolArray  # (K, J): the same grades, and no low school
    stronger: BoolArray  # (K, J): comparable, and high or higher with some certainty
    near: BoolArray  # (K, J): stronger, and within the caliper
    allowed: BoolArray  # (K, J): near, and helpful enough


def lowest_schools(profiles: pl.DataFrame, share: float) -> list[str]:
    """Return the lowest schools by `index` if the profiles have it, else by `growth_percentile`.

    Their number is the share of the schools with a value, rounded, at least one; equal values: the first
    school_id in sort order.
    """
    measure = "index" if "index" in profiles.columns else "growth_percentile"
    rows = profiles.filter(pl.col("reason").is_null() & pl.col(measure).is_not_null()).sort(
        measure, "school_id"
    )
    count = max(1, int(share * rows.height + 0.5))
    found: list[str] = rows["school_id"].head(count).sort().to_list()
    return found


@one_blas_thread
def pair_schools(
    profiles: pl.DataFrame,
    spec: GrowthSpec,
    *,
    low: Sequence[str] | None = None,
    sitting: pl.DataFrame | None = None,
    needs: pl.DataFrame | None = None,
) -> Pairs:
    """Pair the lowest schools, or given ones, with high-growth schools of similar students.

    A candidate has the same grade span, is not low itself (in the list, or with a mean level of at most
    ``pairing.low_level``), has a mean level of at least ``pairing.min_level`` or higher growth with
    probability ``pairing.min_probability``, and lies within the caliper. The result does not depend on the
    order of rows.

    Parameters
    ----------
    profiles : polars.DataFrame
        See `growth.index.profiles.school_profiles`; with a column `index`, that decides who is lowest.
    spec : GrowthSpec
        ``spec.pairing``.
    low : sequence of str, optional
        Schools that get a partner; by default the lowest ``pairing.lowest_share``.
    sitting : polars.DataFrame, optional
        Pairs of the year before: school_id, partner_id.
    needs : polars.DataFrame, optional
        school_id, need, level (1-10): `growth.index.profiles.needs_of`, or any areas. Low levels are needs,
        and a partner should be strong in them.

    Returns
    -------
    Pairs

    Raises
    ------
    ColumnError, TableError
        If a table cannot be used, or a school of the list is there twice.
    """
    rules = spec.pairing
    chosen = lowest_schools(profiles, rules.lowest_share) if low is None else sorted(low)
    if len(set(chosen)) != len(chosen):
        twice = len(chosen) - len(set(chosen))
        raise TableError(problem("The list names schools more than once", rows=twice, fix="drop the copies"))
    space = whiten(profiles, rules.ridge)
    place = {school: at for at, school in enumerate(space.ids)}
    wanted = read_needs(needs, space, rules)
    rows = np.array([place[school] for school in chosen if school in place], dtype=np.int64)
    choice = _choice(space, rows, wanted, spec)
    market = Market(
        low={space.ids[row]: k for k, row in enumerate(rows.tolist())},
        schools=place,
        withheld=frozenset(profiles.filter(pl.col("reason").is_not_null())["school_id"]),
        wanted=frozenset(chosen),
        distance=choice.distance,
        objection=_objections(space, choice, spec),
        capacity=rules.capacity,
    )
    kept = settle(sitting if rules.keep_sitting else None, market)
    partner = _assign(choice, kept.partner, len(space), rules.capacity)
    return Pairs(
        pairs=_pairs_frame(space, choice, (partner, kept.partner >= 0), wanted, spec),
        top=_top_frame(space, choice, partner),
        unmatched=_unmatched_frame(space, choice, partner, chosen, profiles),
        ended=kept.ended,
        balance=balance_table(space, choice.low[partner >= 0], partner[partner >= 0], _pool(choice)),
        low=tuple(chosen),
    )


def _choice(space: Space, low: IntArray, needs: Needs, spec: GrowthSpec) -> _Choice:
    rules = spec.pairing
    everyone = np.arange(len(space))
    level = space.profiles["level"].fill_null(np.nan).to_numpy()
    distance = between(space, low, everyone)
    lacking = unmet(needs, low, everyone)
    probability = _probability(space, low)
    eligible = ~np.isin(everyone, low) & ~(level <= rules.low_level)
    comparable = (space.span[low][:, None] == space.span[None, :]) & eligible[None, :]
    stronger = comparable & ((level >= rules.min_level)[None, :] | (probability >= rules.min_probability))
    caliper = span_quantiles(space, rules.caliper)[space.span[low]]
    near = stronger & (distance <= caliper[:, None])
    # An area of need is a whole number of areas: 1 - 2/3 must meet 1/3.
    allowed = near & (1.0 - lacking >= rules.needs_met - 1e-12)
    cost = distance + rules.need_weight * lacking
    return _Choice(low, distance, lacking, probability, cost, comparable, stronger, near, allowed)


def _probability(space: Space, low: IntArray) -> FloatArray:
    """Return P(growth of j > growth of k) from posterior means and SDs, shape (K, J)."""
    effect = space.profiles["effect"].to_numpy()
    se = space.profiles["effect_se"].to_numpy()
    gap = effect[None, :] - effect[low][:, None]
    spread = np.hypot(se[None, :], se[low][:, None])
    known = spread > 0.0
    return np.asarray(np.where(known, ndtr(gap / np.where(known, spread, 1.0)), 0.5 * (1.0 + np.sign(gap))))


def _objections(space: Space, choice: _Choice, spec: GrowthSpec) -> Callable[[int, int], str | None]:
    """Return the rule that says why a low school cannot keep its partner, as far as both are there."""
    rules = spec.pairing
    level = space.profiles["level"].fill_null(np.nan).to_numpy()
    caliper = span_quantiles(space, rules.sitting_caliper)[space.span[choice.low]]
    far = choice.distance > caliper[:, None]
    fell = ~((level >= rules.sitting_level)[None, :] | (choice.probability >= rules.min_probability))

    def objection(k: int, j: int) -> str | None:
        if space.span[choice.low[k]] != space.span[j]:
            return "other_grades"
        if not choice.comparable[k, j]:
            return "partner_low"
        if fell[k, j]:
            return "partner_fell"
        return "too_different" if far[k, j] else None

    return objection


def _assign(choice: _Choice, kept: IntArray, schools: int, capacity: int) -> IntArray:
    """Return the partner of each low school, -1 for none: kept pairs, and the best for the others."""
    partner = kept.copy()
    seeking = np.flatnonzero(partner < 0)
    taken = np.bincount(partner[partner >= 0], minlength=schools)
    places = np.repeat(np.arange(schools), np.maximum(capacity - taken, 0))
    places = places[choice.allowed[np.ix_(seeking, places)].any(axis=0)] if len(seeking) else places[:0]
    if not len(places):
        return partner
    cost = choice.cost[np.ix_(seeking, places)]
    allowed = choice.allowed[np.ix_(seeking, places)]
    # Staying alone costs more than all pairs together: as many pairs as possible come first.
    alone = 1.0 + 2.0 * len(seeking) * float(cost[allowed].max())
    matrix = np.full((len(seeking), len(places) + len(seeking)), alone)
    matrix[:, : len(places)] = np.where(allowed, cost, 3.0 * alone * len(seeking))
    rows, columns = linear_sum_assignment(matrix)
    paired = columns < len(places)
    partner[seeking[rows[paired]]] = places[columns[paired]]
    return partner


def _pool(choice: _Choice) -> IntArray:
    return np.flatnonzero(choice.stronger.any(axis=0)).astype(np.int64)


def _ranked(choice: _Choice, k: int) -> IntArray:
    """Return the candidates of a low school, best first; equal costs by school_id."""
    found = np.flatnonzero(choice.allowed[k])
    return found[np.argsort(choice.cost[k, found], kind="stable")]


def _pairs_frame(
    space: Space, choice: _Choice, found: tuple[IntArray, BoolArray], needs: Needs, spec: GrowthSpec
) -> pl.DataFrame:
    partner, kept = found
    rows = []
    level = space.profiles["level"].to_list()
    for k in np.flatnonzero(partner >= 0).tolist():
        j, school = int(partner[k]), int(choice.low[k])
        ranked = _ranked(choice, k).tolist()
        row = {
            "school_id": space.ids[school],
            "partner_id": space.ids[j],
            "grade_span": space.spans[space.span[school]],
            "kept": bool(kept[k]),
            "distance": float(choice.distance[k, j]),
            "cost": float(choice.cost[k, j]),
            "rank": ranked.index(j) + 1 if j in ranked else None,
            "candidates": len(ranked),
            "level": level[school],
            "partner_level": level[j],
            "probability": float(choice.probability[k, j]),
            "needs": int(needs.low[school].sum()),
            "needs_met": float(1.0 - choice.unmet[k, j]) if needs.low[school].any() else None,
        }
        rows.append(row | {"sentence": pair_sentence(row, space, (school, j), needs, spec.groups.min_n)})
    return pl.DataFrame(rows, schema=_PAIRS)


def _top_frame(space: Space, choice: _Choice, partner: IntArray) -> pl.DataFrame:
    rows = []
    level = space.profiles["level"].to_list()
    for k, school in enumerate(choice.low.tolist()):
        for place, j in enumerate(_ranked(choice, k)[:_TOP].tolist(), start=1):
            rows.append(
                {
                    "school_id": space.ids[school],
                    "place": place,
                    "partner_id": space.ids[j],
                    "distance": float(choice.distance[k, j]),
                    "cost": float(choice.cost[k, j]),
                    "partner_level": level[j],
                    "probability": float(choice.probability[k, j]),
                    "needs_met": float(1.0 - choice.unmet[k, j]),
                    "paired": bool(partner[k] == j),
                }
            )
    return pl.DataFrame(rows, schema=_TOP_COLUMNS)


def _unmatched_frame(
    space: Space, choice: _Choice, partner: IntArray, chosen: Sequence[str], profiles: pl.DataFrame
) -> pl.DataFrame:
    withheld = dict(profiles.select("school_id", "reason").iter_rows())
    row_of = {space.ids[school]: k for k, school in enumerate(choice.low.tolist())}
    rows = []
    for school in chosen:
        if school in row_of and partner[row_of[school]] >= 0:
            continue
        if school not in row_of:
            reason = withheld.get(school) or "not_in_run"
        else:
            reason = _why_alone(choice, row_of[school])
        rows.append({"school_id": school, "reason": reason, "sentence": unmatched_sentence(school, reason)})
    return pl.DataFrame(rows, schema=_UNMATCHED)


def _why_alone(choice: _Choice, k: int) -> str:
    if not choice.comparable[k].any():
        return "no_school_with_these_grades"
    if not choice.stronger[k].any():
        return "no_stronger_school"
    if not choice.near[k].any():
        return "none_within_caliper"
    return "capacity" if choice.allowed[k].any() else "needs_not_met"
