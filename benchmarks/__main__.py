"""Command line of the benchmarks.

``python -m benchmarks --targets --out NAME`` measures everything that has a target and prints the table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import (
    batches,
    cold,
    cores,
    memory,
    pipeline,
    readme,
    refits,
    robust,
    shrinkage,
    simex,
    study,
)
from benchmarks.grid import Row, run_grid
from benchmarks.peers import PEERS
from benchmarks.problems import Problem, grid
from benchmarks.sections import Section
from benchmarks.stamp import HERE, stamp
from benchmarks.table import LABELS, describe, grid_report, scaling_report, seconds
from benchmarks.targets import STATE, TARGETS, verdict_table, verdicts

PARTS = (
    "grid",
    "scaling",
    "refit",
    "simex",
    "scoring",
    "cores",
    "memory",
    "profile",
    "cold",
    "robust",
    "eblp",
    "shrinkage",
    "pipeline",
    "study",
)
ROWS = (5_000, 20_000, 100_000, 400_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Document:
    """What a run has found so far, as text and as numbers; written anew after every step."""

    folder: Path
    name: str | None
    record: dict[str, Any] = field(default_factory=lambda: {"stamp": stamp()})
    texts: dict[str, str] = field(default_factory=dict)

    def write(self) -> None:
        """Write NAME.md and NAME.json, if there is a name."""
        if self.name is None:
            return
        lines = [f"- {name}: {value}" for name, value in self.record["stamp"].items()]
        parts = ["# Benchmarks", "\n".join(lines), *filter(None, [self.verdicts()]), *self.texts.values()]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{self.name}.md").write_text("\n\n".join(parts) + "\n", "utf-8")
        (self.folder / f"{self.name}.json").write_text(json.dumps(self.record, indent=1) + "\n", "utf-8")

    def verdicts(self) -> str:
        """Render what is asked beside what was measured."""
        found = verdicts(self.record)
        return "## Targets\n\n" + verdict_table(found) if found else ""

    def keep(self, part: str, rows: list[Row]) -> Callable[[Row], None]:
        """Return a function that shows a finished cell and writes all that is there."""

        def progress(row: Row) -> None:
            time = row.reason if row.seconds is None else seconds(row.seconds) + "*" * row.extrapolated
            print(f"{describe(row.problem):40s} {LABELS[row.library]:14s} {time}", flush=True)
            rows.append(row)
            self.record[part] = [asdict(row) for row in rows]
            self.write()

        return progress


def main() -> int:
    """Run the parts asked for and write one Markdown and one JSON file."""
    options = _options()
    if options.parts[0] == "readme":
        readme.update(Path(options.parts[1]))
        return 0
    document = Document(Path(options.folder), options.out)
    passed = True
    for part in PARTS:
        if part not in options.parts and "all" not in options.parts:
            continue
        print(f"--- {part}", flush=True)
        passed = _run(part, options, document) and passed
        print(document.texts[part] + "\n", flush=True)
        document.write()
    print(document.verdicts())
    if options.out:
        print(f"Written: {document.folder / options.out}.md and .json")
    return int(not passed)


def _run(part: str, options: argparse.Namespace, document: Document) -> bool:
    quick = options.quick
    if part == "grid":
        rows: list[Row] = []
        run_grid(_problems(options), options.libraries, options.budget, document.keep(part, rows))
        document.texts[part] = "## Fits\n\n" + grid_report(rows)
    elif part == "scaling":
        rows = []
        run_grid(_sizes(quick), ["growth", "floor"], options.budget, document.keep(part, rows))
        document.texts[part] = "## Growth with n and p\n\n" + scaling_report(rows)
    elif part == "robust":
        result = robust.run(robust.QUICK if quick else robust.FULL)
        document.texts[part] = "## Random problems\n\n" + robust.report(result)
        document.record[part] = result.summary()
        return result.passed
    else:
        section = _sections(quick, options.budget, document)[part]()
        document.texts[part] = f"## {section.title}\n\n{section.text}"
        document.record[part] = section.numbers
    return True


def _sections(quick: bool, budget: float, document: Document) -> dict[str, Callable[[], Section]]:
    small, large = Problem(20_000, 2), Problem(1_000_000, 3)
    batch, cohort = Problem(50_000, 2), Problem(STATE, 3)
    if quick:
        large, batch, cohort = Problem(100_000, 3), Problem(5_000, 2), Problem(5_000, 3)
    report = document.keep("refit_peers", [])
    return {
        "refit": partial(refits.refits, batch, 20 if quick else refits.ASKED, budget, report),
        "simex": partial(simex.simex, batch, 4 if quick else simex.REPLICATES),
        "scoring": partial(batches.scoring, small, large.n),
        "cores": partial(cores.cores, cohort, 4 if quick else 12, 3 if quick else 5),
        "memory": partial(memory.peaks, large),
        "profile": partial(batches.profile, small if quick else Problem(400_000, 3)),
        "cold": partial(cold.cold_starts, small),
        "eblp": partial(shrinkage.state, 1_000 if quick else 10_000),
        "pipeline": partial(pipeline.contract, *((20_000, 9_000, 40) if quick else ())),
        "shrinkage": partial(shrinkage.coverage, 40 if quick else 200),
        "study": partial(study.study, *((5_000, 40) if quick else (50_000, 150))),
    }


def _problems(options: argparse.Namespace) -> list[Problem]:
    if options.quick:
        return [Problem(5_000, 2), Problem(5_000, 1, 8, False), Problem(20_000, 2)]
    if options.targets:
        return list(TARGETS)
    return list(grid(options.rows, options.priors, options.flags, options.scores))


def _sizes(quick: bool) -> list[Problem]:
    if quick:
        return list(grid([20_000, 50_000], [1, 2], [0], ["integer", "continuous"]))
    return list(grid([row for row in ROWS if row >= 20_000], [1, 2, 3], [0], ["integer", "continuous"]))


def _options() -> argparse.Namespace:
    names = [peer.name for peer in PEERS]
    scores = ["integer", "continuous"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        default=["all"],
        metavar="PART",
        help=f"{', '.join(PARTS)}, all; or readme FILE.json",
    )
    parser.add_argument("--quick", action="store_true", help="small problems, in a few minutes")
    parser.add_argument("--targets", action="store_true", help="grid: only the problems that have a target")
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--priors", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--flags", type=int, nargs="+", default=[0, 8])
    parser.add_argument("--scores", nargs="+", default=scores, choices=scores)
    parser.add_argument(
        "--libraries", nargs="+", default=names, choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--budget", type=float, default=None, help="CPU seconds per library and problem (20)")
    parser.add_argument("--out", help="name of the files to write into --folder")
    parser.add_argument("--folder", default=str(HERE / "results"))
    options = parser.parse_args()
    if options.parts[0] == "readme":
        if len(options.parts) != 2:
            parser.error("readme needs the JSON file of a run")
    elif unknown := set(options.parts) - {*PARTS, "all"}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if options.budget is None:
        options.budget = 0.5 if options.quick else 20.0
    return options


if __name__ == "__main__":
    raise SystemExit(main())
