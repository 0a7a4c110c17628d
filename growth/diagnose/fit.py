"""Do the curves follow the scores? Tables, distributions, calibration and spread, by block.

The table of prior deciles by SGP deciles has the conventions of the R package SGP: deciles of the most recent
prior (type 7, closed on the left), SGPs 1-9, 10-19, ..., 90-99. A growth percentile counts curves at 0.5,
1.5, ... %, so that 9.5 % of the students are expected in the first column and 10.5 % in the last.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.diagnose.rules import level_of
from growth.diagnose.scored import Block, Scored, tenths
from growth.diagnose.statistics import (
    anderson_darling,
    chi_square_bound,
    clustered_se,
    design_effect,
    kolmogorov,
    kolmogorov_bound,
    t_bound,
)
from growth.diagnose.verdicts import Finding

__all__ = [
    "EXPECTED",
    "TAUS",
    "calibration",
    "decile_table",
    "goodness_of_fit",
    "heteroskedasticity",
    "uniformity",
]

EXPECTED = np.array([9.5, *[10.0] * 8, 10.5])
"""Shares of SGP 1-9, ..., 90-99 under uniform percentiles [%], shape (10,)."""
TAUS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Where calibration is judged."""
_FIFTHS = 5
_LARGEST_Z = 3.0
"""Normal scores are held within: a single student at the end of the scale should not make the spread."""
_HELD_SD = 0.9866
"""SD of a standard normal variable held within `_LARGEST_Z`."""


