"""Runs killed at random moments: nothing is lost, nothing partial is taken for a result.

``python -m benchmarks.kills --trials 200`` writes a run, then kills runs that replace it with ``--resume``
after a random time, some several times in a row, and lets the last one finish. After every kill the folder
must be absent or verify; after every trial it must hold the reference's results bit for bit, with nothing
beside it.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from growth.audit import verify_run
from growth.panel import simulate_table
from growth.spec import GrowthSpec
from growth.store import load_run

MAIN = "from growth.cli import main; main()"
SMALL = {
    "cohorts.grades": [5],
    "cohorts.min_cohort": 100,
    "peers.composition": "none",
    "school.band_draws": 200,
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What one trial saw."""

    kills: int
    absent: int
    """Kills after which there was no folder."""
    parts: int
    """Finished cohorts that the last run found."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--trials", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as place:
        trials = kill_trials(Path(place), chosen.trials, random.Random(chosen.seed))
    kills = sum(trial.kills for trial in trials)
    found = Counter(trial.parts for trial in trials)
    print(f"{len(trials)} trials, {kills} kills: every folder whole or absent, every result the same.")
    print(f"Kills that left no folder: {sum(trial.absent for trial in trials)}")
    print(f"Finished cohorts that the last runs found (cohorts: trials): {dict(sorted(found.items()))}")


def kill_trials(place: Path, trials: int, rng: random.Random) -> list[Trial]:
    """Run the trials in a folder.

    Raises
    ------
    AssertionError
        If a result is lost, partial or different.
    """
    table, spec = place / "city.csv", place / "spec.toml"
    simulate_table(2_000, 12, years=1, seed=4).table.write_csv(table)
    spec.write_text(GrowthSpec.preset("core").replace(SMALL).to_toml())

    def command(out: Path) -> list[str]:
        options = ["--spec", spec, "--out", out, "--no-report", "--n-jobs", "2", "--resume", "--overwrite"]
        return [sys.executable, "-c", MAIN, "run", str(table), *map(str, options)]

    reference = place / "reference"
    finish(command(reference))
    start = time.monotonic()
    finish(command(reference))
    whole = time.monotonic() - start
    outputs = load_run(reference).manifest["outputs"]
    done: list[Trial] = []
    for k in range(trials):
        folder = place / f"trial{k}"
        out = folder / "run"
        if k % 2:
            finish(command(out))
        kills = absent = 0
        for _ in range(rng.choice([1, 1, 1, 2])):
            process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.2, 1.05) * whole)
            process.kill()
            process.wait()
            kills += 1
            absent += not out.exists()
            assert k % 2 == 0 or out.exists() or list(folder.glob(".run.old")), "an earlier run was lost"
            assert not out.exists() or verify_run(out).holds, "a partial folder"
        parts = len(list(folder.glob(".run.parts/cohort-*")))
        finish(command(out))
        assert load_run(out).manifest["outputs"] == outputs, "other results"
        assert {file.name for file in folder.iterdir()} == {"run"}, "something is left"
        done.append(Trial(kills, absent, parts))
    return done


def finish(command: list[str]) -> None:
    """Let a run finish."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


if __name__ == "__main__":
    main()
