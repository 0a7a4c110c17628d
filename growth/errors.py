"""Everything `growth` raises on purpose, and how a message is built.

A message names the culprit, shows the rule it broke and how many rows broke it, and offers the way
out. It never contains a student's id or any value from a student's row.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CohortError",
    "ColumnError",
    "ConvergenceError",
    "GrowthError",
    "GrowthWarning",
    "MeasureError",
    "SpecError",
    "StoreError",
    "TableError",
    "did_you_mean",
    "problem",
]


class GrowthError(Exception):
    """Base of every error raised on purpose by this package."""


class SpecError(GrowthError, ValueError):
    """A specification is not valid: unknown key, impossible value, contradictory choices."""


class TableError(GrowthError, ValueError):
    """The input table as a whole cannot be used: empty, unreadable, duplicate keys."""


class ColumnError(TableError):
    """A column is missing, has the wrong type, or holds impossible values."""


class CohortError(GrowthError, ValueError):
    """No cohort (grade x subject x year x prior pattern) can be formed or fitted."""


class ConvergenceError(GrowthError, ArithmeticError):
    """A quantile-regression fit ended without a certificate of optimality."""


class MeasureError(GrowthError, TypeError):
    """One kind of percentile was handed to a rule that is defined for another kind."""


class StoreError(GrowthError, OSError):
    """A run folder or file could not be read or written."""


class GrowthWarning(UserWarning):
    """Something the user should know that does not invalidate the result."""


def problem(what: str, *, rule: str | None = None, rows: int | None = None, fix: str | None = None) -> str:
    """Build a message: culprit, rule, row count, remedy.

    Parameters
    ----------
    what : str
        The culprit and what is wrong with it. Never a student's data.
    rule : str, optional
        The rule that is broken.
    rows : int, optional
        How many rows break it.
    fix : str, optional
        What the user can do about it.
    """
    parts = [what.rstrip(".") + "."]
    if rows is not None:
        parts.append(f"Rows affected: {rows:,}.")
    if rule is not None:
        parts.append(f"Rule: {rule.rstrip('.')}.")
    if fix is not None:
        parts.append(f"To fix: {fix.rstrip('.')}.")
    return " ".join(parts)


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest valid name, or an empty string."""
    near = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
