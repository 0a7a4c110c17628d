"""What bears on school effects besides the group's own results of the year: gathered once for all units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from growth.school.aggregates import Aggregates, Errors, aggregate
from growth.school.bands import stream_key
from growth.school.estimate import Beside, Prediction
from growth.school.groups import ALL
from growth.school.inputs import Inputs
from growth.school.prediction import Predictions, predict_units
from growth.school.resampling import bootstrap_errors
from growth.school.shrinkage import sgp_constant
from growth.school.summaries import Rows, summarise_rows
from growth.spec import GrowthSpec

__all__ = ["Besides", "aggregated"]


@dataclass(frozen=True, slots=True, eq=False)
class Besides:
    """Of all U units, by group."""

    spec: GrowthSpec
    rests: Mapping[str, Rows]
    """Students who are not in the group."""
    constants: Mapping[str, float]
    predicted: Predictions | None

    @classmethod
    def of(cls, inputs: Inputs, spec: GrowthSpec) -> Besides:
        """Gather what the specification asks for."""
        rules = spec.school
        rests: dict[str, Rows] = {}
        if spec.groups.shrink_towards == "school":
            rests = {
                group.label: inputs.rows.keep(~group.members) for group in inputs.groups if group.label != ALL
            }
        constants: dict[str, float] = {}
        if rules.shrinkage == "sgp":
            for group in inputs.groups:
                found = aggregated(inputs.rows.keep(group.members), ("sgp", group.label), spec)
                constants[group.label] = sgp_constant(found.effect, found.effect_se)
        wanted = rules.shrinkage == "eblp" and inputs.kind == "school"
        return cls(spec, rests, constants, predict_units(inputs, spec) if wanted else None)

    @property
    def predictions(self) -> pl.DataFrame | None:
        """Return the frame of predictions, if there are any."""
        return None if self.predicted is None else self.predicted.frame

    def part(self, where: slice, block: tuple[int, str, str], labels: list[str]) -> dict[str, Beside]:
        """Return what bears on some units, by group."""
        return {label: self._beside(label, where, block) for label in labels}

    def _beside(self, label: str, where: slice, block: tuple[int, str, str]) -> Beside:
        rest = self.rests.get(label)
        predicted = None
        if label == ALL and self.predicted is not None:
            whole = self.predicted
            predicted = Prediction(whole.effect[where], whole.error[where], whole.response[where])
        return Beside(
            rest=None
            if rest is None
            else aggregated(rest.part(where), stream_key(block, f"not {label}"), self.spec),
            constant=self.constants.get(label),
            predicted=predicted,
        )


def aggregated(
    rows: Rows, key: tuple[object, ...], spec: GrowthSpec, errors: Errors | None = None
) -> Aggregates:
    """Return effects and errors of units; `key` names the stream of random numbers of a bootstrap."""
    rules = spec.school
    if errors is None and rules.standard_error == "bootstrap":
        errors = bootstrap_errors(rows, rules, key)
    return aggregate(summarise_rows(rows, rules), rules, errors)
