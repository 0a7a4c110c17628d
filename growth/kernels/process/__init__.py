"""The linear quantile-regression process: one exact vertex per tau, each found from its neighbour.

Program, for each tau in (0, 1), with rows x_i (p columns, full rank), weights w_i > 0:

    primal   min_b  sum_i w_i rho_tau(y_i - x_i'b),      rho_tau(u) = u (tau - 1[u < 0])
    dual     max_d  sum_i d_i y_i   subject to   sum_i d_i x_i = 0,   (tau - 1) w_i <= d_i <= tau w_i

A vertex is a set h of p linearly independent rows with b = X_h^-1 y_h. Every other row carries a sign s_i
and the dual value w_i (tau - 1[s_i < 0]). With g = sum of these w_i (tau - 1[s_i < 0]) x_i, the duals of the
basic rows are d_h = -X_h^-T g, and b is optimal if and only if all of them lie in their boxes. D denotes
X_h^-1; row j of the array ``directions`` is column j of D: moving along it changes the residual of basic row
j and of no other basic row.

Most rows are nowhere near the hyperplane and their sign is known. Per tau:

1. *Predict* b from the neighbouring taus: by a Newton step on tau, and by their trend (``predict.py``).
2. *Screen* in single precision all rows that are not known to be far away (``screen.py``). Rows with
   |r_i| < omega h_i, where h_i^2 = x_i'(X'WX)^-1 x_i, form the band; all others are summed into one linear
   term (Portnoy & Koenker 1997). The sum over negative rows is carried from tau to tau and changed only by
   rows that change sides.
3. *Newton* steps on the smoothed gradient inside the band.
4. *Vertex*: a basis from the rows nearest to zero, then long-step primal simplex pivots (Barrodale & Roberts
   1973; Bloomfield & Steiger 1983), the leaving row being the one with the largest predicted decrease.
5. *Prove* that no row outside the band changed sides: |x_i'delta| <= h_i |delta|_{X'WX}; rows that neither
   this bound nor a single-precision residual settles are checked one by one, and offenders join the band.

The first tau is approached from least squares, by solutions to growing samples of the rows (``approach.py``).

Where the density of the responses at the hyperplane changes abruptly from one tau to the next, as where the
hyperplane comes to lie along a floor of the scale, predictions and Newton steps fail. The search then goes
on from the vertex of the last tau in a wider band: the vertex of the next tau is few long-step pivots away.
Rows on such a floor are dithered so far that they have a density; it is much larger than that of other rows,
so neither the width of the band nor the ridge of the curvature is left to them.

Pivoting works on responses perturbed by a tiny, fixed amount per row, so that no two rows tie; at its optimum
the true responses return and pivoting goes on if anything changed. Where several b are optimal (a dual value
on the edge of its box) the one is taken that is the limit from lower taus. Signs are discrete state: they are
never read off a residual that is zero up to rounding. Optimality is decided by dual feasibility alone.
Screening and Newton steps may use reassociated sums (they choose the path, not the result).

References
----------
.. [1] R. Koenker (2005), Quantile Regression, Cambridge University Press, ch. 6.
.. [2] S. Portnoy and R. Koenker (1997), Statistical Science 12(4), 279-300.
.. [3] I. Barrodale and F. Roberts (1973), SIAM Journal on Numerical Analysis 10(5), 839-848.
.. [4] P. Bloomfield and W. Steiger (1983), Least Absolute Deviations, Birkhaeuser.
"""

from growth.kernels.process.ahead import AHEAD, compile_ahead
from growth.kernels.process.data import (
    FENCE,
    N_COUNTERS,
    OK,
    SEEN,
    TILE,
    TRAIL,
    Problem,
    State,
    Work,
)
from growth.kernels.process.path import solve_path

__all__ = [
    "AHEAD",
    "FENCE",
    "N_COUNTERS",
    "OK",
    "SEEN",
    "TILE",
    "TRAIL",
    "Problem",
    "State",
    "Work",
    "compile_ahead",
    "solve_path",
]
