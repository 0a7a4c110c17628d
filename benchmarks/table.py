"""Markdown tables of the grid: times, ratios, accuracy, growth with n and p, what the engine counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np

from benchmarks.grid import Row
from benchmarks.peers import PEERS
from benchmarks.problems import Problem

Cells: TypeAlias = dict[tuple[Problem, str], Row]

LABELS = {
    "growth": "**growth**",
    "floor": "floor",
    "quantreg_pfnb": "R pfnb",
    "quantreg_ppro": "R ppro",
    "quantreg_pfn": "R pfn",
    "quantreg_fn": "R fn",
    "quantreg_br": "R br",
    "pyfixest_fn": "pyfixest fn",
    "pyfixest_process": "pyfixest cfm1",
    "statsmodels": "statsmodels",
    "sklearn": "scikit-learn",
}
TARGETS: dict[Problem, dict[str, float]] = {
    Problem(20_000, 2): {
        "quantreg_pfnb": 30,
        "quantreg_fn": 250,
        "quantreg_br": 1000,
        "statsmodels": 2000,
    },
    Problem(20_000, 2, 8): {"quantreg_pfnb": 25, "quantreg_fn": 160, "quantreg_br": 700},
    Problem(50_000, 2, 0, False): {"quantreg_pfnb": 20, "quantreg_fn": 150, "quantreg_br": 1500},
    Problem(400_000, 1): {"quantreg_pfnb": 100, "quantreg_fn": 2000},
    Problem(400_000, 3): {"quantreg_pfnb": 30, "quantreg_fn": 500},
}
"""How many times faster than its peers the engine has to be."""


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Render one table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def grid_report(rows: list[Row]) -> str:
    """Render everything that one run of the grid found."""
    cells = {(row.problem, row.library): row for row in rows}
    problems = list(dict.fromkeys(row.problem for row in rows))
    libraries = [peer.name for peer in PEERS if any(row.library == peer.name for row in rows)]
    parts = [
        "### CPU seconds for 100 quantiles, one thread, warm",
        "`*` extrapolated from fewer taus; `-` no time, see below. Floor: 100 dense passes over the data.",
        _matrix(problems, libraries, cells, _time),
        "### Times as long as this engine",
        "Floor: how many times the floor this engine takes.",
        _matrix(problems, [name for name in libraries if name != "growth"], cells, _ratio(cells)),
        "### Largest relative excess of the objective",
        "growth: certified duality gap. Others: objective over that of growth, minus 1.",
        _matrix(problems, [name for name in libraries if name != "floor"], cells, _gap),
        "### What the engine did (per tau)",
        _counts(problems, cells),
        "### Growth with n and p",
        _exponents(rows),
    ]
    met = _targets(cells)
    if met:
        parts[0:0] = ["### Targets", met]
    reasons = sorted({f"{LABELS[row.library]}: {row.reason}" for row in rows if row.reason})
    if reasons:
        parts.append("No time: " + "; ".join(reasons) + ".")
    remarks = [
        f"{LABELS[row.library]} at {describe(row.problem)}: {row.remark}" for row in rows if row.remark
    ]
    if remarks:
        parts.append("Remarks: " + "; ".join(remarks) + ".")
    return "\n\n".join(parts)


def describe(problem: Problem) -> str:
    """Name a problem for a table."""
    flags = f" + {problem.flags} flags" if problem.flags else ""
    kind = "" if problem.integer else ", continuous"
    return f"{problem.n:,}, p = {1 + 7 * problem.priors}{flags}{kind}"


def seconds(value: float) -> str:
    """Three significant digits, with a unit."""
    if value < 1.0:
        return f"{1e3 * value:.3g} ms"
    return f"{value:.3g} s" if value < 1000 else f"{value:,.0f} s"


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Exponent b of y = a x^b by least squares on logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def _matrix(problems: list[Problem], libraries: list[str], cells: Cells, show: Callable[[Row], str]) -> str:
    header = ["n, p", *(LABELS[name] for name in libraries)]
    body = []
    for problem in problems:
        found = [cells.get((problem, name)) for name in libraries]
        body.append([describe(problem), *("" if row is None else show(row) for row in found)])
    return markdown(header, body)


def _time(row: Row) -> str:
    if row.seconds is None:
        return "-"
    return seconds(row.seconds) + ("*" if row.extrapolated else "")


def _ratio(cells: Cells) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        own = cells.get((row.problem, "growth"))
        if own is None or own.seconds is None or row.seconds is None:
            return "-"
        if row.library == "floor":
            return f"{own.seconds / row.seconds:.2f}"
        ratio = row.seconds / own.seconds
        return (f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}") + ("*" if row.extrapolated else "")

    return show


def _gap(row: Row) -> str:
    return "-" if row.gap is None else f"{row.gap:.0e}"


def _counts(problems: list[Problem], cells: Cells) -> str:
    names = ("passes", "pivots", "band", "checked", "added", "retries")
    body = []
    for problem in problems:
        row = cells.get((problem, "growth"))
        if row is None or row.seconds is None:
            continue
        notes, fastest, slowest = row.notes, row.fastest or 0.0, row.slowest or 0.0
        body.append(
            [
                describe(problem),
                *(f"{notes.get(name, float('nan')):.3g}" for name in names),
                f"{notes['fallbacks']:.0f}",
                f"{seconds(fastest)} to {seconds(slowest)}",
                f"{row.peak_mb or 0:,.0f} MB",
            ]
        )
    return markdown(["n, p", *names, "fallbacks (all taus)", "repeats", "peak memory of the process"], body)


def _exponents(rows: list[Row]) -> str:
    measured = [row for row in rows if row.seconds]
    body = []
    for library in dict.fromkeys(row.library for row in measured):
        own = [row for row in measured if row.library == library]
        for problem in dict.fromkeys(row.problem.with_rows(0) for row in own):
            some = [row for row in own if row.problem.with_rows(0) == problem and row.problem.n >= 20_000]
            if len(some) > 1:
                value = slope([row.problem.n for row in some], [row.seconds or 0 for row in some])
                sizes = f"{some[0].problem.n:,} to {some[-1].problem.n:,} rows"
                what = describe(problem).removeprefix("0, ")
                body.append([LABELS[library], "n", f"{value:.2f}", f"{sizes}, {what}"])
        for n in dict.fromkeys(row.problem.n for row in own):
            some = [
                row for row in own if row.problem.n == n and row.problem.integer and not row.problem.flags
            ]
            if len(some) > 1:
                value = slope([row.problem.columns for row in some], [row.seconds or 0 for row in some])
                columns = f"p = {some[0].problem.columns} to {some[-1].problem.columns}"
                body.append([LABELS[library], "p", f"{value:.2f}", f"{columns}, {n:,} rows"])
    if not body:
        return "Too few sizes of at least 20,000 rows."
    return markdown(["library", "in", "exponent", "over"], body)


def _targets(cells: Cells) -> str:
    body = []
    for problem, asked in TARGETS.items():
        own = cells.get((problem, "growth"))
        for library, least in asked.items():
            peer = cells.get((problem, library))
            if own is None or peer is None or own.seconds is None or peer.seconds is None:
                continue
            ratio = peer.seconds / own.seconds
            star = "*" if peer.extrapolated else ""
            verdict = "met" if ratio >= least else "missed"
            body.append([describe(problem), LABELS[library], f"{ratio:,.0f}{star}", f"{least:,.0f}", verdict])
    return markdown(["n, p", "against", "times faster", "at least", ""], body) if body else ""
