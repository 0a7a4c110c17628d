"""Real runs against the documented schema: names, order, dtypes, whatever the specification."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import growth
from growth import GrowthRun, GrowthSpec
from growth.pipeline import FRAMES, ON_REQUEST
from growth.pipeline.schema import SCHEMA, mismatches, schema_table

CHOICES: dict[str, dict[str, object]] = {
    "median without shrinkage": {"school.aggregate": "median", "school.shrinkage": "none"},
    "every pattern": {"cohorts.report": "all"},
    "normal": {"student.engine": "normal"},
    "residual gain, no groups": {"student.engine": "residual_gain", "groups.flags": {}, "groups.race": ""},
    "simex": {
        "peers.composition": "none",
        "cohorts.subjects": ("ELA",),
        "cohorts.other_priors": 0,
        "measurement.csem": "column",
        "simex.use": "simex",
        "simex.replicates": 1,
    },
    "every school withheld": {"school.min_n": 100_000, "groups.min_n": 100_000},
}


def test_every_frame_has_a_schema() -> None:
    assert set(SCHEMA) == {*FRAMES, *ON_REQUEST}
    table = schema_table()
    assert table.select("frame", "column").is_unique().all()
    assert table["text"].str.ends_with(".").all()


@pytest.mark.parametrize("name", FRAMES)
def test_a_run_agrees(city_run: GrowthRun, name: str) -> None:
    assert mismatches(name, city_run.polars(name)) == []


@pytest.mark.parametrize("choice", CHOICES)
def test_runs_of_other_specifications_agree(city_file: Path, choice: str) -> None:
    spec = GrowthSpec.preset("core").replace({"cohorts.grades": (5, 6), **CHOICES[choice]})
    run = growth.run(city_file, spec)
    assert [wrong for name in FRAMES for wrong in mismatches(name, run.polars(name))] == []


def test_a_frozen_run_agrees(city_file: Path) -> None:
    spec = GrowthSpec.preset("core").replace({"cohorts.grades": (5, 6)})
    base = growth.run(city_file, spec)
    again = growth.run(city_file, freeze=base.freeze(), previous=base)
    assert [wrong for name in FRAMES for wrong in mismatches(name, again.polars(name))] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.rename({"level": "grade"}), "has the columns"),
        (lambda f: f.with_columns(pl.col("level").cast(pl.Int64)), "is Int64, not Int8"),
        (lambda f: f.select(reversed(f.columns)), "has the columns"),
        (lambda f: f.with_columns(more=1), "has the columns"),
    ],
)
def test_a_change_is_seen(
    city_run: GrowthRun, change: Callable[[pl.DataFrame], pl.DataFrame], said: str
) -> None:
    assert said in " ".join(mismatches("levels", change(city_run.polars("levels"))))
