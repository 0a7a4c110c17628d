r"""The fairness ledger: what the peer definition does to groups of students and to schools by their intake.

Growth *unadjusted* compares students with the same prior scores only; *adjusted* is the run's own. Two tables
say, side by side, what the adjustment changes:

*Groups.* The mean percentile of each group over the whole system. A flag in the model makes its group's mean
50, whatever the system does for it: the model compares the group with itself. What it gains or loses
is the unadjusted number. Intervals treat schools as clusters, since students of a school share it:
:math:`SE^2 = \frac{J}{J-1} \sum_j (\sum_{i \in j} (p_i - \bar p))^2 / n^2`, Student's t with J - 1 degrees of
freedom.

*Neutrality.* The correlation, over schools with a result, of the school's result with the mean prior of its
students and with the share of each group among them, each school counting once; interval by Fisher's z.
Beside it the correlation over students, which is near 0 by construction for everything in the model and
no evidence that schools are treated alike: in Georgia it was 0 while that of schools was .5 [2]_.

References
----------
.. [1] M. Ehlert, C. Koedel, E. Parsons and M. Podgursky (2014), The sensitivity of value-added estimates to
   specification adjustments, Statistics and Public Policy 1(1), 19-27.
.. [2] Georgia Department of Education (2019), Student growth percentiles: technical report.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import BoolArray, FloatArray, IntArray
from growth.mapped import code_array, distinct, filtered, holds, kept_column
from growth.school.counted import count_results, percentile_values
from growth.school.summaries import unweighted
from growth.spec import GrowthSpec

__all__ = ["EVERYONE", "PRIOR", "Ledger", "fairness_ledger"]

EVERYONE, PRIOR = "all", "prior"
_NORMAL_95 = 1.959963984540054
_BLOCK = ["year", "subject"]
_Z, _PLAIN, _PLAIN_SGP = "_prior_z", "_percentile_without_peers", "_sgp_without_peers"
_GROUPS: dict[str, pl.DataType] = {
    "year": pl.Int32(),
    "subject": pl.String(),
    "kind": pl.String(),
    "column": pl.String(),
    "level": pl.String(),
    "n": pl.Int64(),
    "schools": pl.Int64(),
    "adjusted": pl.Float64(),
    "adjusted_low": pl.Float64(),
    "adjusted_high": pl.Float64(),
    "unadjusted": pl.Float64(),
    "unadjusted_low": pl.Float64(),
    "unadjusted_high": pl.Float64(),
    "in_model": pl.Boolean(),
}
_NEUTRALITY: dict[str, pl.DataType] = {
    "year": pl.Int32(),
    "subject": pl.String(),
    "kind": pl.String(),
    "column": pl.String(),
    "level": pl.String(),
    "schools": pl.Int64(),
    "r": pl.Float64(),
    "r_low": pl.Float64(),
    "r_high": pl.Float64(),
    "r_unadjusted": pl.Float64(),
    "r_unadjusted_low": pl.Float64(),
    "r_unadjusted_high": pl.Float64(),
    "r_students": pl.Float64(),
    "r_students_unadjusted": pl.Float64(),
}
_EFFECTS = ("composition", "effect", "effect_se")


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """What the peer definition does."""

    groups: pl.DataFrame
    """One row per year, subject and group. kind: "all", "flag", "category" or "race", with its column and
    level; n students and their schools; mean percentile adjusted and unadjusted [percentile, 0-100] with 95 %
    intervals (null where all are in one school); in_model: the model pins this mean at 50."""
    neutrality: pl.DataFrame
    """One row per year, subject and trait of schools: the mean "prior" [SDs within grade] or the share of a
    group. schools; r with school results and its 95 % interval, unadjusted as well; r_students; composition:
    how the trait enters the model ("none", "one_step", "two_step"; "too_few_schools" and "does_not_vary"
    where two steps left it out), with the effect in two steps (see `growth.student.compose`)."""


@dataclass(frozen=True, slots=True)
class _Group:
    kind: str
    column: str
    level: str | None
    in_model: bool

    @property
    def labels(self) -> dict[str, object]:
        return {"kind": self.kind, "column": self.column, "level": self.level}

    @property
    def members(self) -> pl.Expr:
        """Who belongs to it; students with a blank belong to no group."""
        if self.level is None:
            return pl.col(self.column).cast(pl.Boolean).fill_null(False)
        return (pl.col(self.column).cast(pl.String) == self.level).fill_null(False)


@dataclass(frozen=True, slots=True, eq=False)
class _Schools:
    """Results of the J schools with enough students, and their N counted students."""

    rows: pl.DataFrame  # N rows
    unit: IntArray  # (N,)
    enough: BoolArray  # (J of all schools,)
    result: FloatArray  # (J,)
    unadjusted: FloatArray  # (J,)

    def mean(self, values: FloatArray) -> FloatArray:
        """Return the mean of the students' values in each school with enough of them."""
        return unweighted(values, self.unit, len(self.enough)).mean[self.enough]


