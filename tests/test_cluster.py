"""Workers elsewhere: a real Dask cluster of processes, one of them killed, the same results bit for bit."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import growth
from growth import GrowthRun, GrowthSpec
from growth.cli import app
from growth.codec import decoded, encoded
from growth.errors import GrowthError, SpecError, StoreError
from growth.panel import Panel, build_panels, read_table
from growth.parallel import Crew, Shared, on_cluster
from growth.store import load_run

distributed = pytest.importorskip("distributed", reason="needs the extra dask")

pytestmark = pytest.mark.filterwarnings("ignore")
"""What the cluster's own threads warn of is not ours."""

SMALL = GrowthSpec.preset("core").replace(
    {"cohorts.subjects": ["MATH"], "cohorts.grades": [5], "school.band_draws": 200}
)
SIMEX = SMALL.replace(
    {
        "peers.composition": "one_step",
        "measurement.csem": "column",
        "simex.use": "simex",
        "simex.replicates": 4,
        "simex.lambdas": [1.0, 2.0],
    }
)
REFIT = SMALL.replace({"school.standard_error": "refit", "school.replicates": 20})
FACTORS = {"school.aggregate": ["mean", "median"], "cohorts.other_priors": [0, 1]}


@pytest.fixture
def cluster() -> Iterator[distributed.LocalCluster]:
    """A cluster of its own for every test: dask does not always replace a worker that was killed."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
    ) as found:
        yield found


@pytest.fixture
def client(cluster: distributed.LocalCluster) -> Iterator[distributed.Client]:
    with distributed.Client(cluster) as found:
        yield found


class Killing:
    """A listener that kills a worker once, at a step."""

    def __init__(self, client: distributed.Client, step: int) -> None:
        self.client, self.step = client, step
        self.seen: list[tuple[int, int, str]] = []

    def __call__(self, done: int, total: int, label: str) -> None:
        self.seen.append((done, total, label))
        if len(self.seen) == self.step:
            os.kill(next(iter(self.client.run(os.getpid).values())), signal.SIGKILL)


def same(a: GrowthRun, b: GrowthRun) -> None:
    assert a.manifest["outputs"] == b.manifest["outputs"]
    assert repr(a.curves.to_dict()) == repr(b.curves.to_dict())


class TestBitForBit:
    @pytest.mark.parametrize("spec", [SMALL, SIMEX, REFIT], ids=["cohorts", "simex", "refits"])
    def test_runs_with_a_worker_killed(
        self, client: distributed.Client, city_file: Path, tmp_path: Path, spec: GrowthSpec
    ) -> None:
        plain = growth.run(city_file, spec)
        listen = Killing(client, 3)
        with joblib.parallel_config(backend="dask", client=client):
            there = growth.run(city_file, spec, progress=listen, checkpoints=tmp_path)
        same(there, plain)
        done, total, _ = listen.seen[-1]
        assert done == total
        assert len(listen.seen) > 3, "the kill came in the middle"
        again = growth.run(city_file, spec, checkpoints=tmp_path)
        same(again, plain)

    def test_studies_with_a_worker_killed(self, client: distributed.Client, city_file: Path) -> None:
        plain = growth.run_study(city_file, SMALL, FACTORS, design="full")
        table = pl.read_csv(city_file, schema_overrides={"student_id": pl.String, "school_id": pl.String})
        with joblib.parallel_config(backend="dask", client=client):
            there = growth.run_study(table, SMALL, FACTORS, design="full", progress=Killing(client, 2))
        for name, frame in plain.frames.items():
            left, right = (one.drop("seconds", strict=False) for one in (frame, there.frames[name]))
            assert left.equals(right), name

    def test_one_worker_does_the_work(self, city_file: Path, tmp_path: Path) -> None:
        """joblib alone would do it here."""
        seen: list[str] = []
        with (
            distributed.LocalCluster(
                n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
            ) as cluster,
            distributed.Client(cluster) as client,
            joblib.parallel_config(backend="dask", client=client),
        ):
            assert set(Crew.of(None).each(_where, range(4))) == set(client.run(os.getpid).values())
            there = growth.run(
                city_file, SIMEX, progress=lambda done, of, label: seen.append(label), checkpoints=tmp_path
            )
        same(there, growth.run(city_file, SIMEX))
        assert any("lambda 2: 4 of 4" in label for label in seen), "told before the cohort is done"
        assert not list(tmp_path.glob("simex-*")), "sums go when their cohort is kept"

    def test_other_processes_without_a_cluster(self, city_file: Path) -> None:
        with joblib.parallel_config(backend="loky", n_jobs=2):
            same(growth.run(city_file, SMALL), growth.run(city_file, SMALL, n_jobs=1))

    def test_the_command_line(
        self, cluster: distributed.LocalCluster, city_file: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "spec.toml").write_text(SMALL.to_toml())
        told = ["run", city_file, "--spec", tmp_path / "spec.toml", "--out", tmp_path / "out", "--no-report"]
        done = CliRunner().invoke(app, [*map(str, told), "--scheduler", cluster.scheduler_address])
        assert done.exit_code == 0, done.output
        same(load_run(tmp_path / "out"), growth.run(city_file, SMALL))
        assert {file.name for file in tmp_path.iterdir()} == {"out", "spec.toml"}


def _one(number: int) -> int:
    if number == 2:
        raise SpecError("two")
    return number


def _where(number: int) -> int:
    return os.getpid()


def _dies(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


class TestCrew:
    def test_errors_come_back_as_they_are(self, client: distributed.Client) -> None:
        with joblib.parallel_config(backend="dask", client=client), pytest.raises(SpecError, match="two"):
            list(Crew.of(None).each(_one, range(4)))

    def test_what_kills_every_worker_ends_with_a_message(
        self, client: distributed.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """joblib alone would wait for ever."""
        monkeypatch.setattr("growth.parallel._RESUBMITTED", 0)
        client.cluster.scheduler.allowed_failures = 0
        with (
            joblib.parallel_config(backend="dask", client=client),
            pytest.raises(GrowthError, match="again and again: KilledWorker"),
        ):
            list(Crew.of(None).each(_dies, range(1)))

    def test_a_lost_item_is_submitted_again(self, client: distributed.Client, tmp_path: Path) -> None:
        client.cluster.scheduler.allowed_failures = 0
        with joblib.parallel_config(backend="dask", client=client):
            found = list(Crew.of(None).each(_DiesOnce(tmp_path / "mark"), range(3), in_order=True))
        assert found == [0, 1, 2]

    def test_one_version_on_all_workers(
        self, client: distributed.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("growth.parallel.code_digest", lambda: "another")
        with (
            joblib.parallel_config(backend="dask", client=client),
            pytest.raises(GrowthError, match="another version"),
        ):
            list(Crew.of(None).each(_one, range(1)))

    def test_nobody_at_the_address(self, city_file: Path, tmp_path: Path) -> None:
        import dask

        with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
            told = ["run", city_file, "--out", tmp_path / "out", "--scheduler", "tcp://127.0.0.1:9"]
            done = CliRunner().invoke(app, [str(one) for one in told])
            assert done.exit_code == 2
            with pytest.raises(SpecError, match="No Dask scheduler answers"), on_cluster("tcp://127.0.0.1:9"):
                pass


class _DiesOnce:
    """Work that kills its worker the first time."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __call__(self, number: int) -> int:
        if not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number


