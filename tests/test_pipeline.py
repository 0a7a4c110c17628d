"""The one call: frames in and out, the account of rows, determinism, provenance, privacy."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import joblib
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import spearmanr

import growth
from growth.errors import CohortError, GrowthError, SpecError
from growth.panel import Panel
from growth.panel.csem import csem_tables
from growth.pipeline import FRAMES, GrowthRun
from growth.pipeline.account import account_of_rows
from growth.pipeline.manifest import frame_digest
from growth.spec import GrowthSpec
from growth.student import StudentGrowth, compose

GAP = 1e-9
"""Proven optimality that the engine promises for every fitted quantile."""
CENTRE = 0.5
"""Mean student percentile of a subject, in points around 50: cells of about 360 students with mid-p ties."""
LEAST_RECOVERY = {"none": 0.75, "two_step": 0.65}
"""Rank correlation with true effects of 40 schools: a reliability of .8 makes .9 in expectation, less what
goes with composition: six school means in 40 schools leave sqrt(1 - 6/40) of it by chance alone."""

MEAN_SE, SE_CORRELATION = 0.005, 0.97
"""Standard errors from the CSEM, relative and by student, against those from the R package's 100 draws."""

FRONT = ["student_id", "year", "subject", "grade", "school_id", "score", "status", "cohort", "n_priors"]
NUMBERS = ["norm_group", "prior_score", "sgp", "sgp_se", "sgp_low", "sgp_high"]
NUMBERS += ["percentile", "expected_score", "residual", "residual_sd", "composition_se", "highest"]


@pytest.fixture(scope="module")
def city(city_file: Path) -> pl.DataFrame:
    as_text = {"student_id": pl.String, "school_id": pl.String}
    return pl.read_csv(city_file, schema_overrides=as_text)


def _same(one: GrowthRun, other: GrowthRun, *, check_dtypes: bool = True) -> None:
    for name in FRAMES:
        left, right = (run.polars(name).drop("seconds", strict=False) for run in (one, other))
        assert_frame_equal(left, right, check_exact=True, check_dtypes=check_dtypes)


class TestStudents:
    def test_columns_are_identity_results_and_what_else_the_table_held(self, city_run: GrowthRun) -> None:
        columns = city_run.students.columns
        assert columns[: len(FRONT) + len(NUMBERS)] == FRONT + NUMBERS
        spec = city_run.spec
        assert {*spec.peers.flags, spec.groups.race, "csem"} <= set(columns)
        assert city_run.students.schema["sgp"] == pl.Int16

    def test_one_row_per_row_in_scope_in_the_order_of_the_table(
        self, city: pl.DataFrame, city_run: GrowthRun
    ) -> None:
        expected = city.filter(pl.col("year") == 2025, pl.col("grade") != 3)
        expected = expected.select("student_id", "subject").sort("student_id", "subject")
        assert_frame_equal(city_run.students.select("student_id", "subject"), expected)
        assert city_run.students["highest"].all()

    def test_results_belong_to_the_scored_and_to_nobody_else(self, city_run: GrowthRun) -> None:
        scored = pl.col("status") == "scored"
        for name in ("sgp", "percentile", "expected_score", "residual", "cohort", "n_priors", "norm_group"):
            assert city_run.students.select((pl.col(name).is_not_null() == scored).all()).item(), name
        rows = city_run.students.filter(scored)
        assert rows["sgp"].is_between(1, 99).all()
        assert rows["percentile"].is_between(0, 1, closed="none").all()
        np.testing.assert_array_equal(rows["residual"], rows["score"] - rows["expected_score"])

    def test_percentiles_agree_with_the_rooms_entered_one_by_one(
        self, city_file: Path, city_run: GrowthRun
    ) -> None:
        table = growth.read_table(city_file, city_run.spec)
        panels = growth.build_panels(table, city_run.spec)
        panel = compose(panels, city_run.spec).panels.panels[1]
        alone = growth.student_growth(panel, city_run.spec)
        ids = table.frame["student_id"].gather(panel.row)
        mine = city_run.students.filter(cohort=panel.key)
        place = {student: i for i, student in enumerate(ids)}
        at = [place[student] for student in mine["student_id"]]
        np.testing.assert_array_equal(mine["sgp"], alone.sgp[at])
        np.testing.assert_array_equal(mine["percentile"], alone.percentile[at])

    def test_every_pattern_on_request(self, city_file: Path, city_run: GrowthRun) -> None:
        spec = city_run.spec.replace({"cohorts.report": "all"})
        every = growth.run(city_file, spec)
        fullest = every.students.filter("highest")
        assert_frame_equal(fullest, city_run.students)
        scored = every.students.filter(status="scored")
        assert scored.height == city_run.cells["n"].sum()
        assert not scored.select("student_id", "subject", "cohort").is_duplicated().any()
        assert_frame_equal(every.schools, city_run.schools)

    def test_columns_named_like_results_are_kept_apart(self, city: pl.DataFrame) -> None:
        earlier = city.with_columns(sgp=pl.lit("old"), status=pl.lit("old"), status_input=pl.lit("older"))
        students = growth.run(earlier, "core").students
        assert students.schema["sgp"] == pl.Int16
        assert set(students["sgp_input"]) == {"old"}
        assert set(students["status_input"]) == {"older"}
        assert set(students["status_input_input"]) == {"old"}


