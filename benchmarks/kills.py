"""Runs killed at random moments: nothing is lost, nothing partial is taken for a result.

``python -m benchmarks.kills --trials 200 --out kills`` makes runs that say which phase they are in, waits for
one phase after the other, and kills (SIGKILL) after a random part of the time that it takes; some a second
and a third time on their way back. Half of the runs replace an earlier one. A kill counts only if it hit a
run at work. After it the folder must be absent or hold the earlier or the new results, whole; after every
trial ``--resume`` must have written every file of the reference bit for bit, and nothing beside them.

How long phases take is measured all along: whatever else the machine does, kills hit where they should.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.stamp import HERE, stamp
from growth.audit import verify_run
from growth.panel import simulate_table
from growth.spec import GrowthSpec
from growth.store import read_manifest

CHILD = "from benchmarks.kills import told_run; told_run()"
PHASES = {
    "reading": ("growth.pipeline.street", "read_table"),
    "cohorts formed": ("growth.pipeline.street", "build_panels"),
    "composition": ("growth.pipeline.street", "compose"),
    "student growth": ("growth.pipeline.street", "fit_cohorts"),
    "SIMEX": ("growth.student.engines.quantile", "simex_growth"),
    "fairness": ("growth.pipeline.street", "ledger"),
    "school results": ("growth.pipeline.street", "school_results"),
    "refits": ("growth.pipeline.street", "refit_errors"),
    "levels": ("growth.pipeline.street", "described_levels"),
    "writing": ("growth.store", "save_run"),
}
KEPT = {"student growth", "SIMEX", "refits"}
"""Phases that a resumed run shortens: their time is that of runs from the beginning."""
BEGUN, ENDED = "begun", "ended"
_SMALL = {"cohorts.grades": [5], "cohorts.min_cohort": 100, "school.band_draws": 200}
SYSTEMS: dict[str, dict[str, Any]] = {
    "refits": {
        **_SMALL,
        "peers.flags": ["econ_disadvantaged"],
        "peers.schools_per_trait": 2,
        "school.standard_error": "refit",
        "school.replicates": 20,
        "quantiles.count": 20,
    },
    "SIMEX": {
        **_SMALL,
        "peers.composition": "none",
        "measurement.csem": "column",
        "simex.use": "simex",
        "simex.replicates": 4,
        "school.percentile": "simex_ranked",
    },
}
_TICK, _PATIENCE = 0.002, 300.0
"""Between looks at what a run says, and until it is given up [s]."""
_TIMED = ("cells.csv", "cells.parquet", "manifest.json")
"""Files that hold times; so do those of the cohorts."""


@dataclass(slots=True)
class Trial:
    """What one trial saw."""

    system: str
    replaces: bool
    hits: list[tuple[str, str]] = field(default_factory=list)
    """Of each kill: the phase that it hit, and what the folder then held: absent, earlier or new."""
    parts: Counter[str] = field(default_factory=Counter)
    """What the last run found: cohort, simex, refit."""


@dataclass(slots=True)
class Watch:
    """How long phases take in runs of one system, as last seen [s]."""

    seconds: dict[str, float] = field(default_factory=dict)

    def learn(self, told: list[tuple[str, float]], *, fresh: bool) -> None:
        """Take the times of phases that came to their end, of a run from the beginning or not."""
        took: dict[str, float] = {}
        for (phase, start), (_, end) in pairwise(told):
            took[phase] = took.get(phase, 0.0) + end - start
        for phase, seconds in took.items():
            if phase != told[-1][0] and (fresh or phase not in KEPT):
                self.seconds[phase] = seconds


def main() -> int:
    """Run the trials, print and keep what they saw."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--trials", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--out", help="name of the file to write into benchmarks/results")
    chosen = arguments.parse_args()
    begun, machine = time.monotonic(), stamp()
    with tempfile.TemporaryDirectory() as place:
        trials: list[Trial] = []
        for trial in kill_trials(Path(place), chosen.trials, random.Random(chosen.seed)):
            trials.append(trial)
            machine["minutes"] = f"{(time.monotonic() - begun) / 60:.0f}"
            text = table(trials, machine)
            if chosen.out:
                (HERE / "results" / f"{chosen.out}.md").write_text(text + "\n", "utf-8")
    print(text)
    return 0


