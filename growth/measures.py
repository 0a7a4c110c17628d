"""Three percentiles that must never be confused, as three types.

A *student growth percentile* places one student among similar students. A *school mean percentile*
averages them (in practice 30-70). A *school growth percentile* places one school among schools (0-100)
and is the only one that level rules accept: raw school means never reach levels 1-2 or 9-10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from growth._types import FloatArray
from growth.errors import MeasureError

__all__ = ["SchoolGrowthPercentile", "SchoolMeanPercentile", "StudentPercentile", "require"]


@dataclass(frozen=True, slots=True, eq=False)
class _Percentiles:
    values: FloatArray

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)  # a copy: nobody else may write to it
        low, high = self._range()
        with np.errstate(invalid="ignore"):
            bad = int(np.count_nonzero((values < low) | (values > high)))
        if bad:
            raise MeasureError(f"{type(self).__name__}: {bad} value(s) outside [{low:g}, {high:g}].")
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    @staticmethod
    def _range() -> tuple[float, float]:
        return 0.0, 100.0

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n={len(self)})"


class StudentPercentile(_Percentiles):
    """Continuous student growth percentiles, shape (n,), in (0, 1); NaN where a student has none."""

    __slots__ = ()

    @staticmethod
    def _range() -> tuple[float, float]:
        return 0.0, 1.0


class SchoolMeanPercentile(_Percentiles):
    """Mean or median student percentile of each school, shape (J,), in 0-100 [percentile points]."""

    __slots__ = ()


class SchoolGrowthPercentile(_Percentiles):
    """Percentile rank of each school in a reference distribution of schools, shape (J,), in 0-100."""

    __slots__ = ()


_P = TypeVar("_P", bound=_Percentiles)


def require(kind: type[_P], value: object, rule: str) -> _P:
    """Return `value` if it is a `kind`, else raise.

    Raises
    ------
    MeasureError
        If `value` is another kind of percentile, or an array without a kind.
    """
    if isinstance(value, kind):
        return value
    given = type(value).__name__
    raise MeasureError(
        f"{rule} is defined for a {kind.__name__}, not for {given}. "
        f"Wrap the array in {kind.__name__}(...) only if that is what its numbers are."
    )
