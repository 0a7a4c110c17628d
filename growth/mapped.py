"""Columns of large frames in files (`growth.scratch`), made piece by piece.

A column of polars stays what it is, only that its values lie in a mapped file: numbers as they are, text as
the 16 bytes per row that Arrow and polars both call a string view, yes/no and what is missing as bits in
memory. Few rows stay in memory, and so do columns of types that tables of scores do not have (lists,
structures).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from growth._types import BoolArray, IntArray
from growth.scratch import empty, in_file, is_large, is_mapped, kept, pieces

__all__ = [
    "changed",
    "code_array",
    "column",
    "dense_ranks",
    "distinct",
    "filtered",
    "gathered",
    "holds",
    "in_order",
    "kept_column",
    "kept_frame",
    "numbers",
    "order_of",
    "pick",
    "repeats",
    "split",
    "texts",
]

Change: TypeAlias = Callable[[pl.Series], pl.Series]

_PARTS = 32
"""Parts that a large frame is sorted in."""
_SAMPLE = 4096
_VIEW = 4
"""Words of a string view: length, then 12 bytes of text, or 4 of them, number of the buffer, place in it."""
_INSIDE = 12


def split(values: pl.Series) -> Iterator[pl.Series]:
    """Yield the pieces of a column."""
    return (values[piece] for piece in pieces(len(values)))


def column(name: str, rows: int, parts: Iterable[pl.Series]) -> pl.Series:
    """Return parts of one type, `rows` in all, as a column.

    Raises
    ------
    StoreError
        If the disk is full.
    """
    parts = iter(parts)
    first = next(parts, None)
    if first is None:
        raise ValueError("no parts")
    dtype, every = first.dtype, chain([first], parts)
    if is_large(rows) and (dtype == pl.String or dtype == pl.Enum or dtype.is_numeric()):
        builder = _Texts(rows) if dtype == pl.String else _Numbers(rows, first)
        for part in every:
            builder.add(part)
        return builder.column(dtype).alias(name)
    return pl.concat(list(every)).alias(name)


def changed(values: pl.Series, change: Change) -> pl.Series:
    """Return what becomes of a column, row by row; the change is made piece by piece."""
    if not is_large(len(values)):
        return change(values).alias(values.name)
    return column(values.name, len(values), map(change, split(values)))


def kept_column(values: pl.Series) -> pl.Series:
    """Return a column as it is to be kept."""
    if not is_large(len(values)) or _lies_in_file(values):
        return values
    return column(values.name, len(values), split(values))


def kept_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame as it is to be kept."""
    return pl.DataFrame([kept_column(values) for values in frame]) if is_large(frame.height) else frame


def filtered(frame: pl.DataFrame, mask: pl.Series) -> pl.DataFrame:
    """Return the rows that a mask without nulls has."""
    if not is_large(frame.height):
        return frame.filter(mask)
    rows = int(mask.sum())
    if rows == frame.height:
        return frame
    if not is_large(rows):
        return frame.filter(mask)
    return pl.DataFrame(
        [
            column(values.name, rows, (values[k].filter(mask[k]) for k in pieces(frame.height)))
            for values in frame
        ]
    )


def pick(values: pl.Series, places: IntArray) -> pl.Series:
    """Return the values at some places, none of them negative."""
    if not is_large(len(places)):
        return values.gather(places)
    return column(values.name, len(places), (values.gather(places[k]) for k in pieces(len(places))))


def gathered(frame: pl.DataFrame, places: IntArray) -> pl.DataFrame:
    """Return the rows at some places, none of them negative."""
    return pl.DataFrame([pick(values, places) for values in frame])


def holds(frame: pl.DataFrame, *conditions: pl.Expr) -> pl.Series:
    """Return which rows meet all conditions, each of a row by itself; what is not known does not."""
    every = pl.all_horizontal(*conditions).fill_null(False).alias("holds")
    parts = (
        frame[k].select(pl.repeat(True, pl.len()).alias("_") & every).to_series()
        for k in pieces(max(frame.height, 1))
    )
    return pl.concat(list(parts))


