"""Array aliases by rank and dtype, and the option names that several floors share."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
"""float64 array of any rank; the docstring of each function states the shape."""
IntArray: TypeAlias = NDArray[np.int64]
CodeArray: TypeAlias = NDArray[np.signedinteger]
"""Whole numbers, small ones in few bytes."""
BoolArray: TypeAlias = NDArray[np.bool_]

Aggregate: TypeAlias = Literal["mean", "median", "trimmed_mean", "mean_residual"]
PercentileKind: TypeAlias = Literal[
    "continuous", "integer", "simex", "simex_integer", "simex_ranked", "simex_ranked_integer"
]
VarianceRule: TypeAlias = Literal["moments", "reml", "integrated"]
