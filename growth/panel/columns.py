"""Which column is what: the layout's names, the engine's own, and the caller's mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from growth.errors import ColumnError, did_you_mean, problem
from growth.panel.layouts import LAYOUTS, Recognition, folded, recognise
from growth.spec import GrowthSpec

__all__ = [
    "CANONICAL",
    "WELCOME",
    "Header",
    "category_columns",
    "check_header",
    "described",
    "flag_columns",
    "measurement_columns",
    "read_header",
    "required_columns",
    "school_columns",
    "used_columns",
]

REQUIRED = ("student_id", "year", "subject", "grade", "score", "school_id")
OPTIONAL = ("year_label", "district_id", "enrolled", "valid")
CANONICAL = (*REQUIRED, *OPTIONAL)

WELCOME = ("school_name", "district_name", "school_type", "achievement_level")
"""Columns that no choice needs, and that reports show if they are there."""


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


@dataclass(frozen=True, slots=True)
class Header:
    """What the column names of a table say.

    Attributes
    ----------
    recognition : Recognition
        The layout, its confidence, and the records per row if it is wide.
    names : dict
        Own name -> the caller's column; in a wide table also of what every record shares.
    columns : tuple of str
        The caller's columns, in order.
    spec : GrowthSpec
    """

    recognition: Recognition
    names: dict[str, str]
    columns: tuple[str, ...]
    spec: GrowthSpec

    @property
    def used(self) -> frozenset[str]:
        """The caller's columns that the engine reads itself; as they are written: ids keep leading zeros."""
        own = {*used_columns(self.spec), *self.recognition.layout.side_columns, *WELCOME}
        return frozenset(caller for name, caller in self.names.items() if name in own) | self.by_record

    @property
    def by_record(self) -> frozenset[str]:
        """The caller's columns by subject or year of a wide table."""
        return frozenset(caller for block in self.recognition.blocks for caller in block.columns.values())

    @property
    def wanted(self) -> frozenset[str]:
        """The caller's columns that are read from the table."""
        carry = self.spec.columns.carry
        if carry == "all":
            return frozenset(self.columns)
        return self.used | {self.names.get(name, name) for name in carry}


def used_columns(spec: GrowthSpec) -> tuple[str, ...]:
    """Return the own names of all columns that `spec` may use, in the order of the canonical table."""
    used = (*CANONICAL, *flag_columns(spec), *category_columns(spec), *measurement_columns(spec))
    return tuple(dict.fromkeys((*used, *school_columns(spec))))


def read_header(columns: Sequence[str], spec: GrowthSpec) -> Header:
    """Return the layout of a table and its names.

    Precedence for each own name: ``columns.rename``, then the layout's names, then the own name itself; a
    name that differs from one of these only in case, blanks and punctuation counts if it is the only one.
    """
    recognition = recognise(columns, spec.columns.layout)
    names = _found(columns, spec, recognition)
    return Header(recognition, names, tuple(columns), spec)


def check_header(header: Header) -> None:
    """Refuse a header without a column that is needed, or with more than one for the same purpose.

    Raises
    ------
    ColumnError
        Names every column that is needed and missing, every unusable entry of ``columns.rename`` and
        ``columns.fixed``, and every column whose name is taken by another one.
    """
    if _is_no_header(header):
        raise ColumnError(
            problem(
                "The first line of the table holds no names of columns, but numbers",
                rule="one header line with the names of the columns",
                fix="add one; what it says is not shown, it could be a student's data",
            )
        )
    problems = [
        *_misused(header.spec),
        *_no_blocks(header),
        *_two_for_one_value(header),
        *_bad_renames(header),
        *_missing(header),
        *_taken(header),
    ]
    if problems:
        raise ColumnError(described(problems))


def described(problems: Sequence[str]) -> str:
    """Return one message for one or several problems."""
    if len(problems) == 1:
        return problems[0]
    return "\n  - ".join([f"The table has {len(problems)} problems:", *problems])


def _is_no_header(header: Header) -> bool:
    return not any(own in header.names for own in REQUIRED) and any(map(_is_number, header.columns))


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _found(columns: Sequence[str], spec: GrowthSpec, recognition: Recognition) -> dict[str, str]:
    layout, rename = recognition.layout.names, spec.columns.rename
    wanted = dict.fromkeys((*used_columns(spec), *layout, *WELCOME, *rename))
    by_record = {caller for block in recognition.blocks for caller in block.columns.values()}
    present = {name: name for name in columns if name not in by_record}
    claimed = set(rename.values())
    loose = _loosely(present)
    found: dict[str, str] = {}
    for own in wanted:
        if own in spec.columns.fixed:
            continue
        if own in rename:
            caller = present.get(rename[own])
        else:
            choices = [name for name in (*layout.get(own, ()), own) if name not in claimed]
            exact = next((name for name in choices if name in present), None)
            caller = exact or next((loose[folded(name)] for name in choices if folded(name) in loose), None)
            caller = None if caller in claimed else caller
        if caller is not None and (own in rename or caller not in found.values()):
            found[own] = caller
    return found


