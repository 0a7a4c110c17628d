"""What the kernels of the process share: the problem, the state from tau to tau, scratch, counters."""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.kernels.design import ALWAYS, FENCE, TILE
from growth.kernels.rows import Rows

__all__ = [
    "ALWAYS",
    "CORE",
    "FENCE",
    "N_COUNTERS",
    "OK",
    "SEEN",
    "STALLED",
    "TILE",
    "TOP",
    "TRAIL",
    "UNPROVEN",
    "Problem",
    "State",
    "Work",
]

OK = 0
STALLED = 1
UNPROVEN = 2

TOP = cast(int, np.int64(0))
"""The band's first row. (A literal 0 would be compiled apart from other numbers.)"""

CORE = 25
"""Rows per column among which vertices are sought first."""

TRAIL = 4
"""How many solutions are remembered."""

SEEN = 192
"""How many screenings are remembered."""

PASSES, PIVOTS, BAND, CHECKED, ADDED, RETRIES = range(6)
"""Columns of the counters per tau."""
N_COUNTERS = 6


class Problem(NamedTuple):
    """The data of one fit, shared by all taus and never written to."""

    rows: Rows  # n rows of p columns, scaled so that columns are O(1)
    response: FloatArray  # (n,)
    searched: FloatArray  # (n,) the same moved a little, at random, so that no rows tie
    dither: float  # largest move of rows at a crowded end of the scale; 0 if there is none
    apart: float  # share of that move by which rows on the hyperplane are set apart
    tie: float  # residuals up to this are zero up to rounding
    near: float  # rows with residuals up to this are reported with their side
    weight: FloatArray  # (n,) positive
    tiles: NDArray[np.float32]  # (tiles, p, TILE) single-precision copy, zero rows at the end; none if coded
    by_column: NDArray[np.float32]  # (blocks, p, lines) single-precision copy of the tables; none if dense
    offset32: NDArray[np.float32]  # (tiles * TILE,) response - design @ center, huge in the padding
    leverage32: NDArray[np.float32]  # (tiles * TILE,) h_i, rounded up
    tile_lever: NDArray[np.float32]  # (tiles,) largest h_i of each tile
    unit: FloatArray  # (p,) coefficients of a constant 1; zeros if there is none
    level: FloatArray  # (p,) mean row; zeros if there is no constant
    center: FloatArray  # (p,) coefficients about which the single-precision residuals are taken
    column_max: FloatArray  # (p,) largest absolute value per column
    offset_max: float  # largest |response - design @ center|
    gram: FloatArray  # (p, p) X'WX
    metric: FloatArray  # (p, p) lower Cholesky factor of X'X
    total: FloatArray  # (p,) sum of w_i x_i
    total_abs: FloatArray  # (p,) sum of w_i |x_i|


class State(NamedTuple):
    """What one tau hands to the next."""

    coef: FloatArray  # (p,)
    curvature: FloatArray  # (p, p) estimate of sum_i w_i f_i(0) x_i x_i'
    side32: NDArray[np.float32]  # (tiles * TILE,) +1 or -1: the side of each row
    below: FloatArray  # (p,) sum of w_i x_i over rows with side -1
    width: FloatArray  # (2,) omega; omega when a search from the last tau's vertex arrived
    room: FloatArray  # (1,) how many times its usual rows the band holds: more where that was too narrow
    pace: FloatArray  # (1,) length of the last step of a pivot, for each unit of excess
    basis: IntArray  # (p,) basic rows of the last tau, -1 before the first
    vertex: FloatArray  # (p,) coefficients through them
    trail: FloatArray  # (TRAIL, p) solutions of the taus before, the latest last
    trail_score: FloatArray  # (TRAIL,) normal scores of these taus
    n_trail: IntArray  # (1,)
    guesses: FloatArray  # (2, p) where the next solution was expected, by two rules
    guessed: NDArray[np.bool_]  # (1,) whether both are to be compared with it
    errors: FloatArray  # (2,) mean squared errors of both, in the metric
    ties: IntArray  # (1,) how many other rows lay on its hyperplane
    tile_low: NDArray[np.float32]  # (tiles,) smallest residual when the tile was last looked at
    tile_high: NDArray[np.float32]  # (tiles,) and the largest
    tile_seen: IntArray  # (tiles,) which of the coefficients seen that was
    seen: FloatArray  # (SEEN, p) coefficients at which rows were screened, without level, in the metric
    seen_level: FloatArray  # (SEEN,) and their levels
    n_seen: IntArray  # (1,)


class Work(NamedTuple):
    """Scratch of one path; capacity m rows in the band."""

    residual32: NDArray[np.float32]  # (tiles * TILE,) of the tiles looked at
    sums: NDArray[np.float32]  # (blocks, lines) fitted values of table lines
    moved_by: NDArray[np.float32]  # (SEEN,) change of level since each of the coefficients seen
    moved_apart: NDArray[np.float32]  # (SEEN,) change of the rest, in the metric
    listed: IntArray  # (tiles * TILE,)
    n_listed: IntArray  # (1,)
    joined: IntArray  # (tiles * TILE,) the last band that a row joined after the screening
    visit: IntArray  # (1,) number of the band
    rows: IntArray  # (m,) row numbers of the band
    lines: FloatArray  # (m, p) their rows of the design
    band: FloatArray  # (p, m) the same transposed, for loops over rows
    y: FloatArray  # (m,) responses as searched
    exact: FloatArray  # (m,) responses
    w: FloatArray  # (m,)
    h: FloatArray  # (m,) leverages
    r: FloatArray  # (m,) residuals
    sign: FloatArray  # (m,) +1, -1; 0 for basic rows
    z: FloatArray  # (m,)
    step: FloatArray  # (m,)
    slope: FloatArray  # (m,)
    pick: IntArray  # (m,)
    basis: IntArray  # (p,) positions in the band
    directions: FloatArray  # (p, p)
    curve: FloatArray  # (p,) directions_j' curvature directions_j
    factor: FloatArray  # (p, p)
    fresh: FloatArray  # (p, p)
    vec: FloatArray  # (14, p)
    beta: NDArray[np.float32]  # (p,)
    tile: NDArray[np.float32]  # (TILE,)
    flag: NDArray[np.uint8]  # (TILE,)
    flag_words: IntArray  # (TILE / 8,) the same memory
