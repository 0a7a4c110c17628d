"""Markdown tables of the grid: times, ratios, accuracy, growth with n and p, what the engine counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
        "### CPU time for 100 quantiles, one thread, warm",
        "In brackets the largest relative excess of the objective: the certified duality gap of growth, the "
        "others' objective over that of growth, minus 1. "
        "`*` extrapolated from fewer taus; `-` no time, see below. Floor: 100 dense passes over the data.",
        _matrix(problems, libraries, cells, _time),
        "### Times as long as this engine",
        "Floor: how many times the floor this engine takes.",
        _matrix(problems, [name for name in libraries if name != "growth"], cells, _ratio(cells)),
        "### What the engine did (per tau)",
        _counts(problems, cells),
        "### Growth with n and p",
        exponent_table(rows),
    ]
    return "\n\n".join([*parts, *_remarks(rows)])


def scaling_report(rows: list[Row]) -> str:
    """Render the engine beside its floor in all sizes, and how both grow."""
    cells = {(row.problem, row.library): row for row in rows}
    problems = list(dict.fromkeys(row.problem for row in rows))
    parts = [
        _matrix(problems, ["growth", "floor"], cells, _time),
        _counts(problems, cells),
        exponent_table(rows),
        *_remarks(rows),
    ]
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


def times(value: float) -> str:
    """Three significant digits at least."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


@dataclass(frozen=True, slots=True)
class Exponent:
    """How the time of one library grows with one size."""

    library: str
    variable: str  # n or p
    value: float
    over: str


def exponents(rows: list[Row]) -> list[Exponent]:
    """Fit exponents in n, from 20,000 rows, for each kind of problem; and in p, for each n without flags."""
    out = []
    measured = [row for row in rows if row.seconds]
    for library in dict.fromkeys(row.library for row in measured):
        own = sorted((row for row in measured if row.library == library), key=lambda row: row.problem.n)
        for problem in dict.fromkeys(row.problem.with_rows(0) for row in own):
            some = [row for row in own if row.problem.with_rows(0) == problem and row.problem.n >= 20_000]
            if len(some) > 1:
                value = slope([row.problem.n for row in some], [row.seconds or 0.0 for row in some])
                sizes = f"{some[0].problem.n:,} to {some[-1].problem.n:,} rows"
                out.append(Exponent(library, "n", value, f"{sizes}, {describe(problem).removeprefix('0, ')}"))
        for n, integer in dict.fromkeys((row.problem.n, row.problem.integer) for row in own):
            some = [row for row in own if row.problem == Problem(n, row.problem.priors, 0, integer)]
            if len(some) > 1:
                value = slope([row.problem.columns for row in some], [row.seconds or 0.0 for row in some])
                kind = "" if integer else ", continuous"
                columns = f"p = {some[0].problem.columns} to {some[-1].problem.columns}"
                out.append(Exponent(library, "p", value, f"{columns}, {n:,} rows{kind}"))
    return out


def exponent_table(rows: list[Row]) -> str:
    """Render exponents."""
    body = [[LABELS[e.library], e.variable, f"{e.value:.2f}", e.over] for e in exponents(rows)]
    if not body:
        return "Too few sizes."
    return markdown(["library", "in", "exponent", "over"], body)


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
    gap = "" if row.gap is None else f" ({row.gap:.0e})"
    return seconds(row.seconds) + ("*" if row.extrapolated else "") + gap


def _ratio(cells: Cells) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        own = cells.get((row.problem, "growth"))
        if own is None or own.seconds is None or row.seconds is None:
            return "-"
        if row.library == "floor":
            return f"{own.seconds / row.seconds:.2f}"
        return times(row.seconds / own.seconds) + ("*" if row.extrapolated else "")

    return show


def _remarks(rows: list[Row]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            reasons.setdefault(f"{LABELS[row.library]}: {row.reason}", []).append(describe(row.problem))
    remarks = [
        f"- {LABELS[row.library]} at {describe(row.problem)}: {row.remark}." for row in rows if row.remark
    ]
    lines = [f"- No time: {reason} ({'; '.join(problems)})." for reason, problems in reasons.items()]
    return ["\n".join(lines + remarks)] if lines or remarks else []


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
