"""Two runs: the parts of a change of level add up, and name the stage that was changed."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import growth
from growth.cli import app
from growth.errors import SpecError
from growth.spec import GrowthSpec
from growth.store import load_run, save_bundle, save_run
from growth.study import compare_runs

CORE = GrowthSpec.preset("core").replace(
    {"cohorts.min_cohort": 60, "school.min_n": 10, "student.engine": "normal", "peers.composition": "none"}
)
STAGES = ["data", "student", "school", "norm", "cuts"]


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return growth.simulate_table(2_000, 14, years=1, seed=5).table


@pytest.fixture(scope="module")
def base(table: pl.DataFrame) -> growth.GrowthRun:
    return growth.run(table, CORE)


@pytest.mark.parametrize(
    ("changes", "stage", "key"),
    [
        ({"peers.flags": []}, "student", "peers.flags"),
        ({"school.aggregate": "median"}, "school", "school.aggregate"),
        ({"school.growth_percentile": "normal"}, "norm", "school.growth_percentile"),
        ({"levels.rule": "base_deciles"}, "cuts", "levels.rule"),
    ],
)
def test_the_stage_that_was_changed_moves_all(
    base: growth.GrowthRun, table: pl.DataFrame, changes: dict[str, object], stage: str, key: str
) -> None:
    found = compare_runs(base, growth.run(table, CORE.replace(changes)))
    moved = found.schools.filter(pl.col("change") != 0)
    assert moved.height > 0
    assert set(moved["because"]) == {stage}
    assert found.choices.select("stage", "key").rows() == [(stage, key)]
    assert set(found.stages.filter(pl.col("moved") > 0)["stage"]) == {stage}


def test_parts_add_up_and_data_count(base: growth.GrowthRun, table: pl.DataFrame) -> None:
    thinned = table.filter(pl.int_range(pl.len()) % 11 != 0)
    changed = CORE.replace({"school.aggregate": "median", "peers.flags": [], "levels.rule": "base_deciles"})
    found = compare_runs(base, growth.run(thinned, changed))
    parts = found.schools.select(f"change_{stage}" for stage in STAGES)
    assert parts.sum_horizontal().to_list() == found.schools["change"].to_list()
    assert found.stages.filter(stage="data")["moved"].sum() > 0
    assert "another level" in found.sentences[0]


def test_a_run_with_itself(base: growth.GrowthRun) -> None:
    found = compare_runs(base, base)
    assert found.schools["change"].abs().sum() == 0
    assert found.choices.is_empty()
    assert found.sentences[0] == "ELA: 0 of 14 schools have another level."
    assert found.points["growth_moved"].drop_nulls().to_list() == [0.0] * 14


def test_a_frozen_norm_is_the_norm(base: growth.GrowthRun, table: pl.DataFrame) -> None:
    """All students gain alike: curves refitted, schools in a frozen norm stay; raising it moves schools."""
    shifted = table.with_columns(
        score=pl.when(pl.col("year") == 2025).then(pl.col("score") + 12).otherwise("score")
    )
    bundle = base.freeze(parts=("curves", "norms", "cuts"))
    frozen = growth.run(shifted, CORE, freeze=bundle)
    own = growth.run(shifted, CORE)
    found = compare_runs(own, frozen)
    moved = found.stages.group_by("stage").agg(pl.col("moved").sum()).filter(pl.col("moved") > 0)
    assert "norm" in set(moved["stage"])
    parts = found.schools.select(f"change_{stage}" for stage in STAGES)
    assert parts.sum_horizontal().to_list() == found.schools["change"].to_list()


def test_an_impossible_mixture_is_booked_on_the_next_stage(
    base: growth.GrowthRun, table: pl.DataFrame
) -> None:
    frozen = growth.run(table, CORE, freeze=base.freeze(parts=("norms", "cuts")))
    found = compare_runs(frozen, growth.run(table, CORE.replace({"school.aggregate": "median"})))
    assert found.schools["change_school"].null_count() == found.schools.height  # a norm of means, for medians
    moved = found.schools.filter(pl.col("change") != 0)
    assert set(moved["because"]) == {"norm"}


def test_refusals(base: growth.GrowthRun, table: pl.DataFrame) -> None:
    earlier = table.with_columns(pl.col("year") - 1)
    with pytest.raises(SpecError, match="different years"):
        compare_runs(base, growth.run(earlier, CORE))


def test_command_line(base: growth.GrowthRun, table: pl.DataFrame, tmp_path: Path) -> None:
    save_run(base, tmp_path / "a")
    save_run(growth.run(table, CORE.replace({"school.aggregate": "median"})), tmp_path / "b")
    done = CliRunner().invoke(
        app, ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "c")]
    )
    assert done.exit_code == 0, done.output
    assert "school.aggregate" in done.output
    found = compare_runs(load_run(tmp_path / "a"), load_run(tmp_path / "b"))
    assert pl.read_parquet(tmp_path / "c" / "schools.parquet").equals(found.schools)
    assert pl.read_parquet(tmp_path / "c" / "points.parquet").equals(found.points)
    assert "Index points from growth move by" in done.output
    assert found.points["growth_moved"].abs().max() > 0  # type: ignore[operator]


STUDY = """
table = "scores.parquet"
base = "own.toml"
design = "one_at_a_time"

[factors]
"school.aggregate" = ["mean", "median"]
[factors.peers.none]
"peers.flags" = []
"""


def test_study_from_a_file(table: pl.DataFrame, base: growth.GrowthRun, tmp_path: Path) -> None:
    table.write_parquet(tmp_path / "scores.parquet")
    (tmp_path / "own.toml").write_text(CORE.to_toml(), "utf-8")
    (tmp_path / "study.toml").write_text(STUDY, "utf-8")
    save_bundle(base.freeze(parts=("cuts",)), tmp_path / "base.growth")
    arguments = [
        "study",
        str(tmp_path / "study.toml"),
        "--out",
        str(tmp_path / "out"),
        "--cache",
        str(tmp_path / "kept"),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "3 variants" in done.output
    assert pl.read_parquet(tmp_path / "out" / "design.parquet")["label"].to_list() == [
        "base",
        "school.aggregate = median",
        "peers = none",
    ]
    pictures = sorted(file.name for file in (tmp_path / "out").glob("*.png"))
    assert pictures == ["decisions.png", "level_changes.png", "profiles.png", "who_gains.png"]
    assert {file.name for file in tmp_path.iterdir()} == {
        "base.growth",
        "kept",
        "out",
        "own.toml",
        "scores.parquet",
        "study.toml",
    }
    again = CliRunner().invoke(app, [*arguments, "--overwrite"])  # pictures are part of the folder
    assert again.exit_code == 0, again.output
    (tmp_path / "study.toml").write_text('freeze = "base.growth"\n' + STUDY, "utf-8")
    frozen = CliRunner().invoke(app, [*arguments, "--overwrite"])
    assert frozen.exit_code == 0, frozen.output
    assert "3 variants" in frozen.output
    save_bundle(base.freeze(parts=("norms",)), tmp_path / "base.growth", overwrite=True)
    none = CliRunner().invoke(app, [*arguments, "--overwrite"])
    assert none.exit_code == 1
    assert "No variant of the study can be computed" in none.output  # means are ranked among means
    (tmp_path / "study.toml").write_text(STUDY.replace("design", "desing"), "utf-8")
    wrong = CliRunner().invoke(app, ["study", str(tmp_path / "study.toml"), "--out", str(tmp_path / "other")])
    assert wrong.exit_code == 1
    assert "did you mean 'design'" in wrong.output
