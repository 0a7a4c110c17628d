"""Other records of a simulated system: attendance, discipline, marks, redesignation, graduation, surveys.

Every probability is known. A student's chance of an outcome is that of the system, moved by the school
(normal on the log-odds scale, its own draw for each outcome) and by economic disadvantage. All numbers are
invented.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import expit, logit

from growth._types import BoolArray, FloatArray, IntArray
from growth.aggregate import by_group
from growth.panel.simulate.parameters import FLAGS
from growth.panel.simulate.system import SimulatedSystem

__all__ = ["RATES", "SimulatedRecords", "simulate_records"]

RATES = {
    "chronic_absence": 0.15,
    "suspension": 0.05,
    "redesignation": 0.16,
    "graduation": 0.85,
    "climate": 0.65,
    "social_emotional": 0.70,
}
"""Probability of each outcome in an average school, for a student without economic disadvantage."""

_SCHOOL_SD = 0.35
_POVERTY = {"chronic_absence": 0.5, "suspension": 0.6, "redesignation": -0.1, "graduation": -0.5}
"""Log odds of economic disadvantage."""
_DAYS = 180
_CHRONIC = 162
"""90 % of the days."""
_FIRST_YEARS = 3
_LATER = 0.3
"""Chance of graduating in the fifth year, and in the sixth, of those who have not."""
_LEFT = 0.04
_ITEMS = 8
_UNANSWERED = 0.03
_MARKS = ("F", "D", "C", "B", "A")
_TRAITS = (*FLAGS, "race_ethnicity")


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedRecords:
    """Records in the layouts that the metrics of the index are computed from, and the truth behind them."""

    students: pl.DataFrame
    """One row per student, year and school: days_enrolled, days_attended, suspensions, expulsions, gpa,
    ela_mark, math_mark, english_learner_start, redesignated, grade and the columns of groups."""
    graduation: pl.DataFrame
    """One row per student of the last three graduating cohorts: cohort_year, graduated_year, left_cohort."""
    climate: pl.DataFrame
    """One row per student and item: respondent_id, item, response (1-5)."""
    social_emotional: pl.DataFrame
    truth: pl.DataFrame
    """metric, year, school_id, n, rate: mean probability of the outcome over the students concerned (0-1).
    For surveys that of a favourable answer, for graduation that of the four-year cohort of the latest
    year."""

    def __repr__(self) -> str:
        return f"SimulatedRecords({self.students.height:,} students x years)"


def simulate_records(system: SimulatedSystem, *, seed: int = 1) -> SimulatedRecords:
    """Simulate records of the students of a system, in its growth years.

    Parameters
    ----------
    system : SimulatedSystem
    seed : int
        Equal seeds give equal records.
    """
    rng = np.random.default_rng([system.seed, seed])
    years = system.schools["year"].unique()
    keys = ["student_id", "year", "school_id", "grade"]
    people = system.table.filter(pl.col("year").is_in(years.implode()))
    people = people.select([*keys, *_TRAITS]).unique(keys, keep="first", maintain_order=True)
    odds = _SchoolOdds(people["school_id"].unique().sort(), rng)
    frames, truth = _students(people, odds, rng)
    graduation, expected = _graduation(people, int(years.max()), odds, rng)  # type: ignore[arg-type]
    surveys = [_survey(people, metric, odds, rng) for metric in ("climate", "social_emotional")]
    truth = [*truth, expected, *(one for _, one in surveys)]
    return SimulatedRecords(frames, graduation, surveys[0][0], surveys[1][0], pl.concat(truth))


class _SchoolOdds:
    """What each school adds to the log odds of each outcome."""

    def __init__(self, schools: pl.Series, rng: np.random.Generator) -> None:
        self.place = {school: at for at, school in enumerate(schools)}
        self.effect = {metric: _SCHOOL_SD * rng.standard_normal(len(schools)) for metric in RATES}

    def probability(self, metric: str, people: pl.DataFrame) -> FloatArray:
        """Return each student's probability of the outcome, shape (n,)."""
        school = np.array([self.place[school] for school in people["school_id"]], dtype=np.int64)
        poor = people["econ_disadvantaged"].to_numpy()
        odds = logit(RATES[metric]) + self.effect[metric][school] + _POVERTY.get(metric, 0.0) * poor
        return np.asarray(expit(odds))


