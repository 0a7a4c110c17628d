"""Which column is what: the engine's own names, the R package's names, and the caller's mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from growth.errors import ColumnError, did_you_mean, problem
from growth.spec import GrowthSpec

__all__ = [
    "CANONICAL",
    "category_columns",
    "described",
    "flag_columns",
    "measurement_columns",
    "required_columns",
    "resolve_columns",
    "school_columns",
    "text_columns",
]

REQUIRED = ("student_id", "year", "subject", "grade", "score", "school_id")
OPTIONAL = ("year_label", "district_id", "enrolled", "valid")
CANONICAL = (*REQUIRED, *OPTIONAL)

SGP_NAMES: dict[str, str] = {
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
"""Own name -> name in the long table of the R package SGP."""


def flag_columns(spec: GrowthSpec) -> tuple[str, ...]:
    """Return the yes/no columns that `spec` uses, in order of first mention."""
    return tuple(dict.fromkeys((*spec.peers.flags, *spec.groups.flags.values())))


def category_columns(spec: GrowthSpec) -> tuple[str, ...]:
    """Return the categorical columns that `spec` uses and that are not yes/no columns."""
    race = (spec.groups.race,) if spec.groups.race else ()
    names = dict.fromkeys((*spec.peers.categories, *race))
    return tuple(name for name in names if name not in flag_columns(spec))


def measurement_columns(spec: GrowthSpec) -> tuple[str, ...]:
    """Return the columns that give the CSEM of a row's score, or the program whose table does."""
    csem = ("csem",) if spec.measurement.csem == "column" else ()
    return csem + ((spec.measurement.program,) if spec.measurement.program else ())


def school_columns(spec: GrowthSpec) -> tuple[str, ...]:
    """Return the columns that say how much of a row's result counts for its school, and its grade span."""
    share = ("share",) if spec.school.share == "column" else ()
    return share + ((spec.school.span_column,) if spec.school.span_column else ())


def required_columns(spec: GrowthSpec) -> dict[str, str]:
    """Return own name -> who needs it, for every column without which `spec` cannot run."""
    needs = [(name, "every run") for name in REQUIRED]
    needs += [(name, "peers.flags") for name in spec.peers.flags]
    needs += [(name, "peers.categories") for name in spec.peers.categories]
    needs += [(name, f"groups.flags.{label}") for label, name in spec.groups.flags.items()]
    needs += [(spec.groups.race, "groups.race")] if spec.groups.race else []
    needs += [(name, "measurement") for name in measurement_columns(spec)]
    needs += [("enrolled", "school.enrolled_only")] if spec.school.enrolled_only else []
    needs += [("district_id", "school.districts")] if spec.school.districts != "none" else []
    needs += [(name, "school") for name in school_columns(spec)]
    first: dict[str, str] = {}
    for name, by in needs:
        first.setdefault(name, by)
    return first


def resolve_columns(columns: Sequence[str], spec: GrowthSpec) -> dict[str, str]:
    """Return own name -> the caller's column.

    Precedence: ``columns.rename``, then the layout's name, then the own name itself.

    Raises
    ------
    ColumnError
        Names every column that is needed and missing, every unusable entry of ``columns.rename``, and
        every column whose name is taken by another one.
    """
    needs = required_columns(spec)
    found = _found(columns, spec)
    problems = [
        *_misused(spec),
        *_bad_renames(columns, spec, needs),
        *_missing(columns, spec, found, needs),
        *_taken(columns, found),
    ]
    if problems:
        raise ColumnError(described(problems))
    return found


def text_columns(columns: Sequence[str], spec: GrowthSpec) -> list[str]:
    """Return the caller's columns whose text must reach the engine as written (ids keep leading zeros)."""
    used = {*CANONICAL, *flag_columns(spec), *category_columns(spec), *measurement_columns(spec)}
    used |= {*school_columns(spec)}
    return [caller for own, caller in _found(columns, spec).items() if own in used]


