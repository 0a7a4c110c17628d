"""Which results make up which school's, with which weight: shares, districts, grade spans, years, composites.

A *unit* is what gets a result: a school (or district, or a school's grade span) in a year and subject. Rows
lie unit after unit and student after student, whatever the order of the table, so that sums come out the
same to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.aggregate import by_group
from growth.errors import ColumnError, SpecError, problem
from growth.mapped import code_array, dense_ranks, distinct, filtered, holds, kept_frame
from growth.school.counted import Counted
from growth.school.enrolment import KEY, Enrolment
from growth.scratch import empty, kept, kept_at, pieces
from growth.spec import GrowthSpec, School

__all__ = ["COMPOSITE", "Kind", "Placement", "place_results", "unit_column"]

COMPOSITE = "COMPOSITE"
"""Subject of results over all subjects together."""

Kind: TypeAlias = Literal["school", "district", "span"]

_ROW, _WEIGHT, _STUDENT = "_row", "_weight", "_student"


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """U units and the R rows that make them up."""

    units: pl.DataFrame
    """year, subject, span (null where all are ranked together), school_id or district_id; sorted, U rows."""
    start: IntArray
    """Unit u holds rows ``start[u]:start[u + 1]``, shape (U + 1,)."""
    row: IntArray
    """Row of the counted results, shape (R,)."""
    weight: FloatArray
    """Above 0, shape (R,)."""
    student: IntArray
    """Code of the student, shape (R,)."""
    year: IntArray
    """Code of the result's own year, shape (R,); differs within a unit that is of several years."""

    def blocks(self) -> Iterator[tuple[tuple[int, str, str], slice]]:
        """Yield (year, subject, span) and the units that are ranked together; span "" is everybody."""
        lengths = self.units.group_by("year", "subject", "span", maintain_order=True).len()
        first = 0
        for year, subject, span, length in lengths.iter_rows():
            yield (year, subject, span or ""), slice(first, first + length)
            first += length


def unit_column(kind: Kind) -> str:
    """Return the column that names a unit."""
    return "district_id" if kind == "district" else "school_id"


def place_results(
    counted: Counted, spec: GrowthSpec, kind: Kind = "school", enrolment: Enrolment | None = None
) -> Placement:
    """Place every counted result in its units.

    Parameters
    ----------
    counted : Counted
    spec : GrowthSpec
        ``spec.school``: share, composite, years, spans, norms_by.
    kind : {"school", "district", "span"}
    enrolment : Enrolment, optional
        Schools and shares instead of those of the rows.

    Raises
    ------
    ColumnError
        If a column is missing, or a grade or share is not usable.
    SpecError
        If a subject is called COMPOSITE.
    """
    rules, unit = spec.school, unit_column(kind)
    rows = _weighted(counted, rules, unit, enrolment)
    seen = _present(counted, unit, enrolment)
    if rules.composite != "none":
        _refuse_composite(rows)
        seen = _composite_units(seen)
    if kind == "span":
        rows = rows.with_columns(_span(rows, rules))
        rows = filtered(rows, rows["span"].is_not_null())
        seen = _seen_by_span(rows, rules, unit)
    elif rules.norms_by == "span" and kind == "school":
        seen = seen.join(_span_of_school(rows, rules, unit), on=["year", unit], how="left")
    else:
        seen = seen.with_columns(pl.lit(None, dtype=pl.String).alias("span"))
    keys = ["year", "subject", "span", unit]
    units = seen.select(keys).sort(keys, nulls_last=True).with_row_index("_unit")
    blocks = units.partition_by("year", "subject", maintain_order=True)
    return _placement([_placed(rows, block, rules, kind) for block in blocks], units)


