"""One call from a table and several specifications to the question which of them to use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from growth._types import FloatArray, IntArray
from growth.errors import GrowthError, SpecError, problem
from growth.panel import CallerFrame, Panel, StudentTable, build_panels, read_table
from growth.panel.frames import load
from growth.parallel import Crew, Shared
from growth.pipeline.progress import Progress, Steps
from growth.pipeline.street import Given, walk
from growth.school import Enrolment
from growth.spec import GrowthSpec, Intervals, Simex
from growth.student import held_out_curves, offsets_without
from growth.study.memory import StudyShelf, table_key
from growth.study.outcome import Outcome, outcome_of
from growth.study.selection.losses import (
    TAUS,
    Foreseen,
    calibration_table,
    difference_table,
    loss_table,
)
from growth.study.selection.people import Candidate, common_results, deal, places_of
from growth.study.selection.result import Selection

__all__ = ["Unit", "compare_specs"]

Unit: TypeAlias = Literal["student", "school"]
_COLUMN = {"student": "student_id", "school": "school_id"}
_SMALLEST_SHOWN = 10
"""Students. No number is shown for fewer, whatever the specifications allow."""


def compare_specs(
    table: StudentTable | CallerFrame | str | Path,
    specs: Mapping[str, GrowthSpec | Mapping[str, Any] | str | Path],
    *,
    folds: int = 5,
    by: Unit = "student",
    seed: int = 20_260_101,
    n_jobs: int | None = None,
    enrolment: Enrolment | None = None,
    progress: Progress | None = None,
) -> Selection:
    """Compare specifications on one table: by what they foresee, and by what they do to schools.

    Students are dealt to folds. Every specification is fitted without each fold and gives the conditional
    quantiles of the scores in it; the loss of these (`growth.study.selection.losses`) says which describes
    students best. Specifications are compared on the results that all of them give. Each is also run as by
    `growth.run`, for what happens to schools: neutrality, reliability, levels. A table that all read alike is
    prepared once, and cohorts that they share are fitted once for the runs.

    Held-out loss is about single students, and rewards whatever foresees their scores. It cannot say whether
    school results are fair: more neutral specifications may foresee a little less, and corrections for
    measurement error (``eiv``, SIMEX) are made for schools and lose by design.

    Parameters
    ----------
    table : path, frame or StudentTable
        As for `growth.run`.
    specs : mapping
        Name -> specification, preset or TOML file; at least two. Agreement of levels is with the first.
    folds : int
        At least 2.
    by : str
        ``"student"``: a student's results are left out together, and students are the units of standard
        errors; ``"school"``: schools are, which asks whether curves hold for schools they were not fitted to.
    seed : int
        Deals students or schools to folds, and students to the halves of split-half reliability.
    n_jobs : int, optional
        Threads; results do not depend on it.
    enrolment : Enrolment, optional
        For specifications with ``school.share = "enrolment"``.
    progress : callable, optional
        Called with (steps done, steps in all, label).

    Returns
    -------
    Selection

    Raises
    ------
    SpecError
        If there are fewer than two specifications or folds, or two are equal.
    GrowthError
        If one of them cannot be computed on the table; the message names it.

    Examples
    --------
    >>> import growth
    >>> city = growth.simulate_table(3_000, 12, years=1, seed=1)
    >>> core = growth.GrowthSpec.preset("core")
    >>> found = growth.compare_specs(
    ...     city.table, {"core": core, "no flags": core.replace({"peers.flags": []})}, folds=3
    ... )
    >>> found.ranking.select("spec", "verdict").rows()  # cohorts of 300 are small for five flags
    [('no flags', 'least loss'), ('core', 'worse')]
    """
    chosen = {name: GrowthSpec.of(spec) for name, spec in specs.items()}
    _check(chosen, folds, by)
    steps = Steps(progress, 3 * len(chosen))
    source = table if isinstance(table, StudentTable | str | Path) else load(table, lambda _: []).frame
    crew = Crew.of(n_jobs)
    kept = None if crew.folder is None else crew.folder / "cohorts"
    shelf = StudyShelf(table_key(Path(source) if isinstance(source, str) else source), kept)
    candidates = []
    for name, spec in chosen.items():
        with _named(name):
            candidates.append(_candidate(name, source, spec, shelf))
        steps.add(f"{name}: cohorts formed")
    common = common_results(candidates)
    dealt = _dealt(candidates, folds, by, seed)
    found: list[Foreseen] = []
    for candidate in candidates:
        with _named(candidate.name), threadpool_limits(limits=1, user_api="blas"):
            found.append(_foreseen(candidate, common, _Folds(dealt, folds, by), crew))
        steps.add(f"{candidate.name}: cross-validated")
    outcomes: list[Outcome] = []
    for candidate in candidates:
        start = perf_counter()
        with _named(candidate.name):
            run = walk(source, candidate.spec, Given(enrolment=enrolment, shelf=shelf), crew)
            outcomes.append(outcome_of(run, enrolment, seed, perf_counter() - start))
        steps.add(f"{candidate.name}: schools")
    names = list(chosen)
    minimum = max(_SMALLEST_SHOWN, *(spec.school.min_n for spec in chosen.values()))
    return Selection(
        specs=chosen,
        losses=loss_table(common, names, found),
        differences=difference_table(common, names, found, _COLUMN[by]),
        calibration=calibration_table(common, names, found, minimum),
        scored=tuple(candidate.results.height for candidate in candidates),
        compared=common.height,
        outcomes=tuple(outcomes),
        by=by,
        folds=folds,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Folds:
    """Which fold every student or school is in."""

    dealt: pl.DataFrame
    count: int
    by: Unit

    def of(self, candidate: Candidate, panel: Panel) -> IntArray:
        """Return the fold of every row of a cohort, shape (n,)."""
        names = candidate.names(panel, _COLUMN[self.by]).alias("name").to_frame()
        return names.join(self.dealt, on="name", how="left", maintain_order="left")["fold"].to_numpy()


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say which specification a problem is about."""
    try:
        yield
    except GrowthError as error:
        raise type(error)(f"Specification {name!r}: {error}") from error


