"""Where the solution of the next tau lies, judged by those of the taus before it.

Two guesses are made. One is a Newton step on tau: with the curvature H = sum of w_i f_i(0) x_i x_i' the
solution moves by H^-1 (sum of w_i x_i) per unit of tau. It needs one solution, but sees the density of this
tau, which is another one at the next where tails thin out, and an estimate of it from the rows of a band. The
other goes on along the solutions before, which are nearly straight lines in the normal score of tau. It knows
nothing of the density, but repeats the noise of those solutions. The two are averaged, each with the weight
that its errors so far allow.
"""

from __future__ import annotations

from growth.kernels.compiler import inlined, inner
from growth.kernels.process.algebra import cholesky, cholesky_solve, copy, difference, metric_norm
from growth.kernels.process.data import Problem, State, Work

LATEST = 0.4
"""Weight of the latest error among all of a guess."""


@inlined
def predict(problem: Problem, state: State, work: Work, step: float, score: float) -> None:
    """Move ``state.coef`` to where the solution is expected, `step` in tau further, at a normal `score`."""
    p = state.coef.shape[0]
    newton, straight, trail, scores = state.guesses[0], state.guesses[1], state.trail, state.trail_score
    known = state.n_trail[0]
    state.guessed[0] = False
    if cholesky(state.curvature, work.factor):
        for a in range(p):
            work.vec[12, a] = step * problem.total[a]
        cholesky_solve(work.factor, work.vec[12], newton)
        for a in range(p):
            newton[a] += state.coef[a]
    elif known < 2:
        return
    else:
        copy(state.coef, newton)
    if known < 2:
        copy(newton, state.coef)
        return
    state.guessed[0] = True
    last, first = known - 1, 0
    ahead = (score - scores[last]) / (scores[last] - scores[first])
    # Both share the noise of the solution that they aim at: fourth powers of their errors tell them apart.
    of_newton, of_straight = state.errors[0] ** 2, state.errors[1] ** 2
    share = of_straight / (of_newton + of_straight) if of_newton + of_straight > 0.0 else 0.5
    for a in range(p):
        straight[a] = trail[last, a] + ahead * (trail[last, a] - trail[first, a])
        state.coef[a] = share * newton[a] + (1.0 - share) * straight[a]


@inner
def learn(problem: Problem, state: State, work: Work, score: float) -> None:
    """Compare the guesses with the solution in ``state.coef``, and remember it."""
    miss = work.vec[12]
    if state.guessed[0]:
        for k in range(2):
            difference(state.guesses[k], state.coef, miss)
            error = metric_norm(problem.metric, miss) ** 2
            old = state.errors[k]
            state.errors[k] = error if old == 0.0 else (1.0 - LATEST) * old + LATEST * error
    trail, scores = state.trail, state.trail_score
    last = state.n_trail[0]
    if last == scores.shape[0]:
        last -= 1
        for k in range(last):
            scores[k] = scores[k + 1]
            copy(trail[k + 1], trail[k])
    scores[last] = score
    copy(state.coef, trail[last])
    state.n_trail[0] = last + 1
