"""Reading student tables: layouts, kinds of frames, spellings of years, grades and flags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from growth.panel import read_table
from growth.spec import GrowthSpec

PLAIN = GrowthSpec.from_dict({"groups": {"flags": {}, "race": "", "lowest_race": False}})
WITH_GROUPS = GrowthSpec.from_dict(
    {
        "peers": {"flags": ["econ_disadvantaged"]},
        "groups": {"flags": {"EL": "english_learner", "SWD": "disability"}, "race": "race_ethnicity"},
    }
)


def own_table() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "student_id": ["007", "007", "010"],
            "year": [2024, 2023, 2024],
            "subject": ["ELA", "ELA", "ELA"],
            "grade": [4, 3, 4],
            "score": [2451.0, None, 2390.0],
            "school_id": ["01", "01", None],
            "homeroom": ["a", "b", "c"],
        }
    )


def sgp_table() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "VALID_CASE": ["VALID_CASE", "INVALID_CASE", "VALID_CASE"],
            "CONTENT_AREA": ["READING"] * 3,
            "YEAR": ["2023_2024", "2023_2024", "2022_2023"],
            "ID": ["1001", "1001", "1001"],
            "GRADE": ["4", "4", "3"],
            "SCALE_SCORE": [500, 400, 480],
            "SCHOOL_NUMBER": [12, 12, 12],
            "DISTRICT_NUMBER": [3, 3, 3],
            "ETHNICITY": ["White", "White", "White"],
            "FREE_REDUCED_LUNCH_STATUS": ["Free Reduced Lunch: Yes", "Free Reduced Lunch: No", None],
            "ELL_STATUS": ["ELL: No", "ELL: No", "ELL: Yes"],
            "IEP_STATUS": ["IEP: No", "IEP: No", "IEP: No"],
            "SCHOOL_ENROLLMENT_STATUS": ["Enrolled School: Yes"] * 3,
            "EMH_LEVEL": ["Elementary"] * 3,
        }
    )


def test_canonical_frame() -> None:
    frame = read_table(own_table(), PLAIN).frame
    expected = pl.DataFrame(
        {
            "student_id": ["007", "007", "010"],
            "year": pl.Series([2023, 2024, 2024], dtype=pl.Int32),
            "year_label": ["2023", "2024", "2024"],
            "subject": ["ELA", "ELA", "ELA"],
            "grade": pl.Series([3, 4, 4], dtype=pl.Int16),
            "score": [None, 2451.0, 2390.0],
            "school_id": ["01", "01", None],
            "homeroom": ["b", "a", "c"],
        }
    )
    assert_frame_equal(frame, expected)


def test_layout_of_the_r_package_is_recognised() -> None:
    table = read_table(sgp_table(), WITH_GROUPS)
    row = table.frame.row(1, named=True)
    assert row == {
        "student_id": "1001",
        "year": 2024,
        "year_label": "2023_2024",
        "subject": "READING",
        "grade": 4,
        "score": 500.0,
        "school_id": "12",
        "district_id": "3",
        "enrolled": True,
        "econ_disadvantaged": True,
        "english_learner": False,
        "disability": False,
        "race_ethnicity": "White",
        "EMH_LEVEL": "Elementary",
    }
    assert table.frame["econ_disadvantaged"].to_list() == [None, True]
    lines = table.counts.select("step", "rows", "excluded", "reason").rows()
    assert lines == [("read", 3, 0, None), ("valid", 2, 1, "not_valid"), ("unique", 2, 0, None)]


def test_layout_can_be_forced_and_columns_renamed() -> None:
    mixed = sgp_table().rename({"ID": "SSID", "SCALE_SCORE": "theta"})
    spec = WITH_GROUPS.replace(
        {"columns.layout": "sgp", "columns.rename": {"student_id": "SSID", "score": "theta"}}
    )
    assert_frame_equal(read_table(mixed, spec).frame, read_table(sgp_table(), WITH_GROUPS).frame)


def test_rename_wins_over_the_layout() -> None:
    table = own_table().with_columns(other=pl.col("score") + 1).rename({"score": "raw"})
    spec = PLAIN.replace({"columns.rename": {"score": "other"}})
    frame = read_table(table, spec).frame
    assert frame["score"].to_list() == [None, 2452.0, 2391.0]
    assert frame["raw"].to_list() == [None, 2451.0, 2390.0]


def test_reading_the_canonical_frame_again_changes_nothing() -> None:
    once = read_table(sgp_table(), WITH_GROUPS)
    again = read_table(once.frame, WITH_GROUPS)
    assert_frame_equal(once.frame, again.frame)
    assert once.digest == again.digest


KINDS: dict[str, Any] = {
    "polars": lambda frame: frame,
    "polars_lazy": lambda frame: frame.lazy(),
    "pandas": lambda frame: frame.to_pandas(),
    "pyarrow": lambda frame: frame.to_arrow(),
    "duckdb": lambda frame: duckdb.from_arrow(frame.to_arrow()),
}
TYPES = {
    "polars": pl.DataFrame,
    "polars_lazy": pl.LazyFrame,
    "pandas": pd.DataFrame,
    "pyarrow": pa.Table,
    "duckdb": duckdb.DuckDBPyRelation,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [own_table, sgp_table])
def test_every_kind_of_frame_comes_in_and_goes_back(kind: str, make: Callable[[], pl.DataFrame]) -> None:
    spec = PLAIN if make is own_table else WITH_GROUPS
    source = KINDS[kind](make())
    table = read_table(source, spec)
    expected = read_table(make(), spec)
    assert_frame_equal(table.frame, expected.frame)
    assert table.digest == expected.digest
    assert table.origin == kind
    back = table.to_caller(table.frame)
    assert isinstance(back, TYPES[kind])
    assert_frame_equal(read_table(back, spec).frame, expected.frame)


def test_the_caller_s_frame_is_not_changed() -> None:
    for kind in ("polars", "pandas"):
        source = KINDS[kind](sgp_table())
        before = source.clone() if kind == "polars" else source.copy(deep=True)
        read_table(source, WITH_GROUPS)
        if kind == "polars":
            assert_frame_equal(source, before)
        else:
            pd.testing.assert_frame_equal(source, before)


def test_files(tmp_path: Path) -> None:
    frame = own_table()
    frame.write_csv(tmp_path / "table.csv")
    frame.write_parquet(tmp_path / "table.parquet")
    frame.write_csv(tmp_path / "table.csv.gz", compression="gzip")
    expected = read_table(frame, PLAIN).frame
    digests = set()
    for name in ("table.csv", "table.parquet", "table.csv.gz"):
        table = read_table(tmp_path / name, PLAIN)
        assert_frame_equal(table.frame, expected)
        assert isinstance(table.to_caller(table.frame), pl.DataFrame)
        digests.add(table.digest)
    assert len(digests) == 3
    assert all(len(digest) == 64 for digest in digests)
    assert_frame_equal(read_table(str(tmp_path / "table.csv"), PLAIN).frame, expected)


def test_csv_as_r_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(
        "VALID_CASE,CONTENT_AREA,YEAR,ID,GRADE,SCALE_SCORE,SCHOOL_NUMBER,FREE_REDUCED_LUNCH_STATUS,"
        "ELL_STATUS,IEP_STATUS,ETHNICITY,note\n"
        "VALID_CASE,READING,2023_2024,0012,04,500,0007,Free Reduced Lunch: Yes,NA,IEP: No,NA,1\n"
        "VALID_CASE,READING,2022_2023,0012,03,NA,NA,Free Reduced Lunch: No,ELL: No,IEP: No,White,2\n"
    )
    frame = read_table(path, WITH_GROUPS).frame
    assert frame["student_id"].to_list() == ["0012", "0012"]
    assert frame["school_id"].to_list() == [None, "0007"]
    assert frame["grade"].to_list() == [3, 4]
    assert frame["score"].to_list() == [None, 500.0]
    assert frame["english_learner"].to_list() == [False, None]
    assert frame["race_ethnicity"].to_list() == ["White", "NA"]
    assert frame["note"].dtype == pl.Int64


def read_one(column: str, values: list[Any], spec: GrowthSpec = PLAIN) -> list[Any]:
    """Read a table of one row per value, in the order given."""
    table = pl.DataFrame(
        {
            "student_id": [f"{i:03}" for i in range(len(values))],
            "year": [2024] * len(values),
            "subject": ["ELA"] * len(values),
            "grade": [4] * len(values),
            "score": [1.0] * len(values),
            "school_id": ["1"] * len(values),
        }
    ).with_columns(pl.Series(column, values, strict=False))
    frame = read_table(table, spec).frame
    return frame[column].to_list()


@pytest.mark.parametrize(
    ("values", "years"),
    [
        ([2023, 2024], [2023, 2024]),
        ([2023.0, 2024.0], [2023, 2024]),
        (["2023", " 2024 "], [2023, 2024]),
        (["2022_2023", "2023_2024"], [2023, 2024]),
        (["2022-23", "1999-00"], [2023, 2000]),
        (["2022/2023", "2023–24"], [2023, 2024]),
    ],
)
def test_years(values: list[Any], years: list[int]) -> None:
    assert read_one("year", values) == years


@pytest.mark.parametrize(
    ("values", "grades"),
    [
        ([3, 11], [3, 11]),
        ([3.0, 11.0], [3, 11]),
        (["03", "11"], [3, 11]),
        (["Grade 3", "GRADE_11", "G5", "gr. 6"], [3, 11, 5, 6]),
        (["K", "kg", "PK", "0"], [0, 0, -1, 0]),
    ],
)
def test_grades(values: list[Any], grades: list[int]) -> None:
    assert read_one("grade", values) == grades


@pytest.mark.parametrize(
    "values",
    [
        [True, False, None],
        [1, 0, None],
        [1.0, 0.0, float("nan")],
        ["Y", "N", ""],
        ["yes", "NO", "NA"],
        ["ELL: Yes", "ELL: No", None],
        ["True", "false", None],
        ["1", "0", "  "],
    ],
)
def test_flags(values: list[Any]) -> None:
    spec = PLAIN.replace({"groups.flags": {"EL": "english_learner"}})
    assert read_one("english_learner", values, spec) == [True, False, None]


def test_ids_as_numbers_become_text() -> None:
    assert read_one("student_id", [12, 3]) == ["12", "3"]
    assert read_one("school_id", [12.0, None]) == ["12", None]


def test_scores_as_text_and_decimals() -> None:
    assert read_one("score", ["12.5", " 13 ", "", "NA", None]) == [12.5, 13.0, None, None, None]
    assert read_one("score", [12, 13]) == [12.0, 13.0]


def test_pandas_missing_score_is_a_missing_score() -> None:
    frame = own_table().to_pandas()
    assert np.isnan(frame["score"].iloc[1])
    assert read_table(frame, PLAIN).frame["score"].null_count() == 1


def test_digest_sees_values_but_not_row_order() -> None:
    table = own_table()
    digest = read_table(table, PLAIN).digest
    assert read_table(table.reverse(), PLAIN).digest == digest
    assert read_table(table.with_columns(homeroom=pl.lit("z")), PLAIN).digest == digest
    changed = table.with_columns(score=pl.Series([2451.0, 0.0, 2390.0]))
    assert read_table(changed, PLAIN).digest != digest
    swapped = table.with_columns(school_id=pl.Series([None, "01", "01"]))
    assert read_table(swapped, PLAIN).digest != digest


def test_rows_outside_the_scale_can_be_excluded() -> None:
    spec = PLAIN.replace(
        {"scale.bounds": {"ELA": {4: (2400.0, 2500.0)}, "SCIENCE": {}}, "scale.outside": "exclude"}
    )
    table = read_table(own_table(), spec)
    assert table.frame["student_id"].to_list() == ["007", "007"]
    assert table.counts.filter(step="valid").select("rows", "excluded", "reason").row(0) == (
        2,
        1,
        "outside_bounds",
    )


def test_repr_counts() -> None:
    assert repr(read_table(own_table(), PLAIN)) == "StudentTable(3 rows, 1 subject(s), years 2023-2024)"
