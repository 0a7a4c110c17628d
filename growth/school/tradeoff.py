"""What a smallest number of students costs in schools shown, and buys in reliability."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from growth.aggregate import by_group
from growth.errors import ColumnError, SpecError, did_you_mean, problem
from growth.school.columns import TRADEOFF

__all__ = ["n_size_tradeoff"]

_KEYS = ["year", "subject", "group"]
_SIZES = range(5, 51)


def n_size_tradeoff(
    schools: pl.DataFrame, variance: pl.DataFrame, sizes: Iterable[int] = _SIZES
) -> pl.DataFrame:
    r"""Return, per group and smallest number of students, what is shown and how reliable that is.

    The reliability of a mean of n students is :math:`n\,ICC / (1 + (n - 1)\,ICC)`, with the intraclass
    correlation of the group's own variance between schools where it has one. Schools of different spans count
    together, with the ICC of their own span.

    Parameters
    ----------
    schools : polars.DataFrame
        The schools frame of a run; its `n` is there for withheld results as well.
    variance : polars.DataFrame
        The variance frame of the same run.
    sizes : iterable of int
        Smallest numbers of students, 1 or more.

    Returns
    -------
    polars.DataFrame
        Columns as in `growth.school.columns.TRADEOFF`; reliabilities are null where the ICC is unknown or no
        school is shown. `reliability_at_n` is that of the first span where spans are apart.

    Raises
    ------
    SpecError
        If a size is below 1, or there is none.
    ColumnError
        If a column is missing.
    """
    smallest = sorted(set(sizes))
    if not smallest or smallest[0] < 1:
        raise SpecError(problem("Sizes of schools are whole numbers from 1 on", fix="use range(5, 51)"))
    for frame, needed in ((schools, (*_KEYS, "span", "n")), (variance, (*_KEYS, "span", "icc"))):
        for name in needed:
            if name not in frame.columns:
                what = f"Column {name!r} is missing{did_you_mean(name, frame.columns)}"
                raise ColumnError(problem(what, fix="give the schools and the variance frame of a run"))
    spanned = [pl.col("span").fill_null("")]
    icc = variance.with_columns(spanned).select(*_KEYS, "span", "icc")
    counted = schools.filter(pl.col("n") > 0, pl.col("group") != "race:lowest").with_columns(spanned)
    rows = counted.select(*_KEYS, "span", "n").join(
        icc, on=[*_KEYS, "span"], how="left", maintain_order="left"
    )
    shown = rows.join(pl.DataFrame({"min_n": smallest}, schema={"min_n": pl.Int64}), how="cross")
    visible = pl.col("n") >= pl.col("min_n")
    found = by_group(
        shown,
        [*_KEYS, "min_n"],
        visible.sum().cast(pl.Int64).alias("schools"),
        visible.mean().alias("school_share"),
        (pl.col("n").filter(visible).sum() / pl.col("n").sum()).alias("student_share"),
        _reliability(pl.col("min_n"), pl.col("icc")).first().alias("reliability_at_n"),
        _reliability(pl.col("n"), pl.col("icc")).filter(visible).mean().alias("reliability_shown"),
    )
    schema = {column.name: column.dtype for column in TRADEOFF if column.name != "year"}
    keys = counted.select(*_KEYS).unique(maintain_order=True).with_row_index("_place")
    placed = found.join(keys, on=_KEYS).sort("_place", "min_n")
    return placed.select("year", *(pl.col(name).cast(dtype) for name, dtype in schema.items()))


def _reliability(n: pl.Expr, icc: pl.Expr) -> pl.Expr:
    return n * icc / (1.0 + (n - 1) * icc)
