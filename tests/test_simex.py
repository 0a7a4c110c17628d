"""SIMEX: R's numbers for the same perturbed scores, a slow twin, R's own draws, threads, resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import golden
import naive
import numpy as np
import polars as pl
import pytest

from growth._types import FloatArray
from growth.errors import ColumnError, SpecError
from growth.panel import Panel, Pattern, Prior
from growth.panel.covariates import school_means
from growth.panel.csem import natural_spline
from growth.panel.panels import PRIOR_MEAN
from growth.quantile import SplineBasis, fit_quantiles, spline_design
from growth.spec import GrowthSpec, Simex
from growth.student import QuantileGrowth, StudentGrowth, student_growth
from growth.student.simex import (
    Draws,
    Perturbed,
    SimexGrowth,
    blocks_of,
    corrected_curves,
    place_in,
    ranked,
    simex_growth,
)
from growth.student.simex.curves import Stage, extrapolation_weights
from growth.student.simex.draws import moved_covariates, sample_rows

LAMBDAS = (0.5, 1.0, 1.5, 2.0)
ON = {"simex.use": "simex", "measurement.csem": "column"}
PLAIN = GrowthSpec.preset("sgp")
STORED = 1e-8
"""Coefficients are stored with six decimals; relative to the largest."""
TWIN = 1e-4
"""Values near half a unit of the fifth decimal may be rounded either way: 2e-5 in sum [points]."""


def simex_spec(base: GrowthSpec, **rules: object) -> GrowthSpec:
    return base.replace(ON | {f"simex.{name}": value for name, value in rules.items()})


def simex_of(growth: StudentGrowth) -> SimexGrowth:
    assert isinstance(growth, QuantileGrowth)
    assert growth.simex is not None
    return growth.simex


def corrected(model: golden.Model, perturbed: Perturbed, **rules: object) -> SimexGrowth:
    process = fit_quantiles(model.design, model.score)
    return simex_growth(
        model.panel, process, model.design, simex_spec(model.spec, **rules), perturbed=perturbed
    )


class TestGivenThePerturbedScores:
    """Equal to the R package for every student."""

    @pytest.mark.parametrize("order", [1, 2])
    @pytest.mark.parametrize(("extrapolation", "prefix"), [("linear", ""), ("quadratic", "quad_")])
    def test_own_cohort(self, order: int, extrapolation: str, prefix: str) -> None:
        model = golden.own_model("SIMEX_MATH_G5", order)
        table = pl.read_parquet(golden.OWN / "simex_perturbed.parquet").filter(order=order)
        students = pl.read_csv(golden.OWN / "simex_students.csv").sort("student_id")
        students = students.filter(pl.col(f"simex_order_{order}").is_not_null())
        assert tuple(students["student_id"]) == model.ids

        def perturbed(level: int, replicate: int) -> FloatArray:
            rows = table.filter(pl.col("lambda") == LAMBDAS[level], b=replicate + 1).sort("student_id")
            assert tuple(rows["student_id"]) == model.ids
            return rows.select(f"prior_{k}" for k in range(1, order + 1)).to_numpy()

        found = corrected(model, perturbed, replicates=3, extrapolation=extrapolation)
        np.testing.assert_array_equal(found.sgp, students[f"{prefix}simex_order_{order}"])
        np.testing.assert_array_equal(found.sgp_ranked, students[f"{prefix}ranked_order_{order}"])
        assert (found.sgp != model.sgp).mean() > 0.5

    def test_the_packages_data(self, golden_folder: Path) -> None:
        model = golden.golden_model(golden_folder, "MATH_2025_G4", "DEMO", 1)
        students = golden.golden_table(golden_folder, "simexdet_students").sort("ID")
        assert tuple(students["ID"]) == model.ids
        perturbed = packages_draws(golden_folder, model)
        found = corrected(model, perturbed, replicates=5)
        np.testing.assert_array_equal(found.sgp, students["SGP_SIMEX"])
        np.testing.assert_array_equal(found.sgp_ranked, students["SGP_SIMEX_RANKED"])

    def test_knots_and_coefficients(self, golden_folder: Path) -> None:
        """Knots to the decimal; coefficients as far as they are stored."""
        model = golden.golden_model(golden_folder, "MATH_2025_G4", "DEMO", 1)
        perturbed = packages_draws(golden_folder, model)
        process = fit_quantiles(model.design, model.score)
        stored = golden.golden_json(golden_folder, "simexdet_knots")
        coefs = golden.golden_table(golden_folder, "simexdet_coefs")
        for level, lam in enumerate(LAMBDAS):
            priors = np.stack([perturbed(level, b) for b in range(5)])
            stage = Stage.of(model.panel, simex_spec(model.spec, replicates=5), level, priors)
            (mine,) = (s for s in stored if s["cohort"] == "SIMEXDET_MATH_G4" and s["lambda"] == lam)
            assert stage.bases == golden.stored_bases(mine, 4, 1)
            anchor = stage.first(process, None)
            for b in (0, 4):
                rows = coefs.filter(pl.col("LAMBDA") == lam, pl.col("B") == b + 1)
                expected = golden.coefficients(rows, "VALUE", "TAU")
                fit, _ = stage.refit(anchor, b)
                np.testing.assert_allclose(fit.coef, expected, rtol=0, atol=STORED * np.abs(expected).max())


def test_own_draws_agree_with_the_packages_within_noise(golden_folder: Path) -> None:
    """As near to the package's runs as these are to each other (SGP_FACTS section 12)."""
    model = golden.golden_model(golden_folder, "MATH_2025_G4", "DEMO", 1)
    table = pl.read_csv(golden_folder / "csem_demo.csv").filter(GRADE=3, CONTENT_AREA="MATHEMATICS")
    table = table.sort("SCALE_SCORE").cast({"SCALE_SCORE_CSEM": pl.Float64})
    csem = natural_spline(table["SCALE_SCORE"].to_list(), table["SCALE_SCORE_CSEM"].to_numpy())
    panel = replace(model.panel, csem=csem(model.priors))
    found = simex_of(student_growth(panel, simex_spec(model.spec, replicates=50)))
    runs = golden.golden_table(golden_folder, "simex_students").filter(COHORT="MATH_2025_G4").sort("ID")
    for run, distance in (("B50_linear", 1.96), ("B50_linear_seed271828", 1.96), ("B150_linear_fn", 1.6)):
        theirs = runs.filter(RUN=run)
        assert tuple(theirs["ID"]) == model.ids
        for values, name in ((found.sgp, "SGP_SIMEX"), (found.sgp_ranked, "SGP_SIMEX_RANKED")):
            expected = theirs[name].to_numpy()
            assert values.mean() == pytest.approx(expected.mean(), abs=0.15)
            assert values.std() == pytest.approx(expected.std(), rel=0.01)
            assert np.corrcoef(values, expected)[0, 1] > 0.99
            assert np.abs(values - expected).mean() == pytest.approx(distance, rel=0.15)


