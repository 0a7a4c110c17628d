"""Which schools a school can be told apart from."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import ndtr

from growth.errors import ColumnError, TableError, did_you_mean, problem
from growth.school.bands import TAIL, Z

__all__ = ["compare_schools"]

_KEYS = ("year", "subject", "group", "school_id")
_NEEDED = (*_KEYS, "effect", "effect_se", "shrunk", "shrunk_se", "reason")


def compare_schools(
    schools: pl.DataFrame,
    school_id: str,
    *,
    subject: str,
    year: int | None = None,
    group: str = "All",
    among: list[str] | None = None,
) -> pl.DataFrame:
    r"""Compare a school with others: "statistically not different from ...".

    :math:`P(\theta_j > \theta_k) = \Phi((\hat\theta_j - \hat\theta_k) / \sqrt{v_j + v_k})` from the posterior
    means and SDs of the frame (without shrinkage from effects and SEs). Schools share the mean they are
    shrunk to; leaving that out makes intervals of differences too wide by little, and least where schools
    are many (`tests/test_school_standing.py` compares with joint draws). Each comparison stands for itself:
    of a hundred schools that do not differ about five will seem to.

    Parameters
    ----------
    schools : polars.DataFrame
        The schools frame of a run.
    school_id : str
    subject : str
    year : int, optional
        The latest of the frame by default.
    group : str
    among : list of str, optional
        Ids to compare with, such as similar schools; all by default.

    Returns
    -------
    polars.DataFrame
        school_id (of the other), n, difference (this school less the other) with its 95 % interval
        difference_low, difference_high [units of the effect], p_above (probability 0-1 that this school lies
        above the other) and different (bool: below .025 or above .975), nearest first. Schools whose result
        is withheld are left out.

    Raises
    ------
    TableError
        If the school has no result that is shown.
    ColumnError
        If a column is missing.
    """
    for name in (*_NEEDED, "n"):
        if name not in schools.columns:
            what = f"Column {name!r} is missing from the schools frame{did_you_mean(name, schools.columns)}"
            raise ColumnError(problem(what, fix="give the schools frame of a run"))
    when = schools["year"].max() if year is None else year
    chosen = {"year": when, "subject": subject, "group": group}
    shrunken = pl.col("shrunk_se").is_not_null()  # the R package's shrinkage has no errors
    rows = schools.filter(pl.col("reason").is_null(), **chosen).with_columns(
        pl.when(shrunken).then("shrunk").otherwise("effect").alias("_mean"),
        pl.coalesce("shrunk_se", "effect_se").alias("_sd"),
    )
    rows = rows.filter(pl.col("_sd").is_not_null())
    own = rows.filter(pl.col("school_id") == school_id)
    if own.height != 1:
        what = f"School {school_id!r} has no result in {subject}, {when!r}, {group}"
        rule = "a result that is shown, with a standard error"
        raise TableError(problem(what, rule=rule, fix="see the column `reason`"))
    others = rows.filter(pl.col("school_id") != school_id)
    if among is not None:
        others = others.filter(pl.col("school_id").is_in(among))
    difference = own["_mean"].item() - others["_mean"].to_numpy()
    spread = np.hypot(own["_sd"].item(), others["_sd"].to_numpy())
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(spread > 0, difference / spread, np.sign(difference) * np.inf)
    p_above = ndtr(np.where(np.isnan(ratio), 0.0, ratio))
    found = others.select("school_id", "n").with_columns(
        pl.Series("difference", difference),
        pl.Series("difference_low", difference - Z * spread),
        pl.Series("difference_high", difference + Z * spread),
        pl.Series("p_above", p_above),
        pl.Series("different", (p_above < TAIL) | (p_above > 1.0 - TAIL)),
    )
    return found.sort(pl.col("difference").abs(), "school_id")
