"""The report page without a browser: what it says, what it withholds, and that nothing can run or leave."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from report_system import CANARY, HOSTILE, MadeRun, made_run

from growth.errors import GrowthError, StoreError
from growth.release.published import LEAST, shown_results
from growth.report import render_report, report_input, write_report
from growth.report.disclosure import publishable_ledger
from growth.report.inputs import summarise_students
from growth.report.results import page_results
from growth.report.words import how_computed, limits, school_words
from growth.spec import GrowthSpec

LARGEST_PAGE = 3_000_000
"""Bytes, for 150 schools."""
READABLE = 4.5
"""WCAG 2.2 AA contrast of text; 3 suffices for graphics."""
LEGIBLE = 3.0
LOADS = {"src", "srcset", "action", "formaction", "data", "poster", "background", "ping", "xlink:href"}
RESULTS = [
    "growth_percentile",
    "growth_percentile_low",
    "growth_percentile_high",
    "level",
    "effect",
    "shrunk",
]
WHOLE = ("effect", "result", "ach", "p", "bottom", "points", "gain", "students", "last", "told")
"""Embedded for all students of a school only."""


class Page(HTMLParser):
    """Tags and scripts of a page, as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else self._inside
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif not self._inside:
            self.text.append(data)

    @property
    def prose(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def run() -> MadeRun:
    return made_run()


@pytest.fixture(scope="module")
def html(run: MadeRun) -> str:
    return render_report(run)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def data(page: Page) -> dict[str, Any]:
    return dict(json.loads(page.scripts[0]))


@pytest.fixture(scope="module")
def embedded(data: dict[str, Any]) -> pl.DataFrame:
    """The embedded results, one row each, codes resolved."""
    rows = resolved_rows(data)
    ids = data["schools"]["id"]
    groups = publishable_groups(data)
    return rows.with_columns(
        pl.col("school").replace_strict(range(len(ids)), ids).alias("school_id"),
        pl.col("subject").replace_strict(
            range(len(data["subjectCodes"])), data["subjectCodes"], return_dtype=pl.String
        ),
        pl.col("group").replace_strict(range(len(groups)), groups, return_dtype=pl.String),
        pl.col("year").replace_strict(range(len(data["years"])), data["years"]),
    )


def resolved_rows(data: dict[str, Any]) -> pl.DataFrame:
    """Fill up the columns of results, which end where withheld ones begin, and join what is of schools."""
    columns = dict(data["rows"])
    every, shown = len(columns["school"]), len(columns["gp"])
    nothing = [None] * (every - shown)
    columns["reason"] = [None] * shown + columns["reason"]
    for name in ("gp", "lo", "hi", "level", "detail"):
        columns[name] = columns[name] + nothing
    columns["detail"] = [None if at is None else data["details"][at] for at in columns["detail"]]
    rows = pl.DataFrame(columns, infer_schema_length=None).with_row_index("row")
    whole = {name: data["whole"][name] for name in ("row", *WHOLE)}
    typed = pl.DataFrame(whole, infer_schema_length=None).with_columns(pl.col("row").cast(pl.UInt32))
    return rows.join(typed, on="row", how="left", maintain_order="left")


def publishable_groups(data: dict[str, Any]) -> list[str]:
    codes = {"All students": "All", "English learners": "EL", "Students with disabilities": "SWD"}
    codes |= {"Socioeconomically disadvantaged": "SED", "Lowest racial/ethnic group": "race:lowest"}
    return [codes.get(name, f"race:{name}") for name in data["groups"]]


# --- nothing leaves, nothing runs ------------------------------------------------------------------------


def test_the_page_loads_nothing(html: str, page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "img", "base", "video", "audio", "source"}
        assert not LOADS & attributes.keys(), tag
        assert (attributes.get("href") or "#").startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_forbids_requests_and_names_the_two_scripts(page: Page) -> None:
    policy = next(a["content"] or "" for t, a in page.tags if t == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in page.scripts[1:]
    ]
    assert rules["script-src"].split() == hashes


def test_hostile_names_are_text_and_only_text(html: str, page: Page, data: dict[str, Any]) -> None:
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert "alert(1)</script>" not in html
    assert "onerror=alert(2)>" not in html
    assert set(HOSTILE) <= set(data["schools"]["name"])
    assert not re.search("[<>&\u2028\u2029]", page.scripts[0])


def test_the_program_never_makes_markup_of_text() -> None:
    templates = Path(render_report.__code__.co_filename).parent / "templates"
    chapters = sorted(templates.glob("*.js"))
    assert len(chapters) == 6
    text = "".join(path.read_text("utf-8") for path in chapters)
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "http"):
        assert name not in text


