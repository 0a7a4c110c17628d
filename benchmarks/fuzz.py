"""Damaged tables, many of them: ``python -m benchmarks.fuzz --cases 10000``.

Each case takes a small table in one of the known layouts, writes it as a file, damages bytes or cells, and
reads it. Three things must hold, whatever was done to it:

- an error is a `GrowthError`, never one from inside;
- no message, and no text of an error that it came from, shows a student's id or score;
- what is read is what the file says: a text file that is read equals its content as Python's own `csv` module
  takes it apart, row by row and cell by cell; every row is in the table or counted out.
"""

from __future__ import annotations

import argparse
import csv
import io
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from growth.errors import GrowthError
from growth.panel import StudentTable, build_panels, read_table
from growth.panel.findings import findings
from growth.spec import GrowthSpec

CANARY_ID, CANARY_SCORE = "77123", "2345"
"""Every id starts with the one and every score with the other: numbers that occur nowhere else."""
_HOSTILE = ("", "NA", "NaN", "inf", "-1", "1e400", "é", "\x00", '"', ",", "\n", "=1+1", "K", "2024.0", "01")
SPEC = GrowthSpec.from_dict(
    {"groups": {"flags": {"EL": "english_learner"}, "race": "", "lowest_race": False}}
)
LENIENT = SPEC.replace(
    {
        "rows.duplicates": "highest_score",
        "rows.unknown_grade": "exclude",
        "rows.unreadable_score": "missing",
        "rows.unclear_flags": "missing",
        "rows.no_school": "exclude",
    }
)


@dataclass
class Tally:
    """What became of the cases, and every case that should not have been."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def main() -> int:
    """Run the cases and print the outcomes; 1 if anything failed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cases", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    tally = run(chosen.cases, chosen.seed)
    for outcome, count in sorted(tally.outcomes.items()):
        print(f"{outcome:40s} {count:7,}")
    for failure in tally.failures[:5]:
        print(failure)
    print(f"{chosen.cases:,} cases, {len(tally.failures):,} failures")
    return int(bool(tally.failures))


def run(cases: int, seed: int) -> Tally:
    """Return the outcomes of `cases` damaged files."""
    tally = Tally()
    base = [records(np.random.default_rng(seed + k)) for k in range(3)]
    with tempfile.TemporaryDirectory(prefix="growth-fuzz-") as folder:
        for case in range(cases):
            rng = np.random.default_rng([seed, case])
            path = damaged_file(base[case % len(base)], rng, Path(folder))
            spec = LENIENT if rng.random() < 0.5 else SPEC
            outcome = check_case(path, spec)
            tally.outcomes[outcome.split("\n", 1)[0]] += 1
            if outcome.startswith("FAILED"):
                tally.failures.append(f"case {case}, seed {seed}, {path.name}: {outcome}")
    return tally


def records(rng: np.random.Generator) -> pl.DataFrame:
    """Return a valid table of text: some students in two grades and subjects."""
    students = [f"{CANARY_ID}{k:03}" for k in range(12)]
    rows = [
        {
            "student_id": student,
            "year": str(year),
            "subject": subject,
            "grade": str(year - 2020),
            "score": f"{CANARY_SCORE}{rng.integers(10)}",
            "school_id": f"0{rng.integers(3)}",
            "english_learner": str(rng.choice(["Y", "N", ""])),
        }
        for student in students
        for year in (2023, 2024)
        for subject in ("ELA", "MATH")
    ]
    return pl.DataFrame(rows)


def damaged_file(frame: pl.DataFrame, rng: np.random.Generator, folder: Path) -> Path:
    """Write the table with damaged cells, bytes or both."""
    kind = rng.choice(["csv", "csv", "csv", "txt", "csv.gz", "parquet"])
    if rng.random() < 0.6:
        frame = _damaged_cells(frame, rng)
    path = folder / f"t.{kind}"
    if kind == "parquet":
        frame.write_parquet(path)
    elif kind == "csv.gz":
        frame.write_csv(path, compression="gzip", check_extension=False)
    else:
        frame.write_csv(path, separator="^" if kind == "txt" else ",")
    if rng.random() < 0.6:
        path.write_bytes(_damaged_bytes(path.read_bytes(), rng))
    return path


