"""Whether diagnostics find planted faults, and stay quiet on clean data.

``python -m benchmarks.diagnostics`` simulates a city per size and seed, runs it as it is and with each fault,
and prints how often each diagnostic alarmed.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass

import joblib
import numpy as np
import polars as pl

import growth
from benchmarks.stamp import HERE, stamp
from benchmarks.table import markdown
from growth import GrowthRun
from growth.diagnose import Diagnostics, diagnose
from growth.spec import GrowthSpec

BASE = {"peers.composition": "none", "measurement.csem": "column"}
CORES = 2
BEND = 0.6
"""Current scores rise as exp(BEND z)."""


@dataclass(frozen=True, slots=True)
class Size:
    """A city, and how many of them are simulated."""

    students: int
    schools: int
    clean: int
    """Seeds of cases without fault."""
    faults: int
    """Seeds of each fault."""


SIZES = (Size(4_000, 18, 40, 20), Size(12_000, 12, 20, 0), Size(10_000, 60, 30, 10), Size(25_000, 120, 10, 0))


@dataclass(frozen=True, slots=True)
class Rates:
    """How often diagnostics alarmed in one case, shares of the seeds."""

    case: str
    students: int
    schools: int
    seeds: int
    any_alarm: float
    found: float | None
    """By a diagnostic that is meant for the fault."""
    alarms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Fault:
    """One planted fault: what is done to a city, and which diagnostics should notice."""

    name: str
    make: Callable[[int, int, int], tuple[GrowthRun, pl.DataFrame | None]]
    found_by: tuple[str, ...]


def city(seed: int, students: int, schools: int, years: int = 1) -> pl.DataFrame:
    """Return a clean table; `seed` decides all of it."""
    return growth.simulate_table(students, schools, years=years, seed=seed).table


def spec(**changes: object) -> GrowthSpec:
    """Return the specification of most cases; ``basis__degree=1`` changes ``basis.degree``."""
    return GrowthSpec.preset("core").replace(
        BASE | {key.replace("__", "."): value for key, value in changes.items()}
    )


def clean(seed: int, students: int, schools: int) -> tuple[GrowthRun, pl.DataFrame | None]:
    """Return a run without fault, and its table."""
    table = city(seed, students, schools)
    return growth.run(table, spec()), table


def frozen(seed: int, students: int, schools: int) -> tuple[GrowthRun, pl.DataFrame | None]:
    """Return a run of a later year in the curves of an earlier one, without fault."""
    return _later(seed, students, schools, 0.0), None


def linear_basis(seed: int, students: int, schools: int) -> tuple[GrowthRun, pl.DataFrame | None]:
    """Return straight lines fitted to data whose relation is curved."""
    table = _each_scale(city(seed, students, schools), (BEND * pl.col("_z")).exp(), latest=True)
    return growth.run(table, spec(basis__degree=1, basis__knot_quantiles=())), table


def ceiling(seed: int, students: int, schools: int) -> tuple[GrowthRun, pl.DataFrame | None]:
    """Return a test that ends where the best 12 % of students are."""
    table = _each_scale(city(seed, students, schools), pl.col("_z").clip(upper_bound=1.2))
    return growth.run(table, spec()), None


def duplicated_school(seed: int, students: int, schools: int) -> tuple[GrowthRun, pl.DataFrame | None]:
    """Return a school read twice, under another code and other student ids."""
    table = city(seed, students, schools)
    size = table.filter(pl.col("year") == 2025).group_by("school_id").len().sort("len", "school_id")
    twice = size["school_id"][size.height // 2]
    members = table.filter(pl.col("year") == 2025, pl.col("school_id") == twice)["student_id"].unique()
    copy = table.filter(pl.col("student_id").is_in(members.implode())).with_columns(
        student_id=pl.lit("X") + pl.col("student_id"),
        school_id=pl.when(pl.col("school_id") == twice).then(pl.lit("9999999")).otherwise("school_id"),
    )
    return growth.run(pl.concat([table, copy]), spec()), None


def reversed_flag(seed: int, students: int, schools: int) -> tuple[GrowthRun, pl.DataFrame | None]:
    """Return a grade in which yes and no of the disadvantaged are swapped."""
    swapped = (
        pl.when(pl.col("grade") == 6).then(~pl.col("econ_disadvantaged")).otherwise("econ_disadvantaged")
    )
    table = city(seed, students, schools).with_columns(econ_disadvantaged=swapped)
    return growth.run(table, spec()), None


def doubled_csem(seed: int, students: int, schools: int) -> tuple[GrowthRun, pl.DataFrame | None]:
    """Return CSEMs of twice their size."""
    table = city(seed, students, schools).with_columns(csem=2 * pl.col("csem"))
    return growth.run(table, spec()), None


def thirded_csem(seed: int, students: int, schools: int) -> tuple[GrowthRun, pl.DataFrame | None]:
    """Return CSEMs of a third of their size."""
    table = city(seed, students, schools).with_columns(csem=pl.col("csem") / 3)
    return growth.run(table, spec()), None


def drifted_scale(seed: int, students: int, schools: int) -> tuple[GrowthRun, pl.DataFrame | None]:
    """Return a later year in which the test of grade 6 is 0.25 SD easier, in the curves of the base year."""
    return _later(seed, students, schools, 0.25), None


FAULTS = (
    Fault("clean", clean, ()),
    Fault("clean, frozen curves", frozen, ()),
    Fault(
        "straight lines for curved data",
        linear_basis,
        ("goodness_of_fit", "calibration", "held_out_coverage"),
    ),
    Fault("ceiling", ceiling, ("ends", "extremes")),
    Fault("duplicated school", duplicated_school, ("duplicated_schools",)),
    Fault("reversed flag in a grade", reversed_flag, ("flags",)),
    Fault("CSEM doubled", doubled_csem, ("csem_large",)),
    Fault("CSEM a third", thirded_csem, ("csem_small",)),
    Fault("drifted scale in a grade", drifted_scale, ("frozen_drift",)),
)


def _each_scale(table: pl.DataFrame, z: pl.Expr, *, latest: bool = False) -> pl.DataFrame:
    """Return scores whose standard scores `_z` within subject, grade and year are transformed."""
    block = ["subject", "grade", "year"]
    mean, sd = pl.col("score").mean().over(block), pl.col("score").std().over(block)
    moved = (mean + sd * z).round(0)
    if latest:
        moved = pl.when(pl.col("year") == pl.col("year").max()).then(moved).otherwise("score")
    return table.with_columns(_z=(pl.col("score") - mean) / sd).with_columns(score=moved).drop("_z")


def _later(seed: int, students: int, schools: int, shift: float) -> GrowthRun:
    """Return the later of two years in the curves of the earlier, grade 6 shifted [SD]."""
    table = city(seed, students, schools, years=2)
    last = pl.col("year") == 2025
    sd = pl.col("score").std().over("subject", "grade")
    moved = pl.when(last & (pl.col("grade") == 6)).then(pl.col("score") + shift * sd).otherwise("score")
    # In a small city a cohort can be too small in one of the years.
    base = growth.run(table.filter(~last), spec(freeze__missing="refit"))
    return growth.run(table.with_columns(score=moved), freeze=base.freeze(parts=("curves",)))


def examined(fault: Fault, seed: int, students: int, schools: int) -> Diagnostics:
    """Return the diagnostics of one case."""
    run, table = fault.make(seed, students, schools)
    return diagnose(run, table)


def _measured(fault: Fault, size: Size, seeds: int) -> Rates:
    """Return how often diagnostics alarmed in one case."""
    jobs = (
        joblib.delayed(examined)(fault, seed, size.students, size.schools) for seed in range(1, seeds + 1)
    )
    found = list(joblib.Parallel(n_jobs=CORES)(jobs))
    alarms = Counter(name for one in found for name in one.alarms)
    return Rates(
        fault.name,
        size.students,
        size.schools,
        seeds,
        float(np.mean([bool(one.alarms) for one in found])),
        float(np.mean([bool(set(one.alarms) & set(fault.found_by)) for one in found]))
        if fault.found_by
        else None,
        {name: count / seeds for name, count in alarms.most_common()},
    )


def _report(rates: list[Rates]) -> str:
    """Render what was measured."""
    rows = [
        [
            f"{one.students:,} in {one.schools}",
            one.case,
            str(one.seeds),
            f"{one.any_alarm:.0%}",
            "" if one.found is None else f"{one.found:.0%}",
            ", ".join(f"{name} {share:.0%}" for name, share in one.alarms.items()),
        ]
        for one in rates
    ]
    header = ["students in schools", "case", "seeds", "any alarm", "found", "by diagnostic"]
    lines = [f"- {name}: {value}" for name, value in stamp().items() if name not in ("r", "load")]
    asked = (
        "Asked: clean cities alarm in at most 5 % of the seeds, all diagnostics together; every fault is "
        "found, by a diagnostic that is meant for it."
    )
    return "\n\n".join(["# Diagnostics", "\n".join(lines), asked, markdown(header, rows)]) + "\n"


def main() -> None:
    """Print detection and false-alarm rates; with --out, keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, help="Of every case; by default those of SIZES.")
    parser.add_argument("--students", type=int, help="With --schools: this size instead of SIZES.")
    parser.add_argument("--schools", type=int)
    parser.add_argument("--only", default="", help="Cases whose name has these letters.")
    parser.add_argument("--out", help="Name of the files in benchmarks/results.")
    given = parser.parse_args()
    sizes = SIZES
    if given.students and given.schools:
        sizes = (Size(given.students, given.schools, 100, 100),)
    rates = []
    for size in sizes:
        for fault in FAULTS:
            seeds = given.seeds or (size.faults if fault.found_by else size.clean)
            if given.only not in fault.name or not seeds:
                continue
            rates.append(_measured(fault, size, seeds))
            print(rates[-1], flush=True)
            if given.out:
                folder = HERE / "results"
                (folder / f"{given.out}.md").write_text(_report(rates), "utf-8")
                record = {"stamp": stamp(), "rates": [asdict(one) for one in rates]}
                (folder / f"{given.out}.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
