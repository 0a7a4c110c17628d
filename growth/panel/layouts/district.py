"""A district's wide file: a row per student, columns like ``ELA_2024``, ``MATH_SCORE``, ``ELA_SS_2023``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from growth.panel.layouts.layout import Block, Layout

__all__ = ["DISTRICT_WIDE"]

_SUBJECTS: Final = "ELA|MATH|MATHEMATICS|READING|WRITING|SCIENCE|ALGEBRA|GEOMETRY|HISTORY|SOCIAL_STUDIES"
_MEASURES: Final = {
    "": "score",
    "SS": "score",
    "SCORE": "score",
    "SCALESCORE": "score",
    "SCALE_SCORE": "score",
    "CSEM": "csem",
    "SEM": "csem",
    "GRADE": "grade",
    "LEVEL": "achievement_level",
}
_YEAR: Final = r"\d{4}(?:[_-]\d{2}(?:\d{2})?)?"
_CELL: Final = re.compile(
    rf"({_SUBJECTS})(?:[ _.-]({'|'.join(filter(None, _MEASURES))}))?(?:[ _.-]({_YEAR}))?", re.IGNORECASE
)
_BY_YEAR: Final = re.compile(rf"(GRADE|SCHOOL|SCHOOL_ID|DISTRICT_ID)[ _.-]({_YEAR})", re.IGNORECASE)
_OWN_BY_YEAR: Final = {
    "GRADE": "grade",
    "SCHOOL": "school_id",
    "SCHOOL_ID": "school_id",
    "DISTRICT_ID": "district_id",
}


def _blocks(columns: Sequence[str]) -> tuple[Block, ...]:
    cells: dict[tuple[str, str], dict[str, str]] = {}
    years: dict[str, dict[str, str]] = {}
    for name in columns:
        if match := _CELL.fullmatch(name):
            own = _MEASURES[(match[2] or "").upper()]
            cells.setdefault((match[1].upper(), match[3] or ""), {}).setdefault(own, name)
        elif match := _BY_YEAR.fullmatch(name):
            years.setdefault(match[2], {}).setdefault(_OWN_BY_YEAR[match[1].upper()], name)
    return tuple(
        Block({"subject": subject} | ({"year": year} if year else {}), years.get(year, {}) | found)
        for (subject, year), found in sorted(cells.items())
        if "score" in found
    )


DISTRICT_WIDE: Final = Layout(
    name="district_wide",
    title="district's wide file, columns by subject",
    names={
        "student_id": ("student_id", "StudentID", "SSID", "STATE_ID", "STUDENT_NUMBER", "ID"),
        "year": ("year", "SchoolYear"),
        "grade": ("grade", "GradeLevel"),
        "school_id": ("school_id", "SchoolID", "school", "SCHOOL_NUMBER", "SchoolCode"),
        "district_id": ("district_id", "DistrictID", "DistrictCode"),
        "school_name": ("school_name",),
        "econ_disadvantaged": ("econ_disadvantaged", "FRL", "SED"),
        "english_learner": ("english_learner", "EL", "ELL"),
        "disability": ("disability", "SWD", "IEP"),
        "race_ethnicity": ("race_ethnicity", "Ethnicity", "Race"),
    },
    marks=("student_id", "school_id"),
    blocks=_blocks,
)
