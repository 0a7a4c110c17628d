"""Pieces of work: lambdas of SIMEX, the cohorts after them, and variants of a study that go together."""

from __future__ import annotations

import re
from pathlib import Path

import joblib
import pytest
from simex_system import SIMEX

from growth import GrowthSpec
from growth.cli.shared import progress_bar
from growth.panel import Panel, build_panels, read_table
from growth.parallel import Crew
from growth.pipeline import cohorts
from growth.pipeline.cohorts import Bench, fit_cohorts, simex_steps
from growth.pipeline.progress import Steps
from growth.pipeline.resume import ResumeShelf
from growth.pipeline.students import Fitted
from growth.student.simex import simex_ahead, simex_complete
from growth.study.run import _bundles

SPEC = SIMEX


@pytest.fixture(scope="module")
def panels(city_file: Path) -> tuple[Panel, ...]:
    return build_panels(read_table(city_file, SPEC), SPEC).panels[:2]


class Fits:
    """Fits on two threads, with a folder, and counts."""

    def __init__(self, panels: tuple[Panel, ...], folder: Path | None) -> None:
        self.told: list[tuple[int, int, str]] = []
        self.total = len(panels) * (1 + simex_steps(SPEC))
        self.shelf = ResumeShelf(folder)
        steps = Steps(lambda *step: self.told.append(step), self.total)
        self.fitted = fit_cohorts(panels, SPEC, Bench(Crew.of(2, folder), steps, self.shelf), {})


def same(left: list[Fitted], right: list[Fitted]) -> None:
    for a, b in zip(left, right, strict=True):
        assert a.panel is b.panel
        assert a.growth.percentile.tobytes() == b.growth.percentile.tobytes()
        assert a.growth.simex.percentile.tobytes() == b.growth.simex.percentile.tobytes()  # type: ignore[attr-defined]


def test_the_last_lambda_fits_its_cohort(panels: tuple[Panel, ...], tmp_path: Path) -> None:
    plain, pieces = Fits(panels, None), Fits(panels, tmp_path)
    same(pieces.fitted, plain.fitted)
    for one in (plain, pieces):
        assert one.told[-1][0] == one.total
        assert [done for done, _, _ in one.told] == sorted({done for done, _, _ in one.told})
    assert not pieces.shelf.found, "each cohort was fitted once"
    assert not list(tmp_path.glob("simex-*")), "sums go when their cohort is kept"
    assert len(list(tmp_path.glob("cohort-*"))) == len(panels)


def test_sums_that_nobody_sees_in_time(
    panels: tuple[Panel, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shared storage may show a file late: cohorts are then fitted after all lambdas."""
    plain = Fits(panels, None)
    monkeypatch.setattr(cohorts, "simex_complete", lambda *_: False)
    late = Fits(panels, tmp_path)
    same(late.fitted, plain.fitted)
    assert late.told[-1][0] == late.total
    assert not list(tmp_path.glob("simex-*"))


def test_a_cohort_is_complete_with_its_last_sum(panels: tuple[Panel, ...], tmp_path: Path) -> None:
    assert not simex_complete(panels[0], SPEC, tmp_path)
    simex_ahead(panels[0], SPEC, 1, tmp_path)
    assert not simex_complete(panels[0], SPEC, tmp_path)
    simex_ahead(panels[0], SPEC, 0, tmp_path)
    assert simex_complete(panels[0], SPEC, tmp_path)
    file = next(iter(sorted(tmp_path.glob("simex-*"))))
    file.write_bytes(file.read_bytes()[:100])
    assert not simex_complete(panels[0], SPEC, tmp_path), "a damaged sum is none"


def test_variants_with_the_same_panels_go_together() -> None:
    aggregates, others = ("mean", "median", "trimmed_mean"), (0, 1)
    specs = [
        GrowthSpec().replace({"school.aggregate": how, "cohorts.other_priors": other})
        for how in aggregates
        for other in others
    ]
    numbered = list(enumerate(specs))
    numbers = [[number for number, _ in bundle] for bundle in _bundles(numbered, 2)]
    assert numbers == [[0, 2], [4], [1, 3], [5]]
    assert [[number for number, _ in bundle] for bundle in _bundles(numbered, 1)] == [[i] for i in range(6)]


def test_how_many_go_together() -> None:
    with joblib.parallel_config(backend="loky", n_jobs=2):
        apart = Crew.of(None)
    assert [apart.together(items, 4) for items in (0, 3, 8, 9, 100)] == [1, 1, 2, 3, 4]
    assert Crew.of(2).together(100, 4) == 1, "threads have everything in common"


def test_time_left_of_slow_pieces(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pieces of a minute each: two of four done, two minutes left."""
    now = [0.0]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("rich.console.monotonic", lambda: now[0])
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with progress_bar() as show:
        for done in range(3):
            now[0] = 60.0 * done
            show(done, 4, "MATH 2025 grade 5")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert re.search(r"2/4 0:02:00 left 0:02:00", text), text
