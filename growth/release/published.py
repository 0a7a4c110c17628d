"""School results as they may leave the engine: nothing about few students, directly or by arithmetic.

A result is withheld where its students are fewer than the minimum, and where its count would let a smaller
one be worked out from totals of schools and groups (`growth.release.suppression`). What is withheld, for
whichever reason, and what does not exist look the same. A group withheld in one subject of a year is withheld
in all: its students are nearly the same. Means are given for all students only, since those of a group and of
all give that of the rest. Where results are of several years together, only those of the latest year come
with their count: the difference of two would be the count of a single year.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from growth._types import BoolArray, IntArray
from growth.errors import GrowthError
from growth.pipeline import GrowthRun
from growth.release.suppression import CountTable, protected
from growth.school.groups import ALL, LOWEST_RACE, RACE
from growth.spec import GrowthSpec

__all__ = [
    "LEAST",
    "WITHHELD",
    "counted",
    "least_of",
    "least_students",
    "published_results",
    "shown_results",
]

LEAST = 10
"""Students. No export and no page shows a result of fewer, whatever the specification allows."""
WITHHELD = "withheld"

_KEYS = ["year", "subject", "group", "school_id"]
_PLACE = ["year", "group", "school_id"]
_MEANS = ("mean_percentile", "median_percentile")
_RESULTS = ("growth_percentile", "growth_percentile_low", "growth_percentile_high", "level")
_OF_A_SCHOOL = 1e4
"""Price of hiding a school's number of students, in counts of groups."""


def least_students(spec: GrowthSpec) -> int:
    """Return the smallest number of students that a table of both schools and groups shows."""
    return max(least_of(spec))


