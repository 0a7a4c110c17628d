"""R parity on the exemplar data of SGP 2.2-0.0: every cohort and order that the folder GROWTH_GOLDEN holds.

The folder is GPL-3 and not part of the repository. Cohorts are read from its files: files with more cohorts
test more. How each number comes about is stated in SGP_FACTS (sections 2 to 5 and 9).
"""

from __future__ import annotations

import re
from pathlib import Path

import golden
import numpy as np
import polars as pl
import pytest

from growth._types import FloatArray
from growth.quantile import SplineBasis
from growth.student import student_growth
from growth.student.growth import percentile_cuts

FOLDER = golden.golden_folder()
UNSET = [pytest.param("", id="GROWTH_GOLDEN is not set")]
MODELS = golden.golden_cohorts(FOLDER) if FOLDER else []
COHORTS = sorted({(cohort, knots) for cohort, knots, _ in MODELS})
MOST_PRIORS_OF_DEMO_BASELINE = 3


def cohorts_of(table: str) -> list[str]:
    if FOLDER is None or not (FOLDER / f"{table}.parquet").exists():
        return []
    return sorted(golden.golden_table(FOLDER, table)["COHORT"].unique())


def parts(cohort: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:EDGE_.*_)?(MATH|READ)_(?:\w+_)?G(\d+)", cohort)
    assert found, cohort
    return found[1], int(found[2])


def priors_of(order: int) -> list[str]:
    return [f"prior_{k}" for k in range(1, order + 1)]


@pytest.mark.parametrize("model", [pytest.param(m, id="-".join(map(str, m))) for m in MODELS] or UNSET)
def test_models(golden_folder: Path, model: tuple[str, str, int]) -> None:
    """Every integer SGP, objective, and comparable coefficient."""
    found = golden.golden_model(golden_folder, *model)
    stored = golden.golden_table(golden_folder, "objectives").filter(
        COHORT=model[0], KNOTS=model[1], ORDER=model[2]
    )
    assert len(found.objectives) > 0
    assert (stored["N"] == len(found.ids)).all()
    golden.check(found)


@pytest.mark.parametrize("cohort", [pytest.param(c, id="-".join(c)) for c in COHORTS] or UNSET)
def test_the_fullest_order_is_reported(golden_folder: Path, cohort: tuple[str, str]) -> None:
    students = golden.golden_table(golden_folder, "sgp_students").filter(COHORT=cohort[0], KNOTS=cohort[1])
    orders = [order for name, knots, order in MODELS if (name, knots) == cohort]
    for order in orders:
        model = golden.golden_model(golden_folder, *cohort, order)
        mine = students.filter(SGP_ORDER=order).sort("ID")
        assert mine["ID"].to_list() == [i for i, here in zip(model.ids, model.reported, strict=True) if here]
        np.testing.assert_array_equal(model.sgp[model.reported == 1], mine["SGP"])
    assert students["SGP_ORDER"].is_in(orders).all()


def cuts_of(folder: Path, cohort: str, knots: str, percentiles: tuple[int, ...]) -> dict[str, FloatArray]:
    subject, grade = parts(cohort)
    cuts: dict[str, FloatArray] = {}
    for name, kind, order in MODELS:
        if (name, kind) == (cohort, knots):
            model = golden.golden_model(folder, name, kind, order)
            panel = model.with_bounds(golden.demo_bounds(folder, subject, grade))
            found = percentile_cuts(student_growth(panel, model.spec), panel, percentiles, model.spec)
            cuts |= dict(zip(model.ids, found, strict=True))
    return cuts


def assert_same_cuts(folder: Path, expected: pl.DataFrame, cohort: str, knots: str) -> None:
    names = [c for c in expected.columns if c.startswith("PERCENTILE_CUT_")]
    percentiles = tuple(int(name.rsplit("_", 1)[1]) for name in names)
    cuts = cuts_of(folder, cohort, knots, percentiles)
    got = np.array([cuts[i] for i in expected["ID"]])
    np.testing.assert_array_equal(got, expected.select(names).to_numpy())
    assert len(cuts) == len(expected)


@pytest.mark.parametrize("cohort", cohorts_of("percentile_cuts_math_g5") or UNSET)
def test_percentile_cuts(golden_folder: Path, cohort: str) -> None:
    expected = golden.golden_table(golden_folder, "percentile_cuts_math_g5").filter(COHORT=cohort)
    assert_same_cuts(golden_folder, expected, cohort, "EDGE")


PIPELINE = [c for c in cohorts_of("pipeline_percentiles") if (c, "DEMO") in COHORTS]


@pytest.mark.parametrize("cohort", PIPELINE or UNSET)
def test_pipeline(golden_folder: Path, cohort: str) -> None:
    """The package's whole pipeline: students found by the membership rule, SGPs and percentile cuts."""
    expected = golden.golden_table(golden_folder, "pipeline_percentiles").filter(COHORT=cohort).sort("ID")
    subject, grade = parts(cohort)
    sgp: dict[str, int] = {}
    for name, knots, order in MODELS:
        if (name, knots) == (cohort, "DEMO"):
            stored = golden.golden_model(golden_folder, name, knots, order)
            members = golden.golden_members(golden_folder, subject, grade, order)
            model = golden.given(cohort, stored.bases, members, "ID", priors_of(order), "score")
            assert model.ids == stored.ids
            growth = student_growth(model.panel, model.spec)
            sgp |= dict(zip(model.ids, growth.sgp.tolist(), strict=True))
    assert sgp == dict(expected.select("ID", "SGP").rows())
    assert_same_cuts(golden_folder, expected, cohort, "DEMO")


