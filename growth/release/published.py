"""School results as they may leave the engine: nothing about few students, directly or by arithmetic.

A result is withheld where its students are fewer than the minimum, and where its count would let a smaller
one be worked out from totals of schools and groups (`growth.release.suppression`). What is withheld, for
whichever reason, and what does not exist look the same. A group withheld in one subject of a year is withheld
in all: its students are nearly the same. Means are given for all students only, since those of a group and of
all give that of the rest.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from growth._types import BoolArray, IntArray
from growth.aggregate import by_group
from growth.pipeline import GrowthRun
from growth.release.suppression import CountTable, protected
from growth.school.groups import ALL, LOWEST_RACE, RACE
from growth.spec import GrowthSpec

__all__ = ["LEAST", "WITHHELD", "least_students", "published_results"]

LEAST = 10
"""Students. No export shows a result of fewer, whatever the specification allows."""
WITHHELD = "withheld"

_KEYS = ["year", "subject", "group", "school_id"]
_PLACE = ["year", "group", "school_id"]
_MEANS = ("mean_percentile", "median_percentile")
_RESULTS = ("growth_percentile", "growth_percentile_low", "growth_percentile_high", "level")
_OF_A_SCHOOL = 1e4
"""Price of hiding a school's number of students, in counts of groups."""


def least_students(spec: GrowthSpec) -> int:
    """Return the smallest number of students that an export shows."""
    return max(LEAST, spec.school.min_n, spec.groups.min_n)


def published_results(run: GrowthRun, minimum: int = 0) -> pl.DataFrame:
    """Return every school's results with everything withheld that must not leave the engine.

    Parameters
    ----------
    run : GrowthRun
    minimum : int
        Students; the larger of this and what the specification asks for holds, and never less than `LEAST`.

    Returns
    -------
    polars.DataFrame
        One row per year, subject, group and school, whether or not the school has such students:
        group_detail, n, mean_percentile, median_percentile, growth_percentile with its band, level, reason
        (``"withheld"``, or the run's where the result is missing for another reason).

    Raises
    ------
    GrowthError
        If a small count follows from totals that are published.
    """
    least = max(least_students(run.spec), minimum)
    levels = run.polars("levels").select(*_KEYS, "level")
    rows = run.polars("schools").join(levels, on=_KEYS, how="left")
    blocks = [part for _, part in rows.group_by("year", "subject", maintain_order=True)]
    shown = pl.concat([_shown(part, least) for part in blocks]) if blocks else rows.select(_KEYS).clear()
    everywhere = by_group(shown, _PLACE, pl.col("shown").all())
    full = _every_group(rows)
    found = full.join(rows, on=_KEYS, how="left").join(everywhere, on=_PLACE, how="left")
    found = _lowest_as_its_race(found)
    return _withheld(found.with_columns(pl.col("shown").fill_null(False))).sort(_KEYS)


def _shown(rows: pl.DataFrame, least: int) -> pl.DataFrame:
    """Return which counts of a year and subject are published: year, subject, group, school_id, shown."""
    counts = rows.filter(pl.col("group") != LOWEST_RACE).with_columns(pl.col("n").fill_null(0))
    table, cells, may = count_table(counts, least)
    shown = protected(table, may, least)
    keys = counts.select(_KEYS)
    return keys.with_columns(pl.Series("shown", shown[cells]))


