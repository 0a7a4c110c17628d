"""What is known of a layout: names, marks, codes, rows that are no results, and how a wide table unfolds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from growth.spec import LayoutName

__all__ = ["Block", "Layout", "Screen", "folded"]

_NOT_A_LETTER: Final = re.compile(r"[^a-z0-9]+")


def folded(name: str) -> str:
    """Return a column name without case, blanks and punctuation: ``Student ID`` -> ``studentid``."""
    return _NOT_A_LETTER.sub("", name.lower())


@dataclass(frozen=True, slots=True)
class Screen:
    """Rows that are no results of this test, by the code in one column; `reason` counts them.

    Codes are compared in upper case, without outer blanks and, for descriptors, after the last ``#``. A code
    in neither `keep` nor `drop` is refused. A blank code stays, unless `blank_is_refused`.
    """

    column: str
    """Own name."""
    reason: str
    keep: frozenset[str] | None
    """None: every code that is not in `drop`."""
    drop: frozenset[str] | None
    """None: every code that is not in `keep`."""
    unearned: bool = False
    """Only if ``rows.unearned_scores = "exclude"``."""
    blank_is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """One record per row of a wide table: a subject, a year, or both."""

    fixed: Mapping[str, str]
    """Own name -> value, read from the column names."""
    columns: Mapping[str, str]
    """Own name -> the caller's column."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One way in which tables of student scores are kept."""

    name: LayoutName
    title: str
    names: Mapping[str, tuple[str, ...]]
    """Own name -> names of the column, the first that is there counts."""
    marks: tuple[str, ...]
    """Own names whose columns identify the layout."""
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Own name -> code in upper case -> text to read instead."""
    screens: tuple[Screen, ...] = ()
    descriptors: tuple[str, ...] = ()
    """Own names whose text counts after its last ``#``."""
    blocks: Callable[[Sequence[str]], tuple[Block, ...]] | None = None
    """Column names -> the records of each row of a wide table."""

    @property
    def side_columns(self) -> tuple[str, ...]:
        """Own names that only screens use."""
        names = dict.fromkeys(screen.column for screen in self.screens)
        return tuple(name for name in names if name != "subject")
