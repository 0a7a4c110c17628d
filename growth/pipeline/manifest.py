"""The stamp on a run: what went in, what came out, made by which versions, when. Never an id or a row."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from time import perf_counter, process_time
from typing import Any

import polars as pl

from growth.freeze import FreezeBundle
from growth.spec import GrowthSpec

__all__ = ["Clock", "Stamp", "frame_digest", "manifest"]

FORMAT = 1
"""Raised when a manifest's keys change their meaning."""

_STAMPED = ("growth", "numpy", "scipy", "numba", "polars", "joblib")
_TIMINGS = ("seconds",)
"""Columns that differ between two runs of the same input."""
_ROWS_AT_ONCE = 100_000


class Clock:
    """Wall time of the stages of a run, and the time of this process's processors."""

    def __init__(self) -> None:
        self.started = _now()
        self.seconds: dict[str, float] = {}
        self.cpu: dict[str, float] = {}
        self._last = perf_counter(), process_time()

    def lap(self, stage: str) -> None:
        """Book the time since the last lap on `stage`."""
        now = perf_counter(), process_time()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now[0] - self._last[0]
        self.cpu[stage] = self.cpu.get(stage, 0.0) + now[1] - self._last[1]
        self._last = now


@dataclass(frozen=True, slots=True)
class Stamp:
    """Facts of a run that its frames do not hold."""

    input_digest: str
    input_rows: int
    input_notices: tuple[str, ...]
    """What was read as missing because the specification says so."""
    threads: int
    cuts_digest: str
    freeze: FreezeBundle | None
    cohorts: Mapping[str, Any]
    """Which were fitted, and which taken from an earlier run."""
    enrolment_digest: str | None = None
    """Of the table that says in which schools results count, if one was given."""


def manifest(
    spec: GrowthSpec, frames: Mapping[str, pl.DataFrame], stamp: Stamp, clock: Clock
) -> dict[str, Any]:
    """Return the manifest as plain values for JSON.

    Parameters
    ----------
    spec : GrowthSpec
    frames : mapping of str to polars.DataFrame
        The results, with ``cells`` among them.
    stamp : Stamp
    clock : Clock
        Its laps end here.
    """
    cells, base = frames["cells"], stamp.freeze
    return {
        "format": FORMAT,
        "input": {
            "sha256": stamp.input_digest,
            "rows": stamp.input_rows,
            "notices": list(stamp.input_notices),
        },
        "enrolment": {"sha256": stamp.enrolment_digest},
        "spec": {"name": spec.name, "sha256": spec.digest},
        "freeze": None
        if base is None
        else {
            "sha256": base.digest,
            "base_year": base.base_year,
            "parts": list(base.parts),
            "spec_sha256": base.spec_digest,
            "input_sha256": base.input_digest,
            "growth": base.written_by,
            "refitted": cells.filter(pl.col("base_year").is_null())["cohort"].to_list()
            if base.curves is not None
            else [],
        },
        "norms": {"frozen": base is not None and base.norms is not None},
        "cuts": {"frozen": base is not None and base.cuts is not None, "sha256": stamp.cuts_digest},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _STAMPED}},
        "platform": {
            "system": platform.platform(),
            "machine": platform.machine(),
            "byte_order": sys.byteorder,
            "cpus": os.cpu_count(),
        },
        "threads": stamp.threads,
        "seeds": {"school.seed": spec.school.seed}
        | ({"simex.seed": spec.simex.seed} if spec.simex.use == "simex" else {}),
        "started": clock.started,
        "finished": _now(),
        "seconds": {stage: round(seconds, 4) for stage, seconds in clock.seconds.items()},
        "cohorts": dict(stamp.cohorts),
        "cpu_seconds": {stage: round(seconds, 4) for stage, seconds in clock.cpu.items()},
        "cells": cells.to_dicts(),
        "certificates": {
            "cohorts": cells.height,
            "largest_relative_gap": cells["max_relative_gap"].max(),
            "fallbacks": int(cells["fallbacks"].sum()),
        },
        "outputs": {name: frame_digest(frame) for name, frame in frames.items()},
    }


def frame_digest(frame: pl.DataFrame) -> str:
    """Return the SHA-256 of a result's CSV text, timings left out: equal digests, equal results."""
    plain = frame.drop(_TIMINGS, strict=False).with_columns(
        pl.col(name).list.join(";") for name, dtype in frame.schema.items() if dtype == pl.List(pl.String)
    )
    text = hashlib.sha256()
    for start in range(0, max(plain.height, 1), _ROWS_AT_ONCE):
        text.update(plain[start : start + _ROWS_AT_ONCE].write_csv(include_header=not start).encode())
    return text.hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
