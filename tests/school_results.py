"""Students frames for tests of the school and index rooms."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtr

from growth._types import FloatArray, IntArray
from growth.spec import GrowthSpec

PLAIN: dict[str, Any] = {"groups.flags": {}, "groups.race": "", "school.min_n": 1, "school.shrinkage": "none"}


def plain_spec(**changes: object) -> GrowthSpec:
    """Return a spec without groups, minimum and shrinkage; ``school__min_n=5`` changes ``school.min_n``."""
    return GrowthSpec().replace(PLAIN | {key.replace("__", "."): value for key, value in changes.items()})


def results(
    percentile: FloatArray | list[float],
    school: IntArray | list[Any],
    *,
    subject: str = "MATH",
    year: int = 2025,
    **columns: object,
) -> pl.DataFrame:
    """Return scored rows, one per student; further columns are added as they are."""
    values = np.asarray(percentile, dtype=np.float64)
    n = len(values)
    return pl.DataFrame(
        {
            "student_id": [f"{i:07d}" for i in range(n)],
            "year": np.full(n, year, dtype=np.int32),
            "subject": [subject] * n,
            "school_id": [None if s is None else str(s).zfill(4) for s in school],
            "status": ["scored"] * n,
            "percentile": values,
            "sgp": np.clip(np.floor(100 * values), 1, 99).astype(np.int16),
            "highest": np.ones(n, dtype=np.bool_),
            **columns,
        }
    )


def system(
    schools: int = 60,
    students: int = 3_000,
    *,
    effect_sd: float = 0.25,
    shift: float = 0.0,
    seed: int = 1,
    subject: str = "MATH",
    year: int = 2025,
) -> pl.DataFrame:
    """Return results of schools with normal effects; `shift` [SDs] moves every student against the norm.

    The same seed means the same schools and students.
    """
    rng = np.random.default_rng(seed)
    effect = effect_sd * rng.standard_normal(schools)
    school = rng.integers(schools, size=students)
    z = rng.standard_normal(students) + effect[school] + shift
    return results(
        ndtr(z / np.hypot(1.0, effect_sd)),
        school,
        subject=subject,
        year=year,
        english_learner=rng.random(students) < 0.3,
        disability=rng.random(students) < 0.15,
        econ_disadvantaged=rng.random(students) < 0.6,
        race_ethnicity=rng.choice(["A", "B", "H", "W"], size=students, p=[0.1, 0.2, 0.45, 0.25]),
    )
