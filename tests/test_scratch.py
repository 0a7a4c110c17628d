"""Large tables in mapped files: the same results bit for bit, and nothing stays behind."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import growth
import growth.store
from growth import mapped, scratch
from growth.errors import StoreError
from growth.panel.records import Records

EVERYTHING, NOTHING = 1, 1 << 60
"""Rows from which on arrays lie in files, so that all do, or none."""
SMALL = 1024
"""Rows of a piece, so that a small table has many."""
PATIENCE = 120
"""Seconds until a process has begun to write; compiled kernels may be missing."""
CHOICES: dict[str, dict[str, Any]] = {
    "core": {},
    "every pattern": {"cohorts.report": "all", "cohorts.years": "all"},
    "composites over years": {"school.years": 3, "cohorts.years": "all", "school.composite": "subjects"},
    "one step, intervals": {
        "peers.composition": "one_step",
        "peers.missing": "exclude",
        "measurement.csem": "column",
        "intervals.sources": ["measurement"],
    },
    "refits": {
        "school.standard_error": "refit",
        "school.replicates": 20,
        "cohorts.grades": [5],
        "cohorts.subjects": ["MATH"],
    },
    "spans and districts": {"school.by_span": True, "school.districts": "own_norm"},
}


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    frame = growth.simulate_table(1_500, 8, years=2, seed=5).table
    rng = np.random.default_rng(5)
    frame = frame.sample(fraction=1.0, shuffle=True, seed=5)  # to be sorted
    blank = pl.Series(rng.random(frame.height) < 0.01)
    return frame.with_columns(
        pl.format("student with a long number {}", "student_id").alias("student_id"),
        pl.when(~blank).then("score").alias("score"),
        pl.when(~pl.Series(rng.random(frame.height) < 0.02)).then("school_id").alias("school_id"),
    )


def all_in(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(scratch, "LARGE", rows)
    monkeypatch.setattr(scratch, "PIECE", SMALL)


class TestColumns:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        all_in(monkeypatch, EVERYTHING)

    @pytest.fixture
    def frame(self) -> pl.DataFrame:
        n, rng = 5_503, np.random.default_rng(0)
        text = [None if k % 7 == 0 else f"x{'y' * (k % 20)}{k % 50}" for k in range(n)]
        found = pl.DataFrame({"a": rng.random(n), "text": text, "i": rng.integers(0, 9, n).astype(np.int16)})
        return found.with_columns(
            (pl.col("a") < 0.5).alias("flag"),
            pl.col("text").cast(pl.Enum(sorted({one for one in text if one}))).alias("code"),
            pl.when(pl.col("a") > 0.3).then("a").alias("with_nulls"),
            pl.lit("2020-01-01").str.to_date().alias("date"),
            pl.concat_list("i").alias("list"),
        )

    def test_what_is_kept_is_what_was_given(self, frame: pl.DataFrame) -> None:
        kept = mapped.kept_frame(frame)
        assert kept.equals(frame, null_equal=True)
        assert kept.schema == frame.schema
        assert scratch.is_mapped(kept["a"].to_numpy().ctypes.data)

    def test_rows_are_those_of_polars(self, frame: pl.DataFrame) -> None:
        mask = frame["a"] > 0.5
        places = np.random.default_rng(1).integers(0, frame.height, 9_000)
        assert mapped.filtered(frame, mask).equals(frame.filter(mask))
        assert mapped.gathered(frame, places).equals(frame[places])
        assert mapped.kept_frame(mapped.gathered(frame, places)).equals(frame[places])

    @pytest.mark.parametrize("keys", [["text", "i"], ["code", "i", "a"], ["i", "code"]])
    def test_order_is_that_of_polars(self, frame: pl.DataFrame, keys: list[str]) -> None:
        frame = frame.drop_nulls()
        order = mapped.order_of(frame, keys)
        found = frame[order]
        assert found.equals(frame.sort(keys, maintain_order=True))
        assert not mapped.in_order(frame, keys)
        copies = found.select(keys).is_duplicated().any()
        assert mapped.repeats(found, keys).any() == copies
        assert mapped.in_order(found, keys) == (not copies)

    def test_ranks_and_codes(self, frame: pl.DataFrame) -> None:
        values = frame["text"].drop_nulls()
        expected = values.rank("dense").to_numpy() - 1
        np.testing.assert_array_equal(mapped.dense_ranks(values), expected)
        np.testing.assert_array_equal(mapped.dense_ranks(values.sort()), np.sort(expected))
        known = values.unique().sort()
        np.testing.assert_array_equal(mapped.code_array(values, known), expected)

    def test_rows_ordered_by_cell(self, table: pl.DataFrame) -> None:
        codes = growth.read_table(table, growth.GrowthSpec.preset("core")).codes
        records = Records.of(codes)
        cell = codes.select(pl.struct("subject", "grade", "year").rank("dense")).to_series().to_numpy()
        np.testing.assert_array_equal(records.cell_row, np.argsort(cell, kind="stable"))

    def test_arrays_keep_their_layout_and_go_with_their_last_user(self) -> None:
        before = len(scratch._arena.mapped)
        wide = np.asfortranarray(np.random.default_rng(0).random((4_000_000, 2)))
        kept = scratch.kept(wide)
        assert scratch.is_mapped(kept.ctypes.data)
        assert kept.flags.f_contiguous
        np.testing.assert_array_equal(kept, wide)
        assert scratch.kept(kept) is kept
        assert len(scratch._arena.mapped) == before + 1
        del kept
        gc.collect()
        assert len(scratch._arena.mapped) == before


class TestRuns:
    @pytest.mark.parametrize("name", CHOICES)
    def test_results_are_the_same_in_files_and_in_memory(
        self, table: pl.DataFrame, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = growth.GrowthSpec.preset("core").replace({"cohorts.min_cohort": 50, **CHOICES[name]})
        digests = []
        for rows in (EVERYTHING, NOTHING):
            all_in(monkeypatch, rows)
            digests.append(growth.run(table, spec, n_jobs=2).manifest["outputs"])
        assert digests[0] == digests[1]

    @pytest.mark.parametrize("kind", ["csv", "parquet"])
    def test_files_are_read_the_same(
        self, table: pl.DataFrame, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / f"table.{kind}"
        table.write_csv(file) if kind == "csv" else table.write_parquet(file)
        monkeypatch.setattr("growth.panel.text_files._PIECE", 1 << 16)
        monkeypatch.setattr("growth.panel.text_files._CHUNK", 1 << 14)
        spec = growth.GrowthSpec.preset("core")
        found = []
        for rows in (EVERYTHING, NOTHING):
            all_in(monkeypatch, rows)
            found.append(growth.read_table(file, spec))
        assert found[0].codes.equals(found[1].codes)
        assert found[0].codes.schema == found[1].codes.schema

    def test_run_folders_are_the_same(
        self, table: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = growth.GrowthSpec.preset("core").replace({"cohorts.min_cohort": 50})
        files = []
        for rows in (EVERYTHING, NOTHING):
            all_in(monkeypatch, rows)
            folder = growth.store.save_run(growth.run(table, spec), tmp_path / str(rows))
            manifest = growth.store.read_manifest(folder)
            files.append({n: d for n, d in manifest["files"].items() if not n.startswith("cells.")})
        assert files[0] == files[1]


CHILD = """
import sys
import growth, growth.scratch
growth.scratch.LARGE = 1
table = growth.simulate_table(10_000, 40, years=2, seed=1).table
if sys.argv[1] == "failure":
    table = table.with_columns(grade=0 * growth.scratch.LARGE + 99)