def _placed(rows: pl.DataFrame, units: pl.DataFrame, rules: School, kind: Kind) -> pl.DataFrame:
    """Return the rows that make up the units of a year and subject, unit after unit, student after student.

    `_of` is a row's own year.
    """
    year, subject = units["year"][0], units["subject"][0]
    over_all = subject == COMPOSITE and rules.composite != "none"
    own = pl.col("year") == year  # in the R package's tables years are texts
    wanted = own if rules.years == 1 else pl.col("year").is_between(year - rules.years + 1, year)
    part = filtered(rows, holds(rows, wanted, pl.lit(True) if over_all else pl.col("subject") == subject))
    by = [unit_column(kind), *(["span"] if kind == "span" else [])]
    number = [
        part[k].select(by).join(units.select("_unit", *by), on=by, how="left", maintain_order="left")["_unit"]
        for k in pieces(max(part.height, 1))
    ]
    subjects = [pl.col("subject").alias("_subject")] if over_all else []
    part = part.select(_ROW, _WEIGHT, _STUDENT, pl.col("year").alias("_of"), *subjects)
    part = part.with_columns(pl.concat(number)).filter(pl.col("_unit").is_not_null())
    placed = part.sort("_unit", _STUDENT, "_of", *(["_subject"] if over_all else []))
    if rules.years > 1:
        # Units without a result of the year itself get none from the years before.
        placed = placed.filter((pl.col("_of") == year).any().over("_unit"))
    if rules.composite == "subjects" and over_all:
        placed = _equal_subjects(placed)
    return kept_frame(placed.select("_unit", _ROW, _WEIGHT, _STUDENT, "_of"))


def _placement(parts: Sequence[pl.DataFrame], units: pl.DataFrame) -> Placement:
    """Put the rows of all units one after the other."""
    rows = sum(part.height for part in parts)

    def whole(name: str, kind: type[np.generic]) -> np.ndarray[Any, Any]:
        found, place = empty(rows, kind), 0
        for part in parts:
            found[place : place + part.height] = part[name].to_numpy()
            place += part.height
        return found

    sizes = np.zeros(units.height, dtype=np.int64)
    for part in parts:
        sizes += np.bincount(part["_unit"].to_numpy(), minlength=units.height)
    return Placement(
        units=units.drop("_unit"),
        start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        row=whole(_ROW, np.int64),
        weight=whole(_WEIGHT, np.float64),
        student=_dense(whole(_STUDENT, np.int64)),
        year=_years(parts, rows),
    )


def _years(parts: Sequence[pl.DataFrame], rows: int) -> IntArray:
    """Return the year of each row, numbered from 1 on in their order; years may be texts."""
    found, place = empty(rows, np.int64), 0
    seen = [part["_of"].unique() for part in parts if part.height]
    known = pl.concat(seen).unique().sort() if seen else pl.Series(dtype=pl.Int64)
    for part in parts:
        found[place : place + part.height] = code_array(part["_of"], known)
        place += part.height
    return _dense(found)


def _dense(codes: IntArray) -> IntArray:
    """Return codes, none negative, without gaps from 1 on, in the same order."""
    seen = np.zeros(int(codes.max(initial=-1)) + 1, dtype=np.bool_)
    seen[codes] = True
    return kept_at(np.cumsum(seen), codes)


def _weighted(counted: Counted, rules: School, unit: str, enrolment: Enrolment | None) -> pl.DataFrame:
    """Return year, subject, grade, student, unit, weight of every result in every unit it counts for."""
    rows = counted.rows.with_columns(
        pl.Series(_ROW, kept(np.arange(counted.rows.height, dtype=np.int64))),
        pl.Series(_STUDENT, dense_ranks(counted.rows["student_id"])),
    )
    keep = [_ROW, _STUDENT, "year", "subject", unit]
    keep += [name for name in ("grade", rules.span_column) if name in rows.columns]
    if enrolment is not None:
        places = enrolment.frame.rename({"share": _WEIGHT})
        rows = rows.drop("school_id", "district_id", strict=False)
        rows = rows.join(places.with_columns(pl.col("year").cast(rows.schema["year"])), on=KEY, how="inner")
    else:
        _require(rows, unit, "school.districts" if unit == "district_id" else "every run")
        rows = rows.with_columns(_share(rows) if rules.share == "column" else _alike(rows.height))
    rows = rows.select(*keep, _WEIGHT)
    rows = filtered(rows, rows[unit].is_not_null())
    if enrolment is None or unit == "school_id":
        return rows
    # two schools of one district are one place of it
    others = [name for name in rows.columns if name not in (_ROW, unit, _WEIGHT)]
    whole = by_group(rows, [_ROW, unit], pl.col(others).first(), pl.col(_WEIGHT).sum())
    return whole.select(rows.columns)


