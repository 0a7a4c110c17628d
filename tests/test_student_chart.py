"""The student growth chart: the fan is where the engine's own percentiles change."""

from __future__ import annotations

import json

import polars as pl
import pytest

from growth.audit import student_fan
from growth.audit.fan import FAN
from growth.errors import GrowthError
from growth.panel import SimulatedSystem, simulate_table
from growth.pipeline import GrowthRun, run
from growth.report import student_chart

SPEC = {"name": "small", "cohorts": {"min_cohort": 100}, "peers": {"flags": ["disability"]}}


@pytest.fixture(scope="module")
def city() -> SimulatedSystem:
    return simulate_table(3_000, 12, years=1, seed=5)


@pytest.fixture(scope="module")
def real(city: SimulatedSystem) -> GrowthRun:
    return run(city.table, SPEC)


def test_a_score_lies_in_the_fan_where_its_percentile_says(city: SimulatedSystem, real: GrowthRun) -> None:
    students = real.polars("students").filter(pl.col("highest") & pl.col("sgp").is_not_null())
    for row in students.gather_every(students.height // 12).iter_rows(named=True):
        fan = student_fan(real, row["student_id"], city.table)
        here = fan.filter(subject=row["subject"], year=row["year"]).row(0, named=True)
        assert (here["score"], here["sgp"]) == (row["score"], row["sgp"])
        ends = [here[f"p{percentile}"] for percentile in FAN]
        assert ends == sorted(ends)
        for percentile, end in zip(FAN, ends, strict=True):
            if row["sgp"] != percentile:
                assert (row["score"] > end) == (row["sgp"] > percentile)


def test_years_without_a_result_have_a_score_and_no_fan(city: SimulatedSystem, real: GrowthRun) -> None:
    row = (
        real.polars("students")
        .filter(pl.col("sgp").is_not_null() & (pl.col("grade") == 5))
        .row(0, named=True)
    )
    fan = student_fan(real, row["student_id"], city.table)
    before = fan.filter((pl.col("subject") == row["subject"]) & (pl.col("year") < row["year"]))
    assert before.height >= 1
    assert before["p50"].null_count() == before["sgp"].null_count() == before.height
    assert before["score"].null_count() == 0
    with pytest.raises(GrowthError, match="No student"):
        student_fan(real, "nobody", city.table)


def test_the_chart_draws_scores_and_wedges(city: SimulatedSystem, real: GrowthRun) -> None:
    vl_convert = pytest.importorskip("vl_convert", reason="charts need the extra: report")
    row = real.polars("students").filter(pl.col("sgp").is_not_null()).row(0, named=True)
    fan = student_fan(real, row["student_id"], city.table)
    chart = student_chart(fan, row["subject"])
    text = json.dumps(chart.to_dict())
    assert row["student_id"] not in text
    assert f"percentile {row['sgp']}, interval not known" in text
    known = fan.with_columns(sgp_low=pl.col("sgp") - 5, sgp_high=pl.col("sgp") + 7)
    chart = student_chart(known, row["subject"])
    assert f"percentile {row['sgp']}, interval {row['sgp'] - 5}–{row['sgp'] + 7}" in str(chart.to_dict())
    assert vl_convert.vegalite_to_svg(text).count("mark-area") >= 2
