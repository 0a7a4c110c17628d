"""Student growth: each student's place among academically and demographically similar students."""

from growth.student.composition import Composed, compose, offsets_without
from growth.student.design import spline_terms
from growth.student.engines.linear import LinearGrowth
from growth.student.engines.normal import NormalGrowth
from growth.student.engines.quantile import QuantileGrowth, placed_again
from growth.student.frozen import CohortKey, FrozenCohort, FrozenCurves
from growth.student.growth import frozen_cohort, percentile_cuts, student_growth
from growth.student.held_out import fitted_curves, held_out_curves
from growth.student.intervals import StudentIntervals, student_intervals
from growth.student.paths import Step, Traveller, growth_paths, path_at, require_projectable
from growth.student.result import StudentGrowth
from growth.student.words import growth_sentence, interval_sentence

__all__ = [
    "CohortKey",
    "Composed",
    "FrozenCohort",
    "FrozenCurves",
    "LinearGrowth",
    "NormalGrowth",
    "QuantileGrowth",
    "Step",
    "StudentGrowth",
    "StudentIntervals",
    "Traveller",
    "compose",
    "fitted_curves",
    "frozen_cohort",
    "growth_paths",
    "growth_sentence",
    "held_out_curves",
    "interval_sentence",
    "offsets_without",
    "path_at",
    "percentile_cuts",
    "placed_again",
    "require_projectable",
    "spline_terms",
    "student_growth",
    "student_intervals",
]
