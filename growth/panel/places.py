"""Which cohort gives each row its result: from the arrays of cohorts to columns in the order of the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from growth._types import BoolArray, FloatArray, IntArray
from growth.mapped import changed
from growth.panel.panels import Panel, PanelSet
from growth.scratch import empty

__all__ = ["Places"]


class Places:
    """The rows in scope, in the order of the table, and the cohort that gives each its result.

    Parameters
    ----------
    panels : PanelSet
    """

    def __init__(self, panels: PanelSet) -> None:
        current = panels.current
        keys = [panel.key for panel in panels.panels]
        numbers = pl.Series(range(len(keys)), dtype=pl.Int32)

        def numbered(part: pl.Series) -> pl.Series:
            return part.replace_strict(keys, numbers, default=-1, return_dtype=pl.Int32)

        self.row: IntArray = current["row"].to_numpy()
        """Shape (n,), ascending."""
        self.cohort: IntArray = changed(current["highest"], numbered).to_numpy()
        """Position in `panels` of the cohort that gives the row its result, -1 if none, shape (n,)."""
        self._number = {key: number for number, key in enumerate(keys)}

    def of(self, panel: Panel) -> tuple[IntArray, BoolArray]:
        """Return where a cohort's students are among the rows in scope, and who takes its result; (m,)."""
        at = np.searchsorted(self.row, panel.row)
        return at, self.cohort[at] == self._number[panel.key]

    def column(self, panels: Sequence[Panel], values: Iterable[FloatArray | IntArray]) -> FloatArray:
        """Return the values, one array per cohort, of all rows in scope, shape (n,); NaN without a result."""
        found = empty(len(self.row), np.float64)
        found[:] = np.nan
        for panel, numbers in zip(panels, values, strict=True):
            at, mine = self.of(panel)
            found[at[mine]] = numbers[mine]
        return found
