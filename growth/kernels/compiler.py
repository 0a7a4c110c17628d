"""How kernels are compiled, and where the machine code is kept.

Compiled kernels are cached on disk in a folder named after a digest of all kernel sources: numba itself
notices an edit only in the file of the function that is called, not in the files of functions that it calls.
Numba checks the processor itself; its name is in the digest so that a first fit on another one is noticed.
Numba reads only where it may write: a read-only installation falls back to the user's cache folder, and where
that cannot be written to either, to a temporary folder for this process; what is compiled in the installation
is copied there.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import __version__ as numba_version
from numba import config, njit
from numba.core.registry import cpu_target
from numba.core.types import unliteral

__all__ = [
    "allocating",
    "cache_folder",
    "folder_in_use",
    "forget_unused",
    "inlined",
    "inner",
    "kernel",
    "search",
]

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])

SEARCH = {"reassoc", "contract", "arcp", "nsz"}
"""Floating-point freedoms of search kernels: none of them assumes away NaN or infinity."""

UNUSED = 30 * 24 * 3600.0
"""Age from which what an earlier version compiled counts as forgotten [s]."""
DIGITS = 12

INNER = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}


def kernel(function: _Kernel) -> _Kernel:
    """Compile a kernel with strict floating-point arithmetic.

    It allocates nothing: without reference counts compilation takes half as long.
    """
    return _compiled(function, no_cfunc_wrapper=True, _nrt=False)


def allocating(function: _Kernel) -> _Kernel:
    """Compile a kernel that allocates arrays."""
    return _compiled(function, no_cfunc_wrapper=True)


def inner(function: _Kernel) -> _Kernel:
    """Compile a kernel that only other kernels call.

    It has no Python entry point, which takes long to compile for named tuples of arrays.
    """
    return _compiled(function, **INNER)


def inlined(function: _Kernel) -> _Kernel:
    """Make a kernel part of its only caller before compilation.

    LLVM optimises a kernel again with each of its callers: for a large one with one caller, wasted time.
    """
    return _compiled(function, inline="always", _nrt=False)


def search(function: _Kernel) -> _Kernel:
    """Compile an inner kernel that may reassociate sums; such kernels choose the path, never the result."""
    return _compiled(function, fastmath=SEARCH, **INNER)


def _compiled(function: _Kernel, **options: object) -> _Kernel:
    settings: Any = config
    before = settings.CACHE_DIR
    try:
        # Set only while this function is decorated: other packages' caches stay where they are.
        settings.CACHE_DIR = folder_in_use()
        compiled = cast(Any, njit)(cache=True, nogil=True, error_model="numpy", **options)(function)
    finally:
        settings.CACHE_DIR = before
    return cast(_Kernel, compiled if compiled is function else _for_all_numbers(compiled))


def _for_all_numbers(compiled: Any) -> Any:  # noqa: ANN401
    """Let kernels that pass a literal number call what is compiled for any number.

    Numba would compile the called kernel once more for that literal alone, and for any variable that a
    literal is given to at first.
    """
    template, plain = compiled.get_call_template, cast(Any, unliteral)
    compiled.get_call_template = lambda args, named: template(
        [plain(one) for one in args], {name: plain(one) for name, one in named.items()}
    )
    return compiled


@cache
def cache_folder() -> str:
    """Return the folder of compiled kernels."""
    name, built = f"numba-{_digest()}", None
    for place in _places():
        folder = place / name
        try:
            if built is not None and not folder.exists():
                _copy(built, folder)
            folder.mkdir(parents=True, exist_ok=True)
            parts = [folder, *(part for part in folder.iterdir() if part.is_dir())]
            if all(os.access(part, os.W_OK) for part in parts):
                os.utime(folder)  # last used now
                return str(folder)
        except OSError:
            pass
        if folder.is_dir():
            built = folder  # by somebody else: numba reads only where it may write
    # A shared, predictable folder would let others plant machine code, hence one per process.
    own = Path(tempfile.mkdtemp(prefix="growth-numba-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    if built is not None:
        _copy_files(built, own)
    return str(own)


def folder_in_use() -> str:
    """Return where compiled kernels lie: `cache_folder`, or what the user told numba."""
    return str(cast(Any, config).CACHE_DIR or cache_folder())


def _copy(built: Path, folder: Path) -> None:
    """Copy compiled kernels to a folder that appears with all of them."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix="copy-", dir=folder.parent))
    _copy_files(built, aside)
    try:
        aside.rename(folder)
    except OSError:  # another process was first
        shutil.rmtree(aside)


def _copy_files(built: Path, folder: Path) -> None:
    """Copy what can be read; what cannot is compiled again."""
    for path in built.glob("*/*.nb[ic]"):
        target = folder / path.relative_to(built)
        target.parent.mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            shutil.copyfile(path, target)


def forget_unused() -> None:
    """Remove what earlier versions compiled, once no process has used it for `UNUSED` seconds.

    Another process may be about to read from there. One that finds a file missing compiles again, but one
    that finds the folder missing fails to write: so files go first, and empty folders as much later.
    """
    if cast(Any, config).CACHE_DIR:
        return
    own, now = Path(cache_folder()), time.time()
    folders = "numba-" + "[0-9a-f]" * DIGITS
    for folder in own.parent.glob(folders) if own.match(folders) else ():
        try:
            if folder == own or now - folder.stat().st_mtime < UNUSED:
                continue
            files = [path for path in folder.rglob("*") if path.is_file()]
            for path in files:
                path.unlink(missing_ok=True)
            if files:
                os.utime(folder)
            else:
                shutil.rmtree(folder)
        except OSError:
            continue  # another process is at it, or it belongs to somebody else


def _places() -> list[Path]:
    """Folders in which a cache may lie, the best first."""
    places = [Path(__file__).parent / "__pycache__"]
    # A user without a home, as in containers that run under any number, has no cache of his own.
    with contextlib.suppress(RuntimeError):
        places.append(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "growth")
    return places


def _digest() -> str:
    """Return what tells compiled kernels apart: sources, compiler and processor."""
    target = cast(Any, cpu_target).target_context.codegen().magic_tuple()
    digest = hashlib.sha256(repr((sys.implementation.cache_tag, numba_version, target)).encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:DIGITS]
