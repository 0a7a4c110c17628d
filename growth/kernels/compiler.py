"""How kernels are compiled, and where the machine code is kept.

Compiled kernels are cached on disk in a folder named after a digest of all kernel sources: numba itself
notices an edit only in the file of the function that is called, not in the files of functions that it calls.
A read-only installation falls back to the user's cache folder.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import config, njit
from numba.core.types import unliteral

__all__ = ["allocating", "cache_folder", "inlined", "inner", "kernel", "search"]

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])

SEARCH = {"reassoc", "contract", "arcp", "nsz"}
"""Floating-point freedoms of search kernels: none of them assumes away NaN or infinity."""


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
        settings.CACHE_DIR = before or cache_folder()
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
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(here.rglob("*.py")):
        digest.update(path.read_bytes())
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "growth"
    for place in (here / "__pycache__", user):
        folder = place / f"numba-{digest.hexdigest()[:12]}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return str(folder)
    # A shared, predictable folder would let others plant machine code, hence one per process.
    return tempfile.mkdtemp(prefix="growth-numba-")