def decile_table(prior: FloatArray, sgp: IntArray) -> tuple[IntArray, FloatArray]:
    """Count students by tenth of prior scores and tenth of growth percentiles.

    Parameters
    ----------
    prior : ndarray, shape (n,)
        Most recent prior score [scale-score points].
    sgp : ndarray of int, shape (n,), 1-99

    Returns
    -------
    counts : ndarray of int, shape (q, 10)
        q = 10 unless heaped priors merge deciles.
    breaks : ndarray, shape (q + 1,) [scale-score points]
    """
    row, breaks = tenths(prior)
    rows = len(breaks) - 1 if len(breaks) > 1 else 1
    counts = np.zeros((rows, 10), dtype=np.int64)
    np.add.at(counts, (row, np.clip(sgp // 10, 0, 9)), 1)
    return counts, breaks


def goodness_of_fit(scored: Scored) -> tuple[pl.DataFrame, Finding]:
    """Return the 10 x 10 tables, and how far each is from even.

    Returns
    -------
    table : polars.DataFrame
        year, subject, grade, prior_decile, prior_from, prior_to [scale-score points], n, sgp_decile, percent
        of the row, expected [%]; percent is null in rows of too few students.
    finding : Finding
    """
    blocks = list(scored.blocks())
    level = level_of(len(blocks))
    tables, tests = [], []
    for block in blocks:
        sgp = block.frame["sgp"].cast(pl.Int64).to_numpy()
        prior = block.column("prior_score")
        counts, breaks = decile_table(prior, sgp)
        tables.append(_long_table(block, counts, breaks, scored.minimum))
        row = tenths(prior)[0]
        effect = scored.errors * _within_rows(block, row)
        tests.append(_table_test(block, counts, effect, level))
    return pl.concat(tables) if tables else pl.DataFrame(), Finding(
        "goodness_of_fit", pl.DataFrame(tests, _TEST)
    )


def _within_rows(block: Block, row: IntArray) -> float:
    """Return the design effect of schools within rows; what rows differ by is what the table is to show."""
    percentile = block.column("percentile")
    mean = np.bincount(row, weights=percentile) / np.maximum(np.bincount(row), 1)
    return design_effect(percentile - mean[row], row * (block.school.max() + 1) + block.school)


_TEST = {
    "where": pl.String,
    "year": pl.Int64,
    "subject": pl.String,
    "grade": pl.Int64,
    "n": pl.Int64,
    "design_effect": pl.Float64,
    "chi_square": pl.Float64,
    "df": pl.Int64,
    "value": pl.Float64,
    "bound": pl.Float64,
}


def _long_table(block: Block, counts: IntArray, breaks: FloatArray, minimum: int) -> pl.DataFrame:
    size = counts.sum(axis=1)
    percent = 100 * counts / np.maximum(size, 1)[:, None]
    rows, ends = len(counts), breaks if len(breaks) > 1 else np.repeat(breaks, 2)
    frame = pl.DataFrame(
        {
            **{name: np.repeat([value], rows * 10) for name, value in block.key.items()},
            "prior_decile": np.repeat(np.arange(1, rows + 1), 10),
            "prior_from": np.repeat(ends[:-1], 10),
            "prior_to": np.repeat(ends[1:], 10),
            "n": np.repeat(size, 10),
            "sgp_decile": np.tile(np.arange(1, 11), rows),
            "percent": percent.ravel(),
            "expected": np.tile(EXPECTED, rows),
        }
    )
    shown = pl.when(pl.col("n") >= minimum)
    return frame.with_columns(shown.then("percent").alias("percent"), shown.then("n").alias("n"))


def _table_test(block: Block, counts: IntArray, effect: float, level: float) -> dict[str, object]:
    size = counts.sum(axis=1)
    counts = counts[size > 0]
    expected = counts.sum(axis=1)[:, None] * EXPECTED / 100
    statistic = float(((counts - expected) ** 2 / expected).sum()) / effect
    df, n = 9 * len(counts), counts.sum() / effect
    # The non-centrality is n times the mean of squared relative deviations; a cell has 10 %.
    value, bound = (
        10 * float(np.sqrt(max(0.0, extra) / n))
        for extra in (statistic - df, chi_square_bound(statistic, df, level))
    )
    return {
        "where": block.where,
        **block.key,
        "n": len(block),
        "design_effect": effect,
        "chi_square": statistic,
        "df": df,
        "value": value,
        "bound": bound,
    }


def uniformity(scored: Scored, groups: tuple[str, ...]) -> tuple[pl.DataFrame, pl.DataFrame, Finding]:
    """Return how percentiles are distributed: in all, by order, by fifth of prior scores, by group.

    Parameters
    ----------
    scored : Scored
    groups : tuple of str
        Yes/no columns.

    Returns
    -------
    distribution : polars.DataFrame
        year, subject, grade, by ("all", "order", "prior", "group"), level, n, mean and median [percentile
        points], ks, ks_p, ad, ad_p: Kolmogorov-Smirnov distance and Anderson-Darling statistic with their
        p values, students counted by design effect; for "all" only.
    qq : polars.DataFrame
        year, subject, grade, expected, observed: quantiles 0.01, ..., 0.99 [percentile points].
    finding : Finding
    """
    blocks = list(scored.blocks())
    level = level_of(len(blocks))
    rows: list[dict[str, object]] = []
    quantiles, tests = [], []
    at = np.arange(1, 100) / 100
    for block in blocks:
        percentile = block.column("percentile")
        effect = scored.errors * design_effect(percentile, block.school)
        n = len(block) / effect
        distance = kolmogorov(percentile)
        p, least = kolmogorov_bound(distance, n, level)
        ad, ad_p = anderson_darling(percentile, n)
        tested = {"ks": distance, "ks_p": p, "ad": ad, "ad_p": ad_p}
        tests.append({"where": block.where, "value": 100 * distance, "bound": 100 * least})
        rows += [
            {
                **block.key,
                "by": by,
                "level": name,
                **_centre(percentile[part]),
                **(tested if by == "all" else {}),
            }
            for by, name, part in _parts(block, groups, scored.minimum)
        ]
        quantiles.append(
            pl.DataFrame(
                {
                    **{name: np.repeat([value], len(at)) for name, value in block.key.items()},
                    "expected": 100 * at,
                    "observed": 100 * np.quantile(percentile, at, method="hazen"),
                }
            )
        )
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame, pl.concat(quantiles) if quantiles else pl.DataFrame(), _found("uniformity", tests)


def _found(rule: str, tests: list[dict[str, object]]) -> Finding:
    return Finding(rule, pl.DataFrame(tests, {"where": pl.String, "value": pl.Float64, "bound": pl.Float64}))


def _centre(percentile: FloatArray) -> dict[str, object]:
    return {
        "n": len(percentile),
        "mean": 100 * float(percentile.mean()),
        "median": 100 * float(np.median(percentile)),
    }


def _parts(block: Block, groups: tuple[str, ...], minimum: int) -> Iterator[tuple[str, str, IntArray]]:
    """Yield the parts of a block with students enough, as row numbers."""
    yield "all", "all", np.arange(len(block))
    order = block.frame["n_priors"].to_numpy()
    fifth = tenths(block.column("prior_score"), _FIFTHS)[0]
    labels = [("order", str(k), np.flatnonzero(order == k)) for k in np.unique(order)]
    labels += [("prior", str(k + 1), np.flatnonzero(fifth == k)) for k in np.unique(fifth)]
    for name in groups:
        flag = block.frame[name].fill_null(False).to_numpy()
        labels.append(("group", name, np.flatnonzero(flag)))
    for by, level, rows in labels:
        # What is left of the block must not tell of few students either.
        if len(rows) >= minimum and (len(rows) == len(block) or len(block) - len(rows) >= minimum):
            yield by, level, rows


def calibration(scored: Scored, groups: tuple[str, ...]) -> tuple[pl.DataFrame, Finding]:
    """Return the share of students below each curve: in all, by order, by fifth of prior scores, by group.

    Returns
    -------
    shares : polars.DataFrame
        year, subject, grade, by, level, n, tau, below (share), se (students of a school clustered).
    finding : Finding
        Of all students and of fifths of prior scores; groups may differ without fault of the curves.
    """
    rows: list[dict[str, object]] = []
    for block in scored.blocks():
        percentile = block.column("percentile")
        for by, name, part in _parts(block, groups, scored.minimum):
            for tau in TAUS:
                below = _below(percentile[part], tau)
                se, df = clustered_se(below, block.school[part])
                se *= np.sqrt(scored.errors)
                rows.append(
                    {
                        **block.key,
                        "by": by,
                        "level": name,
                        "n": len(part),
                        "tau": tau,
                        "below": float(below.mean()),
                        "se": se,
                        "_df": df,
                        "_where": block.where + (f", fifth {name} of prior scores" if by == "prior" else ""),
                    }
                )
    frame = pl.DataFrame(rows, infer_schema_length=None)
    if frame.is_empty():
        return frame, _found("calibration", [])
    judged = frame.filter(pl.col("by").is_in(["all", "prior"]))
    level = level_of(judged.height)
    tests = [_off(row, level) for row in judged.iter_rows(named=True)]
    return frame.drop("_df", "_where"), _found("calibration", tests)


def _below(percentile: FloatArray, tau: float) -> FloatArray:
    return np.asarray((percentile < tau) + 0.5 * (percentile == tau), dtype=np.float64)


def _off(row: dict[str, object], level: float) -> dict[str, object]:
    below, tau, se, df = (float(str(row[name])) for name in ("below", "tau", "se", "_df"))
    # Nobody at all below a curve has no spread: then the spread is that of a share of tau.
    se = max(se, np.sqrt(tau * (1 - tau) / float(str(row["n"]))))
    off = 100 * (below - tau)
    return {
        "where": f"{row['_where']}, curve {tau:g}",
        "value": off,
        "bound": t_bound(off, 100 * se, int(df), level),
    }


def heteroskedasticity(scored: Scored) -> tuple[pl.DataFrame, Finding]:
    """Return the spread by tenth of expected scores.

    Returns
    -------
    spread : polars.DataFrame
        year, subject, grade, expected_decile, n, expected_score, residual_sd [scale-score points], z_sd: SD
        of percentiles' normal scores, 1 if percentiles are uniform there.
    finding : Finding
    """
    from scipy.special import ndtri

    rows: list[dict[str, object]] = []
    for block in scored.blocks():
        expected, residual = block.column("expected_score"), block.column("residual")
        z = np.clip(ndtri(np.clip(block.column("percentile"), 1e-9, 1 - 1e-9)), -_LARGEST_Z, _LARGEST_Z)
        place = tenths(expected)[0]
        for k in np.unique(place):
            part = place == k
            n = int(part.sum())
            if n < scored.minimum:
                continue
            rows.append(
                {
                    **block.key,
                    "expected_decile": int(k) + 1,
                    "n": n,
                    "expected_score": float(expected[part].mean()),
                    "residual_sd": float(residual[part].std(ddof=1)),
                    "z_sd": float(z[part].std(ddof=1)) / _HELD_SD,
                    "_where": f"{block.where}, tenth {k + 1} of expected scores",
                }
            )
    frame = pl.DataFrame(rows, infer_schema_length=None)
    if frame.is_empty():
        return frame, _found("heteroskedasticity", [])
    level = level_of(frame.height)
    tests = [
        {"where": where, "value": 100 * (sd - 1), "bound": 100 * _spread_bound(sd, n / scored.errors, level)}
        for where, sd, n in frame.select("_where", "z_sd", "n").iter_rows()
    ]
    return frame.drop("_where"), _found("heteroskedasticity", tests)


def _spread_bound(sd: float, n: float, level: float) -> float:
    """Return the least distance from 1 of a normal SD estimated by `sd` from `n`."""
    from scipy.stats import chi2

    df = n - 1
    low = sd * np.sqrt(df / chi2.isf(level / 2, df))
    high = sd * np.sqrt(df / chi2.ppf(level / 2, df))
    return max(0.0, float(low - 1), float(1 - high))
