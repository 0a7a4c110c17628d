"""A simulated school system with known truth: students walk through years, grades and schools."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import ndtr

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import SpecError, problem
from growth.panel.simulate.parameters import FLAGS, SEED, SystemParameters
from growth.panel.simulate.people import (
    RACES,
    Arrivals,
    Neighbourhoods,
    build_neighbourhoods,
    deviation_mix,
    draw_arrivals,
    flag_means,
    reclassify,
)
from growth.panel.simulate.scale import ABILITY_RANGE, SUBJECTS, TESTED_GRADES, csem, score_scale
from growth.panel.simulate.schools import (
    SCHOOL_TYPES,
    Schools,
    build_schools,
    draw_effects,
    effects_frame,
    school_type_of,
)

__all__ = ["SimulatedSystem", "simulate_table"]

_GRADE_11_LAG = 3
_FOLLOW_FEEDER = 0.88
_N_DISTRICTS = 3
_KEY = ("student_id", "year", "subject", "grade")
_PLACE = ("school_id", "school_name", "school_type", "district_id")
_TABLE = (*_KEY, "score", "csem", *_PLACE, *FLAGS, "race_ethnicity")
_TRUTH = (*_KEY, "school_id", "true_score", "expected_score", "expected_sd", "percentile")


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedSystem:
    """A student table and the truth behind it."""

    table: pl.DataFrame
    """What a system would hold: one row per student x year x subject; `score` null = not tested."""
    schools: pl.DataFrame
    """True effect of each school x subject x year: persistent + yearly = effect [ability SDs]."""
    students: pl.DataFrame
    """Truth of each row of `table`, in its order: true_score [scale-score points]; expected_score and
    expected_sd, the conditional mean and SD of true_score at an average school given flags and true ability
    in the last tested grade; percentile in (0, 1), where true_score lies in that distribution."""
    parameters: SystemParameters
    seed: int

    def __repr__(self) -> str:
        years = self.schools["year"].unique().sort().to_list()
        tested = self.table.filter((pl.col("year") == years[-1]) & pl.col("score").is_not_null())
        return (
            f"SimulatedSystem(rows={self.table.height:,}, schools={self.schools['school_id'].n_unique():,}, "
            f"growth years={years[0]}-{years[-1]}, seed={self.seed}, "
            f"students tested in {years[-1]}={tested['student_id'].n_unique():,})"
        )


def simulate_table(
    n_tested: int = 50_000,
    n_schools: int = 150,
    *,
    years: int = 3,
    latest_year: int = 2025,
    seed: int = SEED,
    parameters: SystemParameters | None = None,
) -> SimulatedSystem:
    r"""Simulate a city's test records in ELA and MATH, grades 3-8 and 11, with known truth.

    Ability *z* of student *i* in subject *s*, in SDs within a grade, follows

    .. math::
        z_{ist} = \rho z_{is,t-1} + (1-\rho)\,\gamma_s' (f_{it} - \bar f) + \theta_{jst} + \varepsilon_{ist},

    with flags *f*, effect :math:`\theta` of the school *j* attended in year *t* (persistent + yearly) and
    Gaussian :math:`\varepsilon`, correlated across subjects; ``composition_effect`` adds what abler fellow
    students are worth, which is no part of :math:`\theta`. Given last year's true ability and the flags,
    growth at an average school is Gaussian with known mean and SD. From grade 8 to 11 the recursion runs
    three years and the high school's effect enters once. Then true score = middle of the scale + points per
    SD x *z*, and score = round(true score + csem N(0, 1)), held within LOSS and HOSS. The course of csem, all
    effects and all shares are invented.

    Parameters
    ----------
    n_tested : int
        Students with a score in the latest year, approximately.
    n_schools : int
        Schools, about 60 % elementary (grades 3-5), 24 % middle (6-8) and the rest high (11).
    years : int
        Years that get growth results. The table also holds the records their priors need: grades 3 to 8 of
        the year before the first, and grade 8 of three years before each (for grade 11).
    latest_year : int
        The last of them.
    seed : int
        Equal seeds give equal tables.
    parameters : SystemParameters, optional
        Correlations, effects, mobility and missing shares.

    Returns
    -------
    SimulatedSystem

    Raises
    ------
    SpecError
        If a size is not possible.

    Notes
    -----
    Newcomers have no earlier rows, repeaters take the same grade's test again, some rows lack a score and
    some students have no row in a year. Race/ethnicity is correlated with achievement only through
    neighbourhood, poverty and language: it has no effect of its own.
    """
    _check_size(n_tested, n_schools, years)
    parameters = parameters or SystemParameters()
    rng = np.random.default_rng(seed)
    first_growth = latest_year - years + 1
    calendar = np.arange(first_growth - _GRADE_11_LAG, latest_year + 1)

    schools = build_schools(n_schools, min(_N_DISTRICTS, n_schools), parameters.tiny_schools, rng)
    persistent, yearly = draw_effects(schools, calendar, parameters, rng)
    effect = persistent[:, :, None] + yearly
    city = _City(schools, n_tested, calendar, parameters, rng)
    records = []
    for number, year in enumerate(calendar):
        if number:
            city.advance(effect[:, :, number])
        city.admit(int(year))
        records.append(city.test(int(year), only_grade_8=bool(year < first_growth - 1)))

    table, students = _frames(pl.concat(records), schools, city.people, rng)
    truth = effects_frame(schools, calendar, persistent, yearly).filter(pl.col("year") >= first_growth)
    return SimulatedSystem(table, truth, students, parameters, seed)


def _check_size(n_tested: int, n_schools: int, years: int) -> None:
    if n_schools < 3:
        raise SpecError(
            problem(f"n_schools = {n_schools}", rule="at least one elementary, middle and high school")
        )
    if n_tested < 7 * n_schools:
        raise SpecError(problem(f"n_tested = {n_tested}", rule="at least seven students per school"))
    if years < 1:
        raise SpecError(problem(f"years = {years}", rule="at least 1"))


class _City:
    """Places in the system and who sits in them: a leaver's place goes to a newcomer."""

    def __init__(
        self,
        schools: Schools,
        n_tested: int,
        calendar: IntArray,
        parameters: SystemParameters,
        rng: np.random.Generator,
    ) -> None:
        self.schools, self.parameters, self.rng = schools, parameters, rng
        self.areas: Neighbourhoods = build_neighbourhoods(
            schools.advantage[schools.of_kind(0)], parameters, rng
        )
        first = int(calendar[0])
        cohorts = np.arange(first - 5, calendar[-1] + 1)  # by year of grade 3; the oldest are in grade 8
        per_cohort = n_tested / len(TESTED_GRADES) / ((1 - parameters.unlisted) * (1 - parameters.absence))
        self.entry = np.repeat(cohorts, round(per_cohort))
        n = len(self.entry)

        self.area = self._pick_school(np.zeros(n, dtype=np.int64))
        self.grade = np.maximum(3 + first - self.entry, 2)
        self.school = self.area.copy()
        older = self.grade > 5
        self.school[older] = self._next_school(self.school[older], self.grade[older])
        self.person = np.full(n, -1, dtype=np.int64)
        self.people = 0
        self.race = np.zeros(n, dtype=np.int64)
        self.flags = np.zeros((n, len(FLAGS)), dtype=np.bool_)
        self.ability, self.expected, self.variance = (np.full((n, 2), np.nan) for _ in range(3))
        self.centre = np.zeros(2)
        self._arrive(self.entry < first)
        self.centre = flag_means(self.flags[self.entry < first], parameters).mean(axis=0)
        self.ability -= self.centre

    def admit(self, year: int) -> None:
        """Let the new third-graders in."""
        arriving = self.entry == year
        self.grade[arriving] = 3
        self._arrive(arriving)

    def advance(self, effect: FloatArray) -> None:
        """Live a year: leave or repeat, change schools, grow; `effect` has shape (2, J)."""
        p, rng = self.parameters, self.rng
        present = self.person >= 0
        leaves = present & (rng.random(len(present)) < p.turnover)
        chance = 2.0 * p.repeat_rate * ndtr(-np.nan_to_num(self.ability[:, 0]))
        repeats = present & (rng.random(len(present)) < chance)
        self.grade += present & ~repeats
        self._change_schools(present, repeats)
        self._grow(np.flatnonzero(present), repeats, effect)
        self._arrive(leaves)

    def test(self, year: int, *, only_grade_8: bool) -> pl.DataFrame:
        """Return the year's records, one row per student and subject; true ability starts further growth."""
        p, rng = self.parameters, self.rng
        grades = (8,) if only_grade_8 else TESTED_GRADES
        listed = rng.random(len(self.grade)) >= p.unlisted
        rows = np.flatnonzero(np.isin(self.grade, grades) & (self.person >= 0) & listed)
        homeless, disability = (self.flags[rows, FLAGS.index(name)] for name in ("homeless", "disability"))
        present = rng.random(len(rows)) >= p.absence * (1.0 + homeless + 0.5 * disability)
        both = pl.DataFrame(
            {
                "person": self.person[rows],
                "year": np.full(len(rows), year, dtype=np.int32),
                "grade": self.grade[rows].astype(np.int16),
                "school": self.school[rows],
                "race": self.race[rows],
                **{flag: self.flags[rows, column] for column, flag in enumerate(FLAGS)},
            }
        )
        records = pl.concat([both.hstack(self._scores(subject, rows, present)) for subject in range(2)])
        in_tested_grade = np.isin(self.grade, TESTED_GRADES)
        self.expected[in_tested_grade] = self.ability[in_tested_grade]
        self.variance[in_tested_grade] = 0.0
        return records

    def _scores(self, subject: int, rows: IntArray, present: BoolArray) -> pl.DataFrame:
        grade, rng = self.grade[rows], self.rng
        middle, points = scale = score_scale(SUBJECTS[subject], grade)
        true = middle + points * self.ability[rows, subject]
        noisy = np.rint(true + csem(true, scale) * rng.standard_normal(len(rows)))
        half = ABILITY_RANGE * points
        score = np.clip(noisy, middle - half, middle + half)
        tested = pl.Series(present & (rng.random(len(rows)) >= self.parameters.missing_score))
        truth = pl.DataFrame(
            {
                "true_score": true,
                "expected_score": middle + points * self.expected[rows, subject],
                "expected_sd": points * np.sqrt(self.variance[rows, subject]),
            }
        )
        return truth.with_columns(
            pl.lit(subject).alias("subject"),
            score=pl.when(tested).then(pl.Series(score.astype(np.int32))),
            csem=pl.when(tested).then(pl.Series(np.rint(csem(score, scale)).astype(np.int32))),
        )

    def _arrive(self, who: BoolArray) -> None:
        places = np.flatnonzero(who)
        new: Arrivals = draw_arrivals(
            self.areas, self.area[places], self.grade[places], self.parameters, self.rng
        )
        self.race[places], self.flags[places] = new.race, new.flags
        self.ability[places] = new.ability - self.centre
        self.expected[places] = self.variance[places] = np.nan
        self.person[places] = np.arange(self.people, self.people + len(places))
        self.people += len(places)

    def _grow(self, who: IntArray, repeats: BoolArray, effect: FloatArray) -> None:
        p = self.parameters
        self.flags[who] = reclassify(self.flags[who], self.ability[who], self.rng)
        drift = (1 - p.persistence) * (flag_means(self.flags[who], p) - self.centre)
        drift += p.repeat_gain * repeats[who, None]
        tested = np.isin(self.grade[who], TESTED_GRADES)[:, None]
        noise = self.rng.standard_normal((len(who), 2)) @ deviation_mix(p).T * p.innovation_sd
        peers = self._peers(who) if p.composition_effect else 0.0
        self.ability[who] = p.persistence * self.ability[who] + drift + noise + peers * tested
        self.ability[who] += effect[:, self.school[who]].T * tested
        self.expected[who] = p.persistence * self.expected[who] + drift
        self.variance[who] = p.persistence**2 * self.variance[who] + p.innovation_sd**2

    def _peers(self, who: IntArray) -> FloatArray:
        """Return what the abilities of those in the same school add, shape (n, 1) [ability SDs]."""
        school, ability = self.school[who], self.ability[who].mean(axis=1)
        size = np.bincount(school)
        mean = np.bincount(school, weights=ability) / np.maximum(size, 1)
        kind = self.schools.kind[: len(size)]
        typical = np.bincount(kind, weights=mean * size) / np.bincount(kind, weights=size)
        return np.asarray(self.parameters.composition_effect * (mean - typical[kind])[school][:, None])

    def _change_schools(self, present: BoolArray, repeats: BoolArray) -> None:
        leaving = present & ~repeats & np.isin(self.grade, (6, 9))
        self.school[leaving] = self._next_school(self.school[leaving], self.grade[leaving])
        unsettled = 1.0 + 0.5 * self.flags[:, 0] + 2.0 * (self.flags[:, 3] | self.flags[:, 4])
        chance = self.parameters.mobility * unsettled / 1.4
        moves = present & ~leaving & (self.rng.random(len(present)) < chance)
        self.school[moves] = self._pick_school(school_type_of(self.grade[moves]))

    def _next_school(self, school: IntArray, grade: IntArray) -> IntArray:
        onward = self.schools.next_school[school]
        onward = np.where(
            self.schools.kind[onward] < school_type_of(grade), self.schools.next_school[onward], onward
        )
        elsewhere = self.rng.random(len(school)) >= _FOLLOW_FEEDER
        onward[elsewhere] = self._pick_school(school_type_of(grade[elsewhere]))
        return onward

    def _pick_school(self, kind: IntArray) -> IntArray:
        """Draw a school of each wanted kind, larger ones more often."""
        chosen = np.empty(len(kind), dtype=np.int64)
        for level in range(len(SCHOOL_TYPES)):
            members, wanted = self.schools.of_kind(level), np.flatnonzero(kind == level)
            weight = self.schools.size[members] / self.schools.size[members].sum()
            chosen[wanted] = self.rng.choice(members, len(wanted), p=weight)
        return chosen


def _frames(
    records: pl.DataFrame, schools: Schools, people: int, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lay out the records as a table and its truth, both sorted by student, year and subject."""
    ids = pl.Series(rng.choice(10**10, people, replace=False)).cast(pl.String).str.zfill(10)
    records = records.with_columns(student_id=ids.gather(records["person"]))
    records = records.sort("student_id", "year", "subject")
    school = records["school"]
    distance = (records["true_score"] - records["expected_score"]) / records["expected_sd"]
    records = records.with_columns(
        subject=pl.Series(SUBJECTS).gather(records["subject"]),
        school_id=schools.school_id.gather(school),
        school_name=schools.name.gather(school),
        school_type=pl.Series(SCHOOL_TYPES).gather(schools.kind[school.to_numpy()]),
        district_id=schools.district_id.gather(school),
        race_ethnicity=pl.Series(RACES).gather(records["race"]),
        percentile=pl.Series(ndtr(distance.to_numpy())),
    )
    return records.select(_TABLE), records.select(_TRUTH).with_columns(
        pl.col("expected_score", "expected_sd", "percentile").fill_nan(None)
    )