def packages_draws(folder: Path, model: golden.Model) -> Perturbed:
    """Return the perturbed priors of the package's run, as it used them."""
    table = golden.golden_table(folder, "simexdet_perturbed")

    def perturbed(level: int, replicate: int) -> FloatArray:
        rows = table.filter(pl.col("LAMBDA") == LAMBDAS[level], pl.col("b") == replicate + 1).sort("ID")
        assert tuple(rows["ID"]) == model.ids
        return rows.select("prior_1").to_numpy()

    return perturbed


class TestTwin:
    @pytest.mark.parametrize("extrapolation", ["linear", "quadratic"])
    def test_curves(self, extrapolation: str) -> None:
        case = small_panel(61, priors=2, seed=3)
        taus = np.array([0.1, 0.35, 0.5, 0.8])
        spec = simex_spec(PLAIN, replicates=2, lambdas=[0.7, 1.6], extrapolation=extrapolation)
        draws = Draws.of(case, spec.simex)
        knots = [naive.simex_knots(prior) for prior in case.priors.T]
        bases = [SplineBasis(*line) for line in knots]
        design = spline_design(case.priors, bases)
        process = fit_quantiles(design, case.score, taus)
        found = corrected_curves(case, process, process.predict(design, digits=5), spec)
        perturbed = [[draws(level, b) for b in range(2)] for level in range(2)]
        degree = 1 if extrapolation == "linear" else 2
        twin = naive.simex_curves(case.priors, perturbed, (0.7, 1.6), case.score, taus, degree)
        np.testing.assert_allclose(found, twin, rtol=0, atol=TWIN)

    def test_places_and_ranks(self) -> None:
        rng = np.random.default_rng(5)
        curves = np.sort(rng.normal(50, 20, (300, 100)).round(1), axis=1)  # rounded: some curves are equal
        score = rng.normal(50, 30, 300).round(1)
        score[:4] = curves[0, 0] - 1, curves[1, 99] + 1, curves[2, 40], curves[3, 0]
        taus = (np.arange(100) + 0.5) / 100
        places = place_in(curves, score, taus)
        assert places.below.tolist() == naive.count_below(curves, score).tolist()
        expected = [naive.eighths(row, float(y)) for row, y in zip(curves, score, strict=True)]
        assert places.eighths.tolist() == expected
        assert places.eighths[0] == 1.0
        assert places.eighths[1] == 793 / 8
        between = [naive.percentile(row, taus, y) for row, y in zip(curves, score, strict=True)]
        np.testing.assert_allclose(places.percentile, between, rtol=0, atol=1e-12)
        assert ranked(places.eighths).tolist() == naive.ranked(expected)
        assert ranked(places.eighths, places.eighths).tolist() == naive.ranked(expected)
        assert ranked(np.array([-1.0, 200.0]), places.eighths).tolist() == [1, 99]

    @pytest.mark.parametrize(("extrapolation", "degree"), [("linear", 1), ("quadratic", 2)])
    def test_extrapolation(self, extrapolation: str, degree: int) -> None:
        weights = extrapolation_weights(Simex.model_validate({"extrapolation": extrapolation}))
        lambdas = np.array([0.0, *LAMBDAS])
        values = np.random.default_rng(1).normal(size=5)
        expected = np.polyval(np.polyfit(lambdas, values, degree), -1.0)
        assert weights @ values == pytest.approx(expected, abs=1e-12)
        if degree == 1:
            np.testing.assert_allclose(weights, [1.0, 0.6, 0.2, -0.2, -0.6], atol=1e-14)


