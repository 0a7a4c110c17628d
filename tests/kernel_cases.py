"""Small fits that touch every kernel; run compiled in the tests and as plain Python in a second process.

``python kernel_cases.py FILE`` writes the results to FILE (npz).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator

import numpy as np
import problems

from growth._types import FloatArray
from growth.quantile import QuantileProcess, SplineBasis, designs, fit_quantiles

TAUS = (0.1, 0.5, 0.55, 0.9)


def fits() -> Iterator[tuple[str, problems.Problem, QuantileProcess]]:
    for kind, n, p in (
        ("gaussian", 40, 3),
        ("integer_ties", 60, 3),
        ("splines", 60, 8),
        ("weighted", 50, 2),
        ("far_columns", 40, 3),
        ("gaussian", 700, 2),  # screened: more rows than one band
        ("integer_ties", 800, 3),
    ):
        problem = problems.make(kind, n, p, 0)
        yield f"{kind}_{n}", problem, fit_quantiles(problem.design, problem.response, TAUS, problem.weights)
    repeated = problems.make("integer_ties", 40, 2, 1)
    many = problems.Problem(np.tile(repeated.design, (220, 1)), np.tile(repeated.response, 220))
    yield "repeated", many, fit_quantiles(many.design, many.response, TAUS)
    flags = problems.make("flags", 700, 4, 2)
    before, designs.CODE_FROM = designs.CODE_FROM, 0
    try:
        yield "coded", flags, fit_quantiles(flags.design, flags.response, TAUS, blocks=[slice(1, 3)])
    finally:
        designs.CODE_FROM = before


def results() -> dict[str, FloatArray]:
    """Return every number that a user may see, by name."""
    found: dict[str, FloatArray] = {}
    for name, problem, process in fits():
        for part in ("coef", "objective", "dual", "basis", "relative_gap"):
            found[f"{name}_{part}"] = getattr(process, part)
        few = slice(0, 50)
        design, response = problem.design[few], problem.response[few]
        found[f"{name}_curves"] = process.predict(design, digits=5)
        found[f"{name}_sums"] = np.ones((len(design), len(TAUS)))
        process.add_curves(design, found[f"{name}_sums"], digits=5)
        scores = process.score(design, response, digits=5, bounds=(-1e6, 1e6))
        for part in ("below", "upto", "percentile", "median"):
            found[f"{name}_{part}"] = getattr(scores, part)
    x = np.array([-2.0, 0.0, 0.3, 1.0, 2.5, 4.0, 4.5])
    for degree in (1, 3):
        found[f"basis_{degree}"] = SplineBasis((1.0, 2.0, 2.0), (0.0, 4.0), degree).design(x)
    return found


if __name__ == "__main__":
    # Plain Python warns where machine code overflows silently (hashes, infinite band widths).
    warnings.simplefilter("ignore", RuntimeWarning)
    np.savez(sys.argv[1], **results())  # type: ignore[arg-type]
