"""The students and cells frames: what every row got, and how every cohort was fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from growth._types import BoolArray, FloatArray, IntArray
from growth.mapped import numbers, pick, texts
from growth.panel import Panel, PanelSet, Places, StudentTable
from growth.scratch import empty, kept, kept_at
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
    lines = _own_lines(panels) if spec.cohorts.report == "highest" else _all_lines(panels)
    results = {column.name: column for column in _results(lines, fitted, more)}
    source = _without_clashes(table.rows(lines.row), added)
    front = [name for name in _FRONT if name in source.columns]
    rest = [name for name in source.columns if name not in front]
    return pl.DataFrame([*source.select(front), *(results[name] for name in added), *source.select(rest)])


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


@dataclass(frozen=True, slots=True, eq=False)
class _Lines:
    """The m lines of the students frame."""

    row: IntArray
    """In the table, shape (m,)."""
    cohort: IntArray
    """Position of the cohort that the line is of, -1 without a result, shape (m,)."""
    status: pl.Series
    highest: BoolArray
    """Shape (m,)."""
    places: Callable[[int, Panel], tuple[IntArray, BoolArray | slice]]
    """Position of a cohort and its panel -> lines, and which of its students they are of."""

    def column(self, panels: Iterable[Panel], values: Iterable[FloatArray | IntArray]) -> FloatArray:
        """Return the values, one array per cohort, of all lines, shape (m,); NaN without a result."""
        found = empty(len(self.row), np.float64)
        found[:] = np.nan
        for number, (panel, one) in enumerate(zip(panels, values, strict=True)):
            at, who = self.places(number, panel)
            found[at] = one[who]
        return found

    def of_cohorts(self, values: Sequence[float]) -> FloatArray:
        """Return the values, one per cohort, of all lines, shape (m,); NaN without a result."""
        return kept_at(np.array([*values, np.nan]), self.cohort)


def _own_lines(panels: PanelSet) -> _Lines:
    """Return a line for each row in scope."""
    places = Places(panels)

    def own(_: int, panel: Panel) -> tuple[IntArray, BoolArray]:
        at, mine = places.of(panel)
        return at[mine], mine

    return _Lines(
        places.row, places.cohort, panels.current["status"], np.ones(len(places.row), np.bool_), own
    )


def _all_lines(panels: PanelSet) -> _Lines:
    """Return a line for each row in scope and each of its cohorts, the fullest pattern first."""
    places, every = Places(panels), panels.panels
    bare = places.row[places.cohort < 0]
    sizes = [*(len(panel) for panel in every), len(bare)]
    row = np.concatenate([*(panel.row for panel in every), bare])
    highest = np.concatenate([*(places.of(panel)[1] for panel in every), np.ones(len(bare), np.bool_)])
    cohort = np.repeat([*range(len(every)), -1], sizes)
    by_key = np.argsort(np.argsort([panel.key for panel in every]))
    priors = np.array([len(panel.pattern.priors) for panel in every])
    last = len(every)  # a line without a cohort is its row's only one
    order = np.lexsort((np.append(by_key, last)[cohort], -np.append(priors, 0)[cohort], ~highest, row))
    place = kept(np.argsort(order))
    starts = np.cumsum([0, *sizes])
    status = panels.current["status"]
    at = np.searchsorted(places.row, row[order])

    def all_of(number: int, _: Panel) -> tuple[IntArray, slice]:
        return place[starts[number] : starts[number + 1]], slice(None)

    return _Lines(kept(row[order]), kept(cohort[order]), pick(status, at), kept(highest[order]), all_of)


def _deviation(residual: FloatArray) -> float:
    """Return the SD of all residuals of a cohort, whichever cohort gives its students' results."""
    return float(residual.std(ddof=1)) if len(residual) > 1 else float("nan")


def _results(lines: _Lines, fitted: Sequence[Fitted], more: Mapping[str, pl.DataType]) -> Iterator[pl.Series]:
    """Yield the columns of results, one after the other."""
    panels = [one.panel for one in fitted]
    schema = _RESULTS | dict(more)
    scored = kept(lines.cohort >= 0)

    def values(name: str, of: Iterable[FloatArray | IntArray]) -> pl.Series:
        return numbers(name, lines.column(panels, of), scored, schema[name])

    def known(name: str, found: FloatArray) -> pl.Series:
        return numbers(name, found, kept(~np.isnan(found)), schema[name])

    yield lines.status.alias("status")
    yield pl.Series("highest", lines.highest)
    yield texts("cohort", lines.cohort, [panel.key for panel in panels])
    yield texts("norm_group", lines.cohort, [panel.norm_group for panel in panels])
    yield known("n_priors", lines.of_cohorts([len(panel.pattern.priors) for panel in panels]))
    yield known("residual_sd", lines.of_cohorts([_deviation(one.growth.residual) for one in fitted]))
    yield values("prior_score", (panel.priors[:, 0] for panel in panels))
    yield values("sgp", (one.growth.sgp for one in fitted))
    yield values("percentile", (one.growth.percentile for one in fitted))
    yield values("expected_score", (one.growth.expected for one in fitted))
    yield values("residual", (one.growth.residual for one in fitted))
    for name, part in (("sgp_se", "se"), ("sgp_low", "low"), ("sgp_high", "high")):
        yield known(name, lines.column(panels, (_interval(one, part) for one in fitted)))
    if "composition_se" in more:
        yield values("composition_se", (_composition_error(panel) for panel in panels))
    for name in set(_CORRECTED) & set(more):
        yield values(name, (_corrected(one, name) for one in fitted))


def _interval(one: Fitted, part: str) -> FloatArray:
    """Return a part of the uncertainty of the percentiles, NaN where it is not known."""
    unknown = np.full(len(one.panel), np.nan)
    return unknown if one.intervals is None else np.asarray(getattr(one.intervals, part))


def _composition_error(panel: Panel) -> FloatArray:
    assert panel.offset_se is not None
    return panel.offset_se


def _corrected(one: Fitted, name: str) -> FloatArray | IntArray:
    return {column.name: column.to_numpy() for column in corrected_columns(one.growth)}[name]


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
