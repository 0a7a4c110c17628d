"""Cohorts and refits that an interrupted run has finished, kept so that the next one goes on from there.

One file per cohort and per refit, named by a digest of everything that its result depends on: its numbers,
the choices that it looks at, the source of what computes it, and the libraries. Another input, choice or
version never meets it. A cohort's file holds results in the order of its rows and no ids; like scores they
are student data.

Composition, school results and levels are not kept: they take seconds, and come out the same bit for bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from growth._types import FloatArray, IntArray
from growth.codec import decoded, encoded
from growth.disk import remove_leavings, whole_file
from growth.errors import StoreError, problem
from growth.panel import Panel
from growth.pipeline.shelf import Shelf, narrowed
from growth.pipeline.students import Fitted
from growth.source import code_digest, cohort_digest
from growth.spec import GrowthSpec

__all__ = ["KeptCohorts", "ResumeShelf", "cohort_file", "load_cohort", "panel_digest", "save_cohort"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeptCohorts:
    """Cohorts of an earlier run, kept with its results; `growth.store.kept_cohorts` finds them."""

    folder: Path
    digests: Mapping[str, str]
    """SHA-256 of each file, as the earlier run wrote it."""
    run: str
    """SHA-256 of the earlier run's manifest."""

    def read(self, name: str) -> bytes | None:
        """Return a file as it was written; None if the earlier run has no such cohort.

        Raises
        ------
        StoreError
            If it is missing or was changed.
        """
        if name not in self.digests:
            return None
        try:
            data = (self.folder / name).read_bytes()
        except OSError:
            data = b""
        if hashlib.sha256(data).hexdigest() != self.digests[name]:
            what = f"{name!r} in {str(self.folder)!r} is missing or was changed since it was written"
            fix = "restore the run folder, or run without --reuse"
            raise StoreError(problem(what, rule="what is used again is what was computed", fix=fix))
        return data


class ResumeShelf(Shelf):
    """Keeps finished cohorts, and parts of other stages, in a folder, and takes cohorts of an earlier run.

    Parameters
    ----------
    folder : Path or None
        Made if it is not there.
    reuse : KeptCohorts, optional
        Looked at first.
    """

    def __init__(self, folder: Path | None, reuse: KeptCohorts | None = None) -> None:
        self._folder, self._reuse = folder, reuse
        if folder is not None:
            remove_leavings(folder)
        self.found: list[str] = []
        """Keys of the cohorts, and kinds of the parts, that were in the folder already."""

    def cohort(self, panel: Panel, spec: GrowthSpec, make: Callable[[GrowthSpec], Fitted]) -> Fitted:
        """Return a cohort's growth as it was kept, or make and keep it.

        Raises
        ------
        StoreError
            If it cannot be kept, or an earlier run's was changed.
        """
        name = cohort_file(panel, spec)
        earlier = None if self._reuse is None else self._reuse.read(name)
        if earlier is not None and (known := _cohort(earlier, panel)) is not None:
            if not self.keeps_here(name):
                self._keep(name, earlier)
            return replace(known, file=name, known="reused")
        if self._folder is not None and (known := load_cohort(self._folder / name, panel)) is not None:
            self.found.append(panel.key)
            return replace(known, file=name, known="kept")
        one = make(spec)
        self._keep(name, _bytes(one))
        return replace(one, file="" if self._folder is None else name)

    def keeps(self, panel: Panel, spec: GrowthSpec) -> bool:
        """Return whether the cohort is there already."""
        name = cohort_file(panel, spec)
        return self.keeps_here(name) or (self._reuse is not None and name in self._reuse.digests)

    def keeps_here(self, name: str) -> bool:
        """Return whether a file is in the folder."""
        return self._folder is not None and (self._folder / name).is_file()

    def part(self, kind: str, digest: str, make: Callable[[], T]) -> T:
        """Return a part of a stage as it was kept, or make and keep it.

        Raises
        ------
        StoreError
            If it cannot be kept.
        """
        if self._folder is None:
            return make()
        whole = "\n".join([digest, code_digest()])
        name = f"{kind}-{hashlib.sha256(whole.encode()).hexdigest()[:40]}"
        try:
            known: T = decoded((self._folder / name).read_bytes())
        except (OSError, ValueError):  # there is none, or it was damaged by others
            one = make()
            self._keep(name, encoded(one))
            return one
        self.found.append(kind)
        return known

    def _keep(self, name: str, data: bytes) -> None:
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _write(data, self._folder / name)
        except OSError as error:
            what = f"What is finished cannot be kept in {str(self._folder)!r}: {error.strerror}"
            fix = "make room or choose another folder, and run again with --resume"
            raise StoreError(problem(what, fix=fix)) from None


def cohort_file(panel: Panel, spec: GrowthSpec) -> str:
    """Return the name of the file that a cohort's fit is kept in."""
    parts = "\n".join([panel_digest(panel), narrowed("cohort", spec).digest, cohort_digest()])
    return f"cohort-{hashlib.sha256(parts.encode()).hexdigest()[:40]}"


def panel_digest(panel: Panel) -> str:
    """Return a digest of everything that a fit of the panel can depend on but its row numbers.

    Schools count by who shares one and by their order, not by the number that a table has given them.
    """
    digest = hashlib.sha256(
        json.dumps([panel.key, panel.covariate_names, panel.bounds, panel.year, repr(panel.pattern)]).encode()
    )
    arrays: list[FloatArray | IntArray | None] = [panel.score, panel.priors, panel.covariates]
    school = None if panel.school is None else _renumbered(panel.school)
    arrays += [*panel.knot_scores, school, panel.csem, panel.score_csem, panel.offset]
    for array in arrays:
        digest.update(b"none" if array is None else f"{array.dtype}{array.shape}".encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _renumbered(school: IntArray) -> IntArray:
    """Return codes without gaps in the same order, -1 where there is no school."""
    found, place = np.unique(school, return_inverse=True)
    return place.astype(np.int64) - np.count_nonzero(found < 0)


def save_cohort(one: Fitted, file: Path) -> None:
    """Write what a cohort's fit gave, whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    _write(_bytes(one), file)


def load_cohort(file: Path, panel: Panel) -> Fitted | None:
    """Return what a file holds of a panel's fit, or None: there is none, or it was damaged by others."""
    try:
        return _cohort(file.read_bytes(), panel)
    except OSError:
        return None


def _bytes(one: Fitted) -> bytes:
    return encoded((one.growth, one.intervals, one.seconds))


def _cohort(data: bytes, panel: Panel) -> Fitted | None:
    try:
        growth, intervals, seconds = decoded(data)
    except ValueError:
        return None
    return Fitted(panel, growth, intervals, seconds) if len(growth.sgp) == len(panel) else None


def _write(data: bytes, file: Path) -> None:
    with whole_file(file) as aside:
        aside.write_bytes(data)
