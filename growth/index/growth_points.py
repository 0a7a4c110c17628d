r"""The index points that schools get from growth.

.. math::
    \frac{W_d}{M} \cdot \frac{1}{P} \sum_g \frac{s_g}{\sum_h s_h} \frac{\text{level}_g}{10}

with the points W of growth's domain, the M metrics of that domain that apply to a school of its type, the P
subjects in which it has growth, and the groups h that are reported. It is what `school_index` gives for
growth to a school that has a result in every metric of the domain; a school without some gets more.
"""

from __future__ import annotations

import polars as pl

from growth.aggregate import by_group
from growth.index.growth_metric import GROWTH, growth_metrics
from growth.index.levels import LEVELS
from growth.index.metric_table import school_types
from growth.index.points import group_shares
from growth.spec import GrowthSpec

__all__ = ["growth_points"]

_PART = ["year", "subject", "school_id"]
_SCHEMA = {
    "year": pl.Int32,
    "subject": pl.String,
    "school_id": pl.String,
    "possible": pl.Float64,
    "points": pl.Float64,
}
_POT = {"school_type": pl.String, "pot": pl.Float64}


def growth_points(
    schools: pl.DataFrame, levels: pl.DataFrame, spec: GrowthSpec, types: pl.DataFrame
) -> pl.DataFrame:
    """Return the index points of growth, subject by subject: they add up to the metric's.

    Parameters
    ----------
    schools, levels : polars.DataFrame
        The frames of a run.
    spec : GrowthSpec
        ``spec.index`` and ``spec.groups``.
    types : polars.DataFrame
        school_id and school_type, or school_id and grade (a students frame will do).

    Returns
    -------
    polars.DataFrame
        year, subject, school_id, possible, points [index points]; schools with a level in the subject. Empty
        where growth is no metric of the index.

    Raises
    ------
    ColumnError, TableError
        If a column is missing, or a school's type cannot be known.
    """
    rules = spec.index.metrics.get(GROWTH)
    if rules is None:
        return pl.DataFrame(schema=_SCHEMA)
    shares = {group: float(share) for group, share in group_shares(spec, GROWTH).items()}
    whole = spec.index.academic_points if rules.domain == "academic" else 100.0 - spec.index.academic_points
    cells = (
        growth_metrics(schools, levels, spec)
        .drop_nulls("level")
        .filter(pl.col("group").is_in(list(shares)))
        .join(_pots(school_types(types, spec), spec, whole), on="school_id")
        .rename({"part": "subject"})
        .sort(*_PART, "group")
    )
    share = pl.col("group").replace_strict(shares, return_dtype=pl.Float64)
    earned = (share * pl.col("level") / LEVELS).sum() / share.sum()
    parts = by_group(cells, _PART, pl.col("pot").first(), earned.alias("earned"))
    possible = pl.col("pot") / pl.len().over("year", "school_id")
    found = parts.with_columns(possible.alias("possible")).with_columns(
        (pl.col("possible") * pl.col("earned")).alias("points")
    )
    return found.select(pl.col(name).cast(dtype) for name, dtype in _SCHEMA.items())


def _pots(types: pl.DataFrame, spec: GrowthSpec, whole: float) -> pl.DataFrame:
    """Return school_id and what growth is worth in a school of its type; types without growth are missing."""
    domain = spec.index.metrics[GROWTH].domain
    pots = {}
    for kind in types["school_type"].unique():
        here = [
            name
            for name, rules in spec.index.metrics.items()
            if rules.domain == domain and (not rules.school_types or kind in rules.school_types)
        ]
        if GROWTH in here:
            pots[kind] = whole / len(here)
    frame = pl.DataFrame({"school_type": list(pots), "pot": list(pots.values())}, _POT)
    return types.join(frame, on="school_type").select("school_id", "pot")
