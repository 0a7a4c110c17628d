"""What is to be predicted: a weighted mean of a school's blocks, or a difference of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from growth._types import FloatArray, IntArray
from growth.errors import SpecError, problem

__all__ = ["Target", "target_weights"]


@dataclass(frozen=True, slots=True)
class Target:
    """Blocks whose mean is wanted, over those of them that a school has."""

    blocks: tuple[int, ...]
    weights: Literal["n", "equal"] = "n"
    """In proportion to the school's students in each block, or the same for each."""
    minus: tuple[int, ...] = ()
    """Blocks whose mean, weighted alike, is taken off: a contrast. A school needs blocks on both sides."""


def target_weights(target: Target, size: IntArray) -> FloatArray:
    """Return the weights lambda of each school, shape (S, B); rows of NaN where it has no target block.

    Parameters
    ----------
    size : ndarray, shape (S, B)
        Students of each school and block.

    Raises
    ------
    SpecError
        If a block is named that there is not, none is named, or one is on both sides.
    """
    blocks = size.shape[1]
    named = {*target.blocks, *target.minus}
    if not target.blocks or not named <= set(range(blocks)) or set(target.blocks) & set(target.minus):
        raise SpecError(
            problem(
                f"The target {target} cannot be used",
                rule=f"some of the blocks 0 to {blocks - 1}, none of them on both sides",
            )
        )
    weights = _share(target.blocks, target.weights, size)
    return weights - _share(target.minus, target.weights, size) if target.minus else weights


def _share(blocks: tuple[int, ...], how: str, size: IntArray) -> FloatArray:
    inside = np.zeros(size.shape[1], np.bool_)
    inside[list(blocks)] = True
    part = np.where(inside, size if how == "n" else size > 0, 0).astype(np.float64)
    total = part.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(part, total, out=np.full_like(part, np.nan), where=total > 0))
