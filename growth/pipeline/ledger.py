"""The second fit behind the fairness ledger: the same priors and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from growth.panel import Panel, PanelSet
from growth.pipeline.students import Fitted, corrected_columns
from growth.school import Ledger, fairness_ledger
from growth.school.counted import PERCENTILE_COLUMNS
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
    current = panels.current.sort("row")
    priors = [_members(p, pl.Series("prior", np.ascontiguousarray(p.priors[:, 0]))) for p in panels.panels]
    with_prior = current.join(pl.concat(priors), on=["row", "highest"], how="left", maintain_order="left")
    continuous, integer, counted = _what_counts(spec)
    results = students.filter("highest").with_columns(
        with_prior["prior"], pl.col(continuous).alias("percentile"), pl.col(integer).alias("sgp")
    )
    if not plain:
        return fairness_ledger(results, None, effects, counted)
    found = [
        _members(
            one.panel,
            pl.Series("percentile", one.growth.percentile),
            pl.Series("sgp", one.growth.sgp).cast(pl.Int16),
            *corrected_columns(one.growth),
        ).with_columns(pl.col(continuous).alias("percentile"), pl.col(integer).alias("sgp"))
        for one in plain
    ]
    unadjusted = current.join(pl.concat(found), on=["row", "highest"], how="left", maintain_order="left")
    return fairness_ledger(results, unadjusted, effects, counted)


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


def _members(panel: Panel, *values: pl.Series) -> pl.DataFrame:
    return pl.DataFrame([pl.Series("row", panel.row), *values]).with_columns(
        pl.lit(panel.key).alias("highest")
    )
