"""Frames on the disk: whole, or a file per year, subject and grade; read as they were written, or refused.

::

    students/year=2025/subject=MATH/grade=5/part.parquet

The names are those of Hive: polars, DuckDB and Spark read the folder as one table, and skip the files that
they do not need. Each file has all columns, and `PLACE`, the row's place in the frame.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import polars as pl

from growth.errors import StoreError, problem
from growth.scratch import pieces

__all__ = [
    "PLACE",
    "StoredFrames",
    "check_digests",
    "file_digest",
    "file_names",
    "is_among",
    "parts_of",
    "read_parts",
    "spreadsheet_safe",
    "write_csv",
    "write_parts",
]

KEYS = ("year", "subject", "grade")
PLACE = "_row"
_FILE = "part.parquet"


_FORMULA_START = r"^[=+\-@\t\r\n]"
"""What makes a spreadsheet program read a text as a formula."""
_NUMBER = r"^[+\-]?(\d+(\.\d*)?|\.\d+)([eE][+\-]?\d+)?$"


def write_parts(frame: pl.DataFrame, folder: Path) -> None:
    """Write a frame with the columns year, subject and grade.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    places: dict[tuple[object, ...], list[pl.Series]] = {}
    for k in pieces(frame.height):
        keys = frame[k].select(KEYS).with_row_index(PLACE, offset=k.start)
        for values, part in keys.partition_by(KEYS, as_dict=True, include_key=False).items():
            places.setdefault(values, []).append(part[PLACE])
    for values, found in places.items() or [((None,) * len(KEYS), [pl.Series(PLACE, [], dtype=pl.UInt32)])]:
        named = zip(KEYS, values, strict=True)
        home = folder.joinpath(*(f"{key}={quote(str(value), safe='')}" for key, value in named))
        home.mkdir(parents=True, exist_ok=True)
        rows = pl.concat(found)
        frame[rows].insert_column(0, rows).write_parquet(home / _FILE)


def write_csv(frame: pl.DataFrame, file: Path) -> None:
    """Write a frame for spreadsheets, piece by piece.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with file.open("wb") as stream:
        for k in pieces(max(frame.height, 1)):
            spreadsheet_safe(frame[k]).write_csv(stream, include_header=not k.start)


def parts_of(files: Iterable[str], name: str) -> list[str]:
    """Return, of the files of a folder, those that a frame is kept in part by part."""
    return sorted(file for file in files if file.startswith(f"{name}/"))


def is_among(file: str, wanted: Mapping[str, set[str]]) -> bool:
    """Tell whether the part in a file is one of the years, subjects and grades, as text, that are wanted."""
    pairs = (step.split("=", 1) for step in file.split("/") if "=" in step)
    part = {key: unquote(value) for key, value in pairs}
    return all(part.get(key) in values for key, values in wanted.items())


def read_parts(files: Iterable[Path], columns: Iterable[str] | None = None) -> pl.DataFrame:
    """Return the rows of some files in the order of the frame that they were written from.

    Parameters
    ----------
    files : iterable of Path
        At least one.
    columns : iterable of str, optional
        To read; all if not given.
    """
    wanted = None if columns is None else [*columns, PLACE]
    whole = pl.concat(pl.read_parquet(file, columns=wanted, hive_partitioning=False) for file in files)
    return whole.sort(PLACE).drop(PLACE)


class StoredFrames(Mapping[str, pl.DataFrame]):
    """The frames of a folder, each read when it is asked for."""

    def __init__(self, folder: Path, files: Mapping[str, str], names: Sequence[str]) -> None:
        """Read nothing yet.

        Parameters
        ----------
        folder : Path
        files : mapping of name to SHA-256
            As they were written.
        names : sequence of str
            Of the frames, each in a file ``NAME.parquet`` or in parts.
        """
        self._folder, self._files, self._names = folder, files, tuple(names)
        self._read: dict[str, pl.DataFrame] = {}

    def __getitem__(self, name: str) -> pl.DataFrame:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = self._frame(name)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _frame(self, name: str) -> pl.DataFrame:
        parts = parts_of(self._files, name)
        check_digests(self._folder, self._files, parts or [f"{name}.parquet"])
        try:
            if parts:
                return read_parts([self._folder / part for part in parts])
            return pl.read_parquet(self._folder / f"{name}.parquet")
        except (OSError, pl.exceptions.PolarsError) as error:
            what = f"{name!r} in run folder {str(self._folder)!r} cannot be read: {type(error).__name__}"
            raise StoreError(problem(what, fix="check that it is whole, and its permissions")) from error


def check_digests(folder: Path, files: Mapping[str, str], names: Iterable[str]) -> None:
    """Refuse files that are not as they were written.

    Raises
    ------
    StoreError
        If one is missing or was changed.
    """
    for name in sorted(names):
        file = folder / name
        state = "is missing" if not file.is_file() else "was changed since it was written"
        if not file.is_file() or file_digest(file) != files.get(name):
            raise StoreError(
                problem(
                    f"{name!r} in run folder {str(folder)!r} {state}",
                    rule="a run is read as it was written",
                    fix="run again, or restore the file",
                )
            )


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_names(folder: Path) -> list[str]:
    """Return the files in a folder and its folders by their way from it, sorted."""
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir())


def spreadsheet_safe(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame that a spreadsheet shows instead of computing it.

    A text, or the name of a column, that a spreadsheet program would take for a formula gets a leading
    apostrophe; texts that are plain numbers, such as ``-3``, stay as they are. Lists become texts joined by
    semicolons.
    """
    lists = [name for name, dtype in frame.schema.items() if dtype == pl.List(pl.String)]
    frame = frame.with_columns(pl.col(name).list.join("; ") for name in lists)
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    guarded = frame.with_columns(
        pl.when(pl.col(name).str.contains(_FORMULA_START) & ~pl.col(name).str.contains(_NUMBER))
        .then(pl.lit("'") + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        for name in texts
    )
    return guarded.rename({name: f"'{name}" for name in guarded.columns if re.match(_FORMULA_START, name)})