class TestAccount:
    def test_every_row_is_accounted_for(self, city: pl.DataFrame, city_run: GrowthRun) -> None:
        counts = city_run.counts
        assert counts["rows"][0] == city.height
        for (_, year), block in counts.group_by("subject", "year", maintain_order=True):
            lines = block.select("rows", "excluded").rows()
            for (before, _), (rows, excluded) in pairwise(lines):
                assert rows == before - excluded
            first = (city.height if year is None else block["rows"][0]) - lines[0][1]
            assert lines[0][0] == first
        in_scope = counts.filter(step="in_scope").filter(pl.col("year").is_not_null())
        of_table = counts.filter(step="in_scope", subject="all")["rows"][-1]
        assert in_scope["rows"].sum() == of_table == city_run.students.height
        scored = dict(counts.filter(step="scored").select("subject", "rows").rows())
        found = city_run.students.drop_nulls("percentile").group_by("subject").len().rows()
        assert scored == dict(found)

    def test_reasons_are_the_students_status(self, city_run: GrowthRun) -> None:
        excluded = city_run.counts.filter(pl.col("year").is_not_null(), pl.col("excluded") > 0)
        status = city_run.students.filter(pl.col("status") != "scored")["status"].value_counts()
        by_reason = excluded.group_by("reason").agg(pl.col("excluded").sum())
        assert dict(by_reason.rows()) == dict(status.rows())

    def test_it_goes_on_to_the_schools(self, city: pl.DataFrame) -> None:
        blank = pl.when(pl.col("school_id") == city["school_id"][0]).then(None).otherwise(pl.col("school_id"))
        result = growth.run(city.with_columns(blank.alias("school_id")), "core")
        lost = result.counts.filter(reason="no_school")
        assert (lost["step"] == "has_school").all()
        scored = result.students.filter(status="scored")
        assert lost["excluded"].sum() == scored["school_id"].null_count() > 0
        everyone = result.schools.filter(group="All")
        assert everyone["n"].sum() == scored["school_id"].count()

    @pytest.mark.parametrize(
        ("step", "column", "names"),
        [
            ("has_priors", "rows", "ELA 2025 has_priors"),
            ("scored", "rows", "percentiles of ELA 2025"),
            ("valid", "excluded", "all  valid"),
        ],
    )
    def test_a_lost_row_stops_the_run(self, city_run: GrowthRun, step: str, column: str, names: str) -> None:
        line = pl.col("step") == step
        first = city_run.counts.with_row_index().filter(line)["index"][0]
        at = pl.int_range(pl.len()) == first
        wrong = city_run.counts.with_columns(pl.col(column) + pl.when(at).then(1).otherwise(0))
        none = city_run.counts.clear()
        with pytest.raises(GrowthError, match=re.escape(names)):
            account_of_rows(wrong, none, city_run.students)

    def test_a_student_too_many_stops_the_run(self, city_run: GrowthRun) -> None:
        with pytest.raises(GrowthError, match="unaccounted"):
            account_of_rows(city_run.counts, city_run.counts.clear(), city_run.students[1:])


