"""What is asked of the engine, and whether a run's record shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.grid import Row, rows_of
from benchmarks.problems import Problem
from benchmarks.table import LABELS, describe, exponents, markdown, times


@dataclass(frozen=True, slots=True)
class Bound:
    """A number that must be reached, and a better one that is hoped for."""

    least: float | None
    aim: float | None = None
    small: bool = False
    """Whether small values are good."""

    def reached(self, value: float, bound: float | None) -> bool:
        """Whether a value is as good as one of the two."""
        return bound is not None and (value <= bound if self.small else value >= bound)


TARGETS: dict[Problem, dict[str, Bound]] = {
    Problem(20_000, 2): {
        "quantreg_pfnb": Bound(30, 60),
        "quantreg_fn": Bound(250, 500),
        "quantreg_br": Bound(1000, 2500),
        "statsmodels": Bound(2000),
    },
    Problem(20_000, 2, 8): {
        "quantreg_pfnb": Bound(25, 50),
        "quantreg_fn": Bound(160),
        "quantreg_br": Bound(700),
    },
    Problem(50_000, 2, 0, False): {
        "quantreg_pfnb": Bound(20, 50),
        "quantreg_fn": Bound(150),
        "quantreg_br": Bound(1500),
    },
    Problem(400_000, 1): {"quantreg_pfnb": Bound(100, 200), "quantreg_fn": Bound(2000)},
    Problem(400_000, 3): {"quantreg_pfnb": Bound(30, 80), "quantreg_fn": Bound(500, 1300)},
}
"""How many times faster than its peers the engine has to be."""
FLOOR = {Problem(400_000, 3): Bound(None, 2.0, small=True)}
"""How many times the floor it may take."""
REFITS = Bound(20.0, 6.0, small=True)  # seconds
SIMEX = Bound(60.0, small=True)  # seconds
SIMEX_MEMORY = Bound(4.0, small=True)  # GB of 10^9 bytes
EXPONENT = Bound(1.0, small=True)
CORES = Bound(1.8)
STATE = 250_000
"""Students of a cohort of a state: 3 million in 6 grades and 2 subjects."""
MEMORY = Bound(1.5, small=True)  # GB of 10^9 bytes
COLD = {"warm cache": Bound(1.0, small=True), "empty cache": Bound(15.0, small=True)}  # seconds
FALLBACKS = Bound(1.0, small=True)  # percent


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target and what was measured."""

    what: str
    unit: str
    value: float
    bound: Bound
    star: str = ""

    @property
    def word(self) -> str:
        """How far it got."""
        if self.bound.reached(self.value, self.bound.aim):
            return "aim met"
        if self.bound.least is None:
            return "aim missed"
        return "met" if self.bound.reached(self.value, self.bound.least) else "MISSED"

    @property
    def cells(self) -> list[str]:
        """The row of a table."""

        def show(value: float | None) -> str:
            return "" if value is None else f"{times(value)}{self.unit}"

        return [
            self.what,
            show(self.value) + self.star,
            show(self.bound.least),
            show(self.bound.aim),
            self.word,
        ]


def verdicts(record: dict[str, Any]) -> list[Verdict]:
    """Compare what a run recorded with what is asked; parts that were not run are left out."""
    return [*_ratios(rows_of(record.get("grid", []))), *_limits(record)]


def verdict_table(found: list[Verdict]) -> str:
    """Render verdicts."""
    return markdown(["", "measured", "asked", "aim", ""], [verdict.cells for verdict in found])


def _ratios(rows: list[Row]) -> Iterator[Verdict]:
    cells = {(row.problem, row.library): row for row in rows if row.seconds is not None}
    for problem, asked in TARGETS.items():
        own = cells.get((problem, "growth"))
        for library, bound in asked.items():
            peer = cells.get((problem, library))
            if own and peer and own.seconds and peer.seconds:
                what = f"{describe(problem)}: faster than {LABELS[library]}"
                yield Verdict(what, "x", peer.seconds / own.seconds, bound, "*" if peer.extrapolated else "")
    for problem, bound in FLOOR.items():
        own, floor = cells.get((problem, "growth")), cells.get((problem, "floor"))
        if own and floor and own.seconds and floor.seconds:
            what = f"{describe(problem)}: time over the floor"
            yield Verdict(what, "x", own.seconds / floor.seconds, bound)


def _limits(record: dict[str, Any]) -> Iterator[Verdict]:
    refit, memory = record.get("refit", {}), record.get("memory", {})
    if refit.get("n") == 50_000:
        star = "" if refit["measured"] == refit["replicates"] else "*"
        yield Verdict("20,000 warm refits", " s", refit["total"], REFITS, star)
    simex = record.get("simex", {})
    if (simex.get("n"), simex.get("replicates")) == (50_000, 50):
        yield Verdict("SIMEX of 50,000 students on two cores, everything", " s", simex["wall"], SIMEX)
        yield Verdict("SIMEX of 50,000 students, peak memory", " GB", simex["peak"], SIMEX_MEMORY)
    slopes = [found for found in exponents(rows_of(record.get("scaling", []))) if found.library == "growth"]
    in_n = [found for found in slopes if found.over.startswith("20,000 to 1,000,000 rows")]
    if in_n:
        worst = max(in_n, key=lambda found: found.value)
        yield Verdict(f"growth exponent in n ({worst.over}, the largest)", "", worst.value, EXPONENT)
    if record.get("cores", {}).get("n") == STATE:
        yield Verdict("two cores, state-size run", "x", record["cores"]["cohorts"], CORES)
    if all(kind.startswith(describe(Problem(1_000_000, 3))) for kind in memory) and memory:
        yield Verdict(
            "peak memory at n = 1,000,000, p = 22 (the largest)", " GB", max(memory.values()), MEMORY
        )
    for state, bound in COLD.items():
        if state in record.get("cold", {}):
            yield Verdict(f"first call in a fresh process, {state}", " s", record["cold"][state], bound)
    robust = record.get("robust", {})
    if robust:
        what = f"quantiles of {robust['problems']:,} random problems that needed the fallback"
        yield Verdict(what, " %", 100 * robust["fallback_share"], FALLBACKS)
        for name in ("failures", "stalls"):
            yield Verdict(f"random problems: {name}", "", len(robust[name]), Bound(0.0, small=True))
