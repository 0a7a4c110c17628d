"""From students to schools: what is averaged, how sure it is, among whom it is ranked, for which groups."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, field_validator

from growth._types import Aggregate, PercentileKind, VarianceRule
from growth.spec.part import PART

__all__ = ["Groups", "School"]


class School(BaseModel):
    """From student percentiles to a school's growth percentile."""

    model_config = PART

    percentile: PercentileKind = "continuous"
    """Student percentile that schools are built from: continuous in (0, 1) or the integer SGP 1-99; corrected
    for measurement error by SIMEX or ranked SIMEX, likewise continuous or (`_integer`) 1-99."""
    aggregate: Aggregate = "mean"
    standard_error: Literal["pooled", "own", "sgp"] = "pooled"
    """Mean: pooled within-school SD (or the school's own SD) / sqrt(n); median: 50 / sqrt(n).
    "sgp": the R package's rules, SD / sqrt(n) for means and 1.253 times that for medians."""
    shrinkage: Literal["none", "empirical_bayes"] = "empirical_bayes"
    variance: VarianceRule = "integrated"
    """How much schools differ: averaged over what is known of it, so that bands also cover where schools are
    few; or estimated by "moments" (DerSimonian & Laird) or "reml" and then taken as known."""
    growth_percentile: Literal["rank", "normal"] = "rank"
    min_n: int = Field(20, ge=1)
    """Schools with fewer scored students get no result."""
    enrolled_only: bool = False
    """Count only rows whose `enrolled` column says yes (full academic year)."""
    band_draws: int = Field(2000, ge=200)
    """Posterior draws behind each rank band."""
    seed: int = 20_170_813


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
    reference: Literal["all_students", "group"] = "all_students"
    """Distribution that ranks a group's result: the schools' all-student results, or the group's own."""

    @field_validator("flags")
    @classmethod
    def _labels_free(cls, value: dict[str, str]) -> dict[str, str]:
        taken = [label for label in value if label == "All" or label.startswith("race:")]
        if taken:
            raise ValueError(f"group labels {taken} are used by the engine: 'All' and 'race:...'")
        return value
