"""The cohorts of a stored run, formed again from its table and met by the models that the run kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from growth.errors import TableError, problem
from growth.panel import CallerFrame, CsemFunction, Panel, StudentTable, build_panels, read_table
from growth.pipeline import GrowthRun
from growth.spec import GrowthSpec, Simex
from growth.student import FrozenCohort, StudentGrowth, compose, student_growth

__all__ = ["Met", "Reformed", "reform"]


@dataclass(frozen=True, slots=True, eq=False)
class Met:
    """A cohort formed again, its stored model, and where that puts its students."""

    panel: Panel
    model: FrozenCohort
    spec: GrowthSpec

    @property
    def fitted_here(self) -> bool:
        """Whether the model was fitted to these students and not to those of a base year."""
        return self.model.year == self.panel.year and self.model.n == len(self.panel)

    def growth(self) -> StudentGrowth:
        """Place the students on the stored model, without SIMEX."""
        return student_growth(self.panel, self.spec, frozen=self.model, n_jobs=1)


@dataclass(frozen=True, slots=True, eq=False)
class Reformed:
    """A run's table and cohorts."""

    table: StudentTable
    cohorts: tuple[Met, ...]
    lost: tuple[str, ...]
    """Cohorts of the table that the run has no model of."""

    def __iter__(self) -> Iterator[Met]:
        return iter(self.cohorts)


def reform(
    run: GrowthRun,
    table: StudentTable | CallerFrame | str | Path | Reformed,
    *,
    csem: CsemFunction | None = None,
) -> Reformed:
    """Read the table of a run again, form its cohorts, and find each one's stored model.

    What it returned for the same run is handed back as it is: several questions need it once.

    Raises
    ------
    TableError
        If it is not the table that the run was made from.
    """
    if isinstance(table, Reformed):
        return table
    source = table if isinstance(table, StudentTable) else read_table(table, run.spec)
    if source.digest != run.manifest["input"]["sha256"]:
        raise TableError(
            problem(
                f"The table has SHA-256 {source.digest[:12]}..., the run's input "
                f"{run.manifest['input']['sha256'][:12]}...",
                rule="a run is explained by the table that it was made from",
                fix="give that table, as the file or the kind of frame that it was",
            )
        )
    panels = build_panels(source, run.spec, csem=csem)
    with threadpool_limits(limits=1, user_api="blas"):
        frozen = run.curves if _from_bundle(run) else None
        panels = compose(panels, run.spec, frozen).panels
    spec = run.spec.model_copy(update={"simex": Simex()})
    models = {(model.year, model.key): model for model in run.curves.cohorts}
    base = int((run.manifest.get("freeze") or {}).get("base_year", 0))
    met, lost = [], []
    for panel in panels.panels:
        key = panel.subject, panel.grade, panel.pattern
        model = models.get((panel.year, key)) or models.get((base, key))
        if model is None:
            lost.append(panel.key)
        else:
            met.append(Met(panel, model, spec))
    return Reformed(source, tuple(met), tuple(lost))


def _from_bundle(run: GrowthRun) -> bool:
    given: Any = run.manifest.get("freeze") or {}
    return "curves" in given.get("parts", ())