def described(problems: Sequence[str]) -> str:
    """Return one message for one or several problems."""
    if len(problems) == 1:
        return problems[0]
    return "\n  - ".join([f"The table has {len(problems)} problems:", *problems])


def _found(columns: Sequence[str], spec: GrowthSpec) -> dict[str, str]:
    layout = _layout_names(columns, spec)
    rename = spec.columns.rename
    used = (*flag_columns(spec), *category_columns(spec), *measurement_columns(spec), *school_columns(spec))
    wanted = dict.fromkeys((*CANONICAL, *used, *layout, *rename))
    present = set(columns)
    claimed = set(rename.values())
    found: dict[str, str] = {}
    for own in wanted:
        choices = [rename[own]] if own in rename else [n for n in (layout.get(own), own) if n not in claimed]
        caller = next((name for name in choices if name in present), None)
        if caller is not None:
            found[own] = caller
    return found


def _layout_names(columns: Sequence[str], spec: GrowthSpec) -> Mapping[str, str]:
    layout = spec.columns.layout
    if layout == "auto":
        present = set(columns)
        own = sum(name in present for name in REQUIRED)
        sgp = sum(SGP_NAMES[name] in present for name in REQUIRED)
        layout = "sgp" if sgp > own else "growth"
    return SGP_NAMES if layout == "sgp" else {}


def _misused(spec: GrowthSpec) -> list[str]:
    callers = list(spec.columns.rename.values())
    shared = sorted({caller for caller in callers if callers.count(caller) > 1})
    problems = [
        problem(f"columns.rename uses the column {caller!r} more than once", rule="one column per own name")
        for caller in shared
    ]
    wrong_flags = [name for name in flag_columns(spec) if name in CANONICAL and name != "enrolled"]
    wrong_categories = [name for name in category_columns(spec) if name == "valid"]
    return problems + [
        problem(
            f"{name!r} cannot describe students",
            rule="peers and groups use student columns, not the columns that place a row",
            fix="take it out of peers and groups",
        )
        for name in (*wrong_flags, *wrong_categories)
    ]


def _bad_renames(columns: Sequence[str], spec: GrowthSpec, needs: Mapping[str, str]) -> list[str]:
    known = dict.fromkeys((*CANONICAL, *needs, *SGP_NAMES))
    problems = []
    for own, caller in spec.columns.rename.items():
        if own not in known:
            problems.append(
                problem(
                    f"columns.rename has the unknown own name {own!r}{did_you_mean(own, known)}",
                    fix=f"use one of {', '.join(known)}",
                )
            )
        if caller not in columns:
            problems.append(
                problem(
                    f"Column {caller!r}, named by columns.rename for {own!r}, is not in the table"
                    f"{did_you_mean(caller, columns)}",
                    fix="correct columns.rename in the specification",
                )
            )
    return problems


def _missing(
    columns: Sequence[str], spec: GrowthSpec, found: Mapping[str, str], needs: Mapping[str, str]
) -> list[str]:
    layout = _layout_names(columns, spec)
    free = [name for name in columns if name not in found.values()]
    problems = []
    for own, by in needs.items():
        if own in found or own in spec.columns.rename:
            continue
        expected = layout.get(own, own)
        hint = did_you_mean(expected, free) or did_you_mean(own, free)
        fix = f'add it, or name it in the specification: columns.rename = {{ {own} = "<your column>" }}'
        if by != "every run":
            fix += f", or take it out of {by}"
        problems.append(problem(f"Column {expected!r} is missing{hint}", rule=f"needed by {by}", fix=fix))
    return problems


def _taken(columns: Sequence[str], found: Mapping[str, str]) -> list[str]:
    return [
        problem(
            f"Column {own!r} is in the table, but {caller!r} is to be used as {own}",
            rule="one column per own name",
            fix=f"drop or rename {own!r}",
        )
        for own, caller in found.items()
        if own != caller and own in columns and own not in found.values()
    ]
