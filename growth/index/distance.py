r"""What a level asks for: its band, the way to the next levels, and the change from last year.

*Points*: growth percentile still missing to the lower bound of the next level [percentile points].

*Effect*: how much higher the school's own mean (or median, ...) would have to be, the reference schools
staying where they are: the norm is inverted, and the difference divided by what shrinkage lets through of a
point more (`SchoolGrowth.response`, about :math:`\tau^2 / (\tau^2 + SE^2)`). It is about by how many points
each student would have to move up; with ``eblp.target = "all"``, each student of all those years. The R
package's shrinkage moves in whole percentiles, and an expected rank is no function of the effect alone: with
these there is no such number.

*Students*: the same as a plain number, for means of percentiles: how many students would have to move from
the 40th to the 60th percentile. More than the school has means that this alone would not do.

Nothing of this is a forecast. Students who move up move others down in a norm that is not frozen, and a rank
band of 30 points and more says how far chance alone moves a school.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import BoolArray, FloatArray
from growth.errors import SpecError, problem
from growth.index.levels import LEVELS, LevelCuts, level_table
from growth.school import Norms, ReferenceNorm
from growth.school.groups import ALL, RACE
from growth.spec import GrowthSpec

__all__ = ["STEPS", "Context", "described_levels", "next_level_sentence", "with_last_year"]

STEPS = (1, 2, 3)
"""Levels up."""
LOW, HIGH = 40.0, 60.0
"""Percentiles between which students are imagined to move."""
_ROUNDING = 1e-9
_OWN_GROUP = pl.coalesce(pl.lit(RACE) + pl.col("group_detail"), "group")
"""The group itself, also for a row that repeats the lowest of several."""
_KEYS = ("subject", "group", "school_id")


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What levels rest on."""

    cuts: LevelCuts
    norms: Norms
    """In which schools are ranked."""
    response: FloatArray
    """Of `SchoolGrowth`, shape (J,)."""


def described_levels(schools: pl.DataFrame, spec: GrowthSpec, context: Context) -> pl.DataFrame:
    """Return the levels frame: `level_table` with bands and distances.

    Parameters
    ----------
    schools : polars.DataFrame
        Schools frame of `SchoolGrowth`.
    spec : GrowthSpec
        ``levels``, ``school`` and ``groups.reference``.
    context : Context

    Returns
    -------
    polars.DataFrame
        Besides the columns of `level_table`: band (``below_average``, ``average``, ``above_average``), and
        for the next 1, 2 and 3 levels ``points_to_next_k`` [percentile points], ``effect_to_next_k`` [points
        of the school's measure], ``students_to_next_k``; null where there is no such level, no level, no
        spread to move in, or no effect that leads there. ``level_last_year`` and
        ``level_change``: of the year before, null without one.
    """
    levels = level_table(schools, context.cuts)
    levels = levels.with_columns(_band(spec), *_points(levels, context.cuts))
    return with_last_year(levels.hstack(_effects(schools, levels, spec, context)))


