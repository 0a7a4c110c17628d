"""Compile the kernels of a fit beforehand, as when an image is built: ``python -m growth.quantile``."""

from __future__ import annotations

import sys

import numpy as np

from growth.kernels.compiler import folder_in_use
from growth.quantile.basis import SplineBasis, spline_design
from growth.quantile.fit import fit_quantiles


def main() -> None:
    """Fit, refit and score a small cohort, and say where the compiled kernels lie."""
    row = np.arange(4096.0)
    prior = (row % 61.0)[:, None]
    score = prior[:, 0] + (row * row) % 17.0
    design = spline_design(prior, [SplineBasis.from_scores(prior[:, 0])])
    blocks = [slice(1, design.shape[1])]
    for coded, unit in ((blocks, 1.0), (blocks, 0.25), ([], 1.0)):  # equal rows are merged in three ways
        process = fit_quantiles(design, score * unit, [0.25, 0.5, 0.75], blocks=coded)
        process.refit(design, score + 1.0)
        process.predict(design)
        process.score(design, score)
    sys.stdout.write(f"compiled kernels: {folder_in_use()}\n")


if __name__ == "__main__":
    main()
