"""The second fit behind the fairness ledger: the same priors and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.mapped import filtered, numbers
from growth.panel import Panel, PanelSet, Places
from growth.pipeline.students import Fitted, corrected_columns
from growth.school import Ledger, fairness_ledger
from growth.school.counted import PERCENTILE_COLUMNS, columns_in_use
from growth.scratch import kept
from growth.spec import GrowthSpec, Intervals, Peers, Simex

__all__ = ["ledger", "plain_choices", "plain_panels", "without_peers"]

Fit = Callable[[Sequence[Panel], GrowthSpec], Sequence[Fitted]]


def without_peers(spec: GrowthSpec) -> GrowthSpec:
    """Return the specification that compares students on prior scores only.

    SIMEX is left out where schools are not built from it.
    """
    idle = {} if spec.school.percentile.startswith("simex") else {"simex": Simex()}
    return spec.model_copy(update={"peers": Peers(), **idle})


def plain_choices(spec: GrowthSpec) -> GrowthSpec:
    """Return the specification of the second fit: no peers, and no intervals, which nobody sees."""
    return without_peers(spec).model_copy(update={"intervals": Intervals(sources=())})


def plain_panels(panels: PanelSet, spec: GrowthSpec) -> tuple[Panel, ...]:
    """Return, stripped of covariates and composition, the cohorts that give a student's result.

    None where `spec` has no peer definition: the run's own fit is unadjusted then.
    """
    if spec.peers == Peers():
        return ()
    used = set(panels.current["highest"].drop_nulls().unique())
    return tuple(
        replace(panel, covariates=np.empty((len(panel), 0)), covariate_names=(), offset=None)
        for panel in panels.panels
        if panel.key in used
    )


def ledger(
    students: pl.DataFrame,
    panels: PanelSet,
    plain: Sequence[Fitted],
    effects: pl.DataFrame,
    spec: GrowthSpec,
) -> Ledger:
    """Return the fairness ledger of a run.

    Parameters
    ----------
    students : polars.DataFrame
        The students frame.
    panels : PanelSet
    plain : sequence of Fitted
        Of `plain_panels`.
    effects : polars.DataFrame
        Of `growth.student.compose`.
    spec : GrowthSpec
    """
    places = Places(panels)
    prior = places.column(panels.panels, (panel.priors[:, 0] for panel in panels.panels))
    continuous, integer, counted = _what_counts(spec)
    used = {*columns_in_use(counted), continuous, integer, *spec.peers.flags, *spec.peers.categories}
    results = students.select(name for name in students.columns if name in used)
    results = filtered(results, results["highest"]).with_columns(
        numbers("prior", prior, kept(~np.isnan(prior)), pl.Float64()),
        pl.col(continuous).alias("percentile"),
        pl.col(integer).alias("sgp"),
    )
    if not plain:
        return fairness_ledger(results, None, effects, counted)
    found = [_values_of(one) for one in plain]
    cohorts = [one.panel for one in plain]

    def unadjusted(name: str, column: str, dtype: pl.DataType) -> pl.Series:
        of_all = places.column(cohorts, (values[column] for values in found))
        return numbers(name, of_all, kept(~np.isnan(of_all)), dtype)

    plain_results = pl.DataFrame(
        [unadjusted("percentile", continuous, pl.Float64()), unadjusted("sgp", integer, pl.Int16())]
    )
    return fairness_ledger(results, plain_results, effects, counted)


def _what_counts(spec: GrowthSpec) -> tuple[str, str, GrowthSpec]:
    """Return the columns of the students' percentiles that schools are built from, continuous and integer.

    Beside them the specification that calls them `percentile` and `sgp`.
    """
    chosen = spec.school.percentile
    if not chosen.startswith("simex"):
        return "percentile", "sgp", spec
    column = PERCENTILE_COLUMNS[chosen]
    suffix = column.removeprefix("percentile").removeprefix("sgp")
    kind = "continuous" if column.startswith("percentile") else "integer"
    school = spec.school.model_copy(update={"percentile": kind})
    return f"percentile{suffix}", f"sgp{suffix}", spec.model_copy(update={"school": school})


def _values_of(one: Fitted) -> dict[str, FloatArray | IntArray]:
    """Return a cohort's percentiles by the columns of the students frame."""
    corrected = {column.name: column.to_numpy() for column in corrected_columns(one.growth)}
    return {"percentile": one.growth.percentile, "sgp": one.growth.sgp} | corrected
