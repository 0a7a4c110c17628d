"""Pictures of a run, one call each: next year's projection, the system growth chart, the doors to all."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from index_cases import index_spec, perfect, types

from growth.audit import student_fan, student_projection
from growth.audit.again import reform
from growth.audit.ahead import curves_of, traits_of
from growth.audit.fan import FAN
from growth.errors import GrowthError
from growth.index import school_index
from growth.panel import SimulatedSystem, simulate_table
from growth.pipeline import GrowthRun, run
from growth.pipeline.drift import DriftAudit
from growth.plot import system_growth
from growth.plot.run import PICTURES
from growth.student import Traveller, growth_paths, path_at

SPEC = {
    "name": "small",
    "cohorts": {"min_cohort": 100, "other_priors": 1, "progressions": {"11": [8]}},
    "peers": {
        "flags": ["disability", "econ_disadvantaged"],
        "interactions": ["disability:prior"],
        "composition": "two_step",
        "schools_per_trait": 1,
    },
}
ROUNDED = 0.1
"""Fans are told to a tenth of a scale-score point."""


@pytest.fixture(scope="module")
def city() -> SimulatedSystem:
    return simulate_table(3_000, 12, years=1, seed=5)


@pytest.fixture(scope="module")
def real(city: SimulatedSystem) -> GrowthRun:
    return run(city.table, SPEC)


def _upper_ends(values: Any) -> list[float]:  # noqa: ANN401
    return [float(value) for value in path_at(values, [percentile + 1 for percentile in FAN])[0]]


def test_last_years_scores_projected_are_this_years_fan(city: SimulatedSystem, real: GrowthRun) -> None:
    """From what a student had a year ago, the curves of today's cohort lead to the fan of today."""
    again = reform(real, city.table)
    offsets = {
        row: (met.panel.offset[i], met.model.makeup.spread)
        for met in again
        for i, row in enumerate(met.panel.row)
        if met.panel.offset is not None and met.model.makeup is not None
    }
    frame = again.table.frame.with_row_index("row")
    scored = real.polars("students").filter(pl.col("highest") & pl.col("sgp").is_not_null())
    compared = 0
    for student_id in scored["student_id"].unique().sort().gather_every(scored.height // 8):
        fan = student_fan(real, student_id, city.table)
        own = frame.filter(pl.col("student_id") == student_id, pl.col("score").is_not_null())
        for here in fan.drop_nulls("p50").iter_rows(named=True):
            now = own.filter(subject=here["subject"], year=here["year"]).row(0, named=True)
            past = own.filter(pl.col("year") < here["year"])
            lag = here["year"] - past.filter(pl.col("subject") == here["subject"])["year"].max()
            scores = {
                (r["subject"], here["year"] - lag - r["year"], r["grade"]): np.array([r["score"]])
                for r in past.iter_rows(named=True)
            }
            offset, spread = offsets[now["row"]]
            shift = {here["subject"]: np.array([offset / spread])}
            traveller = Traveller(scores, **traits_of(now, real.spec.peers), shift=shift)
            steps = growth_paths(curves_of(real, here["year"]), traveller, real.spec)
            step = next(step for step in steps if step.subject == here["subject"])
            ends = [here[f"p{percentile}"] for percentile in FAN]
            np.testing.assert_allclose(_upper_ends(step), ends, rtol=0, atol=ROUNDED)
            assert step.grade == here["grade"]
            compared += 1
    assert compared >= 10


def test_the_school_keeps_its_make_up(city: SimulatedSystem, real: GrowthRun) -> None:
    """The projection of a fourth grader holds the offset of the fifth graders of the same school."""
    again = reform(real, city.table)
    fifth = next(met for met in again if met.panel.key == "MATH_2025_G5_own1_other1")
    assert fifth.panel.offset is not None
    assert np.ptp(fifth.panel.offset) > 1.0
    frame = again.table.frame
    schools = frame["school_id"].gather(fifth.panel.row)
    year = fifth.panel.year
    students = frame.filter(pl.col("score").is_not_null(), subject="MATH", grade=4, year=year)
    for row in students.unique("school_id", maintain_order=True).iter_rows(named=True):
        projected = student_projection(real, row["student_id"], city.table).filter(subject="MATH")
        own = frame.filter(pl.col("score").is_not_null(), student_id=row["student_id"], year=year)
        if own.height < 2:
            continue
        scores = {(r["subject"], 0, 4): np.array([r["score"]]) for r in own.iter_rows(named=True)}
        plain = Traveller(scores, **traits_of(row, real.spec.peers))
        steps = growth_paths(curves_of(real, year), plain, real.spec)
        step = next(step for step in steps if step.subject == "MATH")
        offset = fifth.panel.offset[(schools == row["school_id"]).arg_max()]
        expected = np.array(_upper_ends(step)) + offset
        found = [projected[f"p{percentile}"][0] for percentile in FAN]
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDED)
        assert projected.select("year", "grade", "reason").row(0) == (year + 1, 5, None)


