"""Delimited text files: looked at byte by byte before anything is read from them.

Readers of such files are lenient: they fill short lines with blanks, cut long ones where columns are left
out, and read what follows a stray quote as one field. So one pass over the bytes hashes the file and counts
the fields of every line, and the number of rows that were read must be the number of lines. Large files are
read piece by piece, cut between lines, and of each piece is kept what is to be kept before the next is read.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from growth._types import BoolArray
from growth.errors import ColumnError, TableError, problem
from growth.panel.coded import Store, each, stacked

__all__ = ["Reading", "TextFormat", "read_text_file"]

_CHUNK: Final = 1 << 22
_PIECE: Final = 1 << 26
"""Bytes of a large file that are read at a time."""
_DELIMITERS: Final = ",^\t;|"
_NEWLINE, _RETURN, _QUOTE = 10, 13, 34
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_MOST_HEADER: Final = 1 << 20
_ROWS_GUESSED_FROM: Final = 10_000
_DAMAGED: Final = (OSError, EOFError, zlib.error)
"""What reading a file, or unpacking it, may end in."""

Choice = Callable[[list[str]], Collection[str]]


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Delimiter (``"auto"``: most frequent in the header line) and encoding of a text file."""

    delimiter: str = "auto"
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read.

    Attributes
    ----------
    text_columns : callable
        Column names -> those whose type must not be guessed.
    wanted : callable or None
        Column names -> those to read; None for all.
    style : TextFormat
    store : callable
        What is done to each column as it is read.
    """

    text_columns: Choice
    wanted: Choice | None
    style: TextFormat
    store: Store


def read_text_file(path: Path, reading: Reading) -> tuple[pl.DataFrame, str]:
    """Return the wanted columns and the SHA-256 of the file's bytes.

    Raises
    ------
    TableError
        Empty, another encoding, a line with too few or too many fields, quotes that do not close, or
        compressed data that ends early.
    ColumnError
        A column name occurs twice.
    """
    source: Any = path
    style = reading.style
    if style.encoding != "utf-8":
        source = _recoded(path, style.encoding)
    first = _header_line(source, path)
    delimiter = _delimiter(first) if style.delimiter == "auto" else style.delimiter
    shape = _look_through(source, path, delimiter)
    digest = shape.digest if source is path else hashlib.sha256(path.read_bytes()).hexdigest()
    header = _read(source, path, separator=delimiter, n_rows=0, infer_schema=False).columns
    if len(header) != shape.width:
        raise TableError(_unreadable(path))
    _refuse_repeated(first, delimiter)
    chosen = header if reading.wanted is None else reading.wanted(header)
    keep = [name for name in header if name in chosen]
    as_text = dict.fromkeys(reading.text_columns(header), pl.String)
    options: dict[str, Any] = {"separator": delimiter, "columns": keep}
    kinds = {name: kind for name, kind in as_text.items() if name in keep}
    if all(name in as_text for name in keep):
        parts = _parts(source, path, shape, reading.store, infer_schema=False, **options)
    else:
        options["schema_overrides"] = kinds
        try:
            guess = _read(source, path, n_rows=1, infer_schema_length=_ROWS_GUESSED_FROM, **options)
            options["schema_overrides"] = dict(guess.schema)
            parts = _parts(source, path, shape, reading.store, **options)
        except TableError:  # a column has another type further down
            options["schema_overrides"] = kinds
            parts = [each(_read(source, path, infer_schema_length=None, **options), reading.store)]
    frame = parts[0] if len(parts) == 1 else stacked(parts, reading.store)
    if keep and frame.height != shape.lines - 1:
        raise TableError(_unreadable(path))
    return frame, digest


def _parts(
    source: Any,  # noqa: ANN401
    path: Path,
    shape: _Shape,
    store: Store,
    **options: Any,  # noqa: ANN401
) -> list[pl.DataFrame]:
    """Read a file, piece by piece if it is large."""
    return [each(_read(piece, path, **options), store) for piece in _pieces(source, path, shape)]


def _pieces(source: Any, path: Path, shape: _Shape) -> Iterator[Any]:  # noqa: ANN401
    """Yield a file, or if it is large its pieces, each with the header line before it."""
    if source is not path or path.suffix.lower() == ".gz" or len(shape.cuts) < 2:
        yield source
        return
    with path.open("rb") as file:
        header = file.read(shape.cuts[0])
        for start, end in pairwise([*shape.cuts, path.stat().st_size]):
            if end > start:
                file.seek(start)
                yield header + file.read(end - start)


@dataclass(slots=True)
class _Shape:
    """What the bytes of a file look like; complete after the last chunk."""

    delimiter: int
    width: int = 0
    """Fields of the header line."""
    lines: int = 0
    ragged: int = 0
    zeros: bool = False
    returns: int = 0
    """Carriage returns without a line feed after them."""
    fields: int = 0
    """Delimiters so far in a line that goes on in the next chunk."""
    quoted: bool = False
    last: int = _NEWLINE
    read: int = 0
    """Bytes so far."""
    cuts: list[int] = field(default_factory=list)
    """Where the header line ends, and then a line every `_PIECE` bytes or so."""
    sha: Any = field(default_factory=hashlib.sha256)

    @property
    def digest(self) -> str:
        return str(self.sha.hexdigest())

    def add(self, chunk: bytes) -> None:
        values = np.frombuffer(chunk, np.uint8)
        signs = (values == _NEWLINE) | (values == self.delimiter)
        if self.quoted or _QUOTE in chunk:
            signs &= ~self._inside_quotes(values)
        self.zeros |= 0 in chunk
        self.returns += chunk.count(b"\r") - chunk.count(b"\r\n")
        self.returns -= self.last == _RETURN and chunk[0] == _NEWLINE
        places = np.flatnonzero(signs)
        ends = np.flatnonzero(values[places] == _NEWLINE)
        counts = np.diff(ends, prepend=-1) - 1
        if len(ends):
            counts[0] += self.fields
            self.fields = len(places) - int(ends[-1]) - 1
            self._count(counts)
            self._cut(places[ends])
        else:
            self.fields += len(places)
        self.last = chunk[-1]
        self.read += len(chunk)

    def end(self) -> None:
        if self.last != _NEWLINE:
            self._count(np.array([self.fields]))

    def _cut(self, ends: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Note the end of the header line, or of the chunk's last line if a piece ends there."""
        if not self.cuts:
            self.cuts.append(int(ends[0]) + 1 + self.read)
        last = int(ends[-1]) + 1 + self.read
        if last - self.cuts[-1] >= _PIECE:
            self.cuts.append(last)

    def _count(self, delimiters: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        if not self.lines:
            self.width = int(delimiters[0]) + 1
        self.lines += len(delimiters)
        self.ragged += int(np.count_nonzero(delimiters != self.width - 1))

    def _inside_quotes(self, values: np.ndarray[Any, np.dtype[np.uint8]]) -> BoolArray:
        inside: BoolArray = np.logical_xor.accumulate(values == _QUOTE) ^ self.quoted
        self.quoted = bool(inside[-1])
        return inside


def _look_through(source: Any, path: Path, delimiter: str) -> _Shape:  # noqa: ANN401
    shape = _Shape(ord(delimiter))
    hashes_file = path.suffix.lower() != ".gz"
    try:
        for chunk in _chunks(source, path):
            shape.add(chunk)
            if hashes_file:
                shape.sha.update(chunk)
    except _DAMAGED:
        raise TableError(_damaged(path)) from None
    shape.end()
    if not hashes_file:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                shape.sha.update(chunk)
    if shape.zeros:
        raise TableError(_wrong_encoding(path))
    if shape.returns:
        raise TableError(_unreadable(path))
    if shape.quoted:
        raise TableError(
            problem(
                f"File {path.name!r} has a quoted field that does not end",
                rule='quotes come in pairs; inside a quoted field they are doubled ("")',
                fix="correct that field, or write the file again",
            )
        )
    if shape.ragged:
        raise TableError(
            problem(
                f"File {path.name!r} has lines with too few or too many fields",
                rule=f"{shape.width:,} fields in every line, as in the header line",
                rows=shape.ragged,
                fix="write the file again; a field that holds the delimiter is put in quotes",
            )
        )
    return shape


def _chunks(source: Any, path: Path) -> Iterator[bytes]:  # noqa: ANN401
    if source is not path:
        yield from (source[start : start + _CHUNK] for start in range(0, len(source), _CHUNK))
        return
    open_file: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with open_file(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _header_line(source: Any, path: Path) -> str:  # noqa: ANN401
    try:
        start = next(_chunks(source, path), b"")[:_MOST_HEADER]
    except _DAMAGED:
        raise TableError(_damaged(path)) from None
    if start.startswith(_WIDE_MARKS):
        raise TableError(_wrong_encoding(path))
    line = start.removeprefix(_UTF8_MARK).split(b"\n", 1)[0]
    if not line.strip():
        raise TableError(problem(f"File {path.name!r} is empty", fix="give a table with a header line first"))
    if b"\r" in line.rstrip(b"\r"):
        raise TableError(_unreadable(path))
    try:
        return line.rstrip(b"\r").decode("utf-8")
    except UnicodeDecodeError:
        raise TableError(_wrong_encoding(path)) from None


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _refuse_repeated(header: str, delimiter: str) -> None:
    names = next(csv.reader([header], delimiter=delimiter))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ColumnError(
            problem(
                f"Column names occur more than once: {', '.join(map(repr, twice))}",
                fix="rename or drop the copies",
            )
        )


def _recoded(path: Path, encoding: str) -> bytes:
    try:
        data = b"".join(_chunks(path, path))
    except _DAMAGED:
        raise TableError(_damaged(path)) from None
    try:
        return data.decode(encoding).encode("utf-8")
    except UnicodeError:
        raise TableError(
            problem(
                f"File {path.name!r} is not text in {encoding}",
                rule="columns.encoding of the specification",
                fix='set columns.encoding to "utf-8" or to what the program that wrote the file uses',
            )
        ) from None


def _read(source: Any, path: Path, **options: Any) -> pl.DataFrame:  # noqa: ANN401
    try:
        return pl.read_csv(source, **options)
    except pl.exceptions.NoDataError:
        raise TableError(
            problem(f"File {path.name!r} is empty", fix="give a table with a header line")
        ) from None
    except pl.exceptions.ComputeError as error:
        if "utf-8" in str(error):
            raise TableError(_wrong_encoding(path)) from None
        raise TableError(_unreadable(path)) from None
    except pl.exceptions.PolarsError:
        raise TableError(_unreadable(path)) from None


def _damaged(path: Path) -> str:
    return problem(f"File {path.name!r} is damaged or ends early", fix="copy or compress it again")


def _wrong_encoding(path: Path) -> str:
    return problem(
        f"File {path.name!r} is not UTF-8 text",
        rule="columns.encoding of the specification",
        fix='save it as UTF-8, or set columns.encoding = "cp1252" (Windows) or "utf-16"',
    )


def _unreadable(path: Path) -> str:
    return problem(
        f"File {path.name!r} cannot be read as CSV",
        rule="UTF-8 text, one header line, lines that end in LF or CRLF, quotes only around whole fields",
        fix="save it as UTF-8 CSV or as Parquet",
    )
