"""What happens to rows that break a rule on which reasonable people differ."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from growth.spec.part import PART

__all__ = ["Rows"]


class Rows(BaseModel):
    """Rows and values that break a rule: refused by default, or counted out; ``growth check --rules``."""

    model_config = PART

    duplicates: Literal["error", "copies", "highest_score", "exclude"] = "error"
    """Several rows of a student, year and subject: refuse; drop rows that are the same in every column that
    is used, and refuse the rest; keep the highest score; or exclude them all."""
    unknown_grade: Literal["error", "exclude"] = "error"
    """Grades that are not K, PK or 1-13, such as ungraded."""
    unreadable_score: Literal["error", "missing"] = "error"
    """Scores that are no finite number: refuse, or take as no score."""
    unclear_flags: Literal["error", "missing"] = "error"
    """Values of yes/no columns that mean neither: refuse, or take as blank."""
    unearned_scores: Literal["exclude", "keep"] = "exclude"
    """Lowest scores given to students who did not answer enough (California's condition code LOSS)."""
    no_school: Literal["keep", "exclude", "error"] = "keep"
    """Rows without a school: they count for students' results only, or not at all, or are refused."""
    latest_year: int | None = Field(None, ge=1900, le=2200)
    """Latest year that can be; the school year after the current one if not given. That default goes by the
    calendar, and can only refuse a table, never change a result: what passed once passes ever after."""
    later_year: Literal["error", "exclude"] = "error"
    """Rows of a later year than that: refuse, or exclude, which needs a `latest_year`."""

    @model_validator(mode="after")
    def _not_by_the_clock(self) -> Self:
        if self.later_year == "exclude" and self.latest_year is None:
            raise ValueError(
                'rows.later_year = "exclude" needs rows.latest_year: this must not depend on the day'
            )
        return self
