"""Run folders: whole or not at all, read back bit for bit, safe to open in a spreadsheet."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import growth
from growth import GrowthRun, GrowthSpec
from growth.audit import verify_run
from growth.errors import GrowthError, SpecError, StoreError
from growth.panel import Panel
from growth.pipeline import FRAMES
from growth.store import kept_cohorts, load_run, load_students, save_run, spreadsheet_safe

PLAIN = {"spec.toml", "manifest.json", "cuts.json", "norms.json", "curves.zip"}
APPENDED = GrowthSpec.preset("core").replace(
    {
        "cohorts.years": "all",
        "cohorts.subjects": ["MATH"],
        "cohorts.grades": [5, 6],
        "cohorts.min_cohort": 100,
        "school.band_draws": 200,
    }
)


@pytest.fixture
def folder(city_run: GrowthRun, tmp_path: Path) -> Path:
    return save_run(city_run, tmp_path / "runs" / "2025")


def _names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_run_folder_holds_everything_twice(folder: Path) -> None:
    tables = {f"{name}.{kind}" for name in FRAMES for kind in ("csv", "parquet")}
    assert _names(folder) == tables - {"students.parquet"} | {"students"} | PLAIN
    assert _names(folder.parent) == {folder.name}, "nothing is left beside it"


def test_what_is_read_back_is_what_was_written(folder: Path, city_run: GrowthRun) -> None:
    again = load_run(folder)
    for name in FRAMES:
        assert_frame_equal(again.polars(name), city_run.polars(name), check_exact=True)
        assert isinstance(getattr(again, name), pl.DataFrame)
    assert again.spec == city_run.spec
    assert again.manifest == city_run.manifest
    assert again.cuts == city_run.cuts
    assert again.norms.to_dict() == city_run.norms.to_dict()
    assert repr(again) == repr(city_run)


def test_later_years_use_a_stored_run(folder: Path, city_file: Path, city_run: GrowthRun) -> None:
    base = load_run(folder)
    later = growth.run(city_file, freeze=base.freeze())
    assert_frame_equal(later.levels, city_run.levels)
    assert base.freeze().to_bytes() == city_run.freeze().to_bytes()


def test_the_manifest_names_every_file_by_its_digest(folder: Path) -> None:
    files = json.loads((folder / "manifest.json").read_text())["files"]
    held = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert set(files) == held - {"manifest.json"}
    for name, digest in files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_equal_runs_make_equal_tables(folder: Path, city_file: Path, tmp_path: Path) -> None:
    other = save_run(growth.run(city_file, "core", n_jobs=2), tmp_path / "other")
    for name in ("students", "schools", "levels", "counts", "variance"):
        assert (folder / f"{name}.csv").read_bytes() == (other / f"{name}.csv").read_bytes()


def test_csv_withholds_what_the_run_withholds(folder: Path) -> None:
    schools = pl.read_csv(folder / "schools.csv", infer_schema_length=None)
    small = schools.filter(pl.col("n") < 20)
    assert small.height > 0
    results = [name for name in schools.columns if "percentile" in name or "effect" in name]
    assert results
    for name in (*results, "shrunk", "shrunk_se", "mean_se", "median_se"):
        assert small[name].null_count() == small.height, name
    levels = pl.read_csv(folder / "levels.csv", infer_schema_length=None)
    withheld = levels.filter(pl.col("reason").is_not_null())
    assert withheld.height >= small.height
    assert withheld["level"].null_count() == withheld["growth_percentile"].null_count() == withheld.height


def test_ids_keep_their_zeros(folder: Path, city_run: GrowthRun) -> None:
    text = (folder / "students.csv").read_text().splitlines()[1]
    first = city_run.students["student_id"][0]
    assert first.startswith("0")
    assert text.startswith(first)


class TestRefusals:
    def test_an_earlier_run_stays(self, folder: Path, city_run: GrowthRun) -> None:
        before = (folder / "manifest.json").read_bytes()
        with pytest.raises(StoreError, match="already holds a run"):
            save_run(city_run, folder)
        assert (folder / "manifest.json").read_bytes() == before

    def test_an_earlier_run_is_replaced_on_request(self, folder: Path, city_run: GrowthRun) -> None:
        def page(file: Path) -> None:
            file.write_text("page")

        save_run(city_run, folder, overwrite=True, extras={"report.html": page})
        assert (folder / "report.html").read_text() == "page"
        save_run(city_run, folder, overwrite=True)
        assert not (folder / "report.html").exists()
        assert _names(folder.parent) == {folder.name}

    def test_a_folder_with_other_things_is_never_replaced(self, folder: Path, city_run: GrowthRun) -> None:
        (folder / "notes.txt").write_text("mine")
        with pytest.raises(StoreError, match=r"notes\.txt"):
            save_run(city_run, folder, overwrite=True)
        assert (folder / "notes.txt").read_text() == "mine"

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_what_is_no_run_folder_is_never_replaced(
        self, city_run: GrowthRun, tmp_path: Path, overwrite: bool
    ) -> None:
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.tex").write_text("mine")
        (tmp_path / "file").write_text("mine")
        for name in ("thesis", "file"):
            with pytest.raises(StoreError, match="not a run folder"):
                save_run(city_run, tmp_path / name, overwrite=overwrite)
        assert (tmp_path / "thesis" / "chapter.tex").exists()
        assert (tmp_path / "file").exists()

    def test_an_empty_folder_is_used(self, city_run: GrowthRun, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert load_run(save_run(city_run, tmp_path / "empty")).spec == city_run.spec


class TestWholeOrNotAtAll:
    @pytest.mark.parametrize(
        "error", [OSError("disk full"), GrowthError("no altair"), RuntimeError("defect")]
    )
    def test_nothing_appears_when_writing_fails(
        self, city_run: GrowthRun, tmp_path: Path, error: Exception
    ) -> None:
        def fail(file: Path) -> None:
            file.write_text("half a page")
            raise error

        kind = StoreError if isinstance(error, OSError) else type(error)
        with pytest.raises(kind):
            save_run(city_run, tmp_path / "run", extras={"report.html": fail})
        assert _names(tmp_path) == set()

    def test_an_earlier_run_survives_when_writing_fails(
        self, folder: Path, city_run: GrowthRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rename, calls = Path.rename, iter([True, False, True])

        def fail_second(self: Path, target: Path) -> Path:
            if not next(calls):
                raise OSError("disk gone")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", fail_second)
        with pytest.raises(StoreError, match="cannot be read or written"):
            save_run(city_run, folder, overwrite=True)
        monkeypatch.undo()
        assert load_run(folder).spec == city_run.spec
        assert _names(folder.parent) == {folder.name}

    def test_a_place_that_cannot_be_written_is_named(self, city_run: GrowthRun, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="cannot be read or written"):
            save_run(city_run, tmp_path / "file" / "run")


class TestReading:
    def test_what_is_no_run_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="not a run folder"):
            load_run(tmp_path)

    @pytest.mark.parametrize(
        "name", ["schools.parquet", "spec.toml", "cuts.json", "norms.json", "curves.zip"]
    )
    def test_a_changed_file_is_refused(self, folder: Path, name: str) -> None:
        (folder / name).write_bytes((folder / name).read_bytes() + b"\n")
        with pytest.raises(StoreError, match=f"'{name}'.*was changed"):
            load_run(folder)

    def test_a_missing_file_is_refused(self, folder: Path) -> None:
        (folder / "levels.parquet").unlink()
        with pytest.raises(StoreError, match=r"'levels\.parquet'.*is missing"):
            load_run(folder)

    @pytest.mark.parametrize("text", ["{", "{}", "[]"])
    def test_a_broken_manifest_is_refused(self, folder: Path, text: str) -> None:
        (folder / "manifest.json").write_text(text)
        with pytest.raises(StoreError, match="cannot be read"):
            load_run(folder)

    def test_a_csv_may_be_changed(self, folder: Path, city_run: GrowthRun) -> None:
        (folder / "schools.csv").write_text("sorted by hand")
        assert load_run(folder).spec == city_run.spec


class TestParts:
    def test_students_lie_by_year_subject_and_grade(self, folder: Path, city_run: GrowthRun) -> None:
        parts = sorted(file.relative_to(folder / "students") for file in folder.rglob("part.parquet"))
        keys = city_run.students.select("year", "subject", "grade").unique()
        assert {str(part.parent) for part in parts} == {
            f"year={year}/subject={subject}/grade={grade}" for year, subject, grade in keys.rows()
        }
        whole = pl.scan_parquet(folder / "students" / "**" / "*.parquet", hive_partitioning=True)
        fifth = whole.filter(grade=5, subject="MATH").sort("_row").drop("_row").collect()
        mine = city_run.students.filter(grade=5, subject="MATH")
        assert_frame_equal(fifth, mine, check_column_order=False, check_dtypes=False)

    def test_only_what_is_asked_for_is_read(self, folder: Path, city_run: GrowthRun) -> None:
        for part in folder.rglob("part.parquet"):
            if "grade=5" not in str(part):
                part.write_bytes(b"not read")
        mine = city_run.students.filter(grade=5, subject="MATH").select("student_id", "sgp")
        found = load_students(folder, grades=[5], subjects=["MATH"], columns=["student_id", "sgp"])
        assert_frame_equal(found, mine)
        run = load_run(folder)
        assert run.schools.height == city_run.schools.height
        with pytest.raises(StoreError, match="was changed"):
            _ = run.students
        with pytest.raises(StoreError, match="was changed"):
            load_students(folder, grades=[6])
        with pytest.raises(StoreError, match="none of these"):
            load_students(folder, years=[1999])
        assert not verify_run(folder).holds

    def test_folders_of_earlier_versions(self, repository: Path) -> None:
        earlier = repository / "fixtures" / "runs" / "core_2025_v0.1.0"
        assert load_run(earlier).students.height > 400
        with pytest.raises(StoreError, match="folders of any version"):
            load_students(earlier)
        with pytest.raises(StoreError, match="keeps no cohorts"):
            kept_cohorts(earlier)


@pytest.fixture(scope="module")
def years() -> pl.DataFrame:
    return growth.simulate_table(1_500, 12, years=2, seed=3).table


@pytest.fixture(scope="module")
def earlier(years: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep a run of all years but the last."""
    place = tmp_path_factory.mktemp("earlier")
    before = years.filter(pl.col("year") < years["year"].max())
    run = growth.run(before, APPENDED, checkpoints=place / "parts")
    return save_run(run, place / "run", cohorts=place / "parts")