class TestDraws:
    def test_the_packages_convention(self) -> None:
        """Students who share prior and current score share the error; priors and replicates do not."""
        panel = small_panel(400, priors=2, seed=1, step=20.0)
        draws = Draws.of(panel, simex_spec(PLAIN).simex)
        assert panel.csem is not None
        z = (draws(1, 3) - panel.priors) / panel.csem
        for j in range(2):
            pairs = list(zip(panel.priors[:, j], panel.score, strict=True))
            values = {pair: set() for pair in pairs}
            for pair, error in zip(pairs, z[:, j].round(9), strict=True):
                values[pair].add(error)
            assert len(pairs) > len(values) + 50
            assert all(len(errors) == 1 for errors in values.values())
            assert len(set().union(*values.values())) == len(values)
        assert abs(np.corrcoef(z.T)[0, 1]) < 0.2
        other = (draws(1, 4) - panel.priors) / panel.csem
        assert abs(np.corrcoef(z[:, 0], other[:, 0])[0, 1]) < 0.2

    def test_one_draw_per_student(self) -> None:
        panel = small_panel(400, priors=1, seed=1, step=20.0)
        draws = Draws.of(panel, simex_spec(PLAIN, draws="student").simex)
        assert len(np.unique(draws(0, 0) - panel.priors)) == 400

    def test_size(self) -> None:
        panel = small_panel(20_000, priors=1, seed=1)
        assert panel.csem is not None
        draws = Draws.of(panel, simex_spec(PLAIN).simex)
        for level, lam in enumerate(LAMBDAS):
            z = (draws(level, 0) - panel.priors) / panel.csem
            assert abs(z.mean()) < 5 * np.sqrt(lam / 20_000)
            assert z.var() == pytest.approx(lam, rel=0.06)

    def test_students_in_another_order(self) -> None:
        panel = small_panel(200, priors=2, seed=1, step=20.0)
        order = np.random.default_rng(0).permutation(200)
        assert panel.csem is not None
        moved = replace(panel, priors=panel.priors[order], score=panel.score[order], csem=panel.csem[order])
        rules = simex_spec(PLAIN).simex
        np.testing.assert_array_equal(Draws.of(moved, rules)(2, 1), Draws.of(panel, rules)(2, 1)[order])

    def test_samples(self) -> None:
        rules = simex_spec(PLAIN, sample_size=50).simex
        rows = sample_rows(rules, 200, 0, 0)
        assert rows is not None
        assert len(np.unique(rows)) == 50
        assert set(rows) != set(sample_rows(rules, 200, 0, 1))
        assert sample_rows(rules, 50, 0, 0) is None
        assert sample_rows(simex_spec(PLAIN).simex, 50, 0, 0) is None

    def test_interactions_are_known_by_both_their_columns(self) -> None:
        names = ("a", "b=x:prior", "prior:a", "b=x:prior:prior", "school_mean:a")
        panel = small_panel(50, priors=1, seed=1)
        columns = np.random.default_rng(0).normal(size=(50, 5))
        panel = replace(panel, covariates=columns, covariate_names=names)
        moved = moved_covariates(panel, panel.priors)
        z = panel.priors[:, 0] - panel.priors[:, 0].mean()
        np.testing.assert_array_equal(moved[:, [0, 1, 4]], columns[:, [0, 1, 4]])  # a level may hold a colon
        np.testing.assert_array_equal(moved[:, 2], columns[:, 0] * z)
        np.testing.assert_array_equal(moved[:, 3], columns[:, 1] * z)

    def test_covariates_made_of_priors_move_with_them(self) -> None:
        panel = with_covariates(small_panel(200, priors=2, seed=1))
        assert panel.school is not None
        priors = panel.priors + 7.0 * np.random.default_rng(0).normal(size=panel.priors.shape)
        moved = moved_covariates(panel, priors)
        flag = panel.covariates[:, 0]
        np.testing.assert_array_equal(moved[:, 0], flag)
        centre = panel.priors[:, 0].mean()
        np.testing.assert_allclose(moved[:, 1], flag * (priors[:, 0] - centre))
        np.testing.assert_allclose(moved[:, 2], school_means(panel.school, priors[:, 0]) - centre)
        np.testing.assert_array_equal(moved[:, 3], panel.covariates[:, 3])
        apart = moved_covariates(panel, panel.priors) - panel.covariates
        np.testing.assert_allclose(apart, -centre * np.column_stack([0 * flag, flag, 0 * flag + 1, 0 * flag]))


