"""Do bands cover and probabilities mean what they say? ``python -m benchmarks.schools [--systems N]``.

Systems of schools with known true effects, their students' percentiles drawn around them, through the whole
school room. Coverage of true percentile ranks by 95 % bands, and a reliability diagram: probabilities of
levels, of the bottom 5 % and of the upper half in bins, against the share of schools that came to be so.
Exit code 1 if coverage is off by more than 2 points, or a bin of 500 predictions or more by more than 3. In
systems of fewer than 100 schools coverage may be higher: ranks come in steps, and the ends of a band are the
outer ones.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import ndtr
from scipy.stats import rankdata

from growth._types import BoolArray, FloatArray
from growth.school import school_growth
from growth.school.columns import PROBABILITIES
from growth.school.standing import BOTTOM, LEVELS
from growth.spec import GrowthSpec

COVERAGE = 0.02
"""By which coverage may differ from 95 %."""
CALIBRATION = 0.03
"""By which a probability may differ from the share that came true."""
MANY = 100
"""Schools, from which on the steps of ranks are small beside a band."""
LEAST_IN_BIN = 500
"""Predictions; their share has an SE of 2.2 points at most."""
BINS = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of system."""

    schools: int
    students: tuple[int, int]
    """Fewest and most students of a school; the logarithm is uniform between."""
    effect_sd: float
    """SD of true school effects [SDs of students within schools]."""
    later: float | None = None
    """None for ranks within the year; else schools are measured in the frozen norm of the year before, from
    which their true effects differ by chance (r = .7) and all by so much [SDs of students within schools]."""

    def covered(self, share: float) -> bool:
        """Tell whether that share of bands may cover."""
        return share >= 0.95 - COVERAGE and (share <= 0.95 + COVERAGE or self.schools < MANY)


CASES = (
    Case(150, (20, 400), 0.25),
    Case(150, (20, 60), 0.15),
    Case(40, (20, 150), 0.25),
    Case(40, (20, 150), 0.1),
    Case(150, (20, 150), 0.25, later=0.2),
)
_STABLE = 0.7
"""Correlation of true effects with those of the year before."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What was said of schools, and what was true."""

    inside: BoolArray
    """The band covers the true rank, shape (N,)."""
    said: FloatArray
    """Probabilities, shape (N, 12)."""
    true: BoolArray
    """Whether each came true, shape (N, 12)."""

    @property
    def coverage(self) -> float:
        """Share of bands that cover the true rank."""
        return float(self.inside.mean())

    def reliability(self) -> pl.DataFrame:
        """Return what (level, bottom, above), bin, predictions, said and came_true (means)."""
        kinds = (("level", slice(0, LEVELS)), ("bottom 5 %", slice(10, 11)), ("above average", slice(11, 12)))
        rows = []
        for kind, columns in kinds:
            said, true = self.said[:, columns].ravel(), self.true[:, columns].ravel()
            place = np.clip(np.digitize(said, BINS) - 1, 0, len(BINS) - 2)
            for k in np.unique(place):
                here = place == k
                share = float(true[here].mean())
                rows.append(
                    (
                        kind,
                        f"{BINS[k]:.1f}-{BINS[k + 1]:.1f}",
                        int(here.sum()),
                        float(said[here].mean()),
                        share,
                    )
                )
        return pl.DataFrame(rows, schema=["what", "bin", "predictions", "said", "came_true"], orient="row")

    def worst(self) -> float:
        """Return the largest difference between said and true in a well-filled bin."""
        filled = self.reliability().filter(pl.col("predictions") >= LEAST_IN_BIN)
        return float((filled["said"] - filled["came_true"]).abs().max() or 0.0)  # type: ignore[arg-type]


def simulate(case: Case, systems: int, changes: dict[str, object] | None = None, seed: int = 0) -> Outcome:
    """Run systems of a kind through the school room.

    Percentiles are those of normal scores around normal school effects, ranked in the whole system; a
    school's true rank is that of its effect; in a frozen norm, among the true effects of the year before.
    """
    plain = {"groups.flags": {}, "groups.race": "", "school.min_n": 1}
    spec = GrowthSpec().replace({**plain, **(changes or {})})
    inside, said, true = [], [], []
    for system in range(systems):
        rng = np.random.default_rng([seed, system, case.schools])
        effect = case.effect_sd * rng.standard_normal(case.schools)
        found = school_growth(_students(case, effect, rng), spec)
        rank = 100.0 * (rankdata(effect) - 0.5) / case.schools
        if case.later is not None:
            news = case.effect_sd * rng.standard_normal(case.schools)
            now = _STABLE * effect + np.sqrt(1.0 - _STABLE**2) * news + case.later
            found = school_growth(_students(case, now, rng), spec, norms=found.norms)
            rank = 100.0 * np.searchsorted(np.sort(effect), now) / case.schools
        frame = found.frame
        band_low, band_high = frame.select("growth_percentile_low", "growth_percentile_high").to_numpy().T
        inside.append((band_low <= rank) & (rank <= band_high))
        said.append(frame.select(column.name for column in PROBABILITIES).to_numpy())
        level = np.minimum(np.floor(rank / 10.0), LEVELS - 1)[:, None] == np.arange(LEVELS)
        true.append(np.column_stack([level, rank < BOTTOM, rank > 50.0]))
    return Outcome(np.concatenate(inside), np.concatenate(said), np.concatenate(true))


def _students(case: Case, effect: FloatArray, rng: np.random.Generator) -> pl.DataFrame:
    low, high = np.log(case.students)
    size = np.exp(rng.uniform(low, high, case.schools)).astype(np.int64)
    school = np.repeat(np.arange(case.schools), size)
    score = effect[school] + rng.standard_normal(len(school))
    percentile = ndtr(score / np.hypot(1.0, case.effect_sd))
    n = len(percentile)
    return pl.DataFrame(
        {
            "student_id": [f"{i:07d}" for i in range(n)],
            "school_id": [f"{s:05d}" for s in school],
            "percentile": percentile,
        }
    ).with_columns(
        pl.lit(2025, pl.Int32).alias("year"),
        pl.lit("MATH").alias("subject"),
        pl.lit("scored").alias("status"),
        pl.lit(True).alias("highest"),
    )


def main() -> int:
    """Print coverage and calibration of every case."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schools")
    parser.add_argument("--systems", type=int, default=60, help="systems per case (default 60)")
    parser.add_argument("--rule", choices=("rank", "expected"), default="rank")
    options = parser.parse_args()
    failed = False
    for case in CASES:
        found = simulate(case, options.systems, {"school.growth_percentile": options.rule})
        off = found.worst() > CALIBRATION or not case.covered(found.coverage)
        failed |= off
        print(f"\n{case}: {len(found.inside):,} schools{', OFF' if off else ''}")
        print(f"bands cover {found.coverage:.1%}; largest miscalibration {100 * found.worst():.1f} points")
        with pl.Config(tbl_rows=40, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
            print(found.reliability().with_columns(pl.col("said", "came_true").round(3)))
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
