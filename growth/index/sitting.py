"""Pairs of the year before: kept unless there is a reason to break one, and the reason is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.errors import ColumnError, TableError, did_you_mean, problem
from growth.index.why import ended_sentence

__all__ = ["Kept", "settle"]

_ENDED: dict[str, pl.DataType] = {
    "school_id": pl.String(),
    "partner_id": pl.String(),
    "reason": pl.String(),
    "sentence": pl.String(),
}


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What became of the sitting pairs."""

    partner: IntArray
    """Partner that each low school keeps, shape (K,); -1 for none."""
    ended: pl.DataFrame
    """school_id, partner_id, reason, sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """Whom sitting pairs are judged among."""

    low: Mapping[str, int]
    """Low schools with a profile -> 0, ..., K - 1."""
    schools: Mapping[str, int]
    """All schools with a profile -> 0, ..., J - 1."""
    withheld: frozenset[str]
    """Schools whose profile is withheld."""
    wanted: frozenset[str]
    """Low schools, with a profile or not."""
    distance: FloatArray
    """Shape (K, J)."""
    objection: Callable[[int, int], str | None]
    """Why low school k cannot keep school j, None if it can."""
    capacity: int


def settle(sitting: pl.DataFrame | None, market: Market) -> Kept:
    """Decide which sitting pairs stay.

    Where a partner has more schools than its capacity, the most similar stay; equal ones by school_id.

    Raises
    ------
    ColumnError
        If a column is missing.
    TableError
        If a school has two partners.
    """
    partner = np.full(len(market.low), -1, dtype=np.int64)
    if sitting is None:
        return Kept(partner, pl.DataFrame(schema=_ENDED))
    ended: list[dict[str, str]] = []
    stay: list[tuple[float, str, int, int]] = []
    for school, other in _read(sitting):
        reason = _reason(school, other, market)
        if reason is None:
            k, j = market.low[school], market.schools[other]
            stay.append((float(market.distance[k, j]), school, k, j))
        else:
            ended.append(_line(school, other, reason))
    held: dict[int, int] = {}
    names = {at: school for school, at in market.schools.items()}
    for _, school, k, j in sorted(stay):
        if held.get(j, 0) < market.capacity:
            held[j] = held.get(j, 0) + 1
            partner[k] = j
        else:
            ended.append(_line(school, names[j], "capacity"))
    return Kept(partner, pl.DataFrame(ended, schema=_ENDED).sort("school_id"))


def _read(sitting: pl.DataFrame) -> list[tuple[str, str]]:
    for column in ("school_id", "partner_id"):
        if column not in sitting.columns:
            hint = did_you_mean(column, sitting.columns)
            what = f"Column {column!r} is missing from the sitting pairs{hint}"
            raise ColumnError(problem(what, rule="they have school_id and partner_id", fix="add it"))
    rows = sitting.select(pl.col("school_id", "partner_id").cast(pl.String)).drop_nulls().sort("school_id")
    twice = int(rows["school_id"].is_duplicated().sum())
    if twice:
        fix = "keep one of them"
        raise TableError(
            problem("Schools have several sitting partners", rule="one each", rows=twice, fix=fix)
        )
    return list(rows.iter_rows())


def _reason(school: str, other: str, market: Market) -> str | None:
    """Return why a sitting pair ends, None if it stays unless its partner has too many."""
    for name, who in ((school, "school"), (other, "partner")):
        if name in market.withheld:
            return f"{who}_withheld"
        if name not in market.schools:
            return f"{who}_closed"
        if who == "school" and school not in market.wanted:
            return "no_longer_low"
    return market.objection(market.low[school], market.schools[other])


def _line(school: str, other: str, reason: str) -> dict[str, str]:
    sentence = ended_sentence(school, other, reason)
    return {"school_id": school, "partner_id": other, "reason": reason, "sentence": sentence}