def test_separators_and_quotes_in_names_end_nothing() -> None:
    names = [
        "line\u2028separator\u2029",
        "quote\"'`\\",
        "</ScRiPt><svg onload=alert(3)>",
        "tab\tnew\nline\u0000",
    ]
    run = made_run(12)
    ids = [f"S{5 + i:04d}" for i in range(len(names))]
    name = pl.col("school_id").replace_strict(ids, names, default=pl.col("school_name"))
    students = run.frames["students"].with_columns(name.alias("school_name"))
    text = render_report(replace(run, frames=run.frames | {"students": students}))
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert "svg" not in {tag for tag, _ in page.tags}
    assert not re.search("[<>&\u2028\u2029]", page.scripts[0])
    found = json.loads(page.scripts[0])["schools"]["name"]
    assert {one.strip() for one in names} <= set(found)


def test_the_specification_is_escaped(run: MadeRun) -> None:
    spec = run.spec.replace({"name": "<b>bold</b>", "groups.flags": {"<i>EL</i>": "english_learner"}})
    text = render_report(made_run(12, spec=spec))
    assert "<b>bold" not in text
    assert "<i>EL" not in text


# --- privacy ---------------------------------------------------------------------------------------------


def test_no_student_is_in_the_page(html: str, run: MadeRun) -> None:
    assert CANARY not in html
    assert CANARY not in repr(report_input(run))
    for name in ("sgp", "expected_score", "student_id"):
        assert f'"{name}"' not in html


def test_small_numbers_are_nowhere(run: MadeRun, embedded: pl.DataFrame, data: dict[str, Any]) -> None:
    keys = ["year", "subject", "group", "school_id"]
    small = run.polars("schools").filter(pl.col("n") < 20).select(keys)
    assert small.height > 500
    rows = small.join(embedded, on=keys)
    assert set(rows["group"]) == {"All"}, "a small group looks like one that does not exist"
    assert {data["reasons"][reason] for reason in rows["reason"]} == {
        "Fewer than 20 students, or a smaller number would follow"
    }
    for name in ("n", "gp", "lo", "hi", "level", *WHOLE):
        assert rows[name].null_count() == rows.height, name


def test_the_page_shows_what_exports_show(run: MadeRun, embedded: pl.DataFrame) -> None:
    keys = ["year", "subject", "group", "school_id"]
    shown = shown_results(run.polars("schools"), run.spec).filter("shown")
    large = run.polars("schools").join(shown, on=keys)
    assert 0.85 < large.height / run.polars("schools").filter(pl.col("n") >= 20).height < 1
    assert embedded.filter(pl.col("reason").is_null()).height == large.height
    large = large.join(embedded, on=keys, how="left", suffix="_page")
    assert large["reason_page"].null_count() == large.height
    assert (large["n"] == large["n_page"]).all()
    gap = (large["growth_percentile"] - large["gp"]).to_list()
    assert min(gap) >= 0
    assert max(gap) < 0.01
    assert large.filter(pl.col("group") == "All")["ach"].null_count() == 0
    groups = embedded.filter(pl.col("group") != "All")
    assert [name for name in WHOLE if groups[name].null_count() < groups.height] == []
    shown = embedded.filter((pl.col("group") == "All") & pl.col("reason").is_null())
    below = shown.filter(pl.col("level") < 10)
    assert [name for name in WHOLE if name != "last" and below[name].null_count()] == []


