"""Sections of the README that are rendered from results files: their numbers are never typed by hand.

``python -m benchmarks readme benchmarks/results/NAME.json`` writes the speed section between two comments in
README.md, ``python -m benchmarks.truth --out truth --readme`` that on school results against the truth.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.grid import Row, rows_of
from benchmarks.stamp import HERE
from benchmarks.table import LABELS, describe, markdown, seconds, times
from benchmarks.targets import Verdict, verdicts

ROOT = HERE.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- {}: {} -->", "<!-- {}: end -->"
COLUMNS = ("quantreg_pfnb", "quantreg_fn", "quantreg_br", "pyfixest_fn", "statsmodels", "sklearn")


def section(kind: str) -> re.Pattern[str]:
    """Return the pattern of a section with the path of its results file and its text."""
    return re.compile(
        rf"<!-- {kind}: (?P<path>\S+\.json) -->\n(?P<text>.*?)<!-- {kind}: end -->\n", re.DOTALL
    )


def render(record: dict[str, Any]) -> str:
    """Return the section as Markdown."""
    stamp = record["stamp"]
    rows = rows_of(record.get("grid", []))
    parts = [_fits(rows)] if rows else []
    rest = [verdict for verdict in verdicts(record) if verdict.unit != "x" or "cores" in verdict.what]
    if rest:
        parts.append(_limits(rest, record))
    parts.append(f"Measured on {stamp['cpu']}; Python {stamp['python']}; {stamp['r']}; {stamp['date'][:10]}.")
    return "\n\n".join(parts) + "\n"


def update(results: Path, kind: str = "speed", rendered: Callable[[dict[str, Any]], str] = render) -> None:
    """Write a section into the README.

    Raises
    ------
    ValueError
        If the README does not hold the two comments, or the file lies outside the repository.
    """
    text = README.read_text("utf-8")
    begin, end = BEGIN.format(kind, "{}"), END.format(kind)
    if len(section(kind).findall(text)) != 1:
        raise ValueError(f"README.md needs one pair of comments: {begin.format('NAME.json')} and {end}.")
    name = results.resolve().relative_to(ROOT.resolve()).as_posix()
    body = rendered(json.loads(results.read_text("utf-8")))
    README.write_text(section(kind).sub(lambda _: f"{begin.format(name)}\n{body}{end}\n", text), "utf-8")


def _fits(rows: list[Row]) -> str:
    cells = {(row.problem, row.library): row for row in rows}
    problems = [
        problem for problem in dict.fromkeys(row.problem for row in rows) if (problem, "growth") in cells
    ]
    libraries = [name for name in COLUMNS if any(row.library == name and row.seconds for row in rows)]
    body = []
    for problem in problems:
        own = cells[problem, "growth"]
        if own.seconds is None:
            continue
        line = [describe(problem), f"**{seconds(own.seconds)}**"]
        for name in ("floor", *libraries):
            row = cells.get((problem, name))
            if row is None or row.seconds is None:
                line.append("-")
                continue
            line.append(times(row.seconds / own.seconds) + ("*" if row.extrapolated else ""))
        body.append([*line, f"{own.gap or 0:.0e}"])
    header = ["students, columns", "growth", "floor", *(LABELS[name] for name in libraries), "gap"]
    return (
        "CPU time of 100 quantiles on one core; other columns: times as long (`*` extrapolated from fewer\n"
        "quantiles). The floor only reads the data once per quantile; the gap is how far from the optimum a\n"
        "quantile of growth is at most, relative and proven.\n\n" + markdown(header, body)
    )


def _limits(rest: list[Verdict], record: dict[str, Any]) -> str:
    body = [[verdict.what, verdict.cells[1], verdict.cells[2]] for verdict in rest]
    scoring = record.get("scoring")
    if scoring:
        body.append(["scoring, students per second", f"{scoring['students'] / scoring['score']:,.0f}", ""])
    return markdown(["", "measured", "asked"], body)
