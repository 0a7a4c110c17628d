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
from collections.abc import Callable
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

__all__ = ["ResumeShelf", "cohort_file", "load_cohort", "panel_digest", "save_cohort"]

T = TypeVar("T")


class ResumeShelf(Shelf):
    """Keeps finished cohorts, and parts of other stages, in a folder.

    Cohorts placed on frozen models are not kept: they are placed again as fast.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        remove_leavings(folder)
        self.found: list[str] = []
        """Keys of the cohorts, and kinds of the parts, that were there already."""

    def cohort(self, panel: Panel, spec: GrowthSpec, make: Callable[[GrowthSpec], Fitted]) -> Fitted:
        """Return a cohort's growth as it was kept, or make and keep it.

        Raises
        ------
        StoreError
            If it cannot be kept.
        """
        file = self._folder / cohort_file(panel, spec)
        if (known := load_cohort(file, panel)) is not None:
            self.found.append(panel.key)
            return known
        one = make(spec)
        if one.frozen is None:
            self._keep(lambda: save_cohort(one, file))
        return one

    def keeps(self, panel: Panel, spec: GrowthSpec) -> bool:
        """Return whether the cohort is there already."""
        return (self._folder / cohort_file(panel, spec)).is_file()

    def part(self, kind: str, digest: str, make: Callable[[], T]) -> T:
        """Return a part of a stage as it was kept, or make and keep it.

        Raises
        ------
        StoreError
            If it cannot be kept.
        """
        whole = "\n".join([digest, code_digest()])
        file = self._folder / f"{kind}-{hashlib.sha256(whole.encode()).hexdigest()[:40]}"
        try:
            known: T = decoded(file.read_bytes())
        except (OSError, ValueError):  # there is none, or it was damaged by others
            one = make()
            self._keep(lambda: _write(one, file))
            return one
        self.found.append(kind)
        return known

    def _keep(self, save: Callable[[], None]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            save()
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
    _write((one.growth, one.intervals, one.seconds), file)


def load_cohort(file: Path, panel: Panel) -> Fitted | None:
    """Return what a file holds of a panel's fit, or None: there is none, or it was damaged by others."""
    try:
        growth, intervals, seconds = decoded(file.read_bytes())
    except (OSError, ValueError):
        return None
    whole = len(growth.sgp) == len(panel)
    return Fitted(panel, growth, intervals, seconds, known=True) if whole else None


def _write(value: object, file: Path) -> None:
    with whole_file(file) as aside:
        aside.write_bytes(encoded(value))