@pytest.fixture(scope="module")
def panel() -> Panel:
    return with_covariates(small_panel(1_200, priors=2, seed=2))


@pytest.fixture(scope="module")
def spec() -> GrowthSpec:
    return simex_spec(PLAIN, replicates=12, lambdas=[0.5, 1.5], sample_size=600)


@pytest.fixture(scope="module")
def alone(panel: Panel, spec: GrowthSpec) -> SimexGrowth:
    return simex_of(student_growth(panel, spec))


class TestRuns:
    """Threads, interruptions and progress change nothing."""

    def test_threads(self, panel: Panel, spec: GrowthSpec, alone: SimexGrowth) -> None:
        assert_same(simex_of(student_growth(panel, spec, n_jobs=2)), alone)

    @pytest.mark.parametrize("stop", [1, 3])
    def test_interrupted(
        self,
        panel: Panel,
        spec: GrowthSpec,
        alone: SimexGrowth,
        stop: int,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("growth.student.simex.curves.SAVED_EVERY", 0.0)
        told: list[str] = []

        def interrupted(label: str) -> None:
            told.append(label)
            if len(told) == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            student_growth(panel, spec, watch=interrupted, folder=tmp_path)
        done = 0
        for file in tmp_path.iterdir():  # one per lambda
            with np.load(file) as kept:
                done += int(kept["done"])
        assert done == stop
        told.clear()
        again = student_growth(panel, spec, watch=told.append, folder=tmp_path, n_jobs=2)
        assert_same(simex_of(again), alone)
        assert told == [f"lambda {lam}: {b} of 12" for lam in (0.5, 1.5) for b in (10, 12)]
        assert len(told) == len(spec.simex.lambdas) * len(blocks_of(spec.simex))

    def test_what_was_finished_is_not_computed_again(
        self,
        panel: Panel,
        spec: GrowthSpec,
        alone: SimexGrowth,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        student_growth(panel, spec, folder=tmp_path)
        monkeypatch.setattr(Stage, "add", None)
        assert_same(simex_of(student_growth(panel, spec, folder=tmp_path)), alone)
        with pytest.raises(TypeError):  # another choice or input: another file
            student_growth(panel, spec.replace({"simex.seed": 1}), folder=tmp_path)
        with pytest.raises(TypeError):
            student_growth(replace(panel, score=panel.score + 1.0), spec, folder=tmp_path)
        assert panel.csem is not None
        with pytest.raises(TypeError):
            student_growth(replace(panel, csem=panel.csem + 1.0), spec, folder=tmp_path)

    def test_a_damaged_file_is_computed_again(
        self, panel: Panel, spec: GrowthSpec, alone: SimexGrowth, tmp_path: Path
    ) -> None:
        student_growth(panel, spec, folder=tmp_path)
        file, *others = sorted(tmp_path.iterdir())
        assert len(others) == len(spec.simex.lambdas) - 1
        file.write_bytes(file.read_bytes()[:-200])
        assert_same(simex_of(student_growth(panel, spec, folder=tmp_path)), alone)

    def test_a_refit_does_not_depend_on_where_it_starts(self, panel: Panel, spec: GrowthSpec) -> None:
        """Coefficients are to the last bit those of a fit from scratch, and of one that starts elsewhere."""
        source = Draws.of(panel, spec.simex)
        process = fit_quantiles(spline_design(panel.priors, student_growth_bases(panel)), panel.score)
        stage = Stage.of(panel, spec, 1, np.stack([source(1, b) for b in range(4)]))
        rows = sample_rows(spec.simex, len(panel), 1, 3)
        assert rows is not None
        first = stage.first(process, None)
        second, _ = stage.refit(first, 1)
        warm, design = stage.refit(first, 3)
        scratch = fit_quantiles(design[rows], panel.score[rows])
        assert warm.warm
        np.testing.assert_array_equal(warm.coef, scratch.coef)
        np.testing.assert_array_equal(warm.coef, stage.refit(second, 3)[0].coef)

    def test_sums_are_those_of_predictions(self, panel: Panel) -> None:
        design = spline_design(panel.priors, student_growth_bases(panel))
        process = fit_quantiles(design, panel.score, [0.1, 0.4, 0.45, 0.5])
        sums = np.ones((len(panel), 4))
        process.add_curves(design, sums, digits=5)
        np.testing.assert_array_equal(sums, 1.0 + process.predict(design, digits=5))
        with pytest.raises(SpecError, match="shape"):
            process.add_curves(design, sums[:, :3])
        with pytest.raises(ColumnError, match="not finite"):
            process.add_curves(np.full_like(design, np.nan), sums)


class TestCorrection:
    def test_the_true_curves_come_nearer(self) -> None:
        """A student's median at the true prior: uncorrected curves are flattened, corrected ones less."""
        panel = small_panel(4_000, priors=1, seed=4, csem=35.0)
        spec = simex_spec(PLAIN, replicates=10)
        growth = student_growth(panel, spec)
        found = simex_of(growth)
        prior = panel.priors[:, 0]
        assert abs(np.corrcoef(prior, growth.percentile)[0, 1]) < 0.02
        assert np.corrcoef(prior, found.percentile)[0, 1] < -0.05
        assert found.sgp.std() > growth.sgp.std() + 0.5
        assert found.sgp_ranked.std() == pytest.approx(growth.sgp.std(), abs=0.3)
        assert np.corrcoef(found.percentile, found.percentile_ranked)[0, 1] > 0.98
        np.testing.assert_allclose(100 * found.percentile_ranked, found.sgp_ranked, atol=2.5)

    def test_without_error_nothing_is_corrected(self) -> None:
        panel = small_panel(800, priors=1, seed=4)
        exact = replace(panel, csem=np.zeros_like(panel.priors))
        growth = student_growth(
            exact, simex_spec(PLAIN, replicates=2).replace({"basis.knots_from": "cohort"})
        )
        found = simex_of(growth)
        np.testing.assert_array_equal(found.sgp, growth.sgp)
        np.testing.assert_allclose(found.percentile, growth.percentile, rtol=0, atol=1e-9)


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"simex.use": "simex"}, "needs the CSEM"),
            (ON | {"student.engine": "normal"}, "not 'normal'"),
            (ON | {"peers.composition": "two_step"}, "twice"),
            (ON | {"correction.loss_hoss": True, "scale.bounds": {"MATH": {"7": [0, 1]}}}, "loss_hoss"),
            (ON | {"quantiles.count": 50}, "100 taus"),
            (ON | {"simex.lambdas": [1.0, 0.5]}, "increase"),
            (ON | {"simex.lambdas": []}, "1 or more"),
            (ON | {"simex.lambdas": [1.0], "simex.extrapolation": "quadratic"}, "2 or more"),
            ({"simex.replicates": 5}, "without effect"),
            ({"school.percentile": "simex_ranked"}, "needs simex.use"),
            (
                ON
                | {"school.percentile": "simex_ranked", "school.aggregate": "mean_residual"}
                | {"school.standard_error": "pooled"},
                "is corrected, and the residuals .* are not",
            ),
        ],
    )
    def test_contradictions(self, changes: dict[str, object], message: str) -> None:
        with pytest.raises(SpecError, match=message):
            PLAIN.replace(changes)

    def test_unknown_csem(self) -> None:
        panel = replace(small_panel(100, priors=1, seed=1), csem=None)
        with pytest.raises(ColumnError, match="CSEM of prior scores is unknown"):
            student_growth(panel, simex_spec(PLAIN))

    def test_frozen_curves(self) -> None:
        panel = small_panel(100, priors=1, seed=1)
        process = student_growth(panel, PLAIN).process  # type: ignore[attr-defined]
        with pytest.raises(SpecError, match="holds no fits to perturbed scores"):
            student_growth(panel, simex_spec(PLAIN), process=process)

    def test_small_samples(self) -> None:
        with pytest.raises(SpecError, match="sample_size = 15 is too small for a model of 8 columns"):
            student_growth(small_panel(100, priors=1, seed=1), simex_spec(PLAIN, sample_size=15))

    def test_a_folder_for_priors_from_elsewhere(self, tmp_path: Path) -> None:
        panel = small_panel(100, priors=1, seed=1)
        process = student_growth(panel, PLAIN).process  # type: ignore[attr-defined]
        with pytest.raises(SpecError, match="give no folder"):
            corrected_curves(
                panel,
                process,
                np.zeros((100, 100)),
                simex_spec(PLAIN),
                perturbed=lambda level, b: panel.priors,
                folder=tmp_path,
            )


