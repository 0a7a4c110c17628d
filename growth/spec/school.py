"""From students to schools: what is averaged, how sure it is, among whom it is ranked, for which groups."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from growth._types import Aggregate, PercentileKind, VarianceRule
from growth.spec.eblp import EblpPart
from growth.spec.part import PART

__all__ = ["Groups", "School"]


class School(BaseModel):
    """From student percentiles to a school's growth percentile."""

    model_config = PART

    percentile: PercentileKind = "continuous"
    """Student percentile that schools are built from: continuous in (0, 1) or the integer SGP 1-99; corrected
    for measurement error by SIMEX or ranked SIMEX, likewise continuous or (`_integer`) 1-99."""
    aggregate: Aggregate = "mean"
    """A school's effect: mean, median or trimmed mean of percentiles, or mean residual (score less expected
    score)."""
    trim: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.1
    """Share of the students at each end that a trimmed mean leaves out."""
    residual_scale: Literal["points", "cohort_sd"] = "points"
    """Residuals as they are [scale-score points], or divided by the SD of their cohort's residuals, so that
    grades and subjects can be added up (California)."""
    share: Literal["none", "column", "enrolment"] = "none"
    """Weight of a student in a school: 1; the column `share` of the table, above 0 and at most 1; or the
    Python argument `enrolment`, a table with one row per student, year and school, where a student in two
    schools counts in both by share."""
    composite: Literal["none", "results", "subjects"] = "none"
    """Add results over all subjects together, as subject "COMPOSITE": each student result counts alike, or
    each subject of a school does."""
    years: Literal[1, 3] = 1
    """A school's result of a year is of that year, or of the students of that year and the two before it."""
    districts: Literal["none", "own_norm", "school_norm"] = "none"
    """Add a frame of district results, ranked among the same year's districts, or among schools (in a frozen
    norm, where there is one)."""
    by_span: bool = False
    """Add a frame of each school's results by grade span, each ranked among results of that span and
    year."""
    spans: dict[str, tuple[int, int]] = {"elementary": (-1, 5), "middle": (6, 8), "high": (9, 13)}
    """Grade span -> its lowest and highest grade (K is 0, pre-K is -1)."""
    norms_by: Literal["none", "span"] = "none"
    """Schools are shrunk and ranked among all schools, or among those of their own span: that of most of
    their counted results (the lower one if two have as many)."""
    span_column: str = ""
    """Column that names each row's span instead of `spans`; a school's is that of most of its results."""
    standard_error: Literal["pooled", "own", "sgp", "bootstrap", "refit"] = "pooled"
    """Mean: pooled within-school SD (or the school's own SD) / sqrt(n); median: 50 / sqrt(n).
    "sgp": the R package's rules, SD / sqrt(n) for means and 1.253 times that for medians.
    "bootstrap": students of each school drawn again. "refit" (engine "quantile"): the same, every cohort
    fitted again to them and to schools drawn again, so that the error of the model is in it."""
    replicates: int = Field(200, ge=20)
    """Samples behind "bootstrap" and "refit"."""
    shrinkage: Literal["none", "empirical_bayes", "eblp", "sgp"] = "empirical_bayes"
    """Towards the mean of all schools by reliability; "eblp": from the school's own results in all years,
    grades and subjects first; "sgp": the R package's rule, for comparison: medians to 50 by one variance of
    the whole table, whole percentiles, no errors and no bands."""
    eblp: EblpPart = EblpPart()
    """What `shrinkage = "eblp"` predicts, and how."""
    variance: VarianceRule = "integrated"
    """How much schools differ: averaged over what is known of it, so that bands also cover where schools are
    few; or estimated by "moments" (DerSimonian & Laird) or "reml" and then taken as known."""
    growth_percentile: Literal["rank", "normal", "expected"] = "rank"
    """Percentile rank of the effect; its place in a normal distribution of true effects; or the expected
    percentile rank, 100 times the mean probability of lying above each reference school."""
    high_percentile: float = Field(70.0, ge=0.0, le=100.0)
    """Growth percentile from which a year counts as high; 70 is where level 8 of fixed tens begins."""
    high_years: int = Field(3, ge=2)
    """Consecutive high years from which a school counts as high for long (`GrowthRun.history`)."""
    min_n: int = Field(20, ge=1)
    """Schools with fewer scored students get no result."""
    enrolled_only: bool = False
    """Count only rows whose `enrolled` column says yes (full academic year)."""
    band_draws: int = Field(2000, ge=200)
    """Posterior draws behind each rank band and each probability of a level."""
    seed: int = 20_170_813
    """Of posterior draws and of the samples behind standard errors."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        several = self.composite != "none" or self.years > 1 or self.share != "none"
        if self.standard_error == "sgp" and (several or self.aggregate in ("trimmed_mean", "mean_residual")):
            raise ValueError(
                'school.standard_error = "sgp" is a rule for means and medians of one result per student: '
                'choose another one with composite, years = 3, share, "trimmed_mean" or "mean_residual"'
            )
        if self.share == "enrolment" and self.enrolled_only:
            raise ValueError(
                'school.share = "enrolment" says who counts where, and so does enrolled_only: choose one'
            )
        if self.shrinkage == "eblp" and (several or self.aggregate not in ("mean", "mean_residual")):
            raise ValueError(
                'school.shrinkage = "eblp" predicts means of one year and subject, each student counted '
                'once: choose aggregate = "mean" or "mean_residual", without composite, years = 3 and share'
            )
        if self.shrinkage != "eblp" and self.eblp != EblpPart():
            raise ValueError('school.eblp needs school.shrinkage = "eblp"')
        if self.shrinkage == "sgp" and (
            self.aggregate == "mean_residual" or self.growth_percentile == "normal"
        ):
            raise ValueError(
                'school.shrinkage = "sgp" moves percentiles to 50 and knows no spread: choose another '
                'aggregate than "mean_residual", and growth_percentile = "rank"'
            )
        if self.standard_error == "refit" and self.percentile != "continuous":
            raise ValueError('school.standard_error = "refit" needs school.percentile = "continuous"')
        if self.residual_scale != "points" and self.aggregate != "mean_residual":
            raise ValueError('school.residual_scale needs school.aggregate = "mean_residual"')
        mixed = self.composite != "none" or self.by_span or self.shrinkage == "eblp"
        if self.aggregate == "mean_residual" and self.residual_scale == "points" and mixed:
            raise ValueError(
                "residuals of different subjects and grades have different units: "
                'school.residual_scale = "cohort_sd" makes them comparable'
            )
        if self.span_column and not (self.by_span or self.norms_by == "span"):
            raise ValueError('school.span_column needs school.by_span = true or school.norms_by = "span"')
        return self

    @field_validator("spans")
    @classmethod
    def _apart(cls, value: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        ranges = sorted(value.values())
        if not value or "" in value or any(low > high for low, high in ranges):
            raise ValueError("grade spans have a name, a lowest and a highest grade")
        if any(before[1] >= after[0] for before, after in pairwise(ranges)):
            raise ValueError("grade spans must not overlap")
        return value

    @property
    def measure(self) -> str:
        """What is ranked, in one word and its conditions; effects of different measures do not compare."""
        trimmed = f" {self.trim:g}" if self.aggregate == "trimmed_mean" else ""
        scaled = f" in {self.residual_scale}" if self.residual_scale != "points" else ""
        several = f" of {self.years} years" if self.years > 1 else ""
        equal = " of equal subjects" if self.composite == "subjects" else ""
        return f"{self.aggregate}{trimmed}{scaled}{several}{equal}"


class Groups(BaseModel):
    """Student groups that get their own school results."""

    model_config = PART

    flags: dict[str, str] = {
        "EL": "english_learner",
        "SWD": "disability",
        "SED": "econ_disadvantaged",
    }
    """Group label -> yes/no column."""
    race: str = "race_ethnicity"
    """Column of the racial/ethnic groups, each value a group; empty for none."""
    lowest_race: bool = True
    """Add, per school and metric, the racial/ethnic group with the lowest result."""
    min_n: int = Field(20, ge=1)
    """Groups with fewer scored students in a school get no result there."""
    reference: Literal["all_students", "group"] = "all_students"
    """Distribution that ranks a group's result: the schools' all-student results, or the group's own."""
    shrink_towards: Literal["group", "school"] = "group"
    """A group's result is shrunk to the group's mean over all schools, or to what the school's other students
    make expect of it (`growth.school.towards`)."""

    @field_validator("flags")
    @classmethod
    def _labels_free(cls, value: dict[str, str]) -> dict[str, str]:
        taken = [label for label in value if label == "All" or label.startswith("race:")]
        if taken:
            raise ValueError(f"group labels {taken} are used by the engine: 'All' and 'race:...'")
        return value