print("begun", flush=True)
for _ in range(1 if sys.argv[1] != "kill" else 1_000):
    growth.run(table, "core")
"""


class TestNothingStays:
    @pytest.mark.parametrize("end", ["success", "failure", "kill"])
    def test_the_temporary_folder_is_empty(self, end: str, tmp_path: Path) -> None:
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, end],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"begun\n"
        if end == "kill":
            _await_files(child.pid, tmp_path)
            child.send_signal(signal.SIGKILL)
        code = child.wait(PATIENCE)
        assert (code == 0) == (end == "success")
        child.stdout.close()
        assert list(tmp_path.rglob("*")) == []

    def test_a_full_disk_is_said(self, table: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        all_in(monkeypatch, EVERYTHING)
        monkeypatch.setattr(scratch._arena, "_open", None)
        monkeypatch.setattr(scratch, "_reserve", full)
        with pytest.raises(StoreError, match=r"temporary folder .* cannot take .* TMPDIR") as caught:
            growth.run(table, "core")
        assert "No space left" in str(caught.value)
        assert tempfile.gettempdir() in str(caught.value)


def _await_files(process: int, folder: Path) -> None:
    """Wait until a process has mapped files of a folder."""
    maps, until = Path(f"/proc/{process}/maps"), time.monotonic() + PATIENCE
    if not maps.exists():
        pytest.skip("only Linux shows what a process has mapped")
    while str(folder) not in maps.read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
