"""The commands after a run: the index from records, pairs with communities, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import growth
from growth import GrowthRun
from growth.cli import app
from growth.index import growth_metrics, pair_schools, school_index, school_profiles
from growth.index.profiles import growth_needs
from growth.panel.simulate import simulate_records
from growth.spec import GrowthSpec
from growth.store import load_cuts, load_table, save_run

DONE, DATA, USAGE = 0, 1, 2
RULES = {"index.levels": "fixed_tens", "pairing.lowest_share": 0.1, "pairing.caliper": 0.5}


def growth_command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def town() -> tuple[GrowthRun, growth.panel.simulate.SimulatedRecords]:
    """Forty schools, with the quick engine: what follows does not depend on it."""
    city = growth.simulate_table(8_000, 60, years=1, seed=2)
    spec = GrowthSpec.preset("core").replace(
        RULES | {"student.engine": "residual_gain", "peers.composition": "none", "school.min_n": 10}
    )
    return growth.run(city.table, spec), simulate_records(city)


@pytest.fixture(scope="module")
def run_folder(town: tuple[GrowthRun, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(town[0], tmp_path_factory.mktemp("town") / "run")


@pytest.fixture(scope="module")
def records(
    town: tuple[GrowthRun, growth.panel.simulate.SimulatedRecords], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("records")
    for name in ("chronic_absence", "suspension", "redesignation", "high_school_readiness"):
        town[1].students.write_csv(folder / f"{name}.csv")
    town[1].graduation.write_parquet(folder / "graduation.parquet")
    return folder


@pytest.fixture(scope="module")
def index_folder(
    run_folder: Path, records: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("index") / "index"
    return out, growth_command("index", records, "--run", run_folder, "--out", out)


def test_records_and_a_run_become_an_index(
    index_folder: tuple[Path, Result], town: tuple[GrowthRun, object]
) -> None:
    out, result = index_folder
    assert result.exit_code == DONE, result.output
    run = town[0]
    metrics, index = load_table(out, "metrics"), load_table(out, "index")
    again = school_index(metrics, run.spec, schools=run.polars("students"))
    assert again.index.equals(index)
    own = growth_metrics(run.polars("schools"), run.polars("levels"), run.spec)
    assert metrics.filter(metric="growth").equals(own)
    assert index["index"].count() > 40
    assert load_table(out, "counts")["excluded"].sum() > 0
    assert GrowthSpec.from_toml(out / "spec.toml") == run.spec
    assert "Index by school type" in result.stdout
    assert "nobody has a result in academic_performance, climate, social_emotional" in result.stdout
    for row in index.head(3).iter_rows(named=True):
        assert row["sentence"].startswith(("Index ", "No index: "))


def test_a_table_of_metrics_does_as_well_and_cut_points_are_kept(
    index_folder: tuple[Path, Result], run_folder: Path, tmp_path: Path
) -> None:
    first, _ = index_folder
    file = tmp_path / "metrics.csv"
    load_table(first, "metrics").filter(pl.col("metric") != "growth").write_csv(file)
    schools = tmp_path / "schools.csv"
    load_table(first, "index").select("school_id", "school_type").write_csv(schools)
    arguments = ("index", file, "--run", run_folder, "--schools", schools, "--cuts-from", first)
    result = growth_command(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == DONE, result.output
    assert load_table(tmp_path / "out", "index").equals(load_table(first, "index"))
    assert load_cuts(tmp_path / "out") == load_cuts(first)
    refused = growth_command(*arguments, "--out", tmp_path / "out")
    assert refused.exit_code == DATA
    assert growth_command(*arguments, "--out", tmp_path / "out", "--overwrite").exit_code == DONE


def test_pairs_and_communities_of_a_run(
    run_folder: Path, index_folder: tuple[Path, Result], town: tuple[GrowthRun, object], tmp_path: Path
) -> None:
    run, out = town[0], tmp_path / "pairs"
    result = growth_command("pair", run_folder, "--out", out)
    assert result.exit_code == DONE, result.output
    profiles = school_profiles(run.frames, run.spec)
    expected = pair_schools(profiles, run.spec, needs=growth_needs(run.polars("levels")))
    assert load_table(out, "pairs").equals(expected.pairs)
    assert expected.pairs.height
    assert expected.pairs["sentence"][0] in result.stdout
    members = load_table(out, "communities")
    assert members.height
    taken = {*expected.low, *expected.pairs["partner_id"]}
    assert not taken & set(members["school_id"])
    again = growth_command("pair", run_folder, "--sitting", out / "pairs.csv", "--out", tmp_path / "later")
    assert again.exit_code == DONE, again.output
    assert load_table(tmp_path / "later", "pairs")["kept"].all()
    by_index = growth_command("pair", run_folder, "--index", index_folder[0], "--out", tmp_path / "index")
    assert by_index.exit_code == DONE, by_index.output
    low = load_table(index_folder[0], "index").drop_nulls("index").sort("index")["school_id"].head(3)
    found = pl.concat(
        [load_table(tmp_path / "index", name).select("school_id") for name in ("pairs", "unmatched")]
    )
    assert set(low) <= set(found["school_id"])


def test_a_given_list_is_paired(run_folder: Path, town: tuple[GrowthRun, object], tmp_path: Path) -> None:
    wanted = town[0].polars("schools")["school_id"].unique().sort().head(4)
    file = tmp_path / "list.csv"
    pl.DataFrame({"school_id": wanted}).write_csv(file)
    result = growth_command("pair", run_folder, "--schools", file, "--out", tmp_path / "out")
    assert result.exit_code == DONE, result.output
    found = [load_table(tmp_path / "out", name)["school_id"] for name in ("pairs", "unmatched")]
    assert sorted([*found[0], *found[1]]) == wanted.to_list()


def test_problems_end_with_a_message_and_nothing_is_written(
    run_folder: Path, records: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "suspensions.csv").write_text("a\n1\n", "utf-8")
    cases = [
        (("index", tmp_path / "empty", "--run", run_folder, "--out", out), DATA, "holds no records"),
        (("index", tmp_path / "wrong", "--run", run_folder, "--out", out), DATA, "did you mean 'suspension'"),
        (("index", records, "--run", tmp_path, "--out", out), DATA, "not a run folder"),
        (
            ("index", records, "--run", run_folder, "--cuts-from", tmp_path, "--out", out),
            DATA,
            "no cuts.json",
        ),
        (
            ("index", records, "--run", run_folder, "--spec", "cor", "--out", out),
            USAGE,
            "did you mean 'core'",
        ),
        (("pair", run_folder, "--index", tmp_path, "--out", out), DATA, "no table 'index'"),
        (("pair", tmp_path, "--out", out), DATA, "not a run folder"),
    ]
    for arguments, code, message in cases:
        result = growth_command(*arguments)
        assert result.exit_code == code, result.output
        assert message in result.stderr
        assert not out.exists()


def test_a_report_shows_index_and_pairs(
    run_folder: Path, index_folder: tuple[Path, Result], tmp_path: Path
) -> None:
    pairs, page = tmp_path / "pairs", tmp_path / "report.html"
    assert growth_command("pair", run_folder, "--out", pairs).exit_code == DONE
    plain = growth_command("report", run_folder, "--out", page)
    assert plain.exit_code == DONE
    assert 'id="index-table"' not in page.read_text("utf-8")
    result = growth_command("report", run_folder, "--out", page, "--index", index_folder[0], "--pairs", pairs)
    assert result.exit_code == DONE, result.output
    assert 'id="index-table"' in page.read_text("utf-8")
    assert 'id="pairs-table"' in page.read_text("utf-8")
    wrong = growth_command("report", run_folder, "--out", page, "--index", pairs)
    assert wrong.exit_code == DATA
    assert "has no table 'index'" in wrong.output
