"""One student's scores, and where each year's curves put students who came from the same place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from growth.audit.again import Met, Reformed, reform
from growth.audit.student import one_student
from growth.errors import GrowthError
from growth.panel import CallerFrame, CsemFunction, StudentTable
from growth.pipeline import GrowthRun
from growth.student import NormalGrowth, QuantileGrowth, percentile_cuts, student_growth

__all__ = ["FAN", "student_fan"]

FAN = (5, 25, 50, 75, 95)
"""Percentiles of similar students whose scores the fan holds."""


def student_fan(
    run: GrowthRun,
    student_id: str,
    table: StudentTable | CallerFrame | str | Path | Reformed,
    *,
    csem: CsemFunction | None = None,
) -> pl.DataFrame:
    """Return a student's scores with the conditional percentiles of each year that the run has results of.

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
        subject, year, grade, score [scale-score points], one row per score of the student; for years with a
        result sgp (1-99), the interval sgp_low to sgp_high if there is one, and p5, p25, p50, p75, p95: the
        scores up to which these percentiles of similar students reach. Null where there is no result, or the
        engine has no curves.

    Raises
    ------
    GrowthError
        If the student has no score in the table.
    TableError
        If the table is not the one that the run was made from.
    """
    again = reform(run, table, csem=csem)
    own = again.table.frame.filter((pl.col("student_id") == str(student_id)) & pl.col("score").is_not_null())
    if own.is_empty():
        raise GrowthError("No student with this student_id has a score in the table.")
    keys = ["subject", "year", "grade"]
    scores = own.select(*keys, pl.col("score").cast(pl.Float64)).unique(
        keys, keep="first", maintain_order=True
    )
    results = run.polars("students").filter(
        (pl.col("student_id") == str(student_id)) & pl.col("sgp").is_not_null() & pl.col("highest")
    )
    cohorts = {met.panel.key: met for met in again}
    who = again.table.codes["student_id"]
    places = ("sgp", "sgp_low", "sgp_high")
    schema = {"subject": pl.String, "year": pl.Int64, **dict.fromkeys(places, pl.Int64)}
    schema |= {f"p{percentile}": pl.Float64 for percentile in FAN}
    rows: list[tuple[object, ...]] = []
    for *place, cohort in results.select("subject", "year", *places, "cohort").iter_rows():
        met = cohorts.get(cohort)
        if met is not None:
            at = np.flatnonzero((who.gather(met.panel.row) == str(student_id)).to_numpy())
            rows.append((*place, *_cuts(met, at)))
    fans = pl.DataFrame(rows, schema=schema, orient="row").cast({"year": scores.schema["year"]})
    return scores.join(fans, on=["subject", "year"], how="left").sort("subject", "year", "grade")


def _cuts(met: Met, at: np.ndarray) -> list[float | None]:
    panel = one_student(met.panel, at)
    with threadpool_limits(limits=1, user_api="blas"):
        growth = student_growth(panel, met.spec, frozen=met.model, n_jobs=1)
        if not isinstance(growth, QuantileGrowth | NormalGrowth):
            return [None] * len(FAN)
        return [float(cut) for cut in percentile_cuts(growth, panel, FAN, met.spec, digits=1)[0]]