def fairness_ledger(
    results: pl.DataFrame, unadjusted: pl.DataFrame | None, effects: pl.DataFrame, spec: GrowthSpec
) -> Ledger:
    """Compare results with and without the peer definition, by group of students and by intake of schools.

    Parameters
    ----------
    results : polars.DataFrame
        The students frame, one row per student, subject and year, with a column `prior`: the most recent
        score in the same subject [scale-score points], null where there is none.
    unadjusted : polars.DataFrame or None
        percentile (0-1) and sgp of the same rows from a fit on the same priors and nothing else; None if the
        run's own fit is just that.
    effects : polars.DataFrame
        What `growth.student.compose` says of school traits.
    spec : GrowthSpec
        ``peers``, ``groups``, and ``school`` for what counts as a school result.

    Returns
    -------
    Ledger
    """
    plain = results if unadjusted is None else unadjusted
    results = results.with_columns(plain["percentile"].alias(_PLAIN), plain["sgp"].alias(_PLAIN_SGP))
    is_scored = pl.col("status") == "scored"
    groups = _groups(results, is_scored, spec)
    lines: list[dict[str, object]] = []
    traits: list[dict[str, object]] = []
    blocks = distinct(results.select(*_BLOCK, "status"), is_scored).select(_BLOCK).sort(_BLOCK)
    for year, subject in blocks.iter_rows():
        here = holds(results, is_scored, pl.col("year") == year, pl.col("subject") == subject)
        block = _with_z(filtered(results, here))
        place = {"year": year, "subject": subject}
        schools = _schools(block, spec)
        clusters = _clusters(block["school_id"])
        everyone = {"kind": EVERYONE, "column": EVERYONE, "in_model": False}
        lines.append(place | everyone | _means(block, clusters))
        traits.append(place | {"kind": PRIOR, "column": PRIOR} | _correlations(schools, pl.col(_Z)))
        for group in groups:
            members = holds(block, group.members)
            shown = block.select("percentile", _PLAIN).filter(members)
            found = _means(shown, clusters[members.to_numpy()])
            lines.append(place | group.labels | {"in_model": group.in_model} | found)
            traits.append(place | group.labels | _correlations(schools, group.members.cast(pl.Float64)))
    filled = [line for line in lines if line["n"]]
    neutrality = _with_effects(pl.DataFrame(traits, schema=_NEUTRALITY), effects, spec)
    return Ledger(pl.DataFrame(filled, schema=_GROUPS), neutrality.select(*_NEUTRALITY, *_EFFECTS))


def _with_z(block: pl.DataFrame) -> pl.DataFrame:
    """Return the results of a year and subject with the prior in SDs within the grade."""
    prior = pl.col("prior")
    spread = prior.std().over("grade")
    centred = prior - prior.mean().over("grade")
    z = pl.when(spread > 0).then(centred / spread).otherwise(0.0).alias(_Z)
    return block.with_columns(kept_column(block.select(z).to_series()))


def _groups(results: pl.DataFrame, is_scored: pl.Expr, spec: GrowthSpec) -> list[_Group]:
    peers, race = spec.peers, spec.groups.race
    flags = dict.fromkeys((*peers.flags, *spec.groups.flags.values()))
    found = [_Group("flag", flag, None, flag in peers.flags) for flag in flags]
    for column in dict.fromkeys((*peers.categories, *((race,) if race else ()))):
        kind = "race" if column == race else "category"
        found_in = distinct(results.select(column, "status"), is_scored)[column]
        levels = found_in.cast(pl.String).drop_nulls().unique().sort()
        found += [_Group(kind, column, level, column in peers.categories) for level in levels]
    return found


