"""The students and cells frames: what every row got, and how every cohort was fitted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from growth._types import FloatArray
from growth.panel import Panel, PanelSet, Places, StudentTable
from growth.spec import GrowthSpec
from growth.student import FrozenCohort, QuantileGrowth, StudentGrowth, StudentIntervals
from growth.student.simex import SimexGrowth

__all__ = ["Fitted", "RecalledGrowth", "cells_frame", "corrected_columns", "corrected_of", "students_frame"]

_FRONT = ("student_id", "year", "subject", "grade", "school_id", "district_id", "score")
_RESULTS: dict[str, pl.DataType] = {
    "cohort": pl.String(),
    "n_priors": pl.Int16(),
    "norm_group": pl.String(),
    "prior_score": pl.Float64(),
    "sgp": pl.Int16(),
    "sgp_se": pl.Float64(),
    "sgp_low": pl.Int16(),
    "sgp_high": pl.Int16(),
    "percentile": pl.Float64(),
    "expected_score": pl.Float64(),
    "residual": pl.Float64(),
    "residual_sd": pl.Float64(),
}
_CORRECTED: dict[str, pl.DataType] = {
    "sgp_simex": pl.Int16(),
    "sgp_simex_ranked": pl.Int16(),
    "percentile_simex": pl.Float64(),
    "percentile_simex_ranked": pl.Float64(),
}
"""Beside the results, in runs that correct for measurement error by SIMEX."""
_COMPOSED: dict[str, pl.DataType] = {"composition_se": pl.Float64()}
"""Beside the results, in runs that take composition out in two steps."""
_ADDED = ("status", *_RESULTS, "highest")
_CELL: dict[str, pl.DataType | type[pl.DataType]] = {
    "cohort": pl.String,
    "subject": pl.String,
    "year": pl.Int32,
    "grade": pl.Int16,
    "n_priors": pl.Int16,
    "engine": pl.String,
    "base_year": pl.Int32,
    "n": pl.Int64,
    "p": pl.Int64,
    "dropped_columns": pl.List(pl.String),
    "crossing_share": pl.Float64,
    "outside_knots": pl.Int64,
    "max_relative_gap": pl.Float64,
    "pivots": pl.Int64,
    "fallbacks": pl.Int64,
    "residual_sd": pl.Float64,
    "r2": pl.Float64,
    "prior_slope": pl.Float64,
    "prior_slope_se": pl.Float64,
    "skewness": pl.Float64,
    "excess_kurtosis": pl.Float64,
    "least_reliability": pl.Float64,
    "capped_columns": pl.Int64,
    "seconds": pl.Float64,
}
"""What an engine does not have is null. `base_year`: of the frozen model in use; null where it was fitted."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """One cohort: its students' growth and its uncertainty."""

    panel: Panel
    growth: StudentGrowth
    intervals: StudentIntervals | None
    seconds: float
    """Wall time of the fit [s]."""
    frozen: FrozenCohort | None = None
    """The model of a base year, if it was placed by one."""
    file: str = ""
    """Name of the file that it is kept in, if it is."""
    known: Literal["", "kept", "reused"] = ""
    """Whether it was read, and not computed: what an interrupted run had finished, or an earlier run's."""


@dataclass(frozen=True, slots=True, eq=False)
class RecalledGrowth(StudentGrowth):
    """Growth of a cohort without the model behind it, as a study keeps it."""

    told: Mapping[str, object]
    """Its diagnostics."""
    simex: SimexGrowth | None

    @property
    def diagnostics(self) -> dict[str, object]:
        """How the cohort was fitted, by column of the cells frame."""
        return dict(self.told)


def students_frame(
    table: StudentTable, panels: PanelSet, fitted: Sequence[Fitted], spec: GrowthSpec
) -> pl.DataFrame:
    """Return one row per current-year row in scope, or per student and prior pattern.

    Parameters
    ----------
    table : StudentTable
    panels : PanelSet
    fitted : sequence of Fitted
        One per panel.
    spec : GrowthSpec
        ``cohorts.report``: the results of every prior pattern of a student, or of the fullest.

    Returns
    -------
    polars.DataFrame
        In the order of the table, fullest pattern first: identity, score, status, cohort, n_priors,
        norm_group, prior_score (the most recent in the subject), sgp (1-99), its standard error sgp_se
        [percentile points] and interval sgp_low to sgp_high (null where its uncertainty is not known),
        percentile (0-1), expected_score, residual and its cohort's residual_sd [scale-score points], where
        composition is taken out in two steps composition_se, the standard error of what was taken out, with
        SIMEX sgp_simex, sgp_simex_ranked (1-99), percentile_simex, percentile_simex_ranked (0-1), highest
        (true on exactly one row per row in scope), then the table's other columns; one that bears the name of
        a result gets the suffix ``_input``.
    """
    more = _on_demand(spec)
    added = (*_ADDED[:-1], *more, _ADDED[-1])
    every = spec.cohorts.report != "highest"
    results = _results(Places(panels), fitted, every, more)
    unscored = panels.current.filter(pl.col("highest").is_null()).select("row", "status")
    results = pl.concat([results, unscored.with_columns(pl.lit(True).alias("highest"))], how="diagonal")
    by = {"row": False} | ({"highest": True, "n_priors": True, "cohort": False} if every else {})
    results = results.sort(list(by), descending=list(by.values()), nulls_last=True)
    source = _without_clashes(table.rows(results["row"].to_numpy()), added)
    front = [name for name in _FRONT if name in source.columns]
    rest = [name for name in source.columns if name not in front]
    return pl.concat([source.select(front), results.select(added), source.select(rest)], how="horizontal")


