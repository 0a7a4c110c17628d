"""Shares, composites, several years, grade spans and districts, on cases that can be done by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from school_results import plain_spec, results, system
from scipy.stats import trim_mean

from growth.errors import ColumnError, SpecError
from growth.school import (
    Enrolment,
    Norms,
    SchoolGrowth,
    district_growth,
    read_enrolment,
    school_growth,
    span_growth,
)
from growth.spec import GrowthSpec

ROUNDING = 1e-12
"""Relative; the same formula in another order."""
BOOTSTRAP_NOISE = 0.15
"""Relative; the SD of 400 samples has an SE of 4 %, and schools are averaged only roughly."""


def of(growth: SchoolGrowth, **where: object) -> dict[str, Any]:
    found = growth.frame.filter(group="All").filter(**where)
    assert found.height == 1
    return found.row(0, named=True)


def enrolled(*rows: tuple[int, int, float]) -> Enrolment:
    """Return the enrolment of students (number, school, share) in 2025."""
    return read_enrolment(
        pl.DataFrame(
            {
                "student_id": [f"{row[0]:07d}" for row in rows],
                "year": [2025] * len(rows),
                "school_id": [f"{row[1]:04d}" for row in rows],
                "share": [row[2] for row in rows],
            }
        )
    )


def test_a_student_in_two_schools_counts_by_share() -> None:
    data = results([0.2, 0.6, 0.9], [1, 1, 2])
    places = enrolled((0, 1, 1.0), (1, 1, 0.25), (1, 2, 0.75), (2, 2, 0.5))
    growth = school_growth(data, plain_spec(school__share="enrolment"), enrolment=places)
    first, second = of(growth, school_id="0001"), of(growth, school_id="0002")
    assert (first["n"], second["n"]) == (2, 2)
    np.testing.assert_allclose(first["mean_percentile"], (20 + 0.25 * 60) / 1.25, ROUNDING)
    np.testing.assert_allclose(second["mean_percentile"], (0.75 * 60 + 0.5 * 90) / 1.25, ROUNDING)
    np.testing.assert_allclose(first["n_effective"], 1.25**2 / (1 + 0.25**2), ROUNDING)
    assert (first["median_percentile"], second["median_percentile"]) == (20.0, 60.0)


def test_shares_of_one_are_no_shares() -> None:
    data = system()
    places = read_enrolment(
        data.select("student_id", "year", "school_id", pl.lit(1.0).alias("share")).sample(
            fraction=1.0, shuffle=True, seed=1
        )
    )
    spec = GrowthSpec()
    shared = school_growth(data, spec.replace({"school.share": "enrolment"}), enrolment=places)
    assert_frame_equal(shared.frame, school_growth(data, spec).frame)
    column = school_growth(data.with_columns(share=1.0), spec.replace({"school.share": "column"}))
    assert_frame_equal(column.frame, shared.frame)


def test_results_without_enrolment_are_counted_out() -> None:
    data = results([0.2, 0.6, 0.9], [1, 1, 2])
    places = enrolled((0, 1, 1.0), (2, 2, 1.0), (9, 2, 1.0))
    growth = school_growth(data, plain_spec(school__share="enrolment"), enrolment=places)
    line = growth.counts.filter(step="has_school").row(0, named=True)
    assert (line["rows"], line["excluded"], line["reason"]) == (2, 1, "no_enrolment")
    assert growth.frame["n"].to_list() == [1, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, 1, 0.0)], "outside its range"),
        ([(0, 1, float("nan"))], "outside its range"),
        ([(0, 1, 0.6), (0, 2, 0.6)], "more than 1"),
        ([(0, 1, 0.4), (0, 1, 0.4)], "more than once"),
    ],
)
def test_impossible_enrolment_is_refused(rows: list[tuple[int, int, float]], message: str) -> None:
    with pytest.raises(ColumnError, match=message):
        enrolled(*rows)


def test_enrolment_is_given_exactly_when_asked_for() -> None:
    with pytest.raises(ColumnError, match="'share' is missing"):
        read_enrolment(pl.DataFrame({"student_id": ["1"], "year": [2025], "school_id": ["1"]}))
    with pytest.raises(SpecError, match="go together"):
        school_growth(results([0.5], [1]), plain_spec(school__share="enrolment"))
    with pytest.raises(SpecError, match="go together"):
        school_growth(results([0.5], [1]), plain_spec(), enrolment=enrolled((0, 1, 1.0)))
    with pytest.raises(SpecError, match="who counts where"):
        plain_spec(school__share="enrolment", school__enrolled_only=True)


def test_a_trimmed_mean_and_its_error() -> None:
    rng = np.random.default_rng(4)
    data = results(rng.random(60), np.repeat([1, 2, 3], 20))
    growth = school_growth(data, plain_spec(school__aggregate="trimmed_mean", school__trim=0.2))
    values = 100 * data["percentile"].to_numpy().reshape(3, 20)
    for school, own in enumerate(values, start=1):
        effect = of(growth, school_id=f"{school:04d}")["effect"]
        np.testing.assert_allclose(effect, trim_mean(own, 0.2), ROUNDING)
    ordered = np.sort(values, axis=1)
    winsorised = np.clip(ordered, ordered[:, 4:5], ordered[:, 15:16])
    pooled = np.sqrt(winsorised.var(axis=1, ddof=1).mean())
    np.testing.assert_allclose(growth.frame["effect_se"], pooled / 0.6 / np.sqrt(20), ROUNDING)


@pytest.mark.parametrize("scale", ["points", "cohort_sd"])
def test_mean_residuals(scale: str) -> None:
    rng = np.random.default_rng(5)
    cohort = np.tile(["G4", "G5"], 30)
    residual = rng.standard_normal(60) * np.where(cohort == "G4", 10.0, 40.0)
    spread = np.where(cohort == "G4", 11.0, 39.0)
    data = results(rng.random(60), np.repeat([1, 2, 3], 20), residual=residual, residual_sd=spread)
    spec = plain_spec(school__aggregate="mean_residual", school__residual_scale=scale)
    found = school_growth(data, spec).frame
    values = residual / (spread if scale == "cohort_sd" else 1.0)
    np.testing.assert_allclose(found["effect"], values.reshape(3, 20).mean(axis=1), ROUNDING, 1e-12)
    pooled = np.sqrt(values.reshape(3, 20).var(axis=1, ddof=1).mean())
    np.testing.assert_allclose(found["effect_se"], pooled / np.sqrt(20), ROUNDING)
    np.testing.assert_allclose(
        found["mean_percentile"], 100 * data["percentile"].to_numpy().reshape(3, 20).mean(1), ROUNDING
    )
    with pytest.raises(ColumnError, match="'residual' is missing"):
        school_growth(data.drop("residual"), spec)


def two_subjects(schools: int, n: int, correlation: float, seed: int, effect_sd: float = 0.0) -> pl.DataFrame:
    """Return percentiles of n students per school whose two subjects are correlated within schools."""
    from scipy.special import ndtr

    rng = np.random.default_rng(seed)
    common, effect = rng.standard_normal(schools * n), effect_sd * rng.standard_normal(schools)
    school = np.repeat(np.arange(schools), n)
    parts = []
    for subject in ("ELA", "MATH"):
        own = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.standard_normal(schools * n)
        parts.append(results(ndtr(own + effect[school]), school, subject=subject))
    return pl.concat(parts)


def test_a_composite_is_the_mean_over_subjects_and_students_count_once() -> None:
    data = pl.concat(
        [results([0.2, 0.4, 0.9], [1, 1, 2], subject="ELA"), results([0.6], [1], subject="MATH")]
    )
    by_result = school_growth(data, plain_spec(school__composite="results"))
    by_subject = school_growth(data, plain_spec(school__composite="subjects"))
    place = {"school_id": "0001", "subject": "COMPOSITE"}
    assert of(by_result, **place)["n"] == 2
    np.testing.assert_allclose(of(by_result, **place)["effect"], 40.0, ROUNDING)
    np.testing.assert_allclose(of(by_subject, **place)["effect"], (30 + 60) / 2, ROUNDING)
    assert of(by_subject, subject="ELA", school_id="0001")["effect"] == pytest.approx(30.0, rel=ROUNDING)
    assert {norm.subject for norm in by_result.norms} == {"ELA", "COMPOSITE"}
    with pytest.raises(SpecError, match="COMPOSITE"):
        school_growth(data.with_columns(subject=pl.lit("COMPOSITE")), plain_spec(school__composite="results"))


@pytest.mark.parametrize("rule", ["pooled", "own", "bootstrap"])
@pytest.mark.parametrize("aggregate", ["mean", "median"])
def test_the_error_of_a_composite_knows_that_students_are_in_both_subjects(rule: str, aggregate: str) -> None:
    """Stated SEs equal the SD of composites of schools that do not differ; independent ones would not."""
    schools = 600 if rule != "bootstrap" else 200
    data = two_subjects(schools, 30, 0.7, seed=6)
    spec = plain_spec(
        school__composite="results",
        school__standard_error=rule,
        school__aggregate=aggregate,
        school__replicates=100,
    )
    frame = school_growth(data, spec).frame.filter(subject="COMPOSITE")
    stated, real = np.sqrt((frame["effect_se"] ** 2).mean()), float(frame["effect"].std())
    # Monte-Carlo error of an SD over 600 (200) schools: 3 % (5 %); the bootstrap of a median runs 5 % high.
    assert abs(stated / real - 1) < (0.09 if rule != "bootstrap" else 0.18)
    alone = frame["n"].to_numpy() * 2
    assert (frame["n_effective"].to_numpy() < 0.75 * alone).all()


def test_correlation_within_students_is_estimated_without_bias_in_small_schools() -> None:
    from growth.school.inputs import school_inputs
    from growth.school.summaries import pooled, summarise_rows

    found = []
    for seed in range(40):
        data = two_subjects(60, 4, 0.5, seed)
        spec = plain_spec(school__composite="results")
        inputs = school_inputs(data, spec)
        of_all = inputs.placement.units["subject"].to_list().index("COMPOSITE")
        rows = inputs.rows.part(slice(of_all, of_all + 60))
        summary = summarise_rows(rows, spec.school)
        one = pooled(summary.sums, summary.of_mean)
        found.append((one.variance, one.variance * one.correlation))
    truth = 1e4 / 12 * np.array([1.0, 6 / np.pi * np.arcsin(0.25)])  # Spearman's rho of a normal copula
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(mean - truth) < 3 * error).all()


def test_three_years_are_weighted_by_students() -> None:
    years = [
        results([p] * n, [1] * n, year=y) for p, n, y in [(0.2, 2, 2023), (0.5, 1, 2024), (0.8, 3, 2025)]
    ]
    other = [results([0.5, 0.6], [2, 2], year=y) for y in (2023, 2025)]
    other += [results([0.1], [3], year=y) for y in (2023, 2024, 2025)]
    growth = school_growth(pl.concat([*years, *other]), plain_spec(school__years=3))
    found = growth.frame.filter(school_id="0001")
    assert found["years"].to_list() == [1, 2, 3]
    # ids repeat over the years: 3 students
    assert found["n"].to_list() == [2, 2, 3]
    expected = [20, (2 * 20 + 50) / 3, (2 * 20 + 50 + 3 * 80) / 6]
    np.testing.assert_allclose(found["effect"], expected, ROUNDING)
    assert growth.frame.filter(school_id="0002")["year"].to_list() == [2023, 2025]  # none of a missing year


def test_a_year_without_results_has_none_of_the_years_before() -> None:
    rows = pl.concat([results([0.4, 0.7], [school, school], year=2024) for school in (1, 2, 3)])
    latest = results([0.4, 0.5, 0.6], [1, 2, 3], year=2025)
    latest = latest.with_columns(
        status=pl.when(school_id="0003").then(pl.lit("no_prior")).otherwise("status"),
        student_id=pl.lit("9") + pl.col("student_id"),
    )
    found = school_growth(pl.concat([rows, latest]), plain_spec(school__years=3)).frame.filter(year=2025)
    assert found["n"].to_list() == [3, 3, 0]
    assert found["reason"].to_list() == [None, None, "n_below_minimum"]


def graded() -> pl.DataFrame:
    rng = np.random.default_rng(7)
    school = rng.integers(1, 13, size=600)
    grade = np.where(school <= 6, rng.integers(3, 6, size=600), rng.integers(6, 9, size=600))
    grade = np.where(school == 1, rng.choice([5, 6], p=[0.7, 0.3], size=600), grade)
    value = np.clip(rng.random(600) + 0.05 * (school - 6), 0.001, 0.999)
    return results(value, school, grade=grade, district_id=[f"D{s % 3}" for s in school])


def test_schools_are_ranked_within_their_span() -> None:
    data = graded()
    growth = school_growth(data, plain_spec(school__norms_by="span", school__shrinkage="empirical_bayes"))
    assert growth.frame.sort("school_id")["span"].to_list() == ["elementary"] * 6 + ["middle"] * 6
    for _, rows in growth.frame.group_by("span"):
        ranks = rows.sort("shrunk")["growth_percentile"].to_numpy()
        np.testing.assert_allclose(ranks, 100 * (np.arange(6) + 0.5) / 6, ROUNDING)
        alone = school_growth(
            data.filter(pl.col("school_id").is_in(rows["school_id"].to_list())),
            plain_spec(school__shrinkage="empirical_bayes"),
        )
        columns = ["school_id", "effect", "shrunk", "growth_percentile"]
        assert_frame_equal(rows.select(columns).sort("school_id"), alone.frame.select(columns))
    again = school_growth(
        data,
        plain_spec(school__norms_by="span", school__shrinkage="empirical_bayes"),
        norms=Norms.from_dict(growth.norms.to_dict()),
    )
    middle = again.frame.filter(span="middle")["growth_percentile"]
    assert abs(middle.mean() - 50) < 10  # among middle schools; among all it would be above 70


def test_a_column_can_name_the_span() -> None:
    data = graded().with_columns(kind=pl.when(pl.col("school_id") > "0004").then(pl.lit("x")).otherwise(None))
    growth = school_growth(data, plain_spec(school__norms_by="span", school__span_column="kind"))
    astray = growth.frame.filter(pl.col("school_id") <= "0004")
    assert astray["reason"].to_list() == ["no_span"] * 4
    assert astray["growth_percentile"].null_count() == 4
    assert growth.frame.filter(pl.col("school_id") > "0004")["span"].to_list() == ["x"] * 8


def test_results_by_grade_span() -> None:
    growth = span_growth(graded(), plain_spec(school__by_span=True))
    assert growth.frame.height == 13  # one school has both spans
    both = growth.frame.filter(school_id="0001")
    assert both["span"].to_list() == ["elementary", "middle"]
    whole = school_growth(graded(), plain_spec()).frame.filter(school_id="0001")
    assert both["n"].sum() == whole["n"].item()
    np.testing.assert_allclose((both["n"] * both["effect"]).sum(), whole["n"] * whole["effect"], ROUNDING)


def test_districts() -> None:
    data = graded()
    own = district_growth(data, plain_spec(school__districts="own_norm"))
    assert own.frame.columns[3] == "district_id"
    expected = data.group_by("district_id").agg(pl.col("percentile").mean() * 100).sort("district_id")
    np.testing.assert_allclose(own.frame["effect"], expected["percentile"], ROUNDING)
    assert sorted(own.frame["growth_percentile"].to_list()) == pytest.approx([100 / 6, 50, 500 / 6])
    spec = plain_spec(school__districts="school_norm")
    norms = school_growth(data, spec).norms
    among = district_growth(data, spec, norms=norms)
    np.testing.assert_array_equal(
        among.frame["growth_percentile"], next(iter(norms)).rank(among.frame["effect"].to_numpy())
    )
    with pytest.raises(SpecError, match="go together"):
        district_growth(data, spec)


def test_two_schools_of_one_district_are_one_place() -> None:
    data = results([0.2, 0.6], [1, 2], district_id=["D", "D"])
    places = Enrolment(
        enrolled((0, 1, 0.5), (0, 2, 0.5), (1, 2, 1.0)).frame.with_columns(district_id=pl.lit("D")), ""
    )
    growth = district_growth(
        data, plain_spec(school__share="enrolment", school__districts="own_norm"), enrolment=places
    )
    row = growth.frame.row(0, named=True)
    assert (row["n"], row["reason"]) == (2, "no_reference")


@pytest.mark.parametrize("aggregate", ["mean", "median", "trimmed_mean"])
def test_students_drawn_again_give_the_analytic_error(aggregate: str) -> None:
    rng = np.random.default_rng(8)
    data = results(rng.random(40 * 60), np.repeat(np.arange(40), 60))
    spec = plain_spec(school__aggregate=aggregate, school__replicates=400)
    drawn = school_growth(data, spec.replace({"school.standard_error": "bootstrap"})).frame["effect_se"]
    stated = school_growth(data, spec).frame["effect_se"]
    assert abs(drawn.mean() / stated.mean() - 1) < BOOTSTRAP_NOISE
    again = school_growth(
        data.sample(fraction=1.0, shuffle=True, seed=1), spec.replace({"school.standard_error": "bootstrap"})
    )
    np.testing.assert_array_equal(again.frame["effect_se"], drawn)


@pytest.mark.parametrize(
    "changes",
    [
        {"school.standard_error": "sgp", "school.composite": "results"},
        {"school.standard_error": "sgp", "school.years": 3},
        {"school.residual_scale": "cohort_sd"},
        {"school.aggregate": "mean_residual", "school.composite": "results"},
        {"school.span_column": "kind"},
        {"school.spans": {"low": [3, 6], "high": [6, 8]}},
        {"school.spans": {}},
    ],
)
def test_choices_that_contradict_each_other_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        GrowthSpec().replace(changes)


def test_the_order_of_rows_changes_nothing() -> None:
    data = pl.concat(
        [two_subjects(30, 25, 0.6, 9).with_columns(year=pl.lit(y, pl.Int32)) for y in (2024, 2025)]
    )
    spec = plain_spec(school__composite="subjects", school__years=3, school__shrinkage="empirical_bayes")
    shuffled = data.sample(fraction=1.0, shuffle=True, seed=2)
    assert_frame_equal(school_growth(data, spec).frame, school_growth(shuffled, spec).frame, check_exact=True)
