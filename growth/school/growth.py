"""From student percentiles to school growth percentiles: the order of the steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
import polars as pl

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import SpecError, problem
from growth.measures import SchoolGrowthPercentile, SchoolMeanPercentile
from growth.school.aggregates import Errors
from growth.school.bands import stream_key
from growth.school.beside import Besides, aggregated
from growth.school.blocks import Measured, Variance, measure_block
from growth.school.columns import PROBABILITIES, SCHOOLS
from growth.school.enrolment import Enrolment, check_enrolment
from growth.school.groups import ALL, RACE, lowest_race
from growth.school.inputs import Inputs, school_inputs
from growth.school.norms import Norms, ReferenceNorm, measure_of
from growth.school.placement import Kind, unit_column
from growth.school.standing import TENS
from growth.spec import GrowthSpec

__all__ = ["SchoolGrowth", "district_growth", "measure_units", "school_growth", "span_growth"]

Cuts: TypeAlias = Mapping[str, FloatArray]

_KEPT = ("year", "subject", "group", "school_id", "group_detail", "span", "n", "reason")
"""Columns that are there whatever is withheld."""
_COLUMNS = {column.name: column.dtype for column in SCHOOLS}
_RESPONSE = "_response"
_HIDDEN = (*(name for name in _COLUMNS if name not in _KEPT), _RESPONSE)
_VARIANCE = {
    "year": pl.Int32(),
    "subject": pl.String(),
    "span": pl.String(),
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


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SchoolGrowth:
    """School results with the distributions behind them."""

    frame: pl.DataFrame
    """One row per year, subject, group and school; columns as in `growth.school.columns.SCHOOLS`. Where
    `reason` is set, every value but n is null."""
    norms: Norms
    """The reference distributions in use; keep them to rank later years in the same ones."""
    variance: pl.DataFrame
    """One row per year, subject and group; columns as the fields of `growth.school.blocks.Variance`."""
    counts: pl.DataFrame
    """Which student results counted: subject, year, step, rows, excluded, reason."""
    response: FloatArray
    """By how much what is ranked moves with a result's own effect [points per point], in the order of
    `frame`; NaN where withheld, or where it moves in steps (``school.shrinkage = "sgp"``)."""
    predictions: pl.DataFrame | None = None
    """With ``school.shrinkage = "eblp"``, what schools' results were predicted to be and what was used: see
    `growth.school.prediction.Predictions`."""

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


def school_growth(
    students: pl.DataFrame,
    spec: GrowthSpec,
    *,
    norms: Norms | None = None,
    enrolment: Enrolment | None = None,
    cuts: Cuts | None = None,
) -> SchoolGrowth:
    r"""Aggregate student percentiles to schools and rank the schools.

    Counted are rows with ``status == "scored"`` and ``highest``, in a school (and enrolled, if the
    specification says so). Per year, subject and group:

    1. mean and median of the students' percentiles with standard errors; the *effect* is one of them;
    2. the effect (or with ``shrinkage = "eblp"`` its prediction from all years, grades and subjects of the
       run, where that is more accurate) is shrunk towards the mean of its group by its reliability (empirical
       Bayes, by default averaged over what is not known of the variance between schools, see
       `growth.school.spread`; a group in fewer than ten schools borrows mean and variance from all students);
    3. the *school growth percentile* is the percentile rank of the (shrunken) effect,
       :math:`100 (\#\text{below} + \#\text{equal} / 2) / J`, among the J reference schools: all-student
       results of the same year and subject with at least ``school.min_n`` students. Groups meet the same
       distribution, or with ``groups.reference = "group"`` that of their own group;
    4. its 95 % band and the probabilities of levels 1-10, of the bottom 5 % and of the upper half come from
       joint posterior draws of the school and of all reference schools; with ``growth_percentile = "normal"``
       the band is the transformed 95 % posterior interval, with ``"expected"`` the percentile is the mean
       percentile rank over draws.

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
    enrolment : Enrolment, optional
        For ``school.share = "enrolment"``: see `read_enrolment`. Students count in the schools it names, and
        those whose year is not in it do not count.
    cuts : mapping of subject to ndarray of shape (9,), optional
        Lower bounds of levels 2, ..., 10 [percentile, 0-100] for the probabilities of levels; tens if not
        given.

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
    check_enrolment(enrolment, spec)
    return measure_units(school_inputs(students, spec, "school", enrolment), spec, norms, cuts=cuts)


