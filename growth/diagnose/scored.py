"""The scored students of a run, block by block, and the least number that a diagnostic shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.diagnose.statistics import codes
from growth.pipeline import GrowthRun

__all__ = ["BLOCK", "SMALLEST_SHOWN", "Block", "Scored", "tenths"]

BLOCK = ("year", "subject", "grade")
SMALLEST_SHOWN = 10
"""Students. No diagnostic shows a number for fewer, whatever the specification allows."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Scored students of a year, subject and grade."""

    key: dict[str, object]
    frame: pl.DataFrame
    school: IntArray
    """Shape (n,), cluster numbers."""

    @property
    def where(self) -> str:
        """The block in words."""
        return f"{self.key['subject']} {self.key['year']}, grade {self.key['grade']}"

    def __len__(self) -> int:
        return self.frame.height

    def column(self, name: str) -> FloatArray:
        """Return a column as numbers, shape (n,); missing is NaN."""
        return self.frame[name].cast(pl.Float64).to_numpy()


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One row per scored student, subject and year."""

    frame: pl.DataFrame
    minimum: int
    """Fewest students that a number is shown for."""
    frozen: bool
    """Whether curves came from a base year."""

    @property
    def errors(self) -> float:
        """Error variance over that of a fit to these students: frozen curves bring errors of their own."""
        return 2.0 if self.frozen else 1.0

    @classmethod
    def of(cls, run: GrowthRun) -> Scored:
        """Return the students that a run reports a percentile for."""
        frame = run.frames["students"].filter("highest", pl.col("percentile").is_not_null())
        part = (run.manifest.get("freeze") or {}).get("parts", ())
        return cls(frame, max(run.spec.school.min_n, SMALLEST_SHOWN), "curves" in part)

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks that are large enough to be shown, in order."""
        parts = self.frame.sort(BLOCK, maintain_order=True).partition_by(BLOCK, maintain_order=True)
        for part in parts:
            if part.height >= self.minimum:
                key = part.select(BLOCK).row(0, named=True)
                yield Block(key, part, codes(part["school_id"].to_list()))


def tenths(values: FloatArray, parts: int = 10) -> tuple[IntArray, FloatArray]:
    """Cut values at their quantiles (type 7); intervals are closed on the left, the last one on both sides.

    Returns
    -------
    place : ndarray of int, shape (n,)
        0, 1, ...; heaped values leave fewer than `parts`.
    breaks : ndarray, shape (q + 1,)
    """
    breaks = np.unique(np.quantile(values, np.linspace(0, 1, parts + 1)))
    place = np.searchsorted(breaks[1:-1], values, side="right")
    return place.astype(np.int64), breaks