class TestShared:
    @pytest.fixture(scope="class")
    def panel(self, city_file: Path) -> Panel:
        return build_panels(read_table(city_file, SIMEX), SIMEX).panels[0]

    def test_panels_and_specifications_come_back_bit_for_bit(self, panel: Panel) -> None:
        back, spec, texts = decoded(encoded((panel, SIMEX, frozenset("ab"))))
        assert texts == {"a", "b"}
        assert spec == SIMEX
        assert spec.digest == SIMEX.digest
        assert encoded(back) == encoded(panel)
        np.testing.assert_array_equal(back.priors, panel.priors)

    def test_threads_share_the_thing_itself(self, panel: Panel, tmp_path: Path) -> None:
        assert Crew.of(2, tmp_path).share(panel).get() is panel
        assert not list(tmp_path.iterdir())

    def test_others_read_a_file_that_is_written_once(self, panel: Panel, tmp_path: Path) -> None:
        with joblib.parallel_config(backend="loky", n_jobs=2):
            crew = Crew.of(None, tmp_path)
        first, second = crew.share(panel), crew.share(panel)
        assert first.file == second.file
        assert first.get() is second.get()
        (file,) = tmp_path.iterdir()
        assert encoded(first.get()) == file.read_bytes()
        assert b"student_id" not in file.read_bytes()

    def test_a_folder_that_a_worker_does_not_see(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="folder that this machine and all workers see"):
            Shared(None, str(tmp_path / "nowhere")).get()

    def test_nothing_else_is_made_of_a_file(self) -> None:
        import hashlib
        import io
        import json

        for module, name in (("os", "system"), ("growth.disk", "shutil"), ("growth.store", "load_run")):
            text = json.dumps({"class": [module, name], "fields": {}})
            buffer = io.BytesIO()
            np.savez(buffer, text=np.array(text))
            data = buffer.getvalue()
            with pytest.raises(ValueError, match="not of this kind"):
                decoded(hashlib.sha256(data).hexdigest().encode() + data)
