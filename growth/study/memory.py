"""Stages that a study has computed before, found by the content of what went in.

Tables, panels, compositions and school results are kept in memory; cohorts also on disk, one file per cohort,
named by a digest of its numbers, the choices that matter to it and the engine's own source. A file holds
results in the order of the cohort's rows and no ids; like scores they are student data.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

import polars as pl

from growth.disk import remove_leavings
from growth.panel import Panel, StudentTable
from growth.pipeline.resume import load_cohort, panel_digest, save_cohort
from growth.pipeline.shelf import Shelf, Stage, narrowed
from growth.pipeline.students import Fitted, RecalledGrowth, corrected_of
from growth.source import cohort_digest
from growth.spec import GrowthSpec

__all__ = ["Memo", "StudyShelf", "digest_of", "stage_key", "table_key"]

T = TypeVar("T")
_KEPT_STAGES = 8
"""Results of each stage in memory; cohorts are found by content, so that little is lost with the rest."""


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
        Digest of the table, see `table_key`, and of whatever else all runs are given.
    folder : Path or None
        Where cohorts are kept beyond this process.
    placed : bool
        Whether cohorts are placed in frozen curves: each time, which is as fast as to find them.
    """

    keeps_models = False

    def __init__(self, table_key: str, folder: Path | None, placed: bool = False) -> None:
        self._table, self._folder, self._placed = table_key, folder, placed
        self._stages: dict[str, Memo[Any]] = {
            name: Memo(_KEPT_STAGES) for name in ("table", "panels", "composition", "schools")
        }
        self._cohorts: Memo[Fitted] = Memo()
        self.fitted: list[str] = []
        """Keys of the cohorts that were fitted, and not found."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            remove_leavings(folder)

    def __reduce__(
        self,
    ) -> tuple[Callable[[str, Path | None, bool], StudyShelf], tuple[str, Path | None, bool]]:
        """Let workers elsewhere have one of their own, on the same folder."""
        return _shelf_here, (self._table, self._folder, self._placed)

    def stage(self, name: Stage, spec: GrowthSpec, make: Callable[[GrowthSpec], T]) -> T:
        """Return the result of a stage; see `Shelf.stage`."""
        key = digest_of(self._table, stage_key(name, spec))
        value: T = self._stages[name].get(key, lambda: make(narrowed(name, spec)))
        return value

    def cohort(self, panel: Panel, spec: GrowthSpec, make: Callable[[GrowthSpec], Fitted]) -> Fitted:
        """Return a cohort's growth; see `Shelf.cohort`. Standard errors from refits need the models."""
        if spec.school.standard_error == "refit" or self._placed:
            return make(spec)
        narrow = narrowed("cohort", spec)
        key = digest_of(panel_digest(panel), narrow.digest, cohort_digest())

        def find() -> Fitted:
            file = None if self._folder is None else self._folder / key
            known = None if file is None else load_cohort(file, panel)
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
                save_cohort(kept, file)
            return kept

        found = self._cohorts.get(key, find)
        # The panel at hand has the rows of its own table; of equal tables they are the same.
        return Fitted(panel, found.growth, found.intervals, found.seconds)


@lru_cache(maxsize=1)
def _shelf_here(table: str, folder: Path | None, placed: bool) -> StudyShelf:
    """Return the shelf of a study in this process, one for all its variants."""
    return StudyShelf(table, folder, placed)


def stage_key(name: Stage, spec: GrowthSpec) -> str:
    """Return a digest of the choices that a stage and those before it look at."""
    before: tuple[Stage, ...] = ("table", "panels", "composition", "cohort", "schools")
    return digest_of(*(narrowed(stage, spec).digest for stage in before[: before.index(name) + 1]))


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
