"""R parity on synthetic cohorts (fixtures/own, made by R's SGP 2.2-0.0 and quantreg 5.94): always run."""

from __future__ import annotations

import json

import golden
import naive
import numpy as np
import polars as pl
import pytest

from growth._types import FloatArray
from growth.quantile import SplineBasis, fit_quantiles, spline_design
from growth.student import student_growth
from growth.student.growth import percentile_cuts


@pytest.mark.parametrize(("cohort", "order"), golden.own_cohorts())
def test_cohorts(cohort: str, order: int) -> None:
    model = golden.own_model(cohort, order)
    growth = golden.check(model)
    interpolated = (np.abs(model.score[:, None] - model.design @ growth.process.coef.T) < 1e-6).sum(axis=0)
    stored = pl.read_parquet(golden.OWN / "objectives.parquet").filter(cohort=cohort, order=order).sort("tau")
    np.testing.assert_array_equal(interpolated, stored["n_interpolated"])
    assert (stored["n"] == len(model.ids)).all()
    assert (stored["p"] == model.design.shape[1]).all()


@pytest.mark.parametrize("cohort", sorted({name for name, _ in golden.own_cohorts()}))
def test_the_fullest_order_is_reported(cohort: str) -> None:
    students = pl.read_parquet(golden.OWN / "sgp_students.parquet").filter(cohort=cohort)
    by_id: dict[str, int] = {}
    for order in sorted(k for name, k in golden.own_cohorts() if name == cohort):
        model = golden.own_model(cohort, order)
        by_id |= dict(zip(model.ids, student_growth(model.panel, model.spec).sgp.tolist(), strict=True))
    assert [by_id[i] for i in students["student_id"]] == students["sgp"].to_list()


@pytest.mark.parametrize(("cohort", "order"), golden.own_cohorts()[:3])
def test_the_engine_agrees_with_the_twin(cohort: str, order: int) -> None:
    model = golden.own_model(cohort, order)
    assert model.coef is not None
    curves = naive.curves(model.design, model.coef, digits=5)
    np.testing.assert_array_equal(naive.sgp(curves, model.score), model.sgp)


def test_loss_and_hoss_matter_only_when_switched_on() -> None:
    """Scores at the ceiling get the highest of the tied percentiles; curves stay within the bounds."""
    on = golden.own_model("EDGE_LOSSHOSS_ON_MATH_G4", 1)
    off = golden.own_model("EDGE_LOSSHOSS_OFF_MATH_G4", 1)
    np.testing.assert_array_equal(on.score, off.score)
    assert on.bounds == (2340.0, 2580.0)
    top = on.score == 2580
    adjusted, plain = student_growth(on.panel, on.spec), student_growth(off.panel, off.spec)
    assert top.sum() > 20
    assert (adjusted.sgp[top] >= plain.sgp[top]).all()
    assert (adjusted.sgp[top] > plain.sgp[top]).any()
    np.testing.assert_array_equal(adjusted.process.coef, plain.process.coef)
    assert adjusted.expected.max() <= 2580 < plain.expected.max()
    assert (adjusted.percentile[top] < 1.0).all()


def test_heavy_ties_are_there() -> None:
    model = golden.own_model("EDGE_TIES20_MATH_G5", 2)
    assert np.unique(model.score).size < 30
    assert (model.score % 20 == 0).all()


def test_percentile_cuts() -> None:
    expected = pl.read_csv(golden.OWN / "percentile_cuts.csv", infer_schema_length=None)
    names = [c for c in expected.columns if c.startswith("percentile_cut_")]
    percentiles = tuple(int(name.rsplit("_", 1)[1]) for name in names)
    low, high = golden.own_knots()["knots_boundaries_used"]["MATH_2025_G5"]["panel"]["loss.hoss_5"]
    cuts: dict[str, list[float]] = {}
    for order in (1, 2):
        model = golden.own_model("MATH_2025_G5", order)
        panel = model.with_bounds((float(low), float(high)))
        found = percentile_cuts(student_growth(panel, model.spec), panel, percentiles, model.spec)
        cuts |= dict(zip(model.ids, found.tolist(), strict=True))
    got = np.array([cuts[i] for i in expected["student_id"]])
    np.testing.assert_array_equal(got, expected.select(names).to_numpy())


