"""Who gains from a decision, which levels change, and how firmly a school's level stands."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from growth._types import IntArray
from growth.aggregate import by_group
from growth.study.agreement import LEVELS
from growth.study.tables import blocks, latest

__all__ = ["LEAST_SCHOOLS", "level_changes", "profiles", "quartiles", "who_gains"]

LEAST_SCHOOLS = 5
"""Results of fewer schools together are withheld."""
_COVER = 0.95
_SCHOOL = ["subject", "school_id"]


def who_gains(schools: pl.DataFrame, intake: pl.DataFrame, poverty: str) -> pl.DataFrame:
    """Return how results change by quartile of schools, against the base, in the latest year.

    Parameters
    ----------
    schools : polars.DataFrame
        Of `growth.study.tables.school_table`.
    intake : polars.DataFrame
        The base's schools: year, subject, school_id, n, prior, shares of groups.
    poverty : str
        Column of `intake` that is the share of students in poverty; without it there are no such rows.

    Returns
    -------
    polars.DataFrame
        variant, subject, by (``poverty``, ``size``, ``prior``), quartile (1 the lowest), schools, change
        [percentile points], level_change, rising and falling (schools with a higher or lower level [%]);
        null where fewer than `LEAST_SCHOOLS` schools would be shown.
    """
    columns = {"poverty": poverty, "size": "n", "prior": "prior"}
    kinds = {by: column for by, column in columns.items() if column in intake.columns}
    now = latest(schools).drop_nulls(["growth_percentile", "level"])
    base = now.filter(variant=0)
    parts = []
    for by, column in kinds.items():
        of_school = quartiles(base.select("year", *_SCHOOL), intake, column)
        parts.append(_changes(now, base, of_school).with_columns(by=pl.lit(by)))
    found = pl.concat(parts).sort("variant", "subject", "by", "quartile")
    few = pl.col("schools") < LEAST_SCHOOLS
    numbers = ("change", "level_change", "rising", "falling")
    hidden = [pl.when(~few).then(pl.col(name)).alias(name) for name in numbers]
    return found.select("variant", "subject", "by", "quartile", "schools", *numbers).with_columns(hidden)


def quartiles(schools: pl.DataFrame, intake: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return subject, school_id, quartile (1 the lowest) of schools (year, subject, school_id) by intake."""
    trait = intake.select("year", *_SCHOOL, pl.col(column).alias("_trait"))
    known = schools.join(trait, on=["year", *_SCHOOL]).drop_nulls("_trait").sort("school_id")
    share = (pl.col("_trait").rank("ordinal").over("subject") - 0.5) / pl.len().over("subject")
    return known.select(*_SCHOOL, ((4 * share).floor().cast(pl.Int64) + 1).alias("quartile"))


def _changes(now: pl.DataFrame, base: pl.DataFrame, of_school: pl.DataFrame) -> pl.DataFrame:
    step = pl.col("level") - pl.col("level_base")
    joined = (
        now.filter(pl.col("variant") > 0)
        .join(base.select(*_SCHOOL, "growth_percentile", "level"), on=_SCHOOL, suffix="_base")
        .join(of_school, on=_SCHOOL)
    )
    return by_group(
        joined,
        ["variant", "subject", "quartile"],
        pl.len().cast(pl.Int64).alias("schools"),
        (pl.col("growth_percentile") - pl.col("growth_percentile_base")).mean().alias("change"),
        step.mean().alias("level_change"),
        (100 * (step > 0).mean()).alias("rising"),
        (100 * (step < 0).mean()).alias("falling"),
    )


def level_changes(schools: pl.DataFrame) -> pl.DataFrame:
    """Return the matrix of levels in the base and in each variant, in the latest year.

    Returns
    -------
    polars.DataFrame
        variant, subject, level_base, level, schools, share (of the schools of that base level [%]).
    """
    now = latest(schools).drop_nulls("level")
    base = now.filter(variant=0).select(*_SCHOOL, pl.col("level").alias("level_base"))
    joined = now.filter(pl.col("variant") > 0).join(base, on=_SCHOOL)
    keys = ["variant", "subject", "level_base", "level"]
    found = by_group(joined, keys, pl.len().cast(pl.Int64).alias("schools")).sort(keys)
    of_level = pl.col("schools").sum().over("variant", "subject", "level_base")
    return found.with_columns(share=100 * pl.col("schools") / of_level)


def profiles(schools: pl.DataFrame) -> pl.DataFrame:
    """Return how firmly each school's level stands over all variants, the base among them; latest year.

    Returns
    -------
    polars.DataFrame
        subject, school_id, level_base, variants (with a result), level_low and level_high (the narrowest
        range of levels that holds at least 95 % of the variants), share (of variants in it [%]), at_base
        (variants with the base's level [%]), lowest, highest, percentile_low and percentile_high (growth
        percentile over all variants), sentence.
    """
    now = latest(schools).drop_nulls("level")
    rows = []
    for (subject, school), part in blocks(now.sort("variant"), *_SCHOOL):
        levels = part["level"].to_numpy()
        at = part.filter(variant=0)["level"]
        base = int(at[0]) if len(at) else None
        low, high = narrowest(levels)
        share = 100 * float(np.mean((levels >= low) & (levels <= high)))
        rows.append(
            {
                "subject": subject,
                "school_id": school,
                "level_base": base,
                "variants": len(levels),
                "level_low": low,
                "level_high": high,
                "share": share,
                "at_base": None if base is None else 100 * float(np.mean(levels == base)),
                "lowest": int(levels.min()),
                "highest": int(levels.max()),
                "percentile_low": float(part["growth_percentile"].to_numpy().min()),
                "percentile_high": float(part["growth_percentile"].to_numpy().max()),
                "sentence": _sentence(str(school), str(subject), (low, high), share, len(levels)),
            }
        )
    whole = ("level_base", "variants", "level_low", "level_high", "lowest", "highest")
    schema: dict[str, pl.DataType] = {
        name: pl.Int64() if name in whole else pl.String() if name in (*_SCHOOL, "sentence") else pl.Float64()
        for name in (rows[0] if rows else (*_SCHOOL, *whole))
    }
    return pl.DataFrame(rows, schema=schema).sort(_SCHOOL)


def narrowest(levels: IntArray, cover: float = _COVER) -> tuple[int, int]:
    """Return the narrowest range of levels that holds `cover` of them; of equal ones that with most."""
    counts = np.bincount(levels, minlength=LEVELS + 1)
    needed = math.ceil(cover * len(levels) - 1e-9)
    for width in range(LEVELS):
        held: Sequence[tuple[int, int]] = [
            (int(counts[low : low + width + 1].sum()), -low) for low in range(1, LEVELS + 1 - width)
        ]
        most, low = max(held)
        if most >= needed:
            return -low, -low + width
    return 1, LEVELS


def _sentence(school: str, subject: str, span: tuple[int, int], share: float, variants: int) -> str:
    low, high = span
    levels = f"level {low}" if low == high else f"level {low}-{high}"
    return f"School {school} is {levels} in {subject} in {share:.0f} % of {variants:,} variants."
