"""Where a run looks before it computes a stage.

A stage depends on some parts of the specification and not on others. `narrowed` puts the others back to their
defaults: a shelf that remembers hands a stage the narrowed specification and remembers by it, so that nothing
the result depends on can be missing from its key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

from growth.panel import Panel
from growth.pipeline.students import Fitted
from growth.spec import GrowthSpec, Peers, School

__all__ = ["Shelf", "Stage", "narrowed"]

T = TypeVar("T")
Stage: TypeAlias = Literal["table", "panels", "composition", "cohort", "schools"]

_ALWAYS = ("name", "index", "pairing")
_AFTER_PANELS = ("quantiles", "simex", "correction", "intervals", "levels", "school", "groups")
_IDLE: Mapping[Stage, tuple[str, ...]] = {
    "table": ("cohorts", "basis", "quantiles", "student", "simex", "correction", "intervals", "levels"),
    "panels": (*_AFTER_PANELS, "student"),
    "composition": _AFTER_PANELS,
    "cohort": ("columns", "scale", "cohorts", "school", "groups", "levels"),
    "schools": (),
}
"""Parts of the specification that a stage does not look at; a part that is not named here counts."""
_READ = ("share", "enrolled_only", "districts", "span_column", "by_span", "norms_by")
"""Choices of the part `school` that say which columns a table must have."""


class Shelf:
    """Keeps nothing: every stage is computed, with the whole specification."""

    keeps_models: bool = True
    """Whether cohorts come with their models, to be frozen."""

    def stage(self, name: Stage, spec: GrowthSpec, make: Callable[[GrowthSpec], T]) -> T:
        """Return the result of a stage of a run on one table: `make` of the specification."""
        return make(spec)

    def keeps(self, panel: Panel, spec: GrowthSpec) -> bool:
        """Return whether a cohort is there already and outlives this process."""
        return False

    def cohort(self, panel: Panel, spec: GrowthSpec, make: Callable[[GrowthSpec], Fitted]) -> Fitted:
        """Return a cohort's growth: `make` of the specification."""
        return make(spec)

    def part(self, kind: str, digest: str, make: Callable[[], T]) -> T:
        """Return one of many equal parts of a stage: `make()`. The digest is of all that it depends on."""
        return make()


def narrowed(name: Stage, spec: GrowthSpec) -> GrowthSpec:
    """Return the specification with the parts that a stage does not look at as they are by default."""
    plain = GrowthSpec()
    changes: dict[str, Any] = {part: getattr(plain, part) for part in (*_ALWAYS, *_IDLE[name])}
    if name == "table":
        kept = {choice: getattr(spec.school, choice) for choice in _READ}
        changes["school"] = School().model_copy(update=kept)
    if name == "panels":
        changes["basis"] = plain.basis.model_copy(update={"knots_from": spec.basis.knots_from})
    if name == "cohort":
        changes["peers"] = Peers().model_copy(update={"composition": spec.peers.composition})
    return spec.model_copy(update=changes)
