"""Model selection: held-out curves against slow twins, losses by hand, verdicts against simulated truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import engine_cases
import naive
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.special import ndtri
from scipy.stats import norm
from typer.testing import CliRunner

import growth
from growth._types import FloatArray, IntArray
from growth.cli import app
from growth.errors import CohortError, SpecError
from growth.panel import Panel, Pattern, Prior, build_panels, read_table
from growth.spec import GrowthSpec
from growth.student import (
    NormalGrowth,
    compose,
    frozen_cohort,
    held_out_curves,
    offsets_without,
    spline_terms,
    student_growth,
)
from growth.study import Selection, compare_specs
from growth.study.selection.losses import (
    NEGLIGIBLE,
    TAUS,
    Foreseen,
    calibration_table,
    check_loss,
    critical,
    difference_table,
    loss_table,
    mean_and_se,
)
from growth.study.selection.people import deal
from growth.study.selection.schools import levels_of

ROUNDING = 1e-12
"""Sums of a few numbers of order one."""
SAME_FIT = 1e-8
"""One least-squares problem in two parametrisations, relative to scores of some 2,500."""
TWO_SOLVERS = 1e-6
"""Held-out losses of curves from two solvers of one linear program, relative."""
PLAIN = GrowthSpec().replace({"cohorts.min_cohort": 50, "school.min_n": 10, "groups.min_n": 10})


def folds_of(n: int, count: int = 4) -> IntArray:
    return np.random.default_rng(1).permutation(n) % count


class TestCurves:
    def test_by_hand(self) -> None:
        """Six students in two folds: a line through three points each, and the residuals of that line."""
        prior = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 4.0])
        score = np.array([2.0, 4.0, 3.0, 1.0, 4.0, 4.0])
        panel = tiny(prior, score)
        spec = PLAIN.replace({"student.engine": "residual_gain"})
        found = held_out_curves(panel, spec, np.array([0, 0, 0, 1, 1, 1]), np.array([0.5]))
        # Without the first fold: points (1, 1), (2, 4), (4, 4): slope 6/7, mean 3 at 7/3.
        x, y = prior[3:], score[3:]
        slope = ((x - x.mean()) @ (y - y.mean())) / ((x - x.mean()) @ (x - x.mean()))
        assert slope == pytest.approx(6 / 7, abs=ROUNDING)
        rest = sorted(y - 3 - slope * (x - 7 / 3))
        assert found[:3, 0] == pytest.approx(3 + slope * (prior[:3] - 7 / 3) + rest[1], abs=1e-9)
        # Without the second: points (1, 2), (2, 4), (3, 3): slope 1/2, mean 3 at 2, residuals -1/2, 1, -1/2.
        assert found[3:, 0] == pytest.approx(3 + 0.5 * (prior[3:] - 2) - 0.5, abs=1e-9)

    def test_quantiles_are_those_of_a_slow_twin(self) -> None:
        case = engine_cases.simulated(150, 5, seed=2)
        taus, fold = np.array([0.1, 0.5, 0.8]), folds_of(150, 3)
        found = held_out_curves(case.panel, PLAIN, fold, taus)
        design = spline_terms(case.panel, PLAIN).matrix
        for k in range(3):
            kept, left = fold != k, fold == k
            slow = np.column_stack(
                [
                    design[left] @ naive.solve_lp(design[kept], case.panel.score[kept], tau).coef
                    for tau in taus
                ]
            )
            ours = check_loss(case.panel.score[left], found[left], taus).sum()
            theirs = check_loss(case.panel.score[left], np.sort(slow, axis=1), taus).sum()
            assert ours == pytest.approx(theirs, rel=TWO_SOLVERS)

    @pytest.mark.parametrize("engine", ["normal", "residual_gain", "eiv"])
    def test_engines_without_curves_foresee_what_a_frozen_model_does(self, engine: str) -> None:
        panel = engine_cases.simulated(400, 8, seed=3).panel
        spec = PLAIN.replace({"student.engine": engine, "measurement.csem": "column"})
        taus, fold = np.array([0.25, 0.5, 0.9]), folds_of(400)
        found = held_out_curves(panel, spec, fold, taus)
        kept, left = part(panel, fold != 2), part(panel, fold == 2)
        model = frozen_cohort(kept, student_growth(kept, spec), engine)
        there = student_growth(left, spec, frozen=model)
        if isinstance(there, NormalGrowth):
            expected = there.expected[:, None] + there.spread[:, None] * ndtri(taus)
        else:
            own = student_growth(kept, spec)
            expected = there.expected[:, None] + np.quantile(own.residual, taus, method="hazen")
        assert found[fold == 2] == pytest.approx(expected, rel=SAME_FIT)

    @pytest.mark.parametrize("engine", ["quantile", "normal", "residual_gain", "eiv"])
    def test_scores_that_are_left_out_do_not_matter(self, engine: str) -> None:
        panel = engine_cases.simulated(300, 6, seed=4).panel
        spec = PLAIN.replace({"student.engine": engine, "measurement.csem": "column"})
        fold = folds_of(300)
        wild = replace(panel, score=np.where(fold == 1, panel.score + 500, panel.score))
        one, two = (held_out_curves(p, spec, fold, TAUS) for p in (panel, wild))
        assert np.array_equal(one[fold == 1], two[fold == 1])
        assert not np.array_equal(one[fold == 0], two[fold == 0])

    def test_composition_is_not_learnt_from_scores_left_out(self) -> None:
        city = growth.simulate_table(3_000, 40, years=1, seed=5)
        spec = GrowthSpec.preset("core")
        panels = build_panels(read_table(city.table, spec), spec)
        nobody = {panel.key: np.zeros(len(panel), np.bool_) for panel in panels.panels}
        whole = compose(panels, spec).panels.panels
        for panel in whole:
            assert np.array_equal(offsets_without(panels, spec, nobody)[panel.key], panel.offset)  # type: ignore[arg-type]
        left = {panel.key: panel.row % 3 == 0 for panel in panels.panels}
        wild = tuple(
            replace(panel, score=np.where(left[panel.key], 9_999.0, panel.score)) for panel in panels.panels
        )
        one, two = (offsets_without(p, spec, left) for p in (panels, replace(panels, panels=wild)))
        for key, offset in one.items():
            assert np.array_equal(offset, two[key])
        assert any(not np.array_equal(one[panel.key], panel.offset) for panel in whole)  # type: ignore[arg-type]

    def test_refusals(self) -> None:
        panel = engine_cases.simulated(200, 4, seed=6).panel
        with pytest.raises(SpecError, match="offsets of two-step"):
            held_out_curves(panel, PLAIN.replace({"peers.composition": "two_step"}), folds_of(200), TAUS)
        with pytest.raises(CohortError, match="one fold"):
            held_out_curves(panel, PLAIN, np.zeros(200, np.int64), TAUS)


def tiny(prior: FloatArray, score: FloatArray) -> Panel:
    return Panel(
        subject="ELA",
        grade=5,
        year=2025,
        pattern=Pattern((Prior("ELA", 1, 4),)),
        row=np.arange(len(prior)),
        score=score,
        priors=prior[:, None],
        covariates=np.empty((len(prior), 0)),
        covariate_names=(),
        knot_scores=(prior,),
        bounds=None,
        norm_group="2024/ELA_4; 2025/ELA_5",
    )


def part(panel: Panel, kept: Any) -> Panel:  # noqa: ANN401
    """Return some students of a cohort; knots stay."""
    rows = ("row", "score", "priors", "covariates", "school", "csem")
    return replace(panel, **{name: getattr(panel, name)[kept] for name in rows})


def results(score: list[float], subject: list[str] | None = None) -> pl.DataFrame:
    n = len(score)
    return pl.DataFrame(
        {
            "year": [2025] * n,
            "subject": subject or ["ELA"] * n,
            "grade": [5] * n,
            "student_id": [f"s{i % 3}" for i in range(n)],
            "school_id": ["a", None, "a"] * (n // 3),
            "score": score,
            "prior": score,
        }
    )


class TestNumbers:
    def test_check_loss_by_hand(self) -> None:
        found = check_loss(np.array([3.0, 1.0]), np.array([[2.0], [2.0]]), np.array([0.3]))
        assert found[:, 0] == pytest.approx([0.3, 0.7], abs=ROUNDING)

    def test_standard_errors_count_students(self) -> None:
        """Two results of one student that go together are one piece of evidence."""
        values, place = np.array([1.0, 1.0, -1.0, -1.0]), np.array([0, 0, 1, 1])
        mean, se, units = mean_and_se(values, place)
        # Totals 2 and -2 of two units: sqrt(2/1 * 8) / 4.
        assert (mean, se, units) == (0.0, pytest.approx(1.0), 2)
        alone = mean_and_se(values, np.arange(4))
        assert alone[1] == pytest.approx(values.std(ddof=1) / 2)
        assert mean_and_se(values, np.zeros(4, np.int64))[1] == np.inf

    def test_differences_by_hand(self) -> None:
        common = results([10.0, 20.0, 30.0, 40.0, 50.0, 60.0])
        flat = Foreseen.empty(6)
        flat.put(np.arange(6), common["score"].to_numpy(), np.full((6, 19), 35.0))
        sharp = Foreseen.empty(6)
        sharp.put(
            np.arange(6), common["score"].to_numpy(), common["score"].to_numpy()[:, None] + np.zeros(19)
        )
        table = difference_table(common, ["flat", "sharp"], [flat, sharp], "student_id")
        plain = np.quantile(common["score"], TAUS, method="hazen")
        whole = np.mean([check_loss(np.array([y]), plain, TAUS).mean() for y in common["score"]])
        # A score d from the curve loses |d| / 2 on average over symmetric taus.
        lost = 100 * np.array([12.5, 7.5, 2.5, 2.5, 7.5, 12.5]) / whole
        row = table.filter(pl.col("tau").is_null(), spec="flat").row(0, named=True)
        assert row["difference"] == pytest.approx(lost.mean())
        totals = np.array([lost[i] + lost[i + 3] for i in range(3)]) - 2 * lost.mean()
        assert row["se"] == pytest.approx(np.sqrt(3 / 2 * (totals**2).sum()) / 6)
        assert row["units"] == 3
        assert row["low"] == pytest.approx(row["difference"] - norm.isf(0.025) * row["se"])
        shares = loss_table(common, ["flat", "sharp"], [flat, sharp]).filter(subject="all")["share"].to_list()
        assert shares == pytest.approx([lost.mean(), 0.0])
        mirrored = table.filter(pl.col("tau").is_null(), spec="sharp")["difference"].item()
        assert mirrored == pytest.approx(-lost.mean())

    def test_schools_as_units_and_students_without_one(self) -> None:
        common = results([10.0, 20.0, 30.0])
        one, two = Foreseen.empty(3), Foreseen.empty(3)
        for found, curve in ((one, 15.0), (two, 25.0)):
            found.put(np.arange(3), common["score"].to_numpy(), np.full((3, 19), curve))
        assert set(difference_table(common, ["a", "b"], [one, two], "school_id")["units"]) == {2}

    def test_verdicts_hold_for_all_pairs_together(self) -> None:
        assert critical(2) == pytest.approx(norm.isf(0.025))
        assert critical(4) == pytest.approx(norm.isf(0.025 / 6))

    def test_calibration_by_hand(self) -> None:
        score = list(range(100))
        common = results([float(s) for s in score] * 3).with_columns(
            student_id=pl.int_range(300).cast(pl.String)
        )
        found = Foreseen.empty(300)
        # Every curve at 50: half of 100 different scores lie below, one on it.
        found.put(np.arange(300), common["score"].to_numpy(), np.full((300, 19), 50.0))
        table = calibration_table(common, ["x"], [found], 10)
        middle = table.filter(by="all", tau=0.5).row(0, named=True)
        assert (middle["n"], middle["below"], middle["off"]) == (
            300,
            pytest.approx(0.505),
            pytest.approx(0.5),
        )
        assert middle["se"] == pytest.approx(100 * 0.5 / np.sqrt(300))
        lowest = table.filter(by="prior", level="1", tau=0.5).row(0, named=True)
        assert (lowest["n"], lowest["below"]) == (60, 1.0)
        assert calibration_table(common, ["x"], [found], 61)["by"].unique().to_list() == ["all"]

    def test_folds_are_even_and_names_stay_together(self) -> None:
        dealt = deal(pl.Series(["b", "a", "c", "d", "a"]), 2, 7)
        assert dealt["name"].to_list() == ["a", "b", "c", "d"]
        assert np.bincount(dealt["fold"].to_numpy()).tolist() == [2, 2]
        with pytest.raises(CohortError, match="fewer folds"):
            deal(pl.Series(["a"]), 2, 7)

    def test_levels_of_halves(self) -> None:
        assert levels_of(np.arange(10.0)).tolist() == list(range(1, 11))
        assert levels_of(np.zeros(4)).tolist() == [6] * 4


def waves(n: int = 4_000, seed: int = 1) -> pl.DataFrame:
    """Return a table of one grade whose scores follow a wave of the prior score and one flag of two."""
    rng = np.random.default_rng(seed)
    z, helped, idle = rng.standard_normal(n), rng.random(n) < 0.4, rng.random(n) < 0.5
    now = 2500 + 60 * z + 45 * np.sin(2.2 * z) - 25 * helped + 30 * rng.standard_normal(n)
    people = {
        "student_id": [f"{i:05d}" for i in range(n)],
        "school_id": [f"{i:03d}" for i in rng.integers(0, 30, n)],
        "subject": ["MATH"] * n,
        "helped": helped,
        "idle": idle,
    }
    before = pl.DataFrame(people | {"year": 2024, "grade": 4, "score": np.round(2450 + 80 * z)})
    return pl.concat([before, pl.DataFrame(people | {"year": 2025, "grade": 5, "score": np.round(now)})])


TRUTH = PLAIN.replace(
    {"peers.flags": ["helped"], "groups.flags": {}, "groups.race": "", "groups.lowest_race": False}
)
SPECS = {
    "straight": TRUTH.replace({"basis.degree": 1, "basis.knot_quantiles": []}),
    "needless": TRUTH.replace({"peers.flags": ["helped", "idle"]}),
    "truth": TRUTH,
    "no flag": TRUTH.replace({"peers.flags": []}),
}


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return waves()


@pytest.fixture(scope="module")
def found(table: pl.DataFrame) -> Selection:
    return compare_specs(table, SPECS, n_jobs=2)


class TestTruth:
    def test_what_made_the_data_wins(self, found: Selection) -> None:
        ranking = found.ranking
        close = {"truth", "needless"}
        assert set(ranking["spec"][:2]) == close
        assert ranking["spec"][-1] == "straight"
        verdicts = dict(ranking.select("spec", "verdict").iter_rows())
        assert {verdicts[name] for name in close} == {"least loss", "not distinguishable"}
        assert verdicts["straight"] == verdicts["no flag"] == "worse"
        assert any("the smallest of them is truth (9 columns)" in line for line in found.sentences)
        assert found.difference("straight", "truth")["difference"] > 1  # type: ignore[operator]

    def test_too_few_knots_show_in_calibration(self, found: Selection) -> None:
        rows = {row["spec"]: row for row in found.ranking.iter_rows(named=True)}
        assert rows["straight"]["calibration"] > 2 * rows["straight"]["calibration_chance"]
        assert rows["truth"]["calibration"] < 1.5 * rows["truth"]["calibration_chance"]

    def test_a_needless_covariate_is_never_better(self) -> None:
        """And in cohorts of some size rarely more than negligibly worse."""
        spec = PLAIN.replace({"student.engine": "residual_gain"})
        told = []
        for seed in range(40):
            rng = np.random.default_rng(seed)
            prior = rng.standard_normal(1_500)
            plain = tiny(prior, 0.8 * prior + 0.6 * rng.standard_normal(1_500))
            idle = replace(plain, covariates=rng.random((1_500, 1)), covariate_names=("idle",))
            loss = [
                check_loss(plain.score, held_out_curves(p, spec, folds_of(1_500, 5), TAUS), TAUS)
                for p in (plain, idle)
            ]
            whole = check_loss(plain.score, np.quantile(plain.score, TAUS), TAUS).mean()
            mean, se, _ = mean_and_se(100 * (loss[1] - loss[0]).mean(axis=1) / whole, np.arange(1_500))
            told.append((mean - critical(2) * se > NEGLIGIBLE, mean + critical(2) * se < -NEGLIGIBLE))
        worse, better = np.sum(told, axis=0)
        assert better == 0
        assert worse <= 3

    def test_schools_are_those_of_separate_runs(self, found: Selection, table: pl.DataFrame) -> None:
        for name, outcome in zip(found.names, found.outcomes, strict=True):
            assert dict(growth.run(table, SPECS[name]).manifest["outputs"]) == outcome.digests

    def test_threads_do_not_matter(self, found: Selection, table: pl.DataFrame) -> None:
        again = compare_specs(table, SPECS, n_jobs=1)
        for name, frame in found.frames.items():
            assert_frame_equal(frame, again.frames[name], check_exact=True)

    def test_by_schools(self, table: pl.DataFrame) -> None:
        few = {name: SPECS[name] for name in ("truth", "straight")}
        by = compare_specs(table, few, by="school", folds=3)
        assert set(by.differences["units"]) == {30}
        assert by.ranking["verdict"].to_list() == ["least loss", "worse"]

    def test_pictures(self, found: Selection) -> None:
        pytest.importorskip("altair")
        for name in ("losses", "taus", "calibration", "trade_off"):
            text = getattr(found.plot, name)().to_json()
            assert "straight" in text


@pytest.fixture(scope="module")
def city() -> pl.DataFrame:
    return growth.simulate_table(1_500, 10, years=1, seed=7).table


class TestCommon:
    def test_results_that_all_give(self, city: pl.DataFrame) -> None:
        own = PLAIN.replace({"cohorts.own_priors": 1, "cohorts.other_priors": 0})
        ela = own.replace({"cohorts.subjects": ["ELA"]})
        found = compare_specs(city, {"both": own, "ela": ela}, folds=2)
        assert set(found.losses["subject"]) == {"ELA", "all"}
        assert found.compared == found.scored[1] < found.scored[0]
        assert found.difference("both", "ela")["difference"] == 0
        assert found.ranking["verdict"].to_list() == ["least loss", "not distinguishable"]

    def test_engines_side_by_side(self, city: pl.DataFrame) -> None:
        engines = {
            "normal": PLAIN.replace({"student.engine": "normal"}),
            "gain": PLAIN.replace({"student.engine": "residual_gain"}),
            "eiv": PLAIN.replace({"student.engine": "eiv", "measurement.csem": "column"}),
        }
        found = compare_specs(city, engines, folds=2)
        assert "eiv is corrected for measurement error" in found.sentences[-1]
        assert found.ranking["crossing"].null_count() == 3
        assert "Selection(3 specifications" in repr(found)

    def test_refusals(self, city: pl.DataFrame) -> None:
        with pytest.raises(SpecError, match="at least two"):
            compare_specs(city, {"a": PLAIN})
        with pytest.raises(SpecError, match="'a' and 'b' are equal"):
            compare_specs(city, {"a": PLAIN, "b": PLAIN})
        with pytest.raises(SpecError, match="folds = 1"):
            compare_specs(city, {"a": PLAIN, "b": "core"}, folds=1)
        with pytest.raises(SpecError, match='"student" or "school"'):
            compare_specs(city, {"a": PLAIN, "b": "core"}, by="district")  # type: ignore[arg-type]
        with pytest.raises(CohortError, match="Specification 'b':"):
            compare_specs(city, {"a": PLAIN, "b": PLAIN.replace({"cohorts.min_cohort": 90_000})})
        one, two = (PLAIN.replace({"cohorts.subjects": [name]}) for name in ("ELA", "MATH"))
        with pytest.raises(CohortError, match="No student has a result under every"):
            compare_specs(city, {"ela": one, "math": two})


def test_command_line(table: pl.DataFrame, tmp_path: Path) -> None:
    table.write_parquet(tmp_path / "scores.parquet")
    for name in ("truth", "straight"):
        (tmp_path / f"{name}.toml").write_text(SPECS[name].to_toml(), "utf-8")
    both = ["--spec", str(tmp_path / "truth.toml"), "--spec", str(tmp_path / "straight.toml")]
    out = ["--folds", "2", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["select", str(tmp_path / "scores.parquet"), *both, *out])
    assert done.exit_code == 0, done.output
    assert "straight is worse than truth" in done.output
    assert pl.read_parquet(tmp_path / "out" / "ranking.parquet")["spec"].to_list() == ["truth", "straight"]
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"losses.png", "trade_off.png", "spec-1.toml", "spec-2.toml", "differences.csv"} <= names
    wrong = CliRunner().invoke(app, ["select", str(tmp_path / "scores.parquet"), *both[:2], *both[:2]])
    assert wrong.exit_code != 0
    assert "given twice" in wrong.output
