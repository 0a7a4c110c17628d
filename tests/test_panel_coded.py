"""Text as codes: what is read once per value is what reading every cell gives, and callers see text."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import growth
from growth import GrowthSpec, read_table, simulate_table
from growth.panel import StudentTable, text_files
from growth.panel.coded import by_value, code_numbers, coded, coded_if_few, is_coded
from growth.panel.records import Records
from growth.panel.values import Parsed, read_flag, read_grade, read_id, read_text, read_year
from growth.pipeline import street
from growth.pipeline.schools import school_results

PLAIN = GrowthSpec.preset("sgp")
READERS = {
    "id": (read_id, ["007", " 7", "NA", "", None, "A"]),
    "text": (read_text, [" ELA", "ELA", "NA", "", None, "b"]),
    "year": (read_year, ["2024", "2023-24", "x", "NA", None, "2023_2024"]),
    "grade": (read_grade, ["3", "K", "PK", "99", None, "Grade 5"]),
    "flag": (read_flag, ["Y", "no", "maybe", "", None, "Low income: Yes"]),
}


class TestOncePerValue:
    @pytest.mark.parametrize("kind", READERS)
    def test_gives_what_reading_every_cell_gives(self, kind: str) -> None:
        read, values = READERS[kind]
        column = pl.Series("x", values).gather(np.random.default_rng(1).integers(0, len(values), 300))
        self.assert_same(read, column, coded(column))

    @pytest.mark.parametrize("kind", ["id", "text", "year", "grade", "flag"])
    def test_whole_numbers(self, kind: str) -> None:
        column = pl.Series("x", [1, 0, 2024, None, 3, 3, 99], dtype=pl.Int64)
        self.assert_same(READERS[kind][0], column, column)

    def test_values_that_no_row_has_count_for_nothing(self) -> None:
        column = pl.Series("x", ["Y", "no"]).cast(pl.Enum(["Y", "no", "maybe"]))
        assert by_value(column, read_flag).bad == 0

    @pytest.mark.parametrize("values", [[], [None, None]])
    def test_nothing_to_read(self, values: list[None]) -> None:
        column = coded(pl.Series("x", values, dtype=pl.String))
        assert by_value(column, read_id).values.to_list() == values

    @staticmethod
    def assert_same(read: Callable[[pl.Series], Parsed], cells: pl.Series, column: pl.Series) -> None:
        expected, found = read(cells), by_value(column, read)
        values = found.values.cast(pl.String) if is_coded(found.values) else found.values
        assert values.to_list() == expected.values.to_list()
        assert values.dtype == expected.values.dtype
        assert (found.bad, found.wrong_type) == (expected.bad, expected.wrong_type)


class TestCodes:
    def test_sort_as_texts_do(self) -> None:
        column = pl.Series("x", ["b", "ä", "B", None, "a", "10", "9"])
        assert coded(column).sort().cast(pl.String).to_list() == column.sort().to_list()

    def test_are_given_to_few_values_only(self) -> None:
        assert is_coded(coded_if_few(pl.Series(["a", "b"] * 20)))
        assert not is_coded(coded_if_few(pl.Series([str(i // 2) for i in range(40)])))
        assert coded_if_few(pl.Series([1, 2])).dtype == pl.Int64

    def test_as_numbers(self) -> None:
        numbers = code_numbers(coded(pl.Series(["b", None, "a"])))
        assert numbers.tolist() == [1, -1, 0]
        assert numbers.dtype == np.int8


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    table = simulate_table(600, 12, years=1, seed=3).table
    return table.with_columns(room=pl.lit("east"), band=pl.lit("low").cast(pl.Enum(["low", "high"])))


class TestTable:
    def test_callers_see_text_and_their_own_codes(self, rows: pl.DataFrame) -> None:
        table = read_table(rows, PLAIN)
        frame = table.frame
        assert frame.schema["school_id"] == frame.schema["room"] == frame.schema["subject"] == pl.String
        assert frame["band"].dtype == rows["band"].dtype
        assert is_coded(table.codes["school_id"])
        assert is_coded(table.codes["room"])
        assert table.rows(np.array([4, 0])).equals(frame[[4, 0]])

    def test_sorted_files_are_not_sorted_again_and_equal_shuffled_ones(self, rows: pl.DataFrame) -> None:
        whole = read_table(rows.sort("student_id", "year", "subject"), PLAIN)
        shuffled = read_table(rows.sample(fraction=1.0, shuffle=True, seed=2), PLAIN)
        assert whole.frame.equals(shuffled.frame)
        assert whole.digest == shuffled.digest

    def test_several_files_with_other_codes(self, rows: pl.DataFrame, tmp_path: Path) -> None:
        parts = [rows.filter(year=year) for year in rows["year"].unique().sort()]
        files = [tmp_path / f"{place}.parquet" for place in range(len(parts))]
        for part, file in zip(parts, files, strict=True):
            part.write_parquet(file)
        assert read_table(files, PLAIN).frame.equals(read_table(pl.concat(parts), PLAIN).frame)


def test_records_take_few_bytes_and_find_what_a_join_finds() -> None:
    table = read_table(simulate_table(600, 12, years=1, seed=3).table, PLAIN)
    records, frame = Records.of(table.codes), table.frame.with_row_index("row")
    assert max(records.subject.itemsize, records.cell_row.itemsize, records.grade.itemsize) <= 2
    keys = ["student_id", "year", "subject"]
    asked = frame.select(
        "row", "student_id", (pl.col("year") - 1).alias("year"), pl.lit("ELA").alias("subject")
    )
    expected = asked.join(frame.select(*keys, found="row"), on=keys, how="left", maintain_order="left")[
        "found"
    ]
    found = records.find(np.arange(frame.height), 1, "ELA")
    assert found.tolist() == expected.cast(pl.Int64).fill_null(-1).to_list()
    sizes = frame.group_by("subject", "year", "grade").len().sort("subject", "year", "grade").rows()
    assert [
        (*cell, len(records.rows(cell[0], cell[2], cell[1], cell[1]))) for cell in records.cells()
    ] == sizes


class TestLargeTextFiles:
    @pytest.fixture
    def small_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(text_files, "_CHUNK", 512)
        monkeypatch.setattr(text_files, "_PIECE", 2_000)
        monkeypatch.setattr(text_files, "_ROWS_GUESSED_FROM", 10)

    @pytest.mark.usefixtures("small_pieces")
    def test_are_read_in_pieces_to_the_same_table(self, rows: pl.DataFrame, tmp_path: Path) -> None:
        quoted = rows.with_columns(pl.format('a, "b"\n{}', "school_id").alias("room"))
        quoted.write_csv(tmp_path / "state.csv")
        quoted.write_parquet(tmp_path / "state.parquet")
        found, expected = (read_table(tmp_path / f"state.{kind}", PLAIN) for kind in ("csv", "parquet"))
        assert found.frame.select(expected.frame.columns).drop("band").equals(expected.frame.drop("band"))

    @pytest.mark.usefixtures("small_pieces")
    def test_pieces_are_cut_between_lines(self, rows: pl.DataFrame, tmp_path: Path) -> None:
        file = tmp_path / "state.csv"
        rows.write_csv(file)
        shape = text_files._look_through(file, file, ",")
        pieces = list(text_files._pieces(file, file, shape))
        header = pieces[0].split(b"\n", 1)[0] + b"\n"
        assert len(pieces) > 10
        assert max(map(len, pieces)) < 2_000 + 2 * 512 + len(header)
        assert header + b"".join(piece.removeprefix(header) for piece in pieces) == file.read_bytes()

    @pytest.mark.usefixtures("small_pieces")
    def test_columns_of_another_type_further_down(self, rows: pl.DataFrame, tmp_path: Path) -> None:
        extra = pl.Series("extra", ["1"] * (rows.height - 1) + ["x"])
        rows.with_columns(extra).write_csv(tmp_path / "state.csv")
        with_guess = read_table(tmp_path / "state.csv", PLAIN).frame["extra"]
        assert with_guess.dtype == pl.String
        assert (with_guess == "x").sum() == 1


def test_a_run_lets_go_of_its_table_before_schools_are_measured(
    rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: list[weakref.ref[pl.DataFrame]] = []
    alive: list[bool] = []

    def read(source: Path, spec: GrowthSpec) -> StudentTable:
        table = read_table(source, spec)
        tables.append(weakref.ref(table.codes))
        return table

    def measure(*given: Any, **named: Any) -> Any:  # noqa: ANN401
        gc.collect()
        alive.extend(table() is not None for table in tables)
        return school_results(*given, **named)

    monkeypatch.setattr(street, "read_table", read)
    monkeypatch.setattr(street, "school_results", measure)
    rows.write_parquet(tmp_path / "city.parquet")
    growth.run(tmp_path / "city.parquet", PLAIN.replace({"cohorts.min_cohort": 20}))
    assert alive == [False]
