"""One school's result, step by step: who counted and who did not, mean, error, shrinkage, place, level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from growth._types import FloatArray
from growth.errors import GrowthError
from growth.pipeline import GrowthRun
from growth.school import Norms
from growth.school.counted import PERCENTILE_COLUMNS
from growth.school.groups import ALL
from growth.school.norms import ReferenceNorm
from growth.spec import GrowthSpec

__all__ = ["SchoolAccount", "explain_school"]

_PLACE = ["year", "subject"]
COUNTED = "counted"
_AGGREGATES = {
    "mean": "that mean",
    "median": "the median of their percentiles",
    "trimmed_mean": "their mean without the highest and the lowest",
    "mean_residual": "the mean of what their scores lie above the expected ones",
}
_USED = {
    "blp": "more accurate, and used instead",
    "direct": "less accurate, and not used",
    "both": "used in those of its grades where that is more accurate",
}
SIMPLE = 1e-9
"""A mean of this run's students agrees with the stored one up to the order of adding."""


@dataclass(frozen=True, slots=True, eq=False)
class SchoolAccount:
    """How one result of a school came about; numbers are null where the step was not taken."""

    year: int
    subject: str
    rows: int
    """Rows of the students frame in the school, one per row in scope."""
    excluded: Mapping[str, int]
    """Reason -> rows that do not count; they and `n` add up to `rows`."""
    n: int
    """Students who count."""
    percentile_sum: float
    """Sum of their percentiles, of the kind that schools are built from [percentile points]."""
    own_effect: float | None
    """The effect, computed from the rows again; null where it is a trimmed mean, or not of these rows."""
    of_rows: bool
    """Whether the result is of these rows, each counted once; if not, n and the sum are not behind it."""
    aggregate: str
    """How the effect is made from the students, in words."""
    result: Mapping[str, Any]
    """The row of the schools frame."""
    within_sd: float | None
    """SD of students within schools [points of measure]."""
    used: str | None
    """With EBLP: "blp" where its prediction replaced the effect, "both" where it did in some grades."""
    predicted: tuple[float, float] | None
    """With EBLP: prediction and its root mean squared error."""
    prior_mean: float | None
    """What is expected of a school [points of measure]."""
    kept_share: float | None
    """Share of the distance from `prior_mean` that shrinkage left: shrunk = mean + share (effect - mean), of
    the prediction instead of the effect where that replaced it; null where it did in some grades."""
    place: tuple[int, int, int] | None
    """Reference schools below, equal, and in all; percentile = 100 (below + equal / 2) / all."""
    level: int | None
    bounds: tuple[float, float] | None
    """The level's interval on the cut points [growth percentile]."""

    def __repr__(self) -> str:
        return "\n".join(_lines(self))


def explain_school(run: GrowthRun, school_id: str) -> tuple[SchoolAccount, ...]:
    """Explain a school's results for all its students, one account per year and subject.

    Parameters
    ----------
    run : GrowthRun
    school_id : str

    Returns
    -------
    tuple of SchoolAccount

    Raises
    ------
    GrowthError
        If the school has no row in the run, or a stored number does not follow from those before it.
    """
    key = pl.col("school_id") == str(school_id)
    schools = run.polars("schools").filter(key, pl.col("group") == ALL)
    if schools.is_empty():
        raise GrowthError("No school with this school_id has results in this run.")
    return tuple(_account(run, row) for row in schools.iter_rows(named=True))


def _account(run: GrowthRun, row: Mapping[str, Any]) -> SchoolAccount:
    spec = run.spec
    here = [pl.col(name) == row[name] for name in _PLACE]
    mine = run.polars("students").filter("highest", *here, pl.col("school_id") == row["school_id"])
    mine = mine.with_columns(_reason(spec).alias("_reason"))
    tally = dict(mine.group_by("_reason").len().sort("_reason").iter_rows())
    n = tally.pop(COUNTED, 0)
    counted = mine.filter(_reason=COUNTED)
    percentiles = _percentiles(counted, spec)
    prediction = _prediction(run, row)
    used, predicted = prediction.get("used"), _predicted(prediction)
    variance = _one(run.polars("variance"), row, [*_PLACE, "group"])
    level = _one(run.polars("levels"), row, [*_PLACE, "group", "school_id"]).get("level")
    norm = _norm(run.norms, row)
    account = SchoolAccount(
        year=row["year"],
        subject=row["subject"],
        rows=mine.height,
        excluded=tally,
        n=n,
        percentile_sum=float(percentiles.sum()),
        own_effect=_effect(counted, percentiles, spec) if _simple(spec) and n else None,
        of_rows=_simple(spec),
        aggregate=_AGGREGATES[spec.school.aggregate],
        result=row,
        within_sd=variance.get("within_sd"),
        used=used,
        predicted=predicted,
        prior_mean=variance.get("mean"),
        kept_share=None if used == "both" else _share(row, variance, predicted if used == "blp" else None),
        place=_place(row, norm, spec),
        level=level,
        bounds=None if level is None else _bounds(run, row["subject"], level),
    )
    _check(account)
    return account


