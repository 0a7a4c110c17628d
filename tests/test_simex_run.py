"""SIMEX from the table to the page: columns, schools, ledger, account, threads, checkpoints, words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from simex_system import SIMEX
from typer.testing import CliRunner

import growth
from growth.cli import app
from growth.pipeline import FRAMES, GrowthRun
from growth.report import render_report, report_input
from growth.school.counted import PERCENTILE_COLUMNS, count_results
from growth.store import load_run

SPEC = SIMEX.replace({"simex.replicates": 3, "school.percentile": "simex_ranked"})
COLUMNS = ["sgp_simex", "sgp_simex_ranked", "percentile_simex", "percentile_simex_ranked"]


@pytest.fixture(scope="module")
def run(city_file: Path) -> GrowthRun:
    return growth.run(city_file, SPEC)


def test_corrected_percentiles_stand_beside_the_uncorrected_ones(run: GrowthRun, city_file: Path) -> None:
    plain = growth.run(
        city_file, SPEC.replace({"simex": {}, "school.percentile": "continuous", "groups.flags": {}})
    )
    assert_frame_equal(run.students.drop(COLUMNS), plain.students)
    scored = run.students.filter(status="scored")
    assert scored.height > 500
    for name in COLUMNS:
        low, high = (1, 99) if name.startswith("sgp") else (0, 1)
        assert scored[name].is_between(low, high).all(), name
    assert (scored["sgp"] != scored["sgp_simex"]).mean() > 0.3
    assert run.students.filter(pl.col("status") != "scored").select(COLUMNS).null_count().row(0) == (
        run.students.height - scored.height,
    ) * len(COLUMNS)
    for _, cohort in scored.group_by("cohort"):
        by_rank = cohort.sort("percentile_simex_ranked")
        assert by_rank["percentile_simex"].is_sorted()


def test_columns_come_before_what_else_the_table_held(run: GrowthRun) -> None:
    frame = run.students.columns
    assert frame.index("highest") == frame.index(COLUMNS[-1]) + 1


@pytest.mark.parametrize("kind", PERCENTILE_COLUMNS)
def test_schools_are_built_from_what_the_specification_names(run: GrowthRun, kind: str) -> None:
    spec = SPEC.replace({"school.percentile": kind})
    counted = count_results(run.students, spec)
    column = PERCENTILE_COLUMNS[spec.school.percentile]
    scale = 100.0 if column.startswith("percentile") else 1.0
    np.testing.assert_allclose(counted.value, scale * counted.rows[column].to_numpy())


def test_school_means(run: GrowthRun) -> None:
    means = run.students.filter(status="scored").group_by("school_id").agg(pl.col(COLUMNS[-1]).mean() * 100)
    schools = run.schools.filter(pl.col("group") == "All", pl.col("reason").is_null())
    both = schools.join(means, on="school_id")
    assert both.height == schools.height > 5
    np.testing.assert_allclose(both["mean_percentile"], both[COLUMNS[-1]])


def test_the_ledger_compares_like_with_like(run: GrowthRun, city_file: Path) -> None:
    """Adjusted and unadjusted means are both corrected."""
    alone = growth.run(city_file, SPEC.replace({"peers": {}}))
    mine = run.fairness.filter(kind="flag")
    both = mine.join(alone.fairness.filter(kind="flag"), on="column", suffix="_alone")
    assert both.height == 3
    np.testing.assert_allclose(both["unadjusted"], both["adjusted_alone"])
    scored = run.students.filter(status="scored")
    for flag, mean in mine.select("column", "adjusted").rows():
        assert mean == pytest.approx(100 * scored.filter(flag)["percentile_simex_ranked"].mean())
    prior = run.neutrality.filter(kind="prior").row(0, named=True)
    assert prior["r_students"] < -0.02  # 0 for uncorrected percentiles


def test_threads_and_checkpoints_change_nothing(run: GrowthRun, city_file: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    folder = tmp_path / "parts"

    def interrupted(*step: object) -> None:
        seen.append(step)  # type: ignore[arg-type]
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        growth.run(city_file, SPEC, progress=interrupted, checkpoints=folder)
    assert list(folder.glob("simex-*.npz"))
    seen.clear()
    again = growth.run(
        city_file, SPEC, n_jobs=2, progress=lambda *step: seen.append(step), checkpoints=str(folder)
    )
    for name in FRAMES:
        left, right = (one.polars(name).drop("seconds", strict=False) for one in (run, again))
        assert_frame_equal(left, right, check_exact=True)
    total = seen[0][1]
    done = [done for done, _, _ in seen]
    assert done == sorted(set(done)), "forwards, one step or, where a cohort was kept, several"
    assert done[-1] == total
    assert any("lambda 2: 3 of 3" in label for _, _, label in seen)


def test_the_command_line_keeps_checkpoints(run: GrowthRun, city_file: Path, tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text(SPEC.to_toml(), "utf-8")
    paths = {"--spec": "ours.toml", "--out": "out", "--checkpoints": "parts"}
    arguments = [str(part) for name, path in paths.items() for part in (name, tmp_path / path)]
    result = CliRunner().invoke(app, ["run", str(city_file), *arguments, "--no-report"])
    assert result.exit_code == 0, result.output
    assert load_run(tmp_path / "out").manifest["outputs"] == run.manifest["outputs"]
    assert len(list((tmp_path / "parts").glob("cohort-*"))) >= run.cells.height
    assert not list((tmp_path / "parts").glob("simex-*")), "sums of lambdas go with their cohort"


def test_the_manifest_has_the_seed(run: GrowthRun) -> None:
    assert run.manifest["seeds"]["simex.seed"] == 314_159


def test_the_page_says_what_was_corrected(run: GrowthRun) -> None:
    page = " ".join(render_report(report_input(run)).split())
    assert "ranked SIMEX; Castellano &amp; McCaffrey 2017" in page
    assert "unrounded, ranked SIMEX percentiles" in page
