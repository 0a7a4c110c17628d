"""Files and folders that appear whole or not at all, and folders that one process writes at a time.

What is written goes aside first, is flushed to the disk and then renamed. An interruption, at any moment,
leaves the old or the new, and leavings that the next writer removes: a folder's under its lock, those in a
folder of many with `remove_leavings`. The lock is the operating system's: it goes with the process that holds
it, however that ends.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO

from growth.errors import StoreError, problem

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

__all__ = ["remove_leavings", "reserve", "whole_file", "whole_folder"]

_PART = ".part"
_held: ContextVar[frozenset[Path]] = ContextVar("_held", default=frozenset())
"""Folders that this thread has reserved."""


@contextmanager
def reserve(target: Path) -> Iterator[None]:
    """Hold the lock of a folder that is to be written, and put right what an interruption left beside it.

    The same thread may reserve a folder again within.

    Raises
    ------
    StoreError
        If another run holds it.
    OSError
        If the lock cannot be made.
    """
    target = target.resolve()
    if target in _held.get():
        yield
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    file = _beside(target, "lock")
    stream = _locked(file, target)
    token = _held.set(_held.get() | {target})
    try:
        _recover(target)
        yield
    finally:
        _held.reset(token)
        file.unlink(missing_ok=True)
        stream.close()


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a path to write to, and put it in the place of `target` if nothing goes wrong.

    The path is locked meanwhile, which tells it from what an interruption left; see `remove_leavings`.

    Raises
    ------
    OSError
        If it cannot be written; `target` is then as it was.
    """
    aside = _beside(target, f"{os.urandom(8).hex()}{_PART}")
    with _locked(aside, aside, wait=True) if fcntl else nullcontext():
        try:
            yield aside
            _flush(aside)
            aside.replace(target)
            _flush(target.parent)
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a folder to write to, and put it in the place of `target` if nothing goes wrong.

    `target` must be reserved, and anything in it may go.

    Raises
    ------
    OSError
        If it cannot be written; `target` is then as it was.
    """
    aside, old = _beside(target, "new"), _beside(target, "old")
    aside.mkdir(parents=True)
    try:
        yield aside
        for file in aside.rglob("*"):
            _flush(file)
        _flush(aside)
        if target.exists():
            target.rename(old)
        aside.rename(target)
        _flush(target.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        _recover(target)


def remove_leavings(folder: Path) -> None:
    """Put right what interruptions left in a folder of many files or folders, each written whole.

    What another process, or another thread, is writing there stays.
    """
    for aside in folder.glob(f".*{_PART}") if fcntl else ():
        with suppress(StoreError, OSError), _locked(aside, aside):
            aside.unlink()
    for lock in folder.glob(".*.lock"):
        with suppress(StoreError), reserve(folder / lock.name[1:].removesuffix(".lock")):
            pass


def _recover(target: Path) -> None:
    """Put an earlier folder back that stepped aside for one that never came; remove what is half written."""
    old = _beside(target, "old")
    if old.is_dir():
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(target)
    shutil.rmtree(_beside(target, "new"), ignore_errors=True)


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f".{target.name}.{what}")


def _locked(file: Path, target: Path, *, wait: bool = False) -> IO[bytes]:
    """Open and lock a file; whoever held it may have removed it meanwhile, then the next one is made."""
    if fcntl is None:
        try:
            return file.open("xb")
        except FileExistsError:
            raise _busy(target) from None
    while True:
        stream = file.open("ab")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            stream.close()
            raise _busy(target) from None
        except OSError:
            stream.close()
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), file.stat()):
                return stream
        stream.close()


def _busy(target: Path) -> StoreError:
    what = f"Another run is writing {str(target)!r}"
    return StoreError(problem(what, rule="one run writes a folder at a time", fix="wait, or choose another"))


def _flush(path: Path) -> None:
    """Make sure that a file or folder is on the disk before anything relies on it."""
    if path.is_dir() and os.name == "nt":
        return  # folders cannot be opened there
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
