"""What a study keeps of each variant: its results about schools, never a student's row.

On disk a variant is a folder of Parquet files named by a digest of the table, the specification and the
engine's source; it appears whole or not at all. Schools are named as in run folders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from growth.aggregate import by_group
from growth.disk import reserve, whole_folder
from growth.errors import StoreError
from growth.index import growth_points
from growth.pipeline import GrowthRun
from growth.school import Enrolment
from growth.school.counted import Counted, count_results, effect_values
from growth.spec import GrowthSpec

__all__ = ["Outcome", "load_outcome", "outcome_of", "save_outcome"]

_KEPT = ("schools", "levels", "variance", "counts", "cells", "fairness", "neutrality")
_FACTS = "facts.json"
UNIT = ["year", "subject", "school_id"]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Results of one variant."""

    frames: Mapping[str, pl.DataFrame]
    """``schools``, ``levels``, ``variance``, ``counts``, ``cells``, ``fairness``, ``neutrality`` of the run;
    ``halves`` and ``intake`` as `halves` and `intake` make them; ``points`` of
    `growth.index.growth_points`."""
    digests: Mapping[str, str]
    """SHA-256 of each frame of the run, students among them, as in its manifest."""
    seconds: float
    """Wall time that it took [s]."""


def outcome_of(run: GrowthRun, enrolment: Enrolment | None, seed: int, seconds: float) -> Outcome:
    """Return what is kept of a run.

    Parameters
    ----------
    run : GrowthRun
    enrolment : Enrolment or None
        That the run was given.
    seed : int
        Of the split of each school's students into halves.
    seconds : float
    """
    students = run.frames["students"]
    counted = count_results(students, run.spec, enrolment)
    frames = {name: run.frames[name] for name in _KEPT}
    frames["halves"] = halves(counted, run.spec, seed)
    frames["intake"] = intake(counted, run.spec)
    frames["points"] = growth_points(run.frames["schools"], run.frames["levels"], run.spec, students)
    return Outcome(frames, dict(run.manifest["outputs"]), seconds)


def halves(counted: Counted, spec: GrowthSpec, seed: int) -> pl.DataFrame:
    """Split each school's students at random and aggregate each half as schools are.

    Returns
    -------
    polars.DataFrame
        year, subject, school_id, n, first, second [points of the measure]; schools with at least
        ``school.min_n`` counted results.
    """
    order = np.random.default_rng(seed).permutation(len(counted.unit))
    value, _ = effect_values(counted, spec)
    shuffled = pl.DataFrame({"unit": counted.unit, "value": value})[order]
    place = pl.int_range(pl.len()).over("unit")
    parts = shuffled.filter(pl.col("unit") >= 0).with_columns(half=place % 2, n=pl.len().over("unit"))
    means = by_group(
        parts.filter(pl.col("n") >= spec.school.min_n),
        ["unit", "half"],
        pl.col("n").first().cast(pl.Int64),
        _aggregated(spec).alias("value"),
    )
    wide = by_group(
        means,
        "unit",
        pl.col("n").first(),
        pl.col("value").filter(pl.col("half") == 0).first().alias("first"),
        pl.col("value").filter(pl.col("half") == 1).first().alias("second"),
    ).sort("unit")
    units = counted.units[wide["unit"].to_numpy()].select(UNIT)
    return pl.concat([units, wide.drop("unit")], how="horizontal")


def _aggregated(spec: GrowthSpec) -> pl.Expr:
    value = pl.col("value")
    if spec.school.aggregate == "median":
        return value.median()
    if spec.school.aggregate == "trimmed_mean":
        cut = (spec.school.trim * pl.len()).floor().cast(pl.Int64)
        return value.sort().slice(cut, pl.len().cast(pl.Int64) - 2 * cut).mean()
    return value.mean()


def intake(counted: Counted, spec: GrowthSpec) -> pl.DataFrame:
    """Return who attends each school with enough students, for quartiles of schools.

    Returns
    -------
    polars.DataFrame
        year, subject, school_id, n, prior (mean of the most recent prior score in SDs of its grade), and the
        share of each group of ``spec.groups.flags`` (0-1), named by its label.
    """
    grade = ["year", "subject", "grade"]
    prior = pl.col("prior_score")
    rows = counted.rows.with_columns(_z=(prior - prior.mean().over(grade)) / prior.std().over(grade))
    shares = [pl.col(c).cast(pl.Float64).mean().alias(label) for label, c in spec.groups.flags.items()]
    found = by_group(
        rows.filter(pl.col("school_id").is_not_null()),
        UNIT,
        pl.len().cast(pl.Int64).alias("n"),
        pl.col("_z").mean().alias("prior"),
        *shares,
    )
    return found.filter(pl.col("n") >= max(spec.school.min_n, spec.groups.min_n)).sort(UNIT)


def save_outcome(one: Outcome, folder: Path) -> None:
    """Write a variant's folder, whole or not at all; what is there was found damaged, and goes."""
    # Refused where another study is writing the same.
    with suppress(StoreError), reserve(folder), whole_folder(folder) as aside:
        for name, frame in one.frames.items():
            frame.write_parquet(aside / f"{name}.parquet")
        facts = {"digests": dict(one.digests), "seconds": one.seconds, "frames": list(one.frames)}
        (aside / _FACTS).write_text(json.dumps(facts), "utf-8")


def load_outcome(folder: Path) -> Outcome | None:
    """Read a variant's folder; None if there is none, or it was damaged by others."""
    with suppress(OSError, ValueError, KeyError, pl.exceptions.PolarsError):
        facts: dict[str, Any] = json.loads((folder / _FACTS).read_text("utf-8"))
        frames = {name: pl.read_parquet(folder / f"{name}.parquet") for name in facts["frames"]}
        return Outcome(frames, facts["digests"], facts["seconds"])
    return None
