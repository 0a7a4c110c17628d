"""Who belongs to which group, and which racial/ethnic group of a school is the lowest."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from growth._types import BoolArray
from growth.errors import SpecError, problem
from growth.mapped import distinct, holds
from growth.scratch import kept
from growth.spec import GrowthSpec

__all__ = ["ALL", "LOWEST_RACE", "RACE", "Group", "groups_of", "lowest_race"]

ALL = "All"
RACE = "race:"
LOWEST_RACE = "race:lowest"

_PLACE = ["year", "subject", "span", "school_id"]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A label and its members among the counted rows, shape (n,)."""

    label: str
    members: BoolArray


def groups_of(rows: pl.DataFrame, spec: GrowthSpec) -> list[Group]:
    """Return the groups in order: all students, flags as in the specification, races alphabetically.

    Students whose flag or race is missing belong to no such group.

    Raises
    ------
    SpecError
        If a race would bear the label of the lowest race. (Labels of flags are checked by the specification.)
    """
    chosen = {ALL: pl.lit(True)}
    for label, column in spec.groups.flags.items():
        chosen[label] = pl.col(column).cast(pl.Boolean).fill_null(False)
    for race in _races(rows, spec.groups.race):
        if race == LOWEST_RACE.removeprefix(RACE):
            raise SpecError(_taken(f"the value {race!r} of column {spec.groups.race!r}", "recode it"))
        chosen[RACE + race] = (pl.col(spec.groups.race).cast(pl.String) == race).fill_null(False)
    return [Group(label, kept(holds(rows, is_member).to_numpy())) for label, is_member in chosen.items()]


def lowest_race(races: pl.DataFrame) -> pl.DataFrame:
    """Return, per school, the row of its racial/ethnic group with the lowest effect, as ``race:lowest``.

    The row is that group's own, number for number, so that a school never sees two values for one group.
    Groups that are not reported do not compete; where only one is, it is the lowest. Equal effects: the
    first label in sort order. Where no group is reported, the reason is that of the school's largest group
    and `n` is null.

    A minimum of several noisy numbers lies below the mean of their truths. For k equal groups of n students
    the expected minimum is ``e_k * SD / sqrt(n)`` below, with e_k the expected maximum of k standard normal
    draws: four groups of 20 (e_4 = 1.03, SD 28.9) lose 6.6 mean-percentile points by chance alone.

    Parameters
    ----------
    races : polars.DataFrame
        Rows of the schools frame for the racial/ethnic groups.

    Returns
    -------
    polars.DataFrame
        The same columns; `group_detail` is the race.
    """
    races = races.with_columns(pl.col("span").fill_null(""))  # null joins nothing
    reported = races.filter(pl.col("reason").is_null()).sort([*_PLACE, "effect", "group"])
    found = reported.unique(_PLACE, keep="first", maintain_order=True).with_columns(
        pl.col("group").str.strip_prefix(RACE).alias("group_detail")
    )
    missing = (
        races.join(found, on=_PLACE, how="anti")
        .sort([*_PLACE, "n", "group"], descending=[*[False] * len(_PLACE), True, False])
        .unique(_PLACE, keep="first", maintain_order=True)
        .with_columns(pl.lit(None, dtype=races.schema["n"]).alias("n"))
    )
    return pl.concat([found, missing]).with_columns(
        pl.lit(LOWEST_RACE).alias("group"), pl.col("span").replace("", None)
    )


def _races(rows: pl.DataFrame, column: str) -> list[str]:
    if not column:
        return []
    found = distinct(rows.select(pl.col(column)))[column]
    values: list[str] = found.cast(pl.String).drop_nulls().unique().sort().to_list()
    return values


def _taken(what: str, fix: str) -> str:
    rule = f"{LOWEST_RACE!r} is the racial/ethnic group with the lowest result"
    return problem(f"{what[0].upper()}{what[1:]} is the name of another group", rule=rule, fix=fix)
