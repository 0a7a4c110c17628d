r"""Where students are headed: paths of constant percentile over the curves of one year's cohorts.

A student in grade *g* has no curves of next year yet. The cohort that is one grade ahead *this* year has: its
curves say where students went who stood where this student stands. A path of percentile *q* goes on along
them: the score that the *q*-th curve gives is the prior score of the next step, in the grade above.

All curves of a cohort are followed at once, one path per tau. Step by step: the values of path *t* are those
of curve *t*, given the path's own earlier values; values are clipped to the bounds of the scale, where these
are known, sorted within each student, and rounded. After more than one step a path is not the chance of
anything: to grow at the 90th percentile five years running is far rarer than one in ten.

What is assumed: next year's cohort will be to this year's scores as this year's is to last year's; and the
student takes the next grade's test, keeps the flags and categories of today and, where composition is taken
out in two steps, is in a school of the same make-up.

References
----------
.. [1] D. W. Betebenner (2009), Norm- and criterion-referenced student growth, EM:IP 28(4), 42-51.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from growth._types import FloatArray
from growth.errors import CohortError, SpecError, problem
from growth.quantile import spline_design
from growth.spec import GrowthSpec, Peers
from growth.student.engines.quantile import is_hundred
from growth.student.frozen import FrozenCohort
from growth.student.models import QuantileModel

__all__ = ["Step", "Traveller", "growth_paths", "path_at", "require_projectable"]


@dataclass(frozen=True, slots=True, eq=False)
class Traveller:
    """What is known of students who share a history: n students, all with the same scores known."""

    scores: Mapping[tuple[str, int, int], FloatArray]
    """(subject, years back, grade) -> scores, shape (n,); 0 years back is today [scale-score points]."""
    flags: frozenset[str] = frozenset()
    """Yes/no columns of the specification that are yes."""
    levels: Mapping[str, str] = field(default_factory=dict)
    """Category -> level; without one, the reference level."""
    missing: frozenset[str] = frozenset()
    """Columns of the specification that are blank."""
    shift: Mapping[str, FloatArray] = field(default_factory=dict)
    """Subject -> what goes with the make-up of the student's school where composition is taken out in two
    steps, shape (n,) [SDs of students within schools]; 0 where not given."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step of all paths in one subject."""

    subject: str
    grade: int
    ahead: int
    """Years from today."""
    cohort: FrozenCohort
    """Whose curves were followed."""
    taus: FloatArray
    """Shape (m,)."""
    values: FloatArray
    """Shape (n, m), ascending in each row [scale-score points]."""


def growth_paths(
    cohorts: Iterable[FrozenCohort], traveller: Traveller, spec: GrowthSpec, *, steps: int = 1
) -> tuple[Step, ...]:
    """Follow the curves of one year's cohorts from today's scores upwards.

    In each subject the next cohort is the one whose most recent own prior is the grade of today, at the
    smallest lag; of its prior patterns, that with the most priors that are known or were reached by the same
    path. Subjects go on together: a path of percentile q has percentile q in every subject. A subject stops
    where there is no such cohort.

    Parameters
    ----------
    cohorts : iterable of FrozenCohort
        Of one year, e.g. ``run.curves.of_year(2025).cohorts``.
    traveller : Traveller
    spec : GrowthSpec
        Of the run that the cohorts come from.
    steps : int
        Most steps in a subject.

    Returns
    -------
    tuple of Step
        Earliest first; empty if no cohort leads on.

    Raises
    ------
    SpecError
        If the engine is not ``quantile``; if a cohort needs columns that cannot be known ahead (school means,
        ``peers.composition = "one_step"``), or does not know a category's level or a blank of the students.
    CohortError
        If there are no scores to start from.

    Notes
    -----
    The conventions are those of the R package SGP 2.2-0.0 (growth projections), which follows one subject,
    and are tested against its numbers.
    """
    known = tuple(cohorts)
    require_projectable(spec)
    n = {len(values) for values in traveller.scores.values()}
    if len(n) != 1:
        raise CohortError(problem("No scores to start from, or of unequal numbers of students"))
    scores = {(subject, -back, grade): values for (subject, back, grade), values in traveller.scores.items()}
    place = {subject: (0, grade) for subject, time, grade in scores if time == 0}
    paths: dict[tuple[str, int, int], FloatArray] = {}
    found: list[Step] = []
    for _ in range(steps):
        reached = [
            step
            for subject, (time, grade) in place.items()
            if (step := _next(known, subject, time, grade, {**scores, **paths}, traveller, spec)) is not None
        ]
        place = {step.subject: (step.ahead, step.grade) for step in reached}
        paths |= {(step.subject, step.ahead, step.grade): step.values for step in reached}
        found += reached
    return tuple(sorted(found, key=lambda step: (step.ahead, step.subject)))


def path_at(step: Step, percentiles: Sequence[int]) -> FloatArray:
    """Return the values of the paths of some percentiles, shape (n, q) [scale-score points].

    Percentile q is the path at tau = (q - 0.5) / 100, as in the R package's projections.

    Raises
    ------
    SpecError
        If the curves are not on the grid of 100 taus.
    """
    if not is_hundred(step.taus):
        raise SpecError("Percentile paths need the grid of 100 taus.")
    return step.values[:, np.asarray(percentiles) - 1]


