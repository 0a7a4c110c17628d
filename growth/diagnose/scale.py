"""Does the scale carry the measure? Ends of the scale, CSEM, drift against a base year."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import FloatArray
from growth.aggregate import by_group
from growth.diagnose.rules import level_of
from growth.diagnose.scored import Block, Scored
from growth.diagnose.statistics import clustered_se, t_bound
from growth.diagnose.verdicts import Finding
from growth.panel.csem import csem_from_tables
from growth.spec import GrowthSpec

__all__ = ["EXTREMES", "csem", "drift", "extremes"]

EXTREMES = 50
"""Students at each end of the scores."""
_TENTH = 10
_LOW, _HIGH = (5, 20), (95, 80)
"""R package SGP: most of the lowest scorers have an SGP below 5 and none above 20; the highest likewise."""

_DRIFT = {"year": pl.Int64, "subject": pl.String, "grade": pl.Int64, "n": pl.Int64, "mean": pl.Float64}
_DRIFT |= {"se": pl.Float64, "schools": pl.Int64, "within": pl.Float64, "within_se": pl.Float64}


def extremes(scored: Scored) -> tuple[pl.DataFrame, Finding, Finding]:
    """Return the growth percentiles of the lowest and the highest scorers, and how many share the last score.

    With R the correlation of scores with expected scores, a student at the normal quantile z of the scores
    has a percentile of Phi(z sqrt(1 - R^2) / sqrt(1 + R^2)) on average: extreme scorers are extreme in growth
    too, if the test can tell them apart.

    Returns
    -------
    panel : polars.DataFrame
        year, subject, grade, end ("lowest", "highest"), n: the 50 most extreme scorers (at most a tenth of
        the grade) with all tied with the last of them; mean_sgp, expected_sgp; most, the share below 5 or
        above 95 [%]; beyond, the share above 20 or below 80 [%]; at_end, the share of the grade at the last
        score [%]; next, that at the score beside it [%].
    extreme, ends : Finding
    """
    rows: list[dict[str, object]] = []
    where: list[str] = []
    spreads: list[float] = []
    for block in scored.blocks():
        for end in ("lowest", "highest"):
            found = _end(block, end)
            if int(str(found["n"])) >= scored.minimum:
                spreads.append(float(str(found.pop("_sd"))))
                rows.append(found)
                where.append(f"{block.where}, {end} scorers")
    panel = pl.DataFrame(rows, infer_schema_length=None)
    level = level_of(len(rows))
    shape = {"where": pl.String, "value": pl.Float64, "bound": pl.Float64}
    inward, piled = [], []
    for row, place, sd in zip(rows, where, spreads, strict=True):
        n, mean, expected, at_end, beside = (
            float(str(row[name])) for name in ("n", "mean_sgp", "expected_sgp", "at_end", "next")
        )
        off = (mean - expected) * (1 if row["end"] == "lowest" else -1)
        bound = t_bound(off, sd / np.sqrt(n), int(n) - 1, level) if off > 0 else 0.0
        inward.append({"where": place, "value": off, "bound": bound})
        piled.append({"where": place, "value": at_end, "bound": at_end if at_end >= beside else 0.0})
    return (
        panel,
        Finding("extremes", pl.DataFrame(inward, shape)),
        Finding("ends", pl.DataFrame(piled, shape)),
    )


def _end(block: Block, end: str) -> dict[str, object]:
    sign = 1.0 if end == "lowest" else -1.0
    score, sgp = sign * block.column("score"), block.column("sgp")
    shift = 100 * float(block.column("percentile").mean()) - 50
    few = max(1, min(EXTREMES, len(block) // _TENTH))
    last = np.partition(score, few - 1)[few - 1]
    who = score <= last
    n = int(who.sum())
    values, counts = np.unique(score, return_counts=True)
    most, beyond = _LOW if end == "lowest" else _HIGH
    return {
        **block.key,
        "end": end,
        "n": n,
        "mean_sgp": float(sgp[who].mean()),
        "expected_sgp": _expected(block, n, sign) + shift,
        "most": 100 * float((sign * sgp[who] < sign * most).mean()),
        "beyond": 100 * float((sign * sgp[who] > sign * beyond).mean()),
        "at_end": 100 * float(counts[0]) / len(block),
        "next": 100 * float(counts[1]) / len(block) if len(values) > 1 else 0.0,
        "_sd": max(float(sgp[who].std(ddof=1)) if n > 1 else np.inf, 1.0),
    }


def _expected(block: Block, n: int, sign: float) -> float:
    from scipy.special import ndtr, ndtri

    score, expected = block.column("score"), block.column("expected_score")
    r = float(np.corrcoef(score, expected)[0, 1]) if np.ptp(score) > 0 and np.ptp(expected) > 0 else 0.0
    z = sign * ndtri((np.arange(n) + 0.5) / len(block))
    return 100 * float(ndtr(z * np.sqrt((1 - r**2) / (1 + r**2))).mean())


def csem(scored: Scored, spec: GrowthSpec) -> tuple[pl.DataFrame, Finding, Finding]:
    """Return what the CSEM of the scores says beside the variance of scores and of residuals.

    Returns
    -------
    errors : polars.DataFrame
        year, subject, grade, n, csem (root mean square) [CSEM points], reliability (1 - error variance over
        variance of scores), of_residual (error variance over residual variance).
    large, small : Finding
    """
    shape = {"where": pl.String, "value": pl.Float64, "bound": pl.Float64}
    source = spec.measurement.csem
    reason = (
        "The run keeps no CSEM of each score: it came from a function."
        if source == "function"
        else "The table has no column csem."
    )
    none = pl.DataFrame(schema=shape)
    of_table = source == "table"
    if source == "function" or not (of_table or "csem" in scored.frame.columns):
        return none, Finding("csem_large", none, reason), Finding("csem_small", none, reason)
    rows: list[dict[str, object]] = []
    where: list[str] = []
    for block in scored.blocks():
        error = csem_from_tables(block.frame, spec) if of_table else block.column("csem")
        known = np.isfinite(error)
        if known.sum() < scored.minimum:
            continue
        variance = float((error[known] ** 2).mean())
        rows.append(
            {
                **block.key,
                "n": int(known.sum()),
                "csem": float(np.sqrt(variance)),
                "reliability": 1 - variance / _variance(block.column("score")[known]),
                "of_residual": variance / _variance(block.column("residual")[known]),
            }
        )
        where.append(block.where)
    frame = pl.DataFrame(rows, infer_schema_length=None)
    large = [(w, r["of_residual"], r["of_residual"]) for w, r in zip(where, rows, strict=True)]
    small = [
        (w, 1 - float(str(r["reliability"])), 1 - float(str(r["reliability"])))
        for w, r in zip(where, rows, strict=True)
    ]
    return (
        frame,
        Finding("csem_large", pl.DataFrame(large, shape, orient="row")),
        Finding("csem_small", pl.DataFrame(small, shape, orient="row")),
    )


def _variance(values: FloatArray) -> float:
    return float(max(values.var(ddof=1), 1e-12))


def drift(scored: Scored) -> tuple[pl.DataFrame, Finding]:
    r"""Return mean percentiles in a base year's curves, by block, and against other grades of their schools.

    A shift of all grades shows in the means. What sets schools apart widens their error, and hides the shift
    of a single grade where schools are few; within schools it does not. With the mean :math:`d_j` of the
    grade less that of all other grades in school j, and :math:`w_j = (1/n_j + 1/n'_j)^{-1}`, the difference
    is :math:`D = \sum w_j d_j / \sum w_j`. Its variance is :math:`\phi / \sum w_j`, where
    :math:`\phi = \sum w_j (d_j - D)^2 / \sum (J - 1)` is taken over all grades together; as the differences
    of a school's grades are tied to each other, half of the degrees of freedom count.

    Returns
    -------
    means : polars.DataFrame
        year, subject, grade, n, mean [percentile points], se (schools drawn anew), schools (that also have
        other grades), within (D), within_se [percentile points].
    finding : Finding
    """
    rows: list[dict[str, object]] = []
    tests: list[dict[str, object]] = []
    shape = {"where": pl.String, "value": pl.Float64, "bound": pl.Float64}
    if not scored.frozen:
        reason = "Curves are this year's own: percentiles average 50 whatever all students achieve."
        return pl.DataFrame(), Finding("frozen_drift", pl.DataFrame(schema=shape), reason)
    blocks = list(scored.blocks())
    within = [_within_schools(block, blocks) for block in blocks]
    spread = sum(one.squares for one in within) / max(sum(one.freedom for one in within), 1)
    freedom = max(sum(one.freedom for one in within) // 2, 1)
    known = [one.schools > 1 for one in within]
    level = level_of(len(blocks) + sum(known))
    for block, one, has_others in zip(blocks, within, known, strict=True):
        percentile = 100 * block.column("percentile")
        # Schools' lasting differences were in the base year's curves as well and cancel, so that the error
        # is rather too large, although the base year's own is left out.
        se, df = clustered_se(percentile, block.school)
        mean = float(percentile.mean())
        row = {**block.key, "n": len(block), "mean": mean, "se": se, "schools": one.schools}
        bound = t_bound(mean - 50, se, df, level)
        tests.append({"where": f"{block.where}, against 50", "value": mean - 50, "bound": bound})
        if has_others:
            # Here they have cancelled already, and the base year's error has to be added.
            error = float(np.sqrt(scored.errors * spread / one.weight))
            where = f"{block.where}, against other grades of its schools"
            bound = t_bound(one.difference, error, freedom, level)
            tests.append({"where": where, "value": one.difference, "bound": bound})
            row |= {"within": one.difference, "within_se": error}
        rows.append(row)
    return pl.DataFrame(rows, _DRIFT), Finding("frozen_drift", pl.DataFrame(tests, shape))


@dataclass(frozen=True, slots=True)
class _Within:
    """A grade against the other grades of the same schools."""

    difference: float
    """D [percentile points]."""
    weight: float
    squares: float
    """Weighted squares of the schools' differences around D."""
    schools: int

    @property
    def freedom(self) -> int:
        return max(self.schools - 1, 0)