def distinct(frame: pl.DataFrame, *conditions: pl.Expr) -> pl.DataFrame:
    """Return the rows that differ, of those that meet all conditions, in no order."""
    parts = [frame[k].filter(*conditions).unique() for k in pieces(max(frame.height, 1))]
    return pl.concat(parts).unique()


def code_array(values: pl.Series, known: pl.Series) -> IntArray:
    """Return the place of each value among the known ones, shape (n,); -1 where there is none."""
    found = empty(len(values), np.int64)
    numbers = pl.Series(range(len(known)), dtype=pl.Int64)
    for k in pieces(len(values)):
        places = values[k].replace_strict(known, numbers, default=None, return_dtype=pl.Int64)
        found[k] = places.fill_null(-1).to_numpy()
    return found


def dense_ranks(values: pl.Series) -> IntArray:
    """Return the rank of each value among those that differ, shape (n,), the lowest 0; none is missing."""
    found, last = empty(len(values), np.int64), -1
    for k in pieces(len(values)):
        part = values[max(k.start - 1, 0) : k.stop]
        before = part.shift(1)
        if not (part >= before).fill_null(True).all():  # not sorted
            return kept(values.rank("dense").cast(pl.Int64).to_numpy() - 1)
        found[k] = last + np.cumsum((part != before).fill_null(True).to_numpy()[k.start > 0 :])
        last = int(found[k.stop - 1])
    return found


def texts(name: str, codes: IntArray, values: Sequence[str]) -> pl.Series:
    """Return the texts that codes, shape (n,), stand for; null where a code is negative."""
    known = pl.Series(name, values, dtype=pl.String)

    def part(k: slice) -> pl.Series:
        place = pl.Series(codes[k]).cast(pl.Int64)
        return known.gather(place.set(place < 0, None))

    return column(name, len(codes), map(part, pieces(len(codes)))) if len(codes) else known.clear()


def numbers(
    name: str, values: np.ndarray[Any, Any], known: BoolArray | None, dtype: pl.DataType
) -> pl.Series:
    """Return an array, shape (n,), as a column of a type; null where it is not known."""

    def part(k: slice) -> pl.Series:
        if known is None:
            return pl.Series(name, values[k]).cast(dtype)
        there = known[k]
        return pl.Series(name, np.where(there, values[k], 0)).cast(dtype).set(pl.Series(~there), None)

    return column(name, len(values), map(part, pieces(len(values)) if len(values) else [slice(0, 0)]))


