"""Which grade x subject x years get growth results, and how many rows lie outside."""

from __future__ import annotations

from dataclasses import dataclass

from growth.errors import CohortError, did_you_mean, problem
from growth.panel.patterns import progression
from growth.panel.records import Records
from growth.spec import Cohorts

__all__ = ["Scope", "find_scope"]

_MOST_SUBJECTS_LISTED = 12
"""A longer list means that the subject column is not one: its values could be anything."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The cells (subject, year, grade) in scope, and the rows outside by reason."""

    cells: tuple[tuple[str, int, int], ...]
    outside: dict[str, int]


def find_scope(records: Records, cohorts: Cohorts) -> Scope:
    """Return the cells that `cohorts` asks for.

    Without ``cohorts.grades`` these are the cells for which the table holds any record of the subject in the
    first prior grade of the progression, in the year that the progression asks for.

    Raises
    ------
    CohortError
        If a subject, year or grade that is asked for is not in the table, or nothing is in scope.
    """
    cells = list(records.cells())
    years = _years(cells, cohorts)
    _refuse_unknown(cells, years, cohorts)
    inside = []
    outside = dict.fromkeys(("other_year", "other_subject", "other_grade", "no_prior_grade"), 0)
    for subject, year, grade in cells:
        reason = None
        if year not in years:
            reason = "other_year"
        elif cohorts.subjects is not None and subject not in cohorts.subjects:
            reason = "other_subject"
        elif cohorts.grades is not None:
            reason = None if grade in cohorts.grades else "other_grade"
        elif not _has_prior_grade(records, subject, year, grade, cohorts):
            reason = "no_prior_grade"
        if reason is None:
            inside.append((subject, year, grade))
        else:
            outside[reason] += len(records.rows(subject, grade, year, year))
    if not inside:
        raise CohortError(
            problem(
                f"No row is in scope ({', '.join(f'{k} {v:,}' for k, v in outside.items() if v)})",
                rule="a grade is in scope if cohorts.grades names it or its prior grade has records in time",
                fix="add earlier years, or change cohorts.years, subjects, grades or progressions",
            )
        )
    return Scope(tuple(inside), outside)


def _years(cells: list[tuple[str, int, int]], cohorts: Cohorts) -> set[int]:
    present = {year for _, year, _ in cells}
    if cohorts.years == "latest":
        return {max(present)}
    return present if cohorts.years == "all" else set(cohorts.years)


def _refuse_unknown(cells: list[tuple[str, int, int]], years: set[int], cohorts: Cohorts) -> None:
    subjects = sorted({subject for subject, _, _ in cells})
    listed = subjects if len(subjects) <= _MOST_SUBJECTS_LISTED else []
    problems = [
        f"cohorts.{field}: {name!r} is not in the table{did_you_mean(name, listed)}"
        for field in ("subjects", "other_subjects")
        for name in getattr(cohorts, field) or ()
        if name not in subjects
    ]
    absent_years = sorted(years - {year for _, year, _ in cells})
    absent_grades = sorted(set(cohorts.grades or ()) - {grade for _, _, grade in cells})
    problems += [f"cohorts.years: {year} is not in the table" for year in absent_years]
    problems += [f"cohorts.grades: {grade} is not in the table" for grade in absent_grades]
    if problems:
        raise CohortError(problem("; ".join(problems), fix="correct the specification, or add those rows"))


def _has_prior_grade(records: Records, subject: str, year: int, grade: int, cohorts: Cohorts) -> bool:
    steps = progression(grade, cohorts, records.lowest_grade)
    if not steps:
        return False
    then = year - (grade - steps[0])
    return len(records.rows(subject, steps[0], then, then)) > 0