def span_growth(
    students: pl.DataFrame,
    spec: GrowthSpec,
    *,
    norms: Norms | None = None,
    enrolment: Enrolment | None = None,
    cuts: Cuts | None = None,
) -> SchoolGrowth:
    """Return results of each school by grade span, each shrunk and ranked among results of its span.

    The frame has one row per year, subject, group, school and `span`; else as `school_growth`.

    Raises
    ------
    ColumnError, SpecError
        As `school_growth`.
    """
    check_enrolment(enrolment, spec)
    return measure_units(school_inputs(students, spec, "span", enrolment), spec, norms, cuts=cuts)


def district_growth(
    students: pl.DataFrame,
    spec: GrowthSpec,
    *,
    norms: Norms | None = None,
    enrolment: Enrolment | None = None,
    cuts: Cuts | None = None,
) -> SchoolGrowth:
    """Return results of districts: the same columns, with `district_id` instead of `school_id`.

    Students count in the district of their row (or of their enrolment). With
    ``school.districts = "school_norm"`` districts are ranked in the distribution of schools; districts hold
    more students and lie closer together, so few will reach the ends. With ``"own_norm"`` (and ``"none"``)
    they are ranked among districts. Grade spans of schools (``norms_by``) are no norms of districts.

    Parameters
    ----------
    students, spec, enrolment, cuts
        As in `school_growth`.
    norms : Norms, optional
        Of schools, for ``"school_norm"``: those of each year, or of one base year.

    Raises
    ------
    ColumnError, SpecError
        As `school_growth`; if `norms` and ``school.districts`` disagree.
    """
    check_enrolment(enrolment, spec)
    if (spec.school.districts == "school_norm") != (norms is not None):
        what = 'school.districts = "school_norm" and norms of schools go together'
        raise SpecError(
            problem(what, fix="give the norms of the schools, or rank districts among themselves")
        )
    return measure_units(school_inputs(students, spec, "district", enrolment), spec, norms, cuts=cuts)


def measure_units(
    inputs: Inputs,
    spec: GrowthSpec,
    norms: Norms | None,
    *,
    cuts: Cuts | None = None,
    errors: Mapping[str, Errors] | None = None,
) -> SchoolGrowth:
    """Aggregate, shrink and rank.

    Parameters
    ----------
    inputs : Inputs
    spec : GrowthSpec
    norms : Norms or None
        To rank in: of each year, or of one base year.
    cuts : mapping of subject to ndarray of shape (9,), optional
        Lower bounds of levels 2, ..., 10 for the probabilities of levels; tens by default.
    errors : mapping of group label to Errors, optional
        Standard errors of all units, for the rule ``refit``.
    """
    if norms is not None:
        norms.check(measure_of(spec.school))
    if spec.school.standard_error == "refit" and errors is None:
        what = 'school.standard_error = "refit" fits every cohort again, which needs the table'
        raise SpecError(problem(what, fix="use growth.run, or another standard error"))
    units = inputs.placement.units.rename({unit_column(inputs.kind): "school_id"})
    besides = Besides.of(inputs, spec)
    parts: list[pl.DataFrame] = []
    variances: list[Variance] = []
    used: dict[tuple[int, str, str, str], ReferenceNorm] = {}
    for block, where in inputs.placement.blocks():
        members = inputs.members(where)
        rows = inputs.rows.part(where)
        found = {
            label: aggregated(rows.keep(who), stream_key(block, label), spec, _part(errors, label, where))
            for label, who in members.items()
        }
        beside = besides.part(where, block, list(found))
        frozen = _norms_of(norms, block[0], inputs.kind)
        points = TENS if cuts is None else cuts.get(block[1], TENS)
        results, references = measure_block(block, found, spec, frozen, points, beside)
        astray = spec.school.norms_by == "span" and inputs.kind == "school" and not block[2]
        if not astray:
            used |= {(norm.year, norm.subject, norm.span, norm.group): norm for norm in references}
        for label, measured in results.items():
            about = units[where].with_columns(pl.Series("years", _years(inputs, where, members[label])))
            parts.append(_frame(about, label, measured, astray))
            variances.append(measured.variance)
    within = ["span", "school_id"] if inputs.kind == "span" else ["school_id"]
    frame = _assemble(parts, units, [group.label for group in inputs.groups], spec, within)
    return SchoolGrowth(
        frame=frame.select(*_COLUMNS).rename({"school_id": unit_column(inputs.kind)}),
        norms=Norms(tuple(used.values())),
        variance=_variance_frame(variances, units),
        counts=inputs.counted.counts,
        response=frame[_RESPONSE].fill_null(np.nan).to_numpy(),
        predictions=besides.predictions,
    )


