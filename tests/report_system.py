"""A made-up run for the tests of the report: 150 schools, hostile names, groups of all sizes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from growth.index import with_last_year
from growth.school import Ledger, fairness_ledger, school_history
from growth.spec import GrowthSpec

CANARY = "CANARY7"
"""Every student id starts with it; it must never reach a page."""
HOSTILE = (
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "</script><img src=x onerror=alert(2)>",
    "<!-- Ångström & “Søn” Élementary",
    "{{ 7 * 7 }} ${7 * 7}",
)
DISTRICTS = ("North Bay", "=HYPERLINK(1)", "<b>South</b> Bay")
RACES = ("Asian", "Black", "Hispanic", "White", "Two or more races")
_PREFIXES = ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Hazel", "Juniper", "Laurel", "Maple", "Oak")
_SUFFIXES = ("Elementary", "Middle School", "Academy", "K-8 School")
_FLAGS = {"EL": ("english_learner", 0.18), "SWD": ("disability", 0.12), "SED": ("econ_disadvantaged", 0.55)}


@dataclass(frozen=True)
class MadeRun:
    """What the report asks of a `GrowthRun`."""

    spec: GrowthSpec
    frames: dict[str, pl.DataFrame]
    manifest: dict[str, Any] = field(default_factory=dict)

    def polars(self, name: str) -> pl.DataFrame:
        return self.frames[name]


def made_run(
    n_schools: int = 150, years: tuple[int, ...] = (2025,), seed: int = 3, spec: GrowthSpec | None = None
) -> MadeRun:
    """Return a run whose numbers hang together as those of a real one do."""
    spec = spec or GrowthSpec.preset("core")
    students = _students(n_schools, years, np.random.default_rng(seed))
    schools = _schools(students, spec, np.random.default_rng(seed + 1))
    levels = _levels(schools)
    frames = {"students": students, "schools": schools, "levels": levels}
    if len(years) > 1:
        frames["history"] = school_history(schools, spec)
    frames |= {"counts": _counts(students), "cells": _cells(students)}
    ledger = _ledger(students, spec)
    frames |= {"fairness": ledger.groups, "neutrality": ledger.neutrality}
    return MadeRun(spec, frames, {"versions": {"growth": "0.1.0"}})


def _students(n_schools: int, years: tuple[int, ...], rng: np.random.Generator) -> pl.DataFrame:
    size = np.concatenate([[0, 6, 15, 19, 20], rng.integers(24, 260, n_schools - 5)])
    names = [f"{_PREFIXES[i % 11]} {_SUFFIXES[i % 4]} {i}" for i in range(n_schools)]
    names[5 : 5 + len(HOSTILE)] = HOSTILE
    intake = rng.normal(0, 0.6, n_schools)
    school = np.repeat(np.arange(n_schools), size)
    n = len(school)
    person = {
        "student_id": [f"{CANARY}-{i:06d}" for i in range(n)],
        "school_id": [f"S{i:04d}" for i in school],
        "school_name": [names[i] for i in school],
        "district_id": [DISTRICTS[i % len(DISTRICTS)] for i in school],
        "grade": (3 + rng.integers(0, 6, n)).astype(np.int16),
        "race_ethnicity": rng.choice(RACES, n, p=(0.06, 0.14, 0.46, 0.26, 0.08)),
    }
    flags = {column: rng.random(n) < share for column, share in _FLAGS.values()}
    parts = []
    for year in years:
        for subject in ("ELA", "MATH"):
            effect = rng.normal(0, 0.22, n_schools)
            expected = 2400 + 30 * person["grade"] + 70 * (intake[school] + rng.normal(0, 1, n))
            z = effect[school] + 0.05 * intake[school] + rng.normal(0, 0.97, n)
            percentile = np.clip(_normal_cdf(z), 0.001, 0.999)
            parts.append(_block(person, flags, year, subject, expected, z, percentile))
    return pl.concat(parts)


def _block(
    person: dict[str, Any],
    flags: dict[str, Any],
    year: int,
    subject: str,
    expected: np.ndarray,
    z: np.ndarray,
    percentile: np.ndarray,
) -> pl.DataFrame:
    grades = [str(grade) for grade in person["grade"]]
    frame = pl.DataFrame(
        {
            **person,
            **flags,
            "year": np.full(len(z), year, dtype=np.int32),
            "subject": [subject] * len(z),
            "score": np.round(expected + 40 * z),
            "status": ["scored"] * len(z),
            "cohort": [f"{subject}_{year}_G{grade}_own1_other1" for grade in grades],
            "n_priors": np.full(len(z), 2, dtype=np.int16),
            "sgp": np.clip(np.ceil(100 * percentile), 1, 99).astype(np.int16),
            "percentile": percentile,
            "expected_score": expected,
            "prior_score": expected,
            "highest": [True] * len(z),
        }
    )
    lost = pl.int_range(pl.len()) % 37 == 0
    return frame.with_columns(
        pl.when(lost).then(pl.lit("no_prior_score")).otherwise(pl.col("status")).alias("status"),
        *(
            pl.when(~lost).then(pl.col(name)).alias(name)
            for name in ("sgp", "percentile", "expected_score", "cohort")
        ),
        (~lost).alias("highest"),
    )


def _schools(students: pl.DataFrame, spec: GrowthSpec, rng: np.random.Generator) -> pl.DataFrame:
    scored = students.filter(pl.col("status") == "scored")
    parts = [scored.with_columns(pl.lit("All").alias("group"))]
    for label, column in spec.groups.flags.items():
        parts.append(scored.filter(pl.col(column)).with_columns(pl.lit(label).alias("group")))
    if spec.groups.race:
        parts.append(scored.with_columns(pl.concat_str(pl.lit("race:"), spec.groups.race).alias("group")))
    means = (
        pl.concat(parts)
        .group_by("year", "subject", "group", "school_id")
        .agg(
            pl.len().cast(pl.Int64).alias("n"),
            (100 * pl.col("percentile").mean()).alias("mean_percentile"),
            (100 * pl.col("percentile").median()).alias("median_percentile"),
        )
        .sort("year", "subject", "group", "school_id")
    )
    if spec.groups.lowest_race:
        races = means.filter(pl.col("group").str.starts_with("race:") & (pl.col("n") >= spec.groups.min_n))
        lowest = (
            races.sort("mean_percentile")
            .group_by("year", "subject", "school_id", maintain_order=True)
            .first()
        )
        detail = pl.col("group").str.strip_prefix("race:").alias("group_detail")
        means = pl.concat(
            [means, lowest.with_columns(detail, pl.lit("race:lowest").alias("group"))], how="diagonal"
        )
    else:
        means = means.with_columns(pl.lit(None, dtype=pl.String).alias("group_detail"))
    minimum = pl.when(pl.col("group") == "All").then(spec.school.min_n).otherwise(spec.groups.min_n)
    few = pl.col("n") < minimum
    means = means.with_columns(pl.when(few).then(pl.lit("n_below_minimum")).alias("reason"))
    ranked = [_ranked(block, rng) for block in means.partition_by("year", "subject", maintain_order=True)]
    results = pl.concat(ranked)
    hidden = [
        c
        for c in results.columns
        if c not in ("year", "subject", "group", "group_detail", "school_id", "n", "reason")
    ]
    return results.with_columns(
        *(pl.when(pl.col("reason").is_null()).then(pl.col(c)).alias(c) for c in hidden)
    )


def _ranked(block: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    mean, se = block["mean_percentile"].to_numpy(), 28 / np.sqrt(block["n"].to_numpy())
    keep = 40 / (40 + se**2)
    shrunk, shrunk_se = 50 + keep * (mean - 50), np.sqrt(keep) * se
    shown = ((block["group"] == "All") & block["reason"].is_null()).to_numpy()
    ranks = np.sort(shrunk[shown])
    place = _place(ranks, shrunk)
    draws = _place(ranks, shrunk[:, None] + shrunk_se[:, None] * rng.normal(size=(len(mean), 400)))
    low, high = np.quantile(draws, [0.025, 0.975], axis=1)
    return block.with_columns(
        pl.Series("mean_se", se),
        pl.Series("effect", mean),
        pl.Series("effect_se", se),
        pl.Series("shrunk", shrunk),
        pl.Series("shrunk_se", shrunk_se),
        pl.Series("growth_percentile", place),
        pl.Series("growth_percentile_low", np.minimum(low, place)),
        pl.Series("growth_percentile_high", np.maximum(high, place)),
        *(
            pl.Series(f"p_level_{level}", ((draws // 10).clip(0, 9) == level - 1).mean(axis=1))
            for level in range(1, 11)
        ),
        pl.Series("p_bottom_5", (draws < 5).mean(axis=1)),
    )


def _levels(schools: pl.DataFrame) -> pl.DataFrame:
    gp = pl.col("growth_percentile")
    level = (gp / 10).floor().clip(0, 9).add(1).cast(pl.Int8)
    points = {k: pl.when(level + k <= 10).then(10.0 * (level + k - 1) - gp) for k in (1, 2, 3)}
    levels = schools.select(
        "year",
        "subject",
        "group",
        "school_id",
        gp,
        level.alias("level"),
        "reason",
        *(p.alias(f"points_to_next_{k}") for k, p in points.items()),
        *((p / 7).alias(f"effect_to_next_{k}") for k, p in points.items()),
        *(
            (p / 140 * pl.col("n")).ceil().cast(pl.Int64).alias(f"students_to_next_{k}")
            for k, p in points.items()
        ),
    )
    return with_last_year(levels)


def _place(reference: np.ndarray, value: np.ndarray) -> np.ndarray:
    low = np.searchsorted(reference, value, side="left")
    high = np.searchsorted(reference, value, side="right")
    place: np.ndarray = 100 * (low + high) / 2 / max(len(reference), 1)
    return place


def _counts(students: pl.DataFrame) -> pl.DataFrame:
    current = students.group_by("subject", "year").agg(
        pl.len().alias("n"), (pl.col("status") != "scored").sum().alias("lost")
    )
    total = int(current["n"].sum())
    lines: list[tuple[str, int | None, str, int, int, str | None]] = [
        ("all", None, "read", 2 * total + 1_250, 0, None),
        ("all", None, "valid", 2 * total + 310, 940, "not_valid"),
        ("all", None, "unique", 2 * total + 310, 0, None),
        (
            "all",
            None,
            "in_scope",
            total + 4_000 * current.height,
            total + 310 - 4_000 * current.height,
            "other_year",
        ),
    ]
    for subject, year, n, lost in current.sort("subject", "year").iter_rows():
        lines += [
            (subject, year, "in_scope", n + 4_000, 0, None),
            (subject, year, "has_current_score", n + 3_100, 900, "no_current_score"),
            (subject, year, "has_priors", n + 400, 2_700, "no_prior_score"),
            (subject, year, "has_priors", n, 400, "repeater"),
            (subject, year, "cohort_large_enough", n - lost, lost, "cohort_too_small"),
            (subject, year, "scored", n - lost, 0, None),
        ]
    schema = {"subject": pl.String, "year": pl.Int32, "step": pl.String, "rows": pl.Int64}
    schema |= {"excluded": pl.Int64, "reason": pl.String}
    return pl.DataFrame(lines, schema=schema, orient="row")


def _cells(students: pl.DataFrame) -> pl.DataFrame:
    cells = (
        students.filter(pl.col("status") == "scored").group_by("cohort", "subject", "year", "grade").len("n")
    )
    return cells.sort("cohort").with_columns(
        pl.lit(2).alias("n_priors"),
        pl.lit(20).alias("p"),
        pl.when(pl.col("grade") == 3)
        .then(pl.lit(["foster"]))
        .otherwise(pl.lit([], dtype=pl.List(pl.String)))
        .alias("dropped_columns"),
        pl.lit(0.004).alias("crossing_share"),
        pl.lit(3.1e-14).alias("max_relative_gap"),
        pl.lit(0.2).alias("seconds"),
    )


def _ledger(students: pl.DataFrame, spec: GrowthSpec) -> Ledger:
    """Return a ledger in which English learners lose ten points where nothing is adjusted."""
    columns = [
        name for name in (*spec.peers.flags, *spec.groups.flags.values()) if name not in students.columns
    ]
    rows = students.filter("highest").with_columns(
        pl.col("expected_score").alias("prior"), *(pl.lit(None, pl.Boolean).alias(name) for name in columns)
    )
    lower = (pl.col("percentile") - 0.1 * pl.col("english_learner")).clip(0.001, 0.999)
    plain = rows.select(lower.alias("percentile"), "sgp")
    traits = ("prior", *spec.peers.flags) if spec.peers.composition == "two_step" else ()
    effects = [
        {
            "year": year,
            "subject": subject,
            "trait": trait,
            "effect": 0.2,
            "effect_se": 0.1,
            "status": "estimated",
        }
        for year, subject in rows.select("year", "subject").unique().rows()
        for trait in traits
    ]
    schema = {"year": pl.Int32, "subject": pl.String, "trait": pl.String}
    schema |= {"effect": pl.Float64, "effect_se": pl.Float64, "status": pl.String}
    return fairness_ledger(rows, plain, pl.DataFrame(effects, schema=schema), spec)


def _normal_cdf(z: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    result: np.ndarray = ndtr(z)
    return result