def require_projectable(spec: GrowthSpec) -> None:
    """Refuse specifications without curves that can be followed ahead.

    Raises
    ------
    SpecError
        With the field and a way out.
    """
    if spec.student.engine != "quantile":
        raise SpecError(
            problem(
                f"The engine {spec.student.engine!r} has no quantile curves to follow",
                rule='projections need student.engine = "quantile"',
                fix="run the table with that engine as well",
            )
        )
    if spec.peers.composition == "one_step":
        raise SpecError(
            problem(
                "Next year's curves need the means of next year's classmates, which nobody knows",
                rule='projections need peers.composition = "none" or "two_step"',
                fix="run the table with one of these as well",
            )
        )


def _next(
    cohorts: Sequence[FrozenCohort],
    subject: str,
    time: int,
    grade: int,
    scores: Mapping[tuple[str, int, int], FloatArray],
    traveller: Traveller,
    spec: GrowthSpec,
) -> Step | None:
    ahead = [
        (cohort.pattern.priors[0].lag, cohort)
        for cohort in cohorts
        if cohort.subject == subject and cohort.grade > grade and cohort.pattern.priors[0].grade == grade
    ]
    lag = min((lag for lag, _ in ahead), default=0)
    usable = [
        cohort for own, cohort in ahead if own == lag and all(k in scores for k in _keys(cohort, time + lag))
    ]
    if not usable:
        return None
    cohort = max(usable, key=lambda one: one.pattern.rank)
    priors = [scores[key] for key in _keys(cohort, time + lag)]
    values = _follow(cohort, priors, traveller, spec)
    return Step(subject, cohort.grade, time + lag, cohort, _model(cohort).taus, values)


def _keys(cohort: FrozenCohort, time: int) -> list[tuple[str, int, int]]:
    return [(prior.subject, time - prior.lag, prior.grade) for prior in cohort.pattern.priors]


def _model(cohort: FrozenCohort) -> QuantileModel:
    assert isinstance(cohort.model, QuantileModel)
    return cohort.model


def _follow(
    cohort: FrozenCohort, priors: Sequence[FloatArray], traveller: Traveller, spec: GrowthSpec
) -> FloatArray:
    """Return curve t given path t's priors, shape (n, m): clipped, sorted, rounded."""
    model, subject = _model(cohort), cohort.subject
    n, m = len(priors[0]), len(model.taus)
    wide = [prior if prior.ndim == 2 else np.repeat(prior[:, None], m, axis=1) for prior in priors]
    values = np.empty((n, m))
    for t in range(m):
        now = np.column_stack([prior[:, t] for prior in wide])
        columns = _columns(cohort, now[:, 0], traveller, spec.peers)
        values[:, t] = spline_design(now, model.bases, columns) @ model.coef[t]
    if cohort.makeup is not None and subject in traveller.shift:
        values += cohort.makeup.spread * traveller.shift[subject][:, None]
    bounds = spec.scale.bounds.get(subject, {}).get(cohort.grade)
    if bounds is not None:
        values = np.clip(values, *bounds)
    if spec.quantiles.rearrange:
        values.sort(axis=1)
    digits = spec.quantiles.round_digits
    return values if digits == "none" else np.round(values, digits)


def _columns(cohort: FrozenCohort, prior: FloatArray, traveller: Traveller, peers: Peers) -> FloatArray:
    """Return the cohort's columns beside the priors, shape (n, q).

    Raises
    ------
    SpecError
        If the students have a level or a blank that the curves do not know.
    """
    parts = {name: {name: float(name in traveller.flags)} for name in peers.flags}
    parts |= {name: _dummy(name, traveller, peers) for name in peers.categories}
    blank = {f"missing:{name}": 1.0 for name in traveller.missing}
    needed = {name for part in parts.values() for name in part if name not in peers.flags} | set(blank)
    if unknown := sorted(needed - set(cohort.covariates)):
        raise SpecError(
            problem(
                f"The curves of {cohort.subject}, grade {cohort.grade}, have no column {', '.join(unknown)}: "
                "nobody in that cohort had it, or it is the reference level",
                rule="what students are compared by has a column, or is the named reference level",
                fix="name reference levels in peers.reference, and fill blanks",
            )
        )
    one = np.ones(len(prior))
    known = {name: value * one for part in (*parts.values(), blank) for name, value in part.items()}
    for term in peers.interactions:
        first, second = ({"prior": prior} if part == "prior" else parts[part] for part in term.split(":"))
        known |= {f"{a}:{b}": x * y * one for a, x in first.items() for b, y in second.items()}
    listed = [known.get(name, np.zeros(len(prior))) for name in cohort.covariates]
    return np.column_stack(listed) if listed else np.empty((len(prior), 0))


def _dummy(name: str, traveller: Traveller, peers: Peers) -> dict[str, float]:
    """Return the column of the level that the students have; none for the reference."""
    level = traveller.levels.get(name)
    return {} if level in (None, peers.reference.get(name)) else {f"{name}={level}": 1.0}
