"""Which engine made a number: a digest of the source that computes and of the libraries it computes with."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

__all__ = ["code_digest", "cohort_digest"]

_LIBRARIES = ("numpy", "scipy", "numba")
_COHORT = ("_types.py", "measures.py", "kernels", "quantile", "student")
"""What fits a cohort that has been formed; its specification and its numbers have digests of their own."""


@cache
def code_digest() -> str:
    """Return a digest of this package's source and the versions of the libraries it computes with."""
    return _digest(sorted(_package().rglob("*.py")))


@cache
def cohort_digest() -> str:
    """Return the same of the rooms that fit cohorts: a change elsewhere does not change a cohort's fit."""
    parts = [_package() / name for name in _COHORT]
    files = [file for part in parts for file in ([part] if part.is_file() else part.rglob("*.py"))]
    return _digest(sorted(files))


def _package() -> Path:
    return Path(__file__).parent


def _digest(files: list[Path]) -> str:
    digest = hashlib.blake2b(digest_size=20)
    for path in files:
        digest.update(path.read_bytes())
    return " ".join([digest.hexdigest(), *(version(name) for name in _LIBRARIES)])