def in_order(frame: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Tell whether rows are sorted by some columns; codes (Enum) are in the order of their texts."""
    return all(_sorted(part) for part in _overlapping(frame.select(keys)))


def repeats(frame: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """Return which rows of a frame have the same keys as the row before; no key is missing."""
    parts: list[pl.Series] = []
    for part in _overlapping(frame.select(keys)):
        same = [pl.col(name) == pl.col(name).shift(1) for name in keys]
        found = part.select(pl.all_horizontal(same).fill_null(False)).to_series()
        parts.append(found[1:] if parts else found)
    return pl.concat(parts)


def order_of(frame: pl.DataFrame, keys: Sequence[str]) -> IntArray:
    """Return the places of rows sorted by some columns, shape (n,); equal rows stay in their order.

    A large frame is sorted in parts: what lies between two values of the first key.
    """
    frame = frame.select(keys)
    if not is_large(frame.height):
        return _order(frame)
    first = frame.to_series(0)
    sample = first.gather(np.linspace(0, frame.height - 1, _SAMPLE).astype(np.int64)).sort()
    bounds = sample.gather(np.linspace(0, len(sample) - 1, _PARTS + 1).astype(np.int64)[1:-1]).unique().sort()
    number = empty(frame.height, np.int16)
    for k in pieces(frame.height):
        number[k] = bounds.search_sorted(first[k], side="right").to_numpy()
    found = empty(frame.height, np.int64)
    place = 0
    for part in range(len(bounds) + 1):
        rows = np.flatnonzero(number == part)
        found[place : place + len(rows)] = rows[_order(frame[rows])]
        place += len(rows)
    return found


def _order(frame: pl.DataFrame) -> IntArray:
    place = frame.select(pl.arg_sort_by(frame.columns, maintain_order=True)).to_series()
    return place.cast(pl.Int64).to_numpy()


def _overlapping(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the pieces of a frame, each with the last row of the one before."""
    for k in pieces(max(frame.height, 1)):
        yield frame[max(k.start - 1, 0) : k.stop]


def _sorted(frame: pl.DataFrame) -> bool:
    after = pl.lit(False)
    for name in reversed(frame.columns):
        values = pl.col(name).to_physical() if frame.schema[name] == pl.Enum else pl.col(name)
        before = values.shift(1)
        after = (values > before) | ((values == before) & after)
    return bool(frame.select(after.fill_null(True).all()).item())


def _lies_in_file(values: pl.Series) -> bool:
    plain = values.to_physical()
    if not plain.dtype.is_numeric() or plain.null_count() or plain.n_chunks() > 1:
        return False
    return is_mapped(plain.to_numpy().ctypes.data)


class _Numbers:
    """A column of numbers or codes."""

    def __init__(self, rows: int, like: pl.Series) -> None:
        self._values = empty(rows, like.to_physical().head(0).to_numpy().dtype)
        self._valid = _Valid(rows)

    def add(self, part: pl.Series) -> None:
        where = self._valid.add(part)
        plain = part.to_physical()
        self._values[where] = (plain.fill_null(0) if plain.null_count() else plain).to_numpy()

    def column(self, dtype: pl.DataType) -> pl.Series:
        bits = self._valid.bits()
        if bits is None:
            plain = pl.Series(self._values)
        else:
            import pyarrow as pa

            kind = pa.from_numpy_dtype(self._values.dtype)
            buffers = [pa.py_buffer(bits), pa.py_buffer(self._values)]
            plain = _from_arrow(pa.Array.from_buffers(kind, len(self._values), buffers))
        return plain.cat.to(dtype) if dtype == pl.Enum else plain


class _Texts:
    """A column of text."""

    def __init__(self, rows: int) -> None:
        self._views = empty((rows, _VIEW), np.int32)
        self._valid = _Valid(rows)
        self._data: list[Any] = []
        self._known: dict[int, tuple[int, Any]] = {}
        """Address -> number and buffer, of the last part: while it is held no other has its address."""

    def add(self, part: pl.Series) -> None:
        where = self._valid.add(part)
        array = part.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
        _, views, *data = array.buffers()
        start = array.offset * _VIEW
        words = np.frombuffer(views, np.int32)[start : start + len(array) * _VIEW].reshape(-1, _VIEW)
        self._views[where] = words
        long = np.flatnonzero(words[:, 0] > _INSIDE)
        if len(long):
            self._known = {one.address: (self._number(one), one) for one in data}
            numbers = np.array([self._known[one.address][0] for one in data], dtype=np.int32)
            self._views[where.start + long, 2] = numbers[words[long, 2]]

    def _number(self, data: Any) -> int:  # noqa: ANN401
        """Return the number of a buffer of long texts; parts of one column share theirs."""
        if data.address in self._known:
            return self._known[data.address][0]
        self._data.append(data if is_mapped(data.address) else in_file(memoryview(data)))
        return len(self._data) - 1

    def column(self, _: pl.DataType) -> pl.Series:
        import pyarrow as pa

        bits = self._valid.bits()
        buffers = [None if bits is None else pa.py_buffer(bits), pa.py_buffer(self._views)]
        buffers += [pa.py_buffer(data) for data in self._data]
        return _from_arrow(pa.Array.from_buffers(pa.string_view(), len(self._views), buffers))


class _Valid:
    """Which values of a column are there."""

    def __init__(self, rows: int) -> None:
        self._rows, self._place = rows, 0
        self._there: BoolArray | None = None

    def add(self, part: pl.Series) -> slice:
        """Note what is missing in the next part, and return where it goes."""
        where = slice(self._place, self._place + len(part))
        self._place = where.stop
        if part.null_count():
            if self._there is None:
                self._there = empty(self._rows, np.bool_)
                self._there[:] = True
            self._there[where] = part.is_not_null().to_numpy()
        return where

    def bits(self) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        if self._there is None:
            return None
        return np.packbits(self._there, bitorder="little")


def _from_arrow(array: Any) -> pl.Series:  # noqa: ANN401
    found = pl.from_arrow(array)
    assert isinstance(found, pl.Series)
    return found
