r"""School composition in two steps: taken out of the scores before an engine sees them.

Student *i* of cohort *c* in school *j* has the model's columns :math:`x_i`; the school has the traits
:math:`m_j`: the means over its students of the most recent own prior and of each flag.

1. *Within schools.* Per cohort, least squares of the score on :math:`x_i` with a fixed effect per school:
   :math:`y_i = x_i'\beta_c + \alpha_{jc} + e_i`, :math:`\mathrm{SD}(e_i) = s_c`. No slope rests on a
   comparison of schools, so whatever sorts students or effective teachers into schools does not enter
   :math:`\hat\beta_c`.
2. *Between schools.* :math:`a_i = (y_i - x_i'\hat\beta_c) / s_c`, measured from the cohort's mean, is
   averaged over the :math:`n_j` students of the school in the subject and year, all cohorts together:
   :math:`a_j = \delta_0 + m_j'\delta + \theta_j + \bar e_j`, by generalised least squares with weights
   :math:`1 / (\tau^2 + 1/n_j)`; the variance :math:`\tau^2` of true effects by Paule & Mandel's moments.
3. *Adjustment.* The engine fits :math:`y_i - s_c\, m_j'\hat\delta` on :math:`x_i`; expected scores get
   :math:`s_c\, m_j'\hat\delta` back.

Traits are measured from the mean of the student's cohort (the prior in its SDs), so that schools of different
grades can be put on one line. That line has one point per school and holds for a subject and year. A line
per cohort would be no other than the columns of the one-step model: with the means of all columns the two
give the same slopes (Mundlak 1978). One line for all has three advantages: the trait is the school's and not
that of one grade's forty students, whose noise bends :math:`\delta` towards zero and leaves results tied to
intake; fewer degrees of freedom are spent on it; and weights that know of :math:`\tau^2` do not let the few
largest schools decide. `tests/test_composition.py` measures what that gains.

What is taken out is *everything* that goes with composition between schools, including true differences in
effectiveness that happen to go with it, and what schools added to their students' priors in earlier years.
Results are then proportional: uncorrelated with composition by construction, hence silent on whether
schools of one kind are more effective than those of another. The line is itself estimated, from some tens
or hundreds of schools; its error shifts all students of a school alike, and is carried along
(`growth.panel.Panel.offset_se`) into what is known of schools. A mean over few students is noisy; such
schools weigh little in step 2. Means are neither shrunk nor leave-one-out: the model system takes out what
the school's students are, the student included.

References
----------
.. [1] M. Ehlert, C. Koedel, E. Parsons and M. Podgursky (2016), Selecting growth measures for use in school
   evaluation systems, Educational Policy 30(3), 465-500.
.. [2] Y. Mundlak (1978), On the pooling of time series and cross section data, Econometrica 46(1), 69-85.
.. [3] R. C. Paule and J. Mandel (1982), Consensus values and weighting factors, J. Res. NBS 87(5), 377-385.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import SpecError, problem
from growth.panel import Panel, PanelSet, Places
from growth.scratch import kept
from growth.spec import GrowthSpec
from growth.student.design import power_terms, spline_terms
from growth.student.frozen import FrozenCurves
from growth.student.models import FrozenLine, Makeup
from growth.student.result import StudentGrowth

__all__ = [
    "Composed",
    "SchoolLine",
    "WithinSchools",
    "compose",
    "offsets_without",
    "school_line",
    "with_composition",
    "within_schools",
    "without_composition",
]

ESTIMATED, TOO_FEW, CONSTANT = "estimated", "too_few_schools", "does_not_vary"
_EFFECTS: dict[str, pl.DataType] = {
    "year": pl.Int32(),
    "subject": pl.String(),
    "trait": pl.String(),
    "schools": pl.Int64(),
    "effect": pl.Float64(),
    "effect_se": pl.Float64(),
    "status": pl.String(),
}
_ROUNDING = 1e-12
_DEPENDENT = 1e-10
"""Directions of the columns shorter than this share of the longest are left out of the slopes."""


@dataclass(frozen=True, slots=True, eq=False)
class Composed:
    """Cohorts whose scores can be freed from composition, and how much goes with it."""

    panels: PanelSet
    """As given; in two steps each panel has its `offset`."""
    effects: pl.DataFrame
    """One row per year, subject and trait: schools, effect and effect_se [SDs of students within schools, per
    SD of the prior or per whole share of a flag], status ("estimated", "too_few_schools", "does_not_vary").
    Empty unless composition is taken out in two steps."""
    makeups: Mapping[str, Makeup]
    """Key of the panel -> what its traits are measured from; empty like `effects`."""
    lines: tuple[FrozenLine, ...]
    """The schools' effects on their traits, one per year and subject; empty like `effects`."""


