"""Levels 1-10 on cut points that are set once and kept.

Intervals are closed on the left and open on the right, and 100 belongs to level 10: a percentile on a cut
point has the higher level. A level is defined for a school growth percentile only: school *mean* percentiles
lie between about 30 and 70 and would never reach the outer levels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl

from growth._types import FloatArray
from growth.errors import ColumnError, SpecError, TableError, did_you_mean, problem
from growth.measures import SchoolGrowthPercentile, require
from growth.school.groups import ALL
from growth.spec import GrowthSpec

__all__ = ["LEVELS", "LevelArray", "LevelCuts", "assign_levels", "level_cuts", "level_table"]

LEVELS = 10
TENS = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0)
TIE_RULE = "right-open, 100 in level 10"

Rule: TypeAlias = Literal["fixed_tens", "base_deciles"]
LevelArray: TypeAlias = np.ma.MaskedArray[tuple[int, ...], np.dtype[np.int8]]
"""Levels 1-10, masked where there is no growth percentile."""

_KEEP = "use the dictionary that LevelCuts.to_dict() wrote, unchanged"
_IN = ("year", "subject", "group", "school_id", "growth_percentile", "reason")
_OUT = ("year", "subject", "group", "school_id", "growth_percentile", "level", "reason")


@dataclass(frozen=True, slots=True)
class LevelCuts:
    """Cut points of one base year, to be kept for later years."""

    cuts: Mapping[str, tuple[float, ...]]
    """subject -> lower bounds of levels 2, 3, ..., 10 [school growth percentile, 0-100]."""
    rule: Rule
    base_year: int | None = None
    """Year of the schools that set the cut points; none for fixed tens."""
    tie_rule: str = TIE_RULE

    def __post_init__(self) -> None:
        cuts = {str(subject): tuple(float(x) for x in points) for subject, points in self.cuts.items()}
        for subject, points in cuts.items():
            rising = all(a <= b for a, b in pairwise((0.0, *points, 100.0)))
            if len(points) != LEVELS - 1 or not rising:
                rule = f"{LEVELS - 1} numbers from 0 to 100 that do not decrease"
                raise SpecError(problem(f"Cut points of {subject} are not usable", rule=rule, fix=_KEEP))
        if self.rule not in ("fixed_tens", "base_deciles") or self.tie_rule != TIE_RULE:
            what = f"Cut points with rule {self.rule!r} and tie rule {self.tie_rule!r} are not known"
            raise SpecError(problem(what, rule=f"fixed_tens or base_deciles, {TIE_RULE!r}", fix=_KEEP))
        object.__setattr__(self, "cuts", cuts)

    def __repr__(self) -> str:
        year = "" if self.base_year is None else f", base year {self.base_year}"
        lines = [f"  {name}: {' '.join(f'{x:g}' for x in points)}" for name, points in self.cuts.items()]
        return "\n".join(
            [f"LevelCuts({self.rule}{year}, {self.tie_rule}, digest {self.digest[:12]}", *lines, ")"]
        )

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides a level."""
        return hashlib.sha256(json.dumps(self._plain(), sort_keys=True).encode()).hexdigest()

    @property
    def points(self) -> dict[str, FloatArray]:
        """Cut points by subject, each of shape (9,)."""
        return {subject: np.array(points) for subject, points in self.cuts.items()}

    def of(self, subject: str) -> FloatArray:
        """Return the cut points of a subject, shape (9,).

        Raises
        ------
        SpecError
            If there are none.
        """
        if subject not in self.cuts:
            what = f"There are no cut points for {subject!r}{did_you_mean(subject, self.cuts)}"
            rule = f"they were set for {', '.join(self.cuts) or 'no subject'}"
            raise SpecError(problem(what, rule=rule, fix="set cut points that include this subject"))
        return np.array(self.cuts[subject])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with the digest."""
        return {**self._plain(), "digest": self.digest}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LevelCuts:
        """Restore cut points.

        Raises
        ------
        SpecError
            If a part is missing or impossible, or was changed since it was written.
        """
        try:
            cuts = cls(
                {subject: tuple(points) for subject, points in data["cuts"].items()},
                data["rule"],
                None if data["base_year"] is None else int(data["base_year"]),
                data["tie_rule"],
            )
            digest = data["digest"]
        except SpecError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SpecError(problem(f"The cut points cannot be read: {error!r}", fix=_KEEP)) from None
        if digest != cuts.digest:
            rule = "cut points are kept as they were set"
            raise SpecError(problem("The cut points do not match their digest", rule=rule, fix=_KEEP))
        return cuts

    def _plain(self) -> dict[str, Any]:
        return {
            "cuts": {subject: list(points) for subject, points in self.cuts.items()},
            "rule": self.rule,
            "base_year": self.base_year,
            "tie_rule": self.tie_rule,
        }


def level_cuts(spec: GrowthSpec, schools: pl.DataFrame, *, base_year: int | None = None) -> LevelCuts:
    """Set the cut points.

    ``fixed_tens``: 10, 20, ..., 90 for every subject. ``base_deciles``: deciles (linear interpolation) of the
    growth percentiles of the base year's schools, all students.

    Parameters
    ----------
    spec : GrowthSpec
        ``spec.levels.rule``.
    schools : polars.DataFrame
        Schools frame: year, subject, group, growth_percentile.
    base_year : int, optional
        The year that sets deciles; by default the first in `schools`.

    Raises
    ------
    TableError
        If a subject has fewer than ten schools with a result in the base year.
    """
    _require(schools, ("year", "subject", "group", "growth_percentile"))
    subjects = schools["subject"].unique().sort().to_list()
    if spec.levels.rule == "fixed_tens":
        return LevelCuts(dict.fromkeys(subjects, TENS), "fixed_tens")
    if base_year is None and schools.height:
        base_year = schools.select(pl.col("year").min()).item()
    base = schools.filter(
        pl.col("group") == ALL,
        pl.col("year").eq_missing(base_year),
        pl.col("growth_percentile").is_not_null(),
    )
    return LevelCuts({subject: _deciles(base, subject) for subject in subjects}, "base_deciles", base_year)


def assign_levels(growth_percentile: SchoolGrowthPercentile, cuts: LevelCuts, *, subject: str) -> LevelArray:
    """Return the level of each school growth percentile.

    Parameters
    ----------
    growth_percentile : SchoolGrowthPercentile
        Shape (J,). Any other kind of percentile is refused.
    cuts : LevelCuts
        This year's or a base year's.
    subject : str
        Whose cut points.

    Returns
    -------
    masked array of int8, shape (J,)
        1-10; masked where the percentile is NaN.

    Raises
    ------
    MeasureError
        If `growth_percentile` is a mean, a student's percentile, or a bare array.
    SpecError
        If there are no cut points for `subject`.
    """
    values = require(SchoolGrowthPercentile, growth_percentile, "A level").values
    levels = 1 + np.searchsorted(cuts.of(subject), values, side="right")
    return np.ma.masked_array(levels.astype(np.int8), mask=np.isnan(values))


def level_table(schools: pl.DataFrame, cuts: LevelCuts) -> pl.DataFrame:
    """Return the levels frame: year, subject, group, school_id, growth_percentile, level, reason.

    Groups are placed on the cut points of all students. `level` (1-10) is null where the result is withheld.

    Raises
    ------
    SpecError
        If a subject has no cut points.
    """
    _require(schools, _IN)
    rows = schools.select(_IN).with_row_index("_row")
    parts = [_leveled(part, cuts) for part in rows.partition_by("subject", maintain_order=True)]
    if not parts:
        return rows.with_columns(pl.lit(None, dtype=pl.Int8).alias("level")).select(_OUT)
    return pl.concat(parts).sort("_row").select(_OUT)


def _leveled(rows: pl.DataFrame, cuts: LevelCuts) -> pl.DataFrame:
    ranks = SchoolGrowthPercentile(rows["growth_percentile"].cast(pl.Float64).fill_null(np.nan).to_numpy())
    levels = assign_levels(ranks, cuts, subject=rows["subject"][0])
    return rows.with_columns(pl.Series("level", levels.tolist(), dtype=pl.Int8))


def _deciles(base: pl.DataFrame, subject: str) -> tuple[float, ...]:
    values = base.filter(pl.col("subject") == subject)["growth_percentile"].to_numpy()
    if len(values) < LEVELS:
        raise TableError(
            problem(
                f"Deciles of {subject} cannot be set: {len(values)} schools have a result in the base year",
                rule=f"at least {LEVELS} schools",
                fix='use levels.rule = "fixed_tens", or another base year',
            )
        )
    return tuple(np.quantile(values, np.arange(1, LEVELS) / LEVELS).tolist())


def _require(schools: pl.DataFrame, columns: tuple[str, ...]) -> None:
    for name in columns:
        if name not in schools.columns:
            hint = did_you_mean(name, schools.columns)
            what = f"Column {name!r} is missing from the schools frame{hint}"
            raise ColumnError(problem(what, fix="give the schools frame of a run, or SchoolGrowth.frame"))
