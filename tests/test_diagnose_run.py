"""Diagnostics of whole runs: planted faults, held-out fits, pictures, the page and the command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import growth
from benchmarks.diagnostics import FAULTS, Fault, examined
from growth import GrowthRun, GrowthSpec
from growth.cli import app
from growth.diagnose import RULES, Diagnostics, HeldOut, diagnose, render_page
from growth.diagnose.held_out import _places, cross_validate, pinball
from growth.errors import GrowthError, SpecError
from growth.panel import Panel, build_panels, read_table
from growth.quantile import fit_quantiles
from growth.store import save_run
from growth.student.design import spline_terms

STUDENTS, SCHOOLS = 10_000, 60
"""As in the benchmark, whose rates are of these sizes."""
EQUAL = 1e-9
"""Losses of a warm refit and of a fit from scratch: both are exact."""


@pytest.fixture(scope="module")
def city() -> pl.DataFrame:
    return growth.simulate_table(6_000, 36, years=1, seed=3).table


@pytest.fixture(scope="module")
def run(city: pl.DataFrame) -> GrowthRun:
    return growth.run(city, "core")


@pytest.fixture(scope="module")
def found(run: GrowthRun, city: pl.DataFrame) -> Diagnostics:
    return diagnose(run, city)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_planted_faults_are_found_and_clean_data_are_quiet(fault: Fault) -> None:
    """One seed; ``python -m benchmarks.diagnostics`` measures the rates."""
    alarms = examined(fault, 1, STUDENTS, SCHOOLS).alarms
    if fault.found_by:
        assert set(alarms) & set(fault.found_by)
    else:
        assert alarms == ()


def test_a_drifted_grade_is_found_in_a_small_city_too() -> None:
    """Four to seven schools per grade differ by more than the drift."""
    drifted = next(fault for fault in FAULTS if fault.found_by == ("frozen_drift",))
    found = examined(drifted, 3, 4_000, 18)
    assert "frozen_drift" in found.alarms
    assert "grade 6" in found.verdicts.filter(diagnostic="frozen_drift")["where"].item()


class TestDiagnose:
    def test_every_rule_has_its_verdict(self, found: Diagnostics) -> None:
        assert found.verdicts["diagnostic"].to_list() == list(RULES)
        assert found.alarms == ()
        assert found.verdict("held_out_coverage") == "ok"

    def test_without_the_table_it_says_what_is_missing(self, run: GrowthRun) -> None:
        again = diagnose(run)
        assert again.verdict("held_out_loss") == "not judged"
        sentence = again.verdicts.filter(diagnostic="held_out_loss")["sentence"].item()
        assert "--table" in sentence

    def test_a_run_from_disk_says_the_same(
        self, run: GrowthRun, city: pl.DataFrame, found: Diagnostics, tmp_path: Path
    ) -> None:
        from growth.store import load_run

        save_run(run, tmp_path / "run")
        again = diagnose(load_run(tmp_path / "run"), city, n_jobs=2)
        assert again.verdicts.equals(found.verdicts)

    def test_another_table_is_refused(self, run: GrowthRun, city: pl.DataFrame) -> None:
        with pytest.raises(SpecError, match="not the table that the run was made from"):
            diagnose(run, city.head(city.height - 1))

    def test_unknown_names_are_told(self, found: Diagnostics) -> None:
        with pytest.raises(GrowthError, match="did you mean 'uniformity'"):
            found.verdict("uniformty")
        with pytest.raises(GrowthError, match="did you mean 'waterfall'"):
            found["waterfal"]

    def test_other_engines_have_no_curves_that_could_cross(self, city: pl.DataFrame) -> None:
        spec = GrowthSpec.preset("core").replace({"student.engine": "normal", "peers.composition": "none"})
        again = diagnose(growth.run(city, spec), city)
        assert again.verdict("crossing") == "not judged"
        assert again.verdict("held_out_loss") == again.verdict("uniformity") == "ok"

    def test_simex_shows_what_it_changes(self, city: pl.DataFrame) -> None:
        changes: dict[str, Any] = {
            "simex.use": "simex",
            "simex.replicates": 2,
            "measurement.csem": "column",
            "cohorts.grades": (4,),
        }
        again = diagnose(growth.run(city, GrowthSpec.preset("sgp").replace(changes)))
        assert again.verdict("simex_gap") == "ok"
        by_prior = again["simex"].filter(by="prior", subject="ELA")["gap"]
        assert by_prior[0] > by_prior[-1]

    def test_repr_names_what_is_loud(self) -> None:
        text = repr(examined(FAULTS[6], 1, 3_000, 20))
        assert "CSEM against residuals" in text


class TestHeldOut:
    def test_it_equals_fits_from_scratch_without_each_fold(self, city: pl.DataFrame) -> None:
        spec = GrowthSpec.preset("core").replace({"peers.composition": "none", "quantiles.count": 10})
        panel = next(p for p in build_panels(read_table(city, spec), spec).panels if p.grade == 7)
        assert panel.school is not None
        fold = panel.school % 3
        losses = cross_validate(panel, spec, fold, 3)
        terms, outside = spline_terms(panel, spec), np.zeros(10)
        for k in range(3):
            left = fold == k
            process = fit_quantiles(terms.matrix[~left], panel.score[~left], spec.quantiles.grid())
            error = panel.score[left, None] - np.sort(terms.matrix[left] @ process.coef.T, axis=1)
            outside += np.where(error < 0, (process.taus - 1) * error, process.taus * error).sum(axis=0)
        np.testing.assert_allclose(losses.outside, outside / len(panel), rtol=EQUAL)
        assert (losses.outside > losses.inside).all()

    def test_the_loss_in_the_fit_is_the_objective_where_curves_do_not_cross(self, panel: Panel) -> None:
        spec = GrowthSpec.preset("sgp")
        terms = spline_terms(panel, spec)
        process = fit_quantiles(terms.matrix, panel.score, [0.1, 0.5, 0.9])
        found = pinball(process, terms.matrix, panel.score, rearrange=False)
        np.testing.assert_allclose(found * len(panel), process.objective, rtol=EQUAL)

    @pytest.fixture
    def panel(self, city: pl.DataFrame) -> Panel:
        spec = GrowthSpec.preset("sgp")
        return build_panels(read_table(city, spec), spec).panels[0]

    @pytest.mark.parametrize("engine", ["residual_gain", "eiv"])
    def test_engines_without_quantile_fits_are_judged_too(self, engine: str, city: pl.DataFrame) -> None:
        changes: dict[str, object] = {"student.engine": engine, "peers.composition": "none"}
        if engine == "eiv":
            changes |= {"measurement.csem": "column"}
        spec = GrowthSpec.preset("core").replace(changes)
        found = diagnose(growth.run(city, spec), city)
        assert found.verdict("held_out_coverage") == found.verdict("held_out_loss") == "ok"
        rows = found["held_out"]
        assert (rows["below"] - rows["tau"]).abs().max() < 0.08  # type: ignore[operator]
        assert rows["loss_held_out"].mean() > rows["loss"].mean()  # type: ignore[operator]

    def test_places_among_curves(self) -> None:
        curves = np.array([[10.0, 20.0, 30.0]] * 4)
        taus = np.array([0.25, 0.5, 0.75])
        found = _places(np.array([20.0, 15.0, 30.0, 25.0]), curves, taus)
        assert found == pytest.approx([0.5, 0.375, 0.75, 0.625])

    def test_folds_are_at_least_two(self) -> None:
        with pytest.raises(SpecError, match="folds = 1"):
            HeldOut(folds=1)


class TestPictures:
    def test_every_picture_draws_and_has_data(self, found: Diagnostics) -> None:
        available = found.plot.available()
        assert {"goodness_of_fit", "qq", "correlations", "held_out", "ceiling_floor"} <= set(available)
        for draw in available.values():
            assert draw().to_dict(validate=True)["title"]["text"]

    def test_what_a_run_does_not_have_is_said(self, found: Diagnostics) -> None:
        with pytest.raises(GrowthError, match="nothing to draw of 'simex'"):
            found.plot.simex()
        with pytest.raises(GrowthError, match="nothing to draw"):
            found.plot.qq(year=1999)

    def test_no_number_of_few_students_is_shown(self, run: GrowthRun, found: Diagnostics) -> None:
        least = run.spec.school.min_n
        for name in ("school_points", "distribution", "calibration", "heteroskedasticity", "left_out"):
            assert found[name]["n"].min() >= least  # type: ignore[operator]
        shown = found["goodness_of_fit"].drop_nulls("percent")
        assert shown["n"].min() >= least  # type: ignore[operator]
        assert found["flags"].select(pl.min_horizontal("n_flagged", "n_other").min()).item() >= least

    def test_the_page_asks_for_nothing_and_runs_nothing(self, found: Diagnostics) -> None:
        page = render_page(found)
        assert "<script" not in page
        assert set(re.findall(r"https?://[^\"' <]+", page)) <= {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1999/xlink",
        }
        assert page.count("<figure") == len(found.plot.available())
        for title in found.verdicts["title"]:
            assert title.replace("'", "&#x27;") in page


class TestCommand:
    def test_it_prints_verdicts_and_writes_the_page(
        self, run: GrowthRun, city: pl.DataFrame, tmp_path: Path
    ) -> None:
        save_run(run, tmp_path / "run")
        city.write_parquet(tmp_path / "city.parquet")
        table, page = tmp_path / "city.parquet", tmp_path / "look.html"
        done = CliRunner().invoke(
            app, ["diagnose", str(tmp_path / "run"), "--table", str(table), "--out", str(page), "--rules"]
        )
        assert done.exit_code == 0, done.output
        assert "Nothing asks for a look." in done.output
        assert "Prior decile by" in done.output
        assert "Rule:" in done.output
        assert page.stat().st_size > 50_000

    def test_a_wrong_table_is_a_problem_of_the_data(
        self, run: GrowthRun, city: pl.DataFrame, tmp_path: Path
    ) -> None:
        save_run(run, tmp_path / "run")
        city.with_columns(pl.col("score") + 1).write_csv(tmp_path / "other.csv")
        done = CliRunner().invoke(
            app, ["diagnose", str(tmp_path / "run"), "--table", str(tmp_path / "other.csv")]
        )
        assert done.exit_code == 1
        assert "not the table" in done.output
