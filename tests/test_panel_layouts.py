"""Layouts: each is recognised, reads to the same table, and its confidence is right as often as it says."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from layout_cases import RECORDS, WRITERS, caaspp, cers, district_wide, edfi
from polars.testing import assert_frame_equal

from growth.errors import ColumnError, TableError
from growth.panel import StudentTable, read_table
from growth.panel.frames import CallerFrame
from growth.panel.layouts import LAYOUTS, recognise
from growth.spec import GrowthSpec

PLAIN = GrowthSpec.from_dict(
    {"groups": {"flags": {}, "race": "", "lowest_race": False}, "measurement": {"csem": "column"}}
)
CORE = ("student_id", "year", "subject", "grade", "score", "csem", "school_id", "district_id")
TRIALS, CALIBRATION_BAND = 2_000, 0.03
"""Recognitions of damaged headers; three standard errors of a share of .9 among 2,000 are .02."""


def spec_for(layout: str, **changes: object) -> GrowthSpec:
    fixed = {"columns.fixed": {"subject": "ELA"}} if layout == "sgp_wide" else {}
    return PLAIN.replace(fixed | {key.replace("__", "."): value for key, value in changes.items()})


def lost(table: StudentTable) -> dict[str, int]:
    gone = table.counts.filter(pl.col("excluded") > 0)
    return dict(zip(gone["reason"], gone["excluded"], strict=True))


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("suffix", ["csv", "parquet", "txt"])
def test_every_layout_reads_to_the_same_table(layout: str, suffix: str, tmp_path: Path) -> None:
    frame = WRITERS[layout](RECORDS)
    path = tmp_path / f"scores.{suffix}"
    if suffix == "parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator="^" if suffix == "txt" else ",")
    table = read_table(path, spec_for(layout))
    found = table.header.recognition
    assert (found.layout.name, found.chosen) == (layout, False)
    assert found.confidence > 0.95
    wanted = RECORDS.filter(subject="ELA") if layout == "sgp_wide" else RECORDS
    assert_frame_equal(table.frame.select(CORE), read_table(wanted, PLAIN).frame.select(CORE))
    assert str(found.layout.title) in found.sentence()


@pytest.mark.parametrize("layout", WRITERS)
def test_a_layout_can_be_named(layout: str) -> None:
    table = read_table(WRITERS[layout](RECORDS), spec_for(layout, columns__layout=layout))
    assert table.header.recognition.chosen
    assert "as the specification says" in table.header.recognition.sentence()
    if layout == "growth":
        return  # own names are read in every layout
    other = "cers" if layout != "cers" else "sgp"
    with pytest.raises(ColumnError, match="is missing"):
        read_table(WRITERS[layout](RECORDS), spec_for(layout, columns__layout=other))


def test_confidence_is_right_as_often_as_it_says() -> None:
    """Marks go missing one time in ten, and a foreign column comes along now and then."""
    rng = np.random.default_rng(7)
    strangers = [
        name for layout in LAYOUTS.values() for own in layout.marks for name in layout.names[own][:1]
    ]
    stated, right = np.empty(TRIALS), np.empty(TRIALS, dtype=np.bool_)
    for trial in range(TRIALS):
        layout = str(rng.choice(list(WRITERS)))
        known = LAYOUTS[layout]  # type: ignore[index]
        marks = {name for own in known.marks for name in known.names[own]}
        header = [
            name for name in WRITERS[layout](RECORDS).columns if name not in marks or rng.random() < 0.9
        ]
        header += [name for name in strangers if name not in marks and rng.random() < 0.02]
        found = recognise(header, "auto")
        stated[trial], right[trial] = found.confidence, found.layout.name == layout
    assert right.mean() > 0.97
    assert abs(right.mean() - stated.mean()) < CALIBRATION_BAND
    unsure = stated < 0.95
    assert unsure.sum() > 20
    assert right[unsure].mean() < right[~unsure].mean()


def test_names_differ_in_case_blanks_and_punctuation() -> None:
    frame = RECORDS.rename({"student_id": "Student ID", "school_id": "School-ID", "score": "SCORE"})
    table = read_table(frame, PLAIN)
    assert table.header.names["student_id"] == "Student ID"
    assert_frame_equal(table.frame, read_table(RECORDS, PLAIN).frame)
    two = RECORDS.rename({"score": "Score"}).with_columns(SCORE=pl.lit("1"))
    with pytest.raises(ColumnError, match="Column 'score' is missing"):
        read_table(two, PLAIN)


class TestCalifornia:
    def test_rows_that_are_no_results_are_counted_by_reason(self) -> None:
        rows = caaspp(RECORDS)
        rows = pl.concat(
            [
                rows,
                rows.head(1).with_columns(RecordType=pl.lit("06"), SSID=pl.lit("2")),
                rows.head(1).with_columns(IncludeIndicator=pl.lit("N"), SSID=pl.lit("3")),
                rows.head(2).with_columns(
                    IncludeIndicator=pl.lit("T"), ConditionCode=pl.lit("LOSS"), SSID=pl.lit("4")
                ),
            ]
        )
        table = read_table(rows, PLAIN)
        assert lost(table) == {"other_test": 1, "not_valid": 1, "unearned_score": 2}
        assert table.frame.height == RECORDS.height
        kept = read_table(rows, PLAIN.replace({"rows.unearned_scores": "keep"}))
        assert lost(kept) == {"other_test": 1, "not_valid": 1}
        assert kept.frame.filter(student_id="4").height == 2

    def test_codes_become_words(self) -> None:
        spec = PLAIN.replace({"groups.race": "race_ethnicity", "groups.flags": {"EL": "english_learner"}})
        statuses = ["EL", "RFEP", "EO", "IFEP", "TBD", "ADEL"]
        rows = caaspp(RECORDS).with_columns(
            ELStatus=pl.Series(statuses),
            ReportingEthnicity=pl.Series(["100", "600", "800", "500", "700", ""]),
        )
        frame = read_table(rows, spec).frame
        by_row = dict(
            zip(
                frame["score"],
                zip(frame["english_learner"], frame["race_ethnicity"], strict=True),
                strict=True,
            )
        )
        assert by_row[2400.0] == (True, "American Indian or Alaska Native")
        assert by_row[2451.0] == (False, "Black or African American")
        assert by_row[2410.0] == (None, "White")
        assert by_row[2480.0] == (True, None)

    @pytest.mark.parametrize("code", ["X", ""])
    def test_an_unknown_indicator_is_refused(self, code: str) -> None:
        rows = caaspp(RECORDS).with_columns(IncludeIndicator=pl.lit(code))
        with pytest.raises(ColumnError, match=r"'IncludeIndicator' .* Rows affected: 6.* one of N, T, Y"):
            read_table(rows, PLAIN)

    def test_interim_and_partial_tests_of_cers_do_not_count(self) -> None:
        rows = cers(RECORDS).with_columns(
            AssessmentType=pl.Series(["Summative"] * 3 + ["Interim"] + ["Summative"] * 2),
            Completeness=pl.Series(["Complete"] * 4 + ["Partial", "Complete"]),
            AdministrationCondition=pl.Series(["Valid"] * 5 + ["IN"]),
        )
        assert lost(read_table(rows, PLAIN)) == {"other_test": 1, "not_valid": 2}

    def test_the_year_of_a_file_comes_from_its_name(self, tmp_path: Path) -> None:
        paths = []
        for year in ("2023", "2024"):
            part = caaspp(RECORDS.filter(year=year)).drop("SchoolYear")
            paths.append(tmp_path / f"scores_{year}.txt")
            part.write_csv(paths[-1], separator="^")
        with pytest.raises(ColumnError, match="Column 'SchoolYear' is missing"):
            read_table(paths, PLAIN)
        spec = PLAIN.replace({"columns.year_from_file_name": True})
        table = read_table(paths, spec)
        assert_frame_equal(table.frame.select(CORE), read_table(RECORDS, PLAIN).frame.select(CORE))
        with pytest.raises(TableError, match="needs files"):
            read_table(caaspp(RECORDS).drop("SchoolYear"), spec)
        paths[0].rename(tmp_path / "scores_2023_or_2024x2025.txt")
        with pytest.raises(TableError, match="exactly one"):
            read_table(tmp_path / "scores_2023_or_2024x2025.txt", spec)


class TestStandards:
    def test_other_scores_and_students_not_tested_do_not_count(self) -> None:
        rows = edfi(RECORDS)
        kind, reason = "scoreResults.assessmentReportingMethodDescriptor", "reasonNotTestedDescriptor"
        other = rows.with_columns(
            pl.lit("uri://ed-fi.org/AssessmentReportingMethodDescriptor#Percentile rank").alias(kind)
        )
        absent = rows.head(2).with_columns(
            pl.lit("uri://ed-fi.org/ReasonNotTestedDescriptor#Absent").alias(reason),
            pl.lit("99").alias("studentUniqueId"),
        )
        table = read_table(pl.concat([rows, other, absent]), PLAIN)
        assert lost(table) == {"other_score": 6, "not_valid": 2}
        assert_frame_equal(table.frame.select(CORE), read_table(RECORDS, PLAIN).frame.select(CORE))


class TestWide:
    def test_blank_cells_are_no_records_and_are_counted(self) -> None:
        table = read_table(district_wide(RECORDS), PLAIN)
        assert lost(table) == {"no_score": 2}
        assert table.counts["rows"][0] == 8

    def test_columns_by_subject_and_year(self) -> None:
        wide = pl.DataFrame(
            {
                "StudentID": ["01", "02"],
                "School": ["A", "B"],
                "GRADE_2023": ["3", "3"],
                "GRADE_2024": ["4", "4"],
                "ELA_2023": [2400.0, 2300.0],
                "ELA_2024": [2450.0, None],
                "Math_2024": [2440, 2441],
            }
        )
        spec = GrowthSpec.from_dict({"groups": {"flags": {}, "race": "", "lowest_race": False}})
        table = read_table(wide, spec)
        assert table.header.recognition.layout.name == "district_wide"
        assert table.frame.select("student_id", "year", "subject", "grade", "score").rows() == [
            ("01", 2023, "ELA", 3, 2400.0),
            ("01", 2024, "ELA", 4, 2450.0),
            ("01", 2024, "MATH", 4, 2440.0),
            ("02", 2023, "ELA", 3, 2300.0),
            ("02", 2024, "MATH", 4, 2441.0),
        ]


class TestSources:
    def test_only_needed_columns_are_read(self, tmp_path: Path) -> None:
        frame = RECORDS.with_columns(homeroom=pl.lit("x"), notes=pl.lit("y"), school_name=pl.lit("Z"))
        frame.write_csv(tmp_path / "t.csv")
        frame.write_parquet(tmp_path / "t.parquet")
        spec = PLAIN.replace({"columns.carry": ["homeroom"]})
        sources: list[CallerFrame] = [tmp_path / "t.csv", tmp_path / "t.parquet", frame, frame.lazy()]
        sources += [duckdb.from_arrow(frame.to_arrow()), frame.to_pandas(), frame.to_arrow()]
        for source in sources:
            columns = read_table(source, spec).frame.columns
            assert {"homeroom", "school_name"} <= set(columns)
            assert "notes" not in columns
            assert "notes" in read_table(source, PLAIN).frame.columns

    def test_duckdb_tables_and_queries(self, tmp_path: Path) -> None:
        path = tmp_path / "scores.db"
        with duckdb.connect(str(path)) as database:
            database.register("records", RECORDS.to_arrow())
            database.sql("CREATE TABLE scores AS SELECT * FROM records")
        expected = read_table(RECORDS, PLAIN)
        for rest in ("table=scores", "query=SELECT * FROM scores WHERE year <> '1999'"):
            table = read_table(f"duckdb://{path}?{rest}", PLAIN)
            assert_frame_equal(table.frame, expected.frame)
            assert table.digest == expected.digest
        for rest, words in (
            ("table=score", "cannot be read"),
            ("query=SELECT nothing FROM scores", "cannot be read"),
            ("query=SET threads = 1", "is missing"),
            ("query=DROP TABLE scores", "cannot be read"),
            ("", "names no table"),
        ):
            with pytest.raises(TableError, match=words):
                read_table(f"duckdb://{path}?{rest}", PLAIN)
        with pytest.raises(TableError, match="There is no file"):
            read_table(f"duckdb://{path}x?table=scores", PLAIN)

    def test_several_files(self, tmp_path: Path) -> None:
        paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
        for path, part in zip(paths, RECORDS.partition_by("year"), strict=True):
            part.write_csv(path)
        table = read_table(paths, PLAIN)
        assert_frame_equal(table.frame, read_table(RECORDS, PLAIN).frame)
        assert table.digest != read_table(paths[::-1], PLAIN).digest
        RECORDS.drop("district_id").write_csv(paths[1])
        with pytest.raises(TableError, match="do not have the same columns"):
            read_table(paths, PLAIN)
        with pytest.raises(TableError, match="is not a table"):
            read_table([1, 2], PLAIN)  # type: ignore[list-item]


def test_fixed_values_and_subjects() -> None:
    one = RECORDS.filter(subject="ELA").drop("subject")
    spec = PLAIN.replace({"columns.fixed": {"subject": "English"}, "columns.subjects": {"English": "ELA"}})
    assert_frame_equal(
        read_table(one, spec).frame.select(CORE),
        read_table(RECORDS.filter(subject="ELA"), PLAIN).frame.select(CORE),
    )
    with pytest.raises(ColumnError, match=r"'subject' is in the table, and columns\.fixed"):
        read_table(RECORDS, spec)
    with pytest.raises(ColumnError, match=r"columns\.fixed has the unknown own name 'subjet'"):
        read_table(RECORDS, PLAIN.replace({"columns.fixed": {"subjet": "ELA"}}))


@pytest.mark.parametrize(("written", "known_as"), [("English ", "English"), (7, "7"), (7.0, "7")])
def test_subjects_are_translated_as_they_are_read(written: str | float, known_as: str) -> None:
    table = RECORDS.filter(subject="ELA").with_columns(subject=pl.lit(written))
    spec = PLAIN.replace({"columns.subjects": {known_as: "ELA"}})
    assert set(read_table(table, spec).frame["subject"]) == {"ELA"}
