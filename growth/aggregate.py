"""Groups of rows, with the same bits for any number of threads."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

__all__ = ["by_group"]

_WHOLE = pl.len().median().alias("_whole")


def by_group(frame: pl.DataFrame, keys: str | Sequence[str], *values: pl.Expr) -> pl.DataFrame:
    """Return one row per group, in order of first appearance: keys, then values.

    ``frame.group_by(keys).agg(...)`` of polars 2 runs on the streaming engine, which adds floats up in the
    order in which its threads finish: the last bits differ from call to call, and a level can hang on them.
    The engine in memory adds the rows of a group in their order, unless all values are such that parts of a
    group can be put together (``sum``, ``mean``, ``min``, ...): then each of its threads takes a part of the
    rows. One value that cannot, `_WHOLE`, keeps groups whole.

    Parameters
    ----------
    frame : polars.DataFrame
    keys : str or sequence of str
    *values : polars.Expr
        As for ``GroupBy.agg``.
    """
    grouped = frame.lazy().group_by(keys, maintain_order=True)
    return grouped.agg(*values, _WHOLE).collect(engine="in-memory").drop(_WHOLE.meta.output_name())
