"""Why schools are paired: a sentence for each pair, and the balance of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from growth._types import IntArray
from growth.index.needs import Needs
from growth.index.profiles import MEAN_PRIOR, SHARE, SIZE
from growth.index.similarity import Space

__all__ = ["BALANCED", "balance_table", "ended_sentence", "pair_sentence", "unmatched_sentence"]

BALANCED = 0.25
"""Standardised mean differences below this are usually taken as balanced (Stuart 2010, Statistical Science
25(1))."""

_BALANCE: dict[str, pl.DataType] = {
    "trait": pl.String(),
    "schools": pl.Float64(),
    "partners": pl.Float64(),
    "candidates": pl.Float64(),
    "smd_before": pl.Float64(),
    "smd": pl.Float64(),
    "balanced": pl.Boolean(),
}
ALONE = {
    "not_in_run": "it has no students in this run",
    "n_below_minimum": "too few of its students have a result",
    "no_result": "it has no growth result",
    "no_school_with_these_grades": "no other school has the same grades and is not low itself",
    "no_stronger_school": "no school with the same grades has high growth, or higher with some certainty",
    "none_within_caliper": "no such school has students similar enough",
    "needs_not_met": "no such school is strong where it needs help",
    "capacity": "all its candidates help others already",
    "no_fellow_with_these_grades": "too few schools with the same grades take part",
}
_ENDED = {
    "school_closed": "the school is not in this run",
    "partner_closed": "the partner is not in this run",
    "school_withheld": "too few students of the school have a result",
    "partner_withheld": "too few students of the partner have a result",
    "no_longer_low": "the school is no longer among the lowest",
    "other_grades": "the two no longer have the same grades",
    "partner_low": "the partner is low itself",
    "partner_fell": "the growth of the partner fell",
    "too_different": "their students have become too different",
    "capacity": "the partner has more schools than it may take on, and others are more similar",
}


def balance_table(space: Space, schools: IntArray, partners: IntArray, pool: IntArray) -> pl.DataFrame:
    """Compare the traits of paired schools with those of their partners and of all candidates.

    Differences are taken within grade spans, in units of the pooled SD of paired schools and candidates.

    Parameters
    ----------
    space : Space
    schools, partners : ndarray, shape (P,)
        Rows of the space, pair by pair.
    pool : ndarray
        Rows of all candidates.
    """
    rows = []
    values = space.profiles.select(space.traits).to_numpy()
    for at, trait in enumerate(space.traits):
        row: dict[str, Any] = dict.fromkeys(_BALANCE) | {"trait": trait}
        if len(schools) > 1 and len(pool) > 1:
            own, other, all_ = (space.standard[who, at] for who in (schools, partners, pool))
            spread = float(np.sqrt((own.var(ddof=1) + all_.var(ddof=1)) / 2.0))
            smd = [float(own.mean() - x.mean()) / spread if spread > 0 else 0.0 for x in (all_, other)]
            means = [float(values[who, at].mean()) for who in (schools, partners, pool)]
            row |= dict(zip(("schools", "partners", "candidates"), means, strict=True))
            row |= {"smd_before": smd[0], "smd": smd[1], "balanced": abs(smd[1]) < BALANCED}
        rows.append(row)
    return pl.DataFrame(rows, schema=_BALANCE)


def pair_sentence(
    row: Mapping[str, Any], space: Space, pair: tuple[int, int], needs: Needs, least: int
) -> str:
    """Return why a school has its partner, in one sentence.

    Shares that rest on fewer than `least` students, or leave fewer out, are not told.
    """
    school, partner = pair
    n = space.profiles["n"]
    own = f"grades {row['grade_span']}, {n[school]:,} students, level {_level(row['level'])}"
    other = f"{n[partner]:,} students, level {_level(row['partner_level'])}"
    verb = "keeps its partner" if row["kept"] else "is paired with"
    head = f"{row['school_id']} ({own}) {verb} {row['partner_id']} ({other})"
    parts = [f"higher growth with probability {row['probability']:.2f}", _place(row)]
    gaps = np.abs(space.whitened[school] - space.whitened[partner])
    if gaps.any():
        gaps = np.abs(space.standard[school] - space.standard[partner])
        parts.append(f"most different in {_trait(space, int(np.argmax(gaps)), pair, least)}")
    else:
        parts.append("alike in every trait")
    if row["needs"]:
        strong = [
            area
            for area, low, can in zip(needs.areas, needs.low[school], needs.strong[partner], strict=True)
            if low and can
        ]
        met = f" ({', '.join(area.replace('_', ' ') for area in strong)})" if strong else ""
        parts.append(f"strong in {len(strong)} of its {row['needs']} needs{met}")
    return f"{head}: {'; '.join(parts)}."


def unmatched_sentence(school: str, reason: str) -> str:
    """Return why a school has no partner."""
    return f"{school} has no partner: {ALONE[reason]}."


def ended_sentence(school: str, partner: str, reason: str) -> str:
    """Return why a sitting pair ends."""
    return f"{school} and {partner} part: {_ENDED[reason]}."


def trait_words(trait: str) -> str:
    """Return a trait in words."""
    known = {MEAN_PRIOR: "mean prior score", SIZE: "number of students"}
    return known.get(trait, f"share of {trait.removeprefix(SHARE)}")


def _place(row: Mapping[str, Any]) -> str:
    if row["rank"] is None:
        return "no longer among its candidates, but close enough to stay"
    if row["kept"]:
        return f"number {row['rank']} of {row['candidates']:,} candidates"
    if row["rank"] == 1:
        return f"the best match of {row['candidates']:,} candidates"
    return f"number {row['rank']} of {row['candidates']:,} candidates, as the better ones help others"


def _trait(space: Space, at: int, pair: tuple[int, int], least: int) -> str:
    school, partner = pair
    trait = space.traits[at]
    if trait == SIZE:
        n = space.profiles["n"]
        return f"{trait_words(trait)} ({n[school]:,} and {n[partner]:,})"
    own, other = (space.profiles[trait][who] for who in (school, partner))
    if trait == MEAN_PRIOR:
        return f"{trait_words(trait)} ({own:+.2f} and {other:+.2f} SD)"
    few = [share * space.profiles["n"][who] for who, share in ((school, own), (partner, other))]
    rest = [space.profiles["n"][who] - count for who, count in zip(pair, few, strict=True)]
    if min(*few, *rest) < least:
        return trait_words(trait)
    return f"{trait_words(trait)} ({own:.0%} and {other:.0%})"


def _level(level: float | None) -> str:
    return "unknown" if level is None else f"{level:g}"
