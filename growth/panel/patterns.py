"""Prior patterns: which earlier scores a cohort has in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from growth.errors import SpecError, problem
from growth.spec import Cohorts

__all__ = ["Pattern", "Prior", "cohort_patterns", "progression", "repeater_pattern"]


@dataclass(frozen=True, slots=True)
class Prior:
    """One earlier score."""

    subject: str
    lag: int
    """Years back."""
    grade: int
    """Grade of the prior; the current grade itself for repeaters."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """The earlier scores of a cohort: own subject first, most recent first, then the other subjects."""

    priors: tuple[Prior, ...]

    def __len__(self) -> int:
        return len(self.priors)

    @property
    def own(self) -> int:
        """Number of priors in the cohort's own subject."""
        return sum(prior.subject == self.priors[0].subject for prior in self.priors)

    @property
    def other(self) -> int:
        """Largest number of priors in another subject."""
        subjects = [prior.subject for prior in self.priors[self.own :]]
        return max((subjects.count(subject) for subject in subjects), default=0)

    @property
    def rank(self) -> tuple[int, int]:
        """Preference: more priors first, then more own priors; larger is preferred."""
        return len(self.priors), self.own

    def depth(self, subject: str) -> int:
        """Return the number of priors in `subject`."""
        return sum(prior.subject == subject for prior in self.priors)


def progression(grade: int, cohorts: Cohorts, lowest: int) -> tuple[int, ...]:
    """Return the prior grades of `grade`, most recent first, none below grade `lowest`.

    Raises
    ------
    SpecError
        If ``cohorts.progressions`` gives prior grades that do not decrease from `grade`.
    """
    given = cohorts.progressions.get(grade)
    if given is not None:
        path = (grade, *given)
        if not given or any(later <= earlier for later, earlier in zip(path, given, strict=False)):
            raise SpecError(
                problem(
                    f"cohorts.progressions.{grade} = {list(given)} is not a progression",
                    rule="prior grades, most recent first, each lower than the one before and than the grade",
                    fix=f"for example {grade} = [{grade - 1}, {grade - 2}]",
                )
            )
    steps = given or tuple(range(grade - 1, lowest - 1, -1))
    return steps[: max(cohorts.own_priors, cohorts.other_priors)]


def cohort_patterns(
    subject: str, grade: int, steps: tuple[int, ...], own: int, other: Mapping[str, int]
) -> list[Pattern]:
    """Return every pattern with 1..own own priors and 0..m priors in each other subject, least first.

    Parameters
    ----------
    subject, grade
        Of the current score.
    steps : tuple of int
        Prior grades, most recent first.
    own : int
        Most own priors that any student has.
    other : mapping
        Other subject -> most priors in it that enough students have; one with fewer than m gives all it has.
    """
    patterns = []
    for n_own in range(1, own + 1):
        for n_other in range(max(other.values(), default=0) + 1):
            depths = {subject: n_own} | {name: min(n_other, depth) for name, depth in other.items()}
            priors = (
                Prior(name, grade - steps[i], steps[i])
                for name, depth in depths.items()
                for i in range(depth)
            )
            patterns.append(Pattern(tuple(priors)))
    return sorted(patterns, key=lambda pattern: pattern.rank)


def repeater_pattern(subject: str, grade: int) -> Pattern:
    """Return the pattern of students who took the same grade's test the year before."""
    return Pattern((Prior(subject, 1, grade),))
