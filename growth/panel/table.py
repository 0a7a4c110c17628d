"""The student table: read once, checked completely, then trusted by every room after it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from growth.errors import ColumnError, TableError, problem
from growth.panel.columns import (
    CANONICAL,
    category_columns,
    described,
    flag_columns,
    measurement_columns,
    resolve_columns,
    school_columns,
    text_columns,
)
from growth.panel.frames import CallerFrame, FrameKind, hand_back, load
from growth.panel.values import (
    Parsed,
    read_flag,
    read_grade,
    read_id,
    read_score,
    read_text,
    read_validity,
    read_year,
)
from growth.panel.waterfall import ALL_SUBJECTS, Line, step_lines, waterfall_frame
from growth.spec import GrowthSpec, Scale

__all__ = ["StudentTable", "read_table"]

KEY = ("student_id", "year", "subject")

CANONICAL_ORDER = (
    "student_id",
    "year",
    "year_label",
    "subject",
    "grade",
    "score",
    "school_id",
    "district_id",
    "enrolled",
)

_Rule = tuple[Callable[[pl.Series], Parsed], str, str]

_YES_NO = "yes/no: true/false, 1/0, Y/N, or text that ends in Yes/No"
_RULES: dict[str, _Rule] = {
    "student_id": (read_id, "text or whole numbers", "read the column as text"),
    "year": (
        read_year,
        "2024, 2023_2024 or 2023-24",
        "rewrite the other years, or mark their rows as not valid",
    ),
    "subject": (read_text, "text", "read the column as text"),
    "grade": (
        read_grade,
        "3, 03, Grade 3, K or PK",
        "rewrite the other grades, or mark their rows as not valid",
    ),
    "score": (read_score, "a number, blank if there is none", "blank out or rewrite what is not a number"),
    "school_id": (read_id, "text or whole numbers", "read the column as text"),
    "district_id": (read_id, "text or whole numbers", "read the column as text"),
    "year_label": (read_text, "text", "read the column as text"),
}
_NEVER_MISSING = ("student_id", "year", "subject", "grade")


@dataclass(frozen=True, eq=False)
class StudentTable:
    """A validated long student table: one row per student x year x subject.

    Attributes
    ----------
    frame : polars.DataFrame
        Sorted by student_id, year, subject (unique). Columns: student_id, year (Int32, the year a school
        year ends in), year_label (the caller's text), subject, grade (Int16), score (Float64, null if there
        is none) [scale-score points], school_id, optional district_id and enrolled, the yes/no columns of
        the specification (Boolean) and its categories (String), csem (Float64) [CSEM points] and share
        (Float64, above 0 and at most 1) if the specification reads them, then the caller's other columns
        untouched.
    counts : polars.DataFrame
        Waterfall so far (steps read, valid, unique): subject, year, step, rows, excluded, reason.
    origin : str
        Kind of frame that results are handed back as.
    digest : str
        SHA-256 of the file's bytes, or of the canonical columns of an in-memory table (its row order and
        its other columns do not matter).
    """

    frame: pl.DataFrame
    counts: pl.DataFrame
    origin: FrameKind
    digest: str

    def to_caller(self, frame: pl.DataFrame) -> CallerFrame:
        """Return `frame` as the kind of frame that the table came as; for files, as polars."""
        return hand_back(frame, self.origin)

    def __repr__(self) -> str:
        years = self.frame["year"].unique().sort()
        subjects = self.frame["subject"].n_unique()
        return (
            f"StudentTable({self.frame.height:,} rows, {subjects} subject(s), years {years[0]}-{years[-1]})"
        )


def read_table(source: CallerFrame | str | Path, spec: GrowthSpec) -> StudentTable:
    """Read and validate a long student table.

    Parameters
    ----------
    source : path or frame
        CSV (``.csv``, ``.csv.gz``) or Parquet file; pandas, polars (eager or lazy), pyarrow or DuckDB frame.
        It is not changed.
    spec : GrowthSpec
        ``spec.columns`` says how columns are named; ``spec.scale``, ``spec.peers``, ``spec.groups``,
        ``spec.school`` and ``spec.measurement`` say what must be there.

    Returns
    -------
    StudentTable

    Raises
    ------
    ColumnError
        A column is missing, of the wrong type, or holds impossible values; all such problems at once,
        each with column, rule, number of rows and way out.
    TableError
        The table cannot be read, is empty, or holds a key more than once.
    """
    loaded = load(source, lambda columns: text_columns(columns, spec))
    names = resolve_columns(loaded.frame.columns, spec)
    own_names = {caller: own for own, caller in names.items()}
    raw = loaded.frame.rename(own_names)
    lines = [Line(ALL_SUBJECTS, None, "read", raw.height)]
    raw, not_valid = _drop_not_valid(raw, names)
    frame = _typed(raw, names, spec)
    frame, outside = _within_bounds(frame, names, spec.scale)
    lines += step_lines(
        ALL_SUBJECTS, None, "valid", lines[-1].rows, {"not_valid": not_valid, "outside_bounds": outside}
    )
    if frame.is_empty():
        raise TableError(
            problem(
                "The table has no rows" + (" that are valid" if not_valid or outside else ""),
                rows=not_valid + outside or None,
                fix="check the file, the column for validity and scale.bounds",
            )
        )
    frame = frame.sort(KEY)
    _refuse_duplicates(frame, names)
    lines += step_lines(ALL_SUBJECTS, None, "unique", lines[-1].rows, {})
    used = (*CANONICAL, *flag_columns(spec), *category_columns(spec), *measurement_columns(spec))
    used += school_columns(spec)
    digest = loaded.digest or _digest(frame.select(c for c in frame.columns if c in used))
    return StudentTable(frame, waterfall_frame(lines), loaded.kind, digest)


def _named(own: str, names: dict[str, str]) -> str:
    caller = names.get(own, own)
    return f"Column {caller!r}" if caller == own else f"Column {caller!r} ({own})"


def _drop_not_valid(raw: pl.DataFrame, names: dict[str, str]) -> tuple[pl.DataFrame, int]:
    if "valid" not in raw.columns:
        return raw, 0
    parsed = read_validity(raw["valid"])
    unclear = parsed.values.null_count()
    if unclear:
        raise ColumnError(
            problem(
                f"{_named('valid', names)} does not say for every row whether it is valid",
                rule=f"VALID_CASE or INVALID_CASE, or {_YES_NO}; never blank",
                rows=unclear,
                fix="fill or recode it, or drop the column if all rows count",
            )
        )
    kept = raw.drop("valid").filter(parsed.values)
    return kept, raw.height - kept.height


def _typed(raw: pl.DataFrame, names: dict[str, str], spec: GrowthSpec) -> pl.DataFrame:
    """Return the frame with typed columns in canonical order; every problem in one error."""
    rules = _column_rules(raw, spec)
    problems: list[str] = []
    columns: dict[str, pl.Series] = {}
    for own, (read, rule, fix) in rules.items():
        parsed = read(raw[own])
        columns[own] = parsed.values.alias(own)
        problems += _unreadable(_named(own, names), raw[own], parsed, rule, fix)
        if own in _NEVER_MISSING:
            problems += _blank(_named(own, names), raw.height, parsed)
    problems += _not_finite(_named("score", names), columns["score"])
    problems += _not_an_error(_named("csem", names), columns.get("csem"))
    problems += _not_a_share(_named("share", names), columns.get("share"))
    problems += _enrolment_unknown(_named("enrolled", names), columns, spec)
    labels = columns.get("year_label", read_text(raw["year"]).values)
    columns["year_label"] = labels.zip_with(labels.is_not_null(), columns["year"].cast(pl.String)).alias(
        "year_label"
    )
    problems += _labels_disagree(_named("year", names), columns["year"], columns["year_label"])
    if problems:
        raise ColumnError(described(problems))
    canonical = [columns.pop(own) for own in CANONICAL_ORDER if own in columns]
    other = [name for name in raw.columns if name not in rules]
    return pl.DataFrame([*canonical, *columns.values(), *(raw[name] for name in other)])


def _column_rules(raw: pl.DataFrame, spec: GrowthSpec) -> dict[str, _Rule]:
    flags = dict.fromkeys((*(("enrolled",) if "enrolled" in raw.columns else ()), *flag_columns(spec)))
    rules = {own: rule for own, rule in _RULES.items() if own in raw.columns}
    rules |= dict.fromkeys(flags, (read_flag, _YES_NO, "recode it to yes and no, blank if unknown"))
    text = (read_text, "text or whole numbers", "read the column as text")
    rules |= {own: text for own in category_columns(spec) if own not in rules}
    if spec.measurement.csem == "column":
        fix = "blank out or rewrite what is not a number"
        rules["csem"] = (read_score, "a number, blank if there is none", fix)
    if spec.measurement.program and spec.measurement.program not in rules:
        rules[spec.measurement.program] = text
    for own in school_columns(spec):
        rules.setdefault(own, _RULES["score"] if own == "share" else text)
    return rules


def _unreadable(name: str, column: pl.Series, parsed: Parsed, rule: str, fix: str) -> list[str]:
    if parsed.wrong_type:
        return [problem(f"{name} has type {column.dtype}", rule=rule, rows=len(column), fix=fix)]
    if parsed.bad:
        return [problem(f"{name} has values that cannot be read", rule=rule, rows=parsed.bad, fix=fix)]
    return []


def _blank(name: str, height: int, parsed: Parsed) -> list[str]:
    blank = parsed.values.null_count() - parsed.bad
    if not blank:
        return []
    return [
        problem(f"{name} is blank", rule="every row has one", rows=blank, fix="fill it or drop those rows")
    ]


def _not_finite(name: str, score: pl.Series) -> list[str]:
    bad = int((~score.is_finite()).sum())
    if not bad:
        return []
    rule = "a finite number, blank if there is none"
    return [problem(f"{name} is NaN or infinite", rule=rule, rows=bad, fix="replace them by blanks (null)")]


def _not_an_error(name: str, csem: pl.Series | None) -> list[str]:
    bad = 0 if csem is None else int((~(csem.is_finite() & (csem >= 0))).sum())
    if not bad:
        return []
    rule = "a standard error: a finite number, 0 or more, blank if there is none"
    return [problem(f"{name} is negative, NaN or infinite", rule=rule, rows=bad, fix="correct those values")]


def _not_a_share(name: str, share: pl.Series | None) -> list[str]:
    bad = 0 if share is None else int((~((share > 0) & (share <= 1)).fill_null(False)).sum())
    if not bad:
        return []
    rule = "the share of the year in the row's school: above 0 and at most 1, in every row"
    return [problem(f"{name} is blank or outside its range", rule=rule, rows=bad, fix="correct those values")]


def _enrolment_unknown(name: str, columns: dict[str, pl.Series], spec: GrowthSpec) -> list[str]:
    if not spec.school.enrolled_only or not columns["enrolled"].null_count():
        return []
    return [
        problem(
            f"{name} is blank",
            rule="school.enrolled_only needs yes or no in every row",
            rows=columns["enrolled"].null_count(),
            fix="fill it, or set school.enrolled_only = false",
        )
    ]


def _labels_disagree(name: str, year: pl.Series, label: pl.Series) -> list[str]:
    pairs = pl.DataFrame({"year": year, "label": label}).drop_nulls().group_by("year", "label").len("rows")
    mixed = pairs.filter(pl.len().over("year") > 1)
    if mixed.is_empty():
        return []
    return [
        problem(
            f"{name} writes the same year in several ways",
            rule="one spelling per year",
            rows=int(mixed["rows"].sum()),
            fix="rewrite them alike",
        )
    ]


def _within_bounds(frame: pl.DataFrame, names: dict[str, str], scale: Scale) -> tuple[pl.DataFrame, int]:
    if not scale.bounds or frame.is_empty():
        return frame, 0
    subjects = frame["subject"].unique()
    if not any(subject in subjects for subject in scale.bounds):
        raise TableError(
            problem(
                f"scale.bounds knows the subjects {', '.join(map(repr, scale.bounds))}; none is in the table",
                fix=f"write them as in column {names.get('subject', 'subject')!r}",
            )
        )
    table = [(s, g, low, high) for s, grades in scale.bounds.items() for g, (low, high) in grades.items()]
    schema = {"subject": pl.String, "grade": pl.Int16, "low": pl.Float64, "high": pl.Float64}
    bounds = pl.DataFrame(table, schema=schema, orient="row")
    known = frame.select("subject", "grade", "score").join(
        bounds, on=["subject", "grade"], how="left", maintain_order="left"
    )
    inside = known.select(
        (pl.col("score") >= pl.col("low")) & (pl.col("score") <= pl.col("high"))
    ).to_series()
    outside = int((~inside).sum())
    if outside and scale.outside == "error":
        raise ColumnError(
            problem(
                f"{_named('score', names)} lies outside the scale",
                rule="scale.bounds of the row's subject and grade",
                rows=outside,
                fix='correct scale.bounds or the scores, or set scale.outside = "exclude"',
            )
        )
    return frame.filter(inside.fill_null(True)), outside


def _refuse_duplicates(frame: pl.DataFrame, names: dict[str, str]) -> None:
    keys = frame.select(KEY)
    above = keys.select((pl.col(name) == pl.col(name).shift()).fill_null(False) for name in KEY)
    repeats = above.select(pl.all_horizontal(KEY)).to_series()
    # in a sorted table copies are neighbours: each counts that equals the row above or below it
    copies = int((repeats | repeats.shift(-1).fill_null(False)).sum())
    if copies:
        columns = ", ".join(repr(names.get(own, own)) for own in KEY)
        raise TableError(
            problem(
                f"Columns {columns} do not identify a row",
                rule="one valid row per student, year and subject",
                rows=copies,
                fix="drop the copies, or mark all but one as not valid in the column `valid`",
            )
        )


def _digest(frame: pl.DataFrame) -> str:
    """Return the SHA-256 of names, types and values, whatever the library version and memory layout."""
    total = hashlib.sha256()
    for column in frame:
        total.update(f"{column.name}:{column.dtype}:{len(column)};".encode())
        total.update(column.is_null().to_numpy().tobytes())
        if column.dtype == pl.String:
            text = column.fill_null("")
            total.update(text.str.len_bytes().to_numpy().tobytes())
            total.update(text.str.join("").item().encode())
        elif column.dtype == pl.Boolean:
            total.update(column.fill_null(False).to_numpy().tobytes())
        else:
            total.update(column.fill_null(0).to_numpy().tobytes())
    return total.hexdigest()