def test_the_lowest_group_is_shown_where_its_own_row_is(embedded: pl.DataFrame) -> None:
    place = ["year", "subject", "school_id"]
    lowest = embedded.filter((pl.col("group") == "race:lowest") & pl.col("gp").is_not_null())
    detail = lowest["detail"].str.extract(r"\((.*)\)$")
    own = lowest.with_columns(pl.concat_str(pl.lit("race:"), detail).alias("of"))
    pairs = own.join(embedded, left_on=[*place, "of"], right_on=[*place, "group"], suffix="_own")
    assert pairs.height == lowest.height > 100
    assert pairs["n"].equals(pairs["n_own"].rename("n"))
    assert pairs["n"].null_count() == 0


def test_hidden_groups_of_the_system_by_hand() -> None:
    """Flags: too few in it, or too few outside. Levels: 15 are hidden or blank, so the next follows."""
    counts = {"all": [300], "foster": [19], "econ_disadvantaged": [281], "homeless": [20]}
    counts |= {"race": [200, 60, 25, 12], "language": [150, 130]}
    columns = [column for column, n in counts.items() for _ in n]
    several = ("race", "language")
    frame = pl.DataFrame(
        {
            "year": 2025,
            "subject": "MATH",
            "kind": ["all" if c == "all" else "race" if c in several else "flag" for c in columns],
            "column": columns,
            "level": [f"{i}" if c in several else None for c, n in counts.items() for i in range(len(n))],
            "n": [size for n in counts.values() for size in n],
            "adjusted": 50.0,
        }
    )
    shown = publishable_ledger(frame, GrowthSpec.preset("core"))
    assert shown["n"].to_list() == [300, None, None, 20, 200, 60, None, None, 150, 130]
    assert (
        shown["withheld"].to_list() == shown["n"].is_null().to_list() == shown["adjusted"].is_null().to_list()
    )
    fewer = frame.with_columns(pl.when(pl.col("n") == 130).then(pl.lit(120)).otherwise("n").alias("n"))
    assert publishable_ledger(fewer, GrowthSpec.preset("core"))["n"][-2:].to_list() == [150, 120]
    almost = frame.with_columns(pl.when(pl.col("n") == 130).then(pl.lit(135)).otherwise("n").alias("n"))
    assert publishable_ledger(almost, GrowthSpec.preset("core"))["n"][-2:].to_list() == [150, None]


def test_the_page_has_a_minimum_of_its_own(run: MadeRun) -> None:
    spec = run.spec.replace({"school.min_n": 1, "groups.min_n": 1})
    lenient = made_run(40, spec=spec)
    small = lenient.polars("schools").filter(pl.col("n") < LEAST)
    assert small["reason"].null_count() == small.height
    shown = page_results(report_input(lenient)).rows.filter(pl.col("reason").is_null())
    assert shown["n"].min() == LEAST
    joined = small.join(shown, on=["year", "subject", "group", "school_id"])
    assert joined.is_empty()
    assert f"fewer than {LEAST} student" in Page(render_report(lenient)).prose


def test_small_schools_have_no_achievement(run: MadeRun) -> None:
    totals = summarise_students(run.polars("students"), run.spec)
    assert totals.achievement["n"].min() == 20
    rows = run.polars("students").filter((pl.col("status") == "scored") & (pl.col("subject") == "MATH"))
    z = (pl.col("score") - pl.col("score").mean()) / pl.col("score").std()
    naive = rows.with_columns(z.over("grade").alias("z")).filter(pl.col("school_id") == "S0044")["z"].mean()
    found = totals.achievement.filter((pl.col("school_id") == "S0044") & (pl.col("subject") == "MATH"))
    assert found["achievement"].item() == pytest.approx(naive, abs=1e-12)


