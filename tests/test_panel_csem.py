"""Conditional standard errors of measurement: from a column, from tables, from a function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_series_equal

import growth
from growth._types import FloatArray
from growth.errors import ColumnError, SpecError
from growth.panel import PanelSet, StudentTable
from growth.panel.csem import csem_tables, natural_spline, read_csem
from growth.spec import CsemTable, GrowthSpec

CORE = GrowthSpec.preset("core")
COLUMN = CORE.replace({"measurement.csem": "column"})
FUNCTION = CORE.replace({"measurement.csem": "function"})
EXACT = 1e-12
"""The same cubic through the same points, in other operations [relative]."""
ROUNDING = 0.06
"""The reference column has one decimal, its table two [CSEM points]."""


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return growth.simulate_table(3_000, 12, years=1, seed=1).table


def panels(table: pl.DataFrame, spec: GrowthSpec, **given: Any) -> PanelSet:  # noqa: ANN401
    return growth.build_panels(growth.read_table(table, spec), spec, **given)


def with_tables(frame: pl.DataFrame, **changes: Any) -> GrowthSpec:  # noqa: ANN401
    tables = [one.model_dump() | changes for one in csem_tables(frame)]
    return CORE.replace({"measurement.csem": "table", "measurement.tables": tables})


def lines(table: pl.DataFrame) -> pl.DataFrame:
    """The simulated CSEM is a function of subject, grade and score."""
    scored = table.filter(pl.col("score").is_not_null())
    return scored.group_by("subject", "grade", "score").agg(pl.col("csem").first())


def test_without_a_source_panels_know_no_csem(table: pl.DataFrame) -> None:
    panel = panels(table, CORE).panels[0]
    assert panel.csem is None
    assert panel.score_csem is None


def test_a_column_reaches_priors_and_current_scores(table: pl.DataFrame) -> None:
    found = panels(table, COLUMN)
    frame = growth.read_table(table, COLUMN).frame
    for panel in found.panels:
        assert panel.csem is not None
        assert panel.csem.shape == panel.priors.shape
        np.testing.assert_array_equal(panel.score_csem, frame["csem"].gather(panel.row).to_numpy())
        ids = frame["student_id"].gather(panel.row)
        for j, prior in enumerate(panel.pattern.priors):
            of_prior = frame.filter(subject=prior.subject, year=panel.year - prior.lag)
            expected = pl.DataFrame({"student_id": ids}).join(
                of_prior, on="student_id", maintain_order="left"
            )
            np.testing.assert_array_equal(panel.csem[:, j], expected["csem"].to_numpy())
            np.testing.assert_array_equal(panel.priors[:, j], expected["score"].to_numpy())


def test_tables_and_functions_give_what_the_column_gives(table: pl.DataFrame) -> None:
    known = dict(lines(table).group_by("subject", "grade"))

    def function(score: FloatArray, subject: str, grade: int, year: int) -> FloatArray:
        assert 2022 <= year <= 2025
        part = known[subject, grade].sort("score")
        return np.interp(score, part["score"].to_numpy(), part["csem"].to_numpy())

    expected = panels(table, COLUMN).panels
    for spec, given in ((with_tables(lines(table)), {}), (FUNCTION, {"csem": function})):
        for found, panel in zip(panels(table, spec, **given).panels, expected, strict=True):
            np.testing.assert_allclose(found.csem, panel.csem, rtol=EXACT)
            np.testing.assert_allclose(found.score_csem, panel.score_csem, rtol=EXACT)


def test_a_table_every_ten_points_gives_the_csem_of_every_score(golden: Path) -> None:
    table = pl.read_csv(golden / "own" / "csem_table.csv").rename({"scale_score": "score"})
    for one in csem_tables(table):
        rows = pl.read_csv(golden / "own" / "students.csv").filter(
            pl.col("scale_score").is_between(
                one.scores[3], one.scores[-4]
            ),  # natural ends bend off a parabola
            subject=one.subject,
            grade=one.grade,
        )
        assert rows.height > 100
        found = natural_spline(one.scores, np.array(one.csem))(rows["scale_score"].to_numpy().astype(float))
        np.testing.assert_allclose(found, rows["csem"].to_numpy(), atol=ROUNDING)


def test_splines_are_natural_and_go_on_as_straight_lines() -> None:
    knots, values = [0.0, 1.0, 3.0, 4.0], np.array([3.0, 1.0, 2.0, 5.0])
    spline = natural_spline(knots, values)
    np.testing.assert_allclose(spline(np.array(knots)), values, rtol=EXACT)
    step = 1e-3
    for end, sign in ((0.0, 1.0), (4.0, -1.0)):
        inside = spline(end + sign * step * np.array([0.0, 1.0, 2.0]))
        outside = spline(end - sign * np.array([0.0, 10.0, 20.0]))
        assert abs(np.diff(inside, 2)[0]) / step**2 < 0.1, "the curvature vanishes at the ends"
        assert np.diff(outside, 2)[0] == pytest.approx(0.0, abs=1e-9)
        slope = (inside[1] - inside[0]) / step
        assert (outside[1] - outside[0]) / -10 == pytest.approx(slope, rel=1e-4)
    both = natural_spline(knots, np.column_stack([values, -2 * values]))(np.array([-1.0, 2.0, 9.0]))
    np.testing.assert_allclose(both[:, 1], -2 * both[:, 0], rtol=EXACT)


def test_the_nearest_table_wins() -> None:
    """Own program before any other, own year before every year."""

    def one(level: float, **where: Any) -> dict[str, Any]:  # noqa: ANN401
        return {"subject": "MATH", "grade": 4, "scores": [0.0, 1.0], "csem": [level, level], **where}

    tables = [one(1), one(2, years=[2024]), one(3, program="paper"), one(4, program="paper", years=[2024])]
    rows = [
        ("paper", 2024),
        ("paper", 2025),
        ("online", 2024),
        ("online", 2025),
        (None, 2025),
        ("paper", 2024),
    ]
    frame = pl.DataFrame(
        {
            "student_id": [str(i) for i in range(len(rows))],
            "year": [year for _, year in rows],
            "subject": ["MATH"] * 5 + ["ELA"],
            "grade": [4] * len(rows),
            "score": [500.0] * len(rows),
            "school_id": ["1"] * len(rows),
            "program": [program for program, _ in rows],
        }
    )
    spec = GrowthSpec.preset("sgp").replace(
        {"measurement": {"csem": "table", "tables": tables, "program": "program"}}
    )
    found = read_csem(growth.read_table(frame, spec), spec, None)
    np.testing.assert_array_equal(found, [4, 3, 2, 1, 1, np.nan])


def test_tables_are_made_from_long_frames() -> None:
    frame = pl.DataFrame(
        {
            "subject": ["M"] * 4,
            "grade": [4] * 4,
            "year": [2024, 2024, 2025, 2025],
            "program": ["p"] * 4,
            "score": [2, 1, 1, 2],
            "csem": [5, 6, 7, 8],
        }
    )
    first, second = csem_tables(frame)
    assert first == CsemTable(
        subject="M", grade=4, years=(2024,), program="p", scores=(1.0, 2.0), csem=(6.0, 5.0)
    )
    assert (second.years, second.csem) == ((2025,), (7.0, 8.0))


@pytest.mark.parametrize(("bad", "rows"), [([-1.0, 5.0, -2.0], 2), ([float("nan"), 5.0, 3.0], 1)])
def test_impossible_values_are_counted(table: pl.DataFrame, bad: list[float], rows: int) -> None:
    column = pl.Series("csem", bad + [20.0] * (table.height - len(bad)))
    with pytest.raises(ColumnError, match=rf"'csem' is negative, NaN or infinite\. Rows affected: {rows}\."):
        growth.read_table(table.with_columns(column), COLUMN)
    assert growth.read_table(table.with_columns(column), CORE).frame.height == table.height


def test_text_that_is_no_number_and_a_missing_column_are_named(table: pl.DataFrame) -> None:
    with pytest.raises(ColumnError, match="'csem' has values that cannot be read"):
        growth.read_table(table.with_columns(csem=pl.lit("wide")), COLUMN)
    with pytest.raises(ColumnError, match=r"Column 'csem' is missing.*needed by measurement"):
        growth.read_table(table.drop("csem"), COLUMN)
    renamed = COLUMN.replace({"columns.rename": {"csem": "error"}})
    found = growth.read_table(table.rename({"csem": "error"}), renamed).frame
    assert_series_equal(found["csem"], growth.read_table(table, COLUMN).frame["csem"])


def test_priors_without_csem_are_counted_once(table: pl.DataFrame) -> None:
    """Once, although a prior takes part in several patterns; current scores may lack it."""
    blank = pl.when((pl.col("grade") == 4) & (pl.col("year") == 2024)).then(None).otherwise(pl.col("csem"))
    holed = table.with_columns(csem=blank)
    frame = growth.read_table(table, CORE).frame
    used = {
        (prior.subject, student)
        for panel in panels(table, CORE).panels
        for prior in panel.pattern.priors
        if prior.grade == 4
        for student in frame["student_id"].gather(panel.row)
    }
    subjects = {s: sum(subject == s for subject, _ in used) for s in ("ELA", "MATH")}
    with pytest.raises(ColumnError) as caught:
        panels(holed, COLUMN)
    message = str(caught.value)
    assert all(f"{s} 2024 grade 4 ({n:,})" in message for s, n in subjects.items())
    assert f"Rows affected: {sum(subjects.values()):,}." in message
    partly = with_tables(lines(table).filter(pl.col("grade") != 4))
    with pytest.raises(ColumnError, match="ELA 2024 grade 4"):
        panels(table, partly)

    current = pl.when(pl.col("year") < 2025).then(pl.col("csem"))
    panel = panels(table.with_columns(csem=current), COLUMN).panels[0]
    assert np.isnan(panel.score_csem).all()


def test_an_interpolated_csem_must_not_be_negative(table: pl.DataFrame) -> None:
    falling = lines(table).select("subject", "grade").unique()
    falling = falling.join(pl.DataFrame({"score": [2200.0, 2300.0], "csem": [30.0, 15.0]}), how="cross")
    with pytest.raises(ColumnError, match=r"The spline through measurement.tables, .* negative"):
        panels(table, with_tables(falling))


def test_functions_are_checked(table: pl.DataFrame) -> None:
    with pytest.raises(ColumnError, match=r"returned shape \(1,\)"):
        panels(table, FUNCTION, csem=lambda *_: np.ones(1))
    with pytest.raises(ColumnError, match=r"The function csem, for .* negative"):
        panels(table, FUNCTION, csem=lambda score, *_: -score)
    with pytest.raises(SpecError, match="'function' and the argument csem is missing"):
        panels(table, FUNCTION)
    with pytest.raises(SpecError, match="'column' and the argument csem is given"):
        panels(table, COLUMN, csem=lambda score, *_: score)


def test_the_digest_of_a_table_covers_its_csem_only_where_it_is_read(table: pl.DataFrame) -> None:
    wider = table.with_columns(csem=pl.col("csem") + 1)

    def digest(frame: pl.DataFrame, spec: GrowthSpec) -> str:
        read: StudentTable = growth.read_table(frame, spec)
        return read.digest

    assert digest(table, COLUMN) != digest(wider, COLUMN)
    assert digest(table, CORE) == digest(wider, CORE)
