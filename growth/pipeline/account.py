"""The account of every row, from the file to the schools, and the check that it adds up."""

from __future__ import annotations

import polars as pl

from growth.aggregate import by_group
from growth.errors import GrowthError
from growth.scratch import pieces

__all__ = ["account_of_rows"]

_BLOCK = ["subject", "year"]
_SCHOOL_STEPS = ("has_school", "enrolled")
"""Steps of the school room that go on where the panel room's last step, `scored`, ends."""


def account_of_rows(panels: pl.DataFrame, schools: pl.DataFrame, students: pl.DataFrame) -> pl.DataFrame:
    """Join the waterfalls of the panel room and the school room.

    Parameters
    ----------
    panels, schools : polars.DataFrame
        Waterfalls: subject, year, step, rows, excluded, reason.
    students : polars.DataFrame
        The students frame that they must agree with.

    Returns
    -------
    polars.DataFrame
        The table as a whole first, then subject by subject, year by year, in the order of the steps.

    Raises
    ------
    GrowthError
        If a row is unaccounted for.
    """
    beyond = schools.filter(pl.col("step").is_in(_SCHOOL_STEPS)).select(panels.columns).cast(panels.schema)
    of_table = pl.col("year").is_null()
    account = pl.concat([panels, beyond]).sort(~of_table, *_BLOCK, maintain_order=True)
    mistakes = [*_uneven_steps(account), *_unequal_totals(account, students)]
    if mistakes:
        raise GrowthError(
            f"Rows are unaccounted for: {'; '.join(mistakes)}. "
            "This is a defect of the program and not of the table: please report it."
        )
    return account


def _uneven_steps(account: pl.DataFrame) -> list[str]:
    """Name the lines whose rows are not the previous line's rows less those excluded."""
    before = pl.col("rows").shift(1).over(_BLOCK)
    uneven = account.filter(before - pl.col("excluded") != pl.col("rows"))
    return [f"{subject} {year or ''} {step}" for subject, year, step in uneven.select(*_BLOCK, "step").rows()]


def _unequal_totals(account: pl.DataFrame, students: pl.DataFrame) -> list[str]:
    blocks = account.filter(pl.col("year").is_not_null())
    entered = by_group(blocks, _BLOCK, pl.col("rows").first())["rows"].sum()
    scored = by_group(blocks.filter(pl.col("step") == "scored"), _BLOCK, pl.col("rows").last())
    totals = {
        "rows in scope of the table": account.filter(pl.col("year").is_null())["rows"][-1],
        "rows entered": entered,
        "rows reported": int(students["highest"].sum()),
    }
    unequal = len(set(totals.values())) > 1
    results = students.select(*_BLOCK, "highest", "percentile")
    reported = pl.col("percentile").filter("highest").count().cast(pl.Int64).alias("_found")
    parts = [by_group(results[k], _BLOCK, reported) for k in pieces(max(results.height, 1))]
    found = by_group(pl.concat(parts), _BLOCK, pl.col("_found").sum())
    differing = scored.join(found, on=_BLOCK, how="left").filter(pl.col("rows").ne_missing(pl.col("_found")))
    return [
        *([", ".join(f"{number:,} {name}" for name, number in totals.items())] if unequal else []),
        *(f"percentiles of {subject} {year}" for subject, year in differing.select(_BLOCK).rows()),
    ]