def with_last_year(levels: pl.DataFrame, earlier: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return levels with those of the year before, ``level_last_year``, and the change, ``level_change``.

    Parameters
    ----------
    levels : polars.DataFrame
        Levels frame.
    earlier : polars.DataFrame, optional
        Levels frame of another run, on the same cut points; that of `levels` itself if not given.
    """
    source = levels if earlier is None else earlier
    last = source.select(
        *_KEYS, (pl.col("year") + 1).cast(levels.schema["year"]), pl.col("level").alias("level_last_year")
    )
    kept = levels.drop("level_last_year", "level_change", strict=False)
    joined = kept.join(last, on=["year", *_KEYS], how="left", maintain_order="left")
    return joined.with_columns((pl.col("level") - pl.col("level_last_year")).alias("level_change"))


def next_level_sentence(row: dict[str, object], step: int = 1) -> str | None:
    """Return a row of the levels frame as a sentence about the next level; None if there is none.

    Parameters
    ----------
    row : dict
        A named row, with `n` (students) beside the columns of the levels frame if students are to be counted.
    step : int
        1, 2 or 3 levels up.
    """
    level, points = row["level"], row[f"points_to_next_{step}"]
    if not isinstance(level, int) or not isinstance(points, float):
        return None
    text = f"Level {level + step} begins {points:.1f} percentile points higher"
    effect, students, n = row[f"effect_to_next_{step}"], row[f"students_to_next_{step}"], row.get("n")
    if isinstance(effect, float):
        text += f": each student would have to move up by about {effect:.1f} points"
        if isinstance(students, int) and isinstance(n, int):
            text += (
                f", or {students:,} of {n:,} students from the 40th to the 60th percentile"
                if students <= n
                else f", more than all {n:,} students moving from the 40th to the 60th percentile"
            )
    return text + "."


def _band(spec: GrowthSpec) -> pl.Expr:
    level, rules = pl.col("level"), spec.levels
    high = pl.when(level >= rules.above_from).then(pl.lit("above_average"))
    return (
        high.when(level >= rules.average_from)
        .then(pl.lit("average"))
        .when(level.is_not_null())
        .then(pl.lit("below_average"))
        .alias("band")
    )


def _points(levels: pl.DataFrame, cuts: LevelCuts) -> list[pl.Series]:
    rank = levels["growth_percentile"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    targets = _targets(levels, cuts)
    return [pl.Series(f"points_to_next_{k}", targets[k] - rank, nan_to_null=True) for k in STEPS]


def _targets(levels: pl.DataFrame, cuts: LevelCuts) -> dict[int, FloatArray]:
    """Return per step the lower bound of that level, shape (J,); NaN where there is none."""
    lower = {
        name: np.append(cuts.of(name), np.full(max(STEPS), np.nan)) for name in levels["subject"].unique()
    }
    found = {k: np.full(levels.height, np.nan) for k in STEPS}
    level = levels["level"].cast(pl.Int64).fill_null(LEVELS).to_numpy()
    subject = levels["subject"].to_numpy()
    for name, bounds in lower.items():
        here = subject == name
        for k in STEPS:
            # the bound of level l is number l - 2
            found[k][here] = bounds[level[here] + k - 2]
    return found


def _effects(schools: pl.DataFrame, levels: pl.DataFrame, spec: GrowthSpec, context: Context) -> pl.DataFrame:
    """Return effects and students to the next levels, in the order of `schools`."""
    targets = _targets(levels, context.cuts)
    effects = {k: np.full(schools.height, np.nan) for k in STEPS}
    shrunken = spec.school.shrinkage != "none"
    ranked = schools["shrunk" if shrunken else "effect"].fill_null(np.nan).to_numpy()
    rule = spec.school.growth_percentile
    for norm, rows in _norms_of(schools, spec, context.norms):
        if rule == "expected":
            break
        # a school that is part of a ranking leaves its old place when it moves up
        place = 50.0 / norm.schools if rule == "rank" else 0.0
        itself = _in_norm(schools, norm)[rows]
        for k in STEPS:
            target = targets[k][rows] + itself * place
            short = norm.effect_at(target, rule) - ranked[rows]
            with np.errstate(divide="ignore", invalid="ignore"):
                effects[k][rows] = short / context.response[rows]
    columns: list[pl.Series] = []
    n = schools["n"].to_numpy()
    several_years = spec.school.shrinkage == "eblp" and spec.school.eblp.target == "all"
    percentiles = spec.school.measure == "mean" and not several_years
    for k in STEPS:
        effect = np.where(np.isfinite(effects[k]), effects[k], np.nan)
        columns.append(pl.Series(f"effect_to_next_{k}", effect, nan_to_null=True))
        students = np.ceil(effect * n / (HIGH - LOW) - _ROUNDING) if percentiles else np.full(len(n), np.nan)
        columns.append(pl.Series(f"students_to_next_{k}", students, nan_to_null=True).cast(pl.Int64))
    return pl.DataFrame(columns)


def _in_norm(schools: pl.DataFrame, norm: ReferenceNorm) -> BoolArray:
    """Tell which results are among those of the norm, shape (J,)."""
    own = (norm.group == _OWN_GROUP) & (pl.col("year") == norm.year)
    return schools.select(own.fill_null(False)).to_series().to_numpy()


def _norms_of(schools: pl.DataFrame, spec: GrowthSpec, norms: Norms) -> list[tuple[ReferenceNorm, BoolArray]]:
    """Return each norm with the rows that are ranked in it."""
    label = _OWN_GROUP if spec.groups.reference == "group" else pl.lit(ALL)
    rows = schools.select("year", "subject", label.alias("group"), "span")
    years = {norm.year for norm in norms}
    found = []
    for norm in norms:
        mine = (pl.col("subject") == norm.subject) & (pl.col("group") == norm.group)
        if norm.span:
            mine &= pl.col("span") == norm.span
        if len(years) > 1:
            mine &= pl.col("year") == norm.year
        found.append((norm, rows.select(mine.fill_null(False)).to_series().to_numpy()))
    return found


def check_same_cuts(ours: LevelCuts, theirs: LevelCuts) -> None:
    """Refuse to compare levels on different cut points.

    Raises
    ------
    SpecError
        If they differ.
    """
    if ours.digest != theirs.digest:
        raise SpecError(
            problem(
                "The earlier run has other cut points",
                rule="levels are compared on the same cut points",
                fix="freeze the earlier run's cut points, or give no earlier run",
            )
        )