def _truth(people: pl.DataFrame, metric: str, probability: FloatArray) -> pl.DataFrame:
    rows = people.select("year", "school_id", pl.Series("rate", probability))
    means = by_group(rows, ["year", "school_id"], pl.len().alias("n"), pl.col("rate").mean())
    return means.sort("year", "school_id").select(pl.lit(metric).alias("metric"), pl.all())


def _students(
    people: pl.DataFrame, odds: _SchoolOdds, rng: np.random.Generator
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    n = people.height
    chance = {
        name: odds.probability(name, people) for name in ("chronic_absence", "suspension", "redesignation")
    }
    happens: dict[str, BoolArray] = {name: rng.random(n) < p for name, p in chance.items()}
    absent = happens["chronic_absence"]
    attended = np.where(absent, rng.integers(110, _CHRONIC + 1, n), rng.integers(_CHRONIC + 1, _DAYS + 1, n))
    suspensions = np.where(happens["suspension"], 1 + rng.poisson(0.5, n), 0)
    expulsions = (suspensions > 2) & (rng.random(n) < 0.05)
    gpa = np.clip(3.0 + 0.8 * rng.standard_normal(n) - 0.5 * absent, 0.0, 4.0).round(2)
    learner = people["english_learner"].to_numpy()
    frame = people.with_columns(
        pl.lit(_DAYS).alias("days_enrolled"),
        pl.Series("days_attended", attended),
        pl.Series("suspensions", suspensions),
        pl.Series("expulsions", expulsions.astype(np.int64)),
        pl.Series("gpa", gpa),
        pl.Series("ela_mark", _mark(gpa, rng)),
        pl.Series("math_mark", _mark(gpa, rng)),
        pl.Series("english_learner_start", learner),
        pl.Series("redesignated", learner & happens["redesignation"]),
    )
    concerned = {"redesignation": learner}
    truth = [
        _truth(people.filter(pl.Series(who)), name, chance[name][who])
        for name, who in ((name, concerned.get(name, np.ones(n, dtype=np.bool_))) for name in chance)
    ]
    return frame, truth


def _mark(gpa: FloatArray, rng: np.random.Generator) -> list[str]:
    steps: IntArray = np.clip(np.rint(gpa + 0.5 * rng.standard_normal(len(gpa))), 0, 4).astype(np.int64)
    return [_MARKS[step] for step in steps]


def _graduation(
    people: pl.DataFrame, latest: int, odds: _SchoolOdds, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Invent three cohorts with the traits of this year's eleventh-graders."""
    eleventh = people.filter((pl.col("grade") == 11) & (pl.col("year") == latest))
    cohorts = []
    for ago in range(_FIRST_YEARS):
        probability = odds.probability("graduation", eleventh)
        four = rng.random(eleventh.height) < probability
        later = np.where(
            rng.random(eleventh.height) < _LATER, 1, np.where(rng.random(eleventh.height) < _LATER, 2, 9)
        )
        taken = np.where(four, 0, later)
        year = latest - ago + taken
        cohorts.append(
            eleventh.select("school_id", *_TRAITS).with_columns(
                (pl.lit(f"{ago}-") + eleventh["student_id"]).alias("student_id"),
                pl.lit(latest - ago).alias("cohort_year"),
                pl.Series("graduated_year", np.where(year <= latest, year, 0)).replace(0, None),
                pl.Series("left_cohort", rng.random(eleventh.height) < _LEFT),
            )
        )
    return pl.concat(cohorts), _truth(eleventh, "graduation", odds.probability("graduation", eleventh))


def _survey(
    people: pl.DataFrame, metric: str, odds: _SchoolOdds, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    probability = odds.probability(metric, people)
    favourable = rng.random((people.height, _ITEMS)) < probability[:, None]
    response = np.where(
        favourable, rng.integers(4, 6, favourable.shape), rng.integers(1, 4, favourable.shape)
    )
    answered = rng.random(favourable.shape) >= _UNANSWERED
    row = np.repeat(np.arange(people.height), _ITEMS)
    frame = people.select(pl.col("student_id").alias("respondent_id"), "year", "school_id", *_TRAITS)[row]
    frame = frame.with_columns(
        pl.Series("item", np.tile([f"q{item + 1}" for item in range(_ITEMS)], people.height)),
        pl.Series("response", np.where(answered, response, 0).reshape(-1)).replace(0, None),
    )
    return frame, _truth(people, metric, probability)
