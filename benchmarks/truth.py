"""School results against the truth: what errors of measurement in prior scores do, and who takes that back.

``python -m benchmarks.truth`` draws cohorts with known school effects (`benchmarks.known`), runs every method
on them and prints tables; ``--out truth`` writes them, ``--readme`` puts the short one into README.md,
``--quick`` is small.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import growth
from benchmarks.known import Comparison, Drawn, Route, World, draw_world
from benchmarks.stamp import HERE, stamp
from benchmarks.table import markdown
from growth._types import FloatArray
from growth.school import school_growth
from growth.spec import GrowthSpec

RELIABILITIES = (0.80, 0.85, 0.90, 0.95)
SORTED = (0.90, 0.4)
"""Reliability and correlation of effects with intake of one further system."""
CURVED = (0.90, 0.25)
"""Reliability and curve of the standard errors of another: twice as large at 2 SDs as in the middle."""
AS_PREDICTED = 0.10
"""Relative: how near the uncorrected bias must be to the closed form."""
LEFT = 0.25
"""Share of that bias that a correction may leave."""
SPEC = GrowthSpec.from_dict(
    {
        "name": "truth",
        "cohorts": {"years": "latest"},
        "school": {"shrinkage": "none", "min_n": 10},
        "groups": {"flags": {}, "race": "", "lowest_race": False},
    }
)


@dataclass(frozen=True, slots=True)
class Method:
    """A way from scores to school results."""

    name: str
    label: str
    route: Route
    run: str
    """The run of the engine that it reads."""
    percentile: str = "continuous"
    degree: int = 1

    @property
    def corrects(self) -> bool:
        """Whether it is meant to take the bias back."""
        return self.route != "naive"

    @property
    def refits(self) -> bool:
        """Whether it is SIMEX, which takes a hundred times as long as the others."""
        return self.route in ("simex", "ranked")


RUNS: dict[str, dict[str, Any]] = {
    "quantile": {},
    "normal": {"student.engine": "normal"},
    "eiv": {"student.engine": "eiv", "measurement.csem": "column"},
    "simex_1": {"measurement.csem": "column", "simex.use": "simex"},
    "simex_2": {"measurement.csem": "column", "simex.use": "simex", "simex.extrapolation": "quadratic"},
    "two_step": {"peers.composition": "two_step"},
}
METHODS = (
    Method("quantile", "quantile, uncorrected", "naive", "quantile"),
    Method("normal", "normal, uncorrected", "naive", "normal"),
    Method("eiv", "errors in variables", "eiv", "eiv"),
    Method("simex_linear", "SIMEX, linear", "simex", "simex_1", "simex"),
    Method("ranked_linear", "ranked SIMEX, linear", "ranked", "simex_1", "simex_ranked"),
    Method("simex_quadratic", "SIMEX, quadratic", "simex", "simex_2", "simex", 2),
    Method("ranked_quadratic", "ranked SIMEX, quadratic", "ranked", "simex_2", "simex_ranked", 2),
    Method("two_step", "composition, two steps", "two_step", "two_step"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One method in one system, over all draws."""

    reliability: float
    sorting: float
    curve: float
    method: str
    bias: float
    """Percentile points of a school's result per SD of schools' mean true prior score."""
    bias_se: float
    """Monte-Carlo standard error."""
    predicted: float
    """The same in closed form."""
    r_intake: float
    """Correlation of results with schools' mean true prior score; its mean over draws."""
    r_effect: float
    """Correlation of results with true effects."""
    rmse: float
    """Distance of results from what is expected without bias [percentile points]."""
    coverage: float
    """Share of 95 % intervals that hold it."""
    draws: int

    @property
    def plain(self) -> bool:
        """Whether the closed forms are exact and effects have nothing to do with intake."""
        return not self.sorting and not self.curve


@dataclass(frozen=True, slots=True)
class Size:
    """How much is drawn."""

    students: int = 20_000
    schools: int = 200
    draws: int = 24
    simex_draws: int = 12
    """Draws, the first ones, on which SIMEX runs as well: it refits every quantile 80 times."""
    replicates: int = 20
    """Of SIMEX, per lambda."""


FULL, QUICK = Size(), Size(6_000, 100, 3, 3, 5)


def measure(world: World, methods: Sequence[Method], size: Size, n_jobs: int = -1) -> list[Row]:
    """Run the methods on draws of one system."""
    found: dict[str, list[FloatArray]] = {method.name: [] for method in methods}
    for seed in range(size.draws):
        drawn = draw_world(world, seed)
        due = [method for method in methods if seed < size.simex_draws or not method.refits]
        for method, results in _results(drawn, due, size, n_jobs):
            found[method.name].append(_against_truth(drawn, results, _comparison(world, method)))
    return [_row(world, method, np.array(found[method.name])) for method in methods]