def kill_trials(place: Path, trials: int, rng: random.Random) -> Iterator[Trial]:
    """Run trials in a folder until there are so many whose first kill hit a run at work.

    Raises
    ------
    AssertionError
        If a result is lost, partial or different.
    """
    simulate_table(1_500, 12, years=1, seed=4).table.write_csv(place / "city.csv")
    grounds = [_Ground.of(place, name) for name in SYSTEMS]
    turns = [(ground, phase) for ground in grounds for phase in ground.phases]
    done = 0
    while done < trials:
        if done % len(turns) == 0:
            rng.shuffle(turns)
        trial = _trial(*turns[done % len(turns)], rng, replaces=bool(done % 2))
        if trial.hits:
            done += 1
            yield trial


@dataclass(frozen=True, slots=True)
class _Ground:
    """Where runs of one system are made, and what they must give."""

    name: str
    place: Path
    watch: Watch
    reference: dict[str, str]
    earlier: dict[str, str]

    @classmethod
    def of(cls, place: Path, name: str) -> _Ground:
        """Write the specification, the reference, and an earlier run with other results."""
        spec = GrowthSpec.preset("core").replace(SYSTEMS[name])
        (place / f"{name}.toml").write_text(spec.to_toml())
        (place / f"{name}-earlier.toml").write_text(spec.replace({"school.seed": 99}).to_toml())
        ground = cls(name, place, Watch(), {}, {})
        for kind, into in (("", ground.reference), ("-earlier", ground.earlier)):
            out = place / f"{name}{kind}"
            told = ground.finish(out, spec=f"{name}{kind}.toml")
            ground.watch.learn(told, fresh=True)
            into |= _files(out)
        assert ground.reference != ground.earlier
        return ground

    @property
    def phases(self) -> list[str]:
        """What its runs do, in order."""
        return [phase for phase in PHASES if phase in self.watch.seconds]

    def start(self, out: Path, spec: str = "") -> tuple[subprocess.Popen[bytes], Path]:
        """Start a run; return it and the file in which it says what it does."""
        log = out.parent.parent / "told" if out.parent != self.place else self.place / "told"
        log.write_bytes(b"")
        options = ["--spec", self.place / (spec or f"{self.name}.toml"), "--out", out]
        options += ["--no-report", "--n-jobs", "2", "--resume", "--overwrite"]
        command = [sys.executable, "-c", CHILD, log, "run", self.place / "city.csv", *options]
        process = subprocess.Popen(
            list(map(str, command)), cwd=HERE.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        return process, log

    def finish(self, out: Path, spec: str = "") -> list[tuple[str, float]]:
        """Let a run finish; return what it said."""
        process, log = self.start(out, spec)
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
        return _told(log)


def _trial(ground: _Ground, phase: str, rng: random.Random, *, replaces: bool) -> Trial:
    trial = Trial(ground.name, replaces)
    folder = ground.place / "trial"
    out = folder / "run"
    folder.mkdir()
    if replaces:
        shutil.copytree(ground.place / f"{ground.name}-earlier", out)
    for k in range(rng.choice([1, 1, 1, 1, 2, 3])):
        aim = phase if k == 0 else rng.choice(ground.phases)
        hit, told = _kill(ground, out, aim, rng)
        ground.watch.learn(told, fresh=k == 0)
        if not hit:
            break
        trial.hits.append((hit, _held(ground, out, replaces=replaces)))
    for file in folder.glob(".run.parts/*-*"):
        trial.parts[file.name.split("-")[0]] += 1
    told = ground.finish(out)
    ground.watch.learn(told, fresh=not trial.hits and not replaces)
    assert _files(out) == ground.reference, "other results"
    assert {file.name for file in folder.iterdir()} == {"run"}, "something is left"
    shutil.rmtree(folder)
    return trial


def _kill(ground: _Ground, out: Path, aim: str, rng: random.Random) -> tuple[str, list[tuple[str, float]]]:
    """Start a run and kill it in a phase; return the phase that was hit, or nothing, and what it said."""
    process, log = ground.start(out)
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and f"{aim} ".encode() not in log.read_bytes():
        assert time.monotonic() < deadline, "a run that does not come on"
        time.sleep(_TICK)
    time.sleep(rng.uniform(0.0, ground.watch.seconds[aim]))
    process.kill()
    process.communicate()
    told = _told(log)
    alive = process.returncode < 0 and told and told[-1][0] != ENDED
    return told[-1][0] if alive else "", told


def _held(ground: _Ground, out: Path, *, replaces: bool) -> str:
    """Return what a folder holds after a kill, which is nothing or a whole run."""
    if not out.exists():
        assert not replaces or out.with_name(".run.old").is_dir(), "an earlier run was lost"
        return "absent"
    assert verify_run(out).holds, "a partial folder"
    files = _files(out)
    assert files in (ground.earlier, ground.reference), "neither the earlier run nor the new one"
    return "new" if files == ground.reference else "earlier"


def _files(out: Path) -> dict[str, str]:
    """Return the digests of a run's files, of those apart that hold times."""
    files = read_manifest(out)["files"].items()
    return {name: digest for name, digest in files if name not in _TIMED and not name.startswith("cohorts/")}


def _told(log: Path) -> list[tuple[str, float]]:
    """Return the phases that a run said it was in, each with the time it began; a last half line is not."""
    lines = log.read_text().split("\n")[:-1]
    return [(line.rsplit(" ", 1)[0], float(line.rsplit(" ", 1)[1])) for line in lines]


def table(trials: list[Trial], machine: dict[str, str]) -> str:
    """Return what the trials saw, as Markdown."""
    kills = [hit for trial in trials for hit in trial.hits]
    held = Counter(kills)
    first = Counter(trial.hits[0][0] for trial in trials)
    lines = [
        "# Runs killed at random moments",
        "",
        f"{len(trials)} trials, {len(kills)} kills of runs at work: every folder whole or absent, no",
        "earlier run lost, and after `--resume` every file the same bit for bit.",
        f"`python -m benchmarks.kills --trials {len(trials)}` repeats it.",
        "",
        "| phase that was hit | first kills | all kills | folder absent | earlier run | new run |",
        "|---|---|---|---|---|---|",
    ]
    for phase in (BEGUN, *PHASES):
        row = [held[phase, what] for what in ("absent", "earlier", "new")]
        if sum(row):
            name = "between phases" if phase == BEGUN else phase
            lines.append(f"| {name} | {first[phase]} | {sum(row)} | " + " | ".join(map(str, row)) + " |")
    lines += ["", "| finished before the last kill | runs that found some | in all |", "|---|---|---|"]
    for part, name in (("cohort", "cohorts"), ("simex", "states of SIMEX"), ("refit", "refits")):
        found = [trial.parts[part] for trial in trials]
        lines.append(f"| {name} | {sum(map(bool, found))} | {sum(found):,} |")
    stamped = ("cpu", "system", "python", "load", "commit", "date", "minutes")
    return "\n".join([*lines, "", *(f"* {name}: {machine[name]}" for name in stamped)])


def told_run() -> None:
    """Run the command line in this process and say, phase by phase, what it does (`CHILD`)."""
    log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND)
    from growth.cli import main as command_line

    state = [BEGUN]

    def tell(phase: str) -> None:
        state[0] = phase
        os.write(log, f"{phase} {time.monotonic()}\n".encode())

    def wrapped(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def told(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
            before = state[0]
            tell(phase)
            try:
                return function(*arguments, **options)
            finally:
                tell(before)

        return told

    for phase, (module, name) in PHASES.items():
        place = importlib.import_module(module)
        setattr(place, name, wrapped(phase, getattr(place, name)))
    try:
        command_line()
    finally:
        tell(ENDED)


if __name__ == "__main__":
    raise SystemExit(main())