def _loosely(present: Mapping[str, str]) -> dict[str, str]:
    """Return folded name -> column, for those that only one column has."""
    loose: dict[str, list[str]] = {}
    for name in present:
        loose.setdefault(folded(name), []).append(name)
    return {key: names[0] for key, names in loose.items() if len(names) == 1}


def _no_blocks(header: Header) -> Iterator[str]:
    layout = header.recognition.layout
    if layout.blocks is not None and not header.recognition.blocks:
        yield problem(
            f"No column is a score by subject or year, as in columns.layout = {layout.name!r}",
            rule=layout.title,
            fix='name the columns so, or set columns.layout = "auto"',
        )


def _two_for_one_value(header: Header) -> dict[str, None]:
    """Return a problem per value of a wide table that two columns give.

    A layout takes the first of them: from the other end of the table it is another one.
    """
    find = header.recognition.layout.blocks
    again = find(header.columns[::-1]) if find else ()
    pairs = (
        (own, caller, other.columns[own])
        for block, other in zip(header.recognition.blocks, again, strict=True)
        for own, caller in block.columns.items()
    )
    return dict.fromkeys(
        problem(
            f"Columns {first!r} and {last!r} both give {own}",
            rule="one column per subject, year and kind of value",
            fix="drop one of them, or rename it",
        )
        for own, first, last in pairs
        if first != last
    )


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


def _bad_renames(header: Header) -> list[str]:
    spec, columns = header.spec, header.columns
    layouts = [
        name for layout in LAYOUTS.values() for name in layout.names if name not in layout.side_columns
    ]
    known = dict.fromkeys(
        (*CANONICAL, *required_columns(spec), *layouts, *WELCOME, *header.recognition.layout.side_columns)
    )
    problems = [
        problem(
            f"columns.{part} has the unknown own name {own!r}{did_you_mean(own, known)}",
            fix=f"use one of {', '.join(known)}",
        )
        for part in ("rename", "fixed")
        for own in getattr(spec.columns, part)
        if own not in known
    ]
    problems += [
        problem(
            f"Column {own!r} is in the table, and columns.fixed gives it one value",
            fix="take it out of columns.fixed, or drop the column",
        )
        for own in spec.columns.fixed
        if own in columns
    ]
    for own, caller in spec.columns.rename.items():
        if caller not in columns:
            problems.append(
                problem(
                    f"Column {caller!r}, named by columns.rename for {own!r}, is not in the table"
                    f"{did_you_mean(caller, columns)}",
                    fix="correct columns.rename in the specification",
                )
            )
    return problems


def _missing(header: Header) -> list[str]:
    spec, found, layout = header.spec, header.names, header.recognition.layout.names
    by_record = {own for block in header.recognition.blocks for own in (*block.fixed, *block.columns)}
    given = {*found, *spec.columns.rename, *spec.columns.fixed, *by_record}
    given |= {"year"} if spec.columns.year_from_file_name else set()
    free = [name for name in header.columns if name not in found.values()]
    problems = []
    for own, by in required_columns(spec).items():
        if own in given:
            continue
        expected = layout.get(own, (own,))[0]
        hint = did_you_mean(expected, free) or did_you_mean(own, free)
        fix = f'add it, or name it in the specification: columns.rename = {{ {own} = "<your column>" }}'
        if own in ("year", "subject", "grade"):
            fix += f', or give every row the same: columns.fixed = {{ {own} = "..." }}'
        if by != "every run":
            fix += f", or take it out of {by}"
        problems.append(problem(f"Column {expected!r} is missing{hint}", rule=f"needed by {by}", fix=fix))
    return problems


def _taken(header: Header) -> list[str]:
    found = header.names
    return [
        problem(
            f"Column {own!r} is in the table, but {caller!r} is to be used as {own}",
            rule="one column per own name",
            fix=f"drop or rename {own!r}",
        )
        for own, caller in found.items()
        if own != caller and own in header.columns and own not in found.values()
    ]
