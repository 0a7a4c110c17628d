"""Conditional standard errors of measurement (CSEM) of the scores: from a column, tables or a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.errors import ColumnError, SpecError, problem
from growth.mapped import changed
from growth.panel.coded import as_texts
from growth.panel.table import StudentTable
from growth.scratch import kept
from growth.spec import CsemTable, GrowthSpec

__all__ = [
    "CsemFunction",
    "csem_from_tables",
    "csem_tables",
    "natural_spline",
    "read_csem",
    "refuse_unknown_csem",
]

CsemFunction: TypeAlias = Callable[[FloatArray, str, int, int], FloatArray]
"""Called with the scores, shape (n,), of a subject, grade and year; returns their CSEM, shape (n,)."""

_CELL = ("subject", "grade", "year", "score")
_LISTED = 5
"""Most cells that a message lists."""


def read_csem(table: StudentTable, spec: GrowthSpec, function: CsemFunction | None) -> FloatArray | None:
    """Return the CSEM of each row's score, shape (N,) [CSEM points]; NaN where there is none.

    Parameters
    ----------
    table : StudentTable
    spec : GrowthSpec
        Its `measurement` part says where CSEMs come from; None is returned if from nowhere.
    function : callable, optional
        For ``measurement.csem = "function"``.

    Raises
    ------
    SpecError
        If a function is expected and not given, or given and not expected.
    ColumnError
        If tables or a function give what is not a standard error; the message counts the rows.
    """
    source = spec.measurement.csem
    if (function is not None) != (source == "function"):
        raise SpecError(
            problem(
                f"measurement.csem is {source!r} and the argument csem is "
                + ("missing" if function is None else "given"),
                rule='measurement.csem = "function" and a function as the argument csem go together',
            )
        )
    if source == "none":
        return None
    if source == "column":
        return changed(table.codes["csem"], lambda part: part.fill_null(float("nan"))).to_numpy()
    program = spec.measurement.program
    needed = [*_CELL, *([program] if program and program not in _CELL else [])]
    frame = as_texts(table.codes.select(needed), table.texts)
    return kept(csem_from_tables(frame, spec) if function is None else _from_function(frame, function))


def refuse_unknown_csem(table: StudentTable, rows: IntArray) -> None:
    """Raise if there are prior scores, `rows` of the table, whose CSEM is unknown.

    Raises
    ------
    ColumnError
        Names the subjects, grades and years and counts the scores, each once.
    """
    if not len(rows):
        return
    unknown = table.rows(np.unique(rows)).select("subject", "year_label", "grade")
    cells = unknown.group_by("subject", "year_label", "grade").len().sort("subject", "year_label", "grade")
    named = [f"{subject} {year} grade {grade} ({n:,})" for subject, year, grade, n in cells.iter_rows()]
    more = f" and {len(named) - _LISTED} more" if len(named) > _LISTED else ""
    raise ColumnError(
        problem(
            f"The CSEM of prior scores is unknown in {', '.join(named[:_LISTED])}{more}",
            rule="every prior score in use has a CSEM (measurement.csem)",
            rows=unknown.height,
            fix="fill the column csem, or give a table for each of these subjects, grades and years",
        )
    )


def natural_spline(knots: Sequence[float], values: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Return the natural cubic spline through points, continued as straight lines.

    Parameters
    ----------
    knots : sequence of float, length m
        Increasing, at least two.
    values : ndarray, shape (m,) or (m, q)

    Returns
    -------
    callable
        From shape (n,) to shape (n,) or (n, q).
    """
    from scipy.interpolate import CubicSpline

    spline = CubicSpline(knots, values, bc_type="natural")

    def evaluate(x: FloatArray) -> FloatArray:
        inside = np.clip(x, knots[0], knots[-1])
        beyond = (x - inside).reshape(-1, *(1,) * (np.ndim(values) - 1))
        return np.asarray(spline(inside) + beyond * spline(inside, 1))

    return evaluate


