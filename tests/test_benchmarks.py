"""The benchmarks: what the README shows is what was measured, and numbers are made honestly."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # not an installed package

from benchmarks import grid, readme, robust
from benchmarks.__main__ import PARTS
from benchmarks.measure import LEAST, MOST, again, spread_out
from benchmarks.problems import Problem, csem, draw
from benchmarks.table import exponents
from benchmarks.targets import Bound, Verdict, verdicts

SAMPLING = 0.02
"""Over ten standard errors of the variance of 100,000 normal errors."""


def test_the_readme_shows_what_its_results_file_holds(repository: Path) -> None:
    found = readme.section("speed").findall((repository / "README.md").read_text("utf-8"))
    assert len(found) == 1
    name, text = found[0]
    record = json.loads((repository / name).read_text("utf-8"))
    assert text == readme.render(record)
    assert "| 20,000, p = 15 | **" in text


def test_the_results_are_written_between_the_comments(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = readme.section("speed").findall((repository / "README.md").read_text("utf-8"))[0][0]
    (tmp_path / "README.md").write_text("a\n<!-- speed: old.json -->\nx\n<!-- speed: end -->\nb\n", "utf-8")
    (tmp_path / "new.json").write_text((repository / name).read_text("utf-8"), "utf-8")
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(readme, "README", tmp_path / "README.md")
    readme.update(tmp_path / "new.json")
    once = (tmp_path / "README.md").read_text("utf-8")
    assert once.startswith("a\n<!-- speed: new.json -->\nCPU time")
    assert once.endswith("<!-- speed: end -->\nb\n")
    readme.update(tmp_path / "new.json")
    assert (tmp_path / "README.md").read_text("utf-8") == once
    (tmp_path / "README.md").write_text("no comments\n", "utf-8")
    with pytest.raises(ValueError, match="one pair of comments"):
        readme.update(tmp_path / "new.json")


def _record() -> dict[str, object]:
    problem = Problem(20_000, 2)
    rows = [
        grid.Row(problem, "growth", 0.02, solved=100, gap=1e-16),
        grid.Row(problem, "quantreg_pfnb", 1.0, solved=100),
        grid.Row(problem, "quantreg_fn", 4.0, solved=7),
        grid.Row(problem, "statsmodels", reason="statsmodels is not installed"),
    ]
    sizes = [
        grid.Row(Problem(n, 2), "growth", 1e-6 * n**1.25, solved=100) for n in (20_000, 100_000, 1_000_000)
    ]
    return {
        "grid": [asdict(row) for row in rows],
        "scaling": [asdict(row) for row in sizes],
        "memory": {"1,000,000, p = 22, 1 thread: fit": 0.9, "1,000,000, p = 22, 1 thread: score": 0.4},
        "cold": {"warm cache": 0.9, "empty cache": 16.0},
        "refit": {"n": 5_000, "total": 1.0, "replicates": 200, "measured": 200},
    }


def test_targets_are_compared_with_what_was_measured() -> None:
    found = {verdict.what: verdict for verdict in verdicts(json.loads(json.dumps(_record())))}
    words = {what: (round(verdict.value, 3), verdict.star, verdict.word) for what, verdict in found.items()}
    assert words == {
        "20,000, p = 15: faster than R pfnb": (50.0, "", "met"),
        "20,000, p = 15: faster than R fn": (200.0, "*", "MISSED"),
        "growth exponent in n (20,000 to 1,000,000 rows, p = 15, the largest)": (1.25, "", "MISSED"),
        "peak memory at n = 1,000,000, p = 22 (the largest)": (0.9, "", "met"),
        "first call in a fresh process, warm cache": (0.9, "", "met"),
        "first call in a fresh process, empty cache": (16.0, "", "MISSED"),
    }
    assert Verdict("refits", " s", 5.0, Bound(20.0, 6.0, small=True)).word == "aim met"
    assert Verdict("floor", "x", 3.0, Bound(None, 2.0, small=True)).word == "aim missed"


def test_exponents_tell_n_from_p() -> None:
    rows = [
        grid.Row(Problem(n, k), "growth", 1e-9 * n**0.75 * (1 + 7 * k) ** 1.5, solved=100)
        for n in (5_000, 20_000, 100_000, 400_000)
        for k in (1, 2, 3)
    ]
    found = exponents(rows)
    assert {round(e.value, 9) for e in found if e.variable == "n"} == {0.75}
    assert {round(e.value, 9) for e in found if e.variable == "p"} == {1.5}
    assert sum(e.variable == "n" for e in found) == 3
    assert all("20,000 to 400,000 rows" in e.over for e in found if e.variable == "n")


def test_medians_are_of_several_runs_unless_one_uses_up_the_budget() -> None:
    def runs(seconds: float) -> int:
        times: list[float] = []
        while again(times, 1.0):
            times.append(seconds)
        return len(times)

    assert runs(0.01) == MOST
    assert runs(0.2) == 5
    assert runs(0.9) == LEAST
    assert runs(1.1) == 1


def test_beginnings_of_the_order_are_spread_evenly() -> None:
    order = spread_out(100)
    assert sorted(order) == list(range(100))
    assert order[0] == 50
    for count in (4, 8, 16, 32):
        assert np.diff(np.sort(order[:count])).max() <= 2 * 100 / count


def test_replicates_are_those_of_simex() -> None:
    cohort = draw(Problem(50_000, 2))
    simex = cohort.simex(1.5, 2, np.random.default_rng(3))
    noise = (simex.priors - cohort.priors) / csem(cohort.priors)
    assert abs(noise.var() / 1.5 - 1.0) < SAMPLING
    assert abs(np.corrcoef(noise[0, :, 0], noise[1, :, 0])[0, 1]) < SAMPLING
    assert simex.priors.max() > cohort.priors.max()
    assert np.unique(simex.priors).size == simex.priors.size
    knots = np.quantile(simex.priors[:, :, 1], (0.2, 0.4, 0.6, 0.8)).round(3)
    assert simex.bases[1].knots == tuple(knots)
    assert simex.design(1).shape == (50_000, 15)


def test_random_problems_cover_what_is_asked() -> None:
    sizes = robust.FULL.sizes
    assert len(sizes) * robust.FULL.each >= 1000
    assert {n for n, _ in sizes} >= {30, 1_000, 100_000}
    assert {p for _, p in sizes} >= {1, 60}
    assert robust.FULL.each >= len(robust.DESIGNS)
    cases = [robust.Case(n, p, number) for n, p in ((100, 2), (300, 15), (300, 22)) for number in range(24)]
    drawn = [robust.draw_case(case) for case in cases]
    assert {case.design_kind for case in cases} == set(robust.DESIGNS)
    for word in ("exact", "whole", "twenties", "floored", "equal", "no weights", "counts", "real", "uneven"):
        assert any(word in one.kind for one in drawn), word
    for word in ("another replicate", "bootstrap", "to "):
        assert any(one.refit_kind.startswith(word) for one in drawn), word
    assert any(one.weights is not None and (one.weights == 0.0).any() for one in drawn)
    assert any(np.linalg.matrix_rank(one.design) < one.design.shape[1] for one in drawn)
    assert any(len(np.unique(one.design, axis=0)) < len(one.design) for one in drawn)
    again = robust.draw_case(cases[5])
    assert np.array_equal(again.design, drawn[5].design)
    assert np.array_equal(again.refit[1], drawn[5].refit[1])


def test_slow_problems_are_stalls() -> None:
    case = robust.Case(30, 2, 0)
    usual = {(30, 2): 1.0}
    assert robust._stalled(robust.Outcome(case, "", 1.0, 5.1), usual)
    assert robust._stalled(robust.Outcome(case, "", 5.1, 1.0), usual)
    assert not robust._stalled(robust.Outcome(case, "", 4.9, 4.9), usual)


def test_endless_steps_are_stopped_and_leave_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "PAUSE", 0.5)
    program = (
        "import pathlib, time\n"
        "pathlib.Path('new').write_text('{\"done\": [4], \"ahead\": 0.01}')\n"
        "pathlib.Path('new').rename('result.json')\n"
        "time.sleep(60)\n"
    )
    said = grid._watched([sys.executable, "-c", program], tmp_path, 50.0, tmp_path / "result.json")
    assert said.startswith("stopped after")
    assert int(said.split()[2]) < 20
    assert json.loads((tmp_path / "result.json").read_text())["done"] == [4]
    assert (
        grid._watched([sys.executable, "-c", "raise OSError('no')"], tmp_path, 50.0) == "failed: OSError: no"
    )
    assert grid._watched([sys.executable, "-c", "pass"], tmp_path, 50.0) == ""


def test_every_benchmark_is_described(repository: Path) -> None:
    run = [sys.executable, "-m", "benchmarks", "--help"]
    shown = subprocess.run(run, cwd=repository, capture_output=True, text=True, check=True).stdout
    described = (repository / "benchmarks" / "README.md").read_text("utf-8")
    commands = "\n".join(
        line for line in described.splitlines() if line.startswith("    python -m benchmarks")
    )
    for part in (*PARTS, "readme"):
        assert part in shown
        assert re.search(rf"benchmarks .*\b{part}\b", commands), part
    started = {
        file.stem
        for file in (repository / "benchmarks").glob("*.py")
        if 'if __name__ == "__main__"' in file.read_text("utf-8")
    }
    for module in started - {"__main__", "worker", *PARTS}:  # these are processes of their own for others
        assert f"python -m benchmarks.{module} " in commands, module