# --- what it says ----------------------------------------------------------------------------------------


def test_percentiles_and_levels_never_disagree(embedded: pl.DataFrame) -> None:
    shown = embedded.filter(pl.col("level").is_not_null())
    tens = (shown["gp"].floor() // 10).clip(0, 9) + 1
    assert (tens == shown["level"]).all()


def test_the_numbers_of_the_run_are_in_the_sentences(run: MadeRun, page: Page) -> None:
    scored = run.polars("students").filter(pl.col("status") == "scored")
    assert f"{scored['student_id'].n_unique():,} students in grades 3–8" in page.prose
    assert f"{scored.height:,} growth percentiles" in page.prose
    block = run.polars("schools").filter(
        (pl.col("group") == "All") & (pl.col("subject") == "MATH") & pl.col("reason").is_null()
    )
    outside = block.filter(
        (pl.col("growth_percentile_low") > 50) | (pl.col("growth_percentile_high") < 50)
    ).height
    assert f"{outside} of {block.height} schools have a band that leaves out 50" in page.prose


def test_the_waterfall_adds_up(run: MadeRun) -> None:
    lines = page_results(report_input(run)).waterfall
    for before, after in pairwise(lines):
        assert after.rows == before.rows - after.excluded
    assert [line.reason for line in lines if line.step == "has_priors"] == [
        "no earlier score",
        "repeated the grade",
    ]


def test_fits_are_called_exact_only_with_proof(run: MadeRun, page: Page) -> None:
    assert "All 12 comparisons were solved exactly" in page.prose
    assert "foster care" in page.prose
    gap = pl.when(pl.col("grade") == 3).then(None).otherwise(pl.col("max_relative_gap"))
    cells = run.polars("cells").with_columns(gap.alias("max_relative_gap"))
    given = replace(report_input(run), cells=cells)
    prose = Page(render_report(given)).prose
    assert "10 of 12 comparisons are proved to be exact" in prose
    assert "not proved" in prose


def test_a_comparison_of_few_students_hides_their_number(run: MadeRun) -> None:
    cells = run.polars("cells").with_columns(pl.lit(17).alias("n"))
    lines = page_results(replace(report_input(run), cells=cells)).fits.lines
    assert {line.students for line in lines} == {"Fewer than 20 students"}


def test_the_presets_have_pages() -> None:
    text = render_report(made_run(30, spec=GrowthSpec.preset("sgp")))
    assert "The median of its students’ whole-number (1 to 99) percentiles" in Page(text).prose


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"peers.flags": ()}, "not part of the comparison"),
        ({"peers.composition": "one_step"}, "make-up of the school"),
        ({"peers.composition": "none"}, "attend the same school is not part of it"),
        ({"peers.flags": ["foster"]}, "and their shares of foster care is taken out"),
        (
            {"peers.interactions": ["foster:prior"]},
            "count together as well: foster care with the earlier score",
        ),
        ({"peers.missing": "exclude"}, "status is not known are counted out"),
        ({"peers.missing": "indicator"}, "form groups of their own"),
        ({"cohorts.own_priors": 3}, "up to 3 of them"),
        ({"cohorts.progressions": {11: (8, 7)}}, "For grade 11 the earlier scores come from grades 8 and 7"),
        ({"cohorts.repeaters": "own_cohort"}, "repeat a grade are compared with one another"),
        ({"cohorts.orders": "exact"}, "lack any of the earlier scores"),
        ({"cohorts.min_cohort": 1_500}, "fewer than 1,500 students are not made"),
        ({"quantiles.count": 40}, "40 curves"),
        ({"basis.degree": 2}, "quadratic B-splines"),
        ({"school.aggregate": "median"}, "The median of"),
        ({"school.percentile": "integer"}, "whole-number"),
        ({"school.shrinkage": "none"}, "not shrunken"),
        ({"school.shrinkage": "eblp"}, "all years, grades and subjects of the run"),
        ({"school.shrinkage": "sgp"}, "whole percentiles and without a band"),
        ({"school.enrolled_only": True}, "enrolled for the full year"),
        ({"school.growth_percentile": "normal"}, "normal curve"),
        ({"levels.rule": "base_deciles"}, "tenths of the schools of the base year"),
        ({"groups.reference": "group"}, "results for the same group"),
        ({"groups.flags": {}, "groups.race": ""}, "No results for groups"),
        ({"groups.min_n": 25}, "fewer than 25"),
        ({"groups.shrink_towards": "school"}, "other students make expect"),
    ],
)
def test_every_choice_changes_the_words(change: dict[str, Any], sentence: str) -> None:
    core = GrowthSpec.preset("core")
    said = " ".join(note.text for note in how_computed(core))
    changed = " ".join(note.text for note in how_computed(core.replace(change)))
    assert sentence not in said
    assert sentence in changed


