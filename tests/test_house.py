"""The house: imports point down the street, rooms on one floor do not meet, doors open fast."""

from __future__ import annotations

import ast
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import growth

FLOORS: dict[str, int] = {
    "_types": 0,
    "errors": 0,
    "codec": 0,
    "disk": 0,
    "mapped": 0,
    "scratch": 0,
    "measures": 0,
    "aggregate": 0,
    "parallel": 0,
    "partitions": 0,
    "source": 0,
    "spec": 1,
    "kernels": 1,
    "quantile": 2,
    "panel": 3,
    "student": 4,
    "school": 5,
    "index": 6,
    "freeze": 7,
    "pipeline": 8,
    "diagnose": 9,
    "store": 9,
    "audit": 10,
    "study": 9,
    "release": 10,
    "report": 11,
    "plot": 12,
    "cli": 12,
}
"""Rooms by floor; a room may import from lower floors only, and from itself."""
GROUND = {room for room, floor in FLOORS.items() if floor == 0}
"""Single files that belong together: the one place where neighbours meet."""
PACKAGE = Path(growth.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
PORCHES = [path for path in MODULES if path.name == "__init__.py" and path.parent != PACKAGE]
"""The face itself fetches names lazily and has tests of its own."""
FACE = {
    "FreezeBundle",
    "GrowthError",
    "GrowthRun",
    "GrowthSpec",
    "GrowthWarning",
    "QuantileProcess",
    "__version__",
    "assign_levels",
    "build_panels",
    "compare_specs",
    "drift_audit",
    "figures",
    "fit_quantiles",
    "plan",
    "read_table",
    "run",
    "run_study",
    "school_growth",
    "simulate_table",
    "student_growth",
    "write_report",
}
HEAVY = {"sklearn", "statsmodels", "altair", "jinja2", "vl_convert", "matplotlib", "dask", "duckdb"}
"""Never loaded by the street itself: only by the one function or room that needs them."""
LIBRARIES = HEAVY | {"polars", "pandas", "pyarrow", "numpy", "scipy", "numba", "joblib", "pydantic"}
IMPORT_BUDGET = 0.5
"""CPU seconds of `import growth` with warm caches (HOUSE.md)."""
HELP_BUDGET = 0.3
"""CPU seconds of `growth --help` with warm caches (HOUSE.md)."""
LONGEST_CHAPTER = 500
"""Lines; a longer module should be two."""


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str:
    """Return the room of ``growth.<room>...``."""
    return module.split(".")[1]


def _imports(path: Path) -> Iterator[str]:
    """Yield every module of the package that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "growth")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{path.name}: imports name the whole way, so that a reader sees the floor"
            )
            if node.module == "growth":
                yield from (f"growth.{alias.name}" for alias in node.names)
            elif node.module and node.module.startswith("growth."):
                yield node.module


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_point_down_the_street(path: Path) -> None:
    module = _name(path)
    if module == "growth":
        return  # the face hands on names of every room; the tests below look at it
    room = _room(module)
    assert room in FLOORS, f"{room} has no floor yet: give it one in HOUSE.md and here"
    for target in _imports(path):
        assert target != "growth", f"{module} imports the face"
        other = _room(target)
        assert other in FLOORS, f"{module} imports growth.{other} through the face"
        at_home = other == room or {other, room} <= GROUND
        assert at_home or FLOORS[other] < FLOORS[room], f"{module} imports up the street: {target}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_one_place_chooses_where_work_is_done(path: Path) -> None:
    """Elsewhere there are threads only, within a piece of work."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Parallel":
            words = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert _name(path) == "growth.parallel" or words.get("backend") == "'threading'"


@pytest.mark.parametrize("path", PORCHES, ids=_name)
def test_init_files_only_hand_names_on(path: Path) -> None:
    for node in ast.parse(path.read_text("utf-8")).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        names = isinstance(node, ast.Assign | ast.AnnAssign) and "__all__" in ast.dump(node)
        assert docstring or names or isinstance(node, ast.ImportFrom), f"{_name(path)}, line {node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_chapters_are_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST_CHAPTER


def test_every_room_has_a_floor_and_every_floor_a_room() -> None:
    rooms = {_room(_name(path)) for path in MODULES if _name(path) != "growth"}
    assert rooms == set(FLOORS)


def test_the_face_is_what_it_was() -> None:
    assert set(growth.__all__) == FACE


def test_every_name_of_the_face_opens() -> None:
    for name in growth.__all__:
        assert getattr(growth, name) is not None
    assert set(growth.__all__) <= set(dir(growth))


def test_the_face_is_typed_as_it_opens() -> None:
    """What type checkers see under TYPE_CHECKING is where names are fetched from."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: _room(node.module or "")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == growth._ROOMS


def test_unknown_names_raise_as_usual() -> None:
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        _ = growth.rum


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def _loaded_by(statement: str) -> set[str]:
    code = (
        f"{statement}\nimport sys, json\nprint(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import growth", LIBRARIES),
        ("import growth.cli", LIBRARIES),
        ("import growth; growth.GrowthError, growth.GrowthWarning", LIBRARIES),
        ("import growth; growth.GrowthSpec", LIBRARIES - {"numpy", "pydantic"}),
        ("import growth; growth.run", HEAVY | {"pandas", "pyarrow", "typer", "rich"}),
        ("import growth.quantile", {"joblib", "sklearn", "polars", "pandas", "pyarrow", "pydantic"}),
        ("import growth.report", HEAVY | {"pandas", "pyarrow", "typer"}),
        ("import growth.plot", HEAVY | {"pandas", "pyarrow", "typer"}),
        ("import growth.diagnose", HEAVY | {"pandas", "pyarrow", "typer", "rich"}),
        ("import growth.store", HEAVY | {"pandas", "pyarrow", "typer", "rich"}),
    ],
)
def test_heavy_libraries_wait_until_they_are_needed(statement: str, forbidden: set[str]) -> None:
    assert _loaded_by(statement) & forbidden == set()


def _cpu_seconds(*arguments: str) -> float:
    """Return the least CPU time of a few starts, user and system, in a process of its own."""
    best = float("inf")
    for _ in range(4):  # the first one warms the caches
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=_plain())
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return best


def _plain() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("COV_", "PYTHONPROFILE"))}


def test_import_is_within_its_budget() -> None:
    assert _cpu_seconds("-c", "import growth") < IMPORT_BUDGET


def test_help_is_within_its_budget() -> None:
    assert _cpu_seconds("-c", "from growth.cli import main; main()", "--help") < HELP_BUDGET


def test_floats_are_added_up_in_the_order_of_rows() -> None:
    """See `growth.aggregate`: elsewhere polars adds in the order in which threads finish."""
    elsewhere = [path for path in MODULES if path != PACKAGE / "aggregate.py"]
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in elsewhere
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "agg"
    ]
    assert not found, "by_group of growth.aggregate instead"
