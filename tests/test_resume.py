"""Faults: what was finished is kept and used, whatever stopped the run; results are the same bit for bit."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from polars.testing import assert_frame_equal

import growth
from growth import GrowthRun, GrowthSpec
from growth.audit import verify_run
from growth.codec import decoded, encoded
from growth.errors import GrowthError, StoreError
from growth.pipeline import resume as resume_module
from growth.pipeline.bootstrap import Refits
from growth.school import SampleStatistics
from growth.store import load_run

SMALL = {
    "cohorts.grades": [5],
    "cohorts.subjects": ["ELA"],
    "peers.composition": "none",
    "school.band_draws": 200,
}
MAIN = "from growth.cli import main; main()"
TRIALS = 2
"""`python -m benchmarks.kills` makes many more."""


@pytest.fixture(scope="module")
def spec() -> GrowthSpec:
    return GrowthSpec.preset("core").replace(SMALL)


@pytest.fixture(scope="module")
def plain(city_file: Path, spec: GrowthSpec) -> GrowthRun:
    return growth.run(city_file, spec)


@pytest.fixture
def command(city_file: Path, spec: GrowthSpec, tmp_path: Path) -> list[str]:
    (tmp_path / "spec.toml").write_text(spec.to_toml())
    out = tmp_path / "runs" / "one"
    options = ["--spec", tmp_path / "spec.toml", "--out", out, "--no-report", "--n-jobs", "1"]
    return [sys.executable, "-B", "-c", MAIN, "run", *map(str, [city_file, *options])]


def out_of(command: list[str]) -> Path:
    return Path(command[command.index("--out") + 1])


def same(a: GrowthRun, b: GrowthRun) -> None:
    assert a.manifest["outputs"] == b.manifest["outputs"]
    assert json.dumps(a.norms.to_dict()) == json.dumps(b.norms.to_dict())


def fail_at(monkeypatch: pytest.MonkeyPatch, error: BaseException, call: int) -> None:
    """Let a run die when its cohort number `call` is to be fitted."""
    from growth.pipeline import cohorts

    real, calls = cohorts.student_growth, iter(range(1_000))

    def fitted(*arguments: object, **options: object) -> object:
        if next(calls) == call:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(cohorts, "student_growth", fitted)


class TestParts:
    @pytest.mark.parametrize("engine", ["quantile", "normal", "residual_gain", "eiv", "simex", "refit"])
    @pytest.mark.filterwarnings("ignore:.*only a part of the measurement error")
    def test_cohorts_come_back_bit_for_bit(
        self, city_file: Path, spec: GrowthSpec, tmp_path: Path, engine: str
    ) -> None:
        changes: dict[str, Any] = {"student.engine": engine}
        if engine == "simex":
            changes = {"measurement.csem": "column", "simex.use": "simex", "simex.replicates": 2}
            changes |= {"simex.lambdas": (1.0,), "simex.extrapolation": "linear"}
        if engine == "refit":
            changes = {"school.standard_error": "refit", "school.replicates": 20}
        if engine == "eiv":
            changes |= {"measurement.csem": "column", "student.not_definite": "partial"}
        chosen = spec.replace(changes)
        first = growth.run(city_file, chosen, checkpoints=tmp_path)
        again = growth.run(city_file, chosen, checkpoints=tmp_path, n_jobs=2)
        assert list(tmp_path.glob("cohort-*"))
        same(first, growth.run(city_file, chosen))
        same(first, again)
        assert repr(first.curves.to_dict()) == repr(again.curves.to_dict())

    def test_nothing_is_fitted_twice(
        self, city_file: Path, spec: GrowthSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        growth.run(city_file, spec, checkpoints=tmp_path)
        fail_at(monkeypatch, AssertionError("fitted again"), 0)
        growth.run(city_file, spec, checkpoints=tmp_path)
        growth.run(city_file, spec.replace({"name": "core"}), checkpoints=tmp_path)
        with pytest.raises(AssertionError, match="fitted again"):
            growth.run(city_file, spec.replace({"quantiles.rearrange": False}), checkpoints=tmp_path)

    def test_damaged_parts_are_computed_again(
        self, city_file: Path, spec: GrowthSpec, tmp_path: Path, plain: GrowthRun
    ) -> None:
        growth.run(city_file, spec, checkpoints=tmp_path)
        for k, file in enumerate(sorted(tmp_path.glob("cohort-*"))):
            data = file.read_bytes()
            file.write_bytes([data[: len(data) // 2], data[:-1] + bytes([data[-1] ^ 1]), b""][k % 3])
        same(growth.run(city_file, spec, checkpoints=tmp_path), plain)

    def test_bytes_are_checked_and_never_executed(self) -> None:
        data = encoded({"x": (1, 2.5, None, np.arange(3)), "y": [slice(0, 2), np.float64(0.1)]})
        back = decoded(data)
        assert back["x"][:3] == (1, 2.5, None)
        assert back["y"] == [slice(0, 2), 0.1]
        for bad in (data[:-1], b"", b"0" * 64, data[:64] + data):
            with pytest.raises(ValueError, match="damaged"):
                decoded(bad)
        with pytest.raises(TypeError, match="cannot be kept"):
            encoded(object())
        with pytest.raises(TypeError, match="cannot be kept"):
            encoded(np.array([object()]))


class TestFaults:
    @pytest.mark.parametrize("error", [MemoryError(), RuntimeError("a worker died"), KeyboardInterrupt()])
    def test_a_worker_that_dies_loses_its_cohort_only(
        self,
        city_file: Path,
        spec: GrowthSpec,
        tmp_path: Path,
        plain: GrowthRun,
        monkeypatch: pytest.MonkeyPatch,
        error: BaseException,
    ) -> None:
        with monkeypatch.context() as patched:
            fail_at(patched, error, 2)
            with pytest.raises(type(error)):
                growth.run(city_file, spec, checkpoints=tmp_path)
        kept = set(tmp_path.iterdir())
        assert len(kept) == 2
        same(growth.run(city_file, spec, checkpoints=tmp_path), plain)
        assert set(tmp_path.iterdir()) > kept

    def test_finished_refits_are_found_again(
        self, city_file: Path, spec: GrowthSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chosen = spec.replace(
            {"school.standard_error": "refit", "school.replicates": 20, "quantiles.count": 20}
        )
        drawn: list[int] = []
        real = Refits.sample

        def sample(refits: Refits, number: int) -> list[SampleStatistics]:
            if number == stop:
                raise MemoryError
            drawn.append(number)
            return real(refits, number)

        monkeypatch.setattr(Refits, "sample", sample)
        stop = 12
        with pytest.raises(MemoryError):
            growth.run(city_file, chosen, checkpoints=tmp_path)
        stop = -1
        again = growth.run(city_file, chosen, checkpoints=tmp_path, n_jobs=2)
        assert sorted(drawn) == list(range(20))
        same(again, growth.run(city_file, chosen))
        drawn.clear()
        growth.run(city_file, chosen.replace({"school.seed": 5}), checkpoints=tmp_path)
        assert len(drawn) == 20

    def test_a_full_disk_ends_with_a_message_and_goes_on(
        self, command: list[str], plain: GrowthRun, tmp_path: Path
    ) -> None:
        def little_room() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

        done = subprocess.run(command, preexec_fn=little_room, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "File too large" in done.stderr
        assert not out_of(command).exists()
        finished = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stderr
        same(load_run(out_of(command)), plain)
        assert {file.name for file in out_of(command).parent.iterdir()} == {"one"}

    def test_a_place_that_cannot_be_written_is_named(self, command: list[str], tmp_path: Path) -> None:
        """A file where the parent folder should be: refused for root too, unlike permissions."""
        (tmp_path / "runs").write_text("")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "cannot be read or written" in done.stderr

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
    def test_a_read_only_folder_is_named(self, command: list[str], tmp_path: Path) -> None:
        (tmp_path / "runs").mkdir(mode=0o500)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "Permission denied" in done.stderr

    def test_parts_that_cannot_be_kept_stop_the_run(
        self, city_file: Path, spec: GrowthSpec, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="cannot be kept"):
            growth.run(city_file, spec, checkpoints=tmp_path / "file")

    def test_two_runs_into_one_folder(self, command: list[str]) -> None:
        first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        lock = out_of(command).with_name(".one.lock")
        while not lock.exists():
            time.sleep(0.01)
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert "Another run is writing" in second.stderr or "already holds a run" in second.stderr
        assert first.wait() == 0

    def test_kills_at_random_moments(self, command: list[str], plain: GrowthRun) -> None:
        rng = random.Random(7)
        start = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        whole, out = time.monotonic() - start, out_of(command)
        again = [*command, "--resume", "--overwrite"]
        for _ in range(TRIALS):
            process = subprocess.Popen(again, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.3, 1.0) * whole)
            process.kill()
            process.wait()
            if out.exists():
                assert verify_run(out).holds
        done = subprocess.run(again, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        same(load_run(out), plain)
        assert_frame_equal(load_run(out).polars("students"), plain.polars("students"), check_exact=True)
        assert {file.name for file in out.parent.iterdir()} == {"one"}

    def test_without_resume_nothing_old_is_used(
        self, command: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from typer.testing import CliRunner

        from growth.cli import app

        arguments = command[4:]
        with monkeypatch.context() as patched:
            fail_at(patched, GrowthError("stopped"), 2)
            assert CliRunner().invoke(app, arguments).exit_code == 1
        parts = out_of(command).with_name(".one.parts")
        assert len(list(parts.iterdir())) == 2
        used: list[list[str]] = []
        shelf = resume_module.ResumeShelf.cohort

        def watched(self: resume_module.ResumeShelf, *given: object) -> object:
            found = shelf(self, *given)
            used.append(list(self.found))
            return found

        monkeypatch.setattr(resume_module.ResumeShelf, "cohort", watched)
        with monkeypatch.context() as patched:
            fail_at(patched, GrowthError("stopped"), 1)
            assert CliRunner().invoke(app, [*arguments, "--resume"]).exit_code == 1
        assert max(map(len, used)) == 2
        assert CliRunner().invoke(app, arguments).exit_code == 0
        assert used[-1] == []
        assert not parts.exists()
