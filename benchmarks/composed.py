"""Do the bands of preset `core`, composition and all, cover true ranks? ``python -m benchmarks.composed``.

Simulated cities from the table to the bands, twice: schools whose effects are drawn anew every year, and
schools whose effects mostly last. A lasting effect is in the prior scores of a school's own students; what
goes with their mean, composition takes out with the rest: two steps cannot tell it from the intake, and no
band knows of it. Exit code 1 if bands cover less than is asked of either.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy.stats import rankdata

import growth
from growth.panel.simulate import SystemParameters

KINDS: Mapping[str, tuple[SystemParameters, float]] = {
    "new every year": (SystemParameters(school_persistent_sd=0.0, school_yearly_sd=0.108), 0.93),
    "lasting": (SystemParameters(), 0.88),
}
"""Name -> system, and the least share of 95 % bands that must cover."""


def covered(parameters: SystemParameters, students: int, schools: int, seed: int, spec: str) -> list[bool]:
    """Return for each school and subject whether the band covers the school's true rank."""
    city = growth.simulate_table(students, schools, years=1, seed=seed, parameters=parameters)
    run = growth.run(city.table, spec, n_jobs=-1)
    shown = run.polars("schools").filter(pl.col("group") == "All", pl.col("growth_percentile").is_not_null())
    truth = city.schools.select("school_id", "year", "subject", true_effect="effect")
    inside: list[bool] = []
    for (_, _), found in shown.group_by("year", "subject", maintain_order=True):
        rows = found.join(truth, on=["school_id", "year", "subject"], how="left", maintain_order="left")
        low, high = rows.select("growth_percentile_low", "growth_percentile_high").to_numpy().T
        rank = 100.0 * (rankdata(rows["true_effect"].to_numpy()) - 0.5) / rows.height
        inside += ((low <= rank) & (rank <= high)).tolist()
    return inside


def main() -> int:
    """Print the share of bands that cover, kind by kind."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.composed")
    parser.add_argument("--cities", type=int, default=6, help="of each kind (default 6)")
    parser.add_argument("--schools", type=int, default=90)
    parser.add_argument("--students", type=int, default=30_000)
    parser.add_argument("--spec", default="core")
    options = parser.parse_args()
    failed = False
    for kind, (parameters, least) in KINDS.items():
        inside = [
            one
            for seed in range(options.cities)
            for one in covered(parameters, options.students, options.schools, seed, options.spec)
        ]
        share = float(np.mean(inside))
        failed |= share < least
        print(
            f"effects {kind}: 95 % bands cover {share:.1%} of {len(inside):,} true ranks (asked {least:.0%})"
        )
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
