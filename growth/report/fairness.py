"""The fairness ledger as the page shows it: lines of two tables per subject, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from growth.report.disclosure import publishable_ledger
from growth.report.labels import column_words, listed, number_words, subject_name
from growth.spec import GrowthSpec

__all__ = ["FairnessFacts", "GroupLine", "SubjectLedger", "TraitLine", "fairness_facts"]

_EVERYONE, _PRIOR = "all", "prior"


@dataclass(frozen=True, slots=True)
class GroupLine:
    """Mean percentile of one group over the system; None where withheld."""

    group: str
    students: int | None
    unadjusted: str | None
    adjusted: str | None
    pinned: bool


@dataclass(frozen=True, slots=True)
class TraitLine:
    """Correlation of school results with one trait of schools; None where it is not defined."""

    trait: str
    unadjusted: str | None
    adjusted: str | None
    students: str | None


@dataclass(frozen=True, slots=True)
class SubjectLedger:
    """Both tables of one subject in the latest year."""

    subject: str
    """The table's own code."""
    label: str
    groups: tuple[GroupLine, ...]
    traits: tuple[TraitLine, ...]
    schools: int


@dataclass(frozen=True, slots=True)
class FairnessFacts:
    """What the peer definition does, subject by subject."""

    subjects: tuple[SubjectLedger, ...]
    two_fits: bool
    """Adjusted and unadjusted results differ: there is a peer definition."""
    composition_left_out: str
    """Sentence; empty if composition is as the specification says."""


def fairness_facts(fairness: pl.DataFrame, neutrality: pl.DataFrame, spec: GrowthSpec) -> FairnessFacts:
    """Turn the ledger of the latest year into lines of text.

    Parameters
    ----------
    fairness, neutrality : polars.DataFrame
        The frames of a run.
    spec : GrowthSpec
        Its minimum numbers of students, and its peer definition.
    """
    groups = publishable_ledger(fairness, spec)
    latest = groups["year"].max()
    groups, traits = (frame.filter(pl.col("year") == latest) for frame in (groups, neutrality))
    keys = ["subject", "kind", "column", "level"]
    hidden = groups.filter("withheld").select(keys)
    traits = traits.join(hidden, on=keys, how="anti", nulls_equal=True)
    ledgers = []
    for subject in groups["subject"].unique().sort().to_list():
        own_groups, own_traits = (frame.filter(pl.col("subject") == subject) for frame in (groups, traits))
        ledgers.append(
            SubjectLedger(
                subject=subject,
                label=subject_name(subject),
                groups=tuple(_group_line(row) for row in own_groups.iter_rows(named=True)),
                traits=tuple(_trait_line(row) for row in own_traits.iter_rows(named=True)),
                schools=int(own_traits["schools"][0]) if own_traits.height else 0,
            )
        )
    peers = spec.peers
    return FairnessFacts(
        subjects=tuple(ledgers),
        two_fits=bool(peers.flags or peers.categories or peers.composition != "none"),
        composition_left_out=_left_out(traits),
    )


def _group_line(row: Mapping[str, Any]) -> GroupLine:
    name = "all students" if row["kind"] == _EVERYONE else _name(row)
    return GroupLine(
        group=name[:1].upper() + name[1:],
        students=row["n"],
        unadjusted=_mean(row, "unadjusted"),
        adjusted=_mean(row, "adjusted"),
        pinned=row["in_model"],
    )


def _trait_line(row: Mapping[str, Any]) -> TraitLine:
    return TraitLine(
        trait="average earlier score" if row["kind"] == _PRIOR else f"share: {_name(row)}",
        unadjusted=_interval(row, "r_unadjusted", "+.2f"),
        adjusted=_interval(row, "r", "+.2f"),
        students=None if row["r_students"] is None else number_words(row["r_students"], "+.2f"),
    )


def _name(row: Mapping[str, Any]) -> str:
    words = column_words(row["column"])
    if row["level"] is None:
        return words
    return row["level"] if row["kind"] == "race" else f"{words}: {row['level']}"


def _mean(row: Mapping[str, Any], name: str) -> str | None:
    return _interval(row, name, ".1f")


def _interval(row: Mapping[str, Any], name: str, form: str) -> str | None:
    if row[name] is None:
        return None
    at, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    interval = "" if low is None else f" ({number_words(low, form)} to {number_words(high, form)})"
    return number_words(at, form) + interval


def _left_out(traits: pl.DataFrame) -> str:
    few = traits.filter(pl.col("composition") == "too_few_schools")
    if few.is_empty():
        return ""
    subjects = listed(subject_name(subject) for subject in few["subject"].unique().sort())
    return (
        f"{subjects}: the make-up of the schools could not be taken out of the results, although the "
        "specification asks for it. There are too few schools to tell what goes with it."
    )
