"""What a school quality index is made of: metrics, domains, shares of groups, rules for what is missing.

The defaults are those of the CORE districts' School Quality Improvement Index (Marsh, Bush-Mecenas & Hough
2017, Educational Administration Quarterly 53(3)): 60 of 100 points academic, 40 for school quality and
student success, each metric's points in equal fifths for all students and four groups of at least 20.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from growth.spec.part import PART

__all__ = ["CORE_METRICS", "Definitions", "Index", "Metric"]

Percent = Annotated[float, Field(ge=0.0, le=100.0)]

_CUTS = 9
"""Ten levels."""


class Metric(BaseModel):
    """One metric of the index, in percent (0-100)."""

    model_config = PART

    domain: Literal["academic", "school_quality"]
    """Domain whose points it shares."""
    better: Literal["higher", "lower"] = "higher"
    """Whether high or low values are good: a suspension rate is better lower."""
    school_types: tuple[str, ...] = ()
    """School types that it applies to; all if empty."""
    groups: bool = True
    """Divide its points between all students and the groups, or give them all for all students."""
    cuts: dict[str, tuple[Percent, ...]] = {}
    """Published cut points of levels 2, 3, ..., 10, kept as they are: of "PART/TYPE", "PART", "TYPE" or
    "all", the first of these that is given for a part (as "MATH") and a school type. Where high is better a
    level's lowest value, where low is better its highest. Without them `index.levels` says how they are
    set."""

    @model_validator(mode="after")
    def _cuts_in_order(self) -> Self:
        for key, points in self.cuts.items():
            upward = points if self.better == "higher" else points[::-1]
            if len(points) != _CUTS or any(a > b for a, b in pairwise(upward)):
                order = "not decrease" if self.better == "higher" else "not increase"
                raise ValueError(f"the cut points of {key!r} must be {_CUTS} numbers that do {order}")
        return self


class Definitions(BaseModel):
    """Thresholds by which records are turned into metrics."""

    model_config = PART

    proficient_level: int = Field(3, ge=1)
    """Lowest achievement level that is proficient, where records have no score to be held against
    `proficient_scores`."""
    proficient_scores: dict[str, dict[int, float]] = {}
    """subject -> grade -> lowest proficient score [scale-score points]; if given, scores decide."""
    graduation_years: tuple[Annotated[int, Field(ge=4, le=8)], ...] = (4, 5, 6)
    """Cohort graduation rates, each a part of the metric: graduated within so many years."""
    readiness_grade: int = 8
    """Grade whose students are looked at for high-school readiness."""
    readiness_gpa: float = Field(2.5, ge=0.0)
    """Least grade-point average."""
    readiness_attendance: Percent = 96.0
    """Least attendance [percent of days enrolled]."""
    readiness_failing: tuple[str, ...] = ("D", "F")
    """Marks in ELA or mathematics, with or without + and -, that stand against readiness."""
    readiness_missing: Literal["exclude", "not_ready"] = "exclude"
    """Students with a blank among the four indicators: counted out, or counted as not ready."""
    absent_at_most: Percent = 90.0
    """Attendance up to and including this is chronic absence [percent of days enrolled]."""
    min_days: int = Field(1, ge=1)
    """Students enrolled for fewer days do not count for chronic absence and readiness."""
    favourable_from: int = Field(4, ge=2)
    """Lowest response of a survey item that is favourable."""
    responses: int = Field(5, ge=2)
    """Responses of a survey item run from 1 to this."""
    min_items: float = Field(0.5, gt=0.0, le=1.0)
    """Least share of the items of a survey that a respondent must have answered."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.favourable_from > self.responses:
            raise ValueError("favourable_from is above the highest response: no answer would be favourable")
        if not self.graduation_years or len(set(self.graduation_years)) != len(self.graduation_years):
            raise ValueError("graduation_years must be at least one number of years, each given once")
        return self


CORE_METRICS = {
    "academic_performance": Metric(domain="academic"),
    "growth": Metric(domain="academic"),
    "graduation": Metric(domain="academic", school_types=("High",)),
    "high_school_readiness": Metric(domain="academic", school_types=("Middle",)),
    "redesignation": Metric(domain="school_quality", groups=False),
    "chronic_absence": Metric(domain="school_quality", better="lower"),
    "suspension": Metric(domain="school_quality", better="lower"),
    "climate": Metric(domain="school_quality"),
    "social_emotional": Metric(domain="school_quality"),
}
"""The nine metrics; redesignation is about English learners alone, so that groups would repeat it."""


class Index(BaseModel):
    """From metrics to points and the index (0-100)."""

    model_config = PART

    metrics: dict[str, Metric] = CORE_METRICS
    """Metric -> its rules. A metric that nobody has data for in a year is not active in that year."""
    definitions: Definitions = Definitions()
    """Thresholds by which records become metrics."""
    academic_points: float = Field(60.0, ge=0.0, le=100.0)
    """Points of the academic domain; school quality has the rest of 100."""
    all_share: Annotated[float, Field(gt=0.0, lt=1.0)] | Literal["equal"] = "equal"
    """Share of a metric's points for all students; groups divide the rest evenly. "equal": as much as a
    group, a fifth beside four groups; 0.5 leaves 12.5 % to each of four. (All of them: `groups = false` of a
    metric.)"""
    min_n: int = Field(20, ge=1)
    """Results that rest on fewer students are withheld, and the shares of the others grow."""
    select_on: Literal["raw", "shrunk"] = "raw"
    """What makes a racial/ethnic group the lowest of its school: its result, or its result after
    empirical-Bayes shrinkage (`school.variance`). The points follow from its result either way."""
    levels: Literal["base_deciles", "fixed_tens"] = "base_deciles"
    """Cut points of metrics without published ones: deciles of the base year's schools of the same type, or
    10, 20, ..., 90. Growth keeps the levels of its run."""
    missing: Literal["renormalise", "no_index"] = "renormalise"
    """A school without a result in a metric that is active for its type: its domain's points are divided
    among the metrics that it has, or it gets no index."""
    empty_domain: Literal["no_index", "renormalise"] = "no_index"
    """A school without any metric in a domain gets no index, or 100 points for the other domain."""
    min_metrics: int = Field(2, ge=1)
    """Schools with results in fewer metrics get no index."""
    school_types: dict[str, int] = {"Elementary": 6, "Middle": 8, "High": 13}
    """School type -> its highest grade, for schools whose type is not given."""

    @field_validator("metrics")
    @classmethod
    def _named(cls, value: dict[str, Metric]) -> dict[str, Metric]:
        if not value or any("|" in name for name in value):
            raise ValueError("an index needs at least one metric, and no metric's name may hold '|'")
        return value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_metrics > len(self.metrics):
            raise ValueError(
                f"index.min_metrics = {self.min_metrics} is more than the {len(self.metrics)} metrics"
            )
        for domain, points in (
            ("academic", self.academic_points),
            ("school_quality", 100.0 - self.academic_points),
        ):
            used = any(metric.domain == domain for metric in self.metrics.values())
            if used and points == 0.0:
                raise ValueError(f"the metrics of the domain {domain} would have no points: drop them")
            if points > 0.0 and not used and self.empty_domain == "no_index":
                raise ValueError(
                    f"no metric is in the domain {domain}, so that no school would have an index: "
                    'add one, or set index.empty_domain = "renormalise"'
                )
        grades = list(self.school_types.values())
        if not grades or any(a >= b for a, b in pairwise(grades)):
            raise ValueError("index.school_types must name types by increasing highest grade")
        return self