def test_frozen_norms_change_what_a_rank_is(run: MadeRun) -> None:
    frozen = replace(report_input(run), manifest={"norms": {"frozen": True}, "cuts": {"frozen": True}})
    now, then = Page(render_report(run)).prose, Page(render_report(frozen)).prose
    assert "among the schools of the same subject and year" in now
    assert "spread evenly over the levels" in now
    assert "among the schools of an earlier year" in then
    assert "spread evenly over the levels" not in then
    assert "reference distribution and cut points of an earlier run" in then


def test_the_manifest_is_quoted_without_machine_or_path(run: MadeRun) -> None:
    manifest = {
        "input": {"sha256": "ab" * 32, "rows": 85_618, "path": "/secret/place.csv"},
        "platform": {"system": "SECRET-HOST"},
        "versions": {"growth": "9.8.7"},
        "finished": "2026-01-02T03:04:05+00:00",
    }
    text = render_report(replace(report_input(run), manifest=manifest))
    prose = Page(text).prose
    assert f"85,618 rows, SHA-256 {'ab' * 32}" in prose
    assert "growth 9.8.7" in prose
    assert "2026-01-02T03:04:05+00:00" in prose
    assert "secret" not in text.lower()


def test_pinned_groups_are_explained(run: MadeRun) -> None:
    facts = page_results(report_input(run)).facts
    core = " ".join(note.text for note in limits(run.spec, facts))
    assert "close to 50 by construction" in core
    none = " ".join(note.text for note in limits(run.spec.replace({"peers.flags": ()}), facts))
    assert "close to 50 by construction" not in none


def test_the_ledger_is_on_the_page(run: MadeRun, page: Page) -> None:
    fairness = run.polars("fairness").filter(pl.col("subject") == "MATH")
    learners = fairness.row(by_predicate=pl.col("column") == "english_learner", named=True)
    assert f"{learners['n']:,}" in page.prose
    for name in ("adjusted", "unadjusted"):
        mean, low, high = (learners[f"{name}{end}"] for end in ("", "_low", "_high"))
        assert f"{mean:.1f} ({low:.1f} to {high:.1f})" in page.prose
    prior = run.polars("neutrality").filter(pl.col("kind") == "prior", pl.col("subject") == "MATH")
    assert f"{prior['r'].item():+.2f} ({prior['r_low'].item():+.2f} to".replace("-", "−") in page.prose
    assert "English learner status *" in page.prose
    assert "with economic disadvantage, disability, English learner status" in page.prose


def test_composition_that_was_left_out_is_on_the_page(run: MadeRun, page: Page) -> None:
    given = report_input(run)
    few = given.neutrality.with_columns(
        pl.col("composition").replace("two_step", "too_few_schools").alias("composition")
    )
    sentence = "the make-up of the schools could not be taken out of the results"
    assert sentence not in page.prose
    assert sentence in Page(render_report(replace(given, neutrality=few))).prose


