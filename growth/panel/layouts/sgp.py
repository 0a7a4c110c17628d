"""The R package SGP: its long table, and its wide one (``ID, GRADE_2023, SS_2023, ...``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from growth.panel.layouts.layout import Block, Layout

__all__ = ["LONG", "WIDE"]

_ONE: Final = {
    "student_id": "ID",
    "year": "YEAR",
    "subject": "CONTENT_AREA",
    "grade": "GRADE",
    "score": "SCALE_SCORE",
    "school_id": "SCHOOL_NUMBER",
    "district_id": "DISTRICT_NUMBER",
    "enrolled": "SCHOOL_ENROLLMENT_STATUS",
    "valid": "VALID_CASE",
    "race_ethnicity": "ETHNICITY",
    "econ_disadvantaged": "FREE_REDUCED_LUNCH_STATUS",
    "english_learner": "ELL_STATUS",
    "disability": "IEP_STATUS",
    "school_name": "SCHOOL_NAME",
    "district_name": "DISTRICT_NAME",
    "achievement_level": "ACHIEVEMENT_LEVEL",
    "csem": "SCALE_SCORE_CSEM",
    "gender": "GENDER",
}

LONG: Final = Layout(
    name="sgp",
    title="long table of the R package SGP",
    names={own: (name,) for own, name in _ONE.items()},
    marks=("student_id", "year", "subject", "grade", "score", "school_id"),
)

_BY_YEAR: Final = {
    name: own for own, name in _ONE.items() if own not in ("student_id", "year", "subject")
} | {
    "SS": "score",
    "SCORE": "score",
    "CSEM": "csem",
}
_STEM_AND_YEAR: Final = re.compile(r"(.+?)[_.](\d{4}(?:[_-]\d{2}(?:\d{2})?)?)")


def _blocks(columns: Sequence[str]) -> tuple[Block, ...]:
    years: dict[str, dict[str, str]] = {}
    for name in columns:
        match = _STEM_AND_YEAR.fullmatch(name)
        own = _BY_YEAR.get(match[1].upper()) if match else None
        if match and own:
            years.setdefault(match[2], {}).setdefault(own, name)
    return tuple(
        Block({"year": year}, found)
        for year, found in sorted(years.items())
        if "score" in found and "grade" in found
    )


WIDE: Final = Layout(
    name="sgp_wide",
    title="wide table of the R package SGP, one column per year",
    names={own: (name,) for own, name in _ONE.items() if own not in ("year", "grade", "score")},
    marks=("student_id",),
    blocks=_blocks,
)
