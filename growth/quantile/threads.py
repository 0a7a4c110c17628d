"""Threads of one fit. joblib waits until there are several: it takes a quarter of the time of an import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

__all__ = ["available", "in_threads"]

R = TypeVar("R")


def available(n_jobs: int) -> int:
    """Return the number of threads that `n_jobs` stands for, as joblib counts (-1: one per processor)."""
    if n_jobs == 1:
        return 1
    from joblib import effective_n_jobs

    return int(effective_n_jobs(n_jobs))


def in_threads(function: Callable[..., R], tasks: Sequence[tuple[Any, ...]], n_jobs: int) -> list[R]:
    """Call a function with the arguments of each task; return the results in the order of the tasks."""
    if n_jobs == 1:
        return [function(*task) for task in tasks]
    from joblib import Parallel, delayed

    return list(Parallel(n_jobs=n_jobs, backend="threading")(delayed(function)(*task) for task in tasks))
