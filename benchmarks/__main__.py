"""Command line of the benchmarks."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks import batches, cold, robust
from benchmarks.grid import Row, run_grid
from benchmarks.peers import PEERS
from benchmarks.problems import Problem, grid
from benchmarks.stamp import HERE, stamp
from benchmarks.table import LABELS, TARGETS, describe, grid_report, seconds

PARTS = ("grid", "refit", "scoring", "cores", "profile", "cold", "robust")
ROWS = (5_000, 20_000, 100_000, 400_000, 1_000_000)


def main() -> int:
    """Run the parts asked for and write one Markdown and one JSON file."""
    options = _options()
    info = stamp()
    document = ["# Benchmarks", "\n".join(f"- {name}: {value}" for name, value in info.items())]
    record: dict[str, object] = {"stamp": info}
    failed = False
    for part in PARTS:
        if options.part not in (part, "all"):
            continue
        print(f"--- {part}", flush=True)
        if part == "grid":
            rows = run_grid(_problems(options), options.libraries, options.budget, _progress)
            text = "## Fits\n\n" + grid_report(rows)
            record[part] = [asdict(row) for row in rows]
        elif part == "robust":
            result = robust.run(robust.QUICK if options.quick else robust.FULL)
            text, failed = "## Random problems\n\n" + robust.report(result), failed or not result.passed
            record[part] = result.summary()
        else:
            section = _sections(options.quick)[part]()
            text = f"## {section.title}\n\n{section.text}"
            record[part] = section.numbers
        print(text + "\n", flush=True)
        document.append(text)
    if options.out:
        folder = Path(options.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{options.out}.md").write_text("\n\n".join(document) + "\n")
        (folder / f"{options.out}.json").write_text(json.dumps(record, indent=1) + "\n")
        print(f"Written: {folder / options.out}.md and .json")
    return int(failed)


def _options() -> argparse.Namespace:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="?", default="all", choices=[*PARTS, "all"])
    parser.add_argument("--quick", action="store_true", help="small problems, in about two minutes")
    parser.add_argument("--targets", action="store_true", help="grid: only the problems that have a target")
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--priors", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--flags", type=int, nargs="+", default=[0, 8])
    parser.add_argument(
        "--scores", nargs="+", default=["integer", "continuous"], choices=["integer", "continuous"]
    )
    parser.add_argument(
        "--libraries", nargs="+", default=names, choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--budget", type=float, default=None, help="CPU seconds per library and problem (20)")
    parser.add_argument("--out", help="name of the files to write into --folder")
    parser.add_argument("--folder", default=str(HERE / "results"))
    options = parser.parse_args()
    if options.budget is None:
        options.budget = 0.5 if options.quick else 20.0
    return options


def _problems(options: argparse.Namespace) -> list[Problem]:
    if options.targets:
        return list(TARGETS)
    if options.quick:
        return [Problem(5_000, 2), Problem(5_000, 1, 8, False), Problem(20_000, 2)]
    return list(grid(options.rows, options.priors, options.flags, options.scores))


def _sections(quick: bool) -> dict[str, Callable[[], batches.Section]]:
    return {
        "refit": lambda: batches.refits(Problem(5_000 if quick else 50_000, 2), 5 if quick else 20),
        "scoring": lambda: batches.scoring(Problem(20_000, 2), 100_000 if quick else 1_000_000),
        "cores": lambda: batches.cores(Problem(5_000 if quick else 50_000, 2), 4 if quick else 16),
        "profile": lambda: batches.profile(Problem(20_000, 2) if quick else Problem(400_000, 3)),
        "cold": cold.cold_starts,
    }


def _progress(row: Row) -> None:
    time = row.reason if row.seconds is None else seconds(row.seconds) + ("*" if row.extrapolated else "")
    print(f"{describe(row.problem):40s} {LABELS[row.library]:14s} {time}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