def _part(errors: Mapping[str, Errors] | None, label: str, where: slice) -> Errors | None:
    return None if errors is None else errors[label].part(where)


def _norms_of(norms: Norms | None, year: int, kind: Kind) -> Norms | None:
    """Return the schools' norms of the same year for districts; else all, which must be of one year."""
    same = [norm for norm in norms or () if norm.year == year]
    return Norms(tuple(same)) if kind == "district" and same else norms


def _years(inputs: Inputs, where: slice, members: BoolArray) -> IntArray:
    """Return the number of years that each of U units has counted results of, shape (U,)."""
    rows = inputs.rows.part(where)
    year = inputs.placement.year[inputs.lines(where)][members]
    pairs = pl.DataFrame({"unit": rows.unit[members], "year": year}).unique()["unit"].to_numpy()
    return np.bincount(pairs, minlength=len(rows.start) - 1).astype(np.int64)


def _frame(units: pl.DataFrame, label: str, found: Measured, astray: bool) -> pl.DataFrame:
    a = found.aggregates
    values = {
        "n_effective": a.n_effective,
        "mean_percentile": a.mean,
        "mean_se": a.mean_se,
        "median_percentile": a.median,
        "median_se": a.median_se,
        "effect": a.effect,
        "effect_se": a.effect_se,
        "shrunk": found.shrunk,
        "shrunk_se": found.shrunk_se,
        "growth_percentile": found.percentile,
        "growth_percentile_low": found.low,
        "growth_percentile_high": found.high,
        _RESPONSE: found.response,
    }
    values |= {column.name: found.probabilities[:, k] for k, column in enumerate(PROBABILITIES)}
    frame = units.with_columns(
        pl.lit(label).alias("group"),
        pl.lit(None, dtype=pl.String).alias("group_detail"),
        pl.Series("n", a.n, dtype=pl.Int64),
        pl.Series("reason", found.reason.tolist(), dtype=pl.String),
        *(pl.Series(name, array).fill_nan(None) for name, array in values.items()),
    )
    if astray:
        frame = frame.with_columns(pl.col("reason").fill_null("no_span"))
    shown = pl.col("reason").is_null()
    frame = frame.with_columns(pl.when(shown).then(pl.col(name)).alias(name) for name in _HIDDEN)
    return frame.filter((pl.col("n") > 0) | (pl.col("group") == ALL)).select(*_COLUMNS, _RESPONSE)


def _assemble(
    parts: list[pl.DataFrame], units: pl.DataFrame, labels: list[str], spec: GrowthSpec, within: list[str]
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
    return frame.sort("year", "subject", place, *within)


def _empty(units: pl.DataFrame) -> pl.DataFrame:
    columns = {**_COLUMNS, **units.schema, _RESPONSE: pl.Float64()}
    return pl.DataFrame(schema=columns).select(*_COLUMNS, _RESPONSE)


def _variance_frame(variances: list[Variance], units: pl.DataFrame) -> pl.DataFrame:
    schema = {**_VARIANCE, "year": units.schema["year"]}
    rows = [asdict(variance) for variance in variances]
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col(pl.Float64).fill_nan(None))
