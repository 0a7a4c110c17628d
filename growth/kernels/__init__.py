"""Compiled array functions that know nothing of growth.

Each file is one kernel family: numba's disk cache does not notice edits in other files, so families do not
call each other. Kernels are `nogil`, free of parallel loops and never raise; status codes travel in results.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numba

__all__: list[str] = []


def _ensure_cache_folder() -> None:
    """Point numba at a writable cache folder where neither the package nor the user's cache folder is."""
    if numba.config.CACHE_DIR:
        return
    beside = Path(__file__).parent / "__pycache__"
    if os.access(beside if beside.exists() else beside.parent, os.W_OK):
        return
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "growth" / "numba"
    try:
        user.mkdir(parents=True, exist_ok=True)
        writable = os.access(user, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        # A shared, predictable folder would let others plant machine code, hence one per process.
        user = Path(tempfile.mkdtemp(prefix="growth-numba-"))
    numba.config.CACHE_DIR = str(user)


_ensure_cache_folder()