@dataclass(frozen=True, slots=True, eq=False)
class WithinSchools:
    """Least squares with a fixed effect per school."""

    slopes: FloatArray
    """Shape (p,)."""
    rest: FloatArray
    """Score less what the columns explain, shape (n,): school effect plus residual."""
    spread: float
    """Residual SD within schools; NaN without degrees of freedom."""


@dataclass(frozen=True, slots=True, eq=False)
class SchoolLine:
    """School effects on school traits."""

    slopes: FloatArray
    """Shape (q,)."""
    covariance: FloatArray
    """Of the slopes, shape (q, q)."""
    tau2: float
    """Variance of true effects around the line."""

    @property
    def standard_error(self) -> FloatArray:
        """Of the slopes, shape (q,)."""
        return np.sqrt(np.diag(self.covariance))


@dataclass(frozen=True, slots=True, eq=False)
class _Cohort:
    panel: Panel
    school: IntArray  # (n,), -1 where there is none
    counted: BoolArray  # (n,), in a school, and this is the cohort of the student's result
    effect: FloatArray  # (n,), from the mean of the counted [SDs]; empty if the cohort is frozen
    traits: FloatArray  # (n, q), from the mean of the counted, or from the frozen means
    makeup: Makeup


class _Offset(NamedTuple):
    value: FloatArray  # (n,)
    standard_error: FloatArray  # (n,)


def compose(panels: PanelSet, spec: GrowthSpec, frozen: FrozenCurves | None = None) -> Composed:
    """Estimate, per subject and year, what goes with school composition, and note it as each panel's offset.

    Cohorts too small for their own slopes within schools, and students without a school, keep an offset of 0.

    Parameters
    ----------
    panels : PanelSet
        All cohorts of a run.
    spec : GrowthSpec
        ``peers``; ``student.engine`` and ``basis`` decide the columns of the first step.
    frozen : FrozenCurves, optional
        Of an earlier year: its cohorts' means and spreads and its subjects' lines are used, not estimated.

    Returns
    -------
    Composed
        `panels` unchanged unless ``peers.composition`` is ``"two_step"``; else with `offset` and `offset_se`.
    """
    if spec.peers.composition != "two_step":
        return Composed(panels, pl.DataFrame(schema=_EFFECTS), {}, ())
    places, frozen = Places(panels), frozen or FrozenCurves()
    known = frozen.by_key()
    offsets: dict[str, _Offset] = {}
    makeups: dict[str, Makeup] = {}
    lines: list[FrozenLine] = []
    for (year, subject), members in _blocks(panels).items():
        cohorts = []
        for panel in members:
            base = known.get((panel.subject, panel.grade, panel.pattern))
            cohorts.append(_cohort(panel, places.of(panel)[1], spec, base.makeup if base else None))
        makeups |= {cohort.panel.key: cohort.makeup for cohort in cohorts}
        found, line = _block(cohorts, spec, frozen.line(subject))
        offsets |= found
        lines.append(replace(line, year=year))
    noted = tuple(
        replace(panel, offset=offsets[panel.key].value, offset_se=offsets[panel.key].standard_error)
        for panel in panels.panels
    )
    return Composed(replace(panels, panels=noted), _effects(lines), makeups, tuple(lines))


def offsets_without(
    panels: PanelSet, spec: GrowthSpec, left_out: Mapping[str, BoolArray]
) -> dict[str, FloatArray]:
    """Return every cohort's offset as known without the current scores of some students.

    Slopes within and between schools come from the other students; what is taken out of a school's scores
    then goes with the traits of all of its students.

    Parameters
    ----------
    panels : PanelSet
        All cohorts of a run.
    spec : GrowthSpec
        With ``peers.composition = "two_step"``.
    left_out : mapping
        Key of each panel -> shape (n,).

    Returns
    -------
    dict
        Key of the panel -> shape (n,) [scale-score points].
    """
    places = Places(panels)
    offsets: dict[str, FloatArray] = {}
    for members in _blocks(panels).values():
        seen = []
        for panel in members:
            school = np.full(len(panel), -1) if panel.school is None else panel.school
            # Students without a school take no part in the fits.
            fitted = replace(panel, school=np.where(left_out[panel.key], -1, school))
            seen.append(_cohort(fitted, places.of(panel)[1], spec, None))
        _, line = _block(seen, spec, None)
        whole = [
            _cohort(panel, places.of(panel)[1], spec, cohort.makeup)
            for panel, cohort in zip(members, seen, strict=True)
        ]
        offsets |= {key: offset.value for key, offset in _block(whole, spec, line)[0].items()}
    return offsets