def csem_tables(frame: pl.DataFrame) -> list[CsemTable]:
    """Return a long frame as ``measurement.tables``.

    Parameters
    ----------
    frame : polars.DataFrame
        One line per score: subject, grade, score, csem, and optionally year and program.

    Examples
    --------
    >>> lines = {"subject": ["MATH"] * 2, "grade": [4, 4], "score": [2400, 2500], "csem": [25, 20]}
    >>> csem_tables(pl.DataFrame(lines))[0].csem
    (25.0, 20.0)
    """
    keys = [name for name in ("subject", "grade", "year", "program") if name in frame.columns]
    tables = []
    for _, part in frame.sort(*keys, "score").group_by(keys, maintain_order=True):
        year, program = (part[name][0] if name in keys else None for name in ("year", "program"))
        tables.append(
            CsemTable(
                subject=str(part["subject"][0]),
                grade=int(part["grade"][0]),
                years=() if year is None else (int(year),),
                program=str(program or ""),
                scores=tuple(part["score"].cast(pl.Float64)),
                csem=tuple(part["csem"].cast(pl.Float64)),
            )
        )
    return tables


def _from_function(frame: pl.DataFrame, function: CsemFunction) -> FloatArray:
    found = np.full(frame.height, np.nan)
    for cell in _cells(frame, pl.lit("")):
        where = f"{cell.subject} grade {cell.grade} {cell.year}"
        values = np.asarray(function(cell.score, cell.subject, cell.grade, cell.year), dtype=np.float64)
        if values.shape != cell.score.shape:
            raise ColumnError(
                problem(
                    f"The function csem returned shape {values.shape} for shape {cell.score.shape}: {where}",
                    rule="one CSEM per score",
                )
            )
        found[cell.row] = _standard_errors(values, f"The function csem, for {where},")
    return found


def csem_from_tables(frame: pl.DataFrame, spec: GrowthSpec) -> FloatArray:
    """Return the CSEM of each row's score by `measurement.tables`, shape (n,); NaN without score or table.

    Raises
    ------
    ColumnError
        If a table gives values that are no CSEM.
    """
    tables = {
        (table.subject, table.grade, table.program, year): table
        for table in spec.measurement.tables
        for year in table.years or (None,)
    }
    column = spec.measurement.program
    found = np.full(frame.height, np.nan)
    for cell in _cells(frame, pl.col(column).fill_null("") if column else pl.lit("")):
        nearest_first = ((p, y) for p in (cell.program, "") for y in (cell.year, None))
        candidates = (tables.get((cell.subject, cell.grade, p, y)) for p, y in nearest_first)
        table = next((one for one in candidates if one is not None), None)
        if table is not None:
            values = natural_spline(table.scores, np.array(table.csem))(cell.score)
            source = f"The spline through measurement.tables, {cell.subject} grade {cell.grade},"
            found[cell.row] = _standard_errors(values, source)
    return found


class _Cell(NamedTuple):
    subject: str
    grade: int
    year: int
    program: str
    row: IntArray
    score: FloatArray


def _cells(frame: pl.DataFrame, program: pl.Expr) -> Iterator[_Cell]:
    """Yield the rows that have a score, by subject, grade, year and program."""
    scored = frame.select("subject", "grade", "year", "score", program.alias("program"))
    scored = scored.with_row_index("row").filter(pl.col("score").is_not_null())
    for part in scored.partition_by("subject", "grade", "year", "program"):
        _, subject, grade, year, _, named = part.row(0)
        row = part["row"].cast(pl.Int64).to_numpy()
        yield _Cell(subject, grade, year, named, row, part["score"].to_numpy())


def _standard_errors(values: FloatArray, source: str) -> FloatArray:
    bad = int(np.count_nonzero(~(np.isfinite(values) & (values >= 0))))
    if bad:
        raise ColumnError(
            problem(
                f"{source} gives values that are negative, NaN or infinite",
                rule="a CSEM is a finite number, 0 or more",
                rows=bad,
                fix="check it at the ends of the scale: a table is continued along straight lines",
            )
        )
    return values
