"""Cohorts fitted side by side; `growth.parallel` says where.

Every cohort is a piece of work of its own. With SIMEX and a folder that all workers see, every lambda of a
cohort is: one large cohort does not keep all but one worker waiting. Whoever does the last of them finds the
others' sums in the folder and fits the cohort, so that nobody waits for the end of a stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from growth.panel import Panel
from growth.parallel import Crew, Shared
from growth.pipeline.frozen import Known
from growth.pipeline.progress import Steps
from growth.pipeline.shelf import Shelf
from growth.pipeline.students import Fitted
from growth.scratch import kept_parts
from growth.spec import GrowthSpec
from growth.student import FrozenCohort, StudentGrowth, StudentIntervals, student_growth, student_intervals
from growth.student.simex import Watch, blocks_of, forget_simex, simex_ahead, simex_complete

__all__ = ["Bench", "fit_cohorts", "fits_account", "simex_steps"]


@dataclass(frozen=True, slots=True)
class Bench:
    """Who fits cohorts, who watches, and where to look before."""

    crew: Crew
    steps: Steps
    shelf: Shelf


def simex_steps(spec: GrowthSpec) -> int:
    """Return the steps that SIMEX takes within a cohort."""
    return len(spec.simex.lambdas) * _blocks(spec) if spec.simex.use == "simex" else 0


def fit_cohorts(panels: Sequence[Panel], spec: GrowthSpec, bench: Bench, known: Known) -> list[Fitted]:
    """Fit every cohort or take its frozen model, in the order of `panels`.

    The most expensive go first, so that none is left over.
    """
    crew, shelf = bench.crew, bench.shelf
    order = sorted(range(len(panels)), key=lambda i: -_cost(panels[i]))
    shared = [crew.share(panel) for panel in panels]
    models = [known.get(panel.key) for panel in panels]
    work = _Work(spec, shelf, crew.folder, crew.within(len(panels)))
    levels = {i: _levels(panels[i], spec, bench) for i in order}
    tally = _Tally(panels, spec, bench.steps, dict(levels))
    watches = {i: crew.at_hand(tally.watch(i)) for i in order if not levels[i]}
    whole = {i: _Piece(i, None, shared[i], models[i], watches.get(i)) for i in order}
    pieces = (
        piece
        for i in order
        for piece in [replace(whole[i], level=level) for level in range(levels[i])] or [whole[i]]
    )
    found: dict[int, Fitted] = {}

    def take(done: _Done) -> None:
        i = done.number
        if done.fit is not None:
            one = Fitted(panels[i], *done.fit, frozen=models[i], file=done.file, known=done.known)
            found[i] = replace(one, growth=kept_parts(one.growth), intervals=kept_parts(one.intervals))
        # Nobody else is at work on the cohort when its last piece is back, and its sums are large.
        if tally.back(done) and simex_steps(spec) and crew.folder and shelf.keeps(panels[i], spec):
            forget_simex(panels[i], spec, crew.folder)

    for done in crew.each(work, pieces):
        take(done)
    # Storage may show a file late: then nobody has seen all sums of a cohort.
    for done in crew.each(work, [whole[i] for i in order if i not in found]):
        take(done)
    return [found[i] for i in range(len(panels))]


def fits_account(fitted: Sequence[Fitted], bare: Sequence[Fitted], reused_from: str | None) -> dict[str, Any]:
    """Return which cohorts were fitted and which were taken from an earlier run, for the manifest.

    Parameters
    ----------
    fitted, bare : sequence of Fitted
        The cohorts, and those on prior scores only.
    reused_from : str or None
        SHA-256 of the manifest of the earlier run.
    """

    def named(cohorts: Sequence[Fitted]) -> dict[str, list[str]]:
        known = [one.panel.key for one in cohorts if one.known == "reused"]
        new = [one.panel.key for one in cohorts if one.known != "reused" and one.frozen is None]
        return {"reused": known, "fitted": new}

    files = sorted({one.file for one in (*fitted, *bare) if one.file})
    return {"reused_from": reused_from, **named(fitted), "prior_scores_only": named(bare), "files": files}


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """A piece of work: a lambda of a cohort, or a cohort."""

    number: int
    level: int | None
    """Position of the lambda; None for the whole cohort."""
    panel: Shared[Panel]
    model: FrozenCohort | None
    watch: Watch | None


@dataclass(frozen=True, slots=True, eq=False)
class _Done:
    """What comes back of a piece: nothing that whoever asked has."""

    number: int
    level: int | None
    fit: tuple[StudentGrowth, StudentIntervals | None, float] | None = None
    """Growth, its uncertainty, wall time [s]; None where other lambdas of the cohort are missing."""
    file: str = ""
    known: Literal["", "kept", "reused"] = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Replicates of one lambda, their sum left in the folder; the fit of a cohort that has all its sums.

    Whoever finishes the last lambda of a cohort fits it. Two that finish at once may both do so: the same bit
    for bit.
    """

    spec: GrowthSpec
    shelf: Shelf
    folder: Path | None
    threads: int

    def __call__(self, piece: _Piece) -> _Done:
        panel, done = piece.panel.get(), _Done(piece.number, piece.level)
        if piece.level is not None and self.folder is not None:
            simex_ahead(panel, self.spec, piece.level, self.folder)
            if not simex_complete(panel, self.spec, self.folder):
                return done
        # Cohorts placed on frozen models are not kept: they are placed again as fast.
        shelf = self.shelf if piece.model is None else Shelf()
        one = shelf.cohort(panel, self.spec, self._maker(panel, piece))
        return replace(done, fit=(one.growth, one.intervals, one.seconds), file=one.file, known=one.known)

    def _maker(self, panel: Panel, piece: _Piece) -> Callable[[GrowthSpec], Fitted]:
        def make(spec: GrowthSpec) -> Fitted:
            start, threads = perf_counter(), self.threads
            growth = student_growth(
                panel, spec, frozen=piece.model, n_jobs=threads, watch=piece.watch, folder=self.folder
            )
            intervals = student_intervals(growth, panel, spec, frozen=piece.model, n_jobs=threads)
            return Fitted(panel, growth, intervals, perf_counter() - start, piece.model)

        return make