def without_composition(panel: Panel) -> Panel:
    """Return the panel with scores freed from what goes with composition.

    Raises
    ------
    SpecError
        If `compose` has not seen the panel.
    """
    if panel.offset is None:
        raise SpecError(
            problem(
                f"{panel.key}: composition is not known",
                rule='peers.composition = "two_step" looks at all cohorts of a subject and year together',
                fix="hand all panels to growth.student.compose and take the panel from what it returns",
            )
        )
    return replace(panel, score=panel.score - panel.offset)


def with_composition(growth: StudentGrowth, panel: Panel) -> StudentGrowth:
    """Return the growth of a panel `without_composition` with expected scores on the scale of the test."""
    assert panel.offset is not None
    return replace(growth, expected=growth.expected + panel.offset)


def within_schools(columns: FloatArray, score: FloatArray, school: IntArray) -> WithinSchools:
    """Fit slopes from comparisons of students in the same school.

    Parameters
    ----------
    columns : ndarray, shape (n, p)
        Without an intercept. Columns that do not vary within schools get the slope 0.
    score : ndarray, shape (n,)
    school : ndarray, shape (n,)
        Codes; rows with a negative one take no part in the fit, but have a rest.

    Returns
    -------
    WithinSchools
    """
    from scipy.linalg import lstsq

    inside = school >= 0
    _, place, size = np.unique(school[inside], return_inverse=True, return_counts=True)

    def deviations(values: FloatArray) -> FloatArray:
        means = np.bincount(place, weights=values) / size
        return np.asarray(values - means[place])

    moved = np.column_stack([deviations(column) for column in columns[inside].T])
    length = np.linalg.norm(moved, axis=0)
    still = length <= _ROUNDING * np.maximum(np.linalg.norm(columns[inside], axis=0), 1.0)
    length[still] = 1.0
    moved[:, still] = 0.0
    scaled, _, rank, _ = lstsq(
        moved / length, deviations(score[inside]), cond=_DEPENDENT, lapack_driver="gelsy", check_finite=False
    )
    slopes = scaled / length
    rest = score - columns @ slopes
    freedom = int(np.count_nonzero(inside)) - len(size) - int(rank)
    squares = float(np.sum(deviations(rest[inside]) ** 2))
    return WithinSchools(slopes, rest, float(np.sqrt(squares / freedom)) if freedom > 0 else float("nan"))


def school_line(effect: FloatArray, traits: FloatArray, size: IntArray) -> SchoolLine:
    """Regress school effects on school traits.

    Parameters
    ----------
    effect : ndarray, shape (J,)
        Mean over each school's students [SDs within schools].
    traits : ndarray, shape (J, q)
    size : ndarray, shape (J,)
        Students.

    Returns
    -------
    SchoolLine
    """
    from scipy.optimize import brentq

    design = np.column_stack([np.ones(len(effect)), traits])
    freedom = len(effect) - int(np.linalg.matrix_rank(design))

    def weighted(tau2: float) -> tuple[FloatArray, FloatArray, float]:
        root = np.sqrt(1.0 / (tau2 + 1.0 / size))
        inverse = np.linalg.pinv(design * root[:, None])
        slopes = inverse @ (effect * root)
        return slopes, inverse, float(np.sum(((effect - design @ slopes) * root) ** 2))

    def surplus(tau2: float) -> float:
        return weighted(tau2)[2] - freedom

    tau2 = 0.0
    if surplus(0.0) > 0:
        high = 1.0
        while surplus(high) > 0:
            high *= 2.0
        tau2 = float(brentq(surplus, 0.0, high, xtol=1e-12))
    slopes, inverse, _ = weighted(tau2)
    return SchoolLine(slopes[1:], (inverse @ inverse.T)[1:, 1:], tau2)


def _blocks(panels: PanelSet) -> dict[tuple[int, str], list[Panel]]:
    """Return the cohorts of each year and subject."""
    found: dict[tuple[int, str], list[Panel]] = {}
    for panel in panels.panels:
        found.setdefault((panel.year, panel.subject), []).append(panel)
    return found