class TestReuse:
    def test_a_year_is_appended(self, years: pl.DataFrame, earlier: Path, tmp_path: Path) -> None:
        alone = growth.run(years, APPENDED)
        run = growth.run(years, APPENDED, reuse=kept_cohorts(earlier), checkpoints=tmp_path / "parts")
        assert run.manifest["outputs"] == alone.manifest["outputs"]
        assert repr(run.curves.to_dict()) == repr(alone.curves.to_dict())
        last = str(years["year"].max())
        for cohorts in (run.manifest["cohorts"], run.manifest["cohorts"]["prior_scores_only"]):
            assert cohorts["fitted"]
            assert cohorts["reused"]
            assert all(last in key for key in cohorts["fitted"])
            assert not any(last in key for key in cohorts["reused"])
        manifest = (earlier / "manifest.json").read_bytes()
        assert run.manifest["cohorts"]["reused_from"] == hashlib.sha256(manifest).hexdigest()
        assert not alone.manifest["cohorts"]["reused"]
        folder = save_run(run, tmp_path / "run", cohorts=tmp_path / "parts")
        assert verify_run(folder).holds
        again = growth.run(years, APPENDED, reuse=kept_cohorts(folder))
        assert again.manifest["cohorts"]["fitted"] == []
        assert again.manifest["outputs"] == alone.manifest["outputs"]

    def test_nothing_is_fitted_that_is_known(
        self, years: pl.DataFrame, earlier: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from growth.pipeline import cohorts

        real, fitted = cohorts.student_growth, []

        def counted(panel: Panel, *arguments: object, **options: object) -> object:
            fitted.append(panel.year)
            return real(panel, *arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(cohorts, "student_growth", counted)
        growth.run(years, APPENDED, reuse=kept_cohorts(earlier))
        assert set(fitted) == {years["year"].max()}

    def test_other_choices_and_scores_are_fitted(self, years: pl.DataFrame, earlier: Path) -> None:
        kept = kept_cohorts(earlier)
        levels = growth.run(years, APPENDED.replace({"school.aggregate": "median"}), reuse=kept)
        assert levels.manifest["cohorts"]["reused"]
        other = growth.run(years, APPENDED.replace({"quantiles.rearrange": False}), reuse=kept)
        assert other.manifest["cohorts"]["reused"] == []
        odd = pl.int_range(pl.len()) % 2
        moved = years.with_columns(pl.col("score") + odd)
        assert growth.run(moved, APPENDED, reuse=kept).manifest["cohorts"]["reused"] == []

    def test_a_changed_cohort_is_refused(self, years: pl.DataFrame, earlier: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(earlier, tmp_path / "run"))
        for file in (copy / "cohorts").iterdir():
            file.write_bytes(file.read_bytes() + b"\n")
        with pytest.raises(StoreError, match="was changed since it was written"):
            growth.run(years, APPENDED, reuse=kept_cohorts(copy))
        assert not verify_run(copy).holds

    def test_frozen_models_are_not_mixed_with_fits(
        self, years: pl.DataFrame, earlier: Path, tmp_path: Path
    ) -> None:
        """Equal cohorts, one fitted and one placed on a base year's curves, share no file."""
        spec = APPENDED.replace({"cohorts.years": "latest", "peers.composition": "none"})
        table = years.filter(pl.col("year") < years["year"].max())
        base = growth.run(years, spec)
        fitted = growth.run(table, spec, checkpoints=tmp_path)
        frozen = growth.run(table, freeze=base.freeze(), checkpoints=tmp_path)
        assert frozen.manifest["outputs"] == growth.run(table, freeze=base.freeze()).manifest["outputs"]
        assert frozen.manifest["outputs"] != fitted.manifest["outputs"]
        assert frozen.manifest["cohorts"]["fitted"] == []

    def test_the_command_line(self, years: pl.DataFrame, tmp_path: Path) -> None:
        from typer.testing import CliRunner

        from growth.cli import app

        last = years["year"].max()
        (tmp_path / "spec.toml").write_text(APPENDED.to_toml())
        years.filter(pl.col("year") < last).write_parquet(tmp_path / "before.parquet")
        years.write_parquet(tmp_path / "now.parquet")

        def call(table: str, out: str, *more: str) -> GrowthRun:
            options = ["--spec", tmp_path / "spec.toml", "--out", tmp_path / out, "--no-report", *more]
            done = CliRunner().invoke(app, ["run", *map(str, [tmp_path / table, *options])])
            assert done.exit_code == 0, done.output
            return load_run(tmp_path / out)

        call("before.parquet", "one")
        run = call("now.parquet", "two", "--reuse", str(tmp_path / "one"))
        assert run.manifest["cohorts"]["reused"]
        assert all(str(last) in key for key in run.manifest["cohorts"]["fitted"])
        assert verify_run(tmp_path / "two").holds


def test_a_specification_of_a_later_version_is_named(folder: Path) -> None:
    file = folder / "spec.toml"
    file.write_text(file.read_text() + "\n[future]\nchoice = 1\n")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["spec.toml"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SpecError, match="unknown key 'future'"):
        load_run(folder)


class TestSpreadsheets:
    @pytest.mark.parametrize(
        "text",
        ["=1+1", "+SUM(A1)", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=HYPERLINK(0)", "-", "+1a", "--5"],
    )
    def test_formulas_become_text(self, text: str) -> None:
        assert spreadsheet_safe(pl.DataFrame({"school_name": [text]})).item() == f"'{text}"

    @pytest.mark.parametrize("text", ["-3", "+4.5", "-.5", "-1e-3", "Lincoln", "'tis", "", "1=1", None])
    def test_numbers_and_names_stay(self, text: str | None) -> None:
        frame = pl.DataFrame({"school_name": [text]}, schema={"school_name": pl.String})
        assert spreadsheet_safe(frame).item() == text

    def test_numbers_are_numbers(self) -> None:
        frame = pl.DataFrame({"residual": [-3.5, 2.0], "n": [-1, 1]})
        assert_frame_equal(spreadsheet_safe(frame), frame)

    def test_column_names_are_guarded(self) -> None:
        assert spreadsheet_safe(pl.DataFrame({"=cmd": [1]})).columns == ["'=cmd"]

    def test_lists_are_joined(self) -> None:
        frame = pl.DataFrame({"dropped_columns": [["foster", "homeless"], []]})
        assert spreadsheet_safe(frame)["dropped_columns"].to_list() == ["foster; homeless", ""]

    def test_a_run_is_guarded(self, city_file: Path, tmp_path: Path) -> None:
        types = {"student_id": pl.String, "school_id": pl.String}
        city = pl.read_csv(city_file, schema_overrides=types)
        named = city.with_columns(school_name="=" + pl.col("school_id"))
        folder = save_run(growth.run(named, "core"), tmp_path / "run")
        written = pl.read_csv(folder / "students.csv", infer_schema=False)["school_name"]
        assert written.str.starts_with("'=").all()
        kept = load_run(folder).students["school_name"]
        assert kept.str.starts_with("=").all()
