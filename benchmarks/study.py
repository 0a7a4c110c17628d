"""A sensitivity study of the demo city: 48 variants, from the table to every statistic."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.sections import Section, peak_gb
from benchmarks.table import markdown
from growth.panel import simulate_table
from growth.study import run_study

FACTORS: dict[str, Any] = {
    "cohorts.other_priors": [1, 0],
    "peers": {
        "two steps": {},
        "one step": {"peers.composition": "one_step"},
        "student only": {"peers.composition": "none"},
        "none": {"peers.flags": [], "peers.composition": "none"},
    },
    "student.engine": ["quantile", "normal"],
    "basis.knot_quantiles": [[0.2, 0.4, 0.6, 0.8], [0.25, 0.5, 0.75], [0.1, 0.26, 0.42, 0.58, 0.74, 0.9]],
    "school.aggregate": ["mean", "median", "trimmed_mean"],
    "school.shrinkage": ["empirical_bayes", "none"],
    "school.min_n": [20, 10, 30],
    "school.growth_percentile": ["rank", "normal"],
}
"""Decisions of the method's sensitivity study, around the preset ``core``."""
RUNS = 48
ASKED = 180.0
"""Wall-clock seconds on two cores."""


def study(tested: int, schools: int, threads: int = 2) -> Section:
    """Measure a fractional factorial of `RUNS` variants, then the same again from its folder."""
    city = simulate_table(tested, schools, years=1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "study"
        taken = []
        for _ in range(2):
            start = time.perf_counter()
            found = run_study(
                city.table, "core", FACTORS, design="fractional", runs=RUNS, n_jobs=threads, folder=folder
            )
            frames = found.frames
            taken.append(time.perf_counter() - start)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    numbers = {
        "students tested": float(tested),
        "schools": float(schools),
        "variants": float(len(found.variants)),
        "refused": float(found.refused.height),
        "seconds": taken[0],
        "again_seconds": taken[1],
        "folder_mb": size,
        "peak_gb": peak_gb(),
    }
    body = [[name, f"{value:,.0f}" if value >= 100 else f"{value:.2f}"] for name, value in numbers.items()]
    shares = [
        [r["subject"], r["factor"], f"{r['main']:.0%}"] for r in frames["decisions"].iter_rows(named=True)
    ]
    text = (
        f"{threads} threads, statistics included. Asked: under {ASKED:.0f} s.\n\n"
        + markdown(["", "measured"], body)
        + "\n\nShares of the variance of school ranks:\n\n"
        + markdown(["subject", "decision", "share"], shares)
    )
    return Section("Sensitivity study", text, numbers)
