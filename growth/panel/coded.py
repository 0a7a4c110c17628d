"""Text of few different values, kept as small integers: a state's table in a fraction of the memory.

A coded column is a polars Enum over its values in order, so that codes sort as the texts do. What is done to
texts is done once per value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, TypeAlias

import numpy as np
import polars as pl

from growth._types import CodeArray
from growth.mapped import changed, column, distinct, split
from growth.panel.values import Parsed, read_id
from growth.scratch import empty, pieces

__all__ = [
    "Store",
    "as_texts",
    "by_piece",
    "by_value",
    "code_numbers",
    "coded",
    "coded_if_few",
    "each",
    "is_coded",
    "smallest",
    "stacked",
]

Store: TypeAlias = Callable[[pl.Series], pl.Series]
"""A column as it was read -> as it is kept."""

_FEW: Final = 8
"""A column is coded if each of its values occurs in so many rows on average ..."""
_FIRST: Final = 1 << 20
"""... and so also in the first rows: ids are not counted to the end."""


def is_coded(column: pl.Series) -> bool:
    """Whether a column holds codes."""
    return isinstance(column.dtype, pl.Enum)


def coded(column: pl.Series) -> pl.Series:
    """Return a text column as codes; others as they are."""
    if column.dtype != pl.String:
        return column
    return _as_codes(column, _values(column))


def coded_if_few(column: pl.Series) -> pl.Series:
    """Return a text column of few different values as codes; others as they are."""
    if column.dtype != pl.String:
        return column
    if len(column) > _FIRST and column.head(_FIRST).n_unique() * _FEW > _FIRST:
        return column
    values = _values(column)
    return _as_codes(column, values) if len(values) * _FEW <= len(column) else column


def _values(column: pl.Series) -> pl.Series:
    return distinct(column.to_frame())[column.name].drop_nulls()


def _as_codes(texts: pl.Series, values: pl.Series) -> pl.Series:
    kind = pl.Enum(values.sort())
    return changed(texts, lambda part: part.cast(kind))


def as_texts(frame: pl.DataFrame, columns: Collection[str]) -> pl.DataFrame:
    """Return a frame with the named coded columns as the texts that they stand for."""
    return frame.with_columns(pl.col(name).cast(pl.String) for name in frame.columns if name in columns)


def each(frame: pl.DataFrame, store: Store) -> pl.DataFrame:
    """Return a frame with every column as it is kept."""
    return pl.DataFrame([store(column) for column in frame])


def stacked(parts: Sequence[pl.DataFrame], store: Store) -> pl.DataFrame:
    """Put frames one under the other, column by column; codes that differ become those of all values.

    Raises
    ------
    polars.exceptions.PolarsError
        They do not have the same columns in the same order, or types do not go together.
    """
    if len({tuple(part.columns) for part in parts}) > 1:
        raise pl.exceptions.ShapeError
    columns = []
    for name in parts[0].columns:
        pieces = [part[name] for part in parts]
        kind = _common(pieces)
        parts_of_column = (part.cast(kind) for piece in pieces for part in split(piece))
        columns.append(store(column(name, sum(map(len, pieces)), parts_of_column)))
    return pl.DataFrame(columns)


def _common(pieces: Sequence[pl.Series]) -> pl.DataType:
    """Return the type of all pieces: of codes those of all values, or text if some of the pieces are."""
    if len({piece.dtype for piece in pieces}) == 1:
        return pieces[0].dtype
    if all(map(is_coded, pieces)):
        return pl.Enum(pl.concat([piece.dtype.categories for piece in pieces]).unique().sort())  # type: ignore[attr-defined]
    heads = [
        as_texts(piece.head(0).to_frame(), [piece.name]) if is_coded(piece) else piece.head(0).to_frame()
        for piece in pieces
    ]
    return pl.concat(heads, how="vertical_relaxed").dtypes[0]


def by_value(column: pl.Series, read: Callable[[pl.Series], Parsed]) -> Parsed:
    """Read a column, once per value where it holds codes or whole numbers; text comes back coded.

    Parameters
    ----------
    column : polars.Series
    read : callable
        A reader of `growth.panel.values`.
    """
    if is_coded(column):
        values, place = column.dtype.categories, column.to_physical()  # type: ignore[attr-defined]
    elif column.dtype.is_integer():
        values = column.drop_nulls().unique().sort()
        numbers = pl.arange(len(values), eager=True)
        place = changed(column, lambda part: part.replace_strict(values, numbers, default=None))
    else:
        parsed = by_piece(column, read)
        return Parsed(coded(parsed.values), parsed.bad, parsed.wrong_type)
    parsed = read(values)
    lost = read_id(values).values.is_not_null() & parsed.values.is_null()
    bad = int(lost.gather(place).sum() or 0) if lost.any() else 0
    found = coded(parsed.values)
    return Parsed(changed(place, lambda part: found.gather(part)), bad, parsed.wrong_type)


def by_piece(column: pl.Series, read: Callable[[pl.Series], Parsed]) -> Parsed:
    """Read a column row by row, piece by piece."""
    bad, wrong = 0, False

    def part(piece: pl.Series) -> pl.Series:
        nonlocal bad, wrong
        parsed = read(piece)
        bad, wrong = bad + parsed.bad, wrong or parsed.wrong_type
        return parsed.values

    values = changed(column, part)
    return Parsed(values, bad, wrong)


def code_numbers(column: pl.Series) -> CodeArray:
    """Return the codes of a coded column, shape (N,), -1 where there is none."""
    codes = column.to_physical()
    found = empty(len(codes), smallest(len(column.dtype.categories)))  # type: ignore[attr-defined]
    for k in pieces(len(codes)):
        found[k] = codes[k].cast(pl.Int64).fill_null(-1).to_numpy()
    return found


def smallest(largest: int) -> type[np.signedinteger]:
    """Return the smallest signed integers that hold numbers up to `largest`."""
    return next(kind for kind in (np.int8, np.int16, np.int32, np.int64) if largest <= np.iinfo(kind).max)
