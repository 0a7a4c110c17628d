"""A file of students for research: hashed ids, coarse scores, and nobody alone with what describes them.

Every combination of year, subject, grade, school and student groups is shared by at least k rows: where it is
not, the student groups are left out, then the school, then the row (k-anonymity, Sweeney 2002). Scores are
given in bins with top and bottom codes. This protects against recognition by the listed columns, not against
somebody who knows a student's exact scores, which is why they are coarse.

References
----------
.. [1] L. Sweeney (2002), k-anonymity: a model for protecting privacy, International Journal of Uncertainty,
   Fuzziness and Knowledge-Based Systems 10(5), 557-570.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from growth.errors import SpecError
from growth.pipeline import GrowthRun
from growth.release.pseudonyms import hashed

__all__ = ["Coarse", "research_file"]

_CELL = ["year", "subject", "grade"]


@dataclass(frozen=True, slots=True)
class Coarse:
    """How coarse scores are."""

    bin: float = 10.0
    """Width of the bins [scale-score points]."""
    tail: float = 0.01
    """Share of the scores at each end of a year, subject and grade that are given as that end's."""

    def __post_init__(self) -> None:
        if not (self.bin > 0 and 0 <= self.tail < 0.5):
            raise SpecError(f"Bins of {self.bin:g} points and tails of {self.tail:g} are not usable.")


def research_file(run: GrowthRun, key: bytes, least: int, coarse: Coarse) -> pl.DataFrame:
    """Return the scored students, anonymised.

    Parameters
    ----------
    run : GrowthRun
    key : bytes
        For the ids; see `growth.release.pseudonyms.hashed`.
    least : int
        Rows that share what describes them, at least.
    coarse : Coarse

    Returns
    -------
    polars.DataFrame
        student (hash), year, subject, grade, school (hash), the columns of student groups, score and
        prior_score (middle of their bin) [scale-score points], sgp (1-99), n_priors; in the order of hashes.
    """
    spec = run.spec
    columns = [*spec.groups.flags.values(), *([spec.groups.race] if spec.groups.race else [])]
    rows = run.polars("students").filter("highest", pl.col("status") == "scored")
    groups = [name for name in dict.fromkeys(columns) if name in rows.columns]
    if "school_id" not in rows.columns:
        rows = rows.with_columns(pl.lit(None, dtype=pl.String).alias("school_id"))
    rows = rows.with_columns(
        hashed(rows["student_id"], key, "student").alias("student"),
        hashed(rows["school_id"], key, "school").alias("school"),
        _coarse("score", coarse),
        _coarse("prior_score", coarse),
    )
    rows = rows.select("student", *_CELL, "school", *groups, "score", "prior_score", "sgp", "n_priors")
    for left_out in (groups, ["school"]):
        alone = _crowd(rows, groups) < least
        rows = rows.with_columns(pl.when(~alone).then(pl.col(name)).alias(name) for name in left_out)
    while (small := rows.filter(_crowd(rows, groups) < least)).height:
        rows = rows.join(small, on=["student", *_CELL], how="anti", nulls_equal=True)
    return rows.sort("student", *_CELL)


def _crowd(rows: pl.DataFrame, groups: list[str]) -> pl.Series:
    """Return how many rows share each row's description."""
    return rows.select(pl.len().over([*_CELL, "school", *groups])).to_series()


def _coarse(name: str, coarse: Coarse) -> pl.Expr:
    """Return the middle of each score's bin, the outermost scores at the ends that they share."""
    score = pl.col(name)
    low, high = (score.quantile(q).over(_CELL) for q in (coarse.tail, 1.0 - coarse.tail))
    return ((score.clip(low, high) / coarse.bin).floor() * coarse.bin + coarse.bin / 2).alias(name)
