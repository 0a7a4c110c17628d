"""Areas of need: the metrics in which a school is low, and who can help with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import ColumnError, did_you_mean, problem
from growth.index.similarity import Space
from growth.spec.pairing import Pairing

__all__ = ["Needs", "read_needs", "shared", "unmet"]


@dataclass(frozen=True, slots=True, eq=False)
class Needs:
    """What J schools need and what they are strong in, by area."""

    areas: tuple[str, ...]
    low: BoolArray
    """Shape (J, areas)."""
    strong: BoolArray
    """Shape (J, areas)."""

    def names(self, school: int) -> list[str]:
        """Return a school's areas of need."""
        return [area for area, low in zip(self.areas, self.low[school], strict=True) if low]


def read_needs(needs: pl.DataFrame | None, space: Space, rules: Pairing) -> Needs:
    """Return the needs of the schools of a space, in its order; none at all without a table.

    Raises
    ------
    ColumnError
        If a column is missing, or a school has two levels in an area.
    """
    schools = len(space)
    if needs is None:
        nothing = np.zeros((schools, 0), dtype=np.bool_)
        return Needs((), nothing, nothing)
    for column in ("school_id", "need", "level"):
        if column not in needs.columns:
            what = (
                f"Column {column!r} is missing from the table of needs{did_you_mean(column, needs.columns)}"
            )
            raise ColumnError(problem(what, rule="it has school_id, need and level", fix="add it"))
    twice = int(needs.select("school_id", "need").is_duplicated().sum())
    if twice:
        what = "Schools have several levels in one area of need"
        raise ColumnError(problem(what, rule="one each", rows=twice, fix="choose one year and group"))
    areas = needs["need"].drop_nulls().unique().sort().to_list()
    place = {school: at for at, school in enumerate(space.ids)}
    level = np.full((schools, len(areas)), np.nan)
    column_of = {area: at for at, area in enumerate(areas)}
    for school, area, value in needs.select("school_id", "need", "level").drop_nulls().iter_rows():
        if school in place:
            level[place[school], column_of[area]] = value
    return Needs(tuple(areas), level <= rules.need_level, level >= rules.strong_level)


def unmet(needs: Needs, rows: IntArray, columns: IntArray) -> FloatArray:
    """Return the share of each row school's needs that the column school is not strong in; 0 without any."""
    low = needs.low[rows].astype(np.float64)
    helped = low @ needs.strong[columns].T.astype(np.float64)
    count = low.sum(axis=1, keepdims=True)
    return np.asarray(np.where(count > 0, (count - helped) / np.maximum(count, 1.0), 0.0))


def shared(needs: Needs, rows: IntArray) -> FloatArray:
    """Return the Jaccard similarity of needs, shape (n, n); 1 for two schools without needs."""
    low = needs.low[rows].astype(np.float64)
    both = low @ low.T
    count = low.sum(axis=1)
    either = count[:, None] + count[None, :] - both
    return np.asarray(np.where(either > 0, both / np.maximum(either, 1.0), 1.0))
