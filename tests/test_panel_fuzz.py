"""Damaged files and odd frames: an error is a `GrowthError`, shows nobody, and nothing else is misread.

``python -m benchmarks.fuzz --cases 10000`` is the longer run.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import CANARY_ID, CANARY_SCORE, LENIENT, SPEC, records, run
from growth.errors import GrowthError
from growth.panel import build_panels, read_table
from growth.spec import GrowthSpec

CASES, SEED, EXAMPLES = 500, 11, 150
ROWS = 4
RECORDS = records(np.random.default_rng(SEED))


def test_damaged_files() -> None:
    tally = run(CASES, SEED)
    assert tally.failures == []
    assert tally.outcomes["read"] > CASES / 10  # most damage is found, and a sixth of the files have none
    assert sum(count for name, count in tally.outcomes.items() if "Error" in name) > CASES / 3


_texts = st.sampled_from(
    [
        "",
        "NA",
        "ELA",
        "3",
        "04",
        "K",
        "2024",
        "2023_2024",
        "1999-00",
        "Y",
        "no",
        "nan",
        "-inf",
        "é",
        "٣",
        "2024.0",
    ]
) | st.text(max_size=6)
_cells: dict[pl.DataType | type[pl.DataType], st.SearchStrategy[Any]] = {
    pl.String: _texts,
    pl.Int64: st.integers(-(2**62), 2**62) | st.integers(0, 2030),
    pl.Float64: st.floats(),
    pl.Boolean: st.booleans(),
    pl.Date: st.dates(date(1900, 1, 1)),
    pl.List(pl.Int64): st.lists(st.integers(0, 9), max_size=2),
    pl.Null: st.none(),
    pl.Binary: st.binary(max_size=3),
}


@st.composite
def _columns(draw: st.DrawFn) -> pl.Series:
    dtype = draw(st.sampled_from(list(_cells)))
    values = draw(st.lists(st.none() | _cells[dtype], min_size=ROWS, max_size=ROWS))
    return pl.Series(values, dtype=dtype)


_NAMES = ("student_id", "year", "subject", "grade", "score", "school_id", "english_learner", "valid", "other")


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    changed=st.dictionaries(st.sampled_from(_NAMES), _columns(), max_size=3),
    spec=st.sampled_from([SPEC, LENIENT]),
)
def test_frames_of_any_type(changed: dict[str, pl.Series], spec: GrowthSpec) -> None:
    message = message_of(RECORDS.head(ROWS).with_columns(**changed), spec)
    assert CANARY_ID not in message
    assert CANARY_SCORE not in message


def message_of(frame: pl.DataFrame, spec: GrowthSpec) -> str:
    """Return why a frame is refused; empty if it is read, with every row accounted for."""
    try:
        table = read_table(frame, spec)
        assert table.counts["rows"][0] - table.counts["excluded"].sum() == table.frame.height
        build_panels(table, spec)
    except GrowthError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("spec", [SPEC, LENIENT])
def test_what_is_not_damaged_is_read(spec: GrowthSpec) -> None:
    frame = RECORDS
    assert read_table(frame, spec).frame.height == frame.height
