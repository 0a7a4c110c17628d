"""What every column of an export means, from the schema of results."""

from __future__ import annotations

import polars as pl

from growth.pipeline.schema import SCHEMA, Column

__all__ = ["dictionary_of"]

_SOURCE = {c.name: c for frame in ("students", "levels", "schools") for c in SCHEMA[frame]}
_NAMED: dict[str, tuple[str, str]] = {
    "ID": ("id", "Student; a keyed hash unless plain ids were asked for."),
    "VALID_CASE": ("code", "VALID_CASE where there is a score, else INVALID_CASE."),
    "YEAR": ("year", "As in the table."),
    "CONTENT_AREA": ("name", "Subject."),
    "GRADE": ("grade", "Of the current score."),
    "SCALE_SCORE": ("scale-score points", "Current score."),
    "SGP": ("percentile 1-99", "Student growth percentile."),
    "SGP_STANDARD_ERROR": ("percentile points", "Its standard error."),
    "SGP_SIMEX": ("percentile 1-99", "Corrected for measurement error by SIMEX."),
    "SGP_SIMEX_RANKED": ("percentile 1-99", "The same, ranked within the cohort."),
    "SGP_NORM_GROUP": ("label", "Who is compared, oldest to newest."),
    "SCALE_SCORE_PRIOR": ("scale-score points", "Most recent prior score in the subject."),
    "SGP_ORDER": ("count", "Prior scores in the model."),
    "SCHOOL_NUMBER": ("id", "School."),
    "DISTRICT_NUMBER": ("id", "District."),
    "cds": ("id", "School, as in the table."),
    "rtype": ("code", "S: school."),
    "schoolname": ("name", "School, if the table has a column school_name."),
    "districtname": ("name", "Not known to the run."),
    "countyname": ("name", "Not known to the run."),
    "charter_flag": ("code", "Not known to the run."),
    "coe_flag": ("code", "Not known to the run."),
    "dass_flag": ("code", "Not known to the run."),
    "lowgrade": ("grade", "Lowest grade of the school's rows in scope."),
    "highgrade": ("grade", "Highest."),
    "studentgroup": ("code", "ALL, or the state's code of a group."),
    "n_growthscores": ("students", "Students who count; null where withheld."),
    "growthscore": ("scale-score points", "100 plus the mean residual; null where withheld."),
    "decilerank": ("level 1-10", "On the run's cut points, for at least 30 students."),
    "reported_which": ("code", "shrunken, or simple average."),
    "reportingyear": ("year", "Of the results."),
    "student": ("id", "Keyed hash."),
    "school": ("id", "Keyed hash; null where few rows would share it."),
}
_COARSE = {
    "score": "In bins of 10, ends coded together.",
    "prior_score": "In bins of 10, ends coded together.",
}


def dictionary_of(frame: pl.DataFrame, layout: str) -> pl.DataFrame:
    """Return column, dtype, unit and text of an export."""
    rows = []
    for name, dtype in frame.schema.items():
        unit, text = _meaning(name, layout)
        rows.append({"column": name, "dtype": str(dtype), "unit": unit, "text": text})
    return pl.DataFrame(rows, schema=dict.fromkeys(("column", "dtype", "unit", "text"), pl.String))


def _meaning(name: str, layout: str) -> tuple[str, str]:
    if layout in ("sgp", "california", "research") and name in _NAMED:
        return _NAMED[name]
    if layout == "wide" and name.count(".") >= 2:
        place, measure = name.rsplit(".", 1)
        subject, group = place.split(".", 1)
        known = _SOURCE[measure]
        return known.unit, f"{known.text.rstrip('.')}, {subject}, {group}."
    if name == "reason" and layout == "long":
        return "code", "withheld: few students, or fewer could be worked out; else why there is no result."
    known_column: Column | None = _SOURCE.get(name)
    if known_column is None:
        return "value", "Column of the table; null where few rows would share it."
    text = _COARSE.get(name, known_column.text) if layout == "research" else known_column.text
    return known_column.unit, text
