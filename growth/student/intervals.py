"""How uncertain each student's growth percentile is: error of the score, sampling error of the curves.

*Measurement.* The current score is redrawn with its CSEM; curves and priors stay (`growth.student.spread`).
The map from scores to percentiles does not fall, so the ends are the percentiles of the ends of the score's
own interval: they hold the percentile that the student's true current score would have earned as often as
that holds the true score. Errors in the priors are no part of it.

*Curves.* The process is refitted with unit exponential weights on students, or on schools. Unlike the counts
of a multinomial resample they leave nobody out: no flag, category or knot interval can lose all its students.
Knots, and what composition takes out, stay. The ends are quantiles, over the refits, of the percentile of the
same score; they are for the student's place in the true conditional distribution.

*Both.* The redrawn score is placed among the curves of every refit.

References
----------
.. [1] D. B. Rubin (1981), The Bayesian bootstrap, Annals of Statistics 9(1), 130-134.
.. [2] V. Chernozhukov, I. Fernandez-Val and B. Melly (2013), Inference on counterfactual distributions,
   Econometrica 81(6), 2205-2268 (exponential weights for quantile processes).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import joblib
import numpy as np

from growth._types import FloatArray, IntArray
from growth.errors import CohortError, SpecError, problem
from growth.panel import Panel
from growth.quantile import QuantileProcess, spline_design
from growth.spec import GrowthSpec
from growth.student.engines.quantile import QuantileGrowth
from growth.student.frozen import FrozenCohort
from growth.student.ladders import ladder_of
from growth.student.result import StudentGrowth
from growth.student.spread import Redraw, drawn_spread, exact_spread

__all__ = ["StudentIntervals", "replicate_weights", "student_intervals"]


@dataclass(frozen=True, slots=True, eq=False)
class StudentIntervals:
    """Uncertainty of the growth percentiles of one cohort, in the order of its rows."""

    se: FloatArray
    """Standard error of the SGP, shape (n,) [percentile points]; NaN where the CSEM is not known."""
    low: FloatArray
    """Lower end, shape (n,), whole numbers 1-99, never above the SGP; NaN as `se`."""
    high: FloatArray
    """Upper end, likewise, never below the SGP."""

    def __repr__(self) -> str:
        known = int(np.count_nonzero(~np.isnan(self.se)))
        return f"StudentIntervals({known:,} of {len(self.se):,} students)"


def student_intervals(
    growth: StudentGrowth,
    panel: Panel,
    spec: GrowthSpec,
    *,
    frozen: FrozenCohort | None = None,
    n_jobs: int | None = None,
) -> StudentIntervals | None:
    """Work out how uncertain each student's growth percentile is.

    Parameters
    ----------
    growth : StudentGrowth
        Of `student_growth`; for the source ``curves`` with the process that was fitted to the panel.
    panel : Panel
    spec : GrowthSpec
        ``intervals`` and ``measurement``. Equal ``intervals.seed``, equal results.
    frozen : FrozenCohort, optional
        The model of a base year that `growth` was placed by.
    n_jobs : int, optional
        Threads for refits; results do not depend on it.

    Returns
    -------
    StudentIntervals or None
        None if the specification names no source of error.

    Raises
    ------
    CohortError
        If schools are to be resampled and there are fewer than two.
    ConvergenceError
        If a refit could not be proven optimal.
    SpecError
        If curves are to be refitted and are those of a base year.
    """
    choice, used = spec.intervals, spec.intervals.used(spec.measurement.csem)
    if not used:
        return None
    csem = panel.score_csem if "measurement" in used else None
    bounds = panel.bounds or (float(panel.score.min()), float(panel.score.max()))
    redraw = Redraw(panel.score, csem, choice.digits, bounds)
    if "curves" in used and frozen is not None:
        raise SpecError(
            problem(
                f"{panel.key}: the curves of {frozen.year} are frozen, and are not refitted",
                rule='intervals.sources = "curves" needs the students that the curves were fitted to',
                fix='intervals.sources = ["measurement"], or freeze norms and cuts only',
            )
        )
    if "curves" in used:
        refits = choice.refits
        ladders = (
            ladder_of(growth, panel, spec, process=process)
            for process in _refitted(growth, panel, spec, n_jobs)
        )
    else:
        refits, ladders = 1, (ladder_of(growth, panel, spec, frozen=frozen) for _ in range(1))
    ends = (0.5 - choice.coverage / 2, 0.5 + choice.coverage / 2)
    if csem is None or choice.method == "exact":
        found = exact_spread(ladders, redraw, ends)
    else:
        found = drawn_spread(ladders, redraw, ends, choice.draws, _seed(panel, spec, "draws").spawn(refits))
    unknown = np.zeros(len(panel), np.bool_) if csem is None else np.isnan(csem)
    return StudentIntervals(
        se=np.where(unknown, np.nan, found.se),
        low=np.where(unknown, np.nan, np.minimum(found.low, growth.sgp)),
        high=np.where(unknown, np.nan, np.maximum(found.high, growth.sgp)),
    )


def replicate_weights(panel: Panel, spec: GrowthSpec) -> Iterator[FloatArray]:
    """Yield unit exponential weights of the students, shape (n,), one array per refit.

    With ``intervals.cluster = "school"`` equal within schools; students without a school are on their own.

    Raises
    ------
    CohortError
        If schools are to be weighted and there are fewer than two.
    """
    n = len(panel)
    groups = np.arange(n) if spec.intervals.cluster == "student" else _schools(panel)
    for seed in _seed(panel, spec, "refits").spawn(spec.intervals.refits):
        yield np.random.default_rng(seed).standard_exponential(int(groups.max()) + 1)[groups]


def _refitted(
    growth: StudentGrowth, panel: Panel, spec: GrowthSpec, n_jobs: int | None
) -> Iterator[QuantileProcess]:
    """Yield the processes of the replicates in their order."""
    if not isinstance(growth, QuantileGrowth):
        raise TypeError(f"{type(growth).__name__} has no curves to refit")
    design = spline_design(panel.priors, growth.bases, panel.covariates)
    score = panel.score if panel.offset is None else panel.score - panel.offset
    refit = joblib.delayed(growth.process.refit)
    workers = joblib.Parallel(n_jobs=n_jobs or 1, backend="threading", return_as="generator")
    yield from workers(refit(design, score, weights) for weights in replicate_weights(panel, spec))


def _schools(panel: Panel) -> IntArray:
    """Return the number of each student's school, shape (n,)."""
    school = np.zeros(len(panel), np.int64) if panel.school is None else panel.school
    labels = np.where(school < 0, -1 - np.arange(len(panel)), school)
    schools, place = np.unique(labels, return_inverse=True)
    if len(schools) < 2:
        raise CohortError(
            problem(
                f"{panel.key}: schools cannot be resampled",
                rule='intervals.cluster = "school" needs students of at least two schools',
                rows=len(panel),
                fix='intervals.cluster = "student", or a larger cohorts.min_cohort',
            )
        )
    return place.astype(np.int64)


def _seed(panel: Panel, spec: GrowthSpec, purpose: str) -> np.random.SeedSequence:
    """Return the seed of a cohort: other cohorts of the run do not matter to it."""
    name = sha256(f"{panel.key}/{purpose}".encode()).digest()
    return np.random.SeedSequence([spec.intervals.seed, int.from_bytes(name[:16], "big")])