class _Tally:
    """Which pieces of each cohort are out, and which steps have been told."""

    def __init__(self, panels: Sequence[Panel], spec: GrowthSpec, steps: Steps, out: dict[int, int]) -> None:
        self._panels, self._spec, self._steps, self._out = panels, spec, steps, out
        self._told = [count() for _ in panels]  # steps within each cohort; `next` is safe in threads
        self._fitted = set[int]()

    def watch(self, i: int) -> Watch:
        """Return a listener to SIMEX within a cohort."""

        def watch(label: str) -> None:
            next(self._told[i])
            self._steps.add(f"{self._panels[i].key}, {label}")

        return watch

    def back(self, done: _Done) -> bool:
        """Count a piece that has come back; return whether the cohort is done and no piece of it is out."""
        i, rules = done.number, self._spec.simex
        if done.level is not None:
            self._out[i] -= 1
            for _ in range(_blocks(self._spec)):
                next(self._told[i])
            label = f"lambda {rules.lambdas[done.level]:g}: {rules.replicates} of {rules.replicates}"
            self._steps.add(f"{self._panels[i].key}, {label}", _blocks(self._spec))
        if done.fit is not None and i not in self._fitted:
            self._fitted.add(i)
            self._steps.add(self._panels[i].key)
        if self._out[i] or i not in self._fitted:
            return False
        # Recalled cohorts, and those fitted elsewhere, have not told their steps.
        missing = simex_steps(self._spec) - next(self._told[i])
        if missing > 0:
            self._steps.add(self._panels[i].key, missing)
        return True


def _levels(panel: Panel, spec: GrowthSpec, bench: Bench) -> int:
    """Return how many lambdas of a cohort are pieces of work; none where one thread does all in turn."""
    crew = bench.crew
    if spec.simex.use != "simex" or crew.folder is None or (crew.workers == 1 and not crew.apart):
        return 0
    return 0 if bench.shelf.keeps(panel, spec) else len(spec.simex.lambdas)


def _blocks(spec: GrowthSpec) -> int:
    return len(blocks_of(spec.simex))


def _cost(panel: Panel) -> int:
    columns = 1 + len(panel.pattern.priors) + len(panel.covariate_names)
    return len(panel) * columns