def _schools(block: pl.DataFrame, spec: GrowthSpec) -> _Schools:
    counted = count_results(block, spec)
    units, kind = counted.units.height, spec.school.percentile
    bare = counted.rows.with_columns(pl.col(_PLAIN).alias("percentile"), pl.col(_PLAIN_SGP).alias("sgp"))
    with_peers, without = (
        unweighted(values, counted.unit, units) for values in (counted.value, percentile_values(bare, kind))
    )
    of_means = spec.school.aggregate != "median"
    size = np.bincount(counted.unit[counted.unit >= 0], minlength=units)
    enough = np.asarray(size >= spec.school.min_n)
    return _Schools(
        rows=counted.rows,
        unit=counted.unit,
        enough=enough,
        result=(with_peers.mean if of_means else with_peers.median)[enough],
        unadjusted=(without.mean if of_means else without.median)[enough],
    )


def _clusters(school: pl.Series) -> IntArray:
    """Return the school of each student in the order of their ids, -1 where there is none, shape (n,)."""
    ids = distinct(school.to_frame())[school.name].drop_nulls().sort()
    return code_array(school, ids)


def _means(members: pl.DataFrame, school: IntArray) -> dict[str, object]:
    """Return n, schools, and both means with their intervals.

    Parameters
    ----------
    members : polars.DataFrame
        n students.
    school : ndarray, shape (n,)
        -1 where there is none: such students are clusters of their own.
    """
    alone = np.flatnonzero(school < 0)
    _, codes = np.unique(school, return_inverse=True)
    codes += len(alone) - (len(alone) > 0)
    codes[alone[np.argsort(alone.astype(str))]] = np.arange(len(alone))
    line: dict[str, object] = {
        "n": members.height,
        "schools": int(codes.max(initial=-1)) + 1 - len(alone),
    }
    for name, column in (("adjusted", "percentile"), ("unadjusted", _PLAIN)):
        mean, low, high = _clustered_mean(100 * members[column].to_numpy(), codes)
        line |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return line


def _clustered_mean(values: FloatArray, cluster: IntArray) -> tuple[float | None, float | None, float | None]:
    """Return the mean and its 95 % interval; no interval from one cluster."""
    from scipy.stats import t

    if not len(values):
        return None, None, None
    mean = float(values.mean())
    count = int(cluster.max()) + 1
    if count < 2:
        return mean, None, None
    sums = np.bincount(cluster, weights=values - mean)
    error = float(np.sqrt(count / (count - 1) * sums @ sums)) / len(values)
    reach = float(t.ppf(0.975, count - 1)) * error
    return mean, mean - reach, mean + reach


def _correlations(schools: _Schools, trait: pl.Expr) -> dict[str, object]:
    """Return the correlations of school results, and of students' percentiles, with a trait."""
    values = schools.rows.select(trait.alias("trait")).to_series().to_numpy()
    means = schools.mean(values)
    line: dict[str, object] = {"schools": len(means)}
    for name, result in (("r", schools.result), ("r_unadjusted", schools.unadjusted)):
        r = _correlation(result, means)
        low, high = _fisher(r, len(means))
        line |= {name: r, f"{name}_low": low, f"{name}_high": high}
    for name, column in (("r_students", "percentile"), ("r_students_unadjusted", _PLAIN)):
        line[name] = _correlation(schools.rows[column].to_numpy(), values)
    return line


def _correlation(a: FloatArray, b: FloatArray) -> float | None:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _fisher(r: float | None, n: int) -> tuple[float | None, float | None]:
    if r is None or n <= 3 or abs(r) >= 1:
        return None, None
    reach = _NORMAL_95 / np.sqrt(n - 3)
    return float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach))


def _with_effects(traits: pl.DataFrame, effects: pl.DataFrame, spec: GrowthSpec) -> pl.DataFrame:
    """Say how each trait of schools enters the model."""
    peers = spec.peers
    inside = pl.col("column").is_in([PRIOR, *peers.flags]) & (peers.composition != "none")
    found = effects.select(*_BLOCK, pl.col("trait").alias("column"), "effect", "effect_se", "status")
    left_out = pl.when(pl.col("status") != "estimated").then("status")
    chosen = pl.when(inside).then(pl.coalesce(left_out, pl.lit(peers.composition))).otherwise(pl.lit("none"))
    return traits.join(found, on=[*_BLOCK, "column"], how="left", maintain_order="left").with_columns(
        chosen.alias("composition")
    )
