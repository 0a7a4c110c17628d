"""Who is compared: students with a result under every specification, and the folds they are dealt to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from growth._types import IntArray
from growth.errors import CohortError, problem
from growth.panel import Panel, PanelSet, StudentTable
from growth.spec import GrowthSpec

__all__ = ["BLOCK", "Candidate", "common_results", "deal", "places_of"]

BLOCK = ["year", "subject", "grade"]
_RESULT = ["year", "subject", "grade", "student_id"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A specification with its cohorts."""

    name: str
    spec: GrowthSpec
    source: StudentTable
    panels: PanelSet

    @cached_property
    def results(self) -> pl.DataFrame:
        """One row per student to be scored.

        year, subject, grade, student_id, school_id, score and prior (the most recent one) [scale-score
        points], panel (key), at (row of the panel).
        """
        found = self.panels.current.drop_nulls("highest").select("row", panel="highest")
        places = [
            pl.DataFrame({"row": panel.row, "prior": np.ascontiguousarray(panel.priors[:, 0])}).with_columns(
                at=pl.int_range(pl.len(), dtype=pl.Int64), panel=pl.lit(panel.key)
            )
            for panel in self.panels.panels
        ]
        rows = self.source.frame[found["row"].to_numpy()].select(*_RESULT, "school_id", "score")
        placed = pl.concat([rows, found], how="horizontal")
        return placed.join(pl.concat(places), on=["row", "panel"], how="inner", maintain_order="left").drop(
            "row"
        )

    def names(self, panel: Panel, by: str) -> pl.Series:
        """Return the student or school of every row of a cohort; students without a school stand alone."""
        rows = self.source.frame[panel.row]
        if by == "student_id":
            return rows["student_id"]
        return rows.select(pl.coalesce("school_id", pl.lit("\0") + pl.col("student_id"))).to_series()


def common_results(candidates: Sequence[Candidate]) -> pl.DataFrame:
    """Return the results that all specifications give, of equal scores: `Candidate.results` of the first.

    Raises
    ------
    CohortError
        If there are none.
    """
    first, *others = candidates
    found = first.results
    for other in others:
        found = found.join(other.results.select(*_RESULT, "score"), on=[*_RESULT, "score"], how="semi")
    if found.is_empty():
        raise CohortError(
            problem(
                "No student has a result under every specification",
                rule="specifications are compared on the same students",
                fix="compare specifications of the same subjects, grades and years",
            )
        )
    return found.drop("panel", "at").sort(_RESULT)


def places_of(candidate: Candidate, common: pl.DataFrame) -> Mapping[str, tuple[IntArray, IntArray]]:
    """Return, per cohort of a specification, rows of the cohort and the rows of `common` that they are."""
    numbered = common.select(*_RESULT).with_row_index("row")
    both = candidate.results.select(*_RESULT, "panel", "at").join(numbered, on=_RESULT)
    return {
        str(key): (part["at"].to_numpy(), part["row"].to_numpy().astype(np.int64))
        for (key,), part in both.group_by("panel")
    }


def deal(names: pl.Series, folds: int, seed: int) -> pl.DataFrame:
    """Deal names to folds of equal size, each name to one: columns name, fold.

    Raises
    ------
    CohortError
        If there are fewer names than folds.
    """
    known = names.unique().sort()
    if len(known) < folds:
        raise CohortError(
            problem(
                f"{len(known)} students or schools cannot be dealt to {folds} folds",
                rule="at least one for each fold",
                fix="use fewer folds",
            )
        )
    fold = np.empty(len(known), np.int64)
    fold[np.random.default_rng(seed).permutation(len(known))] = np.arange(len(known)) % folds
    return pl.DataFrame({"name": known, "fold": fold})
