"""Shares, districts, spans and composites through the whole street, the store and the page."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import growth
from growth.errors import ColumnError, GrowthError
from growth.panel import SimulatedSystem
from growth.pipeline.schema import mismatches
from growth.spec import GrowthSpec
from growth.store import load_run, save_run

CHANGES = {
    "cohorts.min_cohort": 0,
    "cohorts.progressions": {},
    "peers.flags": [],
    "peers.composition": "none",
    "school.composite": "results",
    "school.share": "enrolment",
    "school.by_span": True,
    "school.districts": "school_norm",
}


@pytest.fixture(scope="module")
def city() -> SimulatedSystem:
    return growth.simulate_table(2_500, 12, years=1, seed=3)


@pytest.fixture(scope="module")
def enrolment(city: SimulatedSystem) -> pl.DataFrame:
    """Return every student of the last year, a few of them in two schools, some in none."""
    table = pl.DataFrame(city.table)
    rows = table.filter(pl.col("year") == table["year"].max(), pl.col("school_id").is_not_null())
    whole = rows.unique("student_id", maintain_order=True).select("student_id", "year", "school_id")
    whole = whole.with_row_index("i").with_columns(district_id=pl.col("school_id").str.slice(0, 1))
    here = whole.filter(pl.col("i") % 10 > 0).with_columns(
        share=pl.when(pl.col("i") % 5 == 0).then(0.6).otherwise(1.0)
    )
    there = here.filter(pl.col("i") % 5 == 0).with_columns(
        school_id=pl.lit(whole["school_id"].mode().sort()[0]), share=pl.lit(0.4)
    )
    return pl.concat([here, there]).unique(["student_id", "school_id"]).drop("i")


@pytest.fixture(scope="module")
def result(city: SimulatedSystem, enrolment: pl.DataFrame) -> growth.GrowthRun:
    table = pl.DataFrame(city.table).with_columns(
        district_id=pl.col("school_id").cast(pl.String).str.slice(0, 1)
    )
    return growth.run(table, GrowthSpec.preset("core").replace(CHANGES), enrolment=enrolment)


def test_every_row_is_accounted_for_and_results_follow_enrolment(result: growth.GrowthRun) -> None:
    lost = result.polars("counts").filter(reason="no_enrolment")
    assert lost["excluded"].sum() > 50
    assert result.spans.equals(result.polars("spans"))
    assert set(result.polars("schools")["subject"]) == {"ELA", "MATH", "COMPOSITE"}
    assert result.polars("spans")["span"].null_count() == 0
    districts = result.polars("districts")
    assert "district_id" in districts.columns
    assert result.manifest["enrolment"]["sha256"]
    assert [wrong for name in ("spans", "districts") for wrong in mismatches(name, result.polars(name))] == []


def test_spans_do_not_repeat_rows_of_the_summary(city: SimulatedSystem) -> None:
    spec = GrowthSpec().replace({"groups.flags": {}, "groups.race": "", "school.norms_by": "span"})
    run = growth.run(city.table, spec)
    summary = run.summary()
    spread = run.polars("variance").filter(pl.col("schools") > 0, subject="MATH")
    assert spread.height > 1
    row = summary.row(by_predicate=pl.col("subject") == "MATH", named=True)
    assert summary["subject"].to_list() == ["ELA", "MATH"]
    mean = (spread["reliability"] * spread["schools"]).sum() / spread["schools"].sum()
    assert row["reliability"] == pytest.approx(mean, abs=0.005)


def test_it_is_stored_and_read_back(result: growth.GrowthRun, tmp_path: Path) -> None:
    save_run(result, tmp_path / "run")
    again = load_run(tmp_path / "run")
    assert list(again.frames) == list(result.frames)
    assert_frame_equal(again.polars("districts"), result.polars("districts"))
    growth.write_report(again, tmp_path / "page.html")
    assert "All subjects together" in (tmp_path / "page.html").read_text("utf-8")


def test_what_was_not_asked_for_says_how_to_ask(city: SimulatedSystem) -> None:
    plain = growth.run(city.table, {"groups": {"flags": {}, "race": ""}})
    with pytest.raises(GrowthError, match=r"school\.districts asks for it"):
        plain.polars("districts")
    with pytest.raises(GrowthError, match=r"cohorts\.years asks for it"):
        _ = plain.history


def test_several_years_have_a_history() -> None:
    city = growth.simulate_table(1_500, 8, years=2, seed=5)
    spec = GrowthSpec().replace({"groups.flags": {}, "groups.race": "", "cohorts.years": "all"})
    yearly = growth.run(city.table, spec)
    pooled = growth.run(city.table, spec.replace({"school.years": 3}))
    assert_frame_equal(pl.DataFrame(yearly.history), pooled.polars("history"))
    latest = pooled.polars("schools").filter(pl.col("year") == pl.col("year").max(), group="All")
    assert latest["years"].drop_nulls().unique().to_list() == [2]
    assert mismatches("history", yearly.polars("history")) == []


def test_a_share_column_is_read_and_checked(city: SimulatedSystem) -> None:
    table = pl.DataFrame(city.table)
    spec = GrowthSpec().replace({"school.share": "column", "groups.flags": {}, "groups.race": ""})
    with pytest.raises(ColumnError, match=r"'share' is missing.*needed by school"):
        growth.read_table(table, spec)
    with pytest.raises(ColumnError, match=r"'share' is blank or outside its range"):
        growth.read_table(table.with_columns(share=1.5), spec)
    read = growth.read_table(table.with_columns(share=pl.lit("0.5")), spec)
    assert read.frame.schema["share"] == pl.Float64
