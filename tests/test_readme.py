"""The README keeps its word: its code prints its table, and CI runs its commands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from documents import blocks, examples, printed

from growth.cli import app
from growth.pipeline import FRAMES
from growth.spec import GrowthSpec

FOLD = 40
"""Line before which a reader has seen commands, code and table (HOUSE.md)."""


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text("utf-8")


def test_all_code_prints_what_is_shown(
    readme: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    shown = examples(readme)
    assert [code for code, _ in shown] == blocks(readme, "python")
    assert all(text for _, text in shown)
    assert sum(bool(line) for line in shown[0][0].splitlines()) == 6
    names: dict[str, object] = {}
    for code, text in shown:
        assert printed(code, names, "README.md") == text


def test_commands_code_and_table_come_first(readme: str) -> None:
    end_of_table = readme[: readme.index(blocks(readme, "text")[0])].count("\n")
    end_of_table += blocks(readme, "text")[0].count("\n")
    assert end_of_table < FOLD
    assert readme.index("```sh") < readme.index("```python") < readme.index("```text")


def test_ci_runs_the_two_commands_of_the_readme(readme: str, repository: Path) -> None:
    demo, tests = blocks(readme, "sh")[0].splitlines()
    assert demo.endswith("&& .venv/bin/growth demo")
    assert "&& .venv-test/bin/pytest" in tests
    ci = (repository / ".ci" / "run").read_text("utf-8")
    extract = next(line for line in ci.splitlines() if line.startswith("readme_command()"))
    for number, command in enumerate((demo, tests), start=1):
        script = f"{extract}\nreadme_command {number}"
        found = subprocess.run(
            ["bash", "-c", script], cwd=repository, capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == command
    for line in ('eval "$demo_setup"', "try timed_demo", 'eval "$test_setup"', 'try "$tests"'):
        assert f"\n{line}\n" in ci
    assert 'eval "$demo" ' in ci


def test_every_command_and_result_is_mentioned(readme: str) -> None:
    commands = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert commands
    for name in commands:
        assert f"growth {name} " in readme
    for name in FRAMES:
        assert re.search(rf"[`,\s]{name}[`,\s]", readme), name
    for part in GrowthSpec.model_fields:
        assert part == "name" or f"`{part}`" in readme, part


def test_constraints_are_plain_pins(repository: Path) -> None:
    lines = (repository / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) > 20
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+", pin) for pin in pins)
    names = {pin.split("==")[0].lower().replace("_", "-") for pin in pins}
    assert {"numpy", "numba", "polars", "pydantic", "typer", "pytest", "mypy", "ruff"} <= names