def test_without_peers_there_is_one_average() -> None:
    page = Page(render_report(made_run(30, spec=GrowthSpec.preset("core").replace({"peers": {}}))))
    assert "compared on earlier scores and nothing else" in page.prose
    assert "Unadjusted" not in page.prose


# --- the file --------------------------------------------------------------------------------------------


def test_size_and_repeatability(html: str, run: MadeRun) -> None:
    assert len(html.encode()) < LARGEST_PAGE
    assert render_report(run) == html


def test_write_report_makes_folders_and_returns_the_file(run: MadeRun, html: str, tmp_path: Path) -> None:
    path = write_report(report_input(run), tmp_path / "new" / "report.html")
    assert path == tmp_path / "new" / "report.html"
    assert path.read_text("utf-8") == html


def test_a_folder_is_not_a_file(run: MadeRun, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        write_report(run, tmp_path)


def test_a_run_without_any_school_result_still_has_a_page() -> None:
    page = Page(render_report(made_run(5, spec=GrowthSpec.preset("core").replace({"school.min_n": 30}))))
    assert "0 of 4 schools have enough of them" in page.prose
    assert page.prose.count("No school has enough students for a result.") == 6
    assert [a["data-chart"] for _, a in page.tags if "data-chart" in a] == ["waterfall"]


def test_a_missing_library_names_the_extra(run: MadeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        return None if name in ("altair", "vl_convert") else importlib.util.find_spec(name)

    monkeypatch.setattr("growth.report.extras.find_spec", absent)
    with pytest.raises(GrowthError, match=r"altair, vl-convert-python.*growth\[report\]"):
        render_report(run)


# --- light and dark --------------------------------------------------------------------------------------


def _luminance(color: str) -> float:
    digits = color.lstrip("#")
    digits = "".join(2 * c for c in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colors_are_legible_in_light_dark_and_print(html: str) -> None:
    style = html[html.index("<style>") : html.index("</style>")]
    palettes = [
        dict(re.findall(r"--(\w+): (#\w+)", block))
        for block in re.findall(r":root[^{}]*\{([^{}]*--paper[^{}]*)\}", style)
    ]
    assert len(palettes) == 4
    assert palettes[1] == palettes[2], "dark by the system and dark by choice are the same"
    for palette in palettes:
        for ground in ("paper", "raised"):
            for text in ("ink", "muted"):
                assert _contrast(palette[text], palette[ground]) >= READABLE, (text, ground)
        for mark in ("above", "below", "average"):
            assert _contrast(palette[mark], palette["paper"]) >= LEGIBLE, mark


@pytest.mark.parametrize(
    ("change", "name", "sentence"),
    [
        ({"school.aggregate": "median"}, "step_effect", "half of the students lie above it"),
        ({"school.aggregate": "median"}, "title_effect", "Their median"),
        ({"school.aggregate": "mean_residual"}, "step_students", "how far a student’s score lies"),
        ({"school.shrinkage": "sgp"}, "step_shrunk", "moved towards 50"),
        ({"school.shrinkage": "eblp"}, "step_shrunk", "other years, grades and subjects"),
        ({"peers": {}}, "step_students", "those with the same earlier scores."),
        ({"levels.rule": "base_deciles"}, "step_level", "cut points of the base year"),
        ({"school.high_percentile": 80.0}, "high_years", "80 or more"),
    ],
)
def test_every_choice_changes_a_school_s_words(change: dict[str, Any], name: str, sentence: str) -> None:
    core = GrowthSpec.preset("core")
    assert sentence not in school_words(core)[name]
    assert sentence in school_words(core.replace(change))[name]
    assert "step_shrunk" not in school_words(core.replace({"school.shrinkage": "none"}))
    assert "schools of the base year" in school_words(core, frozen_norms=True)["step_rank"]