# --- baseline-referenced: given coefficients on new students --------------------------------------------


@pytest.mark.parametrize("cohort", PIPELINE or UNSET)
def test_demo_baseline(golden_folder: Path, cohort: str) -> None:
    """The DEMO state's stored matrices of up to three priors, applied to 2025."""
    expected = golden.golden_table(golden_folder, "pipeline_percentiles").filter(COHORT=cohort).sort("ID")
    coefs = golden.golden_table(golden_folder, "baseline_demo_coefs")
    knots = golden.golden_json(golden_folder, "baseline_demo_knots")
    subject, grade = parts(cohort)
    area = golden.SUBJECTS[subject]
    sgp: dict[str, int] = {}
    for order in range(1, min(grade - 3, MOST_PRIORS_OF_DEMO_BASELINE) + 1):
        matrix = f"qrmatrix_{grade}_{order}"
        process = golden.frozen(
            golden.coefficients(coefs.filter(CONTENT_AREA=area, MATRIX=matrix), "VALUE", "TAU")
        )
        bases = golden.stored_bases(knots[f"{area}|{matrix}"], grade, order)
        members = golden.golden_members(golden_folder, subject, grade, order)
        model = golden.given(cohort, bases, members, "ID", priors_of(order), "score")
        growth = student_growth(model.panel, model.spec, process=process)
        sgp |= dict(zip(model.ids, growth.sgp.tolist(), strict=True))
    assert sgp == {i: int(v) for i, v in expected.select("ID", "SGP_BASELINE").rows()}


BASELINES = cohorts_of("baseline_super_students")


def baseline_orders(folder: Path, cohort: str) -> list[int]:
    coefs = golden.golden_table(folder, "baseline_super_coefs").filter(COHORT=cohort, METHOD="br")
    return sorted(coefs["ORDER"].unique())


@pytest.mark.parametrize("cohort", BASELINES or UNSET)
def test_super_baseline(golden_folder: Path, cohort: str) -> None:
    """Matrices of the stacked cohorts 2021 to 2024: fitted here, and as given, both applied to 2025."""
    subject, grade = parts(cohort)
    students = golden.golden_table(golden_folder, "baseline_super_students").filter(COHORT=cohort).sort("ID")
    coefs = golden.golden_table(golden_folder, "baseline_super_coefs").filter(COHORT=cohort, METHOD="br")
    objectives = golden.golden_table(golden_folder, "baseline_super_objectives").filter(COHORT=cohort)
    reported: dict[str, int] = {}
    for order in baseline_orders(golden_folder, cohort):
        bases = demo_bases(golden_folder, subject, grade, order)
        table = golden.coefficients(coefs.filter(ORDER=order), "VALUE", "TAU")
        stacked = pl.concat(
            golden.golden_members(golden_folder, subject, grade, order, year)
            for year in range(2021 + order, 2025)
        )
        base = golden.given(cohort, bases, stacked, "ID", priors_of(order), "score")
        fitted = student_growth(base.panel, base.spec).process
        stored = objectives.filter(ORDER=order).sort("TAU")
        assert (stored["N"] == len(base.ids)).all()
        np.testing.assert_allclose(fitted.objective, stored["OBJECTIVE"], rtol=golden.OBJECTIVE)
        members = golden.golden_members(golden_folder, subject, grade, order)
        model = golden.given(cohort, bases, members, "ID", priors_of(order), "score")
        name = f"SGP_BASELINE_ORDER_{order}"
        expected = students.drop_nulls(name)
        assert expected["ID"].to_list() == list(model.ids)
        for process in (golden.frozen(table), fitted):
            growth = student_growth(model.panel, model.spec, process=process)
            np.testing.assert_array_equal(growth.sgp, expected[name].cast(pl.Int64))
        reported |= dict(zip(model.ids, growth.sgp.tolist(), strict=True))
    assert reported == dict(students.select("ID", "SGP_BASELINE").rows())


def demo_bases(folder: Path, subject: str, grade: int, order: int) -> tuple[SplineBasis, ...]:
    state = golden.golden_json(folder, "knots_boundaries")["demo_state_knots_boundaries"]
    mine = state[golden.SUBJECTS[subject]]
    return golden.stored_bases({"knots": mine, "boundaries": mine}, grade, order)


# --- knots from data ------------------------------------------------------------------------------------

COMPUTED = [c for c in COHORTS if c[1] == "DATA_FULLPANEL"]


@pytest.mark.parametrize("cohort", [pytest.param(c, id="-".join(c)) for c in COMPUTED] or UNSET)
def test_knots_from_data(golden_folder: Path, cohort: tuple[str, str]) -> None:
    """Scores of the prior's grade in all retained panels but the last, whatever the student's path."""
    name, knots = cohort
    subject = name.split("_")[0]
    table = "panel_sgpdata" if subject == "SGPDATA" else f"panel_{golden.SUBJECTS[subject].lower()}"
    wide = golden.golden_table(golden_folder, table)
    most = max(order for c, k, order in MODELS if (c, k) == cohort)
    model = golden.golden_model(golden_folder, name, knots, most)
    long = pl.concat(
        wide.select(grade=f"GRADE_{year}", score=pl.col(f"SS_{year}").cast(pl.Float64))
        for year in range(2025 - most, 2025)
    )
    for lag, basis in enumerate(model.bases, start=1):
        scores = long.filter(grade=model.grade - lag).drop_nulls()["score"].to_numpy()
        assert SplineBasis.from_scores(scores) == basis
