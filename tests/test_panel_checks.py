"""Each validation rule, what its message says, and that no message repeats a student's data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from growth.errors import CohortError, ColumnError, SpecError, TableError
from growth.panel import PanelSet, build_panels, read_table
from growth.panel.frames import CallerFrame
from growth.spec import GrowthSpec

PLAIN = GrowthSpec.from_dict({"groups": {"flags": {}, "race": "", "lowest_race": False}})

SECRETS = ("secret-pupil", "secret-school", "98765.25", "98765", "secret-text")
"""Ids, scores and texts of the rows; none may appear in a message."""


def table(**columns: object) -> pl.DataFrame:
    base: dict[str, Any] = {
        "student_id": ["secret-pupil-1", "secret-pupil-2", "secret-pupil-3"],
        "year": [2024, 2024, 2024],
        "subject": ["ELA", "ELA", "ELA"],
        "grade": [4, 4, 4],
        "score": [98765.25, 98765.25, 98765.25],
        "school_id": ["secret-school"] * 3,
    }
    return pl.DataFrame(base | columns, strict=False)


def read_and_build(source: CallerFrame, spec: GrowthSpec) -> PanelSet:
    return build_panels(read_table(source, spec), spec)


def raised(
    kind: type[Exception],
    source: CallerFrame,
    spec: GrowthSpec = PLAIN,
    call: Callable[[CallerFrame, GrowthSpec], object] = read_table,
) -> str:
    with pytest.raises(kind) as caught:
        call(source, spec)
    message = str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not [secret for secret in SECRETS if secret in message]
    return message


@pytest.mark.parametrize(
    ("columns", "what", "rule", "rows"),
    [
        ({"student_id": [None, "a", ""]}, "Column 'student_id' is blank", "every row has one", 2),
        (
            {"student_id": [1.0, 2.5, 3.0]},
            "Column 'student_id' has values that cannot be read",
            "text or whole numbers",
            1,
        ),
        (
            {"student_id": [1.0, 9007199254740994.0, 3.0]},
            "Column 'student_id' has values that cannot be read",
            "text or whole numbers",
            1,
        ),
        ({"student_id": [["secret-text"]] * 3}, "Column 'student_id' has type List(String)", "text", 3),
        ({"year": [2024, None, 2024]}, "Column 'year' is blank", "every row has one", 1),
        (
            {"year": ["2024", "soon", "2324"]},
            "Column 'year' has values that cannot be read",
            "2024, 2023_2024",
            2,
        ),
        ({"year": ["2022_2024", "2024", "2024"]}, "Column 'year' has values that cannot be read", "2024", 1),
        (
            {"year": ["2023_2024", "2024", "2024"]},
            "Column 'year' writes the same year in several ways",
            "one spelling per year",
            3,
        ),
        ({"subject": ["ELA", " ", None]}, "Column 'subject' is blank", "every row has one", 2),
        ({"grade": ["4", "UG", "99"]}, "Column 'grade' has values that cannot be read", "3, 03", 2),
        ({"grade": [4, None, 4]}, "Column 'grade' is blank", "every row has one", 1),
        ({"score": [float("nan"), float("inf"), 1.0]}, "Column 'score' is NaN or infinite", "a finite", 2),
        ({"score": ["secret-text", "1", ""]}, "Column 'score' has values that cannot be read", "a number", 1),
        ({"score": [True, False, True]}, "Column 'score' has type Boolean", "a number", 3),
        ({"score": ["nan", "1", "2"]}, "Column 'score' is NaN or infinite", "a finite", 1),
        ({"school_id": [1.5, None, 2.0]}, "Column 'school_id' has values that cannot be read", "text", 1),
        (
            {"valid": [True, None, False]},
            "Column 'valid' does not say for every row whether it is valid",
            "VALID_CASE",
            1,
        ),
        ({"enrolled": ["Y", "N", "secret-text"]}, "Column 'enrolled' has values that cannot", "yes/no", 1),
    ],
)
def test_a_column_problem_names_column_rule_rows_and_remedy(
    columns: dict[str, Any], what: str, rule: str, rows: int
) -> None:
    message = raised(ColumnError, table(**columns))
    assert message.startswith(what)
    assert f"Rows affected: {rows:,}." in message
    assert f"Rule: {rule}" in message
    assert "To fix: " in message


def test_flags_with_a_third_value_and_categories_of_a_wrong_type() -> None:
    spec = PLAIN.replace({"peers.flags": ["foster"], "peers.categories": ["program"]})
    source = table(foster=["Y", "secret-text", "2"], program=[[1], [2], [3]])
    message = raised(ColumnError, source, spec)
    assert "The table has 2 problems:" in message
    assert "Column 'foster' has values that cannot be read. Rows affected: 2. Rule: yes/no" in message
    assert "Column 'program' has type List(Int64). Rows affected: 3." in message


def test_all_column_problems_come_in_one_error() -> None:
    source = table(student_id=[None, "a", "b"], grade=["x", "4", "4"], score=[float("inf"), 1.0, 2.0])
    message = raised(ColumnError, source)
    assert message.count("\n  - ") == 3
    assert "The table has 3 problems:" in message


def test_the_caller_s_column_name_is_shown() -> None:
    source = table(score=[float("nan"), 1.0, 2.0]).rename({"score": "SS"})
    spec = PLAIN.replace({"columns.rename": {"score": "SS"}})
    assert raised(ColumnError, source, spec).startswith("Column 'SS' (score) is NaN or infinite.")


def test_missing_columns_all_at_once_with_the_nearest_name() -> None:
    source = table().rename({"score": "scores"}).drop("school_id")
    message = raised(ColumnError, source, PLAIN.replace({"peers.flags": ["foster"]}))
    assert "Column 'score' is missing; did you mean 'scores'?" in message
    assert 'columns.rename = { score = "<your column>" }' in message
    assert "Column 'school_id' is missing" in message
    assert "Rule: needed by peers.flags" in message
    assert "or take it out of peers.flags" in message


@pytest.mark.parametrize(
    ("changes", "by"),
    [
        ({"groups.flags": {"EL": "english_learner"}}, "groups.flags.EL"),
        ({"groups.race": "race_ethnicity"}, "groups.race"),
        ({"peers.categories": ["program"]}, "peers.categories"),
        ({"school.enrolled_only": True}, "school.enrolled_only"),
    ],
)
def test_a_column_that_the_specification_needs(changes: dict[str, Any], by: str) -> None:
    assert f"Rule: needed by {by}." in raised(ColumnError, table(), PLAIN.replace(changes))


def test_missing_columns_of_the_r_layout_are_named_as_there() -> None:
    names = {"student_id": "ID", "year": "YEAR", "subject": "CONTENT_AREA", "grade": "GRADE"}
    source = table().rename(names | {"school_id": "SCHOOL_NUMBER"}).drop("score")
    assert "Column 'SCALE_SCORE' is missing" in raised(ColumnError, source)


def test_unusable_renames() -> None:
    spec = PLAIN.replace({"columns.rename": {"skore": "score", "grade": "grad"}})
    message = raised(ColumnError, table(), spec)
    assert "unknown own name 'skore'; did you mean 'score'?" in message
    assert "Column 'grad', named by columns.rename for 'grade', is not in the table" in message
    assert "did you mean 'grade'?" in message
    shared = PLAIN.replace({"columns.rename": {"grade": "score", "score": "score"}})
    assert "uses the column 'score' more than once" in raised(ColumnError, table(), shared)


def test_two_columns_for_one_own_name() -> None:
    spec = PLAIN.replace({"columns.rename": {"score": "theta"}})
    message = raised(ColumnError, table(theta=[1.0, 2.0, 3.0]), spec)
    assert message.startswith("Column 'score' is in the table, but 'theta' is to be used as score.")


def test_places_are_no_student_traits() -> None:
    message = raised(ColumnError, table(), PLAIN.replace({"peers.flags": ["score"]}))
    assert message.startswith("'score' cannot describe students.")


def test_enrolment_must_be_known_where_it_decides() -> None:
    source = table(enrolled=["Y", None, "N"])
    assert read_table(source, PLAIN).frame["enrolled"].null_count() == 1
    message = raised(ColumnError, source, PLAIN.replace({"school.enrolled_only": True}))
    assert message.startswith("Column 'enrolled' is blank. Rows affected: 1.")


def test_duplicate_keys() -> None:
    message = raised(TableError, table(student_id=["secret-pupil"] * 3))
    assert message.startswith("Columns 'student_id', 'year', 'subject' do not identify a row.")
    assert "Rows affected: 3. Rule: one valid row per student, year and subject." in message


def test_copies_that_are_not_valid_are_no_duplicates() -> None:
    source = table(student_id=["secret-pupil"] * 3, valid=["VALID_CASE", "INVALID_CASE", "INVALID_CASE"])
    assert read_table(source, PLAIN).frame.height == 1


def test_invalid_rows_are_not_judged() -> None:
    source = table(valid=["Y", "N", "N"], grade=["4", "UG", None], score=["1", "secret-text", "inf"])
    assert read_table(source, PLAIN).frame.height == 1


def test_scores_outside_the_scale() -> None:
    spec = PLAIN.replace({"scale.bounds": {"ELA": {4: (2000.0, 3000.0)}}})
    message = raised(ColumnError, table(score=[2500.0, 98765.25, None]), spec)
    assert message.startswith("Column 'score' lies outside the scale. Rows affected: 1.")
    assert 'scale.outside = "exclude"' in message
    read_table(table(score=[2000.0, 3000.0, None]), spec)


def test_bounds_for_no_subject_of_the_table() -> None:
    spec = PLAIN.replace({"scale.bounds": {"READING": {4: (2000.0, 3000.0)}}})
    assert "scale.bounds knows the subjects 'READING'; none is in the table" in raised(
        TableError, table(), spec
    )


def test_empty_tables() -> None:
    assert raised(TableError, table().clear()).startswith("The table has no rows.")
    message = raised(TableError, table(valid=[False] * 3))
    assert message.startswith("The table has no rows that are valid. Rows affected: 3.")


def test_sources_that_are_no_tables(tmp_path: Path) -> None:
    assert "A list is not a table" in raised(TableError, [1, 2])
    assert "There is no file" in raised(TableError, tmp_path / "nowhere.csv")
    (tmp_path / "table.xlsx").write_bytes(b"secret-text")
    assert "'table.xlsx' is of no known kind" in raised(TableError, tmp_path / "table.xlsx")
    (tmp_path / "broken.parquet").write_bytes(b"secret-text")
    assert "cannot be read as Parquet" in raised(TableError, tmp_path / "broken.parquet")
    header = "student_id,year,subject,grade,score,school_id\n"
    latin = f"{header}1,2024,ELA,4,1,secret-text\xe9\n"
    (tmp_path / "latin.csv").write_bytes(latin.encode("latin-1"))
    assert "UTF-8" in raised(TableError, tmp_path / "latin.csv")
    (tmp_path / "ragged.csv").write_text("student_id,grade\nsecret-pupil,4,98765\n")
    assert "2 fields in every line" in raised(TableError, tmp_path / "ragged.csv")
    (tmp_path / "empty.csv").write_text("")
    assert "is empty" in raised(TableError, tmp_path / "empty.csv")


def test_pandas_columns_of_mixed_types_are_named() -> None:
    frame = table().to_pandas()
    frame["note"] = pd.Series([1, "secret-text", 2.5], dtype=object)
    frame["memo"] = pd.Series([b"secret-text", 3, None], dtype=object)
    message = raised(ColumnError, frame)
    assert "'note'" in message
    assert "one type per column" in message


def test_copies_of_a_column_name() -> None:
    frame = pd.concat([table().to_pandas(), table().to_pandas()[["grade"]]], axis=1)
    assert "more than once: 'grade'" in raised(ColumnError, frame)
    twice = table().to_arrow().append_column("grade", pa.array([1, 2, 3]))
    assert "more than once: 'grade'" in raised(ColumnError, twice)


def two_years(**columns: pl.Series) -> pl.DataFrame:
    now = table()
    before = now.with_columns(year=pl.lit(2023, dtype=pl.Int64), grade=pl.lit(3, dtype=pl.Int64))
    return pl.concat([before, now]).with_columns(**columns)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"cohorts.subjects": ["ELLA"]}, "cohorts.subjects: 'ELLA' is not in the table; did you mean 'ELA'?"),
        ({"cohorts.other_subjects": ["X"]}, "cohorts.other_subjects: 'X' is not in the table"),
        ({"cohorts.years": [2025]}, "cohorts.years: 2025 is not in the table"),
        ({"cohorts.grades": [5, 6]}, "cohorts.grades: 5 is not in the table; cohorts.grades: 6 is not"),
        ({"cohorts.years": [2023]}, "No row is in scope (other_year 3, no_prior_grade 3)"),
        ({"cohorts.min_cohort": 4}, "No cohort can be fitted; rows in scope by reason: cohort_too_small 3"),
        (
            {"cohorts.grades": [3], "cohorts.years": [2023]},
            "No cohort can be fitted; rows in scope by reason: no_prior_score 3",
        ),
    ],
)
def test_nothing_to_fit(changes: dict[str, Any], what: str) -> None:
    message = raised(CohortError, two_years(), PLAIN.replace(changes), call=read_and_build)
    assert message.startswith(what)
    assert "To fix: " in message


@pytest.mark.parametrize("steps", [[4], [], [3, 3], [2, 3]])
def test_progressions_must_go_back(steps: list[int]) -> None:
    spec = PLAIN.replace({"cohorts.progressions": {4: steps}})
    message = raised(SpecError, two_years(), spec, call=read_and_build)
    assert message.startswith(f"cohorts.progressions.4 = {steps} is not a progression.")


def test_missing_covariates() -> None:
    spec = PLAIN.replace({"peers.flags": ["foster"], "peers.categories": ["program"]})
    source = two_years(
        foster=pl.Series([None, None, None, True, None, False]),
        program=pl.Series(["a", "a", "a", "a", None, None]),
    )
    message = raised(ColumnError, source, spec, call=read_and_build)
    assert "blank (rows): 'foster' (1), 'program' (2). Rows affected: 2." in message
    assert 'peers.missing = "exclude"' in message
