"""Kernels that only other kernels call, compiled before those that call them."""

from __future__ import annotations

from typing import Any

from numba import boolean, float32, float64, int64

from growth.kernels.borrowed import type_of_borrowed
from growth.kernels.process.data import Problem, State, Work
from growth.kernels.process.screen import offenders
from growth.kernels.process.vertex import crash, descend

__all__ = ["AHEAD", "compile_ahead"]

AHEAD = (offenders, descend, crash)
"""The longest parts of the walk, apart from the walk itself and what its start needs.

The pivoting shares kernels with the start: it comes second, so that it finds them compiled.
"""


def compile_ahead(problem: Problem, state: State, work: Work) -> None:
    """Compile them as the walk calls them."""
    lent = [type_of_borrowed(record) for record in (problem, state, work)]
    vector = float64[::1]
    kinds = (
        (*lent, vector, float32, float32, float32, int64, boolean, float64),
        (*lent, float64, vector, vector, int64, int64, boolean),
        (lent[2], int64, float64),
    )
    for kernel, arguments in zip(AHEAD, kinds, strict=True):
        compiled: Any = kernel
        compiled.compile(arguments)