def _damaged_cells(frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    for _ in range(rng.integers(1, 4)):
        action = rng.integers(5)
        name = str(rng.choice(frame.columns)) if frame.width else ""
        if action == 0 and frame.width > 1:
            frame = frame.drop(name)
        elif action == 1:
            frame = pl.concat([frame, frame.sample(2, with_replacement=True, seed=int(rng.integers(99)))])
        elif action == 2:
            frame = frame.select(rng.permutation(frame.columns).tolist())
        elif action == 3:
            frame = frame.rename({name: f"{name}{rng.choice(['s', ' ', '_x'])}"})
        else:
            cells = frame[name].to_list()
            cells[int(rng.integers(len(cells)))] = str(rng.choice(_HOSTILE))
            frame = frame.with_columns(pl.Series(name, cells, dtype=pl.String))
    return frame


def _damaged_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(data))) if data else 0
        action = rng.integers(6)
        if action == 0:
            data[place : place + 1] = bytes([rng.integers(256)])
        elif action == 1:
            data[place:place] = rng.bytes(int(rng.integers(1, 5)))
        elif action == 2:
            del data[place : place + int(rng.integers(1, 30))]
        elif action == 3:
            del data[place:]
        elif action == 4:
            data[place:place] = bytes(rng.choice(list(b',"\n\r^\t')).tobytes()[:1])
        else:
            data[:0] = b"\xef\xbb\xbf"
    return bytes(data)


def check_case(path: Path, spec: GrowthSpec) -> str:
    """Return the outcome, which starts with FAILED if one of the three promises is broken."""
    try:
        table = read_table(path, spec)
        findings(table, spec)
    except GrowthError as error:
        return _leak(error) or f"{type(error).__name__}: {_kind(error)}"
    except BaseException:  # panics of readers are no Exception
        return "FAILED: an error from inside\n" + traceback.format_exc()
    wrong = _differs(path, table) or _lost(table)
    if wrong:
        return f"FAILED: {wrong}"
    try:
        build_panels(table, spec)
    except GrowthError as error:
        return _leak(error) or "read; no cohorts"
    except BaseException:
        return "FAILED: an error from inside\n" + traceback.format_exc()
    return "read"


def _kind(error: GrowthError) -> str:
    words = str(error).split(".")[0].split("'")
    return " ".join(words[::2])[:28].strip()


def _leak(error: GrowthError) -> str:
    shown = "".join(traceback.format_exception(error))
    if CANARY_ID in shown or CANARY_SCORE in shown:
        return f"FAILED: a message shows a student's data\n{error}"
    return ""


def _lost(table: StudentTable) -> str:
    left = table.counts["rows"][0] - table.counts["excluded"].sum()
    return "" if left == table.frame.height else "rows are neither in the table nor counted out"


def _differs(path: Path, table: StudentTable) -> str:
    """Compare the table with the file as another reader takes it apart."""
    if path.suffix not in (".csv", ".txt"):
        return ""
    text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    if table.counts["rows"][0] != len(rows):
        return f"{table.counts['rows'][0]} rows were read of {len(rows)}"
    place = {own: header.index(caller) for own, caller in table.header.names.items() if caller in header}
    keys = ("student_id", "subject", "school_id")
    cells = {name: [row[place[name]] for row in rows] for name in (*keys, "year", "score")}
    expected = Counter(_row(*cell) for cell in zip(*cells.values(), strict=True))
    frame = table.frame.select(*keys, "year_label", "score")
    found = Counter(_row(*row) for row in frame.iter_rows())
    return "" if found <= expected else "rows were read that the file does not hold"


def _row(student: object, subject: object, school: object, year: object, score: object) -> tuple[object, ...]:
    text = [None if str(x or "").strip() in ("", "NA") else str(x) for x in (student, school)]
    try:
        number = float(str(score).strip())
        value = number if np.isfinite(number) else None
    except ValueError:
        value = None
    return (*text, str(subject).strip(), str(year).strip(), value)


def _delimiter(text: str) -> str:
    first = text.split("\n", 1)[0]
    return max(",^\t;|", key=first.count)


if __name__ == "__main__":
    raise SystemExit(main())
