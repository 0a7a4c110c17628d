"""Plain words for codes: subjects, groups, student columns, steps, reasons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from growth.release.published import WITHHELD
from growth.school.groups import ALL, LOWEST_RACE, RACE

__all__ = [
    "column_words",
    "group_label",
    "group_name",
    "in_sentence",
    "listed",
    "metric_words",
    "number_words",
    "printed",
    "reason_words",
    "shown_percentile",
    "step_label",
    "step_words",
    "subject_name",
]

_SUBJECTS = {
    "math": "Mathematics",
    "mathematics": "Mathematics",
    "ela": "English language arts",
    "reading": "Reading",
    "read": "Reading",
    "writing": "Writing",
    "science": "Science",
    "composite": "All subjects together",
}
_GROUPS = {
    ALL: "All students",
    "EL": "English learners",
    "SWD": "Students with disabilities",
    "SED": "Socioeconomically disadvantaged",
    LOWEST_RACE: "Lowest racial/ethnic group",
}
_SHORT_GROUPS = {"SWD": "With disabilities", "SED": "Disadvantaged", LOWEST_RACE: "Lowest racial group"}
_COLUMNS = {
    "econ_disadvantaged": "economic disadvantage",
    "disability": "disability",
    "english_learner": "English learner status",
    "homeless": "homelessness",
    "foster": "foster care",
    "race_ethnicity": "race/ethnicity",
}
_STEPS = {
    "read": "Rows read",
    "valid": "Valid records",
    "unique": "One per student, subject and year",
    "in_scope": "In the years and grades of this run",
    "has_current_score": "With a current score",
    "has_priors": "With the earlier scores needed",
    "cohort_large_enough": "In a cohort large enough to fit",
    "scored": "With a growth percentile",
    "highest": "One result per student, subject and year",
    "has_school": "In a school",
    "enrolled": "Enrolled for the full year",
}
_SHORT_STEPS = {
    "read": "Read",
    "valid": "Valid",
    "unique": "Unique",
    "in_scope": "In this run",
    "has_current_score": "Current score",
    "has_priors": "Earlier scores",
    "cohort_large_enough": "Large cohort",
    "scored": "Growth percentile",
    "highest": "One per student",
    "has_school": "In a school",
    "enrolled": "Full year",
}
_REASONS = {
    "no_reference": "No schools to compare with",
    "no_standard_error": "No measure of uncertainty",
    "no_result": "No result",
    "not_valid": "marked as not valid",
    "outside_bounds": "score outside the scale",
    "no_score": "no score in a wide table",
    "other_test": "another test",
    "other_score": "another kind of score",
    "unearned_score": "lowest score by rule, too few answers",
    "unknown_grade": "no grade from K to 13",
    "later_year": "a year that cannot be",
    "duplicate_key": "another row of the same student, year and subject",
    "other_year": "another year",
    "other_subject": "another subject",
    "other_grade": "another grade",
    "no_prior_grade": "no earlier grade to look back to",
    "lower_order": "the student has a result from more earlier scores",
    "no_school": "no school",
    "no_enrolment": "not in the enrolment table",
    "no_span": "No grade span",
    "not_enrolled": "not enrolled for the full year",
    "no_current_score": "no current score",
    "no_prior_score": "no earlier score",
    "repeater": "repeated the grade",
    "off_path": "earlier score in another grade",
    "cohort_too_small": "cohort too small",
    "missing_covariate": "a student characteristic is missing",
}


def subject_name(subject: str) -> str:
    """Return a subject's name, or the caller's own code."""
    return _SUBJECTS.get(subject.lower(), subject)


def in_sentence(name: str) -> str:
    """Return a subject's name as it stands within a sentence."""
    return name if name.startswith("English") or name not in _SUBJECTS.values() else name.lower()


def group_name(group: str, detail: str | None = None) -> str:
    """Return a group's name; `detail` says which racial/ethnic group was the lowest."""
    if group == LOWEST_RACE and detail:
        return f"{_GROUPS[group]} ({detail.removeprefix(RACE)})"
    return _GROUPS.get(group, group.removeprefix(RACE))


def group_label(group: str) -> str:
    """Return a group's name short enough for the axis of a chart."""
    return _SHORT_GROUPS.get(group, group_name(group))


def step_label(step: str) -> str:
    """Return a step of the waterfall short enough for the axis of a chart."""
    return _SHORT_STEPS.get(step, step_words(step))


def column_words(column: str) -> str:
    """Return a student column in words."""
    return _COLUMNS.get(column, column.replace("_", " "))


def metric_words(metric: str) -> str:
    """Return a metric of the index in words."""
    words = metric.replace("_", " ")
    return words[:1].upper() + words[1:]


def step_words(step: str) -> str:
    """Return a step of the waterfall in words."""
    return _STEPS.get(step, step.replace("_", " "))


def reason_words(reason: str, minimum: int) -> str:
    """Return why a result is withheld, or why rows were excluded."""
    if reason == "n_below_minimum":
        return f"Fewer than {minimum} students"
    if reason == WITHHELD:
        return f"Fewer than {minimum} students, or a smaller number would follow"
    return _REASONS.get(reason, reason.replace("_", " "))


def listed(items: Iterable[str], last: str = "and") -> str:
    """Return ``"a, b and c"``."""
    words: Sequence[str] = list(items)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def number_words(value: float, form: str) -> str:
    """Return a number with a true minus sign, and none before zero."""
    text = format(value, form)
    return (text if float(text) else format(0.0, form)).replace("-", "−")


def printed(value: float | None, digits: int) -> float | None:
    """Return a number as text would round it."""
    return None if value is None else float(f"{value:.{digits}f}")


def shown_percentile(value: float) -> int:
    """Return a percentile without decimals, rounded down to agree with its level (9.7 -> 9, level 1)."""
    return math.floor(value)
