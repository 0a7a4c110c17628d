"""The quantile kernels as plain Python (NUMBA_DISABLE_JIT=1) give what the machine code gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import kernel_cases
import numpy as np
import pytest

from growth._types import FloatArray

SAME = 1e-12
"""Relative to the largest value of a result. Compiled search kernels may reassociate sums: they choose the
path to a vertex; the vertex, its coefficients and its proof are computed in strict arithmetic."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FloatArray]:
    """Return the results of a process in which nothing is compiled."""
    out = tmp_path_factory.mktemp("plain") / "results.npz"
    subprocess.run(
        [sys.executable, kernel_cases.__file__, out],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        check=True,
        timeout=300,
    )
    with np.load(out) as results:
        return dict(results)


@pytest.fixture(scope="module")
def compiled() -> dict[str, FloatArray]:
    return kernel_cases.results()


def test_the_same_results(plain: dict[str, FloatArray], compiled: dict[str, FloatArray]) -> None:
    assert plain.keys() == compiled.keys()
    for name, expected in compiled.items():
        if name.endswith("relative_gap"):
            assert plain[name].max() <= 1e-9
        elif expected.dtype == np.int64:
            np.testing.assert_array_equal(plain[name], expected, err_msg=name)
        else:
            size = max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(plain[name], expected, rtol=SAME, atol=SAME * size, err_msg=name)


def test_coefficients_to_the_last_bit(plain: dict[str, FloatArray], compiled: dict[str, FloatArray]) -> None:
    for name in (name for name in compiled if name.endswith("_coef")):
        np.testing.assert_array_equal(plain[name], compiled[name], err_msg=name)


def test_nothing_was_compiled() -> None:
    """The switch works: a kernel is then an ordinary function."""
    code = "from growth.kernels.scoring import place; print(type(place).__name__)"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert shown.stdout.strip() == "function"
