"""Schools to compare a school with: those of similar students, and those it cannot be told apart from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy.spatial import cKDTree

from growth.errors import TableError
from growth.index import school_profiles
from growth.index.similarity import Space, whiten
from growth.release.published import least_of
from growth.school.bands import Z
from growth.school.groups import ALL
from growth.spec import GrowthSpec

__all__ = ["HIGHER", "LOWER", "NEAREST", "SAME", "similar_schools", "told_apart", "verdicts_between"]

NEAREST = 5
"""Similar schools shown for each school."""
HIGHER, SAME, LOWER = ">", "=", "<"
"""How a school's growth compares with another's: beyond chance higher, not different, lower."""
_BLOCK = 256
_INTAKE = {"school_id": pl.String, "grade_span": pl.String, "mean_prior": pl.Float64}
_SIMILAR: dict[str, pl.DataType] = {
    "school_id": pl.String(),
    "place": pl.Int64(),
    "other_id": pl.String(),
    "distance": pl.Float64(),
}


def similar_schools(
    frames: Mapping[str, pl.DataFrame], spec: GrowthSpec
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what kind of schools there are, and for each school those of its grades with similar students.

    Parameters
    ----------
    frames : mapping
        The students, schools and levels frames of a run; the latest year counts.
    spec : GrowthSpec
        ``pairing.ridge`` and what `growth.index.school_profiles` needs.

    Returns
    -------
    intake : polars.DataFrame
        school_id, grade_span, mean_prior [SD units] (null where withheld).
    similar : polars.DataFrame
        school_id, place (1 = nearest), other_id, distance (ridge-whitened Mahalanobis); no rows where schools
        do not differ in any trait.
    """
    none = pl.DataFrame(schema=_SIMILAR)
    if not frames["students"]["school_id"].count():
        return pl.DataFrame(schema=_INTAKE), none
    profiles = school_profiles(frames, spec)
    enough = pl.col("reason").is_null() & (pl.col("n") >= least_of(spec)[0])
    intake = profiles.select("school_id", "grade_span", pl.when(enough).then("mean_prior"))
    shown = profiles.filter(enough)
    try:
        space = whiten(shown, spec.pairing.ridge)
    except TableError:
        return intake, none
    return intake, _nearest(space)


def told_apart(rows: pl.DataFrame) -> pl.DataFrame:
    """Count the schools that a school's growth is beyond chance above, below, and not told apart from.

    Parameters
    ----------
    rows : polars.DataFrame
        Published results for all students: year, subject, school_id, effect, shrunk, spread.

    Returns
    -------
    polars.DataFrame
        year, subject, school_id, higher_than, same_as, lower_than [schools]; for schools with a standard
        error. The rule is that of `growth.school.comparison.compare_schools`.
    """
    block = ["year", "subject"]
    known = _known(rows)
    parts = [part.hstack(_counts(part)) for part in known.partition_by(block, maintain_order=True)]
    schema = {**known.schema, **dict.fromkeys(("higher_than", "same_as", "lower_than"), pl.Int64())}
    found = pl.concat(parts) if parts else pl.DataFrame(schema=schema)
    return found.select(*block, "school_id", "higher_than", "same_as", "lower_than")


def verdicts_between(rows: pl.DataFrame, pairs: pl.DataFrame, subjects: list[str]) -> pl.Series:
    """Return for each pair one sign per subject: ``>``, ``=``, ``<``, or a blank where one has no result.

    Parameters
    ----------
    rows : polars.DataFrame
        Published results of one year, as in `told_apart`.
    pairs : polars.DataFrame
        school_id, other_id.
    subjects : list of str
        Their order.
    """
    known = _known(rows)
    signs = pairs.select("school_id", "other_id")
    for at, subject in enumerate(subjects):
        own = known.filter(subject=subject).select("school_id", "_at", "_se")
        both = signs.join(own, on="school_id", how="left", maintain_order="left").join(
            own, left_on="other_id", right_on="school_id", how="left", suffix="_other", maintain_order="left"
        )
        difference = both["_at"] - both["_at_other"]
        limit = Z * (both["_se"] ** 2 + both["_se_other"] ** 2).sqrt()
        sign = (
            pl.when(difference.is_null() | limit.is_null())
            .then(pl.lit(" "))
            .when(difference > limit)
            .then(pl.lit(HIGHER))
            .when(difference < -limit)
            .then(pl.lit(LOWER))
            .otherwise(pl.lit(SAME))
        )
        signs = signs.with_columns(sign.alias(f"_{at}"))
    return signs.select(pl.concat_str(f"_{at}" for at in range(len(subjects))).alias("verdicts")).to_series()


def _known(rows: pl.DataFrame) -> pl.DataFrame:
    everyone = rows.filter((pl.col("group") == ALL) & pl.col("reason").is_null())
    named = everyone.select(
        "year",
        "subject",
        "school_id",
        pl.coalesce("shrunk", "effect").alias("_at"),
        pl.col("spread").alias("_se"),
    )
    return named.filter(pl.col("_at").is_not_null() & pl.col("_se").is_not_null())


def _counts(part: pl.DataFrame) -> pl.DataFrame:
    at, se = part["_at"].to_numpy(), part["_se"].to_numpy()
    higher, lower = np.zeros(len(at), np.int64), np.zeros(len(at), np.int64)
    for start in range(0, len(at), _BLOCK):
        own = slice(start, start + _BLOCK)
        difference = at[own, None] - at
        limit = Z * np.hypot(se[own, None], se)
        higher[own] = (difference > limit).sum(axis=1)
        lower[own] = (difference < -limit).sum(axis=1)
    same = len(at) - 1 - higher - lower
    return pl.DataFrame({"higher_than": higher, "same_as": same, "lower_than": lower})


def _nearest(space: Space) -> pl.DataFrame:
    found = []
    ids = np.array(space.ids)
    for code in range(len(space.spans)):
        members = np.flatnonzero(space.span == code)
        if len(members) < 2:
            continue
        many = min(NEAREST + 1, len(members))
        points = space.whitened[members]
        distance, place = cKDTree(points).query(points, k=many)
        own = np.arange(len(members))[:, None]
        # Schools without any difference may come before the school itself.
        itself = place == own
        itself[~itself.any(axis=1), -1] = True
        others, apart = place[~itself].reshape(-1, many - 1), distance[~itself].reshape(-1, many - 1)
        found.append(
            pl.DataFrame(
                {
                    "school_id": np.repeat(ids[members], many - 1),
                    "place": np.tile(np.arange(1, many), len(members)),
                    "other_id": ids[members][others.ravel()],
                    "distance": apart.ravel(),
                },
                schema=_SIMILAR,
            )
        )
    return pl.concat(found) if found else pl.DataFrame(schema=_SIMILAR)
