"""A study on one page: the TOML file behind ``growth study``.

::

    table = "scores.csv"        # beside this file
    base = "core"               # preset or TOML file
    design = "one_at_a_time"    # or full, fractional, random
    # runs = 48                 # of fractional and random designs
    # seed = 1
    # freeze = "2024.growth"    # bundle of a base year, for all variants

    [factors]
    "school.aggregate" = ["mean", "median"]
    "school.trim" = { low = 0.05, high = 0.25 }     # random designs
    [factors.peers.none]                            # keys that are changed together, by level
    "peers.flags" = []
    "peers.composition" = "none"
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from growth.errors import SpecError, did_you_mean, problem
from growth.spec import GrowthSpec

__all__ = ["StudyFile", "read_study"]

_KEYS = ("table", "base", "design", "runs", "seed", "factors", "poverty", "freeze")


@dataclass(frozen=True, slots=True)
class StudyFile:
    """What a study file says."""

    table: Path | None
    base: GrowthSpec
    factors: dict[str, Any]
    freeze: Path | None
    """Bundle of a base year."""
    options: dict[str, Any]
    """Arguments of `run_study` that are given: design, runs, seed, poverty."""


def read_study(file: str | Path) -> StudyFile:
    """Read a study file.

    Raises
    ------
    SpecError
        If it cannot be read, is not TOML, or has a key that is not known.
    """
    source = Path(file)
    try:
        said = tomllib.loads(source.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"The study file {str(file)!r} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"The study file is not valid TOML: {error}.") from None
    for key in said:
        if key not in _KEYS:
            what = f"The study file has the unknown key {key!r}{did_you_mean(key, _KEYS)}"
            raise SpecError(problem(what, rule=f"keys are {', '.join(_KEYS)}"))
    base = str(said.get("base", "core"))
    beside = source.parent / base
    return StudyFile(
        table=source.parent / said["table"] if "table" in said else None,
        base=GrowthSpec.of(beside if beside.is_file() else base),
        factors=said.get("factors", {}),
        freeze=source.parent / said["freeze"] if "freeze" in said else None,
        options={key: said[key] for key in ("design", "runs", "seed", "poverty") if key in said},
    )