def _check(specs: Mapping[str, GrowthSpec], folds: int, by: str) -> None:
    if len(specs) < 2:
        raise SpecError(problem("There is nothing to compare", rule="at least two specifications"))
    if folds < 2:
        raise SpecError(problem(f"folds = {folds}", rule="at least 2"))
    if by not in _COLUMN:
        raise SpecError(problem(f"by = {by!r}", rule='"student" or "school"'))
    seen: dict[str, str] = {}
    for name, spec in specs.items():
        if spec.measurement.csem == "function":
            what = f"Specification {name!r}: a function cannot be recognised again"
            raise SpecError(problem(what, fix='use measurement.csem = "column" or "table"'))
        digest = spec.model_copy(update={"name": "custom"}).digest
        if digest in seen:
            raise SpecError(problem(f"Specifications {seen[digest]!r} and {name!r} are equal"))
        seen[digest] = name


def _candidate(
    name: str, table: StudentTable | pl.DataFrame | str | Path, spec: GrowthSpec, shelf: StudyShelf
) -> Candidate:
    source = (
        table
        if isinstance(table, StudentTable)
        else shelf.stage("table", spec, lambda narrow: read_table(table, narrow))
    )
    panels = shelf.stage("panels", spec, lambda narrow: build_panels(source, narrow))
    return Candidate(name, spec, source, panels)


def _dealt(candidates: Sequence[Candidate], folds: int, by: Unit, seed: int) -> pl.DataFrame:
    """Deal everybody in any cohort of any specification."""
    names = [one.names(panel, _COLUMN[by]).unique() for one in candidates for panel in one.panels.panels]
    return deal(pl.concat([part.alias("name") for part in names]), folds, seed)


@dataclass(frozen=True, slots=True, eq=False)
class _Cohort:
    key: str
    panel: Shared[Panel]
    fold: IntArray
    offsets: FloatArray | None


@dataclass(frozen=True, slots=True, eq=False)
class _HeldOut:
    """The curves of a cohort for those who were left out."""

    spec: GrowthSpec

    def __call__(self, task: _Cohort) -> tuple[str, FloatArray]:
        panel = task.panel.get()
        return task.key, held_out_curves(panel, self.spec, task.fold, TAUS, offsets=task.offsets)


def _foreseen(candidate: Candidate, common: pl.DataFrame, folds: _Folds, crew: Crew) -> Foreseen:
    """Foresee the common results by every cohort that gives some of them."""
    # Intervals and corrected percentiles take no part in curves.
    spec = candidate.spec.model_copy(update={"simex": Simex(), "intervals": Intervals(sources=())})
    places = places_of(candidate, common)
    panels = {panel.key: panel for panel in candidate.panels.panels}
    fold = {key: folds.of(candidate, panel) for key, panel in panels.items()}
    offsets: dict[str, FloatArray] = {}
    if spec.peers.composition == "two_step":
        without = [
            offsets_without(candidate.panels, spec, {key: of == k for key, of in fold.items()})
            for k in range(folds.count)
        ]
        offsets = {key: np.stack([one[key] for one in without]) for key in panels}

    out = Foreseen.empty(common.height)
    order = sorted(places, key=lambda key: -len(panels[key]))
    tasks = (_Cohort(key, crew.share(panels[key]), fold[key], offsets.get(key)) for key in order)
    for key, found in crew.each(_HeldOut(spec), tasks):
        at, rows = places[key]
        out.put(rows, panels[key].score[at], found[at])
    return out