def _reason(spec: GrowthSpec) -> pl.Expr:
    """Return why a row does not count, by the rules of the school room."""
    enrolled = pl.col("enrolled").fill_null(False) if spec.school.enrolled_only else pl.lit(True)
    return (
        pl.when(pl.col("status") != "scored")
        .then("status")
        .when(~enrolled)
        .then(pl.lit("not_enrolled"))
        .otherwise(pl.lit(COUNTED))
    )


def _one(frame: pl.DataFrame, row: Mapping[str, Any], keys: list[str]) -> dict[str, Any]:
    found = frame.filter(*(pl.col(name) == row[name] for name in keys))
    if "span" in found.columns:
        found = found.filter(pl.col("span").fill_null("") == (row.get("span") or ""))
    return found.row(0, named=True) if found.height else {}


def _norm(norms: Norms, row: Mapping[str, Any]) -> ReferenceNorm | None:
    same = [
        x for x in norms if x.subject == row["subject"] and x.group == ALL and x.span == (row["span"] or "")
    ]
    return next((norm for norm in same if norm.year == row["year"]), same[0] if len(same) == 1 else None)


def _percentiles(counted: pl.DataFrame, spec: GrowthSpec) -> FloatArray:
    """Return the percentiles that schools are built from [0-100]."""
    column = PERCENTILE_COLUMNS[spec.school.percentile]
    scale = 100.0 if column.startswith("percentile") else 1.0
    return scale * counted[column].cast(pl.Float64).to_numpy()


def _effect(counted: pl.DataFrame, percentiles: FloatArray, spec: GrowthSpec) -> float | None:
    rules = spec.school
    if rules.aggregate == "trimmed_mean":
        return None
    if rules.aggregate == "mean_residual":
        scaled = rules.residual_scale == "cohort_sd"
        value = pl.col("residual") / pl.col("residual_sd") if scaled else pl.col("residual")
        return float(counted.select(value.alias("_value"))["_value"].to_numpy().mean())
    return float(np.median(percentiles) if rules.aggregate == "median" else percentiles.mean())


def _prediction(run: GrowthRun, row: Mapping[str, Any]) -> dict[str, Any]:
    if "predictions" not in run.frames:
        return {}
    return _one(run.polars("predictions"), row, [*_PLACE, "school_id"])


def _predicted(prediction: Mapping[str, Any]) -> tuple[float, float] | None:
    value, error = prediction.get("blp"), prediction.get("blp_se")
    return None if value is None or error is None else (value, error)


def _share(
    row: Mapping[str, Any], variance: Mapping[str, Any], predicted: tuple[float, float] | None
) -> float | None:
    mean, shrunk = variance.get("mean"), row["shrunk"]
    effect = row["effect"] if predicted is None else predicted[0]
    if mean is None or effect is None or shrunk is None or effect == mean:
        return None
    return float((shrunk - mean) / (effect - mean))


def _place(
    row: Mapping[str, Any], norm: ReferenceNorm | None, spec: GrowthSpec
) -> tuple[int, int, int] | None:
    if norm is None or row["growth_percentile"] is None or spec.school.growth_percentile != "rank":
        return None
    effect = row["effect"] if spec.school.shrinkage == "none" else row["shrunk"]
    below = int(np.searchsorted(norm.effects, effect, side="left"))
    upto = int(np.searchsorted(norm.effects, effect, side="right"))
    return below, upto - below, norm.schools


def _bounds(run: GrowthRun, subject: str, level: int) -> tuple[float, float]:
    points = [0.0, *run.cuts.of(subject).tolist(), 100.0]
    return points[level - 1], points[level]


