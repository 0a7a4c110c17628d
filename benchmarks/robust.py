"""Robust before fast: random problems of every awkward kind, all certified, none stalling.

A problem is a size (n, p), a kind of design, a kind of response and a kind of weights, drawn with a seed of
its own: `Case(n, p, number)` can be drawn again at any time. Each is fitted, then refitted warm to other
data: another measurement-error replicate, a bootstrap sample, or another response. Run
``python -m benchmarks.robust [--quick] [--seed S]``. The exit code is 1 if a fit or refit fails or stalls, if
a refit and a fit from scratch disagree, or if 1 % of the quantiles or more needed the fallback.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.problems import TAUS, Problem, draw
from benchmarks.table import markdown
from growth._types import FloatArray
from growth.errors import GrowthError
from growth.quantile import fit_quantiles

STALL = 5.0
"""Times the median of its size from which a problem counts as stalled."""
FALLBACKS = 0.01
"""Share of quantiles that must not need the fallback."""
AGREE = 1e-9
"""Relative difference of objectives that rounding and two certified gaps can explain."""
ROUNDING = 1e-12
"""The same for perfect fits, relative to the sum of the responses."""
LAMBDAS = (0.5, 1.0, 1.5, 2.0)
SEED = 20260715


@dataclass(frozen=True, slots=True)
class Plan:
    """Which sizes are run, and how many problems of each."""

    sizes: tuple[tuple[int, int], ...]
    each: int
    seed: int = SEED


QUICK = Plan(((30, 2), (30, 8), (300, 8), (300, 15), (3_000, 8), (3_000, 22)), 10)
FULL = Plan(
    tuple(
        (n, p)
        for n, p in product((30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000), (1, 2, 8, 15, 22, 30, 60))
        if 3 * p <= n
    ),
    24,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One random problem."""

    n: int
    p: int
    number: int
    seed: int = SEED

    @property
    def design_kind(self) -> str:
        """Kinds take turns; splines need at least one prior, dependence two columns."""
        kinds = [
            kind for kind in DESIGNS if self.p >= (8 if "spline" in kind else 2 if "depend" in kind else 1)
        ]
        return kinds[self.number % len(kinds)]

    @property
    def rng(self) -> np.random.Generator:
        """Return the generator of this problem."""
        return np.random.default_rng([self.seed, self.n, self.p, self.number])


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The data of one case."""

    design: FloatArray
    response: FloatArray
    weights: FloatArray | None
    blocks: list[slice]
    kind: str
    refit: tuple[FloatArray, FloatArray, FloatArray | None]
    """Design, response and weights to refit to."""
    refit_kind: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case."""

    case: Case
    kind: str
    seconds: float = float("nan")
    refit_seconds: float = float("nan")
    gap: float = float("nan")
    """Of fit and refit, the larger."""
    fallbacks: int = 0
    """Quantiles of fit and refit."""
    from_scratch: bool = False
    """Whether the refit did not start from the fit."""
    error: str = ""

    @property
    def slower(self) -> float:
        """CPU seconds of the fit or of the refit, whichever took longer."""
        return max(self.seconds, self.refit_seconds)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of all cases."""

    outcomes: tuple[Outcome, ...]
    medians: dict[tuple[int, int], float]

    @property
    def failures(self) -> list[Outcome]:
        """Cases without a certified solution for every quantile."""
        return [outcome for outcome in self.outcomes if outcome.error]

    @property
    def stalls(self) -> list[Outcome]:
        """Cases that took far longer than others of their size."""
        return [outcome for outcome in self.outcomes if _stalled(outcome, self.medians)]

    @property
    def fallback_share(self) -> float:
        """Share of quantiles that needed the plain simplex on all rows."""
        return sum(outcome.fallbacks for outcome in self.outcomes) / (2 * TAUS.size * len(self.outcomes))

    @property
    def refit_share(self) -> float:
        """Median share of the fit's time that a warm refit took."""
        warm = [o.refit_seconds / o.seconds for o in self.outcomes if not o.error and not o.from_scratch]
        return median(warm or [float("nan")])

    @property
    def passed(self) -> bool:
        """Whether all promises were kept."""
        return not self.failures and not self.stalls and self.fallback_share < FALLBACKS

    def summary(self) -> dict[str, object]:
        """Return the numbers that matter, for JSON."""
        return {
            "problems": len(self.outcomes),
            "failures": [_describe(outcome) + ": " + outcome.error for outcome in self.failures],
            "stalls": [_describe(outcome) for outcome in self.stalls],
            "fallback_share": self.fallback_share,
            "from_scratch": sum(o.from_scratch for o in self.outcomes),
            "refit_share": self.refit_share,
            "largest_gap": max((o.gap for o in self.outcomes if not o.error), default=float("nan")),
            "passed": self.passed,
        }