def _on_demand(spec: GrowthSpec) -> dict[str, pl.DataType]:
    return (_COMPOSED if spec.peers.composition == "two_step" else {}) | (
        _CORRECTED if spec.simex.use == "simex" else {}
    )


def cells_frame(fitted: Iterable[Fitted], engine: str) -> pl.DataFrame:
    """Return how each cohort was fitted, one row per cohort in the order of the panels."""
    rows = [_cell(one) | {"engine": engine} for one in fitted]
    return pl.DataFrame(rows, schema=_CELL)


def corrected_of(growth: StudentGrowth) -> SimexGrowth | None:
    """Return the percentiles corrected by SIMEX, if there are such."""
    return growth.simex if isinstance(growth, QuantileGrowth | RecalledGrowth) else None


def corrected_columns(growth: StudentGrowth) -> list[pl.Series]:
    """Return the columns of percentiles corrected by SIMEX; none without them."""
    simex = corrected_of(growth)
    if simex is None:
        return []
    values = (simex.sgp, simex.sgp_ranked, simex.percentile, simex.percentile_ranked)
    named = zip(_CORRECTED.items(), values, strict=True)
    return [pl.Series(name, value).cast(dtype) for (name, dtype), value in named]


def _deviation(residual: FloatArray) -> float | None:
    """Return the SD of all residuals of a cohort, whichever cohort gives its students' results."""
    return float(residual.std(ddof=1)) if len(residual) > 1 else None


def _results(
    places: Places, fitted: Iterable[Fitted], every: bool, more: Mapping[str, pl.DataType]
) -> pl.DataFrame:
    """Return the results of all cohorts, or of each row's own only, cohort after cohort."""
    schema = _RESULTS | dict(more)
    parts = []
    for one in fitted:
        _, highest = places.of(one.panel)
        part = pl.DataFrame(
            [
                pl.Series("row", one.panel.row),
                pl.Series("highest", highest),
                pl.Series("sgp", one.growth.sgp),
                pl.Series("percentile", one.growth.percentile),
                pl.Series("prior_score", np.ascontiguousarray(one.panel.priors[:, 0])),
                *_interval(one),
                pl.Series("expected_score", one.growth.expected),
                pl.Series("residual", one.growth.residual),
                *([] if one.panel.offset_se is None else [pl.Series("composition_se", one.panel.offset_se)]),
                *corrected_columns(one.growth),
            ]
        ).with_columns(
            pl.lit("scored").alias("status"),
            pl.lit(_deviation(one.growth.residual)).alias("residual_sd"),
            pl.lit(one.panel.key).alias("cohort"),
            pl.lit(len(one.panel.pattern.priors)).alias("n_priors"),
            pl.lit(one.panel.norm_group).alias("norm_group"),
        )
        part = part if every else part.filter("highest")
        parts.append(
            part.select("row", "status", "highest", *(pl.col(k).cast(kind) for k, kind in schema.items()))
        )
    empty = {"row": pl.Int64(), "status": pl.String(), "highest": pl.Boolean(), **schema}
    return pl.concat(parts) if parts else pl.DataFrame(schema=empty)


def _interval(one: Fitted) -> list[pl.Series]:
    """Return the uncertainty of the percentiles, NaN where it is not known."""
    unknown = np.full(len(one.panel), np.nan)
    found = one.intervals or StudentIntervals(unknown, unknown, unknown)
    columns = {"sgp_se": found.se, "sgp_low": found.low, "sgp_high": found.high}
    return [pl.Series(name, values).fill_nan(None) for name, values in columns.items()]


def _without_clashes(frame: pl.DataFrame, added: Sequence[str]) -> pl.DataFrame:
    names = set(frame.columns)
    renamed: dict[str, str] = {}
    for name in frame.columns:
        if name in added:
            new = f"{name}_input"
            while new in names:
                new += "_input"
            names.add(new)
            renamed[name] = new
    return frame.rename(renamed)


def _cell(one: Fitted) -> dict[str, object]:
    panel = one.panel
    return dict.fromkeys(_CELL) | {
        "cohort": panel.key,
        "subject": panel.subject,
        "year": panel.year,
        "grade": panel.grade,
        "n_priors": len(panel.pattern.priors),
        "base_year": None if one.frozen is None else one.frozen.year,
        "n": len(panel.row),
        "seconds": one.seconds,
        **one.growth.diagnostics,
    }
