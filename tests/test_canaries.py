"""Privacy: ids planted in a table are found in the students files of a run, and in nothing else it leaves."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import growth
from growth import GrowthRun
from growth.cli import app
from growth.errors import GrowthError
from growth.report import write_report

CANARY = "CANARY"
MAIN = "from growth.cli import main; main()"
KEY = "0123456789abcdef0123456789abcdef"
SPEC = """
[cohorts]
grades = [5]
subjects = ["ELA"]
[measurement]
csem = "column"
[simex]
use = "simex"
replicates = 2
lambdas = [1.0]
extrapolation = "linear"
[peers]
composition = "none"
"""
REFITS = """
[cohorts]
grades = [5]
subjects = ["ELA"]
[peers]
composition = "none"
[quantiles]
count = 20
[school]
standard_error = "refit"
replicates = 20
min_n = 10
[intervals]
sources = ["curves"]
refits = 20
[pairing]
lowest_share = 0.3
[index]
levels = "fixed_tens"
"""
STUDY = """
base = "quick.toml"
[factors]
"school.min_n" = [10, 12]
"student.engine" = ["normal", "residual_gain"]
"""
QUICK = """
[cohorts]
grades = [5]
subjects = ["ELA"]
[peers]
composition = "none"
[student]
engine = "normal"
"""
ONE_PROCESS = """
import sys
from growth.cli import app
for line in sys.stdin.read().splitlines():
    words = line.split("\t")
    print(">", words[0], file=sys.stderr)
    assert not app(words, standalone_mode=False), words[0]
"""
FILES = {"bad.csv", "spec.toml", "out"}
MAY_HOLD_IDS = {"part.parquet", "students.csv"}
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}


@pytest.fixture(scope="module")
def table(city_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the city with ids and names that nobody else has."""
    city = pl.read_csv(city_file, infer_schema=False)
    planted = city.with_columns(
        pl.concat_str(pl.lit(CANARY), "student_id").alias("student_id"),
        pl.concat_str(pl.lit(CANARY + "NAME"), "student_id").alias("last_name"),
    )
    file = tmp_path_factory.mktemp("canaries") / "table.csv"
    planted.write_csv(file)
    return file


