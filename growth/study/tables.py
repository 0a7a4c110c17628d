"""The statistics of every variant, from what was kept of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields

import numpy as np
import polars as pl

from growth.aggregate import by_group
from growth.study.agreement import (
    LEVELS,
    Agreement,
    Sides,
    agreement,
    classification,
    correlation,
    reliability_at,
    split_half,
)
from growth.study.outcome import UNIT, Outcome
from growth.study.points import points_moved

__all__ = ["SIZES", "intake_table", "reliability_table", "school_table", "statistics_table"]

SIZES = (10, 20, 30, 50, 100, 250)
"""Students per school for which reliability is given."""
_ALL = "All"
_BLOCK = ["variant", "year", "subject"]
P_LEVELS = [f"p_level_{level}" for level in range(1, LEVELS + 1)]
_AGREEMENT = [field.name for field in fields(Agreement)]
_TRUE = (
    "truth_spearman",
    "truth_bias",
    "truth_bias_poverty",
    "truth_rmse",
    "truth_coverage",
    "truth_level_hits",
)
_NUMBERS = [
    *_AGREEMENT[1:],
    "points_moved",
    "points_moved_most",
    "year_to_year",
    "icc",
    "reliability",
    "split_half",
    "level_accuracy",
    "level_consistency",
    "level_kappa",
    "school_coverage",
    "student_coverage",
    *_TRUE,
]


def school_table(outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """Return all students' results of every school in every variant, 0 the base.

    Returns
    -------
    polars.DataFrame
        variant, year, subject, school_id, n, value (what is ranked), growth_percentile and its band, the
        probabilities of levels, level; null where withheld.
    """
    parts = [
        _schools(one).select(pl.lit(v, pl.Int32).alias("variant"), pl.all()) for v, one in enumerate(outcomes)
    ]
    return pl.concat(parts)


def statistics_table(
    schools: pl.DataFrame, outcomes: Sequence[Outcome], truth: pl.DataFrame | None, poorest: pl.DataFrame
) -> pl.DataFrame:
    """Return one row of statistics per variant, year and subject.

    Parameters
    ----------
    schools : polars.DataFrame
        Of `school_table`.
    outcomes : sequence of Outcome
    truth : polars.DataFrame or None
        year, subject, school_id, effect.
    poorest : polars.DataFrame
        subject, school_id: the quarter of schools with most poverty.

    Returns
    -------
    polars.DataFrame
        variant, year, subject, schools (with results in both), the fields of `Agreement`; points_moved and
        points_moved_most, the mean and the largest change of the index points that a school gets from growth
        in the subject, without sign [index points]; year_to_year, r of what is ranked with the year before;
        icc and reliability (mean over schools); split_half; accuracy, consistency and kappa of levels;
        school_coverage and student_coverage, schools and counted students with a result [% of schools with
        students, of students in scope]; against `truth` spearman, bias, bias in the poorest quarter of
        schools and rmse of the growth percentile [percentile points], coverage of bands [%] and exact levels
        [%].
    """
    shown = schools.filter(pl.col("growth_percentile").is_not_null(), pl.col("level").is_not_null())
    base = shown.filter(variant=0).drop("variant")
    rows = []
    for (variant, year, subject), part in schools.group_by(_BLOCK, maintain_order=True):
        here = shown.filter(variant=variant, year=year, subject=subject)
        both = here.join(base, on=UNIT, suffix="_base", maintain_order="left")
        row: dict[str, object] = {
            "variant": variant,
            "year": year,
            "subject": subject,
            "schools": both.height,
        }
        if both.height:
            row |= asdict(agreement(_sides(both)))
        place = {"year": year, "subject": subject}
        worth = [one.frames["points"].filter(**place) for one in (outcomes[0], outcomes[int(str(variant))])]
        row |= dict(zip(("points_moved", "points_moved_most"), points_moved(*worth), strict=True))
        row |= _own(here, part, outcomes[int(str(variant))])
        earlier = shown.filter(variant=variant, year=int(str(year)) - 1, subject=subject)
        pairs = here.join(earlier, on="school_id", suffix="_before")
        row["year_to_year"] = correlation(pairs["value"].to_numpy(), pairs["value_before"].to_numpy())
        if truth is not None:
            row |= _against_truth(here, truth, poorest)
        rows.append(row)
    schema = {"variant": pl.Int32, "year": pl.Int32, "subject": pl.String, "schools": pl.Int64}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(_NUMBERS, pl.Float64))


def reliability_table(outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """Return the reliability of a school's result by its number of students.

    Returns
    -------
    polars.DataFrame
        variant, year, subject, icc, n, reliability (0-1); variants whose variance is not known are missing.
    """
    parts = [
        _variance(one)
        .filter(pl.col("icc").is_not_null())
        .select(pl.lit(v, pl.Int32).alias("variant"), "year", "subject", "icc")
        for v, one in enumerate(outcomes)
    ]
    rows = [
        (*row, n, reliability_at(row[-1], n)) for part in parts for row in part.iter_rows() for n in SIZES
    ]
    columns = {"variant": pl.Int32, "year": pl.Int32, "subject": pl.String, "icc": pl.Float64}
    return pl.DataFrame(rows, schema=columns | {"n": pl.Int64, "reliability": pl.Float64}, orient="row")


def intake_table(outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """Return the correlations of school results with schools' intake in every variant.

    Returns
    -------
    polars.DataFrame
        variant, year, subject, kind (``prior``, ``flag``, ``race``), column, level, schools, r with interval.
    """
    columns = ["year", "subject", "kind", "column", "level", "schools", "r", "r_low", "r_high"]
    return pl.concat(
        one.frames["neutrality"].select(pl.lit(v, pl.Int32).alias("variant"), *columns)
        for v, one in enumerate(outcomes)
    )


def _schools(one: Outcome) -> pl.DataFrame:
    frame = one.frames["schools"].filter(group=_ALL)
    levels = one.frames["levels"].filter(group=_ALL).select(*UNIT, pl.col("level").cast(pl.Int64))
    value = pl.coalesce("shrunk", "effect").alias("value")
    band = ("growth_percentile", "growth_percentile_low", "growth_percentile_high")
    found = frame.select(*UNIT, "n", value, *band, *P_LEVELS)
    return found.join(levels, on=UNIT, how="left", maintain_order="left").sort(UNIT)


def _variance(one: Outcome) -> pl.DataFrame:
    """Return the rows of all students; where schools are measured by span, the means over spans."""
    rows = one.frames["variance"].filter(group=_ALL)
    return by_group(rows, ["year", "subject"], pl.col("icc", "reliability").mean())


def _sides(both: pl.DataFrame) -> Sides:
    def pair(name: str) -> tuple[np.ndarray, np.ndarray]:
        return both[f"{name}_base"].to_numpy(), both[name].to_numpy()

    return Sides(pair("value"), pair("growth_percentile"), pair("level"))


def _own(here: pl.DataFrame, everyone: pl.DataFrame, one: Outcome) -> dict[str, object]:
    """Return what a variant says of itself in a year and subject."""
    year, subject = everyone["year"][0], everyone["subject"][0]
    row: dict[str, object] = {}
    for found in _variance(one).filter(year=year, subject=subject).iter_rows(named=True):
        row |= {"icc": found["icc"], "reliability": found["reliability"]}
    parts = one.frames["halves"].filter(year=year, subject=subject)
    row["split_half"] = split_half(parts["first"].to_numpy(), parts["second"].to_numpy())
    likely = here.drop_nulls(P_LEVELS)
    if likely.height:
        indices = classification(likely.select(P_LEVELS).to_numpy(), likely["level"].to_numpy())
        row |= dict(zip(("level_accuracy", "level_consistency", "level_kappa"), indices, strict=True))
    row["school_coverage"] = 100 * here.height / everyone.height
    steps = one.frames["counts"].filter(subject=subject, year=year)
    if steps.height and steps["rows"][0]:
        row["student_coverage"] = 100 * int(here["n"].sum()) / int(steps["rows"][0])
    return row


def _against_truth(here: pl.DataFrame, truth: pl.DataFrame, poorest: pl.DataFrame) -> dict[str, object]:
    from scipy.stats import rankdata

    known = here.join(truth.select(*UNIT, "effect"), on=UNIT, maintain_order="left").drop_nulls("effect")
    if known.height < 2:
        return {}
    true = 100 * (rankdata(known["effect"].to_numpy()) - 0.5) / known.height
    said = known["growth_percentile"].to_numpy()
    level = np.minimum(true // 10, LEVELS - 1) + 1
    low, high = (known[f"growth_percentile_{end}"].to_numpy() for end in ("low", "high"))
    poor = known.select("subject", "school_id").join(
        poorest.with_columns(poor=True), on=["subject", "school_id"], how="left", maintain_order="left"
    )["poor"]
    of_poor = (said - true)[poor.fill_null(False).to_numpy()]
    bands = bool(np.isfinite(low.astype(float)).all())
    return {
        "truth_spearman": correlation(rankdata(said), rankdata(true)),
        "truth_bias": float(np.mean(said - true)),
        "truth_bias_poverty": float(of_poor.mean()) if len(of_poor) else None,
        "truth_rmse": float(np.sqrt(np.mean((said - true) ** 2))),
        "truth_coverage": float(100 * np.mean((low <= true) & (true <= high))) if bands else None,
        "truth_level_hits": float(100 * np.mean(known["level"].to_numpy() == level)),
    }


def latest(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the base's latest year."""
    year = frame.filter(variant=0)["year"].max()
    return frame.filter(year=year)


def blocks(frame: pl.DataFrame, *names: str) -> Iterator[tuple[tuple[object, ...], pl.DataFrame]]:
    """Yield the parts of a frame by the values of columns, in their order."""
    yield from frame.group_by(names, maintain_order=True)
