"""Invented profiles of schools for tests of pairs and communities."""

from __future__ import annotations

import numpy as np
import polars as pl

from growth.spec import GrowthSpec

SPANS = ("4-5", "6-8", "11-11")


def pairing_spec(**changes: object) -> GrowthSpec:
    """Return the default specification; ``capacity=2`` changes ``pairing.capacity``."""
    return GrowthSpec().replace({f"pairing.{key}": value for key, value in changes.items()})


def invented(schools: int, *, seed: int = 1, spans: tuple[str, ...] = ("4-5",)) -> pl.DataFrame:
    """Return profiles: effects unrelated to intake, levels by rank of the effect."""
    rng = np.random.default_rng(seed)
    advantage = rng.standard_normal(schools)
    noise = rng.standard_normal((schools, 3))
    effect = 50.0 + 4.0 * rng.standard_normal(schools)
    rank = (np.argsort(np.argsort(effect)) + 0.5) / schools
    n = np.exp(rng.normal(5.3, 0.5, schools)).astype(np.int64) + 40
    shares = 1.0 / (1.0 + np.exp(advantage[:, None] * [1.0, 0.6, 0.2] - [0.2, -1.5, -2.0] + 0.4 * noise))
    return pl.DataFrame(
        {
            "school_id": [f"{i:04d}" for i in range(schools)],
            "grade_span": [spans[i % len(spans)] for i in range(schools)],
            "n": n,
            "log_n": np.log(n),
            "mean_prior": 0.4 * advantage + 0.1 * rng.standard_normal(schools),
            "share_SED": shares[:, 0],
            "share_EL": shares[:, 1],
            "share_SWD": shares[:, 2],
            "effect": effect,
            "effect_se": 12.0 / np.sqrt(n),
            "growth_percentile": 100.0 * rank,
            "level": np.floor(10.0 * rank) + 1.0,
            "reason": pl.Series([None] * schools, dtype=pl.String),
        }
    )


def needs_table(levels: dict[str, dict[str, int]]) -> pl.DataFrame:
    """Return a table of needs from school -> area -> level."""
    rows = [(school, area, level) for school, found in levels.items() for area, level in found.items()]
    return pl.DataFrame(rows, schema=["school_id", "need", "level"], orient="row")
