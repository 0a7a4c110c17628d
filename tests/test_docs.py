"""The site: it builds without a warning and without a network, its code runs, its commands exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from browser import browser_path, open_tab
from documents import blocks, examples, printed
from test_house import FLOORS

from growth.cli import app

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
WITH_CODE = [path for path in PAGES if "```python" in path.read_text("utf-8")]
BUILD = """
import socket, sys
def refused(*_): raise OSError("the site is built without a network")
socket.socket.connect = socket.getaddrinfo = refused
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""
FETCHED = re.compile(r"""<(?:script|img|link|iframe|source)\b[^>]*\b(?:src|href)=["'](?:https?:)?//""")
PHONE = (390, 844)
"""CSS pixels."""
LOADED = "location.protocol === 'file:' && document.readyState === 'complete'"
LOOKED_AT = ("index", "start/analyst", "method/schools", "comparison", "reference/frames", "reference/face")
WITHOUT_PAGE = {"kernels", "cli", "parallel", "codec"}
"""Rooms that users do not enter, and the command line, which has a page of its own."""
TIME_LIMIT = 300
"""Seconds; a build takes twenty."""


def _name(path: Path) -> str:
    return path.relative_to(DOCS).with_suffix("").as_posix()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not importlib.util.find_spec("sphinx"):
        pytest.skip("sphinx is not installed: the site is not built (pip install 'growth[docs]')")
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "-n", "--keep-going", "-q", "-d", str(folder / "doctrees")]
    done = subprocess.run(
        [sys.executable, "-c", BUILD, *options, str(DOCS), str(folder / "html")],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_holds_every_page(site: Path) -> None:
    assert PAGES
    for path in PAGES:
        assert (site / f"{_name(path)}.html").is_file()
    for notebook in (DOCS.parent / "notebooks").glob("*.ipynb"):
        assert (site / "notebooks" / f"{notebook.stem}.html").is_file()


@pytest.mark.slow
def test_pages_fetch_nothing(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not FETCHED.findall(page.read_text("utf-8")), page.name


@pytest.mark.slow
def test_pages_fit_a_phone_and_complain_of_nothing(site: Path, tmp_path: Path) -> None:
    with open_tab(browser_path(), tmp_path) as tab:
        tab.window(*PHONE, mobile=True)
        for name in LOOKED_AT:
            tab.media(dark=name == LOOKED_AT[0])
            tab.open(site / f"{name}.html", ready=LOADED)
            assert tab.do("document.documentElement.scrollWidth") <= PHONE[0], name
            assert [url for url in tab.requests if not url.startswith(("file:", "data:"))] == []
        assert tab.complaints == []


def test_the_readme_points_to_pages_that_exist() -> None:
    readme = (DOCS.parent / "README.md").read_text("utf-8")
    linked = re.findall(r"\]\((docs/[^)#]+)", readme)
    assert linked
    assert [link for link in linked if not (DOCS.parent / link).is_file()] == []


@pytest.mark.parametrize("path", WITH_CODE, ids=_name)
def test_code_prints_what_is_shown(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = path.read_text("utf-8")
    shown = examples(text)
    assert [code for code, _ in shown] == blocks(text, "python")
    (tmp_path / "fixtures").symlink_to(DOCS.parent / "fixtures")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code, output in shown:
        assert printed(code, names, path.name) == output, code


def test_every_public_room_is_in_the_reference() -> None:
    text = "".join(path.read_text("utf-8") for path in PAGES)
    public = [room for room, floor in FLOORS.items() if floor > 0 and room not in WITHOUT_PAGE]
    assert public
    for room in public:
        assert f"{{room}} growth.{room}\n" in text, room


def _commands() -> list[tuple[str, str]]:
    lines = [
        (_name(path), line.removeprefix("$ "))
        for path in PAGES
        for language in ("sh", "console")
        for block in blocks(path.read_text("utf-8"), language)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [(page, line) for page, line in lines if line.startswith("growth ")]


def test_commands_and_their_options_exist() -> None:
    commands: Any = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    shown = _commands()
    assert shown
    for page, line in shown:
        _, name, *words = shlex.split(line, comments=True)
        assert name in commands, f"{page}: {line}"
        known = {flag for option in commands[name].params for flag in (*option.opts, *option.secondary_opts)}
        used = {word.split("=")[0] for word in words if re.match("--?[a-z]", word)}
        assert used <= known, f"{page}: {line}"