def _results(
    drawn: Drawn, methods: Sequence[Method], size: Size, n_jobs: int
) -> Iterator[tuple[Method, pl.DataFrame]]:
    runs: dict[str, growth.GrowthRun] = {}
    for method in methods:
        if method.run not in runs:
            spec = SPEC.replace(RUNS[method.run])
            if spec.simex.use == "simex":
                spec = spec.replace({"simex.replicates": size.replicates})
            runs[method.run] = growth.run(drawn.table, spec, n_jobs=n_jobs)
        run = runs[method.run]
        schools = run.schools
        if method.percentile != run.spec.school.percentile:
            spec = run.spec.replace({"school.percentile": method.percentile})
            schools = school_growth(run.students, spec).frame
        yield method, schools.filter(group="All").sort("school_id")


def _comparison(world: World, method: Method) -> Comparison:
    return world.comparison(method.route, method.degree)


def _against_truth(drawn: Drawn, results: pl.DataFrame, method: Comparison) -> FloatArray:
    """Return bias, predicted bias, r with intake, r with effects, mean squared error and coverage.

    The bias is a slope over schools of results less what is expected without bias. What the luck of the
    students in a school adds, known from their residuals, is left out of that slope, and only of that: it
    has nothing to do with intake, and would need ten times the draws to average out.
    """
    world = drawn.world
    none = np.zeros_like(drawn.intake)
    target = world.expected(method, drawn.effect, none)
    lucky = world.expected(method, drawn.effect + drawn.luck, none) - target
    value, error = results["effect"].to_numpy(), results["effect_se"].to_numpy()
    per_sd = drawn.intake / world.intake_sd
    biased = world.expected(method, drawn.effect, drawn.intake) - target
    return np.array(
        [
            _slope(per_sd, value - target - lucky),
            _slope(per_sd, biased),
            np.corrcoef(value, drawn.intake)[0, 1],
            np.corrcoef(value, drawn.effect)[0, 1],
            np.mean((value - target) ** 2),
            np.mean(np.abs(value - target) <= 1.96 * error),
        ]
    )


def _slope(x: FloatArray, y: FloatArray) -> float:
    return float(np.polyfit(x, y, 1)[0])


def _row(world: World, method: Method, draws: FloatArray) -> Row:
    bias, predicted, r_intake, r_effect, mse, coverage = draws.mean(axis=0)
    return Row(
        reliability=world.reliability,
        sorting=world.sorting,
        curve=world.curve,
        method=method.name,
        bias=float(bias),
        bias_se=float(draws[:, 0].std(ddof=1) / len(draws) ** 0.5),
        predicted=float(predicted),
        r_intake=float(r_intake),
        r_effect=float(r_effect),
        rmse=float(mse**0.5),
        coverage=float(coverage),
        draws=len(draws),
    )


def worlds(size: Size) -> list[World]:
    """Return the systems: four reliabilities, better schools with able intakes, errors that vary by score."""
    plain = [World(r) for r in RELIABILITIES]
    further = [World(SORTED[0], sorting=SORTED[1]), World(CURVED[0], curve=CURVED[1])]
    return [replace(world, students=size.students, schools=size.schools) for world in [*plain, *further]]


def verdicts(rows: Iterable[Row]) -> list[list[str]]:
    """Return, per method, the worst case beside what is asked; effects have nothing to do with intake."""
    plain = [row for row in rows if row.plain]
    naive = {row.reliability: row.predicted for row in plain if row.method == "quantile"}
    lines = []
    for method in METHODS:
        own = [row for row in plain if row.method == method.name]
        if not own:
            continue
        if method.corrects:
            worst = max(abs(row.bias) / naive[row.reliability] for row in own)
            word, asked = f"{worst:.0%} of the bias left", f"at most {LEFT:.0%}"
            met = worst <= LEFT
            kept = [f"{row.reliability:.2f}" for row in own if abs(row.bias) <= LEFT * naive[row.reliability]]
            where = "" if met or not kept else f" (met at {', '.join(kept)})"
        else:
            worst = max(abs(row.bias / row.predicted - 1) for row in own)
            word, asked, where = f"{worst:.0%} from the closed form", f"within {AS_PREDICTED:.0%}", ""
            met = worst <= AS_PREDICTED
        lines.append([method.label, word, asked, ("met" if met else "missed") + where])
    return lines


def details(rows: Iterable[Row]) -> list[list[str]]:
    """Return one line of text per row."""
    labels = {method.name: method.label for method in METHODS}
    return [
        [
            f"{row.reliability:.2f}" + " sorted" * bool(row.sorting) + " curved" * bool(row.curve),
            labels[row.method],
            f"{row.bias:+.2f} ({row.bias_se:.2f})",
            f"{row.predicted:+.2f}",
            f"{row.r_intake:+.2f}",
            f"{row.r_effect:.2f}",
            f"{row.rmse:.2f}",
            f"{row.coverage:.0%}",
        ]
        for row in rows
    ]


