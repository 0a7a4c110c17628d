"""Every rule for tables: an error, a counted exclusion or a note, and what its choice changes."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from layout_cases import RECORDS, caaspp, cers, district_wide

from growth.errors import GrowthError
from growth.panel import build_panels, read_table
from growth.panel.findings import findings
from growth.panel.rules import RULES
from growth.spec import GrowthSpec

PLAIN = GrowthSpec.from_dict({"groups": {"flags": {}, "race": "", "lowest_race": False}})
FLAGGED = PLAIN.replace({"peers.flags": ["foster"]})
CSEM = PLAIN.replace({"measurement.csem": "column"})
BOUNDS = PLAIN.replace({"scale.bounds": {"ELA": {3: [2000, 2399]}}})


def changed(**columns: Any) -> pl.DataFrame:  # noqa: ANN401
    """Return the records with the first rows of columns replaced by what is given."""
    series = {
        name: pl.Series([*values, *RECORDS.get_column(name, default=pl.Series([None] * 6))[len(values) :]])
        for name, values in columns.items()
    }
    return RECORDS.with_columns(**series)


def as_file(content: bytes, name: str = "t.csv") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


TEXT = RECORDS.write_csv().encode()
FOSTER = RECORDS.with_columns(foster=pl.Series(["Y", "N", "maybe", "Y", "N", "Y"]))


@dataclass(frozen=True)
class Case:
    """A table that breaks a rule; words of the error, the reason counted, or the finding."""

    table: Any
    words: str = ""
    spec: GrowthSpec = PLAIN
    reason: str = ""
    finding: str = ""
    rows: int = 1
    instead: dict[str, Any] | None = None
    """Choices under which it is read."""
    reason_then: str = ""


def parquet_cut_short(folder: Path) -> Path:
    RECORDS.write_parquet(folder / "t.parquet")
    whole = (folder / "t.parquet").read_bytes()
    (folder / "t.parquet").write_bytes(whole[: len(whole) // 2])
    return folder / "t.parquet"


CASES = {
    "empty file": Case(as_file(b""), "is empty"),
    "no header": Case(as_file(TEXT.split(b"\n", 1)[1]), "holds no names of columns"),
    "byte order mark": Case(as_file(b"\xef\xbb\xbf" + TEXT)),
    "mixed encodings": Case(
        as_file(TEXT.replace(b"0123456", b"0123\xe956")),
        "is not UTF-8",
        instead={"columns.encoding": "cp1252"},
    ),
    "ragged lines": Case(as_file(TEXT[:-20] + b"\n"), "too few or too many fields"),
    "open quote": Case(as_file(TEXT.replace(b"0123457", b'"0123457', 1)), "a quoted field that does not end"),
    "truncated file": Case(parquet_cut_short, "cannot be read as Parquet"),
    "repeated name": Case(as_file(TEXT.replace(b"csem", b"score", 1)), "more than once: 'score'"),
    "two columns for one value": Case(
        district_wide(RECORDS).with_columns(ELA_SS=pl.lit("3")), "'ELA_SCORE' and 'ELA_SS' both give score"
    ),
    "missing column": Case(
        RECORDS.rename({"score": "points"}),
        "Column 'score' is missing",
        instead={"columns.rename": {"score": "points"}},
    ),
    "wrong type": Case(RECORDS.with_columns(grade=pl.lit([1])), "has type List", rows=6),
    "leading zeros": Case(RECORDS),
    "blank key": Case(changed(student_id=[None]), "is blank"),
    "duplicate key": Case(
        changed(subject=["ELA", "ELA", "ELA"]),
        "do not identify a row",
        rows=2,
        instead={"rows.duplicates": "highest_score"},
        reason_then="duplicate_key",
    ),
    "unknown grade": Case(
        changed(grade=["UG"]),
        "values that cannot be read",
        instead={"rows.unknown_grade": "exclude"},
        reason_then="unknown_grade",
    ),
    "unknown year": Case(changed(year=["last"]), "values that cannot be read"),
    "future year": Case(
        changed(year=["2150"]),
        "has years after",
        instead={"rows.latest_year": 2030, "rows.later_year": "exclude"},
        reason_then="later_year",
    ),
    "score is no number": Case(
        changed(score=["absent"]), "values that cannot be read", instead={"rows.unreadable_score": "missing"}
    ),
    "NaN and infinity": Case(
        changed(score=["NaN", "inf"]),
        "is NaN or infinite",
        rows=2,
        instead={"rows.unreadable_score": "missing"},
    ),
    "score outside bounds": Case(
        RECORDS,
        "lies outside the scale",
        spec=BOUNDS,
        rows=2,
        instead={"scale.outside": "exclude"},
        reason_then="outside_bounds",
    ),
    "negative CSEM": Case(changed(csem=["-1"]), "is negative, NaN or infinite", spec=CSEM),
    "flag with three values": Case(
        FOSTER, "values that cannot be read", spec=FLAGGED, instead={"rows.unclear_flags": "missing"}
    ),
    "unclear validity": Case(
        RECORDS.with_columns(valid=pl.Series(["Y", "N", "", "Y", "Y", "Y"])), "does not say for every row"
    ),
    "not valid": Case(
        RECORDS.with_columns(valid=pl.Series(["Y", "N", "Y", "Y", "Y", "Y"])), reason="not_valid"
    ),
    "another test": Case(
        cers(RECORDS).with_columns(AssessmentType=pl.Series(["Interim", *["Summative"] * 5])),
        reason="other_test",
    ),
    "unknown code": Case(
        cers(RECORDS).with_columns(Completeness=pl.Series(["Almost", *["Complete"] * 5])), "has codes that"
    ),
    "unearned score": Case(
        caaspp(RECORDS).with_columns(ConditionCode=pl.Series(["LOSS", *[""] * 5])),
        reason="unearned_score",
        instead={"rows.unearned_scores": "keep"},
    ),
    "blank cell": Case(district_wide(RECORDS), reason="no_score", rows=2),
    "school missing": Case(
        changed(school_id=[""]),
        finding="No school",
        instead={"rows.no_school": "exclude"},
        reason_then="no_school",
    ),
    "covariate missing": Case(
        FOSTER.with_columns(foster=pl.lit(None, dtype=pl.String)), "are blank", spec=FLAGGED, rows=3
    ),
    "constant column": Case(
        FOSTER.with_columns(foster=pl.lit("N")), spec=FLAGGED, finding="'foster' has one value", rows=6
    ),
    "impossible lag": Case(changed(grade=["8"]), finding="Grade lower than in an earlier year", rows=1),
    "unclear layout": Case(
        RECORDS.with_columns(
            ID=pl.col("student_id"),
            CONTENT_AREA=pl.col("subject"),
            SCALE_SCORE=pl.col("score"),
            SCHOOL_NUMBER=pl.col("school_id"),
        ),
        finding="The layout could also be 'sgp'",
        instead={"columns.layout": "growth"},
    ),
}


def test_every_rule_has_a_case_and_every_choice_is_one() -> None:
    assert list(CASES) == [rule.name for rule in RULES]
    for rule in RULES:
        case = CASES[rule.name]
        happened = {"refused": case.words, "counted out": case.reason, "noted": case.finding}
        assert rule.outcome == "read" or happened[rule.outcome], rule.name
        if rule.policy:
            part, name = rule.policy.split(".")
            assert name in type(getattr(PLAIN, part)).model_fields


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    source = case.table(tmp_path) if callable(case.table) else case.table
    if case.words:
        with pytest.raises(GrowthError) as caught:
            build_panels(read_table(source, case.spec), case.spec)
        assert case.words in str(caught.value)
        if "Rows affected" in str(caught.value):
            assert f"Rows affected: {case.rows}." in str(caught.value)
        assert "To fix: " in str(caught.value)
    else:
        table = read_table(source, case.spec)
        found = {finding.what: finding.rows for finding in findings(table, case.spec)}
        if case.reason:
            assert dict(table.counts.select("reason", "excluded").iter_rows())[case.reason] == case.rows
            assert found[f"Left out: {case.reason}"] == case.rows
        elif case.finding:
            rows = next(rows for what, rows in found.items() if what.startswith(case.finding))
            assert rows in (case.rows, None)
        else:
            assert sorted(set(table.frame["student_id"])) == ["0007", "0010"]
            assert set(table.frame["school_id"]) == {"0123456", "0123457"}
    if case.instead is not None:
        spec = case.spec.replace(case.instead)
        table = read_table(source, spec)
        if case.reason_then:
            assert table.counts.filter(reason=case.reason_then)["excluded"].to_list() == [
                case.rows if name != "duplicate key" else 1
            ]
        elif not case.finding:
            assert table.frame.height == RECORDS.height


def test_what_is_taken_as_missing_is_said() -> None:
    spec = FLAGGED.replace({"rows.unclear_flags": "missing", "rows.unreadable_score": "missing"})
    table = read_table(FOSTER.with_columns(score=pl.Series(["x", "inf", "1", "2", "3", ""])), spec)
    assert [notice.split(" Rule")[0] for notice in table.notices] == [
        "Column 'score' has values that are taken as missing. Rows affected: 2.",
        "Column 'foster' has values that are taken as missing. Rows affected: 1.",
    ]
    assert table.frame["score"].null_count() == 3
    assert table.frame["foster"].null_count() == 1


class TestDuplicates:
    twice = pl.concat([RECORDS, RECORDS.head(2), RECORDS.head(1).with_columns(score=pl.lit("2500"))])

    def test_copies_go_and_contradictions_are_refused(self) -> None:
        spec = PLAIN.replace({"rows.duplicates": "copies"})
        table = read_table(pl.concat([RECORDS, RECORDS.head(2)]), spec)
        assert table.frame.height == RECORDS.height
        with pytest.raises(GrowthError, match="Rows affected: 2"):
            read_table(self.twice, spec)

    def test_the_highest_score_stays_whatever_the_order(self) -> None:
        spec = PLAIN.replace({"rows.duplicates": "highest_score"})
        table = read_table(self.twice, spec)
        assert table.frame.filter(student_id="0007", subject="ELA", year=2023)["score"].to_list() == [2500.0]
        assert table.counts.filter(reason="duplicate_key")["excluded"].item() == 3
        assert read_table(self.twice.reverse(), spec).frame.equals(table.frame)

    def test_all_can_go(self) -> None:
        table = read_table(self.twice, PLAIN.replace({"rows.duplicates": "exclude"}))
        assert table.frame.height == RECORDS.height - 2
        assert table.counts.filter(reason="duplicate_key")["excluded"].item() == 5


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
@pytest.mark.parametrize("content", [gzip.compress(TEXT)[:-10], gzip.compress(TEXT)[:-40], TEXT])
def test_compressed_files_that_are_damaged(content: bytes, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(content)
    with pytest.raises(GrowthError, match="is damaged or ends early"):
        read_table(tmp_path / "t.csv.gz", PLAIN.replace({"columns.encoding": encoding}))


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_other_encodings(encoding: str, tmp_path: Path) -> None:
    named = RECORDS.with_columns(school_name=pl.lit("Peña"))
    (tmp_path / "t.csv").write_bytes(named.write_csv().encode(encoding))
    with pytest.raises(GrowthError, match=r"columns\.encoding"):
        read_table(tmp_path / "t.csv", PLAIN)
    table = read_table(tmp_path / "t.csv", PLAIN.replace({"columns.encoding": encoding}))
    assert set(table.frame["school_name"]) == {"Peña"}


def test_a_name_may_hold_the_delimiter(tmp_path: Path) -> None:
    named = RECORDS.with_columns(pl.lit("x").alias("room, floor"), pl.lit("y").alias("room, wing"))
    named.write_csv(tmp_path / "t.csv")
    assert {"room, floor", "room, wing"} <= set(read_table(tmp_path / "t.csv", PLAIN).frame.columns)


def test_contradictory_choices_are_refused() -> None:
    for changes, words in (
        ({"rows.later_year": "exclude"}, "needs rows.latest_year"),
        ({"columns.fixed": {"year": "2024"}, "columns.year_from_file_name": True}, "keep one"),
        ({"columns.fixed": {"year": "2024"}, "columns.rename": {"year": "y"}}, "keep one"),
    ):
        with pytest.raises(GrowthError, match=words):
            PLAIN.replace(changes)