def test_projections_say_why_there_are_none(city: SimulatedSystem, real: GrowthRun) -> None:
    students = real.polars("students").filter(pl.col("sgp").is_not_null())
    oldest = students.filter(grade=11)["student_id"][0]
    found = student_projection(real, oldest, city.table)
    assert found["p50"].null_count() == found.height >= 1
    assert "comes from grade 11" in found["reason"][0]
    with pytest.raises(GrowthError, match="latest year"):
        student_projection(real, "nobody", city.table)
    straight = run(city.table, {"cohorts": {"min_cohort": 100}, "student": {"engine": "residual_gain"}})
    young = students.filter(grade=5)["student_id"][0]
    assert "residual_gain" in student_projection(straight, young, city.table)["reason"][0]
    text = json.dumps(straight.plot.student(young, city.table, subject="MATH").to_dict())
    assert "No projection" in text
    assert young not in text


def test_a_base_years_curves_project_later_years() -> None:
    table = simulate_table(3_000, 12, years=2, seed=6).table
    spec = {"cohorts": {"min_cohort": 100, "other_priors": 1}}
    base = run(table.filter(pl.col("year") < 2025), spec)
    later = run(table, freeze=base.freeze())
    row = later.polars("students").filter(pl.col("sgp").is_not_null(), subject="MATH", grade=5)
    student_id = row["student_id"][0]
    projected = student_projection(later, student_id, table).filter(subject="MATH")
    assert projected.select("year", "cohort").row(0) == (2026, "MATH 2024, grade 6 (2 prior scores)")
    own = table.filter(pl.col("student_id") == student_id, pl.col("score").is_not_null())
    scores = {
        (r["subject"], 2025 - r["year"], r["grade"]): np.array([float(r["score"])])
        for r in own.iter_rows(named=True)
    }
    steps = growth_paths(base.curves.of_year(2024).cohorts, Traveller(scores), base.spec)
    ends = _upper_ends(next(step for step in steps if step.subject == "MATH"))
    np.testing.assert_allclose([projected[f"p{p}"][0] for p in FAN], ends, rtol=0, atol=ROUNDED)


def test_the_student_chart_has_history_fan_and_projection(city: SimulatedSystem, real: GrowthRun) -> None:
    pytest.importorskip("vl_convert", reason="charts need the extra: report")
    students = real.polars("students").filter(pl.col("sgp").is_not_null())
    student_id = students.filter(subject="MATH", grade=5)["student_id"][0]
    chart = real.plot.student(student_id, city.table, subject="MATH")
    text = json.dumps(chart.to_dict())
    year = real.polars("students")["year"].max()
    assert f"Grey, {year + 1}" in text
    assert "not a target" in re.sub(r'[",\s]+', " ", text)
    assert student_id not in text
    projected = student_projection(real, student_id, city.table).filter(subject="MATH")
    assert f"50th: {projected['p50'][0]:.0f}" in text
    with pytest.raises(GrowthError, match="no score in 'MATHS'; did you mean 'MATH'"):
        real.plot.student(student_id, city.table, subject="MATHS")
    both = real.plot.student(student_id, city.table).to_dict()
    assert len(both["vconcat"]) == 2


def test_the_system_chart_starts_in_the_middle_and_goes_on(city: SimulatedSystem, real: GrowthRun) -> None:
    found = system_growth(real, "MATH", city.table, start=40, flags=["disability"])
    now = pl.from_dataframe(city.table).filter(pl.col("score").is_not_null(), year=found.year)
    third = now.filter(grade=3)
    for subject, path in (("MATH", found.paths),):
        start = np.quantile(third.filter(subject=subject)["score"], 0.4)
        assert set(path.filter(grade=3)["score"]) == {start}
    for grade, n, *cuts in found.scores.iter_rows():
        scores = now.filter(subject="MATH", grade=grade)["score"]
        assert n == len(scores)
        np.testing.assert_allclose(cuts, np.quantile(scores, [0.1, 0.3, 0.5, 0.7, 0.9]))
    assert found.paths["grade"].unique().sort().to_list() == [3, 4, 5, 6, 7, 8, 11]
    assert found.paths.filter(grade=11)["ahead"].unique().to_list() == [8]
    for (_,), path in found.paths.group_by("grade"):
        assert path.sort("percentile")["score"].is_sorted()
    began = {
        (subject, 0, 3): np.array([np.quantile(third.filter(subject=subject)["score"], 0.4)])
        for subject in ("ELA", "MATH")
    }
    steps = growth_paths(
        curves_of(real, found.year), Traveller(began, frozenset({"disability"})), real.spec, steps=6
    )
    last = [step for step in steps if step.subject == "MATH"][-1]
    ends = found.paths.filter(grade=11).sort("percentile")["score"]
    np.testing.assert_array_equal(path_at(last, (10, 35, 50, 65, 90))[0], ends)


