"""Cohorts fitted side by side; `growth.parallel` says where.

Every cohort is a piece of work of its own. With SIMEX and a folder that all workers see, so is every lambda
of a cohort, done first: a cohort then finds its lambdas there, and one large cohort does not keep all but one
worker waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from growth.spec import GrowthSpec
from growth.student import FrozenCohort, StudentGrowth, StudentIntervals, student_growth, student_intervals
from growth.student.simex import Watch, blocks_of, forget_simex, simex_ahead

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
    crew, steps = bench.crew, bench.steps
    order = sorted(range(len(panels)), key=lambda i: -_cost(panels[i]))
    shared = [crew.share(panel) for panel in panels]
    told = [count() for _ in panels]  # steps within each cohort; `next` is safe in threads
    ahead = _ahead(panels, order, spec, bench)
    if ahead:
        lambdas = _Lambdas(spec, crew.folder)
        pieces = (_Lambda(i, shared[i], level) for i, level in ahead)
        for i, level in crew.each(lambdas, pieces):
            for _ in range(_blocks(spec)):
                next(told[i])
            lam, replicates = spec.simex.lambdas[level], spec.simex.replicates
            label = f"{panels[i].key}, lambda {lam:g}: {replicates} of {replicates}"
            steps.add(label, _blocks(spec))

    def watched(i: int) -> Watch:
        def watch(label: str) -> None:
            next(told[i])
            steps.add(f"{panels[i].key}, {label}")

        return watch

    models = [known.get(panel.key) for panel in panels]
    work = _Cohorts(spec, bench.shelf, crew.folder, crew.within(len(panels)))
    watches = {i: crew.at_hand(watched(i)) for i in set(order) - {i for i, _ in ahead}}
    tasks = (_Cohort(i, shared[i], models[i], watches.get(i)) for i in order)
    found: dict[int, Fitted] = {}
    for done in crew.each(work, tasks):
        i = done.number
        found[i] = Fitted(panels[i], *done.fit, frozen=models[i], file=done.file, known=done.known)
        # Recalled cohorts, and those fitted elsewhere, have not told their steps.
        steps.add(panels[i].key, 1 + simex_steps(spec) - next(told[i]))
    if ahead and crew.folder is not None:
        # Where a worker was lost, its lambdas may have been computed again after their cohort.
        for i in sorted({i for i, _ in ahead}):
            if bench.shelf.keeps(panels[i], spec):
                forget_simex(panels[i], spec, crew.folder)
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
class _Lambda:
    number: int
    panel: Shared[Panel]
    level: int


@dataclass(frozen=True, slots=True, eq=False)
class _Lambdas:
    """Replicates of one lambda of a cohort, their sum left in the folder."""

    spec: GrowthSpec
    folder: Path | None

    def __call__(self, task: _Lambda) -> tuple[int, int]:
        assert self.folder is not None
        simex_ahead(task.panel.get(), self.spec, task.level, self.folder)
        return task.number, task.level


@dataclass(frozen=True, slots=True, eq=False)
class _Cohort:
    number: int
    panel: Shared[Panel]
    model: FrozenCohort | None
    watch: Watch | None


@dataclass(frozen=True, slots=True, eq=False)
class _Done:
    """What comes back of a cohort: nothing that whoever asked has."""

    number: int
    fit: tuple[StudentGrowth, StudentIntervals | None, float]
    """Growth, its uncertainty, wall time [s]."""
    file: str
    known: Literal["", "kept", "reused"]


@dataclass(frozen=True, slots=True, eq=False)
class _Cohorts:
    """The fit of a cohort, or what the shelf has of it."""

    spec: GrowthSpec
    shelf: Shelf
    folder: Path | None
    threads: int

    def __call__(self, task: _Cohort) -> _Done:
        panel = task.panel.get()
        # Cohorts placed on frozen models are not kept: they are placed again as fast.
        shelf = self.shelf if task.model is None else Shelf()
        one = shelf.cohort(panel, self.spec, self._maker(panel, task))
        if self.folder is not None and shelf.keeps(panel, self.spec):
            forget_simex(panel, self.spec, self.folder)
        return _Done(task.number, (one.growth, one.intervals, one.seconds), one.file, one.known)

    def _maker(self, panel: Panel, task: _Cohort) -> Callable[[GrowthSpec], Fitted]:
        def make(spec: GrowthSpec) -> Fitted:
            start, threads = perf_counter(), self.threads
            growth = student_growth(
                panel, spec, frozen=task.model, n_jobs=threads, watch=task.watch, folder=self.folder
            )
            intervals = student_intervals(growth, panel, spec, frozen=task.model, n_jobs=threads)
            return Fitted(panel, growth, intervals, perf_counter() - start, task.model)

        return make


def _ahead(
    panels: Sequence[Panel], order: Sequence[int], spec: GrowthSpec, bench: Bench
) -> list[tuple[int, int]]:
    """Return the cohorts and lambdas to be done first; none where one worker does everything in turn."""
    if spec.simex.use != "simex" or bench.crew.folder is None or bench.crew.workers == 1:
        return []
    missing = [i for i in order if not bench.shelf.keeps(panels[i], spec)]
    return [(i, level) for i in missing for level in range(len(spec.simex.lambdas))]


def _blocks(spec: GrowthSpec) -> int:
    return len(blocks_of(spec.simex))


def _cost(panel: Panel) -> int:
    columns = 1 + len(panel.pattern.priors) + len(panel.covariate_names)
    return len(panel) * columns