def growth_command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with temporary files and the home folder inside `cwd`."""
    return started(MAIN, *arguments, cwd=cwd)


def growth_commands(*commands: list[object], cwd: Path) -> str:
    """Run several, one after the other, in one process; return what they say."""
    lines = "\n".join("\t".join(map(str, command)) for command in commands)
    done = started(ONE_PROCESS, cwd=cwd, stdin=lines)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def started(
    code: str, *arguments: object, cwd: Path, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python with temporary files and the home folder inside `cwd`."""
    for name in ("tmp", "home"):
        (cwd / name).mkdir(exist_ok=True)
    places = {"TMPDIR": str(cwd / "tmp"), "HOME": str(cwd / "home"), "XDG_CACHE_HOME": str(cwd / "home")}
    environment = {**os.environ, **places, "GROWTH_ID_KEY": KEY}
    return subprocess.run(
        [sys.executable, "-B", "-c", code, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment,
    )


def holding(folder: Path) -> set[str]:
    """Return the files that hold a canary: as they are, as members of archives, or as columns of Parquet."""
    found = set()
    for file in folder.rglob("*"):
        if not file.is_file():
            continue
        data = [file.read_bytes()]
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                data += [archive.read(name) for name in archive.namelist()]
        if file.suffix == ".parquet":
            data.append(pl.read_parquet(file).write_json().encode())
        wide = CANARY.encode("utf-16-le")
        if any(CANARY.encode() in part or wide in part for part in data):
            found.add(file.name)
    return found


def test_a_run_leaves_ids_in_its_students_files_only(table: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    out, parts = tmp_path / "run", tmp_path / "parts"
    done = growth_command(
        "run", table, "--spec", "spec.toml", "--out", out, "--checkpoints", parts, "--n-jobs", 1, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert list(parts.glob("cohort-*"))
    assert (out / "report.html").is_file()
    assert holding(tmp_path) == MAY_HOLD_IDS
    for layout in ("long", "wide", "sgp", "research"):
        done = growth_command("export", out, "--layout", layout, "--out", layout, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert holding(tmp_path / layout) == set()
    for arguments in (["verify", out, "--table", table], ["diff", out, out], ["check", table]):
        done = growth_command(*arguments, cwd=tmp_path)
        assert CANARY not in done.stdout + done.stderr, arguments[0]
    school = pl.read_parquet(out / "schools.parquet")["school_id"][0]
    assert CANARY not in growth_command("explain", out, "--school", school, cwd=tmp_path).stdout
    assert holding(tmp_path) == MAY_HOLD_IDS


def test_nor_does_anything_that_is_made_from_runs(table: Path, tmp_path: Path) -> None:
    """Refits and their checkpoints, bundles, drift, studies and their folders, index, pairs, pages."""
    (tmp_path / "spec.toml").write_text(REFITS)
    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "quick.toml").write_text(QUICK)
    (tmp_path / "other.toml").write_text(QUICK.replace("normal", "residual_gain"))
    run, later, parts = tmp_path / "run", tmp_path / "later", tmp_path / "parts"
    quick = ["--no-report", "--n-jobs", 1]
    said = growth_commands(
        ["run", table, "--spec", "spec.toml", "--out", run, "--checkpoints", parts, *quick], cwd=tmp_path
    )
    assert list(parts.glob("refit-*"))
    shown = pl.read_parquet(run / "schools.parquet").filter(pl.col("reason").is_null(), group="All")
    metric = pl.DataFrame({"school_id": shown["school_id"].unique().sort()}).with_columns(
        year=2025, metric=pl.lit("chronic_absence"), group=pl.lit("All"), n=50, value=0.1
    )
    metric.write_csv(tmp_path / "metrics.csv")
    said += growth_commands(
        ["freeze", run, "--out", "base.growth", "--parts", "norms,cuts"],
        ["run", table, "--freeze", "base.growth", "--out", later, *quick],
        ["drift", run, later, "--out", "drift"],
        ["study", "study.toml", "--table", table, "--out", "studied", "--cache", "cache", "--n-jobs", 1],
        [
            "select",
            table,
            "--spec",
            "quick.toml",
            "--spec",
            "other.toml",
            "--folds",
            2,
            "--out",
            "selected",
            "--n-jobs",
            1,
        ],
        ["diagnose", run, "--table", table, "--out", "diagnosed.html", "--n-jobs", 1],
        ["index", "metrics.csv", "--run", run, "--out", "index"],
        ["pair", run, "--out", "pairs"],
        ["report", run, "--out", "report.html", "--index", "index", "--pairs", "pairs"],
        ["export", run, "--layout", "wide", "--out", "wide"],
        cwd=tmp_path,
    )
    assert CANARY not in said
    assert (tmp_path / "report.html").is_file()
    assert list((tmp_path / "cache").iterdir())
    found = {str(file) for file in holding(tmp_path)}
    assert found <= MAY_HOLD_IDS
    for made in (
        "drift",
        "studied",
        "selected",
        "cache",
        "parts",
        "index",
        "pairs",
        "wide",
    ):
        assert holding(tmp_path / made) == set(), made


@pytest.mark.parametrize(
    "damage",
    [
        {"score": "CANARYSCORE"},
        {"year": "CANARYYEAR"},
        {"grade": "CANARYGRADE"},
        {"econ_disadvantaged": "CANARYFLAG"},
        {"csem": "-CANARY"},
        {"subject": "CANARYSUBJECT"},
        {"student_id": "CANARYTWICE"},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_problems_never_quote_a_student(table: Path, tmp_path: Path, damage: dict[str, str]) -> None:
    ((column, value),) = damage.items()
    rows = pl.read_csv(table, infer_schema=False)
    changed = rows.with_row_index().with_columns(
        pl.when(pl.col("index") % 997 == 0).then(pl.lit(value)).otherwise(column).alias(column)
    )
    changed.drop("index").write_csv(tmp_path / "bad.csv")
    (tmp_path / "spec.toml").write_text(SPEC)
    arguments = ["run", "bad.csv", "--spec", "spec.toml", "--out", "out", "--no-report"]
    done = CliRunner().invoke(app, [str(tmp_path / a) if a in FILES else a for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert done.exit_code in (0, 1), done.output
    assert CANARY not in done.output.replace("CANARYSUBJECT", "")
    (tmp_path / "bad.csv").unlink()
    assert holding(tmp_path) <= MAY_HOLD_IDS


def test_people_who_are_not_there_are_not_repeated(city_run: GrowthRun) -> None:
    with pytest.raises(GrowthError) as caught:
        city_run.describe(CANARY)
    assert CANARY not in str(caught.value)


def test_reports_and_representations_hold_no_ids(city_run: GrowthRun, tmp_path: Path) -> None:
    ids = city_run.polars("students")["student_id"].unique().to_list()
    write_report(city_run, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    text = page + repr(city_run) + city_run._repr_html_()
    assert not [one for one in ids if one in text]


def test_nothing_that_executes_what_it_reads_is_imported() -> None:
    package = Path(growth.__file__).parent
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").split(".")[0]}
            elif isinstance(node, ast.Call):
                function = node.func
                name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
                assert name not in ("eval", "exec", "__import__"), file
                on_joblib = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
                assert not (on_joblib and function.value.id == "joblib" and name in ("load", "dump")), file
                words = {word.arg: word.value for word in node.keywords}
                refused = words.get("allow_pickle")
                assert refused is None or (isinstance(refused, ast.Constant) and refused.value is False), file
                if name == "load" and isinstance(function, ast.Attribute):
                    owner = getattr(function.value, "id", "")
                    assert owner != "np" or refused is not None, file
                continue
            else:
                continue
            assert not names & UNSAFE, file
