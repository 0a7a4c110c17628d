"""EBLP for the results of a run: which blocks are modelled together, and what each school gets from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import ColumnError, problem
from growth.school.eblp import Eblp, EblpOptions, StudentBlocks, Target, eblp
from growth.school.inputs import Inputs
from growth.spec import GrowthSpec

__all__ = ["Predictions", "predict_units"]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Predictions of U units (a school in a year and subject)."""

    frame: pl.DataFrame
    """Columns as in `growth.school.columns.PREDICTIONS`. Null where n is below ``school.min_n``, or the
    students of the year itself are fewer: means over several years would tell theirs, by subtraction."""
    effect: FloatArray
    """What is used, shape (U,); NaN without students."""
    error: FloatArray
    """Its root mean squared error, shape (U,)."""
    response: FloatArray
    """By how much it moves with the mean of the students that it is about, shape (U,)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Blocks:
    """Rows coded by student, school and block (year x grade x subject)."""

    rows: StudentBlocks
    keys: pl.DataFrame
    """grade, year, subject of each block, sorted."""
    schools: IntArray
    """School of each unit, shape (U,)."""
    target: BoolArray
    """Whether a block belongs to what a unit is about, shape (U, B)."""


def predict_units(inputs: Inputs, spec: GrowthSpec) -> Predictions:
    """Predict the results of schools for all students from all their years, grades and subjects.

    Blocks with fewer than ``min_block`` students are left as observed. The others are modelled together as
    long as every two of them are seen in at least ``min_schools`` schools, lower grades first: in a system
    of elementary and middle schools these are two models. Where a school has grades in several, its result
    is the mean over them weighted by students, and their errors count as independent.

    Raises
    ------
    ColumnError
        If the grade of a counted result is missing.
    """
    coded = _coded(inputs, spec)
    rows = coded.rows
    size = np.bincount(rows.block, minlength=rows.blocks)
    seen = np.zeros((rows.schools, rows.blocks), np.bool_)
    seen[rows.school, rows.block] = True
    modelled = np.flatnonzero(size >= spec.school.eblp.min_block)
    sums = _Sums.empty(len(coded.schools))
    left = np.ones(rows.blocks, np.bool_)
    for members in _sets(seen, modelled, spec.school.eblp.min_schools):
        if len(members) > 1:
            left[members] = False
            sums = sums + _model(coded, members, spec)
    return _finished(sums + _observed(coded, left), inputs, spec)


def _coded(inputs: Inputs, spec: GrowthSpec) -> _Blocks:
    placement, counted = inputs.placement, inputs.counted.rows
    missing = "grade" not in counted.columns or bool(counted["grade"].null_count())
    if missing:
        raise ColumnError(
            problem(
                "Column 'grade' is missing or has blanks",
                rule='school.shrinkage = "eblp" models results by year, grade and subject',
                fix="give the students frame of growth.run as it is",
            )
        )
    keys = counted.select("grade", "year", "subject")
    blocks = keys.unique().sort("grade", "year", "subject")
    of_row = keys.join(
        blocks.with_row_index("_block"), on=["grade", "year", "subject"], how="left", maintain_order="left"
    )["_block"]
    units = placement.units
    names, schools = np.unique(units["school_id"].cast(pl.String).to_numpy(), return_inverse=True)
    unit = np.repeat(np.arange(units.height), np.diff(placement.start))
    year, subject = blocks["year"].to_numpy(), blocks["subject"].to_numpy()
    of_unit = units["year"].to_numpy()[:, None]
    in_time = year == of_unit if spec.school.eblp.target == "latest" else year <= of_unit
    return _Blocks(
        rows=StudentBlocks(
            student=placement.student,
            school=schools[unit].astype(np.int64),
            block=of_row.cast(pl.Int64).to_numpy()[placement.row],
            value=inputs.rows.value,
            schools=len(names),
            blocks=blocks.height,
        ),
        keys=blocks,
        schools=schools.astype(np.int64),
        target=in_time & (subject == units["subject"].to_numpy()[:, None]),
    )


def _sets(seen: BoolArray, blocks: IntArray, least: int) -> list[IntArray]:
    """Return sets of blocks, in their order, of which every two are seen in at least `least` schools."""
    counts = seen.astype(np.float64)
    both = counts.T @ counts
    found: list[list[int]] = []
    for b in blocks.tolist():
        home = next((members for members in found if (both[b, members] >= least).all()), None)
        if home is None:
            found.append([b])
        else:
            home.append(b)
    return [np.array(members) for members in found]


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Sums over the sets of blocks, weighted by students; each array of shape (U,)."""

    n: FloatArray
    direct: FloatArray
    direct_mse: FloatArray
    blp: FloatArray
    blp_mse: FloatArray
    used: FloatArray
    used_mse: FloatArray
    response: FloatArray
    """Of what is used to the students' mean."""
    n_blp: FloatArray
    """Students in sets whose prediction is used."""

    @classmethod
    def empty(cls, units: int) -> _Sums:
        return cls(*(np.zeros(units) for _ in cls.__slots__))

    @classmethod
    def of(cls, n: FloatArray, direct: _Pair, blp: _Pair, response: FloatArray) -> _Sums:
        """Weigh means and mean squared errors by n; units without students add nothing."""
        better = blp[1] < direct[1]
        used = (np.where(better, blp[0], direct[0]), np.where(better, blp[1], direct[1]))
        sums = [
            np.where(n > 0, power * values, 0.0)
            for pair in (direct, blp, used)
            for power, values in zip((n, n**2), pair, strict=True)
        ]
        moves = np.where(n > 0, n * np.where(better, response, 1.0), 0.0)
        return cls(*[n, *sums, moves, np.where(better, n, 0.0)])

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


