"""The first fit of an installation: what is compiled beforehand is what a fit needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from numba import config

from growth.quantile import fit_quantiles, warm

PROGRAM = """
import numpy as np
from growth.kernels import bases, certificate, scoring
from growth.kernels import process as kernel
from growth.quantile import fit_quantiles, warm
warm._compile_the_walk()
warm.compile_the_rest()
score = np.arange(3000.0) % 12.0
design = np.column_stack([np.ones(3000), score, score**2])
response = (np.arange(3000.0) ** 2) % 211.0
weights = np.ones(3000)
for read_only in (False, True):
    for array in (design, response, weights):
        array.flags.writeable = not read_only
    for blocks in ([], [slice(1, 3)]):
        for rows in (400, 3000):
            some = design[:rows], response[:rows]
            process = fit_quantiles(*some, weights=weights[:rows], blocks=blocks)
            process.score(*some)
            process.predict(some[0])
kernels = [kernel.solve_path, *kernel.AHEAD, certificate.sweep, certificate.duality_gaps]
kernels += [bases.vertex_coefficients, scoring.place, scoring.add_curve_values]
print([len(one.signatures) for one in kernels])
"""


@pytest.fixture(autouse=True)
def _forgetful() -> None:
    warm._compile_once.cache_clear()


@pytest.mark.skipif(config.DISABLE_JIT, reason="kernels are not compiled")
def test_each_kernel_is_compiled_for_one_kind_of_arguments() -> None:
    """More would cost seconds; and two processes that write a kernel at once must write the same."""
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str([1] * 9)


@pytest.mark.skipif(config.DISABLE_JIT, reason="kernels are not compiled")
def test_an_image_is_compiled_beforehand() -> None:
    command = [sys.executable, "-m", "growth.quantile"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    folder = Path(run.stdout.removeprefix("compiled kernels: ").strip())
    merging = ("merge_cells", "group_coded", "group_equal")
    for name in ("solve_path", "sweep", "place", "add_curve_values", "bspline_columns", *merging):
        assert list(folder.glob(f"*/*.{name}-*.nbi")), name


def test_a_compiled_installation_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    fit_quantiles(np.ones((40, 1)), np.arange(40.0))
    monkeypatch.setattr(warm.subprocess, "Popen", _refused)
    warm._compile_once.cache_clear()
    warm.compile_together()


def _refused(*_: object, **__: object) -> None:
    raise AssertionError("a process was started")


class _Other:
    """A second process that is not one."""

    def __init__(self, command: list[str], env: dict[str, str], **_: object) -> None:
        self.command, self.environment, self.calls = command, env, list[str]()

    def wait(self, timeout: float | None = None) -> int:
        self.calls.append("wait")
        return 0

    def kill(self) -> None:
        self.calls.append("kill")


def test_an_empty_cache_is_filled_by_two(monkeypatch: pytest.MonkeyPatch) -> None:
    started, walked = [], []

    def start(command: list[str], **settings: object) -> _Other:
        started.append(_Other(command, **settings))  # type: ignore[arg-type]
        return started[-1]

    monkeypatch.delenv(warm.ALONE, raising=False)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    monkeypatch.setattr(warm, "_is_compiled", lambda: False)
    monkeypatch.setattr(warm, "_compile_the_walk", lambda: walked.append(True))
    monkeypatch.setattr(warm.subprocess, "Popen", start)
    warm.compile_together()
    warm.compile_together()
    assert len(started) == len(walked) == 1
    assert started[0].environment[warm.ALONE] == "1", "the other process must not start a third one"
    assert started[0].environment["NUMBA_CACHE_DIR"]
    assert started[0].calls == ["wait", "kill", "wait"]


@pytest.mark.parametrize("why", ["asked", "one core", "no process"])
def test_it_does_without(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(why)

    monkeypatch.setattr(warm, "_is_compiled", lambda: False)
    monkeypatch.setattr(warm, "_compile_the_walk", _refused)
    monkeypatch.setattr(warm.subprocess, "Popen", failing if why == "no process" else _refused)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1 if why == "one core" else 2)
    monkeypatch.delenv(warm.ALONE, raising=False)
    if why == "asked":
        monkeypatch.setenv(warm.ALONE, "1")
    warm.compile_together()
