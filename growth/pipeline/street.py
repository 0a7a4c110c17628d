"""The order of the street: the only place that knows it.

    student table -> panels -> composition -> student growth -> fairness ledger -> school growth -> levels

Every number is made in a room of its own; here they are only handed on, and every row is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import joblib
from threadpoolctl import threadpool_limits

from growth.errors import SpecError, problem
from growth.freeze import FreezeBundle
from growth.index.distance import Context, check_same_cuts, described_levels, with_last_year
from growth.panel import (
    CallerFrame,
    CsemFunction,
    Panel,
    StudentTable,
    build_panels,
    hand_back,
    read_table,
)
from growth.parallel import Crew
from growth.pipeline.account import account_of_rows
from growth.pipeline.bootstrap import Refits, refit_errors
from growth.pipeline.cohorts import Bench, fit_cohorts, fits_account, simex_steps
from growth.pipeline.frozen import Known, kept_curves, known_models
from growth.pipeline.ledger import ledger, plain_choices, plain_panels
from growth.pipeline.manifest import Clock, Stamp, manifest
from growth.pipeline.progress import Progress, Steps
from growth.pipeline.result import GrowthRun
from growth.pipeline.resume import KeptCohorts, ResumeShelf
from growth.pipeline.schools import SchoolResults, school_results
from growth.pipeline.shelf import Shelf
from growth.pipeline.students import cells_frame, students_frame
from growth.school import Enrolment, check_enrolment, read_enrolment
from growth.spec import GrowthSpec
from growth.student import FrozenCurves, compose

__all__ = ["Given", "checked_choices", "run", "walk"]

_STAGES = 3
"""Steps besides the cohorts: reading, school growth, levels."""


def run(
    table: StudentTable | str | Path | Any,  # noqa: ANN401
    spec: GrowthSpec | Mapping[str, Any] | str | Path | None = None,
    *,
    freeze: FreezeBundle | None = None,
    previous: GrowthRun | None = None,
    n_jobs: int | None = None,
    progress: Progress | None = None,
    csem: CsemFunction | None = None,
    checkpoints: str | Path | None = None,
    enrolment: Enrolment | CallerFrame | str | Path | None = None,
    reuse: KeptCohorts | None = None,
) -> GrowthRun:
    """Compute student growth percentiles, school growth percentiles and levels.

    Parameters
    ----------
    table : path, frame or StudentTable
        One row per student x year x subject: a CSV or Parquet file, a pandas, polars, pyarrow or DuckDB
        frame, or a table that `read_table` has read. It is not changed.
    spec : GrowthSpec, str, Path or mapping
        A specification, the name of a preset (``"core"``, ``"sgp"``, ...), a TOML file or a nested mapping;
        if not given, that of `freeze`; without one, ``"core"``.
    freeze : FreezeBundle, optional
        What was kept of a base year (``earlier.freeze()``, or `growth.store.load_bundle`). Its curves place
        students without a fit, its norms rank schools, its cut points make levels. Without it all three are
        this table's own: percentiles average 50 whatever all students achieve together.
    previous : GrowthRun, optional
        Last year's results, on the same cut points, for the change of levels where this run holds one year.
    n_jobs : int, optional
        Threads that fit cohorts beside each other; -1 for all cores, None for one unless a
        ``joblib.parallel_config`` says otherwise. Within ``joblib.parallel_config(backend="dask")`` the
        workers of the cluster do the fits. Results are the same bit for bit.
    progress : callable, optional
        Called with (steps done, steps in all, label), one call at a time, from the thread that did the step.
    csem : callable, optional
        For ``measurement.csem = "function"``: called with (scores, subject, grade, year), the scores of shape
        (n,), it returns their conditional standard errors of measurement, shape (n,).
    checkpoints : str or Path, optional
        Folder in which finished cohorts, refits of ``school.standard_error``, and SIMEX's finished replicates
        are kept: interrupted and started again with the same input, a run goes on there, to the same results
        bit for bit. Workers of a cluster read their cohorts there: it must be on storage that all of them
        see. Its files hold student data without ids; delete them when the run is done.
    enrolment : path, frame or Enrolment, optional
        For ``school.share = "enrolment"``: one row per student, year and school, with the share of the year;
        see `growth.school.read_enrolment`. It decides in which schools results count, and nothing else:
        composition and the fairness ledger keep to the schools of `table`.
    reuse : KeptCohorts, optional
        Cohorts of an earlier run (`growth.store.kept_cohorts`): those whose students, scores and choices are
        the same, and that the same engine fitted, are not fitted again. The manifest says which.

    Returns
    -------
    GrowthRun

    Raises
    ------
    GrowthError
        Of the kind of the problem: `SpecError`, `TableError`, `ColumnError`, `CohortError`,
        `ConvergenceError`. Nothing is returned half done.

    Examples
    --------
    >>> import growth
    >>> city = growth.simulate_table(3_000, 12, years=1, seed=1)
    >>> result = growth.run(city.table, "core")
    >>> sorted(set(result.levels["subject"]))
    ['ELA', 'MATH']
    """
    crew = Crew.of(n_jobs, None if checkpoints is None else Path(checkpoints))
    given = Given(
        freeze=freeze,
        previous=previous,
        csem=csem,
        enrolment=_enrolment(enrolment),
        shelf=Shelf() if crew.folder is None and reuse is None else ResumeShelf(crew.folder, reuse),
        reused_from=None if reuse is None else reuse.run,
    )
    return walk(table, checked_choices(spec, freeze), given, crew, progress)


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What a run may be given beside a table and a specification; see `run`."""

    freeze: FreezeBundle | None = None
    previous: GrowthRun | None = None
    csem: CsemFunction | None = None
    enrolment: Enrolment | None = None
    shelf: Shelf = field(default_factory=Shelf)
    """Where to look before a stage is computed."""
    reused_from: str | None = None
    """SHA-256 of the manifest of the run that cohorts are taken from."""


