"""The order of the street: the only place that knows it.

    student table -> panels -> composition -> student growth -> fairness ledger -> school growth -> levels

Every number is made in a room of its own; here they are only handed on, and every row is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import joblib
from threadpoolctl import threadpool_limits

from growth.index import LevelCuts, level_cuts, level_table
from growth.panel import CsemFunction, Panel, StudentTable, build_panels, read_table
from growth.pipeline.account import account_of_rows
from growth.pipeline.ledger import ledger, plain_panels, without_peers
from growth.pipeline.manifest import Clock, Stamp, manifest
from growth.pipeline.result import GrowthRun
from growth.pipeline.students import Fitted, cells_frame, students_frame
from growth.school import Norms, school_growth
from growth.spec import GrowthSpec
from growth.student import compose, student_growth

__all__ = ["run"]

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, what is done next or was done last)."""

_STAGES = 3
"""Steps besides the cohorts: reading, school growth, levels."""


def run(
    table: StudentTable | str | Path | Any,  # noqa: ANN401
    spec: GrowthSpec | Mapping[str, Any] | str | Path = "core",
    *,
    n_jobs: int | None = None,
    progress: Progress | None = None,
    cuts: LevelCuts | None = None,
    norms: Norms | None = None,
    csem: CsemFunction | None = None,
) -> GrowthRun:
    """Compute student growth percentiles, school growth percentiles and levels.

    Parameters
    ----------
    table : path, frame or StudentTable
        One row per student x year x subject: a CSV or Parquet file, a pandas, polars, pyarrow or DuckDB
        frame, or a table that `read_table` has read. It is not changed.
    spec : GrowthSpec, str, Path or mapping
        A specification, the name of a preset (``"core"``, ``"sgp"``, ...), a TOML file or a nested mapping.
    n_jobs : int, optional
        Threads that fit cohorts beside each other; -1 for all cores, None for one unless a
        ``joblib.parallel_config`` says otherwise. Results are the same bit for bit.
    progress : callable, optional
        Called from the calling thread with (steps done, steps in all, label).
    cuts : LevelCuts, optional
        Cut points of an earlier year (``earlier.cuts``), to keep them.
    norms : Norms, optional
        Distributions of an earlier year (``earlier.norms``) to rank schools in. Without them schools are
        ranked among each other, and their growth percentiles average 50 every year.
    csem : callable, optional
        For ``measurement.csem = "function"``: called with (scores, subject, grade, year), the scores of shape
        (n,), it returns their conditional standard errors of measurement, shape (n,).

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
    clock = Clock()
    choices = GrowthSpec.of(spec)
    source = table if isinstance(table, StudentTable) else read_table(table, choices)
    clock.lap("read")
    panels = build_panels(source, choices, csem=csem)
    clock.lap("panels")
    with threadpool_limits(limits=1, user_api="blas"):
        composed = compose(panels, choices)
    panels = composed.panels
    clock.lap("composition")

    plain = plain_panels(panels, choices)
    fits = len(panels.panels) + len(plain)
    report = _reporter(progress, fits + _STAGES)
    report(1, "cohorts formed")
    threads = joblib.effective_n_jobs(n_jobs)
    fitted = _fit(panels.panels, choices, threads, report)
    every = choices.cohorts.report == "all"
    students = students_frame(source, panels, fitted, every_pattern=every)
    clock.lap("student growth")
    bare = _fit(plain, without_peers(choices), threads, report, done=len(fitted))
    fairness = ledger(students, panels, bare, composed.effects, choices)
    clock.lap("fairness")

    schools = school_growth(students, choices, norms=norms)
    report(fits + 2, "school growth")
    clock.lap("school growth")
    used_cuts = level_cuts(choices, schools.frame) if cuts is None else cuts
    frames = {
        "students": students,
        "schools": schools.frame,
        "levels": level_table(schools.frame, used_cuts),
        "counts": account_of_rows(panels.counts, schools.counts, students),
        "cells": cells_frame(fitted, choices.student.engine),
        "variance": schools.variance,
        "fairness": fairness.groups,
        "neutrality": fairness.neutrality,
    }
    clock.lap("levels")
    stamp = Stamp(
        input_digest=source.digest,
        input_rows=int(frames["counts"]["rows"][0]),
        threads=threads,
        cuts_digest=used_cuts.digest,
        frozen_norms=norms is not None,
        frozen_cuts=cuts is not None,
    )
    result = GrowthRun(
        frames=frames,
        spec=choices,
        manifest=manifest(choices, frames, stamp, clock),
        cuts=used_cuts,
        norms=schools.norms,
        to_caller=source.to_caller,
    )
    report(fits + _STAGES, "levels")
    return result


def _reporter(progress: Progress | None, total: int) -> Callable[[int, str], None]:
    def report(done: int, label: str) -> None:
        if progress is not None:
            progress(done, total, label)

    return report


def _fit(
    panels: Sequence[Panel],
    spec: GrowthSpec,
    threads: int,
    report: Callable[[int, str], None],
    done: int = 0,
) -> list[Fitted]:
    """Fit every cohort, in the order of `panels`; the most expensive go first, so that none is left over."""
    inner = 1 if len(panels) >= threads else threads
    order = sorted(range(len(panels)), key=lambda i: -_cost(panels[i]))

    def one(i: int) -> tuple[int, Fitted]:
        start = perf_counter()
        growth = student_growth(panels[i], spec, n_jobs=inner)
        return i, Fitted(panels[i], growth, perf_counter() - start)

    # The library behind numpy adds in another order with another number of threads; one thread each keeps
    # results equal on every machine and under every n_jobs.
    with threadpool_limits(limits=1, user_api="blas"):
        workers = joblib.Parallel(n_jobs=threads, prefer="threads", return_as="generator_unordered")
        results: Iterator[tuple[int, Fitted]] = workers(joblib.delayed(one)(i) for i in order)
        found: dict[int, Fitted] = {}
        for i, fitted in results:
            found[i] = fitted
            report(done + len(found) + 1, panels[i].key)
    return [found[i] for i in range(len(panels))]


def _cost(panel: Panel) -> int:
    columns = 1 + len(panel.pattern.priors) + len(panel.covariate_names)
    return len(panel) * columns