class TestSameResults:
    @pytest.mark.parametrize("n_jobs", [2, 3, -1])
    def test_whatever_the_number_of_threads(self, city_file: Path, city_run: GrowthRun, n_jobs: int) -> None:
        other = growth.run(city_file, "core", n_jobs=n_jobs)
        _same(city_run, other)
        assert other.manifest["outputs"] == city_run.manifest["outputs"]
        assert other.manifest["threads"] == joblib.effective_n_jobs(n_jobs)

    def test_with_more_threads_than_cohorts(self, city_file: Path, city_run: GrowthRun) -> None:
        spec = city_run.spec.replace({"cohorts.grades": (5,), "cohorts.subjects": ("ELA",)})
        _same(growth.run(city_file, spec), growth.run(city_file, spec, n_jobs=4))

    def test_whatever_the_order_of_the_rows(self, city: pl.DataFrame, city_run: GrowthRun) -> None:
        shuffled = growth.run(city.sample(fraction=1.0, shuffle=True, seed=5), "core")
        _same(city_run, shuffled)

    def test_however_the_specification_is_given(
        self, city_file: Path, city_run: GrowthRun, tmp_path: Path
    ) -> None:
        spec = GrowthSpec.preset("core")
        file = tmp_path / "spec.toml"
        file.write_text(spec.to_toml(), "utf-8")
        for choice in (spec, file, str(file), spec.model_dump()):
            assert growth.run(city_file, choice).manifest["outputs"] == city_run.manifest["outputs"]

    def test_from_a_table_that_was_read_before(self, city_file: Path, city_run: GrowthRun) -> None:
        table = growth.read_table(city_file, city_run.spec)
        _same(city_run, growth.run(table, "core"))

    def test_under_a_joblib_configuration(self, city_file: Path, city_run: GrowthRun) -> None:
        with joblib.parallel_config(n_jobs=2):
            other = growth.run(city_file, "core")
        assert other.manifest["threads"] == 2
        _same(city_run, other)


class TestKinds:
    def test_polars(self, city: pl.DataFrame, city_run: GrowthRun) -> None:
        assert isinstance(city_run.students, pl.DataFrame)
        result = growth.run(city, "core")
        assert isinstance(result.schools, pl.DataFrame)
        _same(city_run, result)

    def test_pandas(self, city: pl.DataFrame, city_run: GrowthRun) -> None:
        pd = pytest.importorskip("pandas", reason="in the extra: frames")
        given = city.to_pandas()
        before = given.copy()
        result = growth.run(given, "core")
        for name in FRAMES:
            frame = getattr(result, name)
            assert isinstance(frame, pd.DataFrame)
            assert len(frame) == city_run.polars(name).height
        assert result.students is result.students
        pd.testing.assert_frame_equal(given, before)
        _same(city_run, result, check_dtypes=False)  # pandas turned whole numbers with gaps to floats

    def test_pyarrow(self, city: pl.DataFrame, city_run: GrowthRun) -> None:
        pa = pytest.importorskip("pyarrow", reason="in the extra: frames")
        result = growth.run(city.to_arrow(), "core")
        assert isinstance(result.levels, pa.Table)
        _same(city_run, result)

    def test_duckdb(self, city_file: Path, city_run: GrowthRun) -> None:
        duckdb = pytest.importorskip("duckdb", reason="in the extra: frames")
        with duckdb.connect() as connection:
            types = {"student_id": "VARCHAR", "school_id": "VARCHAR"}
            relation = connection.read_csv(str(city_file), dtype=types)
            result = growth.run(relation, "core")
        assert isinstance(result.students, duckdb.DuckDBPyRelation)
        _same(city_run, result)