def least_of(spec: GrowthSpec, minimum: int = 0) -> tuple[int, int]:
    """Return the smallest published numbers of students of a school and of a group in it."""
    least = max(LEAST, minimum)
    return max(least, spec.school.min_n), max(least, spec.groups.min_n)


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
    """
    levels = run.polars("levels").select(*_KEYS, "level")
    schools = run.polars("schools")
    shown = shown_results(schools, run.spec, minimum)
    rows = schools.join(levels, on=_KEYS, how="left").join(shown, on=_KEYS, how="left")
    found = _every_group(rows).join(rows, on=_KEYS, how="left")
    found = found.with_columns(pl.col("shown").fill_null(False))
    return _withheld(found, run.spec).sort(_KEYS)


def shown_results(schools: pl.DataFrame, spec: GrowthSpec, minimum: int = 0) -> pl.DataFrame:
    """Say which results may leave the engine.

    Parameters
    ----------
    schools : polars.DataFrame
        The frame of a run: year, subject, group, school_id, n, group_detail.
    spec : GrowthSpec
        Its minimum numbers of students.
    minimum : int
        Students; the larger of this and what the specification asks for holds, and never less than `LEAST`.

    Returns
    -------
    polars.DataFrame
        year, subject, group, school_id and shown, one row each as in `schools`.
    """
    least = least_of(spec, minimum)
    lowest = pl.col("group") == LOWEST_RACE
    counts = schools.filter(~lowest).select(*_KEYS, pl.col("n").fill_null(0))
    blocks = counts.partition_by("year", "subject", maintain_order=True)
    parts = [_shown(block, least) for block in blocks]
    shown = pl.concat(parts) if parts else counts.select(*_KEYS, pl.lit(False).alias("shown"))
    shown = shown.with_columns(pl.col("shown").all().over(_PLACE))
    rows = schools.join(shown, on=_KEYS, how="left")
    return _lowest_as_its_race(rows).select(*_KEYS, "shown")


def _shown(counts: pl.DataFrame, least: tuple[int, int]) -> pl.DataFrame:
    """Return which counts of a year and subject are published: year, subject, group, school_id, shown."""
    table, cells, may = count_table(counts, least)
    try:
        shown = protected(table, may, min(least))
    except GrowthError:
        # A handful of schools, and totals that tell too much: nothing is safe beside them.
        shown = np.zeros_like(may)
    return counts.select(*_KEYS, pl.Series("shown", shown[cells]))


def count_table(counts: pl.DataFrame, least: tuple[int, int]) -> tuple[CountTable, IntArray, BoolArray]:
    """Set up the counts of a year and subject with all relations between them.

    Parameters
    ----------
    counts : polars.DataFrame
        group, school_id, n.
    least : (int, int)
        Smallest published counts of schools and of groups.

    Returns
    -------
    table : CountTable
    cells : ndarray, shape (rows,)
        Place of each row of `counts` in the table.
    shown : ndarray of bool, shape (c,)
        Counts that are large enough.
    """
    groups = [ALL, *counts["group"].filter(counts["group"] != ALL).unique().sort()]
    races = [j for j, g in enumerate(groups) if g.startswith(RACE)]
    parts = [[j] for j in range(1, len(groups)) if j not in races] + ([races] if races else [])
    schools = counts["school_id"].unique().sort()
    row = counts["school_id"].replace_strict(schools, pl.int_range(len(schools), eager=True)).to_numpy()
    column = counts["group"].replace_strict(groups, range(len(groups))).to_numpy()
    # After the groups, for each partition those who are in none of its groups.
    S, G = len(schools), len(groups) + len(parts)
    rest = np.arange(len(groups), G)
    value = np.zeros((S + 1, G), dtype=np.int64)
    value[row, column] = counts["n"].to_numpy()
    for k, part in zip(rest, parts, strict=True):
        value[:S, k] = value[:S, 0] - value[:S, part].sum(axis=1)
    value[S] = value[:S].sum(axis=0)
    of_flag = np.zeros(G, dtype=bool)
    of_flag[rest] = [len(part) == 1 for part in parts]
    empty = (value == 0) & ~(of_flag & (value[:, [0]] > 0))
    smallest = np.where(np.arange(G) == 0, *least)
    sensitive = (value < smallest) & ~empty
    sensitive[S] = False
    shown = value >= smallest
    shown[:, rest] = False
    for part in parts:
        shown[S, part] = _told(value[S, part], int(value[S, 0]), least[1])
    cost = 1.0 + value / (1.0 + value[S, 0])
    cost[:, 0] *= _OF_A_SCHOOL
    cost[S] = np.inf
    cost[:, rest] = np.inf
    unit = np.repeat(np.append(np.arange(S), -1), G)
    whole = [[*part, int(k)] for k, part in zip(rest, parts, strict=True)]
    table = CountTable(value.ravel(), _relations(S, G, whole), unit, sensitive.ravel(), cost.ravel(), whole)
    return table, row * G + column, shown.ravel()


def _told(totals: IntArray, everybody: int, least: int) -> BoolArray:
    """Say which totals of a partition a ledger tells: neither they nor those who are left are few."""
    told = totals >= least
    for j in np.argsort(totals, kind="stable"):
        left = everybody - int(totals[told].sum())
        if told[j] and (0 < left < least or (len(totals) == 1 and left == 0)):
            told[j] = False
    return told


def _relations(S: int, G: int, partitions: Sequence[Sequence[int]]) -> Any:  # noqa: ANN401
    """Return the relations of S schools and their totals x G columns: partitions first, then totals."""
    from scipy.sparse import eye_array, hstack, kron, vstack

    parts = np.zeros((len(partitions), G))
    for k, part in enumerate(partitions):
        parts[k, 0] = 1.0
        parts[k, list(part)] = -1.0
    schools = hstack([eye_array(S), np.zeros((S, 1))])
    totals = np.append(np.ones(S), -1.0)[None, :]
    return vstack([kron(schools, parts), kron(totals, eye_array(G))], format="csr")


def _every_group(rows: pl.DataFrame) -> pl.DataFrame:
    """Return every group for every school, so that nobody sees which groups are empty."""
    schools = rows.select("year", "subject", "school_id").unique()
    groups = rows.select("year", "subject", "group").unique()
    return schools.join(groups, on=["year", "subject"]).select(_KEYS)


def _lowest_as_its_race(rows: pl.DataFrame) -> pl.DataFrame:
    """Show a school's lowest race only where that race's own row is shown."""
    place = ["year", "subject", "school_id", "_race"]
    own = rows.select(*place[:3], pl.col("group").alias("_race"), pl.col("shown").alias("_own"))
    detail = pl.col("group_detail").cast(pl.String)
    race = pl.when(detail.str.starts_with(RACE)).then(detail).otherwise(pl.lit(RACE) + detail)
    rows = rows.with_columns(race.alias("_race")).join(own, on=place, how="left", maintain_order="left")
    lowest = pl.col("group") == LOWEST_RACE
    return rows.with_columns(pl.when(lowest).then("_own").otherwise("shown").fill_null(False).alias("shown"))


def _withheld(rows: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    shown = pl.col("shown")
    result = shown & pl.col("reason").is_null()
    means = result & (pl.col("group") == ALL)
    columns = [
        pl.when(shown).then(pl.col("group_detail")).alias("group_detail"),
        pl.when(shown & counted(spec)).then(pl.col("n")).alias("n"),
        *(pl.when(means).then(pl.col(name)).alias(name) for name in _MEANS),
        *(pl.when(result).then(pl.col(name)).alias(name) for name in _RESULTS),
        pl.when(~shown).then(pl.lit(WITHHELD)).otherwise("reason").alias("reason"),
    ]
    return rows.select(*_KEYS, *columns)


def counted(spec: GrowthSpec) -> pl.Expr:
    """Say which rows come with their count: of results of several years, those of the latest."""
    return pl.lit(True) if spec.school.years == 1 else pl.col("year") == pl.col("year").max()
