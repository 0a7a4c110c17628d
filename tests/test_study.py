"""Sensitivity studies: every variant is its own run, what is done is not done again, nothing is dropped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import growth
from growth.index import growth_points
from growth.panel import SimulatedSystem
from growth.parallel import Crew
from growth.pipeline.shelf import narrowed
from growth.spec import FrozenPart, GrowthSpec
from growth.study import Range, Study
from growth.study import run as study_run
from growth.study.designs import Design
from growth.study.memory import Memo, StudyShelf, table_key

CORE = GrowthSpec.preset("core").replace({"cohorts.min_cohort": 60, "school.min_n": 10, "groups.min_n": 10})
SIMEX = {
    "measurement.csem": "column",
    "simex.use": "simex",
    "simex.replicates": 2,
    "peers.composition": "none",
    "school.percentile": "simex",
}
FACTORS: dict[str, Any] = {
    "peers": {
        "core": {},
        "none": {"peers.flags": [], "peers.composition": "none"},
        "simex": SIMEX,
        "one step": {"peers.flags": ["english_learner"], "peers.composition": "one_step"},
    },
    "student.engine": ["quantile", "normal", "residual_gain"],
    "cohorts.other_priors": [1, 0],
    "basis.knots_from": ["all_rows", "cohort"],
    "school.aggregate": ["mean", "median"],
    "school.enrolled_only": [False, True],
    "levels.rule": ["fixed_tens", "base_deciles"],
    "groups.lowest_race": [True, False],
}
"""Every stage is touched by one of them."""
TIMINGS = {"seconds"}
ROUNDING = 1e-9
"""Means of some ten percentiles."""


@pytest.fixture(scope="module")
def city() -> SimulatedSystem:
    return growth.simulate_table(1_800, 10, years=1, seed=3)


@pytest.fixture(scope="module")
def table(city: SimulatedSystem) -> pl.DataFrame:
    in_time = pl.int_range(pl.len()) % 9 != 0
    return city.table.with_columns(enrolled=in_time)


@pytest.fixture(scope="module")
def study(table: pl.DataFrame, city: SimulatedSystem) -> Study:
    return growth.run_study(table, CORE, FACTORS, n_jobs=2, truth=city)


def _same(one: Study, two: Study) -> None:
    assert one.frames.keys() == two.frames.keys()
    for name, frame in one.frames.items():
        assert_frame_equal(
            frame.drop(TIMINGS, strict=False), two.frames[name].drop(TIMINGS, strict=False), check_exact=True
        )


def test_every_variant_is_its_own_run(study: Study, table: pl.DataFrame) -> None:
    """Also of students: the digests of all frames are those of separate runs."""
    assert len(study.variants) == 12
    for variant, outcome in zip(study.variants, study.outcomes, strict=True):
        alone = growth.run(table, variant.spec)
        assert dict(alone.manifest["outputs"]) == outcome.digests, variant.levels
        assert_frame_equal(alone.frames["levels"], outcome.frames["levels"], check_exact=True)


UNDER_A_BASE_YEAR = {
    "school.shrinkage": ["eblp", "none"],
    "school.min_n": [10, 20],
    "groups.flags": {"fewer": {"groups.flags": {"SED": "econ_disadvantaged"}}},
    "school.eblp.jackknife": [50, 0],
    "peers.flags": [["english_learner"]],
}


@pytest.mark.parametrize("parts", [("norms", "cuts"), ("curves", "norms", "cuts")])
def test_under_a_base_year_variants_are_separate_runs_and_so_are_their_statistics(
    parts: tuple[FrozenPart, ...], tmp_path: Path
) -> None:
    """EBLP, frozen norms and curves, index points; nothing is handed on that belongs to another bundle."""
    later = growth.simulate_table(1_800, 10, years=2, seed=11).table
    base = CORE.replace(
        {
            "freeze.missing": "refit",
            "student.engine": "normal",
            "peers.composition": "none",
            "school.shrinkage": "eblp",
        }
    )
    bundle = growth.run(later.filter(pl.col("year") < later["year"].max()), base).freeze(parts=parts)
    now = base.replace({"cohorts.years": [2025]})
    found = growth.run_study(later, now, UNDER_A_BASE_YEAR, freeze=bundle, folder=tmp_path)
    told = found.refused["reason"].to_list()
    assert "a school is ranked among effects of its own kind" in told[0]
    assert "differs from the bundle's in peers" in told[1]
    assert len(found.variants) == 4
    runs = [growth.run(later, variant.spec, freeze=bundle) for variant in found.variants]
    assert all("predictions" in run.frames for run in runs)
    for run, outcome in zip(runs, found.outcomes, strict=True):
        assert dict(run.manifest["outputs"]) == outcome.digests
        assert run.manifest["norms"]["frozen"]
    for v, run in enumerate(runs):
        for subject in ("ELA", "MATH"):
            row = found.statistics.filter(variant=v, subject=subject).row(0, named=True)
            one, two = (_percentiles(r, subject) for r in (runs[0], run))
            both = one.join(two, on="school_id", suffix="_b")
            off = (both["growth_percentile_b"] - both["growth_percentile"]).to_numpy()
            assert row["rmse"] == pytest.approx(np.sqrt(np.mean(off**2)), abs=ROUNDING)
            level = (both["level_b"] - both["level"]).to_numpy()
            assert row["level_changed"] == pytest.approx(100 * np.mean(level != 0), abs=ROUNDING)
            moved = _points(runs[0], subject).join(_points(run, subject), on="school_id", suffix="_b")
            change = (moved["points_b"] - moved["points"]).abs().to_numpy()
            assert row["points_moved"] == pytest.approx(change.mean(), abs=ROUNDING)
            assert row["points_moved_most"] == pytest.approx(change.max(), abs=ROUNDING)
    assert found.statistics["points_moved"].max() > 0  # type: ignore[operator]
    without = growth.run_study(later, now, {"school.min_n": [10, 20]}, folder=tmp_path)
    assert without.outcomes[0].digests != found.outcomes[0].digests
    assert dict(growth.run(later, now).manifest["outputs"]) == without.outcomes[0].digests


def _percentiles(run: growth.GrowthRun, subject: str) -> pl.DataFrame:
    shown = run.frames["levels"].filter(group="All", subject=subject).drop_nulls("level")
    return shown.select("school_id", "growth_percentile", pl.col("level").cast(pl.Int64))


def _points(run: growth.GrowthRun, subject: str) -> pl.DataFrame:
    frames = run.frames
    found = growth_points(frames["schools"], frames["levels"], run.spec, frames["students"])
    return found.filter(subject=subject).select("school_id", "points")


def test_threads_do_not_matter(study: Study, table: pl.DataFrame, city: SimulatedSystem) -> None:
    few = {"school.aggregate": ["mean", "median"], "student.engine": ["quantile", "normal"]}
    _same(*(growth.run_study(table, CORE, few, n_jobs=n, truth=city) for n in (1, 3)))


def test_stages_are_computed_once(table: pl.DataFrame) -> None:
    calls: list[str] = []
    shelf = StudyShelf(table_key(table), None)
    given = study_run.Given(shelf=shelf)
    study_run.walk(table, CORE, given, Crew.alone())
    first = len(shelf.fitted)
    assert len(set(shelf.fitted)) < first  # with and without the peer definition
    for changes in ({"school.aggregate": "median"}, {"levels.above_from": 9}, {"groups.min_n": 30}):
        study_run.walk(table, CORE.replace(changes), given, Crew.alone())
    assert len(shelf.fitted) == first
    study_run.walk(table, CORE.replace({"peers.composition": "none"}), given, Crew.alone())
    assert first < len(shelf.fitted) < 2 * first  # the fits on prior scores only were there
    shelf.stage("panels", CORE.replace({"school.min_n": 33}), lambda spec: calls.append(spec.name))
    assert calls == []


def test_a_stage_sees_no_more_than_its_key() -> None:
    one = CORE.replace({"school.aggregate": "median", "levels.above_from": 9})
    for stage in ("table", "panels", "composition", "cohort"):
        assert narrowed(stage, one) == narrowed(stage, CORE)  # type: ignore[arg-type]
    assert narrowed("schools", one) != narrowed("schools", CORE)
    flags = CORE.replace({"peers.flags": ["disability"]})
    assert narrowed("cohort", flags) == narrowed("cohort", CORE)  # the columns are in the panel's digest
    assert narrowed("panels", flags) != narrowed("panels", CORE)


def test_a_memo_computes_a_failure_again() -> None:
    memo: Memo[int] = Memo(most=1)
    with pytest.raises(ZeroDivisionError):
        memo.get("a", lambda: 1 // 0)
    assert memo.get("a", lambda: 1) == 1
    assert memo.get("a", lambda: 2) == 1
    assert memo.get("b", lambda: 3) == 3
    assert memo.get("a", lambda: 4) == 4  # the older one had to go


def test_a_study_is_there_at_once_the_second_time(
    table: pl.DataFrame, city: SimulatedSystem, tmp_path: Path
) -> None:
    few = {name: FACTORS[name] for name in ("school.aggregate", "peers")}
    told: list[str] = []

    def ask(base: GrowthSpec = CORE) -> Study:
        return growth.run_study(
            table, base, few, folder=tmp_path, truth=city, progress=lambda done, of, label: told.append(label)
        )

    first = ask()
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    told.clear()
    _same(first, ask())
    assert set(told) == {"known already", "done"}
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()} == kept
    for variant in (tmp_path / "variants").iterdir():
        (variant / "levels.parquet").write_bytes(b"damaged")
    for cohort in list((tmp_path / "cohorts").iterdir())[:3]:
        cohort.write_bytes(b"damaged")
    _same(first, ask())
    students = set(table["student_id"].to_list())
    for file in tmp_path.rglob("*.parquet"):
        assert "student_id" not in pl.read_parquet_schema(file)
    names = b"".join(file.read_bytes() for file in (tmp_path / "cohorts").iterdir())
    assert not any(student.encode() in names for student in list(students)[:200])


KILLED = """
import sys, growth
from growth.spec import GrowthSpec
from pathlib import Path
table, folder = sys.argv[1:]
base = GrowthSpec.preset("core").replace({"cohorts.min_cohort": 60, "school.min_n": 10, "groups.min_n": 10})
factors = {"school.aggregate": ["mean", "median", "trimmed_mean"], "cohorts.other_priors": [1, 0],
           "student.engine": ["quantile", "normal"]}
