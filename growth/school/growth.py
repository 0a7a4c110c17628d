"""From student percentiles to school growth percentiles: the order of the steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl

from growth._types import FloatArray
from growth.kernels.grouped import GroupSummaries, summarise
from growth.measures import SchoolGrowthPercentile, SchoolMeanPercentile
from growth.school.blocks import Measured, Variance, measure_block
from growth.school.counted import Counted, count_results
from growth.school.groups import ALL, RACE, groups_of, lowest_race
from growth.school.norms import Norms, ReferenceNorm, measure_of
from growth.spec import GrowthSpec

__all__ = ["SchoolGrowth", "school_growth"]

_MEASURES = (
    "mean_percentile",
    "mean_se",
    "median_percentile",
    "median_se",
    "effect",
    "effect_se",
    "shrunk",
    "shrunk_se",
    "growth_percentile",
    "growth_percentile_low",
    "growth_percentile_high",
)
_VARIANCE = {
    "year": pl.Int32(),
    "subject": pl.String(),
    "group": pl.String(),
    "schools": pl.Int64(),
    "students": pl.Int64(),
    "mean": pl.Float64(),
    "within_sd": pl.Float64(),
    "tau2": pl.Float64(),
    "tau_low": pl.Float64(),
    "tau_high": pl.Float64(),
    "q": pl.Float64(),
    "icc": pl.Float64(),
    "reliability": pl.Float64(),
    "source": pl.String(),
    "bands_extended": pl.Int64(),
}
_COLUMNS = ("year", "subject", "group", "school_id", "group_detail", "n", *_MEASURES, "reason")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SchoolGrowth:
    """School results with the distributions behind them."""

    frame: pl.DataFrame
    """One row per year, subject, group and school: n, mean_percentile, mean_se, median_percentile, median_se,
    effect, effect_se, shrunk, shrunk_se [percentile points, 0-100], growth_percentile with its 95 % band
    growth_percentile_low, growth_percentile_high [percentile rank, 0-100], and reason. Where `reason` is set,
    every value but n is null; shrunk and shrunk_se are null without shrinkage."""
    norms: Norms
    """The reference distributions in use; keep them to rank later years in the same ones."""
    variance: pl.DataFrame
    """One row per year, subject and group; columns as the fields of `growth.school.blocks.Variance`."""
    counts: pl.DataFrame
    """Which student results counted: subject, year, step, rows, excluded, reason."""

    @property
    def growth_percentile(self) -> SchoolGrowthPercentile:
        """School growth percentiles in the order of `frame`; NaN where withheld."""
        return SchoolGrowthPercentile(self._column("growth_percentile"))

    @property
    def mean_percentile(self) -> SchoolMeanPercentile:
        """Mean student percentiles in the order of `frame`; NaN where withheld. Not a growth percentile."""
        return SchoolMeanPercentile(self._column("mean_percentile"))

    def _column(self, name: str) -> FloatArray:
        return self.frame[name].fill_null(np.nan).to_numpy()

    def __repr__(self) -> str:
        everyone = self.frame.filter(pl.col("group") == ALL)
        shown = everyone["reason"].null_count()
        lines = [
            f"SchoolGrowth({shown:,} of {everyone.height:,} school x subject x year results for all students"
        ]
        for row in self.variance.filter(pl.col("group") == ALL).iter_rows(named=True):
            if row["reliability"] is not None:
                lines.append(
                    f"  {row['subject']} {row['year']}: {row['schools']:,} schools, mean {row['mean']:.1f}, "
                    f"between-school SD {np.sqrt(row['tau2']):.1f}, reliability {row['reliability']:.2f}"
                )
        groups = self.frame["group"].unique(maintain_order=True).to_list()
        return "\n".join([*lines, f"  groups: {', '.join(groups)})"])


def school_growth(students: pl.DataFrame, spec: GrowthSpec, *, norms: Norms | None = None) -> SchoolGrowth:
    r"""Aggregate student percentiles to schools and rank the schools.

    Counted are rows with ``status == "scored"`` and ``highest``, in a school (and enrolled, if the
    specification says so). Per year, subject and group:

    1. mean and median of the students' percentiles with standard errors; the *effect* is one of them;
    2. the effect is shrunk towards the mean of its group by its reliability (empirical Bayes, by default
       averaged over what is not known of the variance between schools, see `growth.school.spread`; a group in
       fewer than ten schools borrows mean and variance from all students);
    3. the *school growth percentile* is the percentile rank of the (shrunken) effect,
       :math:`100 (\#\text{below} + \#\text{equal} / 2) / J`, among the J reference schools: all-student
       results of the same year and subject with at least ``school.min_n`` students. Groups meet the same
       distribution, or with ``groups.reference = "group"`` that of their own group;
    4. its 95 % band comes from posterior draws of the school and of all reference schools; with
       ``growth_percentile = "normal"`` it is the transformed 95 % posterior interval.

    Each school of `students` has a row ``All``; each group one per school with counted members.
    ``race:lowest`` repeats, per school, the row of the racial/ethnic group with the lowest effect; see
    `growth.school.groups.lowest_race` for what chance does to such a minimum.

    Parameters
    ----------
    students : polars.DataFrame
        One row per student, subject, year (and prior pattern): student_id, year, subject, school_id, status,
        highest, percentile in (0, 1) or sgp, and the columns that the specification's groups name.
    spec : GrowthSpec
        ``spec.school`` and ``spec.groups``.
    norms : Norms, optional
        Reference distributions of an earlier year to rank in, instead of this year's.

    Returns
    -------
    SchoolGrowth

    Raises
    ------
    ColumnError
        If a column is missing or a scored row has no usable percentile.
    SpecError
        If group labels collide, or `norms` holds several years or another kind of effect.

    Notes
    -----
    Reasons: ``n_below_minimum``; ``no_standard_error`` (one student, or students who do not vary, so that
    the effect cannot be shrunk); ``no_reference`` (fewer than two schools to rank among, or no frozen norm
    for the subject).
    A band is extended to the percentile where that lies outside; `variance` counts such schools.

    With ``school.variance = "moments"`` or ``"reml"`` posteriors take the estimated variance between schools
    as known. Bands are then too narrow where few schools differ little, and have no width where the estimate
    is 0.

    References
    ----------
    .. [1] R. Lin, T. A. Louis, S. M. Paddock and G. Ridgeway (2006), Bayesian Analysis 1(4), 915-946.
    .. [2] K. E. Castellano and A. D. Ho (2015), J. of Educational and Behavioral Statistics 40(1), 35-68.
    """
    if norms is not None:
        norms.check(measure_of(spec.school))
    counted = count_results(students, spec)
    summaries = _summaries(counted, spec)
    parts: list[pl.DataFrame] = []
    variances: list[Variance] = []
    used: dict[tuple[int, str, str], ReferenceNorm] = {}
    for year, subject, units in _blocks(counted.units):
        present = {
            label: part
            for label, whole in summaries.items()
            if (part := _part(whole, units)).size.any() or label == ALL
        }
        results, references = measure_block(year, subject, present, spec, norms)
        used |= {(norm.year, norm.subject, norm.group): norm for norm in references}
        for label, measured in results.items():
            parts.append(_frame(counted.units[units], label, measured))
            variances.append(measured.variance)
    return SchoolGrowth(
        frame=_assemble(parts, counted.units, list(summaries), spec),
        norms=Norms(tuple(used.values())),
        variance=_variance_frame(variances, counted.units),
        counts=counted.counts,
    )


def _summaries(counted: Counted, spec: GrowthSpec) -> dict[str, GroupSummaries]:
    """Return label -> summaries of the student percentiles of each school."""
    return {
        group.label: summarise(
            counted.value[group.members], counted.unit[group.members], counted.units.height
        )
        for group in groups_of(counted.rows, spec)
    }


def _part(summaries: GroupSummaries, units: slice) -> GroupSummaries:
    return GroupSummaries(
        summaries.size[units], summaries.mean[units], summaries.sd[units], summaries.median[units]
    )


def _blocks(units: pl.DataFrame) -> Iterator[tuple[int, str, slice]]:
    """Yield year, subject and the rows of `units` that belong to them."""
    lengths = units.group_by("year", "subject", maintain_order=True).len()
    start = 0
    for year, subject, length in lengths.iter_rows():
        yield year, subject, slice(start, start + length)
        start += length


def _frame(units: pl.DataFrame, label: str, found: Measured) -> pl.DataFrame:
    a = found.aggregates
    arrays = [a.mean, a.mean_se, a.median, a.median_se, a.effect, a.effect_se]
    arrays += [found.shrunk, found.shrunk_se, found.percentile, found.low, found.high]
    frame = units.with_columns(
        pl.lit(label).alias("group"),
        pl.lit(None, dtype=pl.String).alias("group_detail"),
        pl.Series("n", a.n, dtype=pl.Int64),
        pl.Series("reason", found.reason.tolist(), dtype=pl.String),
        *(pl.Series(name, array).fill_nan(None) for name, array in zip(_MEASURES, arrays, strict=True)),
    )
    shown = pl.col("reason").is_null()
    frame = frame.with_columns(pl.when(shown).then(pl.col(name)).alias(name) for name in _MEASURES)
    return frame.filter((pl.col("n") > 0) | (pl.col("group") == ALL)).select(_COLUMNS)


def _assemble(
    parts: list[pl.DataFrame], units: pl.DataFrame, labels: list[str], spec: GrowthSpec
) -> pl.DataFrame:
    if not parts:
        return _empty(units)
    frame = pl.concat(parts)
    races = frame.filter(pl.col("group").str.starts_with(RACE))
    if spec.groups.lowest_race and races.height:
        lowest = lowest_race(races)
        labels = [*labels, *lowest["group"].unique()]
        frame = pl.concat([frame, lowest])
    place = pl.col("group").replace_strict(labels, range(len(labels)), return_dtype=pl.Int64)
    return frame.sort("year", "subject", place, "school_id")


def _empty(units: pl.DataFrame) -> pl.DataFrame:
    numbers = dict.fromkeys(_MEASURES, pl.Float64())
    texts = dict.fromkeys(("group", "group_detail", "reason"), pl.String())
    schema = {**units.schema, **texts, "n": pl.Int64(), **numbers}
    return pl.DataFrame(schema={name: schema[name] for name in _COLUMNS})


def _variance_frame(variances: list[Variance], units: pl.DataFrame) -> pl.DataFrame:
    schema = {**_VARIANCE, "year": units.schema["year"]}
    rows = [asdict(variance) for variance in variances]
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col(pl.Float64).fill_nan(None))
