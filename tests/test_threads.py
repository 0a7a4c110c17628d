"""Every file that a run leaves is the same for any number of workers and of threads of polars."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl

from growth.codec import decoded, encoded

COMMANDS = """
import sys
from pathlib import Path
import polars as pl
from growth.cli import app
from growth.panel import simulate_table
from growth.panel.simulate import simulate_records
from growth.spec import GrowthSpec

place, jobs, threads = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
assert str(pl.thread_pool_size()) == threads
city = simulate_table(2_500, 40, years=2, seed=3)
table = place / "city.parquet"
city.table.write_parquet(table)
records = place / "records"
records.mkdir()
changes = {"cohorts.grades": [4, 5, 6], "cohorts.years": [2024, 2025], "cohorts.min_cohort": 100}
changes |= {"peers.flags": ["econ_disadvantaged"], "peers.schools_per_trait": 3, "school.min_n": 10}
changes |= {"measurement.csem": "column", "pairing.lowest_share": 0.2, "pairing.caliper": 0.5}
changes |= {"school.band_draws": 200, "school.shrinkage": "eblp"}
spec = place / "spec.toml"
spec.write_text(GrowthSpec.preset("core").replace(changes).to_toml())
run, base, index = place / "run", place / "base.growth", place / "index"
for words in (
    ["run", table, "--spec", spec, "--out", run, "--n-jobs", jobs],
    ["freeze", run, "--year", "2025", "--out", base],
    ["run", table, "--freeze", base, "--out", place / "again", "--no-report", "--n-jobs", jobs],
    ["index", records, "--run", run, "--out", index],
    ["pair", run, "--out", place / "pairs"],
    ["export", run, "--layout", "long", "--out", place / "long"],
    ["export", run, "--layout", "research", "--out", place / "research"],
):
    assert not app(list(map(str, words)), standalone_mode=False), words
    if words[0] == "freeze":
        known = pl.read_parquet(run / "schools.parquet")["school_id"].unique().to_list()
        students = simulate_records(city).students.filter(pl.col("school_id").is_in(known))
        students.write_csv(records / "chronic_absence.csv")
"""
TIMED = {"cells.csv", "cells.parquet"}
KEY = "0123456789abcdef0123456789abcdef"
CLOCK = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


def made(place: Path, jobs: int, threads: int) -> dict[str, str]:
    """Return the digests of all files that the commands leave, of what is the same on every clock."""
    place.mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(place), str(jobs), str(threads)],
        env={**os.environ, "POLARS_MAX_THREADS": str(threads), "GROWTH_ID_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return {
        str(file.relative_to(place)): hashlib.sha256(timeless(file)).hexdigest()
        for file in sorted(place.rglob("*"))
        if file.is_file()
    }


def timeless(file: Path) -> bytes:
    """Return a file's content without the times it was made and took."""
    if file.name in TIMED:
        cells = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file)
        return cells.drop("seconds").write_json().encode()
    if file.parent.name == "cohorts":
        growth, intervals, _ = decoded(file.read_bytes())
        return encoded((growth, intervals))
    if file.name == "report.html":
        return CLOCK.sub("", file.read_text("utf-8")).encode()
    if file.name == "manifest.json":
        return json.dumps(without_times(json.loads(file.read_text("utf-8"))), sort_keys=True).encode()
    return file.read_bytes()


def without_times(value: object) -> object:
    """Return a manifest without times, number of threads, and digests of files that hold such."""
    if isinstance(value, dict):
        gone = {"seconds", "cpu_seconds", "started", "finished", "threads", "report.html", *TIMED}
        kept = {
            key: item for key, item in value.items() if key not in gone and not key.startswith("cohorts/")
        }
        return {key: without_times(item) for key, item in kept.items()}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def test_threads_change_nothing(tmp_path: Path) -> None:
    alone, found = made(tmp_path / "1", 1, 1), made(tmp_path / "7", 3, 7)
    assert [name for name in alone if found.get(name) != alone[name]] == []
    assert set(found) == set(alone)
    assert {"run/schools.parquet", "run/norms.json", "base.growth", "index/index.parquet"} <= set(alone)
    assert any(name.startswith("run/students") and name.endswith(".parquet") for name in alone)