def small_panel(n: int, priors: int, seed: int, step: float = 1.0, csem: float = 22.0) -> Panel:
    """Draw scores in steps of `step` points, and priors with a CSEM that rises towards the ends."""
    rng = np.random.default_rng(seed)
    ability = rng.normal(2500, 80, n)
    errors = csem * (1 + ((ability[:, None] - 2500) / 250) ** 2) * np.ones(priors)
    observed = ability[:, None] + errors * rng.normal(size=(n, priors))
    score = ability + 20 + rng.normal(0, 40, n)
    return Panel(
        subject="MATH",
        grade=8,
        year=2025,
        pattern=Pattern(tuple(Prior("MATH", k, 8 - k) for k in range(1, priors + 1))),
        row=np.arange(n),
        score=step * np.round(score / step),
        priors=step * np.round(observed / step),
        covariates=np.empty((n, 0)),
        covariate_names=(),
        knot_scores=tuple((step * np.round(observed / step)).T),
        bounds=None,
        norm_group="",
        school=rng.integers(-1, 12, n),
        csem=errors,
    )


def with_covariates(panel: Panel) -> Panel:
    """Add a flag, its interaction with the prior, and two school means."""
    assert panel.school is not None
    flag = (np.arange(len(panel)) % 3 == 0).astype(float)
    prior = panel.priors[:, 0]
    columns = [flag, flag * prior, school_means(panel.school, prior), school_means(panel.school, flag)]
    names = ("flag", "flag:prior", PRIOR_MEAN, "school_mean:flag")
    return replace(panel, covariates=np.column_stack(columns), covariate_names=names)


def student_growth_bases(panel: Panel) -> list[SplineBasis]:
    return [SplineBasis.from_scores(prior) for prior in panel.priors.T]


def assert_same(found: SimexGrowth, expected: SimexGrowth) -> None:
    for name in ("sgp", "percentile", "sgp_ranked", "percentile_ranked", "place"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