def _cohort(panel: Panel, chosen: BoolArray, spec: GrowthSpec, frozen: Makeup | None) -> _Cohort:
    school = panel.school if panel.school is not None else np.full(len(panel), -1)
    prior = panel.priors[:, 0]
    at = [panel.covariate_names.index(flag) for flag in spec.peers.flags]
    prior_sd = frozen.prior_sd if frozen else float(prior.std() or 1.0)
    traits = np.column_stack([prior / prior_sd, panel.covariates[:, at]])
    counted = chosen & (school >= 0)
    if frozen is not None:
        counted &= frozen.spread > 0
        return _Cohort(panel, school, counted, np.empty(0), kept(traits - frozen.means), frozen)
    splines = spec.student.engine in ("quantile", "normal")
    columns = (spline_terms(panel, spec) if splines else power_terms(panel, spec)).matrix[:, 1:]
    fit = within_schools(columns, panel.score, school)
    usable = bool(fit.spread > _ROUNDING * float(np.abs(panel.score).max(initial=1.0)))
    counted &= usable
    spread = fit.spread if usable else 0.0
    if not counted.any():
        nowhere = Makeup(prior_sd, traits.mean(axis=0), spread)
        return _Cohort(panel, school, counted, np.zeros(len(panel)), np.zeros_like(traits), nowhere)
    effect = (fit.rest - fit.rest[counted].mean()) / spread
    makeup = Makeup(prior_sd, traits[counted].mean(axis=0), spread)
    return _Cohort(panel, school, kept(counted), kept(effect), kept(traits - makeup.means), makeup)


def _block(
    cohorts: Sequence[_Cohort], spec: GrowthSpec, frozen: FrozenLine | None
) -> tuple[dict[str, _Offset], FrozenLine]:
    """Return key -> offset of one subject and year, and the line that gives them."""
    school = np.concatenate([cohort.school[cohort.counted] for cohort in cohorts])
    codes, place, size = np.unique(school, return_inverse=True, return_counts=True)

    def means(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(place, weights=values, minlength=len(codes)) / size)

    def of_all(trait: int) -> FloatArray:
        return np.concatenate([cohort.traits[cohort.counted, trait] for cohort in cohorts])

    traits = np.column_stack([means(of_all(trait)) for trait in range(cohorts[0].traits.shape[1])])
    line = frozen
    if line is None:
        effect = means(np.concatenate([cohort.effect[cohort.counted] for cohort in cohorts]))
        line = _line(cohorts[0].panel, effect, traits, size, spec)
    shift, error = traits @ line.slopes, np.zeros(len(codes))
    if line.covariance is not None:
        error = np.sqrt(np.maximum(np.sum((traits @ line.covariance) * traits, axis=1), 0.0))

    def of_students(cohort: _Cohort, values: FloatArray) -> FloatArray:
        return kept(cohort.makeup.spread * _of_school(cohort.school, codes, values))

    offsets = {
        cohort.panel.key: _Offset(of_students(cohort, shift), of_students(cohort, error))
        for cohort in cohorts
    }
    return offsets, line


def _line(
    panel: Panel, effect: FloatArray, traits: FloatArray, size: IntArray, spec: GrowthSpec
) -> FrozenLine:
    """Estimate the line of the subject and year of `panel`."""
    names = ("prior", *spec.peers.flags)
    varies = np.ptp(traits, axis=0) > _ROUNDING if len(size) else np.zeros(len(names), dtype=np.bool_)
    enough = len(size) >= spec.peers.schools_per_trait * max(int(varies.sum()), 1) and bool(varies.any())
    slopes, error = np.zeros(len(names)), np.full(len(names), np.nan)
    covariance = np.zeros((len(names), len(names)))
    if enough:
        line = school_line(effect, traits[:, varies], size)
        slopes[varies], error[varies] = line.slopes, line.standard_error
        covariance[np.ix_(varies, varies)] = line.covariance
    status = tuple(CONSTANT if not some else ESTIMATED if enough else TOO_FEW for some in varies)
    return FrozenLine(panel.year, panel.subject, names, slopes, error, status, len(size), covariance)


def _effects(lines: Sequence[FrozenLine]) -> pl.DataFrame:
    rows = [
        {
            "year": line.year,
            "subject": line.subject,
            "trait": trait,
            "schools": line.schools,
            "effect": float(line.slopes[k]) if line.status[k] == ESTIMATED else None,
            "effect_se": float(line.standard_error[k]) if line.status[k] == ESTIMATED else None,
            "status": line.status[k],
        }
        for line in lines
        for k, trait in enumerate(line.traits)
    ]
    return pl.DataFrame(rows, schema=_EFFECTS)


def _of_school(school: IntArray, codes: IntArray, values: FloatArray) -> FloatArray:
    """Return each student's school's value, shape (n,); 0 for schools without one."""
    if not len(codes):
        return np.zeros(len(school))
    at = np.minimum(np.searchsorted(codes, school), len(codes) - 1)
    return np.where(codes[at] == school, values[at], 0.0)
