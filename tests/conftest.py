"""Shared by all tests: where the checkout is, and the way to the golden files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

import growth
from growth import GrowthRun

settings.register_profile("house", deadline=None)  # machines are shared: slow is not wrong
settings.load_profile("house")

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


@pytest.fixture(scope="session")
def golden_folder(golden: Path) -> Path:
    """Return the same, for modules that import the module `golden`."""
    return golden


@pytest.fixture(scope="session")
def city_file(repository: Path) -> Path:
    """Return a small simulated city: 18,040 rows, 12 schools."""
    return repository / "fixtures" / "small_city.csv"


@pytest.fixture(scope="session")
def city_run(city_file: Path) -> GrowthRun:
    """Return the small city's results under the preset `core`."""
    return growth.run(city_file, "core")
