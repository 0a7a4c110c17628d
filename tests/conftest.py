"""Shared by all tests: one fresh numba cache per session, and the way to the golden files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

# Before anything imports numba: a cache from an earlier checkout goes stale across files (HOUSE.md), so a run
# of the tests never trusts one that it was not explicitly given.
if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="growth-tests-numba-")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def golden() -> Path:
    """Return the folder of reference results of the R package, or skip: they are GPL-3 and live elsewhere."""
    folder = os.environ.get("GROWTH_GOLDEN")
    if not folder:
        pytest.skip(
            "GROWTH_GOLDEN is not set: the R package's results (GPL-3) are not part of the repository"
        )
    return Path(folder)
