"""How far one machine reaches, and whether `growth.plan` foretells it: ``python -m benchmarks.capacity``.

Simulated systems from a thousand rows up are computed in fresh processes. The cost model is fitted to some of
them (``--fit`` writes it into the engine) and asked about the others.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.stamp import HERE, stamp
from benchmarks.state import KINDS, THREADS, measured, specification, write_state
from benchmarks.table import markdown

FITTED = {"core": (150, 1_500, 15_000, 150_000, 600_000), "simex": (5_000, 40_000)}
FITTED |= {"intervals": FITTED["simex"], "refit": FITTED["simex"]}
CHECKED = {"core": (500, 50_000, 300_000), "simex": (15_000,), "intervals": (15_000,), "refit": (15_000,)}
"""Tested students of the latest year, by what is computed."""
ASKED = 0.30
"""How far off a plan may be."""
NATION = 25_000_000
"""Tested students of a nation in a year."""
_SHORT = 0.02
"""Stages that take less count as so long: their relative errors say nothing [s]."""
_TIMED = {"school growth": "school growth", "levels": "school growth"}
_COSTS = Path("growth/pipeline/costs.py")


def main() -> int:
    """Measure, fit if asked for, compare with the plans, and write the tables; 1 if a plan is too far off."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--fit", action="store_true", help="write the fitted costs into the engine")
    options.add_argument("--state", type=Path, help="also the file of benchmarks.state, of 22 million rows")
    options.add_argument("--again", action="store_true", help="keep the other measurements of the last time")
    options.add_argument("--units", nargs=2, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.units:
        child = units_of if chosen.units[1] in KINDS else fits_of
        print(json.dumps(child(Path(chosen.units[0]), chosen.units[1])))
        return 0
    target = HERE / "results" / "capacity.json"
    record = (
        json.loads(target.read_text("utf-8"))
        if chosen.again
        else {"stamp": stamp(), "runs": list(measurements())}
    )
    if "fits" not in record:
        record["fits"] = list(fit_times())
    if chosen.state:
        kept = [one for one in record["runs"] if one["role"] != "state"]
        record["runs"] = [*kept, measurement("state", "core", chosen.state)]
    if chosen.fit:
        record["costs"], record["memory"] = fitted(record["runs"], record["fits"])
        write_costs(record["costs"], record["memory"])
    planned(record["runs"])
    target.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    text, passed = report(record)
    target.with_suffix(".md").write_text(text, "utf-8")
    draw(record["runs"], target.with_suffix(".svg"))
    print(text)
    return int(not passed)


def measurements() -> Iterator[dict[str, Any]]:
    """Compute every system once, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="growth-capacity-") as folder:
        sizes = {tested for part in (FITTED, CHECKED) for many in part.values() for tested in many}
        files = {tested: Path(folder) / f"{tested}.parquet" for tested in sizes}
        for tested, file in files.items():
            write_state(file, tested)
        for kind in KINDS:  # compiled kernels are kept from here on
            measured(files[FITTED[kind][0]], kind)
        for role, part in (("fitted", FITTED), ("checked", CHECKED)):
            for kind, many in part.items():
                yield from (measurement(role, kind, files[tested]) for tested in many)


def fit_times() -> Iterator[dict[str, Any]]:
    """Fit single cohorts: a run's stages do not tell the time of fits from that of frames."""
    with tempfile.TemporaryDirectory(prefix="growth-capacity-") as folder:
        for tested in FITTED["core"]:
            file = Path(folder) / f"{tested}.parquet"
            write_state(file, tested)
            yield from _child(file, "fits")["fits"]


def measurement(role: str, kind: str, file: Path) -> dict[str, Any]:
    """Compute one system."""
    one = {"role": role, "kind": kind, **measured(file, kind), **_child(file, kind)}
    print(f"{kind} {one['rows']:,} rows: CPU {one['cpu']:.1f} s, {one['peak']:.2f} GB", flush=True)
    return one


def _child(file: Path, kind: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.capacity", "--units", str(file), kind]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "POLARS_MAX_THREADS": str(THREADS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def units_of(file: Path, kind: str) -> dict[str, Any]:
    """Return what there is to do with a table, by stage, and how fast this machine is."""
    import polars as pl

    from growth.panel import build_panels, read_table
    from growth.pipeline.costs import probe
    from growth.pipeline.planning import workload

    spec = specification(int(pl.scan_parquet(file).select(pl.len()).collect().item()), kind)
    table = read_table(file, spec)
    load = workload(table, build_panels(table, spec), spec)
    units: dict[str, dict[str, float]] = {}
    for piece in (*load.whole, *load.pieces):
        stage = units.setdefault(piece.stage, {})
        for name, count in piece.units.items():
            stage[name] = stage.get(name, 0.0) + piece.times * count
    return {"units": units, "live": load.live, "probe": probe()}


def fits_of(file: Path, _: str) -> dict[str, Any]:
    """Return the CPU seconds of fits of single cohorts, one thread."""
    import polars as pl

    from growth.panel import build_panels, read_table
    from growth.pipeline.ledger import plain_choices, plain_panels
    from growth.pipeline.planning import columns_of
    from growth.student import student_growth

    spec = specification(int(pl.scan_parquet(file).select(pl.len()).collect().item()))
    panels = build_panels(read_table(file, spec), spec)
    bare = plain_choices(spec)
    peers = spec.replace({"peers.composition": "none"})  # scores as they are: the fit takes as long
    todo = [(one, peers) for one in panels.panels] + [(one, bare) for one in plain_panels(panels, spec)]
    student_growth(*todo[0])  # compiled code is loaded
    found = []
    for panel, choices in todo[:: max(1, len(todo) // 12)]:
        start = time.process_time()
        student_growth(panel, choices, n_jobs=1)
        p = columns_of(panel, choices)
        units = {"fit p2": 100.0 * p * p, "fit n p": 100.0 * p * len(panel)}
        found.append({"units": units, "cpu": time.process_time() - start})
    return {"fits": found}


def fitted(
    runs: list[dict[str, Any]], fits: list[dict[str, Any]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return CPU seconds per unit of work, and GB: none negative, relative errors as small as can be."""
    from scipy.optimize import nnls

    from growth.pipeline.costs import COSTS

    names = list(COSTS)
    rows = [[one["units"].get(name, 0.0) for name in names] for one in fits]
    values = [one["cpu"] for one in fits]
    for one in runs:
        if one["role"] == "fitted":
            for stage, units in one["units"].items():
                seconds = spent(one)[stage]
                rows.append([units.get(name, 0.0) for name in names])
                values.append(max(seconds, _SHORT))
    design = np.array(rows) / np.array(values)[:, None]
    scale = np.where(design.max(axis=0) > 0, design.max(axis=0), 1.0)
    costs = nnls(design / scale, np.ones(len(values)))[0] / scale
    plain = [one for one in runs if one["role"] == "fitted" and one["kind"] == "core"]
    peaks = np.array([one["peak"] for one in plain])
    root = np.sqrt([max(one["live"].values()) / 1e9 for one in plain])
    base, slack = nnls(np.column_stack([np.ones(len(root)), root]) / peaks[:, None], np.ones(len(root)))[0]
    speed = float(np.median([one["probe"] for one in runs]))
    return dict(zip(names, costs.tolist(), strict=True)), {"base": base, "slack": slack, "probe": speed}


def spent(one: dict[str, Any]) -> dict[str, float]:
    """Return CPU seconds by stage; what comes after the last is the stage `result`."""
    seconds: dict[str, float] = {}
    for stage, value in one["cpu_seconds"].items():
        name = _TIMED.get(stage, stage)
        seconds[name] = seconds.get(name, 0.0) + value
    return seconds | {"result": one["cpu"] - sum(seconds.values())}


def write_costs(costs: dict[str, float], memory: dict[str, float]) -> None:
    """Put fitted costs into the engine's source."""
    file = HERE.parent / _COSTS
    text = file.read_text("utf-8")
    lines = "".join(f'    "{name}": {value:.3g},\n' for name, value in costs.items())
    text = re.sub(r"(COSTS: [^\n]*= \{\n).*?(\n?\}\n)", rf"\g<1>{lines}}}\n", text, count=1, flags=re.S)
    for name, key in (("PROBE", "probe"), ("BASE_GB", "base"), ("SLACK", "slack")):
        text = re.sub(rf"({name}: Final = )[\d.]+", rf"\g<1>{memory[key]:.3g}", text)
    file.write_text(text, "utf-8")


def planned(runs: list[dict[str, Any]]) -> None:
    """Note beside each measurement what the model of the engine says."""
    from importlib import reload

    from growth.pipeline import costs

    reload(costs)
    for one in runs:
        one["planned_cpu"] = sum(costs.priced(units) for units in one["units"].values())
        one["planned_peak"] = costs.held(max(one["live"].values()))


def report(record: dict[str, Any]) -> tuple[str, bool]:
    """Return the tables as Markdown, and whether every plan of a size not fitted to is near enough."""
    runs = sorted(record["runs"], key=lambda one: (list(KINDS).index(one["kind"]), one["rows"]))
    body, passed = [], True
    for one in runs:
        off = [one["planned_cpu"] / one["cpu"] - 1, one["planned_peak"] / one["peak"] - 1]
        checked = one["role"] != "fitted"
        passed = passed and not (checked and max(map(abs, off)) > ASKED)
        body.append(
            [
                one["kind"],
                f"{one['rows']:,}",
                f"{one['scored']:,}",
                f"{one['schools']:,}",
                f"{one['cpu']:.1f}",
                f"{one['wall']:.0f}",
                f"{one['peak']:.2f}",
                *(f"{value:+.0%}" for value in off),
                "not fitted to" if checked else "",
            ]
        )
    header = ["computed", "rows", "percentiles", "schools", "CPU [s]", "wall clock [s]", "peak memory [GB]"]
    header += ["plan: CPU", "plan: memory", ""]
    parts = [
        "# Capacity",
        f"What `growth.run` takes, from a Parquet file, on {record['stamp']['cpu']} ({THREADS} threads), by "
        "`python -m benchmarks.capacity --fit --state FILE`: simulated systems, two subjects, two prior "
        "years on file, the most memory that could not be given back to the operating system. Computed: "
        "preset core; the same with SIMEX (2 lambdas of 10 replicates, one-step composition), with intervals "
        "(20 refits and the error of measurement), with refitted standard errors of schools (20 samples). "
        "Wall clock counts what others "
        f"did on the machine as well (load before: {record['stamp']['load']}).",
        markdown(header, body),
        f"Asked of a plan: at most {ASKED:.0%} off at sizes that the model was not fitted to. The model "
        "counts units of work and multiplies them by seconds per unit (`growth/pipeline/costs.py`).",
        "![Memory and time by rows](capacity.svg)",
        nation(runs),
        "\n".join(f"- {name}: {value}" for name, value in record["stamp"].items()),
    ]
    return "\n\n".join(parts) + "\n", passed


def nation(runs: list[dict[str, Any]]) -> str:
    """Return the plan for a nation, with its arithmetic."""
    from growth.pipeline import costs

    largest = max((one for one in runs if one["kind"] == "core"), key=lambda one: one["rows"])
    tested = largest["tested"]
    times = NATION / tested
    serial = times * sum(
        costs.priced({n: v for n, v in units.items() if not n.startswith("fit ")})
        for units in largest["units"].values()
    )
    fits = sum(
        costs.priced(
            {n: v * (times if n == "fit n p" else 1) for n, v in units.items() if n.startswith("fit ")}
        )
        for units in largest["units"].values()
    )
    live = max(largest["live"].values())
    memory = costs.held(times * live)
    own = largest["units"]["student growth"]
    simex = _REPLICATES * costs.priced({"simex p2": own["fit p2"], "simex n p": times * own["fit n p"]})
    rows = times * largest["rows"]
    body = [
        ["rows", f"{NATION:,} / {tested:,.0f} x {largest['rows']:,}", f"{rows:,.0f}"],
        [
            "percentiles",
            f"{NATION / tested:.2f} x {largest['scored']:,}",
            f"{times * largest['scored']:,.0f}",
        ],
        [
            "fits of cohorts",
            f"{largest['cohorts']} and as many without peers, 100 quantiles",
            f"{fits:,.0f} s",
        ],
        ["everything else", "reading, panels, composition, fairness, schools", f"{serial:,.0f} s"],
        [
            "peak memory of one process",
            f"{costs.BASE_GB:.2f} and what is in use, {times:.2f} x {live / 1e9:.2f}",
            f"{memory:.0f} GB",
        ],
        [
            "SIMEX, 4 lambdas x 50 replicates",
            f"{_REPLICATES} refits of {largest['cohorts']} cohorts",
            f"{simex:,.0f} s, {simex / 3600 / 16:.1f} h on 16 cores",
        ],
    ]
    text = (
        f"## A nation: {NATION:,} tested students a year\n\n"
        "The same model on the units of the largest system above, as many times as it takes. As one table it "
        "needs a machine with that much memory; state by state (nobody is compared across them, if each has "
        "its own test) it is as many runs of the sizes above, and the peak is that of the largest state. CPU "
        "seconds:\n\n"
    )
    return text + markdown(["", "arithmetic", ""], body)


def draw(runs: list[dict[str, Any]], file: Path) -> None:
    """Draw memory and time against size."""
    import altair as alt
    import polars as pl

    core = [one for one in runs if one["kind"] == "core"]
    lines = [
        {"rows": one["rows"], "what": what, "value": one[key], "kind": kind}
        for one in core
        for what, kinds in _DRAWN.items()
        for kind, key in kinds.items()
    ]
    x = alt.X("rows:Q", scale=alt.Scale(type="log"), title="rows of the table")
    charts = [
        alt.Chart(pl.DataFrame(lines).filter(what=what))
        .mark_line(point=True)
        .encode(
            x=x,
            y=alt.Y("value:Q", scale=alt.Scale(type="log"), title=what),
            color=alt.Color("kind:N", title=""),
        )
        .properties(width=320, height=240)
        for what in _DRAWN
    ]
    alt.hconcat(*charts).save(file)


_REPLICATES = 4 * 50
_DRAWN = {
    "peak memory [GB]": {"measured": "peak", "planned": "planned_peak"},
    "CPU [s]": {"measured": "cpu", "planned": "planned_cpu"},
}

if __name__ == "__main__":
    sys.exit(main())
