"""Everything that school results are computed from, ready for one pass or for many."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from growth._types import BoolArray, FloatArray
from growth.school.counted import Counted, count_results, effect_values
from growth.school.enrolment import Enrolment
from growth.school.groups import ALL, Group, groups_of
from growth.school.placement import Kind, Placement, place_results
from growth.school.summaries import Rows
from growth.scratch import kept_at
from growth.spec import GrowthSpec

__all__ = ["Inputs", "school_inputs"]


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Counted results, the units they make up, and the groups they belong to."""

    kind: Kind
    counted: Counted
    placement: Placement
    rows: Rows
    groups: tuple[Group, ...]
    """Members among the placed rows; ``All`` first."""
    scale: FloatArray
    """What residuals of the counted results were divided by, shape (n,)."""

    def lines(self, units: slice) -> slice:
        """Return the placed rows of some units."""
        return slice(int(self.placement.start[units.start]), int(self.placement.start[units.stop]))

    def members(self, units: slice) -> dict[str, BoolArray]:
        """Return the members among the placed rows of some units, of ``All`` and the groups that have any."""
        lines = self.lines(units)
        found = {group.label: group.members[lines] for group in self.groups}
        return {label: members for label, members in found.items() if label == ALL or members.any()}


def school_inputs(
    students: pl.DataFrame, spec: GrowthSpec, kind: Kind = "school", enrolment: Enrolment | None = None
) -> Inputs:
    """Count results, place them and find the groups; raises as `school_growth` does."""
    counted = count_results(students, spec, enrolment)
    placement = place_results(counted, spec, kind, enrolment)
    value, scale = effect_values(counted, spec)
    rows = Rows(
        kept_at(counted.value, placement.row),
        kept_at(value, placement.row),
        placement.weight,
        placement.student,
        placement.start,
    )
    groups = tuple(
        Group(group.label, kept_at(group.members, placement.row)) for group in groups_of(counted.rows, spec)
    )
    return Inputs(kind, counted, placement, rows, groups, scale)
