"""Memory against the size of a table and of its largest cohort: ``python -m benchmarks.memory_by_size``.

Tables grow twice: by years of cohorts of the same size, and by cohorts that grow. Each is computed in a fresh
process. Counted is what the system cannot take back (`RssAnon`, read every 10 ms), and beside it all that was
resident (`VmHWM`), with pages of mapped files that only stay because nobody else wants the memory. With
``--state FILE`` a state is computed, from Parquet and from CSV, by a process that is given less memory than
the table takes, by the operating system (a control group).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.resident import Watch, resident
from benchmarks.stamp import HERE, stamp
from benchmarks.state import THREADS, specification, write_state
from benchmarks.table import markdown

YEARS = (2, 4, 8, 16)
"""Years with priors on file, of systems of `TESTED` students a year."""
TESTED = 100_000
GROWING = (100_000, 200_000, 400_000, 800_000)
"""Tested students a year of systems with two such years."""
SAME, LARGER = "more cohorts of one size", "larger cohorts"
LIMIT = 2.0
"""Memory that a state is given [GB]."""
_GROUPS = Path("/sys/fs/cgroup")


def main() -> int:
    """Measure, write the tables and the plot; 1 if a state needs more than it is given."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--state", type=Path, help="also a file of benchmarks.state, within --limit")
    options.add_argument("--limit", type=float, default=LIMIT, help="memory that it is given [GB]")
    options.add_argument("--again", action="store_true", help="keep the other measurements of the last time")
    options.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.measure:
        print(json.dumps(measure(Path(chosen.measure[0]), chosen.measure[1])))
        return 0
    target = HERE / "results" / "memory_by_size.json"
    record = (
        json.loads(target.read_text("utf-8"))
        if chosen.again
        else {"stamp": stamp(), "runs": list(measurements()), "limited": []}
    )
    if chosen.state:
        record["limited"] = list(limited(chosen.state, chosen.limit))
    target.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    text = report(record)
    target.with_suffix(".md").write_text(text, "utf-8")
    draw(record["runs"], target.with_suffix(".svg"))
    print(text)
    return int(any(one.get("failed") for one in record["limited"]))


