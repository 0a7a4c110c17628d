"""Predicting a school's growth from all years, grades and subjects (EBLP)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from growth.spec.part import PART

__all__ = ["EblpPart"]


class EblpPart(BaseModel):
    """What ``school.shrinkage = "eblp"`` predicts and how; see `growth.school.eblp`.

    Blocks are all years (``cohorts.years``) x grades x subjects of the run. It bears on schools' results for
    all students; groups, districts and grade spans are shrunk by empirical Bayes.
    """

    model_config = PART

    target: Literal["latest", "all"] = "latest"
    """A result of a year and subject is the mean, weighted by students, over its grades; or over the grades
    of all years up to that one."""
    afterwards: Literal["empirical_bayes", "none"] = "empirical_bayes"
    """EBLP borrows within a school, never from other schools, and leaves small schools at both ends of a
    ranking: shrink its predictions by their mean squared errors towards all schools, or rank them as they
    are."""
    jackknife: int = Field(50, ge=0, le=1000)
    """Batches of schools left out in turn, for what not knowing G adds to the error; 0 for none."""
    min_block: int = Field(100, ge=2)
    """Blocks with fewer students are not modelled; their students count as observed."""
    min_schools: int = Field(10, ge=1)
    """Grades, years and subjects are modelled together if every two of them are in so many schools."""
