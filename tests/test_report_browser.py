"""The report page in a real browser: it loads, draws, searches, opens schools, and asks for nothing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from browser import Tab, browser_path, open_tab
from report_system import DISTRICTS, HOSTILE, MadeRun, made_run

from growth.index import next_level_sentence
from growth.report import write_report

FIRST_ROWS = 120
READABLE = 4.5
"""WCAG 2.2 AA contrast of text."""
NAMES = "[...document.querySelectorAll('#table .to-school')].map(link => link.textContent)"
FOUND = "[...document.querySelectorAll('#found a')].map(link => link.textContent)"


@pytest.fixture(scope="module")
def run() -> MadeRun:
    return made_run(years=(2024, 2025))


@pytest.fixture(scope="module")
def page(run: MadeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(run, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with open_tab(browser_path(), tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(browser: Tab, page: Path) -> Iterator[Tab]:
    """The page, freshly opened; in the end nothing was complained about and nothing asked for."""
    browser.complaints.clear()
    browser.window(1280, 900)
    browser.media()
    browser.open(page)
    yield browser
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith(("file:", "blob:"))] == []
    assert len([url for url in browser.requests if url.startswith("file:")]) == 1


def filled(tab: Tab, element: str, text: str) -> None:
    """Type into an element in place of what it holds."""
    tab.do(f"(() => {{ const e = document.getElementById('{element}'); e.focus(); e.select(); }})()")
    tab.write_text(text)


def picked(tab: Tab, element: str, value: str) -> None:
    """Choose from a list."""
    tab.do(
        f"(() => {{ const e = document.getElementById('{element}'); e.value = '{value}'; "
        "e.dispatchEvent(new Event('change')); })()"
    )


def those(tab: Tab, selector: str, condition: str) -> int:
    """Count the elements e that meet a condition."""
    return int(tab.do(f"[...document.querySelectorAll('{selector}')].filter(e => {condition}).length"))


def test_every_chart_is_drawn_without_scrolling(tab: Tab) -> None:
    tab.wait("[...document.querySelectorAll('.chart')].every(chart => chart.dataset.drawn)")
    marks = tab.do(
        "[...document.querySelectorAll('.chart')].map(chart => "
        "[chart.dataset.chart, chart.querySelectorAll('path, rect').length])"
    )
    drawn = {name for name, _ in marks}
    assert drawn == {"ranks", "achievement", "levels", "changes", "waterfall"}
    # More marks than axes and grid lines alone would leave: a mark per school, tile or bar.
    assert min(count for name, count in marks if name != "waterfall") > 80
    assert max(count for name, count in marks if name == "waterfall") > 12
    assert tab.do("document.documentElement.dataset.state") == "ready"


def test_the_table_sorts_filters_and_goes_on(tab: Tab) -> None:
    names = tab.do(NAMES)
    assert len(names) == FIRST_ROWS
    assert set(HOSTILE) <= set(names)
    tab.do("document.querySelector('[data-sort=gp] button').click()")
    column = "[...document.querySelectorAll('#table td.gp')].map(cell => Number(cell.textContent))"
    falling = tab.do(column)
    assert falling == sorted(falling, reverse=True)
    assert tab.do("document.querySelector('[data-sort=gp]').ariaSort") == "descending"
    tab.do("document.querySelector('[data-sort=gp] button').click()")
    rising = tab.do(column)
    assert rising == sorted(rising)
    assert rising[0] < falling[-1]
    filled(tab, "find", "SØN elementary")
    assert set(tab.do(NAMES)) == {HOSTILE[3]}
    assert tab.do("document.getElementById('count').textContent") == "2 results"
    filled(tab, "find", "")
    tab.do("document.getElementById('more').click()")
    assert len(tab.do(NAMES)) > 2 * FIRST_ROWS
    assert tab.do("document.activeElement.className") == "to-school"


def test_the_band_filter_keeps_schools_of_the_band(tab: Tab, run: MadeRun) -> None:
    picked(tab, "band", "above")
    levels = run.polars("levels").filter(pl.col("level") >= 8, year=2025, group="All")
    assert tab.do("document.getElementById('count').textContent") == f"{levels.height} results"


def test_a_school_is_found_by_keyboard_alone(tab: Tab) -> None:
    tab.do("document.getElementById('finder').focus()")
    tab.write_text("s0044")
    assert len(tab.do(FOUND)) == 1
    assert tab.do("document.getElementById('found-count').textContent") == "1 school"
    tab.key("ArrowDown")
    tab.key("Enter")
    tab.wait("location.hash === '#school=S0044'")
    tab.wait("!document.getElementById('school').hidden")
    assert tab.do("document.activeElement.id") == "school-name"
    assert tab.do("document.getElementById('overview').hidden")
    assert tab.do("document.title").startswith(tab.do("document.getElementById('school-name').textContent"))
    tab.do("history.back()")
    tab.wait("!document.getElementById('overview').hidden")
    assert tab.do("document.getElementById('school').hidden")


def test_a_deep_link_explains_the_level(tab: Tab, page: Path, run: MadeRun) -> None:
    key = {"year": 2025, "subject": "MATH", "group": "All", "school_id": "S0044"}
    row: dict[str, Any] = run.polars("schools").row(by_predicate=_same(key), named=True)
    level = run.polars("levels").row(by_predicate=_same(key), named=True)
    tab.open(page, "#school=S0044")
    part = "document.querySelector('#school [data-subject=MATH]')"
    text = tab.do(f"{part}.innerText")
    gp = int(row["growth_percentile"])
    assert f"Level {level['level']}" in text
    assert f"Why level {level['level']}" in text
    assert f"{row['n']} student results count." in text
    assert f"The average of these percentiles is {row['effect']:.1f}." in text
    assert f"{row['shrunk']:.1f} is more than the results of about {gp} of 100 schools" in text
    for step in (1, 2, 3):
        sentence = next_level_sentence({**level, "n": row["n"]}, step)
        assert sentence is None or sentence in text
    last = run.polars("levels").row(by_predicate=_same({**key, "year": 2024}), named=True)["level"]
    assert f"evel {last} in 2024" in text
    share = round(100 * row[f"p_level_{level['level']}"])
    assert f"has a probability of {share}%" in text
    tab.wait("[...document.querySelectorAll('#school .chart')].every(chart => chart.dataset.drawn)")
    assert tab.do("document.querySelectorAll('#school .similar tbody tr').length") == 6


def _same(key: dict[str, Any]) -> pl.Expr:
    return pl.all_horizontal(pl.col(name) == value for name, value in key.items())


def test_every_next_level_sentence_is_that_of_the_engine(tab: Tab, run: MadeRun) -> None:
    whole = (pl.col("year") == 2025) & (pl.col("group") == "All") & pl.col("reason").is_null()
    keys = ["subject", "school_id"]
    rows = run.polars("levels").filter(whole)
    rows = (
        rows.join(run.polars("schools").filter(whole).select(*keys, "n"), on=keys).sort(keys).gather_every(25)
    )
    for row in rows.gather_every(25).iter_rows(named=True):
        expected = [s for k in (1, 2, 3) if (s := next_level_sentence(row, k))]
        tab.do(f"location.hash = '#school={row['school_id']}'")
        part = f"#school [data-subject={row['subject']}]"
        heading = f"document.querySelector('{part} h2') && document.querySelector('.facts')"
        tab.wait(f"{heading} && document.querySelector('.facts').textContent.includes('{row['school_id']}')")
        shown = tab.do(f"[...document.querySelectorAll('{part} .next li')].map(line => line.textContent)")
        assert shown == expected


def test_a_small_school_shows_no_number(tab: Tab, page: Path) -> None:
    tab.open(page, "#school=S0001")
    text = tab.do("document.getElementById('school').innerText")
    assert text.count("No result: Fewer than 20 students, or a smaller number would follow.") == 2
    assert "Why level" not in text
    assert tab.do("document.querySelectorAll('#school .chart, #school .verdict').length") == 0


def test_a_wrong_address_says_so(tab: Tab, page: Path) -> None:
    for wrong in ("nobody", "%E0%A4%A", "<script>alert(1)</script>"):
        tab.open(page, f"#school={wrong}")
        assert "There is no school with this number" in tab.do("document.getElementById('school').innerText")


def test_names_are_text_everywhere(tab: Tab) -> None:
    for name in HOSTILE:
        filled(tab, "finder", name)
        assert tab.do(FOUND) == [name]
        tab.do("document.querySelector('#found a').click()")
        tab.wait("!document.getElementById('school').hidden")
        assert tab.do("document.getElementById('school-name').textContent") == name
        tab.do("location.hash = '#schools'")
        tab.wait("document.getElementById('school').hidden")
    districts = tab.do("[...document.querySelectorAll('#district-table th button')].map(e => e.textContent)")
    assert set(districts) == set(DISTRICTS)
    assert tab.do("document.querySelectorAll('body script').length") == 3
    assert tab.do("document.querySelectorAll('img, b').length") == 0


def test_a_saved_table_holds_no_formula(tab: Tab, run: MadeRun) -> None:
    tab.do(
        "window.saved = []; URL.createObjectURL = (blob) => { saved.push(blob); return '#schools'; }; void 0"
    )
    filled(tab, "find", "cmd")
    tab.do("document.getElementById('save').click()")
    lines = list(csv.DictReader(io.StringIO(tab.do("saved[0].text()").lstrip("\ufeff"))))
    assert [line["school"] for line in lines] == ["'" + HOSTILE[1]] * 2
    filled(tab, "find", "")
    tab.do("document.getElementById('save').click()")
    lines = list(csv.DictReader(io.StringIO(tab.do("saved[1].text()").lstrip("\ufeff"))))
    everyone = run.polars("schools").filter(pl.col("year") == 2025, pl.col("group") == "All")
    assert len(lines) == everyone.height
    assert not [value for line in lines for value in line.values() if value[:1] in "=+-@" and value]
    small = [line for line in lines if line["withheld"]]
    assert small
    assert not [line for line in small if line["students"] or line["growth_percentile"] or line["level"]]


def test_dragging_over_circles_lists_their_schools(tab: Tab) -> None:
    chart = ".chart[data-chart=achievement][data-subject=MATH]"
    tab.do(f"document.querySelector('{chart}').scrollIntoView({{block: 'center', behavior: 'instant'}})")
    tab.wait(f"document.querySelector('{chart}').dataset.drawn")
    box = tab.do(f"(() => {{ const b = document.querySelector('{chart} svg').getBoundingClientRect(); "
                 "return [b.left, b.top, b.width, b.height]; })()")  # fmt: skip
    left, top, width, height = box
    tab.drag((left + 0.3 * width, top + 0.1 * height), (left + 0.95 * width, top + 0.4 * height))
    tab.wait("!document.getElementById('unpick').hidden")
    levels = tab.do("[...document.querySelectorAll('#table td.gp')].map(cell => Number(cell.textContent))")
    assert 3 < len(levels) < 100
    assert min(levels) > 50
    assert set(tab.do("[...document.querySelectorAll('#table .subject')].map(e => e.textContent)")) == {
        "Mathematics"
    }
    tab.do("document.getElementById('unpick').click()")
    assert tab.do("document.getElementById('unpick').hidden")


def test_a_district_lists_its_schools(tab: Tab) -> None:
    buttons = "[...document.querySelectorAll('#district-table th button')]"
    tab.do(f"{buttons}.find(e => e.textContent.startsWith('=')).click()")
    ids = tab.do("[...document.querySelectorAll('#table .id')].map(e => Number(e.textContent.slice(1)))")
    assert len(set(ids)) == 150 // len(DISTRICTS)
    assert tab.do("document.activeElement.id") == "unpick"
    assert {one % len(DISTRICTS) for one in ids} == {1}


def test_the_year_can_be_chosen(tab: Tab, page: Path) -> None:
    tab.open(page, "#school=S0044")
    picked(tab, "year", "0")
    assert "2024" in tab.do("document.querySelector('#school h2').textContent")


def test_light_and_dark(tab: Tab) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = tab.do(paper)
    tab.media(dark=True)
    dark = tab.do(paper)
    assert light != dark
    picked(tab, "theme", "light")
    assert tab.do(paper) == light
    tab.media()
    picked(tab, "theme", "dark")
    assert tab.do(paper) == dark
    tab.media(medium="print")
    assert tab.do(paper) == "rgb(255, 255, 255)"
    tab.media()
    picked(tab, "theme", "auto")


def test_a_phone_never_scrolls_sideways(tab: Tab, page: Path) -> None:
    tab.window(390, 844, mobile=True)
    for fragment in ("", "#school=S0044"):
        tab.open(page, fragment)
        assert tab.do("document.documentElement.scrollWidth") <= 390
        wide = those(tab, ".tablebox", "e.scrollWidth > e.clientWidth")
        reached = "e.scrollWidth > e.clientWidth && e.tabIndex === 0 && e.role === 'region' && e.ariaLabel"
        assert those(tab, ".tablebox", reached) == wide > 0


def test_everything_has_a_name(tab: Tab, page: Path) -> None:
    """Landmarks, labels, captions, headings in order: what a screen reader goes by."""
    for fragment in ("", "#school=S0044"):
        tab.open(page, fragment)
        assert those(tab, "input, select", "!e.labels.length") == 0
        assert those(tab, "table", "!e.caption?.textContent.trim()") == 0
        assert those(tab, "button, a", "!e.hidden && !e.textContent.trim()") == 0
        assert those(tab, ".chart", "!e.ariaLabel") == 0
        assert [those(tab, place, "true") for place in ("main", "body > header", "footer")] == [1, 1, 1]
        headings = "[...document.querySelectorAll('h1, h2, h3')].filter(e => e.offsetParent)"
        heads = tab.do(f"{headings}.map(e => Number(e.tagName[1]))")
        assert heads[0] == 1
        assert heads.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(heads))


CONTRAST = """(() => {
    const part = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const weights = [0.2126, 0.7152, 0.0722];
    const numbers = c => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
    const light = c => numbers(c).reduce((sum, v, i) => sum + weights[i] * part(v), 0);
    const ground = e => {
        for (; e; e = e.parentElement) {
            const color = getComputedStyle(e).backgroundColor;
            if (!/, 0\\)$/.test(color)) return color;
        }
        return "rgb(255, 255, 255)";
    };
    const own = e => [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.textContent.trim());
    const seen = [...document.querySelectorAll("body *")].filter(e => own(e) && e.getClientRects().length);
    return seen.map(e => {
        const style = getComputedStyle(e);
        const ink = e.namespaceURI.endsWith("svg") ? style.fill : style.color;
        if (ink === "none") return [99, ""];
        const [high, low] = [light(ink), light(ground(e))].sort((a, b) => b - a);
        return [(high + 0.05) / (low + 0.05), `${e.tagName} ${e.className} ${e.textContent.slice(0, 30)}`];
    });
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_is_legible(tab: Tab, page: Path, dark: bool) -> None:
    tab.media(dark=dark)
    for fragment in ("", "#school=S0044"):
        tab.open(page, fragment)
        tab.wait("[...document.querySelectorAll('.chart')].every(c => c.dataset.drawn || !c.offsetParent)")
        found = tab.do(CONTRAST)
        assert len(found) > 100
        assert [what for ratio, what in found if ratio < READABLE] == []


def test_what_a_screen_reader_hears(tab: Tab, page: Path) -> None:
    """Ids are unique and exist, charts speak by their label only, changes are announced."""
    for fragment in ("", "#school=S0044"):
        tab.open(page, fragment)
        ids = tab.do("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))
        for name in ("aria-labelledby", "aria-describedby"):
            visible = f"[...document.querySelectorAll('[{name}]')].filter(e => e.offsetParent)"
            assert set(tab.do(f"{visible}.map(e => e.getAttribute('{name}'))")) <= set(ids)
        tab.wait("document.querySelector('.chart[data-drawn]')")
        assert those(tab, ".chart[data-drawn] :is(svg, canvas)", "e.ariaHidden !== 'true'") == 0
    assert those(tab, "#found-count, #count", "e.ariaLive === 'polite' && e.role === 'status'") == 2
    assert those(tab, "th", "!e.scope && e.textContent.trim()") == 0


def test_the_tab_key_goes_through_the_page_in_order(tab: Tab) -> None:
    places = []
    for _ in range(6):
        tab.key("Tab")
        places.append(
            tab.do("document.activeElement.id || document.activeElement.getAttribute('href') || 'none'")
        )
    assert places == ["#finder", "#overview", "finder", "year", "theme", "#read"]
    ring = tab.do("getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid"


def test_paper_holds_the_school_alone(tab: Tab, page: Path) -> None:
    tab.wait("[...document.querySelectorAll('.chart')].every(chart => chart.dataset.drawn)")
    report = len(re.findall(rb"/Type /Page\b", tab.paper()))
    tab.open(page, "#school=S0044")
    tab.wait("[...document.querySelectorAll('#school .chart')].every(chart => chart.dataset.drawn)")
    assert 2 <= len(re.findall(rb"/Type /Page\b", tab.paper())) <= 6 < report


def test_complaints_and_requests_would_be_noticed(browser: Tab, page: Path, tmp_path: Path) -> None:
    changed = tmp_path / "report.html"
    text = page.read_text("utf-8")
    changed.write_text(text.replace("</body>", "<script>1</script><img src='x.png'></body>"), "utf-8")
    browser.complaints.clear()
    browser.open(changed)
    browser.wait("true")
    assert any("Content Security Policy" in line for line in browser.complaints)
    browser.complaints.clear()
