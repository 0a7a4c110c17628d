"""Reference distributions of school effects: what a school is ranked in, this year's or a frozen one.

Levels with frozen cut points can rise for everybody only if the norm is frozen as well: a rank among this
year's schools averages 50 whatever all schools achieve together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy.special import ndtr, ndtri

from growth._types import FloatArray
from growth.errors import SpecError, did_you_mean, problem
from growth.spec import School

__all__ = ["LEAST_SCHOOLS", "Measure", "Norms", "ReferenceNorm", "measure_of"]

LEAST_SCHOOLS = 2
"""A rank among one school says nothing."""

Measure: TypeAlias = tuple[str, str, str]
"""What is ranked: (aggregate, student percentile, shrinkage), as in the specification."""


def measure_of(rules: School) -> Measure:
    """Return what the specification ranks."""
    return rules.measure, rules.percentile, rules.shrinkage


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceNorm:
    """The effects of the reference schools of one year and subject.

    Build it with `of`, which sorts.
    """

    year: int
    subject: str
    group: str
    """Whose results: ``All``, or a group that is ranked among its own results."""
    effects: FloatArray
    """Shape (J,), ascending [percentile points]."""
    se: FloatArray
    """Posterior SDs (without shrinkage: SEs, may hold NaN), shape (J,), in the order of `effects`."""
    mean: float
    """Mean of true effects; without shrinkage the mean of `effects`."""
    spread: float
    """SD of true effects (tau); without shrinkage the SD of `effects`: each effect meets its own spread."""
    measure: Measure
    span: str = ""
    """Grade span of the reference schools; empty for schools of every span."""

    @classmethod
    def of(
        cls,
        key: tuple[int, str, str],
        effects: FloatArray,
        se: FloatArray,
        location: tuple[float, float],
        measure: Measure,
        span: str = "",
    ) -> ReferenceNorm:
        """Build a norm from (year, subject, group), effects in any order, and (mean, spread)."""
        order = np.lexsort((se, effects))
        ascending, se = effects[order], se[order]
        ascending.setflags(write=False)
        se.setflags(write=False)
        return cls(*key, ascending, se, *location, measure, span)

    @property
    def schools(self) -> int:
        """Number of reference schools, J."""
        return len(self.effects)

    def __repr__(self) -> str:
        return (
            f"ReferenceNorm({self.subject} {self.year}, {self.span}{', ' * bool(self.span)}{self.group}: "
            f"{self.schools:,} schools, "
            f"mean {self.mean:.1f}, spread {self.spread:.1f})"
        )

    def rank(self, effects: FloatArray) -> FloatArray:
        """Return percentile ranks 100 (#below + #equal / 2) / J, shape as given; NaN stays NaN.

        For a reference school this is 100 (rank - 1/2) / J with ties at their mean rank.
        """
        below = np.searchsorted(self.effects, effects, side="left")
        upto = np.searchsorted(self.effects, effects, side="right")
        # One division of whole numbers, so that a rank of exactly 10 is exactly 10.
        return np.where(np.isnan(effects), np.nan, 100.0 * (below + upto) / (2 * self.schools))

    def normal(self, effects: FloatArray) -> FloatArray:
        """Return 100 Phi((effect - mean) / spread); in a norm without spread its limit 0, 50 or 100."""
        distance = effects - self.mean
        if self.spread > 0:
            return 100.0 * np.asarray(ndtr(distance / self.spread))
        return 50.0 * (1.0 + np.sign(distance))

    def effect_at(self, percentile: FloatArray, rule: str) -> FloatArray:
        """Return the least effect whose place is at least `percentile`, shape as given.

        Parameters
        ----------
        percentile : ndarray
            0-100; NaN for NaN and above 100.
        rule : str
            ``"rank"`` or ``"normal"``. A normal norm without spread has no inverse: NaN.
        """
        target = np.asarray(percentile, dtype=np.float64)
        if rule == "normal":
            with np.errstate(divide="ignore"):
                effect = self.mean + self.spread * np.asarray(ndtri(target / 100.0))
            short = self.normal(effect) < target  # by rounding
            effect = np.where(short, np.nextafter(effect, np.inf), effect)
            return effect if self.spread > 0 else np.full_like(target, np.nan)
        values = np.unique(self.effects)
        at, above = self.rank(values), self.rank(np.nextafter(values, np.inf))
        reach = np.minimum(np.searchsorted(above, target, side="left"), len(values) - 1)
        # The rank of a tie with reference schools lies half way between those just below and just above them.
        effect = np.where(at[reach] >= target, values[reach], np.nextafter(values[reach], np.inf))
        return np.where(target <= 100.0, effect, np.nan)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `from_dict` restores every bit."""
        aggregate, percentile, shrinkage = self.measure
        return {
            "year": self.year,
            "subject": self.subject,
            "group": self.group,
            "span": self.span,
            "aggregate": aggregate,
            "percentile": percentile,
            "shrinkage": shrinkage,
            "mean": self.mean,
            "spread": self.spread,
            "effects": self.effects.tolist(),
            "se": [None if np.isnan(x) else x for x in self.se.tolist()],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ReferenceNorm:
        """Restore a norm.

        Raises
        ------
        SpecError
            If a part is missing or impossible.
        """
        try:
            effects = np.array(data["effects"], dtype=np.float64)
            se = np.array([np.nan if x is None else x for x in data["se"]], dtype=np.float64)
            key = (int(data["year"]), str(data["subject"]), str(data["group"]))
            span = str(data.get("span", ""))
            location = (float(data["mean"]), float(data["spread"]))
            measure = (str(data["aggregate"]), str(data["percentile"]), str(data["shrinkage"]))
        except (KeyError, TypeError, ValueError) as error:
            raise SpecError(problem(f"A reference norm cannot be read: {error!r}", fix=_REWRITE)) from None
        usable = effects.ndim == 1 and effects.shape == se.shape and len(effects) >= LEAST_SCHOOLS
        if not (usable and np.isfinite(effects).all() and np.isfinite(location).all() and location[1] >= 0):
            rule = f"at least {LEAST_SCHOOLS} finite effects, as many SEs, finite mean, spread of 0 or more"
            raise SpecError(problem(f"The reference norm of {key} is not usable", rule=rule, fix=_REWRITE))
        return cls.of(key, effects, se, location, measure, span)


_REWRITE = "write it again with to_dict() from the run that it comes from"


@dataclass(frozen=True, slots=True)
class Norms:
    """Reference distributions of several subjects, years and groups."""

    items: tuple[ReferenceNorm, ...]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[ReferenceNorm]:
        return iter(self.items)

    def __repr__(self) -> str:
        return "\n".join(["Norms(", *(f"  {norm!r}," for norm in self.items), ")"])

    def of_year(self, year: int) -> Norms:
        """Return the norms of one year, to freeze them.

        Raises
        ------
        SpecError
            If there is none.
        """
        found = tuple(norm for norm in self.items if norm.year == year)
        if not found:
            years = sorted({norm.year for norm in self.items})
            raise SpecError(problem(f"There is no reference norm of {year}", fix=f"use one of {years}"))
        return Norms(found)

    def find(self, subject: str, group: str, span: str = "") -> ReferenceNorm | None:
        """Return the norm of a subject, group and grade span, None if there is none.

        Raises
        ------
        SpecError
            If several years have one: a frozen norm is of one year.
        """
        wanted = (subject, group, span)
        found = [norm for norm in self.items if (norm.subject, norm.group, norm.span) == wanted]
        if len(found) > 1:
            years = sorted({norm.year for norm in found})
            raise SpecError(
                problem(
                    f"{subject} has reference norms of several years: {years}",
                    rule="a frozen norm is of one base year",
                    fix=f"choose it with norms.of_year({years[0]})",
                )
            )
        return found[0] if found else None

    def check(self, measure: Measure) -> None:
        """Refuse to rank one kind of effect among another.

        Raises
        ------
        SpecError
            If a norm holds other effects than those of the specification.
        """
        for norm in self.items:
            if norm.measure != measure:
                raise SpecError(
                    problem(
                        f"The frozen norm of {norm.subject} {norm.year} holds {_words(norm.measure)}, "
                        f"but the specification ranks {_words(measure)}",
                        rule="a school is ranked among effects of its own kind",
                        fix="use school.aggregate, school.percentile and school.shrinkage of the base year",
                    )
                )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"norms": [norm.to_dict() for norm in self.items]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Norms:
        """Restore norms; raises SpecError as `ReferenceNorm.from_dict` does."""
        if "norms" not in data:
            hint = did_you_mean("norms", data)
            raise SpecError(problem(f"The key 'norms' is missing{hint}", fix=_REWRITE))
        return cls(tuple(ReferenceNorm.from_dict(item) for item in data["norms"]))


def _words(measure: Measure) -> str:
    aggregate, percentile, shrinkage = measure
    return f"the {aggregate} of {percentile} percentiles, shrinkage {shrinkage}"
