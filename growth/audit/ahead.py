"""One student's next year: where students of the grade ahead went who stood where this student stands now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from growth.audit.again import Reformed, reform
from growth.audit.fan import FAN
from growth.errors import GrowthError, SpecError
from growth.panel import CallerFrame, CsemFunction, StudentTable
from growth.pipeline import GrowthRun
from growth.spec import Peers
from growth.student import FrozenCohort, Traveller, growth_paths, path_at

__all__ = ["curves_of", "student_projection", "traits_of"]


def student_projection(
    run: GrowthRun,
    student_id: str,
    table: StudentTable | CallerFrame | str | Path | Reformed,
    *,
    csem: CsemFunction | None = None,
) -> pl.DataFrame:
    """Return the conditional percentiles of a student's next test, from today's score.

    The curves are those of this year's cohort of the grade ahead (of the base year, in a run from a bundle),
    applied to the scores of today: next year's students are taken to grow as this year's did, the student to
    take the next grade's test, and to keep flags, categories and the make-up of the school; see
    `growth.student.paths`. It is a range of what happens, not a forecast of this student and not a target.

    Parameters
    ----------
    run : GrowthRun
    student_id : str
    table : path, frame or StudentTable
        What the run was made from; or what `growth.audit.again.reform` made of it.
    csem : callable, optional
        As the run was given.

    Returns
    -------
    polars.DataFrame
        One row per subject in which the student has a score in the run's latest year: subject, year and grade
        of the next test, p5, p25, p50, p75, p95 [scale-score points] as in `student_fan`, cohort (norm group
        of the curves: its subject, grade and number of prior scores), and reason: null, or why there is no
        projection, with the other columns null.

    Raises
    ------
    GrowthError
        If the student has no score in the run's latest year.
    TableError
        If the table is not the one that the run was made from.
    """
    again = reform(run, table, csem=csem)
    year = latest_year(run)
    own = again.table.frame.filter((pl.col("student_id") == str(student_id)) & pl.col("score").is_not_null())
    today = own.filter(pl.col("year") == year)
    if today.is_empty():
        raise GrowthError(f"No student with this student_id has a score in {year}, the run's latest year.")
    scores = {
        (row["subject"], year - row["year"], row["grade"]): np.array([float(row["score"])])
        for row in own.filter(pl.col("year") <= year).iter_rows(named=True)
    }
    cohorts = curves_of(run, year)
    rows = [_row(row, scores, cohorts, again, run) for row in today.iter_rows(named=True)]
    schema = {"subject": pl.String, "year": pl.Int64, "grade": pl.Int64}
    schema |= {f"p{percentile}": pl.Float64 for percentile in FAN} | {
        "cohort": pl.String,
        "reason": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").sort("subject")


def latest_year(run: GrowthRun) -> int:
    """Return the latest year with student results."""
    scored = run.polars("students").filter(pl.col("sgp").is_not_null())
    return int(scored["year"].max())  # type: ignore[arg-type]


def curves_of(run: GrowthRun, year: int) -> tuple[FrozenCohort, ...]:
    """Return the models of a year's cohorts; where these are a base year's, those."""
    base = int((run.manifest.get("freeze") or {}).get("base_year", year))
    found = {cohort.key: cohort for at in (base, year) for cohort in run.curves.of_year(at).cohorts}
    return tuple(found.values())


def traits_of(row: dict[str, Any], peers: Peers) -> dict[str, Any]:
    """Return flags, levels and blanks of a row of the student table, as `Traveller` takes them."""
    return {
        "flags": frozenset(name for name in peers.flags if row[name]),
        "levels": {name: str(row[name]) for name in peers.categories if row[name] is not None},
        "missing": frozenset(name for name in (*peers.flags, *peers.categories) if row[name] is None),
    }


def _row(
    row: dict[str, Any],
    scores: dict[tuple[str, int, int], np.ndarray],
    cohorts: tuple[FrozenCohort, ...],
    again: Reformed,
    run: GrowthRun,
) -> tuple[object, ...]:
    subject, empty = row["subject"], [None] * len(FAN)
    shift = {subject: np.array([_shift(again, row)])}
    traveller = Traveller(scores, **traits_of(row, run.spec.peers), shift=shift)
    try:
        steps = growth_paths(cohorts, traveller, run.spec)
    except SpecError as error:
        return subject, None, None, *empty, None, str(error)
    step = next((step for step in steps if step.subject == subject), None)
    if step is None:
        why = f"no cohort of {subject} in this run comes from grade {row['grade']} with scores that are known"
        return subject, None, None, *empty, None, why
    # curve c + 1 is the upper end of the scores that earn SGP c, as in `percentile_cuts`
    ends = path_at(step, [percentile + 1 for percentile in FAN])[0].round(1)
    priors = len(step.cohort.pattern)
    cohort = f"{subject} {step.cohort.year}, grade {step.grade} ({priors} prior score{'s' * (priors > 1)})"
    return subject, row["year"] + step.ahead, step.grade, *map(float, ends), cohort, None


def _shift(again: Reformed, row: dict[str, Any]) -> float:
    """Return what goes with the make-up of the student's school; 0 where the run knows of nothing."""
    school = again.table.frame["school_id"]
    for met in again:
        panel, makeup = met.panel, met.model.makeup
        here = panel.subject == row["subject"] and panel.year == row["year"]
        if here and panel.offset is not None and makeup is not None and makeup.spread > 0:
            at = np.flatnonzero((school.gather(panel.row) == row["school_id"]).to_numpy())
            if at.size:
                return float(panel.offset[at[0]]) / makeup.spread
    return 0.0