def measurements() -> Iterator[dict[str, Any]]:
    """Compute every table once, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="growth-memory-") as folder:
        first = True
        for series, sizes in ((SAME, YEARS), (LARGER, GROWING)):
            for size in sizes:
                file = Path(folder) / f"{size}.parquet"
                years, tested = (size, TESTED) if series == SAME else (2, size)
                write_state(file, tested, enrolled=tested, years=years)
                if first:  # compiled kernels are kept from here on
                    measured(file, "all")
                first = False
                yield {"series": series, **measured(file, "all")}
                file.unlink()


def limited(file: Path, gigabytes: float) -> Iterator[dict[str, Any]]:
    """Compute a state within a limit, from Parquet and from CSV."""
    reason = unavailable()
    if reason:
        yield {"skipped": reason}
        return
    import polars as pl

    with tempfile.TemporaryDirectory(prefix="growth-memory-", dir=file.parent) as folder:
        text = Path(folder) / "state.csv"
        pl.scan_parquet(file).sink_csv(text)
        for source in (file, text):
            with group(gigabytes) as join:
                about = {"kind": source.suffix[1:], "bytes": source.stat().st_size, "limit": gigabytes}
                try:
                    yield about | measured(source, "latest", join)
                except RuntimeError as error:
                    yield about | {"failed": str(error)[-400:]}


def unavailable() -> str:
    """Return why no control group can be made here; empty if one can."""
    try:
        with group(1.0):
            return ""
    except OSError as error:
        return f"no control group for memory can be made here ({error.strerror})"


@contextmanager
def group(gigabytes: float) -> Iterator[Any]:
    """Make a control group with so much memory, and give a function that a process joins it with."""
    old = (_GROUPS / "memory").is_dir()
    folder = (_GROUPS / "memory" if old else _GROUPS) / f"growth-{os.getpid()}"
    folder.mkdir()
    try:
        name = "memory.limit_in_bytes" if old else "memory.max"
        (folder / name).write_text(str(int(gigabytes * 1e9)))
        if not old:
            (folder / "memory.swap.max").write_text("0")
        yield partial(_join, folder / "cgroup.procs")
    finally:
        for _ in range(50):
            try:
                folder.rmdir()
                break
            except OSError:  # a process is still going
                time.sleep(0.1)


def _join(file: Path) -> None:
    file.write_text(str(os.getpid()))


def measured(file: Path, years: str, join: Any = None) -> dict[str, Any]:  # noqa: ANN401
    """Compute a table in a fresh process and return what it took."""
    command = [sys.executable, "-m", "benchmarks.memory_by_size", "--measure", str(file), years]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "POLARS_MAX_THREADS": str(THREADS)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, preexec_fn=join
    )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-4000:]}")
    found = dict(json.loads(done.stdout))
    print(f"{file.name}: {found['rows']:,} rows, {found['anonymous']:.2f} GB", flush=True)
    return found


def measure(file: Path, years: str) -> dict[str, Any]:
    """Compute a table in this process."""
    from growth import run

    spec = specification(10**6).replace({"cohorts.years": years})
    start, seconds = resident(), time.perf_counter()
    with Watch() as watch:
        result = run(file, spec, n_jobs=THREADS)
    cells = result.polars("cells")
    return {
        "rows": int(result.polars("counts")["rows"][0]),
        "percentiles": int(result.polars("students")["percentile"].count()),
        "cohorts": cells.height,
        "largest": int(cells["n"].max() or 0),
        "wall": time.perf_counter() - seconds,
        "start": start["RssAnon"],
        "anonymous": watch.most,
        "resident": resident()["VmHWM"],
        "seconds": result.manifest["seconds"],
        "levels": result.manifest["outputs"]["levels"],
    }


def report(record: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    body = [
        [
            one["series"],
            f"{one['rows']:,}",
            f"{one['cohorts']}",
            f"{one['largest']:,}",
            f"{one['anonymous']:.2f}",
            f"{one['resident']:.2f}",
            f"{one['wall']:.0f}",
        ]
        for one in record["runs"]
    ]
    header = ["tables grow by", "rows", "cohorts", "largest cohort", "memory [GB]", "resident [GB]"]
    parts = [
        "# Memory by size",
        "Preset core on simulated systems, every year with priors computed "
        f"(`python -m benchmarks.memory_by_size`, {THREADS} threads). Memory: the most that could not be "
        "given back at any time (`RssAnon`). Resident (`VmHWM`) has mapped files in it, as much as fits.",
        markdown([*header, "wall clock [s]"], body),
        "![Memory by rows and by the largest cohort](memory_by_size.svg)",
        *_within(record["limited"]),
        "\n".join(f"- {name}: {value}" for name, value in record["stamp"].items()),
    ]
    return "\n\n".join(parts) + "\n"


def _within(runs: list[dict[str, Any]]) -> list[str]:
    if not runs:
        return []
    if "skipped" in runs[0]:
        return ["## Within a limit", f"Not measured: {runs[0]['skipped']}."]
    body = [
        [one["kind"], f"{one['bytes'] / 1e9:.2f}", f"{one['limit']:.1f}"]
        + (
            [f"failed: {one['failed'].splitlines()[-1]}", "", "", ""]
            if "failed" in one
            else [
                f"{one['rows']:,}",
                f"{one['anonymous']:.2f}",
                f"{one['resident']:.2f}",
                f"{one['wall']:.0f}",
            ]
        )
        for one in runs
    ]
    header = ["a state from", "file [GB]", "limit [GB]", "rows", "memory [GB]", "resident [GB]"]
    text = "The operating system gives the process no more: with mapped files, and with the file it reads."
    return ["## Within a limit", text, markdown([*header, "wall clock [s]"], body)]


def draw(runs: list[dict[str, Any]], file: Path) -> None:
    """Draw memory against rows and against the largest cohort."""
    import altair as alt
    import polars as pl

    lines = pl.DataFrame(
        [
            {"tables grow by": one["series"], "rows": one["rows"], "largest": one["largest"], "what": what}
            | {"value": one[key]}
            for one in runs
            for what, key in (("cannot be given back", "anonymous"), ("resident", "resident"))
        ]
    )
    charts = [
        alt.Chart(lines)
        .mark_line(point=True)
        .encode(
            x=alt.X(f"{column}:Q", title=title, scale=alt.Scale(type="log")),
            y=alt.Y("value:Q", title="peak memory [GB]", scale=alt.Scale(zero=True)),
            color=alt.Color("tables grow by:N", title="tables grow by"),
            strokeDash=alt.StrokeDash("what:N", title=""),
        )
        .properties(width=320, height=240)
        for column, title in (("rows", "rows of the table"), ("largest", "students of the largest cohort"))
    ]
    alt.hconcat(*charts).save(file)


if __name__ == "__main__":
    sys.exit(main())
