"""What bears on school effects besides the group's own results of the year: gathered once for all units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.school.aggregates import Aggregates, Errors, aggregate
from growth.school.bands import stream_key
from growth.school.counted import composition_known
from growth.school.estimate import Beside, Prediction
from growth.school.groups import ALL
from growth.school.inputs import Inputs
from growth.school.prediction import Predictions, predict_units
from growth.school.resampling import bootstrap_errors
from growth.school.shrinkage import sgp_constant
from growth.school.summaries import Rows, summarise_rows
from growth.spec import GrowthSpec

__all__ = ["Besides", "aggregated", "composition_errors"]

_MEAN_SLOPE, _MEDIAN_SLOPE = 50.0 / np.sqrt(np.pi), 100.0 / np.sqrt(2.0 * np.pi)


@dataclass(frozen=True, slots=True, eq=False)
class Besides:
    """Of all U units, by group."""

    spec: GrowthSpec
    inputs: Inputs
    constants: Mapping[str, float]
    predicted: Predictions | None
    composed: FloatArray | None = None
    """Standard errors of what composition took out of the effects, shape (U,)."""

    @classmethod
    def of(cls, inputs: Inputs, spec: GrowthSpec) -> Besides:
        """Gather what the specification asks for."""
        rules = spec.school
        constants: dict[str, float] = {}
        if rules.shrinkage == "sgp":
            for group in inputs.groups:
                found = aggregated(inputs.rows.keep(group.members), ("sgp", group.label), spec)
                constants[group.label] = sgp_constant(found.effect, found.effect_se)
        wanted = rules.shrinkage == "eblp" and inputs.kind == "school"
        predicted = predict_units(inputs, spec) if wanted else None
        return cls(spec, inputs, constants, predicted, composition_errors(inputs, spec))

    @property
    def predictions(self) -> pl.DataFrame | None:
        """Return the frame of predictions, if there are any."""
        return None if self.predicted is None else self.predicted.frame

    def part(self, where: slice, block: tuple[int, str, str], labels: list[str]) -> dict[str, Beside]:
        """Return what bears on some units, by group."""
        return {label: self._beside(label, where, block) for label in labels}

    def _beside(self, label: str, where: slice, block: tuple[int, str, str]) -> Beside:
        rest = (
            None if label == ALL or self.spec.groups.shrink_towards != "school" else self._rest(label, where)
        )
        predicted = None
        if label == ALL and self.predicted is not None:
            whole = self.predicted
            predicted = Prediction(whole.effect[where], whole.error[where], whole.response[where])
        return Beside(
            rest=None if rest is None else aggregated(rest, stream_key(block, f"not {label}"), self.spec),
            constant=self.constants.get(label),
            predicted=predicted,
            composed=None if self.composed is None else self.composed[where],
        )

    def _rest(self, label: str, where: slice) -> Rows:
        """Return the results of students who are not in the group."""
        members = next(group.members for group in self.inputs.groups if group.label == label)
        return self.inputs.rows.part(where).keep(~members[self.inputs.lines(where)])


def composition_errors(inputs: Inputs, spec: GrowthSpec) -> FloatArray | None:
    """Return the standard errors of what composition took out of units' effects, shape (U,); None if nothing.

    A shift of all students by one SD of their residuals moves the mean of uniform percentiles by
    100 / (2 sqrt(pi)) = 28.2 points, their median by 100 / sqrt(2 pi) = 39.9. The errors of a unit's students
    (their subjects, years, schools) are taken as one and the same, which is not too small.
    """
    rows = inputs.counted.rows
    if not composition_known(spec) or not {"composition_se", "residual_sd"} <= set(rows.columns):
        return None
    size = len(inputs.rows.start) - 1
    weight, total = np.zeros(size), np.zeros(size)
    for _, where in inputs.placement.blocks():
        placed, units = inputs.rows.part(where), where.stop - where.start
        error = _shifts(inputs, inputs.placement.row[inputs.lines(where)], spec)
        weight[where] = np.bincount(placed.unit, weights=placed.weight, minlength=units)
        total[where] = np.bincount(placed.unit, weights=placed.weight * error, minlength=units)
    return np.asarray(np.divide(total, weight, out=np.zeros(size), where=weight > 0))


def _shifts(inputs: Inputs, results: IntArray, spec: GrowthSpec) -> FloatArray:
    """Return by how much effects move with the errors of some counted results, shape (R,)."""
    rows = inputs.counted.rows
    if spec.school.aggregate == "mean_residual":
        unit = 1.0 / inputs.scale[results]
    else:
        slope = _MEDIAN_SLOPE if spec.school.aggregate == "median" else _MEAN_SLOPE
        # Percentiles of a cohort whose residuals do not vary cannot be moved.
        sd = rows["residual_sd"].gather(results).cast(pl.Float64).fill_null(0.0).to_numpy()
        unit = np.divide(slope, sd, out=np.zeros(len(sd)), where=sd > 0)
    return rows["composition_se"].gather(results).cast(pl.Float64).fill_null(0.0).to_numpy() * unit


def aggregated(
    rows: Rows, key: tuple[object, ...], spec: GrowthSpec, errors: Errors | None = None
) -> Aggregates:
    """Return effects and errors of units; `key` names the stream of random numbers of a bootstrap."""
    rules = spec.school
    if errors is None and rules.standard_error == "bootstrap":
        errors = bootstrap_errors(rows, rules, key)
    return aggregate(summarise_rows(rows, rules), rules, errors)
