"""How uncertain a student's growth percentile is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, Field, model_validator

from growth.spec.part import PART

__all__ = ["IntervalSource", "Intervals"]

IntervalSource: TypeAlias = Literal["measurement", "curves"]


class Intervals(BaseModel):
    """The interval of each student's percentile: which errors it holds, and how they are worked out."""

    model_config = PART

    sources: tuple[IntervalSource, ...] | Literal["known"] = "known"
    """`measurement`: the error of the current score, given curves and priors (needs `measurement.csem`);
    `curves`: the sampling error of the fitted curves (every replicate is a refit). "known" stands for
    `measurement` where `measurement.csem` says how large it is, else for none."""
    coverage: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Share of intervals that hold what they are for; as much is left out below as above."""
    method: Literal["exact", "simulation"] = "exact"
    """Distribution of the percentile of a score redrawn with its CSEM: computed, or from `draws` of it, as in
    the R package."""
    draws: int = Field(100, ge=2, le=10_000)
    """`simulation`: redrawn scores per student. With `curves` they are dealt out to the refits in turn."""
    digits: int = Field(1, ge=0, le=3)
    """Decimals of a redrawn score [scale-score points]."""
    refits: int = Field(50, ge=20, le=1_000)
    """`curves`: replicates, each fitted to students with random weights (unit exponential)."""
    cluster: Literal["student", "school"] = "student"
    """`curves`: what gets a weight of its own. Students of a school share teachers and tests; with `school`
    the interval holds that as well, and needs some 20 schools in each cohort to be believed."""
    seed: int = Field(20_091_103, ge=0)
    """Of redrawn scores and of the weights of refits."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.sources != "known" and len(set(self.sources)) < len(self.sources):
            raise ValueError("intervals.sources names a source twice")
        if "curves" in self.sources and self.method == "simulation" and self.draws < self.refits:
            raise ValueError(
                f"intervals.draws = {self.draws} leave some of the {self.refits} refits without a draw: "
                "raise draws, or lower refits"
            )
        return self

    def used(self, csem: str) -> tuple[IntervalSource, ...]:
        """Return the sources that count where CSEMs come from `csem` (``measurement.csem``)."""
        if self.sources != "known":
            return self.sources
        return () if csem == "none" else ("measurement",)

    def check(self, csem: str, engine: str) -> None:
        """Refuse what a specification cannot have.

        Raises
        ------
        ValueError
            If the error of measurement is asked for and not known, the engine has no curves to refit, or a
            choice has no effect.
        """
        if "measurement" in self.sources and csem == "none":
            raise ValueError(
                'intervals.sources = "measurement" needs the CSEM of the scores: '
                'measurement.csem = "column", "table" or "function"'
            )
        if "curves" in self.sources and engine != "quantile":
            raise ValueError(
                f'intervals.sources = "curves" refits conditional quantiles, and student.engine = {engine!r} '
                'has none: leave it out, or take the engine "quantile"'
            )
        if idle := list(self._idle(self.used(csem))):
            raise ValueError(
                f"{', '.join(f'intervals.{name}' for name in idle)} would have no effect: leave it out, or "
                "choose the intervals.sources, measurement.csem or intervals.method that it belongs to"
            )

    def _idle(self, used: tuple[IntervalSource, ...]) -> Iterator[str]:
        """Yield the choices that differ from the default and change nothing."""
        redrawn, refitted = "measurement" in used, "curves" in used
        needs = {
            "coverage": bool(used),
            "method": redrawn,
            "digits": redrawn,
            "draws": redrawn and self.method == "simulation",
            "refits": refitted,
            "cluster": refitted,
        }
        for name, has_effect in needs.items():
            if not has_effect and getattr(self, name) != type(self).model_fields[name].default:
                yield name
