"""Stages that a study has computed before, found by the content of what went in.

Tables, panels, compositions and school results are kept in memory; cohorts also on disk, one file per cohort,
named by a digest of its numbers, the choices that matter to it and the engine's own source. A file holds
results in the order of the cohort's rows and no ids; like scores they are student data. Files appear whole or
not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar
from zipfile import BadZipFile

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.panel import Panel, StudentTable
from growth.pipeline.resume import panel_digest
from growth.pipeline.shelf import Shelf, Stage, narrowed
from growth.pipeline.students import Fitted, RecalledGrowth, corrected_of
from growth.spec import GrowthSpec
from growth.student import StudentIntervals
from growth.student.simex import SimexGrowth, code_digest

__all__ = ["Memo", "StudyShelf", "digest_of", "remove_leavings", "table_key"]

T = TypeVar("T")
_PART = ".part-"
_KEPT_STAGES = 8
"""Results of each stage in memory; cohorts are found by content, so that little is lost with the rest."""
_GROWTH = ("sgp", "percentile", "expected", "residual")
_SIMEX = ("sgp", "percentile", "sgp_ranked", "percentile_ranked", "place")


class Memo(Generic[T]):
    """Results by key, each computed once, whichever threads ask; the least used go first."""

    def __init__(self, most: int | None = None) -> None:
        self._most, self._found, self._locks = most, OrderedDict[str, T](), dict[str, Lock]()
        self._door = Lock()

    def get(self, key: str, make: Callable[[], T]) -> T:
        """Return the result of a key: what is kept, or `make()`."""
        with self._door:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            with self._door:
                if key in self._found:
                    self._found.move_to_end(key)
                    return self._found[key]
            value = make()
            with self._door:
                self._found[key] = value
                if self._most is not None and len(self._found) > self._most:
                    self._found.popitem(last=False)
            return value


class StudyShelf(Shelf):
    """Remembers stages of runs on one table.

    Parameters
    ----------
    table_key : str
        Digest of the table; see `table_key`.
    folder : Path or None
        Where cohorts are kept beyond this process.
    """

    keeps_models = False

    def __init__(self, table_key: str, folder: Path | None) -> None:
        self._table, self._folder = table_key, folder
        self._stages: dict[str, Memo[Any]] = {
            name: Memo(_KEPT_STAGES) for name in ("table", "panels", "composition", "schools")
        }
        self._cohorts: Memo[Fitted] = Memo()
        self.fitted: list[str] = []
        """Keys of the cohorts that were fitted, and not found."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            remove_leavings(folder)

    def stage(self, name: Stage, spec: GrowthSpec, make: Callable[[GrowthSpec], T]) -> T:
        """Return the result of a stage; see `Shelf.stage`."""
        before: tuple[Stage, ...] = ("table", "panels", "composition", "cohort", "schools")
        so_far = before[: before.index(name) + 1]
        key = digest_of(self._table, *(narrowed(stage, spec).digest for stage in so_far))
        value: T = self._stages[name].get(key, lambda: make(narrowed(name, spec)))
        return value

    def cohort(self, panel: Panel, spec: GrowthSpec, make: Callable[[GrowthSpec], Fitted]) -> Fitted:
        """Return a cohort's growth; see `Shelf.cohort`. Standard errors from refits need the models."""
        if spec.school.standard_error == "refit":
            return make(spec)
        narrow = narrowed("cohort", spec)
        key = digest_of(panel_digest(panel), narrow.digest, code_digest())

        def find() -> Fitted:
            file = None if self._folder is None else self._folder / f"{key}.npz"
            known = None if file is None else _load(file, panel)
            if known is not None:
                return known
            one = make(narrow)
            self.fitted.append(panel.key)
            growth = one.growth
            slim = RecalledGrowth(
                growth.key,
                growth.sgp,
                growth.percentile,
                growth.expected,
                growth.residual,
                growth.diagnostics,
                corrected_of(growth),
            )
            kept = Fitted(panel, slim, one.intervals, one.seconds)
            if file is not None:
                _save(file, kept)
            return kept

        found = self._cohorts.get(key, find)
        # The panel at hand has the rows of its own table; of equal tables they are the same.
        return Fitted(panel, found.growth, found.intervals, found.seconds)


def table_key(table: StudentTable | pl.DataFrame | Path) -> str:
    """Return a digest of a table as it comes: of a file's bytes, or of every column of a frame."""
    if isinstance(table, StudentTable):
        return table.digest
    if isinstance(table, Path):
        with table.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    digest = hashlib.sha256(json.dumps([(n, str(t)) for n, t in table.schema.items()]).encode())
    digest.update(table.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()


def digest_of(*parts: str) -> str:
    """Return a digest of several texts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]


def aside_of(target: Path) -> Path:
    """Return a name beside `target` for what is not whole yet."""
    return target.with_name(f"{_PART}{os.getpid()}-{secrets.token_hex(4)}-{target.name}")


def remove_leavings(folder: Path) -> None:
    """Remove what interrupted processes left half written."""
    import shutil

    for leaving in folder.glob(f"{_PART}*"):
        process = leaving.name.removeprefix(_PART).split("-")[0]
        if process.isdigit() and not Path(f"/proc/{process}").exists() and Path("/proc/self").exists():
            if leaving.is_dir():
                shutil.rmtree(leaving, ignore_errors=True)
            else:
                leaving.unlink(missing_ok=True)


def _save(file: Path, one: Fitted) -> None:
    growth = one.growth
    assert isinstance(growth, RecalledGrowth)
    arrays: dict[str, FloatArray | IntArray] = {name: getattr(growth, name) for name in _GROWTH}
    if one.intervals is not None:
        arrays |= {f"interval_{name}": getattr(one.intervals, name) for name in ("se", "low", "high")}
    if growth.simex is not None:
        arrays |= {f"simex_{name}": getattr(growth.simex, name) for name in _SIMEX}
    facts = json.dumps({"told": dict(growth.told), "seconds": one.seconds})
    aside = aside_of(file)
    try:
        with aside.open("wb") as stream:
            np.savez(stream, facts=np.array(facts), **arrays)  # type: ignore[arg-type]
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def _load(file: Path, panel: Panel) -> Fitted | None:
    """Return what a file holds, or None: there is none, or it was damaged by others."""
    with (
        suppress(BadZipFile, EOFError, KeyError, OSError, ValueError),
        np.load(file, allow_pickle=False) as kept,
    ):
        facts: Mapping[str, Any] = json.loads(str(kept["facts"]))
        intervals = None
        if "interval_se" in kept:
            intervals = StudentIntervals(*(kept[f"interval_{name}"] for name in ("se", "low", "high")))
        simex = SimexGrowth(*(kept[f"simex_{name}"] for name in _SIMEX)) if "simex_sgp" in kept else None
        sgp, percentile, expected, residual = (kept[name] for name in _GROWTH)
        growth = RecalledGrowth(panel.key, sgp, percentile, expected, residual, facts["told"], simex)
        if len(growth.sgp) == len(panel):
            return Fitted(panel, growth, intervals, facts["seconds"])
    return None