def walk(
    table: StudentTable | CallerFrame | str | Path,
    choices: GrowthSpec,
    given: Given,
    crew: Crew,
    progress: Progress | None = None,
) -> GrowthRun:
    """Go down the street, stage by stage; the arguments are those of `run`."""
    clock, shelf, freeze, places = Clock(), given.shelf, given.freeze, given.enrolment
    source = (
        table
        if isinstance(table, StudentTable)
        else shelf.stage("table", choices, partial(read_table, table))
    )
    check_enrolment(places, choices)
    clock.lap("read")
    panels = shelf.stage("panels", choices, partial(build_panels, source, csem=given.csem))
    clock.lap("panels")
    plain = plain_panels(panels, choices)
    known, known_plain = _known(panels.panels, plain, choices, freeze)
    curves = None if freeze is None else freeze.curves
    formed = panels
    with threadpool_limits(limits=1, user_api="blas"):
        composed = shelf.stage("composition", choices, lambda spec: compose(formed, spec, curves))
    panels = composed.panels
    clock.lap("composition")

    fits = len(panels.panels) + len(plain)
    prior_scores_only = plain_choices(choices)
    replicates = len(panels.panels) * simex_steps(choices) + len(plain) * simex_steps(prior_scores_only)
    steps = Steps(progress, fits + replicates + _STAGES)
    steps.add("cohorts formed")
    bench = Bench(crew, steps, shelf)
    fitted = fit_cohorts(panels.panels, choices, bench, known)
    students = students_frame(source, panels, fitted, choices)
    # what follows needs at most the ids of the table, and a state's is large
    left = ["student_id"] if choices.school.standard_error == "refit" else []
    source = replace(source, codes=source.codes.select(left))
    clock.lap("student growth")
    bare = fit_cohorts(plain, prior_scores_only, bench, known_plain)
    fairness = ledger(students, panels, bare, composed.effects, choices)
    clock.lap("fairness")

    def to_schools(spec: GrowthSpec) -> SchoolResults:
        return school_results(
            students,
            spec,
            places,
            kept=(None, None) if freeze is None else (freeze.norms, freeze.cuts),
            resample=lambda wanted: refit_errors(
                Refits.of(source, panels, fitted, wanted, spec, places), crew, shelf
            ),
        )

    with (
        joblib.parallel_config(backend="threading", n_jobs=crew.here()),
        threadpool_limits(limits=1, user_api="blas"),
    ):
        found = shelf.stage("schools", choices, to_schools)
    schools, used_cuts = found.schools, found.cuts
    steps.add("school growth")
    clock.lap("school growth")
    levels = described_levels(schools.frame, choices, Context(used_cuts, schools.norms, schools.response))
    if given.previous is not None:
        check_same_cuts(used_cuts, given.previous.cuts)
        levels = with_last_year(levels, given.previous.frames["levels"])
    frames = {
        "students": students,
        "schools": schools.frame,
        "levels": levels,
        "counts": account_of_rows(panels.counts, schools.counts, students),
        "cells": cells_frame(fitted, choices.student.engine),
        "variance": schools.variance,
        "fairness": fairness.groups,
        "neutrality": fairness.neutrality,
    }
    frames |= found.more
    clock.lap("levels")
    stamp = Stamp(
        input_digest=source.digest,
        input_notices=source.notices,
        input_rows=int(frames["counts"]["rows"][0]),
        threads=crew.workers,
        cuts_digest=used_cuts.digest,
        freeze=freeze,
        cohorts=fits_account(fitted, bare, given.reused_from),
        enrolment_digest=None if places is None else places.digest,
    )
    result = GrowthRun(
        frames=frames,
        spec=choices,
        manifest=manifest(choices, frames, stamp, clock),
        cuts=used_cuts,
        norms=schools.norms,
        curves=kept_curves(fitted, bare, composed, choices) if shelf.keeps_models else FrozenCurves(),
        to_caller=partial(hand_back, kind=source.origin),
    )
    steps.add("levels")
    return result


def _enrolment(given: Enrolment | CallerFrame | str | Path | None) -> Enrolment | None:
    return given if given is None or isinstance(given, Enrolment) else read_enrolment(given)


def checked_choices(
    spec: GrowthSpec | Mapping[str, Any] | str | Path | None, freeze: FreezeBundle | None
) -> GrowthSpec:
    """Return the specification of a run, that of the bundle if none is given.

    Raises
    ------
    SpecError
        If it goes against the bundle.
    """
    if freeze is None:
        return GrowthSpec.of("core" if spec is None else spec)
    choices = freeze.spec if spec is None else GrowthSpec.of(spec)
    freeze.check(choices)
    if choices.school.standard_error == "refit" and freeze.curves is not None:
        what = 'Frozen curves are not fitted, and school.standard_error = "refit" fits them again'
        raise SpecError(problem(what, fix='use "bootstrap", or freeze norms and cuts only'))
    return choices


def _known(
    panels: Sequence[Panel], plain: Sequence[Panel], spec: GrowthSpec, freeze: FreezeBundle | None
) -> tuple[Known, Known]:
    """Return the frozen models of the cohorts, and those without the peer definition."""
    if freeze is None or freeze.curves is None:
        return {}, {}
    curves, year = freeze.curves, freeze.base_year
    return (
        known_models(panels, curves.by_key(), spec, year),
        known_models(plain, curves.plain_by_key(), spec, year),
    )
