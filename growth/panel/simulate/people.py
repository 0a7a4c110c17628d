"""Invented students: race/ethnicity and flags by neighbourhood, and the ability they arrive with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

from growth._types import BoolArray, FloatArray, IntArray
from growth.panel.simulate.parameters import FLAGS, SystemParameters

__all__ = [
    "RACES",
    "Arrivals",
    "Neighbourhoods",
    "build_neighbourhoods",
    "draw_arrivals",
    "flag_means",
    "reclassify",
]

RACES = (
    "Hispanic or Latino",
    "White",
    "Asian",
    "Black or African American",
    "Two or More Races",
    "Filipino",
    "Pacific Islander",
    "American Indian or Alaska Native",
)
_SHARE = np.array([0.47, 0.21, 0.11, 0.11, 0.05, 0.03, 0.01, 0.01])
_ADVANTAGE_TILT = np.array([-0.5, 0.6, 0.4, -0.4, 0.4, 0.1, -0.2, -0.2])  # log odds per SD of advantage
_TILT_SPREAD = 0.6  # further log odds by which neighbourhoods differ: segregation beyond advantage
_POVERTY = np.array([0.6, -0.9, -0.5, 0.6, -0.4, -0.4, 0.5, 0.6])  # log odds of economic disadvantage
_ENGLISH_LEARNER = np.array([0.38, 0.05, 0.30, 0.04, 0.06, 0.15, 0.10, 0.03])  # on reaching grade 3
_STILL_LEARNER = 0.84  # share of English learners not reclassified in a year
_EL, _POOR = FLAGS.index("english_learner"), FLAGS.index("econ_disadvantaged")


@dataclass(frozen=True, slots=True)
class Neighbourhoods:
    """What the surroundings of each elementary school send to it; A areas."""

    advantage: FloatArray  # shape (A,)
    race_cumulative: FloatArray  # shape (A, number of races), rows end in 1
    intake: FloatArray  # shape (A,), mean ability beyond what the flags explain [ability SDs]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """n students as they enter the system."""

    race: IntArray  # shape (n,), index into RACES
    flags: BoolArray  # shape (n, 5), columns in the order of FLAGS
    ability: FloatArray  # shape (n, 2), ELA and MATH [ability SDs]


def build_neighbourhoods(
    advantage: FloatArray, parameters: SystemParameters, rng: np.random.Generator
) -> Neighbourhoods:
    """Draw the composition and the intake of each area from its advantage, shape (A,)."""
    tilt = _ADVANTAGE_TILT * advantage[:, None] + _TILT_SPREAD * rng.standard_normal(
        (len(advantage), len(RACES))
    )
    weight = _SHARE * np.exp(tilt)
    cumulative = np.cumsum(weight / weight.sum(axis=1, keepdims=True), axis=1)
    cumulative[:, -1] = 1.0
    intake = parameters.intake_sd * (0.8 * advantage + 0.6 * rng.standard_normal(len(advantage)))
    return Neighbourhoods(advantage, cumulative, intake - intake.mean())


def draw_arrivals(
    areas: Neighbourhoods,
    area: IntArray,
    grade: IntArray,
    parameters: SystemParameters,
    rng: np.random.Generator,
) -> Arrivals:
    """Draw students of given areas and grades, each shape (n,).

    Race enters through area, poverty and language only; ability has no race term of its own.
    """
    n = len(area)
    race = (areas.race_cumulative[area] < rng.random((n, 1))).sum(axis=1)
    flags = _draw_flags(race, areas.advantage[area], grade, rng)
    deviation = rng.standard_normal((n, 2)) @ deviation_mix(parameters).T * parameters.deviation_sd
    ability = flag_means(flags, parameters) + areas.intake[area][:, None] + deviation
    return Arrivals(race.astype(np.int64), flags, ability)


def flag_means(flags: BoolArray, parameters: SystemParameters) -> FloatArray:
    """Return each student's long-run mean ability, shape (n, 2), before centring [ability SDs]."""
    gaps: FloatArray = np.array(parameters.flag_gaps, dtype=np.float64)
    return np.asarray(flags @ gaps.T, dtype=np.float64)


def deviation_mix(parameters: SystemParameters) -> FloatArray:
    """Return the lower factor, shape (2, 2), that gives two subjects their correlation."""
    rho = parameters.subject_correlation
    return np.linalg.cholesky(np.array([[1.0, rho], [rho, 1.0]]))


def reclassify(flags: BoolArray, ability: FloatArray, rng: np.random.Generator) -> BoolArray:
    """Return flags after a year in which the abler English learners become proficient."""
    leaves = rng.random(len(flags)) < 0.6 * ndtr(ability[:, 0] + 0.3)
    after = flags.copy()
    after[:, _EL] &= ~leaves
    return after


def _draw_flags(
    race: IntArray, advantage: FloatArray, grade: IntArray, rng: np.random.Generator
) -> BoolArray:
    n = len(race)
    draw = rng.random((n, len(FLAGS)))
    poor = draw[:, _POOR] < expit(0.55 - 1.2 * advantage + _POVERTY[race])
    odds = np.log(_ENGLISH_LEARNER / (1 - _ENGLISH_LEARNER))[race] + np.where(poor, 0.4, -0.5)
    learner = draw[:, _EL] < expit(odds) * _STILL_LEARNER ** np.maximum(grade - 3, 0)
    chance = np.where(poor[:, None], [0.14, 0.07, 0.016], [0.10, 0.004, 0.003])
    return np.column_stack([poor, learner, draw[:, 2:] < chance])
