"""The grid problem x library: same data, same run, one thread each, every library in its own process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

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


def run_grid(
    problems: Iterable[Problem], libraries: list[str], budget: float, report: Callable[[Row], None]
) -> list[Row]:
    """Run all libraries on all problems; `report` is called with each finished cell."""
    peers = [peer for peer in PEERS if peer.name in libraries]
    missing = {peer.name: reason for peer in peers if (reason := _why_missing(peer))}
    _compile([peer for peer in peers if peer.distribution != "R" and peer.name not in missing])
    rows = []
    for problem in problems:
        with tempfile.TemporaryDirectory(prefix="growth-benchmark-") as name:
            for row in _run_problem(problem, peers, missing, budget, Path(name)):
                report(row)
                rows.append(row)
    return rows


def objectives(design: FloatArray, response: FloatArray, coef: FloatArray, taus: FloatArray) -> FloatArray:
    """Sum of check losses per tau."""
    out = np.zeros(taus.size)
    for start in range(0, response.size, CHUNK):
        r = response[start : start + CHUNK, None] - design[start : start + CHUNK] @ coef.T
        out += (r * (taus - (r < 0.0))).sum(axis=0)
    return out


def _why_missing(peer: Peer) -> str:
    if peer.distribution != "R":
        return "" if installed_version(peer) else f"{peer.distribution} is not installed"
    described, methods = r_versions()
    method = peer.name.removeprefix("quantreg_")
    if not methods:
        return described
    return "" if method in methods else f"{described} has no method {method}"


def _compile(peers: list[Peer]) -> None:
    """Fill caches of compiled code, so that no time limit is spent on that."""
    cohort = draw(Problem(2_000, 2))
    with tempfile.TemporaryDirectory(prefix="growth-benchmark-") as name:
        _write(Path(name), cohort.design, cohort.score, cohort.blocks)
        for peer in peers:
            _call(peer, Path(name), 0.1, limit=600.0)


def _run_problem(
    problem: Problem, peers: list[Peer], missing: dict[str, str], budget: float, folder: Path
) -> Iterator[Row]:
    cohort = draw(problem)
    design, response = cohort.design, cohort.score
    _write(folder, design, response, cohort.blocks)
    best: FloatArray | None = None
    for peer in peers:
        reason = missing.get(peer.name, "")
        if problem.n > peer.most_rows:
            reason = f"not tried above {peer.most_rows:,} rows"
        if reason:
            yield Row(problem, peer.name, reason=reason)
            continue
        failure = _call(peer, folder, budget)
        result = folder / f"{peer.name}.json"
        if not result.exists():
            yield Row(problem, peer.name, reason=failure)
            continue
        got = json.loads(result.read_text())
        done = np.array(got["done"], dtype=np.int64)
        coef = np.fromfile(folder / f"{peer.name}.coef").reshape(done.size, design.shape[1])
        gap, off = None, 0
        if peer.name == "growth":
            best = objectives(design, response, coef, TAUS)
            gap = got["notes"]["certified_gap"]
        elif best is not None and peer.name != "floor":
            excess = objectives(design, response, coef, TAUS[done]) / best[done] - 1.0
            gap, off = float(excess.max()), int(np.count_nonzero(~(excess < OFF)))
        wrong = (
            f"{off} of {done.size} quantiles are no solution (objective off by over {OFF:g})" if off else ""
        )
        yield Row(
            problem, peer.name, got["seconds"], got["wall"], got["fastest"], got["slowest"], done.size,
            gap, got["peak_mb"], remark="; ".join(filter(None, (failure, wrong))), notes=got["notes"],
        )  # fmt: skip


def _write(folder: Path, design: FloatArray, response: FloatArray, blocks: list[slice]) -> None:
    design.tofile(folder / "design.bin")
    response.tofile(folder / "response.bin")
    TAUS.tofile(folder / "taus.bin")
    spread_out(TAUS.size).astype(np.int32).tofile(folder / "order.bin")
    n, p = design.shape
    (folder / "shape.txt").write_text(f"{n} {p}\n")
    pairs = [[block.start, block.stop] for block in blocks]
    (folder / "shape.json").write_text(json.dumps({"n": n, "p": p, "blocks": pairs}))


def _call(peer: Peer, folder: Path, budget: float, limit: float | None = None) -> str:
    """Run one library; return why it failed, or an empty string."""
    if limit is None:
        limit = 15 + (6 if peer.whole else 12) * budget
    if peer.distribution == "R":
        method = peer.name.removeprefix("quantreg_")
        command = [shutil.which("Rscript") or "Rscript", str(HERE / "quantreg.R"), method]
    else:
        command = [sys.executable, "-m", "benchmarks.worker", peer.name]
    command += [str(folder), str(budget)]
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(HERE.parent)}
    try:
        run = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return f"stopped after {limit:.0f} s"
    if run.returncode:
        lines = [line for line in run.stderr.strip().splitlines() if line.strip()]
        return "failed: " + (lines[-1][:120] if lines else f"exit code {run.returncode}")
    return ""
