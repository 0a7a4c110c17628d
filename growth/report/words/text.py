"""What every chapter of words needs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from growth.report.labels import column_words, listed
from growth.spec import GrowthSpec

__all__ = ["Note", "flow", "grades_in_words", "traits_in_words"]


@dataclass(frozen=True, slots=True)
class Note:
    """A short heading and the sentences under it."""

    title: str
    text: str


def flow(text: str) -> str:
    """Return a text written over several lines as one."""
    return " ".join(text.split())


def grades_in_words(grades: tuple[int, ...]) -> str:
    """Return ``"grades 3–8 and 11"``."""
    if len(grades) < 2:
        return f"grade {grades[0]}" if grades else "no grade"
    starts = [grades[0], *(after for before, after in pairwise(grades) if after != before + 1)]
    ends = [*(before for before, after in pairwise(grades) if after != before + 1), grades[-1]]
    runs = zip(starts, ends, strict=True)
    return "grades " + listed(f"{first}" if first == last else f"{first}–{last}" for first, last in runs)


def traits_in_words(spec: GrowthSpec) -> list[str]:
    """Return the student characteristics of the peer definition."""
    return [column_words(name) for name in (*spec.peers.flags, *spec.peers.categories)]