def own_scores(subject: str, grade: int, years: tuple[int, ...]) -> FloatArray:
    students = pl.read_csv(golden.OWN / "students.csv")
    rows = students.filter(pl.col("year").is_in(years), subject=subject, grade=grade)
    return rows["scale_score"].cast(pl.Float64).to_numpy()


@pytest.mark.parametrize(("cohort", "order"), [c for c in golden.own_cohorts() if "_2025_" in c[0]])
def test_knots_from_data(cohort: str, order: int) -> None:
    """All scores of the prior's grade in the years of the run before the current one, whoever has them."""
    subject, grade = cohort.split("_")[0], int(cohort[-1])
    years = (2024,) if grade == 4 else (2023, 2024)
    for k, basis in enumerate(golden.own_bases(cohort, order), start=1):
        assert SplineBasis.from_scores(own_scores(subject, grade - k, years)) == basis


@pytest.fixture(scope="module")
def baseline() -> tuple[SplineBasis, FloatArray, FloatArray, pl.DataFrame]:
    """MATH grade 4 in 2023 -> grade 5 in 2024 (knots from 2023), and the students scored with it in 2025."""
    students = pl.read_csv(golden.OWN / "students.csv").filter(
        pl.col("scale_score").is_not_null(), subject="MATH"
    )
    first = students.filter(year=2023, grade=4).select("student_id", prior="scale_score")
    pairs = students.filter(year=2024, grade=5).join(first, on="student_id").sort("student_id")
    (basis,) = golden.own_bases("BASELINE_MATH_G5", 1)
    assert SplineBasis.from_scores(own_scores("MATH", 4, (2023,))) == basis
    prior, score = (pairs[c].cast(pl.Float64).to_numpy() for c in ("prior", "scale_score"))
    later = pl.read_csv(golden.OWN / "baseline_students.csv").sort("student_id")
    return basis, prior, score, later


def test_a_frozen_baseline(baseline: tuple[SplineBasis, FloatArray, FloatArray, pl.DataFrame]) -> None:
    """Fit one cohort, keep coefficients and knots, place the next cohort: nothing is fitted again."""
    basis, prior, score, later = baseline
    design = spline_design(prior[:, None], [basis])
    process = fit_quantiles(design, score)
    objective = golden.own_objectives("BASELINE_MATH_G5", 1)
    np.testing.assert_allclose(process.objective, objective, rtol=golden.OBJECTIVE)
    table = golden.own_coefficients("BASELINE_MATH_G5", 1)
    np.testing.assert_allclose(process.coef, table, rtol=0, atol=golden.COEFFICIENT * np.abs(table).max())
    model = golden.given("BASELINE_MATH_G5", (basis,), later, "student_id", ["prior_1"], "scale_score")
    for used in (process, golden.frozen(table)):
        growth = student_growth(model.panel, model.spec, process=used)
        np.testing.assert_array_equal(growth.sgp, later["sgp_baseline"])
        assert growth.process is used
    # the same students against their own year: another answer, so the baseline was really used
    refitted = student_growth(model.panel, model.spec)
    assert (refitted.sgp != later["sgp_baseline"].to_numpy()).mean() > 0.3


def test_the_references_are_those_of_the_provenance() -> None:
    """Reference files are never edited by hand: each has the hash that its provenance gives."""
    import hashlib

    text = (golden.OWN / "PROVENANCE.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("|") and line.count("`") == 2]
    hashes = {cells[1].strip(): cells[5].strip(" `") for cells in rows}
    present = [name for name in hashes if (golden.OWN / name).exists()]
    assert {"sgp_students.parquet", "coefficients.parquet", "knots.json", "make.R"} <= set(present)
    for name in present:
        assert hashlib.sha256((golden.OWN / name).read_bytes()).hexdigest() == hashes[name], name
    assert json.loads((golden.OWN / "knots.json").read_text())["versions"]["SGP"] == "2.2.0.0"
