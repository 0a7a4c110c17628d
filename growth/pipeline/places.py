"""Which cohort gives each row its result: from the arrays of cohorts to columns in the order of the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from growth._types import BoolArray, FloatArray, IntArray
from growth.panel import Panel, PanelSet

__all__ = ["Places"]


class Places:
    """The rows in scope, in the order of the table, and the cohort that gives each its result.

    Parameters
    ----------
    panels : PanelSet
    """

    def __init__(self, panels: PanelSet) -> None:
        current = panels.current.sort("row")
        keys = [panel.key for panel in panels.panels]
        numbers = pl.Series(range(len(keys)), dtype=pl.Int32)
        cohort = current["highest"].replace_strict(keys, numbers, default=None, return_dtype=pl.Int32)
        self.row: IntArray = current["row"].to_numpy()
        """Shape (n,), ascending."""
        self._cohort = cohort.fill_null(-1).to_numpy()
        self._number = {key: number for number, key in enumerate(keys)}

    def of(self, panel: Panel) -> tuple[IntArray, BoolArray]:
        """Return where a cohort's students are among the rows in scope, and who takes its result; (m,)."""
        at = np.searchsorted(self.row, panel.row)
        return at, self._cohort[at] == self._number[panel.key]

    def column(self, panels: Sequence[Panel], values: Iterable[FloatArray | IntArray]) -> FloatArray:
        """Return the values, one array per cohort, of all rows in scope, shape (n,); NaN without a result."""
        found = np.full(len(self.row), np.nan)
        for panel, numbers in zip(panels, values, strict=True):
            at, mine = self.of(panel)
            found[at[mine]] = numbers[mine]
        return found
