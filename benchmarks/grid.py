"""The grid problem x library: same data, same run, one thread each, every library in its own process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import spread_out
from benchmarks.peers import PEERS, Peer, installed_version
from benchmarks.problems import TAUS, Problem, draw
from benchmarks.stamp import HERE, r_versions
from growth._types import FloatArray

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "POLARS_MAX_THREADS",
    ),
    "1",
)
OFF = 1e-6
"""A larger relative excess of the objective is not called a solution."""
SEEDS = 5
"""Attempts of a method of R that draws samples."""
TELLING = 20
"""Fewer quantiles of a run that did not come back do not tell its time: one may have been the trouble."""
PAUSE, PAUSES = 5.0, 5.0
"""A step of R may take so many seconds, and times what all taus should take, before it counts as endless."""
CHUNK = 20_000
"""Rows whose residuals are held at one time when objectives are compared."""


@dataclass(frozen=True, slots=True)
class Row:
    """One cell of the grid."""

    problem: Problem
    library: str
    seconds: float | None = None
    """CPU seconds for all taus."""
    wall: float | None = None
    fastest: float | None = None
    slowest: float | None = None
    solved: int = 0
    """Taus that were solved; the time is extrapolated from them if fewer than all."""
    gap: float | None = None
    """Largest relative excess of the objective over this engine's."""
    peak_mb: float | None = None
    reason: str = ""
    """Why there is no time."""
    remark: str = ""
    """What a reader of the time should know."""
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def extrapolated(self) -> bool:
        """Whether the time was measured on fewer than all taus."""
        return self.seconds is not None and self.solved < TAUS.size


def rows_of(record: list[dict[str, Any]]) -> list[Row]:
    """Return the rows that `dataclasses.asdict` wrote."""
    return [Row(**(row | {"problem": Problem(**row["problem"])})) for row in record]


def run_grid(
    problems: Iterable[Problem], libraries: list[str], budget: float, report: Callable[[Row], None]
) -> list[Row]:
    """Run all libraries on all problems; `report` is called with each finished cell."""
    rows = []
    for problem in problems:
        cohort = draw(problem)
        for row in compare(problem, cohort.design, cohort.score, cohort.blocks, libraries, budget):
            report(row)
            rows.append(row)
    return rows


def compare(
    problem: Problem,
    design: FloatArray,
    response: FloatArray,
    blocks: list[slice],
    libraries: list[str],
    budget: float,
) -> Iterator[Row]:
    """Run libraries on one set of arrays, filed under `problem`."""
    peers = [peer for peer in PEERS if peer.name in libraries]
    with tempfile.TemporaryDirectory(prefix="growth-benchmark-") as name:
        folder = Path(name)
        write_arrays(folder, design, response, blocks)
        best: FloatArray | None = None
        for peer in peers:
            reason = _why_missing(peer)
            if problem.n > peer.most_rows:
                reason = f"not tried above {peer.most_rows:,} rows"
            if reason:
                yield Row(problem, peer.name, reason=reason)
                continue
            _compile(peer)
            failure = _call(peer, folder, budget)
            result = folder / f"{peer.name}.json"
            if not result.exists():
                yield Row(problem, peer.name, reason=failure)
                continue
            got = json.loads(result.read_text())
            done = np.array(got["done"], dtype=np.int64)
            if failure and done.size < TELLING:
                yield Row(problem, peer.name, reason=f"{failure}; no more than {done.size} quantiles done")
                continue
            coef = np.fromfile(folder / f"{peer.name}.coef").reshape(done.size, design.shape[1])
            if failure:
                failure += f"; time from {done.size} quantiles"
            gap, off = None, 0
            if peer.name == "growth":
                best = objectives(design, response, coef, TAUS)
                gap = got["notes"]["certified_gap"]
            elif best is not None and peer.name != "floor":
                excess = objectives(design, response, coef, TAUS[done]) / best[done] - 1.0
                gap, off = float(excess.max()), int(np.count_nonzero(~(excess < OFF)))
            wrong = (
                f"{off} of {done.size} quantiles are no solution (objective off by over {OFF:g})"
                if off
                else ""
            )
            yield Row(
                problem, peer.name, got["seconds"], got["wall"], got["fastest"], got["slowest"], done.size,
                gap, got["peak_mb"], remark="; ".join(filter(None, (failure, wrong))), notes=got["notes"],
            )  # fmt: skip


