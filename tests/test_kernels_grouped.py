"""The kernel of ranks in draws against its slow twin, compiled and as plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

from growth._types import FloatArray, IntArray
from growth.kernels.grouped import places

Kernel: TypeAlias = Callable[..., Any]


def plain(kernel: Kernel) -> Kernel:
    """Return the kernel as Python runs it with NUMBA_DISABLE_JIT=1."""
    return getattr(kernel, "py_func", kernel)


def twin_places(reference: FloatArray, draws: FloatArray) -> IntArray:
    below = (reference[:, None, :] < draws[:, :, None]).sum(axis=2)
    equal = (reference[:, None, :] == draws[:, :, None]).sum(axis=2)
    return np.asarray(2 * below + equal)


@pytest.fixture(params=["compiled", "plain"])
def run(request: pytest.FixtureRequest) -> Callable[[Kernel], Kernel]:
    return plain if request.param == "plain" else lambda kernel: kernel


@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 5, 9), (4, 12, 3), (3, 2, 0)])
def test_places_match_the_twin(run: Callable[[Kernel], Kernel], shape: tuple[int, int, int]) -> None:
    rows, schools, size = shape
    rng = np.random.default_rng(sum(shape))
    reference = np.sort(rng.integers(6, size=(rows, size)).astype(np.float64), axis=1)
    draws = rng.integers(-1, 7, size=(rows, schools)).astype(np.float64)
    got = run(places)(reference, draws, np.argsort(draws, axis=1))
    np.testing.assert_array_equal(got, twin_places(reference, draws))
