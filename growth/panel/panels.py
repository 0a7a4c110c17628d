"""Cohorts ready to be fitted."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import polars as pl

from growth._types import FloatArray, IntArray
from growth.panel.patterns import Pattern

__all__ = ["PRIOR_MEAN", "Panel", "PanelSet"]

PRIOR_MEAN = "school_mean:prior"
"""Covariate that holds the school's mean of the first prior, with that prior's measurement error in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One cohort: the students of a grade x subject x year who share a pattern of priors.

    Attributes
    ----------
    subject, grade, year
        Of the current score.
    pattern : Pattern
    row : ndarray of int64, shape (n,)
        Rows of the current scores in ``StudentTable.frame``, ascending (hence by student_id as text).
    score : ndarray of float64, shape (n,)
        Current scores [scale-score points].
    priors : ndarray of float64, shape (n, k)
        Prior scores in the order of the pattern [scale-score points].
    covariates : ndarray of float64, shape (n, q)
        Flags 0/1, category dummies, school means; q may be 0.
    covariate_names : tuple of str, length q
    knot_scores : tuple of k ndarrays of float64
        Per prior the scores that place data-driven knots [scale-score points].
    bounds : (float, float) or None
        Lowest and highest obtainable score of the current subject and grade [scale-score points].
    norm_group : str
        Who is compared, oldest to newest: ``2023/MATH_3; 2024/MATH_4; 2025/MATH_5``.
    school : ndarray of int64, shape (n,), or None
        Code of the student's current school, -1 where there is none; None if schools are not known.
    csem : ndarray of float64, shape (n, k), or None
        Conditional standard errors of measurement of the priors [CSEM points]; None unless
        ``measurement.csem`` says where they come from.
    score_csem : ndarray of float64, shape (n,), or None
        The same of the current scores; NaN where there is none.
    offset : ndarray of float64, shape (n,), or None
        Part of the score that goes with the composition of the student's school, to be taken out before the
        cohort is fitted [scale-score points]; None unless `growth.student.compose` has noted it.
    offset_se : ndarray of float64, shape (n,), or None
        Its standard error, shared by the students of a school [scale-score points].
    """

    subject: str
    grade: int
    year: int
    pattern: Pattern
    row: IntArray
    score: FloatArray
    priors: FloatArray
    covariates: FloatArray
    covariate_names: tuple[str, ...]
    knot_scores: tuple[FloatArray, ...]
    bounds: tuple[float, float] | None
    norm_group: str
    school: IntArray | None = None
    csem: FloatArray | None = None
    score_csem: FloatArray | None = None
    offset: FloatArray | None = None
    offset_se: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.row)

    @property
    def key(self) -> str:
        """Name that is unique within a run and safe as a file name, e.g. ``ELA_2025_G5_own1_other1``."""
        subject = quote(self.subject, safe="")
        return f"{subject}_{self.year}_G{self.grade}_{pattern_label(self.pattern, self.grade)}"

    def __repr__(self) -> str:
        return f"Panel({self.key}: {len(self):,} students)"


@dataclass(frozen=True, slots=True, eq=False)
class PanelSet:
    """All cohorts of a run and the account of every row.

    Attributes
    ----------
    panels : tuple of Panel
        Cohorts large enough to be fitted; within grade x subject x year lower orders come first.
    current : polars.DataFrame
        One line per current-year row in scope: row (Int64, in ``StudentTable.frame``, ascending), status
        (String), highest (String, key of the highest-order panel; null if there is none).
    counts : polars.DataFrame
        Waterfall: subject, year, step, rows, excluded, reason.
    """

    panels: tuple[Panel, ...]
    current: pl.DataFrame
    counts: pl.DataFrame

    def __len__(self) -> int:
        return len(self.panels)

    def __repr__(self) -> str:
        scored = self.current["highest"].count()
        return (
            f"PanelSet({len(self)} cohorts, {scored:,} of {self.current.height:,} rows in scope to be scored)"
        )


def pattern_label(pattern: Pattern, grade: int) -> str:
    """Return the pattern's part of a panel's key."""
    if pattern.priors[0].grade == grade:
        return "repeat1"
    return f"own{pattern.own}" + (f"_other{pattern.other}" if pattern.other else "")
