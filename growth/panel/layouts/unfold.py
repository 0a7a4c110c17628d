"""A wide table to a long one: one row per student, subject and year that has a score."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from growth.errors import ColumnError, problem
from growth.panel.layouts.layout import Block

__all__ = ["unfold"]


def unfold(frame: pl.DataFrame, blocks: Sequence[Block]) -> tuple[pl.DataFrame, int]:
    """Return the long table, its block columns under their own names, and how many cells had no score.

    Raises
    ------
    ColumnError
        If columns of one kind have types that do not go together.
    """
    taken = {caller for block in blocks for caller in block.columns.values()}
    kinds = dict.fromkeys(own for block in blocks for own in (*block.fixed, *block.columns))
    shared = [name for name in frame.columns if name not in taken and name not in kinds]
    parts = [
        _records(frame, block, [*shared, *(name for name in kinds if name in frame.columns)])
        for block in blocks
    ]
    cells = sum(part.height for part in parts)
    parts = [part.filter(_has_score(part["score"])) for part in parts]
    try:
        long = pl.concat(parts, how="diagonal_relaxed")
    except pl.exceptions.PolarsError:
        raise ColumnError(
            problem(
                "Columns by subject or year that belong together have different types",
                rule="scores of all subjects and years are numbers, or all are text",
                fix="write them alike",
            )
        ) from None
    return long, cells - long.height


def _records(frame: pl.DataFrame, block: Block, shared: Sequence[str]) -> pl.DataFrame:
    keep = [name for name in shared if name not in block.columns and name not in block.fixed]
    return frame.select(
        *keep,
        *(pl.lit(value).alias(own) for own, value in block.fixed.items()),
        *(pl.col(caller).alias(own) for own, caller in block.columns.items()),
    )


def _has_score(score: pl.Series) -> pl.Series:
    if score.dtype != pl.String:
        return score.is_not_null()
    return score.is_not_null() & ~score.str.strip_chars().is_in(["", "NA"])