def _share(rows: pl.DataFrame) -> pl.Series:
    _require(rows, "share", "school.share")
    share = rows["share"].cast(pl.Float64, strict=False)
    bad = int((~((share > 0) & (share <= 1)).fill_null(False)).sum())
    if bad:
        fix = "correct those values, or mark rows that do not count"
        raise ColumnError(
            problem(
                "Column 'share' is blank or outside its range", rule="above 0, at most 1", rows=bad, fix=fix
            )
        )
    return share.alias(_WEIGHT)


def _present(counted: Counted, unit: str, enrolment: Enrolment | None) -> pl.DataFrame:
    """Return year, subject and id of every unit in the students frame, with or without counted results."""
    if enrolment is not None:
        years = counted.units.select("year", "subject").unique()
        places = enrolment.frame.select(pl.col("year").cast(years.schema["year"]), unit).unique()
        return years.join(places, on="year").select("year", "subject", unit)
    if unit == "school_id":
        return counted.units
    return distinct(counted.rows.select("year", "subject", unit), pl.col(unit).is_not_null())


def _alike(rows: int) -> pl.Series:
    weight = empty(rows, np.float64)
    weight[:] = 1.0
    return pl.Series(_WEIGHT, weight)


def _refuse_composite(rows: pl.DataFrame) -> None:
    if COMPOSITE in distinct(rows.select("subject"))["subject"]:
        what = f"{COMPOSITE!r} is a subject of the table"
        raise SpecError(
            problem(what, rule="it names results over all subjects", fix='rename it, or composite = "none"')
        )


def _composite_units(seen: pl.DataFrame) -> pl.DataFrame:
    over_all = seen.with_columns(pl.lit(COMPOSITE).alias("subject")).unique()
    return pl.concat([seen, over_all])


def _equal_subjects(placed: pl.DataFrame) -> pl.DataFrame:
    """Weight composite results so that each subject of a unit has the same weight, the sum unchanged."""
    weight, of_unit = pl.col(_WEIGHT), pl.col("_subject").n_unique().over("_unit")
    equal = weight * weight.sum().over("_unit") / (of_unit * weight.sum().over("_unit", "_subject"))
    return placed.with_columns(equal.alias(_WEIGHT))


def _seen_by_span(rows: pl.DataFrame, rules: School, unit: str) -> pl.DataFrame:
    """Return year, subject, span and id of every unit with results in a span."""
    seen = distinct(rows.select("year", "subject", "span", unit))
    return seen if rules.composite == "none" else _composite_units(seen)


def _span(rows: pl.DataFrame, rules: School) -> pl.Expr:
    if rules.span_column:
        _require(rows, rules.span_column, "school.span_column")
        return pl.col(rules.span_column).cast(pl.String).alias("span")
    _require(rows, "grade", "school.spans")
    grade = pl.col("grade")
    found = pl.lit(None, dtype=pl.String)
    for name, (low, high) in rules.spans.items():
        found = pl.when(grade.is_between(low, high)).then(pl.lit(name)).otherwise(found)
    return found.alias("span")


def _span_of_school(rows: pl.DataFrame, rules: School, unit: str) -> pl.DataFrame:
    """Return the span of most of a school's results of a year, all subjects; the lower one of two equal."""
    spans = rows.with_columns(_span(rows, rules)).filter(pl.col("span").is_not_null())
    lowest = pl.col("grade").min() if "grade" in spans.columns else pl.col("span").first()
    tally = by_group(spans, ["year", unit, "span"], pl.col(_WEIGHT).sum(), lowest.alias("_lowest"))
    return (
        tally.sort("year", unit, _WEIGHT, "_lowest", "span", descending=[False, False, True, False, False])
        .unique(["year", unit], keep="first", maintain_order=True)
        .select("year", unit, "span")
    )


def _require(rows: pl.DataFrame, column: str, by: str) -> None:
    if column not in rows.columns:
        what = f"Column {column!r} is missing from the students frame"
        raise ColumnError(problem(what, rule=f"needed by {by}", fix=f"add it, or change {by}"))