class TestTruth:
    @pytest.mark.parametrize("composition", LEAST_RECOVERY)
    def test_growth_percentiles_follow_the_true_effects(self, composition: str) -> None:
        city = growth.simulate_table(8_000, 40, years=1, seed=11)
        spec = GrowthSpec.preset("core").replace({"peers.composition": composition})
        result = growth.run(city.table, spec, n_jobs=2)
        truth = city.schools.rename({"effect": "true_effect"})
        both = result.schools.filter(group="All").drop_nulls("growth_percentile")
        both = both.join(truth, on=["year", "subject", "school_id"])
        for (subject,), part in both.group_by("subject"):
            found = spearmanr(part["growth_percentile"], part["true_effect"]).statistic
            assert found > LEAST_RECOVERY[composition], subject

    def test_every_fit_is_certified(self, city_run: GrowthRun) -> None:
        assert city_run.cells["max_relative_gap"].max() <= GAP
        assert city_run.manifest["certificates"]["largest_relative_gap"] <= GAP

    def test_cohorts_are_centred(self, city_run: GrowthRun) -> None:
        means = city_run.summary()["mean_percentile"]
        assert (means - 50).abs().max() < CENTRE

    def test_levels_follow_growth_percentiles(self, city_run: GrowthRun) -> None:
        shown = city_run.levels.drop_nulls("level")
        expected = [min(int(value // 10) + 1, 10) for value in shown["growth_percentile"]]
        assert shown["level"].to_list() == expected
        assert city_run.levels.filter(pl.col("reason").is_not_null())["level"].is_null().all()


class TestParity:
    """Integer growth percentiles of the R package SGP 2.2-0.0, table in to percentiles out."""

    def test_on_synthetic_data(self, repository: Path) -> None:
        own = repository / "fixtures" / "own"
        spec = GrowthSpec.preset("sgp").replace({"columns.rename": {"score": "scale_score"}})
        theirs = pl.read_parquet(own / "sgp_students.parquet")
        theirs = theirs.filter(pl.col("cohort").str.contains(r"^[A-Z]+_2025_G\d+$"))
        self._equal(growth.run(own / "students.csv", spec).students, theirs, order="sgp_order")

    def test_on_the_packages_own_data(self, golden: Path) -> None:
        knots = json.loads((golden / "knots_boundaries.json").read_text())["demo_state_knots_boundaries"]
        fixed = {subject: _fixed_knots(table) for subject, table in knots.items()}
        csem = pl.read_csv(golden / "csem_demo.csv").select(
            subject="CONTENT_AREA", grade="GRADE", score="SCALE_SCORE", csem="SCALE_SCORE_CSEM"
        )
        spec = GrowthSpec.preset("sgp").replace(
            {
                "basis.fixed": fixed,
                "scale.bounds": {subject: _bounds(table) for subject, table in knots.items()},
                "measurement.csem": "table",
                "measurement.tables": [table.model_dump() for table in csem_tables(csem)],
                "school.enrolled_only": True,
                "groups.race": "race_ethnicity",
            }
        )
        theirs = pl.read_parquet(golden / "pipeline_percentiles.parquet").select(
            cohort="COHORT", student_id="ID", sgp="SGP", se="SGP_STANDARD_ERROR"
        )
        result = growth.run(golden / "sgpdata_long.parquet", spec, n_jobs=-1)
        students = result.students.with_columns(
            pl.col("subject").replace({"MATHEMATICS": "MATH", "READING": "READ"})
        )
        given = students.filter(_cohort().is_in(theirs["cohort"].unique().to_list()))
        self._equal(given, theirs)
        both = theirs.join(given.with_columns(_cohort().alias("cohort")), on=["cohort", "student_id"])
        assert both["sgp_se"].mean() == pytest.approx(both["se"].mean(), rel=MEAN_SE)
        assert np.corrcoef(both["sgp_se"], both["se"])[0, 1] >= SE_CORRELATION

    @staticmethod
    def _equal(students: pl.DataFrame, theirs: pl.DataFrame, order: str | None = None) -> None:
        ours = students.filter(status="scored").select("student_id", "sgp", "n_priors", cohort=_cohort())
        both = theirs.join(ours, on=["cohort", "student_id"], how="full", suffix="_ours")
        assert both.height == theirs.height == ours.height > 4_000
        assert both["sgp"].eq_missing(both["sgp_ours"]).all()
        assert order is None or both[order].eq_missing(both["n_priors"]).all()


def _cohort() -> pl.Expr:
    return pl.format("{}_{}_G{}", "subject", "year", "grade")


def _fixed_knots(table: dict[str, list[float]]) -> dict[str, dict[str, list[float]]]:
    """Return grade -> knots and boundaries, from the package's ``knots_3``, ``boundaries_3``, ..."""
    grades = [name.removeprefix("knots_") for name in table if name.startswith("knots_")]
    return {
        grade: {"knots": table[f"knots_{grade}"], "boundaries": table[f"boundaries_{grade}"]}
        for grade in grades
    }


def _bounds(table: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return grade -> LOSS and HOSS, from the package's ``loss.hoss_3``, ..."""
    return {
        name.removeprefix("loss.hoss_"): bounds
        for name, bounds in table.items()
        if name.startswith("loss.hoss_")
    }


class TestFrozen:
    def test_own_norms_and_cuts_change_nothing(self, city_file: Path, city_run: GrowthRun) -> None:
        again = growth.run(city_file, freeze=city_run.freeze(parts=("norms", "cuts")))
        # Bands and probabilities differ: a school is no longer one of the schools that it is drawn against.
        drawn = ["growth_percentile_low", "growth_percentile_high"]
        drawn += [name for name in again.schools.columns if name.startswith("p_")]
        assert_frame_equal(again.schools.drop(drawn), city_run.schools.drop(drawn))
        assert_frame_equal(again.levels, city_run.levels)
        assert (again.manifest["norms"], again.manifest["cuts"]["frozen"]) == ({"frozen": True}, True)
        assert city_run.manifest["norms"] == {"frozen": False}

    def test_other_norms_change_ranks_and_other_cuts_change_levels(
        self, city_file: Path, city_run: GrowthRun
    ) -> None:
        other = growth.simulate_table(3_200, 14, years=1, seed=3)
        base = growth.run(other.table, city_run.spec.replace({"levels.rule": "base_deciles"}))
        result = growth.run(city_file, "core", freeze=base.freeze(parts=("norms", "cuts")))
        assert result.cuts is base.cuts
        assert result.norms == base.norms
        assert_frame_equal(result.students, city_run.students)
        assert_frame_equal(
            result.schools.select("school_id", "mean_percentile"),
            city_run.schools.select("school_id", "mean_percentile"),
        )
        assert not result.schools["growth_percentile"].equals(city_run.schools["growth_percentile"])

    def test_norms_of_another_measure_are_refused(self, city_file: Path, city_run: GrowthRun) -> None:
        spec = city_run.spec.replace({"school.aggregate": "median"})
        with pytest.raises(SpecError, match="ranks"):
            growth.run(city_file, spec, freeze=city_run.freeze(parts=("norms",)))


class TestProvenance:
    def test_what_was_read_as_missing_is_told(self, city: pl.DataFrame, city_run: GrowthRun) -> None:
        spoiled = city.with_columns(score=pl.Series(["absent", "absent", *city["score"].cast(pl.String)[2:]]))
        run = growth.run(spoiled, city_run.spec.replace({"rows.unreadable_score": "missing"}))
        assert "'score' has values that are taken as missing. Rows affected: 2." in run.notices[0]
        assert not any("taken as missing" in notice for notice in city_run.notices)

    def test_manifest_names_what_went_in_and_came_out(self, city_file: Path, city_run: GrowthRun) -> None:
        import hashlib

        manifest = city_run.manifest
        assert manifest["input"]["sha256"] == hashlib.sha256(city_file.read_bytes()).hexdigest()
        assert manifest["spec"] == {"name": "core", "sha256": city_run.spec.digest}
        assert set(manifest["outputs"]) == set(FRAMES)
        assert manifest["outputs"]["schools"] == frame_digest(city_run.polars("schools"))
        assert manifest["seeds"] == {"school.seed": city_run.spec.school.seed}
        assert manifest["started"].endswith("+00:00")
        assert manifest["started"] <= manifest["finished"]
        assert set(manifest["versions"]) >= {"python", "growth", "numpy", "numba", "polars"}
        assert {cell["cohort"]: cell["n"] for cell in manifest["cells"]} == dict(
            city_run.cells.select("cohort", "n").rows()
        )
        assert json.loads(json.dumps(manifest, allow_nan=False)) == manifest

    def test_output_digests_see_every_change_but_the_time(self, city_run: GrowthRun) -> None:
        cells = city_run.polars("cells")
        assert frame_digest(cells) == frame_digest(cells.with_columns(seconds=pl.lit(1.0)))
        assert frame_digest(cells) != frame_digest(cells.with_columns(n=pl.col("n") + 1))
        assert frame_digest(cells) != frame_digest(cells.rename({"n": "m"}))

    def test_nothing_that_describes_a_run_holds_an_id(self, city: pl.DataFrame, city_run: GrowthRun) -> None:
        ids = {*city["student_id"], *city["school_id"]}
        words = [json.dumps(city_run.manifest), repr(city_run), city_run._repr_html_()]
        words += [
            repr(city_run.summary()),
            repr(city_run.cuts),
            repr(city_run.norms),
            city_run.spec.to_toml(),
        ]
        for text in words:
            assert ids.isdisjoint(re.findall(r"\w+", text))


class TestShown:
    def test_summary_counts_schools_and_students(self, city_run: GrowthRun) -> None:
        summary = city_run.summary()
        assert summary["subject"].to_list() == ["ELA", "MATH"]
        assert summary["students"].sum() == city_run.students.height
        assert summary["scored"].sum() == city_run.students["sgp"].count()
        everyone = city_run.schools.filter(group="All")
        assert summary["schools"].sum() == everyone["growth_percentile"].count()
        assert summary["withheld"].sum() == everyone["reason"].count()
        assert summary["cohorts"].sum() == city_run.cells.height
        assert summary["reliability"].is_between(0, 1).all()

    def test_repr_shows_the_summary(self, city_run: GrowthRun) -> None:
        text = repr(city_run)
        assert text.startswith("GrowthRun(spec 'core', 24 cohorts")
        assert "MATH" in text
        assert ".students" in text

    def test_html_escapes_names(self, city: pl.DataFrame) -> None:
        subject = pl.when(pl.col("subject") == "ELA").then(pl.lit("<b>ELA")).otherwise(pl.col("subject"))
        html = growth.run(city.with_columns(subject=subject), "core")._repr_html_()
        assert "&lt;b&gt;ELA" in html
        assert "<b>ELA" not in html

    def test_polars_names_what_there_is(self, city_run: GrowthRun) -> None:
        with pytest.raises(GrowthError, match="did you mean 'students'"):
            city_run.polars("student")

    def test_results_cannot_be_replaced(self, city_run: GrowthRun) -> None:
        with pytest.raises(AttributeError):
            city_run.spec = GrowthSpec()  # type: ignore[misc]


class TestProgress:
    def test_it_counts_up_to_the_end(self, city_file: Path) -> None:
        seen: list[tuple[int, int, str]] = []
        growth.run(city_file, "core", n_jobs=2, progress=lambda *step: seen.append(step))
        total = seen[0][1]
        assert [done for done, _, _ in seen] == list(range(1, total + 1))
        assert {of for _, of, _ in seen} == {total}
        assert seen[-1][2] == "levels"


class TestFailsClosed:
    def test_without_a_cohort(self, city_file: Path) -> None:
        with pytest.raises(CohortError, match="cohort_too_small"):
            growth.run(city_file, {"cohorts": {"min_cohort": 10_000}, "groups": {"flags": {}, "race": ""}})

    def test_with_an_unknown_choice(self, city_file: Path) -> None:
        with pytest.raises(SpecError, match="did you mean 'cohorts'"):
            growth.run(city_file, {"cohort": {}})

    def test_a_failing_cohort_ends_the_run(self, city_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from growth.pipeline import cohorts

        original = cohorts.student_growth

        def failing(panel: Panel, spec: GrowthSpec, **options: object) -> StudentGrowth:
            if panel.key == "MATH_2025_G7_own1":
                raise CohortError("a prior does not vary")
            return original(panel, spec, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(cohorts, "student_growth", failing)
        with pytest.raises(CohortError, match="does not vary"):
            growth.run(city_file, "core", n_jobs=2)
