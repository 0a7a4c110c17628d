"""The first fit of an installation: two processes share the compilation of the kernels.

Kernels are read from a cache (`growth.kernels.compiler`) once compiled. When it is empty, compiling takes far
longer than fitting, and numba compiles one function at a time; so a second process compiles the pivoting,
which this one then reads from the cache, and what comes before and after the walk over the taus, while this
one compiles the walk. Where both compile the same kernel, both write the same to the cache. Set
GROWTH_COMPILE_ALONE=1 to do without a second process; ``python -m growth.quantile`` compiles beforehand, as
for an image.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock

import numpy as np

from growth._types import FloatArray
from growth.kernels import process as kernel
from growth.kernels.compiler import folder_in_use, forget_unused
from growth.quantile.prepare import Prepared, arranged, least_squares, prepare
from growth.quantile.proof import prove
from growth.quantile.scores import Reading
from growth.quantile.walk import initial_state, walk_taus, workspace

__all__ = ["compile_together"]

ALONE = "GROWTH_COMPILE_ALONE"
PATIENCE = 120.0
"""Seconds after which the other process is given up [s]."""
_TAUS = np.array([0.25, 0.5])
_BLOCKS = (slice(1, 3),)
_one_at_a_time = Lock()


def compile_together() -> None:
    """Compile the kernels of a fit in two processes if none is compiled yet; else return at once."""
    with _one_at_a_time:
        _compile_once()


@cache
def _compile_once() -> None:
    if os.environ.get(ALONE) or not sys.executable or _is_compiled():
        return
    from joblib import cpu_count

    if cpu_count() < 2:
        return
    forget_unused()
    package = str(Path(__file__).parents[2])
    inherited = os.environ.get("PYTHONPATH")
    environment = os.environ | {
        ALONE: "1",
        "NUMBA_CACHE_DIR": folder_in_use(),
        "PYTHONPATH": package if not inherited else os.pathsep.join([package, inherited]),
    }
    quiet = subprocess.DEVNULL
    command = [sys.executable, "-c", f"from {__name__} import compile_the_rest; compile_the_rest()"]
    try:
        other = subprocess.Popen(command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)
    except OSError:
        return  # no second process to be had: kernels are compiled where they are needed
    try:
        with _no_garbage():
            _compile_the_walk()
        other.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        pass
    finally:
        other.kill()
        other.wait()


def _is_compiled() -> bool:
    """Tell whether a compiled walk lies in the cache, or kernels are not compiled at all."""
    stats = getattr(kernel.solve_path, "stats", None)
    return stats is None or any(Path(stats.cache_path).glob("*.solve_path-*.nbi"))


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Do not look for garbage: compiling makes millions of objects that stay, a seventh of its time."""
    used = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if used:
            gc.enable()


def _compile_the_walk() -> None:
    prepared, _, _ = _example(coded=False)
    walk_taus(prepared, _TAUS, None, None)


def compile_the_rest() -> None:
    """Compile coding, pivoting, proof and scoring."""
    with _no_garbage():
        prepared, matrix, response = _example(coded=True)
        data = prepared.problem
        kernel.compile_ahead(data, initial_state(prepared), workspace(data))
        _, rows = np.unique(prepared.design.dense()[:, 1], return_index=True)
        basis = np.tile(rows[: matrix.shape[1]], (_TAUS.size, 1))
        coef, *_ = prove(prepared, _TAUS, basis, np.empty((0, 3), np.int32))
        reading = Reading(coef, _TAUS, _BLOCKS, rearrange=True, scale=1e5, bounds=(-np.inf, np.inf))
        reading.scores(matrix, response, None)


def _example(*, coded: bool) -> tuple[Prepared, FloatArray, FloatArray]:
    """Prepare a small fit."""
    row = np.arange(4096.0)
    score = row % 10.0
    matrix = np.column_stack([np.ones(row.size), score, score**2])
    response = (row * row) % 101.0
    weight = np.ones(row.size)
    rows = arranged(matrix, _BLOCKS if coded else ())
    rows, geometry, totals = least_squares(rows, response, weight, rows.moments(weight))
    return prepare(rows, response, weight, geometry, totals), matrix, response