def _check(account: SchoolAccount) -> None:
    """Refuse to explain numbers that do not follow from those before them."""
    wrong = [] if account.n + sum(account.excluded.values()) == account.rows else ["students"]
    if account.of_rows:
        wrong += _wrong_numbers(account)
    if wrong:
        what = (
            f"{account.subject} {account.year}: {', '.join(wrong)} of this school do not follow from the run"
        )
        raise GrowthError(f"{what}. To fix: check the folder with growth verify.")


def _wrong_numbers(account: SchoolAccount) -> list[str]:
    row, wrong = account.result, []
    if account.n != row["n"]:
        wrong.append("n")
    mean, percentile = row["mean_percentile"], row["growth_percentile"]
    if mean is not None and abs(account.percentile_sum / account.n - mean) > SIMPLE * 100:
        wrong.append("mean_percentile")
    own, effect = account.own_effect, row["effect"]
    if own is not None and effect is not None and abs(own - effect) > SIMPLE * max(100.0, abs(own)):
        wrong.append("effect")
    if account.place is not None:
        below, equal, schools = account.place
        if 100.0 * (2 * below + equal) / (2 * schools) != percentile:
            wrong.append("growth_percentile")
    if account.bounds is not None:
        low, high = account.bounds
        if not (low <= percentile < high or percentile == high == 100.0):
            wrong.append("level")
    return wrong


def _simple(spec: GrowthSpec) -> bool:
    """Tell whether a school's result is of its rows of one year and subject, each counted once."""
    rules = spec.school
    return rules.composite == "none" and rules.years == 1 and rules.share == "none"


def _lines(a: SchoolAccount) -> list[str]:
    row = a.result
    out = "".join(f" - {count:,} {reason}" for reason, count in a.excluded.items())
    lines = [f"{a.subject} {a.year}", f"  Students: {a.rows:,} rows in the school{out} = {a.n:,} counted"]
    if row["reason"] is not None:
        return [*lines, f"  No result: {row['reason']}"]
    if a.of_rows:
        lines.append(f"  Mean percentile: {a.percentile_sum:,.3f} / {a.n:,} = {row['mean_percentile']:.3f}")
    else:
        lines.append(
            f"  Mean percentile: {row['mean_percentile']:.3f}, of {row['n']:,} students; the specification "
            "weights them, or takes other years or subjects"
        )
    lines.append(f"  Effect, {a.aggregate}: {row['effect']:.3f}")
    lines.append(_error(a))
    effect = row["effect"]
    if a.predicted is not None:
        value, error = a.predicted
        effect = value if a.used == "blp" else effect
        lines.append(
            f"  Predicted from the school's results in all years, grades and subjects: {value:.3f}, its "
            f"error {error:.3f}; {_USED.get(str(a.used), '')}"
        )
    if a.kept_share is not None and a.prior_mean is not None:
        lines.append(
            f"  Shrunken towards the mean of all schools: {a.prior_mean:.3f} + {a.kept_share:.4f} x "
            f"({effect:.3f} - {_bracketed(a.prior_mean)}) = {row['shrunk']:.3f}"
        )
    elif row["shrunk"] is not None:
        lines.append(f"  Shrunken: {row['shrunk']:.3f}")
    if a.place is not None:
        below, equal, schools = a.place
        lines.append(
            f"  Growth percentile: 100 x ({below:,} below + {equal:,} equal / 2) / {schools:,} schools = "
            f"{row['growth_percentile']:.3f}"
        )
    else:
        lines.append(f"  Growth percentile: {row['growth_percentile']:.3f}")
    low, high = row["growth_percentile_low"], row["growth_percentile_high"]
    lines.append(f"  Its 95 % band: {_number(low)} to {_number(high)}")
    if a.level is not None and a.bounds is not None:
        lines.append(f"  Level {a.level}: from {a.bounds[0]:g} to {a.bounds[1]:g}")
    return lines


def _error(a: SchoolAccount) -> str:
    """Return the standard error, and where it comes from if that can be told in a line."""
    row, sd = a.result, a.within_sd
    error, independent = row["effect_se"], row["n_effective"]
    line = f"  Its standard error: {_number(error)}"
    if sd is None or not independent or error is None:
        return line
    if abs(sd / np.sqrt(independent) - error) <= SIMPLE * error:
        return (
            f"  Its standard error: {sd:.3f} / square root of {independent:.1f} = {error:.3f} "
            "(SD of students within schools, independent students)"
        )
    return f"{line} (SD of students within schools {sd:.3f}, {independent:.1f} independent students)"


def _bracketed(value: float) -> str:
    return f"({value:.3f})" if value < 0 else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
