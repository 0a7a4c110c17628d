"""The second fit behind the fairness ledger: the same priors and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from growth.panel import Panel, PanelSet
from growth.pipeline.students import Fitted
from growth.school import Ledger, fairness_ledger
from growth.spec import GrowthSpec, Peers

__all__ = ["ledger", "plain_panels", "without_peers"]

Fit = Callable[[Sequence[Panel], GrowthSpec], Sequence[Fitted]]


def without_peers(spec: GrowthSpec) -> GrowthSpec:
    """Return the specification that compares students on prior scores only."""
    return spec.model_copy(update={"peers": Peers()})


def plain_panels(panels: PanelSet, spec: GrowthSpec) -> tuple[Panel, ...]:
    """Return, stripped of covariates and composition, the cohorts that give a student's result.

    None where `spec` has no peer definition: the run's own fit is unadjusted then.
    """
    if without_peers(spec) == spec:
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
    results = students.filter("highest").with_columns(with_prior["prior"])
    if not plain:
        return fairness_ledger(results, None, effects, spec)
    found = [
        _members(
            one.panel,
            pl.Series("percentile", one.growth.percentile),
            pl.Series("sgp", one.growth.sgp).cast(pl.Int16),
        )
        for one in plain
    ]
    unadjusted = current.join(pl.concat(found), on=["row", "highest"], how="left", maintain_order="left")
    return fairness_ledger(results, unadjusted, effects, spec)


def _members(panel: Panel, *values: pl.Series) -> pl.DataFrame:
    return pl.DataFrame([pl.Series("row", panel.row), *values]).with_columns(
        pl.lit(panel.key).alias("highest")
    )