def _within_schools(block: Block, blocks: Sequence[Block]) -> _Within:
    others = [
        other
        for other in blocks
        if other is not block and all(other.key[name] == block.key[name] for name in ("year", "subject"))
    ]
    here = _by_school([block])
    there = _by_school(others)
    both = here.join(there, on="school_id", suffix="_others", maintain_order="left")
    if both.is_empty():
        return _Within(0.0, 0.0, 0.0, 0)
    n, others_n = both["n"].to_numpy(), both["n_others"].to_numpy()
    weight = 1 / (1 / n + 1 / others_n)
    apart = 100 * (both["mean"].to_numpy() - both["mean_others"].to_numpy())
    difference = float(weight @ apart / weight.sum())
    squares = float(weight @ (apart - difference) ** 2)
    return _Within(difference, float(weight.sum()), squares, both.height)


def _by_school(blocks: Sequence[Block]) -> pl.DataFrame:
    """Return school_id, n and mean percentile over all given blocks."""
    schema = {"school_id": pl.String, "percentile": pl.Float64}
    rows = pl.concat([pl.DataFrame(schema=schema), *(b.frame.select(*schema) for b in blocks)])
    return by_group(
        rows.drop_nulls("school_id"),
        "school_id",
        pl.len().cast(pl.Int64).alias("n"),
        pl.col("percentile").mean().alias("mean"),
    )