def run(plan: Plan, progress: Callable[[Outcome], None] = lambda outcome: None) -> Result:
    """Fit all problems of a plan on one thread: waiting threads of a linear-algebra library burn CPU time."""
    with threadpool_limits(limits=1, user_api="blas"):
        return _run(plan, progress)


def _run(plan: Plan, progress: Callable[[Outcome], None]) -> Result:
    for p in (3, 40):  # compile everything first: small and large problems, with and without weights
        _attempt(Case(1_000, p, 0))
    for number in (8, 20):  # large coded designs
        _attempt(Case(10_000, 22, number))
    outcomes = []
    for (n, p), number in product(plan.sizes, range(plan.each)):
        outcomes.append(_attempt(Case(n, p, number, plan.seed)))
        progress(outcomes[-1])
    medians = {
        size: median(
            [o.seconds for o in outcomes if (o.case.n, o.case.p) == size and not o.error] or [float("nan")]
        )
        for size in plan.sizes
    }
    return Result(tuple(_second_chance(outcome, medians) for outcome in outcomes), medians)


def draw_case(case: Case) -> Drawn:
    """Draw the data of a case."""
    rng = case.rng
    n = case.n
    columns = DESIGNS[case.design_kind](rng, n, case.p)
    design, blocks = columns.design, columns.blocks
    response_kind, response = _response(rng, design)
    weight_kind, weights = _weights(rng, n)
    if case.design_kind == "duplicated rows":
        rows = rng.integers(0, max(1, n // 4), n)
        design, response = design[rows], response[rows]
    again: tuple[FloatArray, FloatArray, FloatArray | None]
    if columns.replicate is not None:
        again_kind, again = "another replicate", (columns.replicate, response, weights)
    elif rng.integers(2):
        counts = rng.multinomial(n, np.full(n, 1.0 / n)).astype(np.float64)
        again_kind, again = "bootstrap", (design, response, counts if weights is None else counts * weights)
    else:
        other_kind, other = _response(rng, design)
        again_kind, again = f"to {other_kind}", (design, other, weights)
    kind = f"{case.design_kind}, {response_kind}, {weight_kind}"
    return Drawn(design, response, weights, blocks, kind, again, again_kind)


def report(result: Result) -> str:
    """Render the table of sizes, then what went wrong."""
    body = []
    for n, p in result.medians:
        some = [o for o in result.outcomes if (o.case.n, o.case.p) == (n, p)]
        good = [o for o in some if not o.error]
        slowest = max((o.slower for o in good), default=float("nan"))
        body.append(
            [
                f"{n:,}",
                str(p),
                str(len(some)),
                str(len(good)),
                f"{max((o.gap for o in good), default=float('nan')):.0e}",
                str(sum(o.fallbacks for o in some)),
                f"{1e3 * result.medians[n, p]:.3g}",
                f"{1e3 * slowest:.3g}",
                f"{slowest / result.medians[n, p]:.1f}",
                f"{median([o.refit_seconds / o.seconds for o in good] or [float('nan')]):.2f}",
            ]
        )
    header = [
        "n",
        "p",
        "problems",
        "certified",
        "largest gap",
        "fallbacks (of 200 taus each)",
        "median ms",
        "slowest ms",
        "slowest / median",
        "refit / fit",
    ]
    scratch = sum(o.from_scratch for o in result.outcomes)
    lines = [
        f"{len(result.outcomes):,} problems of 100 quantiles, fitted and refitted: "
        f"{len(result.failures)} not certified, {len(result.stalls)} stalled (over {STALL:g} x the "
        f"median fit of their size), "
        f"{result.fallback_share:.3%} fallbacks, {scratch} refits from scratch. "
        f"{'Passed' if result.passed else 'FAILED'}.",
        markdown(header, body),
    ]
    lines += [f"Not certified: {_describe(o)}: {o.error}" for o in result.failures]
    lines += [f"Stalled: {_describe(o)}: {_times(o)}" for o in result.stalls]
    return "\n\n".join(lines)


# --- designs --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """A design."""

    design: FloatArray
    blocks: list[slice] = field(default_factory=list)
    replicate: FloatArray | None = None
    """The same with other measurement error."""


def _columns(rng: np.random.Generator, n: int, p: int) -> FloatArray:
    return np.column_stack([np.ones(n), rng.standard_normal((n, p - 1))])


def _gaussian(rng: np.random.Generator, n: int, p: int) -> Columns:
    return Columns(_columns(rng, n, p))


def _integers(rng: np.random.Generator, n: int, p: int) -> Columns:
    return Columns(np.rint(2 * _columns(rng, n, p)) / 2)


def _flags(rng: np.random.Generator, n: int, p: int) -> Columns:
    return Columns(
        np.column_stack([np.ones(n), rng.random((n, p - 1)) < rng.uniform(0.02, 0.6, p - 1)]) * 1.0
    )


def _badly_scaled(rng: np.random.Generator, n: int, p: int) -> Columns:
    return Columns(_columns(rng, n, p) * 10.0 ** rng.uniform(-6, 6, p))


def _dependent(rng: np.random.Generator, n: int, p: int) -> Columns:
    design = _columns(rng, n, p)
    design[:, -1] = design[:, : p - 1] @ rng.integers(-2, 3, p - 1)
    return Columns(design)


def _nearly_dependent(rng: np.random.Generator, n: int, p: int) -> Columns:
    design = _columns(rng, n, p)
    design[:, -1] = design[:, 0] + 10.0 ** rng.uniform(-6, -2) * design[:, -1]
    return Columns(design)


def _heavy_tails(rng: np.random.Generator, n: int, p: int) -> Columns:
    return Columns(_columns(rng, n, p) ** 3)


def _splines(rng: np.random.Generator, n: int, p: int) -> Columns:
    return _spline_design(rng, n, p, integer=True)


def _smooth_splines(rng: np.random.Generator, n: int, p: int) -> Columns:
    return _spline_design(rng, n, p, integer=False)


def _spline_flags(rng: np.random.Generator, n: int, p: int) -> Columns:
    return _spline_design(rng, n, p, integer=True, flags=min(8, p - 8) or 1)


def _spline_design(rng: np.random.Generator, n: int, p: int, *, integer: bool, flags: int = 0) -> Columns:
    """Build about p columns: as many priors as fit, and flags."""
    cohort = draw(Problem(n, max(1, (p - 1 - flags) // 7), flags, integer, int(rng.integers(2**31))))
    return Columns(cohort.design, cohort.blocks)


def _simex_splines(rng: np.random.Generator, n: int, p: int) -> Columns:
    """Build two replicates with measurement error, on knots of their own or those of the observed scores."""
    flags = int(rng.choice([0, min(8, p - 8)]))
    cohort = draw(Problem(n, (p - 1 - flags) // 7, flags, bool(rng.integers(2)), int(rng.integers(2**31))))
    simex = cohort.simex(float(rng.choice(LAMBDAS)), 2, rng)
    if rng.integers(2):
        simex = replace(simex, bases=cohort.bases)  # scores beyond the boundaries are extrapolated
    return Columns(simex.design(0), cohort.blocks, simex.design(1))


DESIGNS: dict[str, Callable[[np.random.Generator, int, int], Columns]] = {
    "gaussian": _gaussian,
    "integers": _integers,
    "flags": _flags,
    "badly scaled": _badly_scaled,
    "dependent columns": _dependent,
    "nearly dependent columns": _nearly_dependent,
    "heavy tails": _heavy_tails,
    "duplicated rows": _gaussian,
    "splines": _splines,
    "smooth splines": _smooth_splines,
    "splines and flags": _spline_flags,
    "simex splines": _simex_splines,
}


def _response(rng: np.random.Generator, design: FloatArray) -> tuple[str, FloatArray]:
    """Add errors of some kind to a linear signal, then round or censor."""
    n, p = design.shape
    signal = design @ (rng.standard_normal(p) / np.maximum(np.abs(design).max(axis=0), 1e-300))
    errors: dict[str, Callable[[], Any]] = {
        "normal": lambda: rng.standard_normal(n),
        "t3": lambda: rng.standard_t(3, n),
        "spread": lambda: (0.5 + np.abs(signal)) * rng.standard_normal(n),
    }
    error = str(rng.choice(list(errors)))
    score = 2500.0 + 80.0 * signal + 60.0 * errors[error]()
    shapes: dict[str, Callable[[], FloatArray]] = {
        "exact": lambda: score,
        "whole": lambda: np.rint(score),
        "twenties": lambda: 20.0 * np.rint(score / 20.0),
        "floored": lambda: np.maximum(np.rint(score), np.rint(np.quantile(score, 0.4))),
        "equal": lambda: np.full(n, 2500.0),
    }
    shape = str(rng.choice(list(shapes), p=[0.4, 0.3, 0.15, 0.1, 0.05]))
    return f"{error} {shape}", shapes[shape]()


def _weights(rng: np.random.Generator, n: int) -> tuple[str, FloatArray | None]:
    """Draw weights; counts and uneven weights hold zeros."""
    kinds: dict[str, Callable[[], Any]] = {
        "no weights": lambda: None,
        "counts": lambda: rng.integers(0, 4, n) * 1.0,
        "real weights": lambda: rng.exponential(1.0, n),
        "uneven weights": lambda: rng.lognormal(0.0, 2.0, n) * (rng.random(n) < 0.8),
    }
    kind = str(rng.choice(list(kinds), p=[0.5, 0.2, 0.2, 0.1]))
    weights: FloatArray | None = kinds[kind]()
    if weights is not None:
        weights[0] = 1.0
    return kind, weights


# --- running --------------------------------------------------------------------------------------------


def _attempt(case: Case) -> Outcome:
    drawn = draw_case(case)
    design, response, weights = drawn.refit
    kind, stage = drawn.kind, "fit"
    try:
        start = time.process_time()
        process = fit_quantiles(drawn.design, drawn.response, TAUS, drawn.weights, blocks=drawn.blocks)
        taken = time.process_time() - start
        stage = f"refit ({drawn.refit_kind})"
        start = time.process_time()
        refit = process.refit(design, response, weights)
        refit_taken = time.process_time() - start
        stage += " from scratch"
        again = fit_quantiles(design, response, TAUS, weights, blocks=drawn.blocks)
    except (GrowthError, ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
        return Outcome(case, kind, error=f"{stage}: {type(error).__name__}: {str(error)[:160]}")
    size = float(np.abs(response if weights is None else weights * response).sum())
    apart = np.abs(again.objective - refit.objective) > AGREE * again.objective + ROUNDING * size
    return Outcome(
        case,
        f"{kind}, {drawn.refit_kind}",
        taken,
        refit_taken,
        float(max(process.relative_gap.max(), refit.relative_gap.max())),
        sum(status != "certified" for status in (*process.status, *refit.status)),
        not refit.warm,
        f"{apart.sum()} quantiles of the refit differ from those of a fit from scratch"
        if apart.any()
        else "",
    )


def _stalled(outcome: Outcome, medians: dict[tuple[int, int], float]) -> bool:
    usual = medians[outcome.case.n, outcome.case.p]
    return not outcome.error and outcome.slower > STALL * usual


def _second_chance(outcome: Outcome, medians: dict[tuple[int, int], float]) -> Outcome:
    """Time a slow case again: a stall of the problem stays, one of the machine does not."""
    for _ in range(3):
        if not _stalled(outcome, medians):
            return outcome
        outcome = min(outcome, _attempt(outcome.case), key=lambda o: o.slower)
    return outcome


def _describe(outcome: Outcome) -> str:
    case = outcome.case
    seed = "" if case.seed == SEED else f", {case.seed}"
    return f"Case({case.n}, {case.p}, {case.number}{seed}) [{outcome.kind}]"


def _times(outcome: Outcome) -> str:
    return f"fit {1e3 * outcome.seconds:.0f} ms, refit {1e3 * outcome.refit_seconds:.0f} ms"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robust", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="60 problems instead of over 1,000")
    parser.add_argument("--each", type=int, help="problems per size")
    parser.add_argument("--seed", type=int, default=SEED, help="other problems of the same kinds")
    parser.add_argument("--json", type=Path, help="file to write the summary to")
    options = parser.parse_args(arguments)
    plan = QUICK if options.quick else FULL
    plan = replace(plan, each=options.each or plan.each, seed=options.seed)
    result = run(plan)
    print(report(result))
    if options.json:
        options.json.write_text(json.dumps(result.summary(), indent=1) + "\n")
    return int(not result.passed)


if __name__ == "__main__":
    raise SystemExit(main())
