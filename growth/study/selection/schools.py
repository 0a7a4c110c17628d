"""How firmly levels stand: the levels of random halves of each school's students."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.study.outcome import Outcome

__all__ = ["half_levels", "levels_of"]

_SCHEMA = {
    "variant": pl.Int32,
    "year": pl.Int32,
    "subject": pl.String,
    "halves_same": pl.Float64,
    "halves_near": pl.Float64,
}


def half_levels(outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """Return how often two random halves of a school's students have the same level, by tens of their ranks.

    Halves are noisier than schools: this is a lower bound of how often levels would come out again.

    Returns
    -------
    polars.DataFrame
        variant, year, subject, halves_same, halves_near (at most one level apart) [% of schools].
    """
    rows = []
    for v, one in enumerate(outcomes):
        for (year, subject), part in one.frames["halves"].group_by("year", "subject", maintain_order=True):
            whole = part.drop_nulls(["first", "second"])
            if whole.is_empty():
                continue
            apart = np.abs(levels_of(whole["first"].to_numpy()) - levels_of(whole["second"].to_numpy()))
            rows.append(
                (v, year, subject, 100 * float((apart == 0).mean()), 100 * float((apart <= 1).mean()))
            )
    return pl.DataFrame(rows, _SCHEMA, orient="row")


def levels_of(values: FloatArray) -> IntArray:
    """Return levels 1-10 by tens of percentile ranks, shape (J,)."""
    from scipy.stats import rankdata

    place = 100 * (rankdata(values) - 0.5) / len(values)
    return np.asarray(np.minimum(place // 10, 9) + 1, dtype=np.int64)