def objectives(design: FloatArray, response: FloatArray, coef: FloatArray, taus: FloatArray) -> FloatArray:
    """Sum of check losses per tau."""
    out = np.zeros(taus.size)
    for start in range(0, response.size, CHUNK):
        r = response[start : start + CHUNK, None] - design[start : start + CHUNK] @ coef.T
        out += (r * (taus - (r < 0.0))).sum(axis=0)
    return out


def write_arrays(folder: Path, design: FloatArray, response: FloatArray, blocks: list[slice]) -> None:
    """Write one problem for workers in Python and R."""
    design.tofile(folder / "design.bin")
    response.tofile(folder / "response.bin")
    TAUS.tofile(folder / "taus.bin")
    spread_out(TAUS.size).astype(np.int32).tofile(folder / "order.bin")
    n, p = design.shape
    (folder / "shape.txt").write_text(f"{n} {p}\n")
    pairs = [[block.start, block.stop] for block in blocks]
    (folder / "shape.json").write_text(json.dumps({"n": n, "p": p, "blocks": pairs}))


@cache
def _why_missing(peer: Peer) -> str:
    if peer.distribution != "R":
        return "" if installed_version(peer) else f"{peer.distribution} is not installed"
    described, methods = r_versions()
    method = peer.name.removeprefix("quantreg_")
    if not methods:
        return described
    return "" if method in methods else f"{described} has no method {method}"


@cache
def _compile(peer: Peer) -> None:
    """Fill caches of compiled code, so that no time limit is spent on that."""
    if peer.distribution == "R":
        return
    cohort = draw(Problem(2_000, 2))
    with tempfile.TemporaryDirectory(prefix="growth-benchmark-") as name:
        write_arrays(Path(name), cohort.design, cohort.score, cohort.blocks)
        _call(peer, Path(name), 0.1, limit=600.0)


def _call(peer: Peer, folder: Path, budget: float, limit: float | None = None) -> str:
    """Run one library; return why it failed, or an empty string.

    Methods of R that draw samples get another seed if they do not come back; the best attempt is kept.
    """
    if limit is None:
        limit = 15 + 12 * budget
    if peer.distribution != "R":
        return _watched(
            [sys.executable, "-m", "benchmarks.worker", peer.name, str(folder), str(budget)], folder, limit
        )
    method = peer.name.removeprefix("quantreg_")
    script = [
        shutil.which("Rscript") or "Rscript",
        str(HERE / "quantreg.R"),
        method,
        str(folder),
        str(budget),
    ]
    files = [folder / f"{peer.name}.json", folder / f"{peer.name}.coef"]
    attempts: list[tuple[int, Path, str]] = []
    for seed in range(1, 1 + (SEEDS if peer.whole else 1)):
        failure = _watched([*script, str(seed)], folder, limit, files[0])
        done = len(json.loads(files[0].read_text())["done"]) if files[0].exists() else 0
        kept = folder / f"{peer.name}.{seed}"
        kept.mkdir()
        for file in filter(Path.exists, files):
            file.rename(kept / file.name)
        attempts.append((done, kept, failure))
        if done == TAUS.size or not failure:
            break
    done, kept, failure = max(attempts, key=lambda attempt: attempt[0])
    if done:
        for file in files:
            (kept / file.name).rename(file)
    failures = [failure for _, _, failure in attempts if failure]
    return f"{failures[-1]} ({len(failures)} of {len(attempts)} attempts)" if failures else ""


def _watched(command: list[str], folder: Path, limit: float, result: Path | None = None) -> str:
    """Run a command until `limit` seconds have passed, or far more than its result says is still to come."""
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(HERE.parent)}
    started = time.monotonic()
    deadline, seen = started + limit, 0.0
    with (folder / "errors.txt").open("w+") as errors:
        run = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=errors)
        while True:
            try:
                code = run.wait(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                now = time.monotonic()
            if result is not None and result.exists() and result.stat().st_mtime != seen:
                seen = result.stat().st_mtime
                ahead = json.loads(result.read_text())["ahead"]
                deadline = min(started + limit, now + PAUSE + PAUSES * ahead)
            if now > deadline:
                run.kill()
                run.wait()
                return f"stopped after {now - started:.0f} s"
        errors.seek(0)
        lines = [line for line in errors.read().splitlines() if line.strip() not in ("", "Execution halted")]
    if code:
        return "failed: " + (lines[-1][:120] if lines else f"exit code {code}")
    return ""