_Pair = tuple[FloatArray, FloatArray]
"""Means and their mean squared errors."""


def _model(coded: _Blocks, members: IntArray, spec: GrowthSpec) -> _Sums:
    rows, rules = coded.rows, spec.school.eblp
    place = np.full(rows.blocks, -1)
    place[members] = np.arange(len(members))
    inside = place[rows.block] >= 0
    students = StudentBlocks(
        rows.student[inside],
        rows.school[inside],
        place[rows.block[inside]],
        rows.value[inside],
        rows.schools,
        len(members),
    )
    wanted = coded.target[:, members]
    patterns, of_unit = np.unique(wanted, axis=0, return_inverse=True)
    asked = np.flatnonzero(patterns.any(axis=1))
    targets = {str(k): Target(tuple(np.flatnonzero(patterns[k]).tolist())) for k in asked}
    options = EblpOptions(jackknife=rules.jackknife, seed=spec.school.seed)
    found = eblp(students, targets, options)
    column = np.full(len(patterns), -1)
    column[asked] = np.arange(len(asked))
    return _taken(found, wanted, coded.schools, column[of_unit])


def _taken(found: Eblp, wanted: BoolArray, schools: IntArray, target: IntArray) -> _Sums:
    """Return what each unit takes from a model: its school's row, its target's column."""
    predicted, has = found.predicted, target >= 0
    n = np.where(has, np.where(wanted, found.means.size[schools], 0).sum(axis=1), 0).astype(np.float64)

    def of(values: FloatArray) -> FloatArray:
        return np.asarray(values[schools, target])

    return _Sums.of(
        n,
        (of(predicted.direct), of(predicted.direct_mse)),
        (of(predicted.target), of(predicted.target_mse)),
        of(predicted.response),
    )


def _observed(coded: _Blocks, left: BoolArray) -> _Sums:
    """Return means of students in blocks that no model has, with the variance within schools and blocks."""
    rows = coded.rows
    shape = (rows.schools, rows.blocks)
    place = rows.school * rows.blocks + rows.block
    length = rows.schools * rows.blocks
    count = np.bincount(place, minlength=length)
    total = np.bincount(place, rows.value, length)
    mean = total / np.maximum(count, 1)
    freedom = len(place) - np.count_nonzero(count)
    variance = float(((rows.value - mean[place]) ** 2).sum() / freedom) if freedom else np.nan
    wanted = coded.target & left
    n = np.where(wanted, count.reshape(shape)[coded.schools], 0).sum(axis=1).astype(np.float64)
    sums = np.where(wanted, total.reshape(shape)[coded.schools], 0.0).sum(axis=1)
    some = np.maximum(n, 1.0)
    direct = (sums / some, variance / some)
    return _Sums.of(n, direct, direct, np.ones_like(n))


def _finished(sums: _Sums, inputs: Inputs, spec: GrowthSpec) -> Predictions:
    none = sums.n == 0
    n = np.where(none, np.nan, sums.n)
    direct_mse, blp_mse, used_mse = (x / n**2 for x in (sums.direct_mse, sums.blp_mse, sums.used_mse))
    how = np.where(sums.n_blp == 0, "direct", np.where(sums.n_blp == sums.n, "blp", "both"))
    columns = {
        "direct": sums.direct / n,
        "direct_se": np.sqrt(direct_mse),
        "blp": sums.blp / n,
        "blp_se": np.sqrt(blp_mse),
        "prmse": 1.0 - blp_mse / direct_mse,
    }
    of_year = pl.Series(np.diff(inputs.placement.start))
    shown = (pl.col("n") >= spec.school.min_n) & (of_year >= spec.school.min_n)
    frame = inputs.placement.units.select("year", "subject", "school_id").with_columns(
        pl.Series("n", sums.n.astype(np.int64)),
        *(pl.Series(name, values).fill_nan(None) for name, values in columns.items()),
        pl.Series("used", how),
    )
    frame = frame.with_columns(pl.when(shown).then(pl.col(name)).alias(name) for name in (*columns, "used"))
    return Predictions(frame, sums.used / n, np.sqrt(used_mse), sums.response / n)