def test_the_system_chart_refuses_what_is_not_possible(city: SimulatedSystem, real: GrowthRun) -> None:
    text = json.dumps(real.plot.system("MATH", city.table).to_dict())
    assert "none of the flags" in text
    with pytest.raises(GrowthError, match="no subject 'MATHS'"):
        real.plot.system("MATHS", city.table)
    with pytest.raises(GrowthError, match=r"peers\.flags: disability"):
        real.plot.system("MATH", city.table, flags=["homeless"])
    for impossible in ({"start": 0}, {"start": 100}, {"percentiles": (0, 50)}, {"percentiles": ()}):
        with pytest.raises(GrowthError, match="whole numbers 1-99"):
            real.plot.system("MATH", city.table, **impossible)
    alone = run(city.table, {"cohorts": {"min_cohort": 100, "grades": [11], "progressions": {"11": [8]}}})
    text = json.dumps(alone.plot.system("MATH", city.table).to_dict())
    assert "of grade 8 who" in text


def test_every_picture_of_a_run_is_drawn(city: SimulatedSystem, real: GrowthRun) -> None:
    plot = real.plot
    assert all(hasattr(plot, name) and f".plot.{name}:" in repr(plot) for name in PICTURES)
    school = real.polars("schools").filter(pl.col("reason").is_null(), group="All", subject="MATH")
    charts = [plot.bubbles("MATH"), plot.caterpillar("MATH"), plot.levels("MATH"), plot.waterfall()]
    charts += [plot.chances(school["school_id"][0], "MATH"), plot.years(school["school_id"][0], "MATH")]
    assert all(chart.to_dict()["datasets"]["rows"] for chart in charts)
    with pytest.raises(GrowthError, match="year before"):
        plot.changes("MATH")


def test_pictures_of_an_index() -> None:
    rows = perfect("academic_performance", "chronic_absence", "suspension")
    found = school_index(pl.DataFrame(rows), index_spec(min_metrics=1), schools=types())
    bars = found.plot.schools().to_dict()
    assert sum(row["value"] for rows in bars["datasets"].values() for row in rows) == pytest.approx(
        found.index["index"][0]
    )
    assert found.index["index"][0] > 50
    text = json.dumps(found.plot.school("A").to_dict())
    possible = found.points["possible"].drop_nulls().sum()
    assert f"{found.index['index'][0]:.1f} of {possible:.0f} points" in text
    with pytest.raises(GrowthError, match="'B' has no points"):
        found.plot.school("B")
    with pytest.raises(GrowthError, match="no index of 2020"):
        found.plot.schools(2020)


def _audit(refitted: float | None) -> DriftAudit:
    levels = {"base": 5.5, "frozen": 7.0, "moving": 5.6, "refitted": refitted}
    system = pl.DataFrame([{"subject": "MATH"} | {f"mean_level_{name}": x for name, x in levels.items()}])
    means = {"mean_percentile": 56.0, "mean_percentile_refitted": None if refitted is None else 50.0}
    students = pl.DataFrame(
        [{"subject": "MATH", "grade": grade, "n": 300} | means for grade in (4, 5)],
        schema_overrides={"mean_percentile_refitted": pl.Float64},
    )
    return DriftAudit(pl.DataFrame(), system, students, ())


def test_pictures_of_a_drift_audit() -> None:
    rows = _data(_audit(5.4).plot.levels())
    assert [(row["low"], row["high"], row["change"]) for row in rows] == [
        (5.5, 7.0, 1.5),
        (7.0, 5.6, -1.4),
        (5.6, 5.4, -0.2),
    ]
    assert len(_data(_audit(None).plot.levels())) == 2
    assert len(_data(_audit(5.4).plot.students())) == 4
    assert {row["mean"] for row in _data(_audit(None).plot.students())} == {56.0}
    nobody = replace(_audit(None), students=_audit(None).students.clear())
    with pytest.raises(GrowthError, match="no student percentiles"):
        nobody.plot.students()


def _data(chart: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    (rows,) = chart.to_dict()["datasets"].values()
    return list(rows)