growth.run_study(table, base, factors, design="full", folder=folder)
"""


def test_killed_and_started_again_it_ends_the_same(table: pl.DataFrame, tmp_path: Path) -> None:
    file, folder = tmp_path / "table.parquet", tmp_path / "study"
    table.write_parquet(file)
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(file), str(folder)])
    deadline = time.monotonic() + 240
    while len(_whole(folder)) < 3:
        assert process.poll() is None, "the study ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    half = {place.name: place.stat().st_mtime_ns for place in _whole(folder)}
    assert 3 <= len(half) < 12
    factors = {
        "school.aggregate": ["mean", "median", "trimmed_mean"],
        "cohorts.other_priors": [1, 0],
        "student.engine": ["quantile", "normal"],
    }
    again = growth.run_study(file, CORE, factors, design="full", folder=folder)
    assert len(_whole(folder)) == len(again.variants) == 12
    for place in _whole(folder):
        assert place.stat().st_mtime_ns == half.get(place.name, place.stat().st_mtime_ns)
    assert not list(folder.rglob(".*"))
    _same(again, growth.run_study(file, CORE, factors, design="full"))


def _whole(folder: Path) -> list[Path]:
    return [place for place in (folder / "variants").glob("*") if not place.name.startswith(".")]


def test_refused_combinations_are_told(table: pl.DataFrame) -> None:
    factors = {
        "student.engine": ["quantile", "residual_gain"],
        "basis.knot_quantiles": [[0.2, 0.4, 0.6, 0.8], [0.5]],
        "cohorts.min_cohort": [60, 100_000],
    }
    found = growth.run_study(table, CORE, factors, design="full")
    reasons = found.refused.group_by("stage").len().sort("stage").rows()
    assert reasons == [("run", 3), ("specification", 2)]
    assert len(found.variants) + found.refused.height == 8
    by_spec = found.refused.filter(stage="specification")
    assert by_spec["student.engine"].unique().to_list() == ["residual_gain"]
    assert "cannot honour basis" in by_spec["reason"][0]
    assert "min_cohort" in found.refused.filter(stage="run")["reason"][0]


@pytest.mark.parametrize(
    ("factors", "design", "message"),
    [
        ({}, "full", "needs a factor"),
        ({"school.aggregate": ["mean"]}, "full", "does not vary"),
        ({"school.aggregate": "mean"}, "full", "no list"),
        ({"school.min_n": [10, 10]}, "full", "two levels of one name"),
        ({"school.min_n": Range(5, 30, whole=True)}, "full", "has a range"),
        ({"school.min_n": [10, 20]}, "all", "no design"),
        ({"a": {"x": {"school.min_n": 5}}, "school.min_n": [10, 20]}, "full", "More than one factor"),
    ],
)
def test_studies_that_make_no_sense(
    table: pl.DataFrame, factors: dict[str, Any], design: Design, message: str
) -> None:
    with pytest.raises(growth.GrowthError, match=message):
        growth.run_study(table, CORE, factors, design=design)


def test_random_over_ranges(table: pl.DataFrame) -> None:
    factors = {"school.trim": Range(0.05, 0.3), "school.min_n": Range(5, 25, whole=True)}
    base = CORE.replace(
        {
            "school.aggregate": "trimmed_mean",
            "student.engine": "normal",
            "peers.flags": [],
            "peers.composition": "none",
        }
    )
    one, two = (growth.run_study(table, base, factors, design="random", runs=6, seed=5) for _ in range(2))
    _same(one, two)
    sizes = [variant.spec.school.min_n for variant in one.variants[1:]]
    assert len(one.variants) == 7
    assert sorted(int((size - 5) * 6 / 21) for size in sizes) == [0, 1, 2, 3, 4, 5]  # a Latin hypercube
    assert set(one.decisions["method"]) == {"regressed"}
