"""The report of a real run: what the pipeline hands back is what the page takes."""

from __future__ import annotations

import json
import re

import polars as pl
import pytest

from growth.panel import simulate_table
from growth.pipeline import GrowthRun, run
from growth.release.published import shown_results
from growth.report import render_report
from growth.report.inputs import RunLike

SPEC = {"name": "small", "cohorts": {"own_priors": 1, "min_cohort": 100}, "peers": {"flags": ["disability"]}}


@pytest.fixture(scope="module")
def real() -> GrowthRun:
    return run(simulate_table(4_000, 20, years=1, seed=5).table, SPEC)


def test_a_run_is_what_the_report_asks_for(real: GrowthRun) -> None:
    assert isinstance(real, RunLike)


def test_the_page_shows_the_run_and_none_of_its_students(real: GrowthRun) -> None:
    page = render_report(real)
    ids = set(real.polars("students")["student_id"])
    assert len(ids) > 2_000
    assert not ids & set(re.findall(r"\w+", page))
    data = json.loads(page.split('id="data">', 1)[1].split("</script>", 1)[0])
    schools = real.polars("schools")
    told = shown_results(schools, real.spec).filter("shown")
    everyone = schools.filter(pl.col("group") == "All")
    shown = everyone.filter(pl.col("reason").is_null())
    assert len(data["rows"]["n"]) == told.filter(pl.col("group") != "All").height + everyone.height
    assert len(data["rows"]["gp"]) == schools.join(told, on=told.columns[:-1])["reason"].null_count()
    assert set(data["schools"]["name"]) <= set(real.polars("students")["school_name"])
    assert f"{real.manifest['input']['sha256']}" in page
    assert shown.height > 20


def test_every_code_of_the_run_has_words(real: GrowthRun) -> None:
    page = render_report(real)
    prose = re.sub(r"<(script|style|pre).*?</\1>", "", page, flags=re.S)
    data = json.loads(page.split('id="data">', 1)[1].split("</script>", 1)[0])
    assert not [words for words in (*data["reasons"], *data["groups"]) if "_" in words]
    assert not re.findall(r">[^<]*\b[a-z]+_[a-z_]+\b[^<]*<", prose)
