"""What a base year hands to later years, and what happens to cohorts that it does not know."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import BaseModel, model_validator

from growth.spec.part import PART

__all__ = ["PARTS", "Freeze", "FrozenPart"]

FrozenPart: TypeAlias = Literal["curves", "norms", "cuts"]

PARTS: tuple[FrozenPart, ...] = ("curves", "norms", "cuts")
"""What can be frozen: the cohorts' models, the distributions of school effects, the cut points."""


class Freeze(BaseModel):
    """Freezing a year and applying it to later ones."""

    model_config = PART

    parts: tuple[FrozenPart, ...] = PARTS
    """What `GrowthRun.freeze` keeps: `curves`, every cohort's knots and coefficients, so that growth of all
    students alike shows in later years; `norms`, the distributions that schools are ranked in; `cuts`, the
    cut points of the levels. A later year takes all that the bundle holds."""
    missing: Literal["error", "refit"] = "error"
    """A later year's cohort that the bundle has no curves for: refused, or fitted on its own students, whose
    percentiles then average 50 and who show no growth of the system."""

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if not self.parts or len(set(self.parts)) < len(self.parts):
            raise ValueError(f"freeze.parts names each part once, and at least one: {', '.join(PARTS)}")
        return self