DETAILS = ("r", "method", "bias (SE)", "predicted", "r intake", "r effect", "RMSE", "coverage")
WIDTH = 100
"""Of tables, at least [characters]."""
VERDICTS = ("method", "worst of four reliabilities", "asked", "")


def render(record: dict[str, Any]) -> str:
    """Return the short table for the README: bias by method and reliability."""
    rows = rows_of(record)
    plain = [row for row in rows if row.plain]
    naive = {row.reliability: row.predicted for row in plain if row.method == "quantile"}
    by = {(row.method, row.reliability): row for row in plain}
    header = ["bias by reliability of prior scores", *(f"{r:.2f}" for r in naive), "interval coverage"]
    body = [["closed form, uncorrected", *(f"{value:.2f}" for value in naive.values()), ""]]
    for method in METHODS:
        own = [by[method.name, r] for r in naive if (method.name, r) in by]
        if len(own) < len(naive):
            continue
        cells = [
            f"{row.bias:.2f}" + (f" ({abs(row.bias) / naive[row.reliability]:.0%})" * method.corrects)
            for row in own
        ]
        cover = [row.coverage for row in own]
        body.append([method.label, *cells, f"{min(cover):.0%} to {max(cover):.0%}"])
    size = record["size"]
    return (
        f"{markdown(header, body)}\n\n"
        f"{size['draws']} draws ({size['simex_draws']} for SIMEX) of {size['students']:,} students in "
        f"{size['schools']:,} schools each; "
        "Monte-Carlo standard errors up to "
        f"{max(row.bias_se for row in plain):.2f}. `python -m benchmarks.truth` repeats it.\n"
    )


def rows_of(record: dict[str, Any]) -> list[Row]:
    """Return the rows of a results file."""
    return [Row(**row) for row in record["rows"]]


def document(record: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    rows = rows_of(record)
    lines = [f"- {name}: {value}" for name, value in record["stamp"].items()]
    parts = [
        "# School results against the truth",
        "\n".join(lines),
        "## What is asked",
        markdown(VERDICTS, verdicts(rows)),
        "## Every method in every system",
        NOTES,
        markdown(DETAILS, details(rows)),
        "## Published magnitudes",
        PUBLISHED,
    ]
    return "\n\n".join(parts) + "\n"


NOTES = """r: reliability of prior scores. Bias: percentile points of a school's mean percentile per SD
of schools' mean true prior score, beside its closed form (`benchmarks/known.py`). r intake, r effect:
correlations of results with that mean and with true effects. RMSE [percentile points] and coverage of 95 %
intervals: against what is expected of the school without bias. Sorted: effects correlate with intake; part
of what goes with intake is then deserved. Curved: standard errors are twice as large at 2 SDs from the
middle of the scale as in the middle, and known at observed scores only; closed forms are approximate."""

PUBLISHED = """Correlation of schools' growth percentiles with their mean prior score in Georgia, 2014 to 2017
(the state's technical report of 2019), where true effects may go with intake as well:

| | uncorrected | SIMEX |
|---|---|---|
| ELA | .55 .42 .58 .52 | .35 .26 .43 .33 |
| mathematics | .45 .46 .51 .42 | .32 .36 .41 .30 |"""


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few students, schools and draws")
    parser.add_argument("--draws", type=int, default=None, help=f"per system ({FULL.draws})")
    parser.add_argument("--out", help="name of the files to write into --folder")
    parser.add_argument("--folder", default=str(HERE / "results"))
    parser.add_argument("--readme", action="store_true", help="put the short table into README.md")
    options = parser.parse_args()
    if options.readme and not options.out:
        parser.error("--readme shows a results file: give --out")
    size = QUICK if options.quick else FULL
    if options.draws:
        fewer = min(options.draws, size.simex_draws)
        size = replace(size, draws=options.draws, simex_draws=fewer)
    record: dict[str, Any] = {"stamp": stamp(), "size": asdict(size), "rows": []}
    for world in worlds(size):
        rows = measure(world, METHODS, size)
        record["rows"] += [asdict(row) for row in rows]
        title = f"reliability {world.reliability}, sorting {world.sorting}, curve {world.curve}"
        _show(title, DETAILS, details(rows))
        _write(record, options)
    _show("What is asked", VERDICTS, verdicts(rows_of(record)))
    if options.readme:
        from benchmarks import readme

        readme.update(Path(options.folder) / f"{options.out}.json", "truth", render)
    return 0


def _write(record: dict[str, Any], options: argparse.Namespace) -> None:
    if options.out:
        folder = Path(options.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{options.out}.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        (folder / f"{options.out}.md").write_text(document(record), "utf-8")


def _show(title: str, header: Sequence[str], lines: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number < 2 else "right")
    for line in lines:
        table.add_row(*line)
    Console(width=max(WIDTH, Console().width)).print(table)


if __name__ == "__main__":
    raise SystemExit(main())
