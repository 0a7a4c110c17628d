"""The command line: exit codes, what is printed, what is written, and nothing about a student."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import polars as pl
import pytest
from layout_cases import RECORDS, caaspp
from typer.testing import CliRunner, Result

from growth import GrowthRun
from growth.cli import PRESET_NAMES, app
from growth.panel.rules import RULES
from growth.spec import GrowthSpec
from growth.spec.model import PRESETS
from growth.store import load_run

DONE, DATA, USAGE = 0, 1, 2


def growth_command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finished(city_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("cli") / "run"
    return folder, growth_command("run", city_file, "--spec", "core", "--out", folder)


class TestRun:
    def test_it_writes_what_the_library_computes(
        self, finished: tuple[Path, Result], city_run: GrowthRun
    ) -> None:
        folder, result = finished
        assert result.exit_code == DONE, result.output
        assert load_run(folder).manifest["outputs"] == city_run.manifest["outputs"]
        assert (folder / "report.html").stat().st_size > 10_000

    def test_it_ends_with_a_summary_and_where_to_look(
        self, finished: tuple[Path, Result], city_run: GrowthRun
    ) -> None:
        folder, result = finished
        for row in city_run.summary().iter_rows(named=True):
            line = rf"{row['year']} +{row['subject']} +{row['students']:,} +{row['scored']:,}".replace(
                ",", ",?"
            )
            assert re.search(line, result.stdout)
        assert str(folder / "report.html") in result.stdout
        top = city_run.schools.filter(group="All", subject="ELA").sort("growth_percentile")[-1]
        assert re.search(
            rf"{top['school_id'].item()} .* {top['growth_percentile'].item():.1f} ", result.stdout
        )

    def test_an_earlier_run_is_replaced_only_on_request(
        self, finished: tuple[Path, Result], city_file: Path, tmp_path: Path
    ) -> None:
        folder, _ = finished
        before = load_run(folder).manifest["started"]
        refused = growth_command("run", city_file, "--out", folder)
        assert refused.exit_code == DATA
        assert "already holds a run" in refused.stderr
        assert load_run(folder).manifest["started"] == before
        out = tmp_path / "other"
        for extra in ((), ("--overwrite",)):
            done = growth_command("run", city_file, "--out", out, "--no-report", "--n-jobs", "1", *extra)
            assert done.exit_code == DONE
        assert not (out / "report.html").exists()

    def test_specification_files_and_a_base_year(
        self, finished: tuple[Path, Result], city_file: Path, tmp_path: Path
    ) -> None:
        spec = tmp_path / "ours.toml"
        ours = GrowthSpec.preset("core").replace({"name": "ours", "school.min_n": 100})
        spec.write_text(ours.to_toml(), "utf-8")
        bundle = tmp_path / "base.zip"
        frozen = growth_command("freeze", finished[0], "--out", bundle, "--parts", "norms, cuts")
        assert frozen.exit_code == DONE, frozen.output
        assert "base year 2025" in frozen.stdout
        arguments = ("run", city_file, "--spec", spec, "--out", tmp_path / "run", "--no-report")
        result = growth_command(*arguments, "--freeze", bundle)
        assert result.exit_code == DONE, result.output
        stored = load_run(tmp_path / "run")
        assert stored.spec == ours
        assert stored.manifest["norms"]["frozen"]
        assert stored.manifest["freeze"]["parts"] == ["norms", "cuts"]
        assert stored.cuts == load_run(finished[0]).cuts

    def test_what_is_no_bundle_is_refused(self, city_file: Path, tmp_path: Path) -> None:
        arguments = ("run", city_file, "--out", tmp_path / "run", "--freeze", city_file)
        result = growth_command(*arguments)
        assert result.exit_code == DATA
        assert "The file cannot be used" in result.stderr
        assert not (tmp_path / "run").exists()

    def test_a_bundle_is_replaced_only_on_request(
        self, finished: tuple[Path, Result], tmp_path: Path
    ) -> None:
        arguments = ("freeze", finished[0], "--out", tmp_path / "base.zip")
        assert growth_command(*arguments).exit_code == DONE
        refused = growth_command(*arguments)
        assert refused.exit_code == DATA
        assert "already exists" in refused.stderr
        assert growth_command(*arguments, "--overwrite").exit_code == DONE
        assert growth_command("freeze", tmp_path, "--out", tmp_path / "b").exit_code == DATA
        unknown = growth_command("freeze", finished[0], "--out", tmp_path / "c", "--parts", "curve")
        assert "'curve' cannot be frozen" in unknown.stderr


class TestCheck:
    def test_it_shows_what_was_understood(self, city_file: Path, city_run: GrowthRun) -> None:
        result = growth_command("check", city_file)
        assert result.exit_code == DONE, result.output
        assert "18,040" in result.stdout
        assert "ELA, MATH" in result.stdout
        assert re.search(r"Columns carried along +csem *$", result.stdout, flags=re.MULTILINE)
        for cell in city_run.cells.iter_rows(named=True):
            assert re.search(rf"{cell['cohort']} +{cell['n']} +{cell['n_priors']} ", result.stdout)
        for reason in ("no_current_score", "no_prior_score", "repeater"):
            assert reason in result.stdout

    def test_the_rules_are_printed(self) -> None:
        result = growth_command("check", "--rules")
        assert result.exit_code == DONE
        for rule in RULES:
            assert rule.name in result.stdout
            assert rule.policy in result.stdout

    def test_files_of_a_year_each_in_another_layout(self, tmp_path: Path) -> None:
        files = []
        for year in ("2023", "2024"):
            files.append(tmp_path / f"scores_{year}.txt")
            part = caaspp(RECORDS.filter(year=year)).drop("SchoolYear")
            part.with_columns(ConditionCode=pl.lit("LOSS")).head(1).write_csv(files[-1], separator="^")
        spec = tmp_path / "spec.toml"
        spec.write_text(
            "[columns]\nyear_from_file_name = true\n[rows]\nunearned_scores = 'keep'\n"
            "[groups]\nflags = {}\nrace = ''\nlowest_race = false\n"
        )
        result = growth_command("check", *files, "--spec", spec)
        assert result.exit_code == DONE, result.output
        assert "Layout caaspp: CAASPP student score file, confidence over 99.9 %" in result.stdout
        assert re.search(r"SSID +student_id", result.stdout)
        assert re.search(r"\(file name\) +year", result.stdout)
        assert re.search(r"ELA_2024_G4_own1 +1 +1", result.stdout)
        spec.write_text(spec.read_text().replace("keep", "exclude"))
        refused = growth_command("check", *files, "--spec", spec)
        assert refused.exit_code == DATA
        assert "no rows that are valid" in refused.stderr

    def test_it_says_why_nothing_can_be_fitted(self, city_file: Path, tmp_path: Path) -> None:
        spec = tmp_path / "spec.toml"
        spec.write_text(GrowthSpec.preset("core").replace({"cohorts.min_cohort": 9_999}).to_toml(), "utf-8")
        result = growth_command("check", city_file, "--spec", spec)
        assert result.exit_code == DATA
        assert "cohort_too_small" in result.stderr
        assert "unique" in result.stdout

    def test_a_column_that_is_no_subject_is_not_shown(self, city_file: Path, tmp_path: Path) -> None:
        city = pl.read_csv(city_file, infer_schema=False)
        file = tmp_path / "mixed_up.csv"
        city.with_columns(subject=pl.col("student_id")).write_csv(file)
        result = growth_command("check", file)
        assert not set(city["student_id"]) & set(re.findall(r"\w+", result.output))


class TestProblems:
    def test_data_problems_are_messages(self, city_file: Path, tmp_path: Path) -> None:
        city = pl.read_csv(city_file, infer_schema=False)
        cases = {
            "missing": (city.drop("grade"), "grade"),
            "doubled": (pl.concat([city, city.head(3)]), "one valid row per student"),
            "text": (city.with_columns(score=pl.lit("absent")), "score"),
            "empty": (city.clear(), "no rows"),
        }
        for name, (table, words) in cases.items():
            file = tmp_path / f"{name}.csv"
            table.write_csv(file)
            for arguments in (("check", file), ("run", file, "--out", tmp_path / "run", "--no-report")):
                result = growth_command(*arguments)
                assert result.exit_code == DATA, (name, result.output)
                assert result.stderr.startswith("growth: ")
                assert words in result.stderr
                assert "Traceback" not in result.output
                assert not set(city["student_id"].head(3)) & set(re.findall(r"\w+", result.output))
        assert not (tmp_path / "run").exists()

    def test_a_file_of_an_unknown_kind(self, repository: Path) -> None:
        result = growth_command("check", repository / "pyproject.toml")
        assert result.exit_code == DATA
        assert ".csv" in result.stderr

    @pytest.mark.parametrize(
        "arguments",
        [
            ("check",),
            ("check", "absent.csv"),
            ("check", "{file}", "--spec", "cor"),
            ("check", "{file}", "--spec", "absent.toml"),
            ("run", "{file}"),
            ("run", "{file}", "--out", "run", "--n-jobs", "many"),
            ("demo", "--schools", "2"),
            ("spec",),
            ("spec", "cor"),
            ("spec", "core", "--schema"),
            ("grow",),
            ("--nothing",),
        ],
    )
    def test_usage_problems(
        self, arguments: tuple[str, ...], city_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        result = growth_command(*(argument.format(file=city_file) for argument in arguments))
        assert result.exit_code == USAGE, result.output
        assert result.stderr
        assert not list(tmp_path.iterdir())

    def test_a_specification_with_a_typing_error(self, city_file: Path, tmp_path: Path) -> None:
        spec = tmp_path / "spec.toml"
        spec.write_text("[cohorts]\nown_prior = 2\n", "utf-8")
        result = growth_command("check", city_file, "--spec", spec)
        assert result.exit_code == USAGE
        assert "did you mean 'own_priors'" in result.stderr


class TestSpec:
    @pytest.mark.parametrize("preset", PRESETS)
    def test_a_preset_is_a_start(self, preset: str) -> None:
        result = growth_command("spec", preset)
        assert result.exit_code == DONE
        assert result.stdout.startswith("# ")
        assert GrowthSpec.from_toml(result.stdout) == GrowthSpec.preset(preset)
        assert tomllib.loads(result.stdout)["name"] == preset

    def test_the_help_names_every_preset(self) -> None:
        assert PRESET_NAMES.split(", ") == list(PRESETS)

    def test_the_schema_is_json(self) -> None:
        result = growth_command("spec", "--schema")
        assert result.exit_code == DONE
        assert json.loads(result.stdout) == GrowthSpec.json_schema()


def test_demo_makes_a_city_with_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second replaces the first
        result = growth_command("demo", "--students", "4000", "--schools", "20")
        assert result.exit_code == DONE, result.output
    run = load_run(tmp_path / "growth-demo")
    assert run.spec == GrowthSpec.preset("core").replace({"measurement.csem": "column"})
    assert run.schools.filter(group="All")["school_id"].n_unique() == 20
    assert "growth-demo/report.html" in result.stdout
    assert (tmp_path / "growth-demo" / "report.html").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"growth-demo"}


def test_demo_too_small_to_fit_says_so(tmp_path: Path) -> None:
    result = growth_command("demo", "--students", "300", "--schools", "4", "--out", tmp_path / "demo")
    assert result.exit_code == DATA
    assert "min_cohort" in result.stderr


def test_version() -> None:
    result = growth_command("--version")
    assert (result.exit_code, result.stdout) == (DONE, f"growth {version('growth')}\n")


def test_help_names_every_command() -> None:
    result = growth_command("--help")
    assert result.exit_code == DONE
    for name in ("demo", "check", "run", "spec"):
        assert re.search(rf"^  {name} ", result.stdout, flags=re.MULTILINE)


def test_without_typer_the_way_out_is_shown() -> None:
    code = "import sys; sys.modules['typer'] = None; import growth.cli"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == DATA
    assert "pip install 'growth[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_report_libraries_nothing_is_computed(
    city_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from growth.report import extras

    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    result = growth_command("run", city_file, "--out", tmp_path / "run")
    assert result.exit_code == DATA
    assert "growth[report]" in result.stderr
    assert not (tmp_path / "run").exists()


def test_the_installed_command_returns_its_exit_code(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("growth")
    bad = tmp_path / "table.csv"
    bad.write_text("a,b\n1,2\n")
    codes = {("--version",): DONE, ("check", str(bad)): DATA, ("check",): USAGE}
    for arguments, code in codes.items():
        done = subprocess.run([script, *arguments], capture_output=True, check=False)
        assert done.returncode == code