def count_table(counts: pl.DataFrame, least: int) -> tuple[CountTable, IntArray, BoolArray]:
    """Set up the counts of a year and subject with all relations between them.

    Parameters
    ----------
    counts : polars.DataFrame
        group, school_id, n.
    least : int
        Smallest published count.

    Returns
    -------
    table : CountTable
    cells : ndarray, shape (rows,)
        Place of each row of `counts` in the table.
    shown : ndarray of bool, shape (c,)
        Counts that are large enough.
    """
    from scipy.sparse import csr_array

    schools = {key: i for i, key in enumerate(counts["school_id"].unique().sort())}
    groups = [ALL, *counts["group"].filter(counts["group"] != ALL).unique().sort()]
    races = [g for g in groups if g.startswith(RACE)]
    parts = [[g] for g in groups if g != ALL and g not in races] + ([races] if races else [])
    columns = [*groups, *range(len(parts))]
    """The groups, and for each partition those who are in none of its groups."""
    place = {name: j for j, name in enumerate(columns)}
    S, G = len(schools), len(columns)
    value = np.zeros((S + 1, G), dtype=np.int64)
    row = np.array([schools[key] for key in counts["school_id"]], dtype=np.int64)
    column = np.array([place[key] for key in counts["group"]], dtype=np.int64)
    value[row, column] = counts["n"].to_numpy()
    for k, part in enumerate(parts):
        value[:S, place[k]] = value[:S, 0] - value[:S, [place[g] for g in part]].sum(axis=1)
    value[S] = value[:S].sum(axis=0)
    cell = np.arange(value.size).reshape(value.shape)
    terms: list[tuple[int, int, float]] = []
    line = 0
    for k, part in enumerate(parts):
        for s in range(S):
            terms += [(line, cell[s, 0], 1.0), (line, cell[s, place[k]], -1.0)]
            terms += [(line, cell[s, place[g]], -1.0) for g in part]
            line += 1
    for j in range(G):
        terms += [(line, cell[S, j], -1.0), *((line, cell[s, j], 1.0) for s in range(S))]
        line += 1
    lines, cells, signs = zip(*terms, strict=True)
    relations = csr_array((signs, (lines, cells)), shape=(line, value.size))
    rest = np.array([isinstance(name, int) for name in columns])
    of_flag = np.array([isinstance(name, int) and len(parts[name]) == 1 for name in columns])
    empty = (value == 0) & ~(of_flag & (value[:, [0]] > 0))
    sensitive = (value < least) & ~empty
    sensitive[S] = False
    shown = (value >= least) & ~rest
    cost = 1.0 + value / (1.0 + value[S, 0])
    cost[:, 0] *= _OF_A_SCHOOL
    cost[S] = np.inf
    cost[:, rest] = np.inf
    unit = np.repeat(np.append(np.arange(S), -1), G)
    table = CountTable(value.ravel(), relations, unit, sensitive.ravel(), cost.ravel())
    return table, cell[row, column], shown.ravel()


def _every_group(rows: pl.DataFrame) -> pl.DataFrame:
    """Return every group for every school, so that nobody sees which groups are empty."""
    schools = rows.select("year", "subject", "school_id").unique()
    groups = rows.select("year", "subject", "group").unique()
    return schools.join(groups, on=["year", "subject"]).select(_KEYS)


def _lowest_as_its_race(rows: pl.DataFrame) -> pl.DataFrame:
    """Show a school's lowest race only where that race's own row is shown."""
    own = rows.select(
        "year", "subject", "school_id", pl.col("group").alias("_race"), pl.col("shown").alias("_own")
    )
    detail = pl.col("group_detail")
    race = pl.when(detail.str.starts_with(RACE)).then(detail).otherwise(pl.lit(RACE) + detail)
    rows = rows.with_columns(race.alias("_race"))
    rows = rows.join(own, on=["year", "subject", "school_id", "_race"], how="left")
    lowest = pl.col("group") == LOWEST_RACE
    return rows.with_columns(pl.when(lowest).then("_own").otherwise("shown").alias("shown"))


def _withheld(rows: pl.DataFrame) -> pl.DataFrame:
    shown = pl.col("shown")
    result = shown & pl.col("reason").is_null()
    means = result & (pl.col("group") == ALL)
    columns = [
        pl.when(shown).then(pl.col("group_detail")).alias("group_detail"),
        pl.when(shown).then(pl.col("n")).alias("n"),
        *(pl.when(means).then(pl.col(name)).alias(name) for name in _MEANS),
        *(pl.when(result).then(pl.col(name)).alias(name) for name in _RESULTS),
        pl.when(~shown).then(pl.lit(WITHHELD)).otherwise("reason").alias("reason"),
    ]
    return rows.select(*_KEYS, *columns)
