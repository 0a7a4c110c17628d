"""The report page in a real browser: it loads, the charts are drawn, and nothing complains."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_system import HOSTILE, made_run

from growth.report import write_report

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
TIME_LIMIT = 50
"""Seconds; a page takes two."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--enable-logging=stderr",
    "--virtual-time-budget=20000",
)
FIRST_ROWS = 120


class Drawn(HTMLParser):
    """What stands in the page after its program ran."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.state: str | None = None
        self.charts: dict[tuple[str, str], int] = {}
        self.rows = 0
        self.names: list[str] = []
        self._chart: tuple[str, str] | None = None
        self._in_table = self._in_name = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.state = given.get("data-state", self.state) if tag == "html" else self.state
        if given.get("data-chart"):
            self._chart = (given["data-chart"] or "", given.get("data-subject") or "")
            self.charts[self._chart] = 0
        if tag in ("path", "rect") and self._chart:
            self.charts[self._chart] += 1
        if tag == "section":
            self._chart = None
        self._in_table = given.get("id") == "table" if tag == "table" else self._in_table
        self.rows += tag == "tr" and self._in_table
        self._in_name = tag == "button" and given.get("class") == "open"
        if self._in_name:
            self.names.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_name = False
        self._in_table = self._in_table and tag != "table"

    def handle_data(self, data: str) -> None:
        if self._in_name:
            self.names[-1] += data


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if not found:
        pytest.skip("no Chromium on this machine: the page is not looked at in a browser")
    return found


def _open(browser: str, page: Path, profile: Path) -> tuple[Drawn, list[str]]:
    command = [browser, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT, check=True)
    complaints = re.findall(r".*:CONSOLE.*", done.stderr.decode("utf-8", "replace"))
    return Drawn(done.stdout.decode("utf-8")), complaints


def test_the_page_draws_its_charts_and_fills_its_table(browser: str, tmp_path: Path) -> None:
    path = write_report(made_run(years=(2024, 2025)), tmp_path / "report.html")
    drawn, complaints = _open(browser, path, tmp_path / "profile")
    assert complaints == []
    assert drawn.state == "ready"
    charts = {(name, subject) for name in ("ranks", "achievement", "levels") for subject in ("ELA", "MATH")}
    assert drawn.charts.keys() == charts | {("waterfall", "")}
    # More marks than axes and grid lines alone would leave: a mark per school, tile or bar.
    assert min(count for (name, _), count in drawn.charts.items() if name != "waterfall") > 100
    assert drawn.charts["waterfall", ""] > 12
    assert drawn.rows == FIRST_ROWS + 1
    assert set(HOSTILE) <= set(drawn.names)


def test_console_errors_would_be_noticed(browser: str, tmp_path: Path) -> None:
    path = write_report(made_run(12), tmp_path / "report.html")
    text = path.read_text("utf-8")
    path.write_text(text.replace("</body>", "<script>1</script></body>"), "utf-8")
    _, complaints = _open(browser, path, tmp_path / "profile")
    assert any("Content Security Policy" in line for line in complaints)
