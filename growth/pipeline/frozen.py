"""A bundle meets a later year: which cohort takes which frozen model, and what is kept of this year's run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from growth.errors import CohortError, SpecError, problem
from growth.panel import Panel
from growth.pipeline.students import Fitted
from growth.spec import GrowthSpec
from growth.student import CohortKey, Composed, FrozenCohort, FrozenCurves, frozen_cohort

__all__ = ["Known", "kept_curves", "known_models", "require_freezable"]

Known: TypeAlias = Mapping[str, FrozenCohort]
"""Key of a panel -> the frozen model that it takes."""

_LISTED = 5


def known_models(
    panels: Sequence[Panel], models: Mapping[CohortKey, FrozenCohort], spec: GrowthSpec, base_year: int
) -> Known:
    """Return the model of each panel that has one.

    Raises
    ------
    CohortError
        If a panel has none and ``freeze.missing`` is ``"error"``.
    """
    found: dict[str, FrozenCohort] = {}
    lacking: dict[str, int] = {}
    for panel in panels:
        model = models.get((panel.subject, panel.grade, panel.pattern))
        if model is not None and not model.unknown(panel):
            found[panel.key] = model
        else:
            unknown = [] if model is None else model.unknown(panel)
            lacking[panel.key + (f" (columns {', '.join(unknown)})" if unknown else "")] = len(panel)
    if lacking and spec.freeze.missing == "error":
        names = list(lacking)
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        raise CohortError(
            problem(
                f"The bundle of {base_year} has no curves for {', '.join(names[:_LISTED])}{more}",
                rule="every cohort has a frozen model of its subject, grade and prior pattern",
                rows=sum(lacking.values()),
                fix='set freeze.missing = "refit" to fit such cohorts on their own students, or leave them '
                "out with cohorts.grades, cohorts.subjects or cohorts.min_cohort",
            )
        )
    return found


def kept_curves(
    fitted: Sequence[Fitted], bare: Sequence[Fitted], composed: Composed, spec: GrowthSpec
) -> FrozenCurves:
    """Return the models of a run's cohorts; frozen ones as they were."""
    engine = spec.student.engine

    def kept(one: Fitted) -> FrozenCohort:
        return one.frozen or frozen_cohort(one.panel, one.growth, engine, composed.makeups.get(one.panel.key))

    return FrozenCurves(tuple(map(kept, fitted)), tuple(map(kept, bare)), composed.lines)


def require_freezable(spec: GrowthSpec) -> None:
    """Refuse to freeze curves that could not be applied to another year.

    Raises
    ------
    SpecError
        If a category has no reference level that all years share, or curves are corrected by SIMEX, which
        refits every cohort at hand.
    """
    if spec.simex.use != "none":
        raise SpecError(
            problem(
                "Curves cannot be frozen with SIMEX, which refits every cohort at hand",
                fix='freeze norms and cuts only, or set simex.use = "none"',
            )
        )
    loose = [name for name in spec.peers.categories if name not in spec.peers.reference]
    if loose:
        raise SpecError(
            problem(
                f"Curves with the categories {', '.join(loose)} cannot be frozen: each cohort has its own "
                "reference level",
                rule="a column means the same in every year",
                fix="name the levels in peers.reference and run again, or freeze norms and cuts only",
            )
        )
