"""One student's growth in a sentence, never without its interval, and what the interval holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from growth.spec import GrowthSpec

__all__ = ["growth_sentence", "interval_sentence"]

_SOURCES = {
    "measurement": "measurement error of this year's score",
    "curves": "sampling error of the comparison",
}
_NONE = "measurement.csem and intervals.sources name none"


def growth_sentence(row: Mapping[str, Any], spec: GrowthSpec) -> str:
    """Return a student's result in words.

    Parameters
    ----------
    row : mapping
        sgp, sgp_low, sgp_high and status of a row of the students frame.
    spec : GrowthSpec
        Of the run.

    Examples
    --------
    >>> spec = GrowthSpec.preset("core").replace({"measurement.csem": "column"})
    >>> row = {"sgp": 62, "sgp_low": 48, "sgp_high": 75, "status": "scored"}
    >>> growth_sentence(row, spec)
    "Grew more than 62 of 100 similar students; 90 % interval 48-75 (measurement error of this year's score)."
    >>> growth_sentence(row | {"sgp_low": None, "sgp_high": None}, spec)
    'Grew more than 62 of 100 similar students; interval not known (this score has no CSEM).'
    """
    if row["sgp"] is None:
        return f"No growth percentile ({str(row['status']).replace('_', ' ')})."
    grew = f"Grew more than {row['sgp']} of 100 similar students"
    if row["sgp_low"] is not None:
        ends = f"{row['sgp_low']}-{row['sgp_high']}"
        return f"{grew}; {_percent(spec)} interval {ends} ({_held(spec)})."
    why = "this score has no CSEM" if _held(spec) else _NONE
    return f"{grew}; interval not known ({why})."


def interval_sentence(spec: GrowthSpec) -> str:
    """Return what is known of the uncertainty of students' percentiles under a specification.

    Examples
    --------
    >>> interval_sentence(GrowthSpec.preset("core"))
    'No intervals are known for student percentiles (measurement.csem and intervals.sources name none).'
    """
    if held := _held(spec):
        return f"Student percentiles have {_percent(spec)} intervals, sgp_low to sgp_high ({held})."
    return f"No intervals are known for student percentiles ({_NONE})."


def _percent(spec: GrowthSpec) -> str:
    return f"{100 * spec.intervals.coverage:g} %"


def _held(spec: GrowthSpec) -> str:
    return " and ".join(_SOURCES[source] for source in spec.intervals.used(spec.measurement.csem))
