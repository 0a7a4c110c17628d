"""Large arrays in files that the operating system takes out of memory and brings back as they are used.

A table, the cohorts formed of it and their results are together larger than what is worked on at any time. So
an array of many rows lies in a file of the system's temporary folder (``TMPDIR``) that is mapped into memory:
to whoever uses it an array like any other, but its pages are the system's, to be written out and dropped when
memory is short. What cannot be given back is left to the rows at work.

The files have no name, or lose it at once, so that nothing stays behind when a process ends, however it ends;
on Windows the system removes them when the process has gone. They are as private as the process. Where the
temporary folder is itself kept in memory (tmpfs), there is nothing to be gained: name one on a disk.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from threading import Lock
from typing import IO, Any, Final, TypeVar
from weakref import finalize

import numpy as np

from growth.errors import StoreError, problem

__all__ = ["LARGE", "PIECE", "empty", "is_large", "is_mapped", "kept", "kept_at", "kept_parts", "pieces"]

T = TypeVar("T")

LARGE: int = 1 << 12
"""Rows from which on an array lies in a file."""
PIECE: int = 1 << 18
"""Rows of a large column that are worked on at a time."""
_BLOCK: Final = 1 << 26
"""Bytes of a file that several arrays share."""
_ALIGNED: Final = 64
_ZEROS: Final = bytes(1 << 20)


def is_large(rows: int) -> bool:
    """Tell whether an array of so many rows lies in a file."""
    return rows >= LARGE


def pieces(rows: int) -> Iterator[slice]:
    """Yield the pieces in which many rows are worked on."""
    return (slice(start, min(start + PIECE, rows)) for start in range(0, rows, PIECE))


def empty(shape: int | tuple[int, ...], kind: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
    """Return an array of any content, in a file if it has many rows.

    Raises
    ------
    StoreError
        If the disk is full.
    """
    shape = (shape,) if isinstance(shape, int) else shape
    dtype, size = np.dtype(kind), math.prod(shape)
    if not size or not is_large(shape[0]):
        return np.empty(shape, dtype)
    memory, start = _arena.take(size * dtype.itemsize)
    return np.frombuffer(memory, dtype, size, start).reshape(shape)


def kept(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array as it is to be kept: in a file if it has many rows."""
    if not array.size or not is_large(len(array)) or is_mapped(array.ctypes.data):
        return array
    if array.ndim == 2 and array.flags.f_contiguous and not array.flags.c_contiguous:
        flat = _in_file(array.size, array.dtype).reshape(array.shape[::-1])
        np.copyto(flat, array.T)
        return flat.T
    found = empty(array.shape, array.dtype)
    np.copyto(found, array)
    return found


def kept_parts(value: T) -> T:
    """Return a dataclass with its arrays, and those of its parts, as they are to be kept."""
    if isinstance(value, np.ndarray):
        return kept(value)  # type: ignore[return-value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    parts = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    changed = {name: new for name, part in parts.items() if (new := kept_parts(part)) is not part}
    return replace(value, **changed) if changed else value


def kept_at(values: np.ndarray[Any, Any], places: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the values at some places as they are to be kept, shape (n,)."""
    found = empty(len(places), values.dtype)
    for k in pieces(len(places)):
        found[k] = values[places[k]]
    return found


def is_mapped(address: int) -> bool:
    """Tell whether an address in memory is one of these files'."""
    return any(start <= address < end for start, end in list(_arena.mapped.items()))


def in_file(data: memoryview) -> np.ndarray[Any, Any]:
    """Return bytes in a file, however few."""
    found = _in_file(len(data), np.dtype(np.uint8))
    found[:] = np.frombuffer(data, np.uint8)
    return found


def _in_file(size: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    memory, start = _arena.take(size * dtype.itemsize)
    return np.frombuffer(memory, dtype, size, start)


class _Arena:
    """Mapped files, each cut into arrays; one goes when the last of its arrays has gone."""

    def __init__(self) -> None:
        self.mapped: dict[int, int] = {}
        """Where each file begins and ends in memory."""
        self._lock = Lock()
        self._open: mmap.mmap | None = None
        self._used = 0

    def take(self, size: int) -> tuple[mmap.mmap, int]:
        """Return a file and where in it so many bytes are free."""
        with self._lock:
            if size > _BLOCK // 4:
                return self._map(size), 0
            if self._open is None or self._used + size > _BLOCK:
                self._open, self._used = self._map(_BLOCK), 0
            start = self._used
            self._used += -(-size // _ALIGNED) * _ALIGNED
            return self._open, start

    def _map(self, size: int) -> mmap.mmap:
        try:
            with tempfile.TemporaryFile(prefix="growth-") as file:
                _reserve(file, size)
                memory = mmap.mmap(file.fileno(), size)
        except OSError as error:
            what = f"The temporary folder {tempfile.gettempdir()!r} cannot take {size:,} bytes"
            fix = "make room, or name another folder on a disk with TMPDIR"
            raise StoreError(problem(f"{what}: {error.strerror}", fix=fix)) from None
        start = np.frombuffer(memory, np.uint8, 1).ctypes.data
        self.mapped[start] = start + size
        finalize(memory, self.mapped.pop, start, None)
        return memory


def _reserve(file: IO[bytes], size: int) -> None:
    """Give a file its size on the disk: a page that finds no room later would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for start in range(0, size, len(_ZEROS)):
        file.write(_ZEROS[: size - start])
    file.flush()


def _anew() -> None:
    """Let a forked process write to files of its own, whatever its parent's threads were doing."""
    _arena._open, _arena._lock = None, Lock()


_arena = _Arena()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_anew)
