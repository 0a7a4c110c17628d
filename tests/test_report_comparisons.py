"""What stands beside a school's own result: similar schools, others told apart, districts, years."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from report_system import DISTRICTS, MadeRun, made_run

from growth.index import school_profiles
from growth.index.similarity import between, whiten
from growth.report import render_report, report_input
from growth.report.disclosure import publishable
from growth.report.results import Results, page_results
from growth.report.similar import NEAREST, similar_schools
from growth.school.comparison import compare_schools

SAME = 1e-9
"""Distances agree to rounding: two orders of adding up."""


@pytest.fixture(scope="module")
def run() -> MadeRun:
    return made_run(60, years=(2023, 2024, 2025))


@pytest.fixture(scope="module")
def results(run: MadeRun) -> Results:
    return page_results(report_input(run))


def test_schools_are_told_apart_as_compare_schools_does(run: MadeRun, results: Results) -> None:
    told = results.comparisons.told.filter(year=2024, subject="ELA")
    assert told.height > 50
    for school in ("S0004", "S0030", "S0059"):
        found = compare_schools(run.polars("schools"), school, subject="ELA", year=2024)
        above = int((found["different"] & (found["difference"] > 0)).sum())
        below = int((found["different"] & (found["difference"] < 0)).sum())
        row = told.row(by_predicate=pl.col("school_id") == school, named=True)
        assert (row["higher_than"], row["lower_than"]) == (above, below)
        assert row["same_as"] == found.height - above - below


def test_similar_schools_are_the_nearest_of_the_same_grades(run: MadeRun, results: Results) -> None:
    profiles = school_profiles(run.frames, run.spec)
    space = whiten(profiles.filter(pl.col("reason").is_null()), run.spec.pairing.ridge)
    everyone = np.arange(len(space))
    distance = between(space, everyone, everyone)
    distance[space.span[:, None] != space.span] = np.inf
    np.fill_diagonal(distance, np.inf)
    similar = results.comparisons.similar
    for at, school in enumerate(space.ids):
        own = similar.filter(school_id=school)
        nearest = np.argsort(distance[at], kind="stable")[:NEAREST]
        expected = [space.ids[other] for other in nearest if np.isfinite(distance[at, other])]
        assert own["other_id"].to_list() == expected
        assert own["distance"].to_list() == pytest.approx(distance[at, nearest[: len(expected)]], abs=SAME)


def test_signs_are_those_of_compare_schools(run: MadeRun, results: Results) -> None:
    similar = results.comparisons.similar.filter(school_id="S0030")
    for at, subject in enumerate(("ELA", "MATH")):
        among = similar["other_id"].to_list()
        found = compare_schools(run.polars("schools"), "S0030", subject=subject, among=among)
        signs = dict(similar.select("other_id", pl.col("verdicts").str.slice(at, 1)).iter_rows())
        for other, difference, different in found.select("school_id", "difference", "different").iter_rows():
            assert signs[other] == ("=" if not different else ">" if difference > 0 else "<")


def test_withheld_schools_are_similar_to_nobody(run: MadeRun, results: Results) -> None:
    small = {f"S{i:04d}" for i in range(4)}
    similar = results.comparisons.similar
    assert not small & (set(similar["school_id"]) | set(similar["other_id"]))
    intake = report_input(run).intake.filter(pl.col("school_id").is_in(small))
    assert intake["mean_prior"].null_count() == intake.height


def test_schools_without_differences_have_no_similar_ones(run: MadeRun) -> None:
    students = run.polars("students").with_columns(pl.lit(0.0).alias("prior_score"))
    same = [pl.lit(False).alias(name) for name in run.spec.groups.flags.values()]
    same.append(pl.lit("White").alias("race_ethnicity"))
    schools = ["S0030", "S0031"]
    parts = [
        students.filter(school_id="S0030").with_columns(pl.lit(one).alias("school_id")) for one in schools
    ]
    twins = pl.concat(parts).with_columns(same)
    _, similar = similar_schools({**run.frames, "students": twins}, run.spec)
    assert similar.is_empty()


def test_districts_add_up_published_results_only(run: MadeRun, results: Results) -> None:
    districts = results.comparisons.districts.filter(year=2025, subject="MATH")
    assert set(districts["district"]) == set(DISTRICTS)
    rows = run.polars("schools").filter(year=2025, subject="MATH", group="All").filter(pl.col("n") >= 20)
    place = pl.col("school_id").str.slice(1).cast(pl.Int64) % len(DISTRICTS)
    gp = pl.col("growth_percentile")
    for at, name in enumerate(DISTRICTS):
        own, line = rows.filter(place == at), districts.filter(district=name).row(0, named=True)
        assert (line["n"], line["schools"]) == (own["n"].sum(), own.height)
        assert line["above"] == own.filter(gp >= 70).height
        assert line["below"] == own.filter(gp < 30).height
        assert line["average"] == own.height - line["above"] - line["below"]


def test_districts_of_their_own_need_enough_students(run: MadeRun) -> None:
    frame = pl.DataFrame(
        {
            "year": pl.Series([2025, 2025], dtype=pl.Int32),
            "subject": "MATH",
            "group": "All",
            "district_id": list(DISTRICTS[:2]),
            "n": [900, 12],
            "growth_percentile": [61.0, 77.0],
            "growth_percentile_low": [50.5, 60.0],
            "growth_percentile_high": [70.0, 90.0],
            "reason": pl.Series([None, None], dtype=pl.String),
        }
    )
    found = page_results(replace(report_input(run), districts=frame)).comparisons.districts
    shown = found.filter(pl.col("growth_percentile").is_not_null())
    assert shown.select("district", "growth_percentile").rows() == [(DISTRICTS[0], 61.0)]


def test_trends_are_those_of_the_history(run: MadeRun, results: Results) -> None:
    history = results.comparisons.history
    expected = run.polars("history").filter(group="All")
    shown = expected.join(history, on=["subject", "school_id"], suffix="_page")
    assert shown.height == history.height > 100
    assert (shown["trend"] == shown["trend_page"]).all()
    before = (pl.col("year") == 2024) & (pl.col("school_id") == "S0030")
    rows = run.polars("schools").filter(~before | (pl.col("group") == "All"))
    few = rows.with_columns(pl.when(before).then(7).otherwise("n").alias("n"))
    kept = set(page_results(replace(report_input(run), schools=few)).comparisons.history["school_id"])
    assert set(history["school_id"]) - kept == {"S0030"}, "a trend tells of every year"


def test_last_years_level_is_shown_where_last_years_page_showed_it(run: MadeRun) -> None:
    schools, levels = run.polars("schools"), run.polars("levels")
    before = (pl.col("year") == 2024) & (pl.col("school_id") == "S0030") & (pl.col("group") == "All")
    own = (pl.col("year") == 2024) & (pl.col("school_id") == "S0030")
    few = schools.filter(~own | before)
    few = few.with_columns(pl.when(before).then(pl.lit(7)).otherwise("n").alias("n"))
    lenient = run.spec.replace({"school.min_n": 5, "groups.min_n": 5})
    key: dict[str, Any] = {"year": 2025, "subject": "MATH", "group": "All", "school_id": "S0030"}
    assert publishable(schools, levels, lenient).filter(**key)["level_last_year"].item() is not None
    assert publishable(few, levels, lenient).filter(**key)["level_last_year"].item() is None


def test_diagnostics_are_shown_as_they_came() -> None:
    run = made_run(12)
    frame = pl.DataFrame(
        {
            "title": ["Uniform percentiles", "<b>Ceiling</b>"],
            "verdict": ["ok", "problem"],
            "sentence": ["All is well.", "Many students at the last score."],
            "rule": ["look above 1", "look above 2"],
        }
    )
    page = render_report(run, verdicts=frame)
    assert page.index('<td class="judged">problem</td>') < page.index('<td class="judged">ok</td>')
    assert "2 checks of this run: 1 are in order" in page
    assert "&lt;b&gt;Ceiling" in page
    assert "<b>Ceiling" not in page
    assert 'id="diagnostics"' not in render_report(run)
