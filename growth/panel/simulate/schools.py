"""Invented schools: names, sizes, feeder patterns, neighbourhoods, and true effects on growth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.panel.simulate.parameters import SystemParameters
from growth.panel.simulate.scale import SUBJECTS

__all__ = ["SCHOOL_TYPES", "Schools", "build_schools", "draw_effects", "school_type_of"]

SCHOOL_TYPES = ("Elementary", "Middle", "High")
_TYPE_SHARES = (0.60, 0.24)
_SIZE_SPREAD = 0.40
_TINY = 0.10

# fmt: off
_FIRST = (
    "Amber", "Azure", "Bramble", "Cedar", "Cinder", "Clover", "Cobalt", "Copper", "Coral", "Crimson",
    "Dapple", "Ember", "Fern", "Foxglove", "Golden", "Harbor", "Indigo", "Ivory", "Juniper", "Larkspur",
    "Lilac", "Maple", "Marble", "Meadow", "Mossy", "Nutmeg", "Opal", "Paper", "Pebble", "Quill",
)
_SECOND = (
    "Acorn", "Badger", "Beacon", "Bell", "Comet", "Compass", "Cricket", "Dragonfly", "Falcon", "Heron",
    "Kettle", "Kite", "Lantern", "Lark", "Marmot", "Meridian", "Otter", "Owl", "Penny", "Petrel",
    "Plover", "Puffin", "Rocket", "Sparrow", "Starling", "Sundial", "Teapot", "Thistle", "Wren", "Zephyr",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Schools:
    """J schools: elementary ones first, then middle, then high."""

    school_id: pl.Series
    name: pl.Series
    district_id: pl.Series
    kind: IntArray  # shape (J,), 0 elementary, 1 middle, 2 high
    next_school: IntArray  # shape (J,), where most leavers go; -1 after high school
    advantage: FloatArray  # shape (J,), neighbourhood advantage, of elementary schools about N(0, 1)
    size: FloatArray  # shape (J,), relative enrolment

    def of_kind(self, kind: int) -> IntArray:
        """Return the numbers of the schools of one kind."""
        return np.flatnonzero(self.kind == kind)


def school_type_of(grade: IntArray) -> IntArray:
    """Return 0, 1 or 2 for grades to 5, 6 to 8 and from 9, shape (n,)."""
    return (grade > 5).astype(np.int64) + (grade > 8)


def build_schools(n_schools: int, n_districts: int, tiny: float, rng: np.random.Generator) -> Schools:
    """Draw schools nested in attendance areas: elementary in middle, middle in high, high in districts."""
    n_elementary, n_middle = (max(1, round(share * n_schools)) for share in _TYPE_SHARES)
    n_high = max(1, n_schools - n_elementary - n_middle)
    n_elementary = n_schools - n_middle - n_high
    kind = np.repeat(np.arange(3), [n_elementary, n_middle, n_high])

    middle_of = np.arange(n_elementary) * n_middle // n_elementary
    high_of = np.arange(n_middle) * n_high // n_middle
    next_school = np.concatenate(
        [n_elementary + middle_of, n_elementary + n_middle + high_of, np.full(n_high, -1)]
    ).astype(np.int64)
    district = np.arange(n_high) * n_districts // n_high
    district = np.concatenate([district[high_of[middle_of]], district[high_of], district])

    high = 0.60 * rng.standard_normal(n_high)
    middle = high[high_of] + 0.50 * rng.standard_normal(n_middle)
    elementary = middle[middle_of] + 0.62 * rng.standard_normal(n_elementary)

    size = np.exp(_SIZE_SPREAD * rng.standard_normal(n_schools))
    size[: int(tiny * n_elementary)] = _TINY
    return Schools(
        school_id=_codes(rng, n_schools, 7),
        name=_names(rng, kind),
        district_id=pl.Series("district_id", [f"{d + 1:02d}" for d in district]),
        kind=kind,
        next_school=next_school,
        advantage=np.concatenate([elementary, middle, high]),
        size=size,
    )


def draw_effects(
    schools: Schools, years: IntArray, parameters: SystemParameters, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draw true effects on one year's growth, centred within school type, subject and year.

    Centred because a cohort's own fit takes up whatever all its schools have in common. With sorting the
    lasting part goes with the school's advantage within its type.

    Returns
    -------
    persistent : FloatArray, shape (2, J)
        Lasting part per subject [ability SDs].
    yearly : FloatArray, shape (2, J, len(years))
        Part of each year [ability SDs].
    """
    n_schools = len(schools.kind)
    mix = _correlated(parameters.effect_correlation)
    persistent = mix @ rng.standard_normal((2, n_schools)) * parameters.school_persistent_sd
    raw = rng.standard_normal((2, n_schools * len(years)))
    yearly = (mix @ raw).reshape(2, n_schools, len(years)) * parameters.school_yearly_sd
    for kind in range(3):
        members = schools.of_kind(kind)
        if parameters.sorting:
            advantage = schools.advantage[members] - schools.advantage[members].mean()
            persistent[:, members] *= (1.0 - parameters.sorting**2) ** 0.5
            spread = float(advantage.std()) or 1.0
            persistent[:, members] += (
                parameters.sorting * parameters.school_persistent_sd * advantage / spread
            )
        persistent[:, members] -= persistent[:, members].mean(axis=1, keepdims=True)
        yearly[:, members] -= yearly[:, members].mean(axis=1, keepdims=True)
    return persistent, yearly


def effects_frame(
    schools: Schools, years: IntArray, persistent: FloatArray, yearly: FloatArray
) -> pl.DataFrame:
    """Lay out the true effects, one row per school x subject x year."""
    n_schools, n_years = len(schools.kind), len(years)
    school = np.tile(np.repeat(np.arange(n_schools), n_years), 2)
    lasting = np.repeat(persistent.reshape(-1), n_years)
    return pl.DataFrame(
        {
            "school_id": schools.school_id.gather(school),
            "school_name": schools.name.gather(school),
            "school_type": pl.Series(SCHOOL_TYPES).gather(schools.kind[school]),
            "district_id": schools.district_id.gather(school),
            "subject": pl.Series(SUBJECTS).gather(np.repeat([0, 1], n_schools * n_years)),
            "year": np.tile(years, 2 * n_schools).astype(np.int32),
            "persistent": lasting,
            "yearly": yearly.reshape(-1),
            "effect": lasting + yearly.reshape(-1),
        }
    )


def _correlated(correlation: float) -> FloatArray:
    return np.linalg.cholesky(np.array([[1.0, correlation], [correlation, 1.0]]))


def _codes(rng: np.random.Generator, count: int, digits: int) -> pl.Series:
    numbers = rng.choice(10**digits, count, replace=False)
    return pl.Series("school_id", numbers).cast(pl.String).str.zfill(digits)


def _names(rng: np.random.Generator, kind: IntArray) -> pl.Series:
    stock = len(_FIRST) * len(_SECOND)
    order = rng.permutation(stock)
    names = []
    for school, level in enumerate(kind):
        first, second = divmod(int(order[school % stock]), len(_SECOND))
        again = f" {school // stock + 1}" if school >= stock else ""
        names.append(f"{_FIRST[first]} {_SECOND[second]}{again} {SCHOOL_TYPES[level]}")
    return pl.Series("school_name", names)
