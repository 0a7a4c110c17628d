"""Who is paired with whom: how similar schools must be, who can be a partner, and which pairs stay."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from growth.spec.part import PART

__all__ = ["Pairing"]

Quantile = Annotated[float, Field(gt=0.0, le=1.0)]
Level = Annotated[float, Field(ge=1.0, le=10.0)]


class Pairing(BaseModel):
    """Pairs of low-growth with high-growth schools of similar students, and communities of practice."""

    model_config = PART

    lowest_share: float = Field(0.05, gt=0.0, lt=1.0)
    """Share of schools that get a partner where no list of schools is given."""
    grade_share: float = Field(0.05, ge=0.0, lt=0.5)
    """A grade with a smaller share of a school's students does not count for its grade span, which partners
    have in common."""
    low_level: Level = 5.0
    """A school with this mean level over subjects or less is nobody's partner, however low the other is."""
    min_level: Level = 8.0
    """Partners have at least this mean level over subjects, or ..."""
    min_probability: float = Field(0.8, gt=0.5, le=1.0)
    """... their growth exceeds that of the school they help with at least this probability."""
    ridge: float = Field(0.1, gt=0.0, allow_inf_nan=False)
    """Added to the diagonal of the traits' correlation matrix before it is inverted; traits that say the same
    thing then count less than twice, and those of few schools do not explode."""
    caliper: Quantile = 0.25
    """No partner is farther away than this quantile of the distances between schools of the grade span."""
    capacity: int = Field(1, ge=1)
    """Most schools that one partner takes on, sitting pairs included."""
    keep_sitting: bool = True
    """Keep last year's pairs unless there is a reason to break one."""
    sitting_level: Level = 6.0
    """A sitting partner falls out below this mean level, unless it still meets `min_probability`."""
    sitting_caliper: Quantile = 0.5
    """A sitting partner may be this far away: the caliper for pairs that exist."""
    need_level: int = Field(3, ge=1, le=9)
    """Metrics of this level or lower are needs of a school."""
    strong_level: int = Field(7, ge=2, le=10)
    """A partner helps with a need if its own level in that metric is at least this."""
    need_weight: float = Field(1.0, ge=0.0, allow_inf_nan=False)
    """What needs that a partner does not help with (and needs that members of a community do not share) cost,
    all of them together [units of distance]."""
    needs_met: float = Field(0.0, ge=0.0, le=1.0)
    """Least share of a school's needs that a partner must help with."""
    community_min: int = Field(2, ge=2)
    """Fewest schools of a community of practice."""
    community_max: int = Field(4, ge=2)
    """Most schools of a community of practice."""
    community_size: float = Field(3.0, ge=2.0)
    """Schools per community on average; this sets how many communities there are."""
    seed: int = 20_150_817
    """Of the searches for communities."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.low_level >= self.sitting_level:
            raise ValueError(
                "pairing.low_level must be below pairing.sitting_level: low schools are no partners"
            )
        if self.strong_level <= self.need_level:
            raise ValueError("pairing.strong_level must be above pairing.need_level: a need is no strength")
        if self.sitting_level > self.min_level or self.sitting_caliper < self.caliper:
            raise ValueError(
                "sitting pairs would be judged more harshly than new ones: pairing.sitting_level must not be "
                "above pairing.min_level, nor pairing.sitting_caliper below pairing.caliper"
            )
        if not self.community_min <= self.community_size <= self.community_max:
            raise ValueError("community_min <= community_size <= community_max must hold")
        if self.community_max < 2 * self.community_min - 1:
            raise ValueError(
                f"{2 * self.community_min - 1} schools cannot be divided into communities of "
                f"{self.community_min} to {self.community_max}: raise pairing.community_max"
            )
        return self
