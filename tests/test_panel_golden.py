"""Membership, priors, norm groups and knots of the R package SGP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from growth._types import FloatArray
from growth.panel import Panel, PanelSet, StudentTable, build_panels, read_table
from growth.spec import GrowthSpec

SGP = GrowthSpec.preset("sgp")


def knots(scores: FloatArray) -> tuple[list[float], list[float]]:
    """Return the rule of the R package: type-7 quantiles, range widened by a tenth on each side."""
    low, high = float(scores.min()), float(scores.max())
    margin = 0.1 * (high - low)
    inner = np.quantile(scores, [0.2, 0.4, 0.6, 0.8]).round(3)
    return inner.tolist(), np.round([low - margin, high + margin], 3).tolist()


def members(table: StudentTable, panel: Panel) -> pl.DataFrame:
    priors = {f"prior_{j + 1}": panel.priors[:, j] for j in range(len(panel.pattern))}
    ids = table.frame["student_id"].gather(panel.row)
    return pl.DataFrame({"student_id": ids, "score": panel.score, **priors})


def panels_of(built: PanelSet, cohort: str) -> list[Panel]:
    return [panel for panel in built.panels if panel.key.rsplit("_", 1)[0] == cohort]


def assert_same_students(table: StudentTable, built: PanelSet, cohort: str, expected: pl.DataFrame) -> None:
    """`expected`: student_id, score, prior_1.., order (highest), norm_group, one row per student."""
    panels = panels_of(built, cohort)
    assert len(panels) == expected["order"].max()
    for order, panel in enumerate(panels, start=1):
        names = [f"prior_{j + 1}" for j in range(order)]
        wanted = expected.filter(pl.col("order") >= order).sort("student_id")
        wanted = wanted.select("student_id", pl.col("score", *names).cast(pl.Float64))
        assert members(table, panel).equals(wanted)
        mine = built.current.filter(highest=panel.key)["row"]
        highest = expected.filter(order=order)
        assert set(table.frame["student_id"].gather(mine)) == set(highest["student_id"])
        assert highest["norm_group"].unique().to_list() == [panel.norm_group]


@pytest.fixture(scope="module")
def own(repository: Path) -> tuple[StudentTable, PanelSet]:
    spec = SGP.replace({"columns.rename": {"score": "scale_score"}})
    table = read_table(repository / "fixtures" / "own" / "students.csv", spec)
    return table, build_panels(table, spec)


OWN_COHORTS = [f"{subject}_2025_G{grade}" for subject in ("ELA", "MATH") for grade in (4, 5, 6)]


@pytest.mark.parametrize("cohort", OWN_COHORTS)
def test_own_membership(repository: Path, own: tuple[StudentTable, PanelSet], cohort: str) -> None:
    students = pl.read_parquet(repository / "fixtures" / "own" / "sgp_students.parquet")
    expected = students.filter(cohort=cohort).rename({"scale_score": "score", "sgp_order": "order"})
    assert expected.height > 700
    assert_same_students(*own, cohort, expected)


@pytest.mark.parametrize("cohort", OWN_COHORTS)
def test_own_knots(repository: Path, own: tuple[StudentTable, PanelSet], cohort: str) -> None:
    text = (repository / "fixtures" / "own" / "knots.json").read_text()
    used = json.loads(text)["knots_boundaries_used"][cohort]
    for order, panel in enumerate(panels_of(own[1], cohort), start=1):
        for prior, scores in zip(used[f"order_{order}"], panel.knot_scores, strict=True):
            assert knots(scores) == (prior["knots"], prior["boundaries"])


def test_own_cohorts_are_complete(own: tuple[StudentTable, PanelSet]) -> None:
    assert {panel.key.rsplit("_", 1)[0] for panel in own[1].panels} == set(OWN_COHORTS)


NAMES = {"MATH": "MATHEMATICS", "READ": "READING"}
COHORTS = [
    *("MATH_2024_G5", "MATH_2024_G7", "MATH_2025_G4", "MATH_2025_G5", "MATH_2025_G8", "MATH_2025_G10"),
    *("READ_2024_G4", "READ_2024_G6", "READ_2024_G8", "READ_2025_G5", "READ_2025_G7", "READ_2025_G9"),
]


@pytest.fixture(scope="module")
def demo(golden: Path) -> tuple[StudentTable, PanelSet]:
    spec = SGP.replace({"cohorts.years": (2024, 2025)})
    table = read_table(golden / "sgpdata_long.parquet", spec)
    return table, build_panels(table, spec)


@pytest.mark.parametrize("cohort", COHORTS)
def test_demo_membership(golden: Path, demo: tuple[StudentTable, PanelSet], cohort: str) -> None:
    students = pl.read_parquet(golden / "sgp_students.parquet").with_columns(
        pl.col("COHORT", "KNOTS", "SGP_NORM_GROUP").cast(pl.String)
    )
    expected = students.filter(COHORT=cohort, KNOTS="DEMO").rename(
        {"ID": "student_id", "SCALE_SCORE": "score", "SGP_ORDER": "order", "SGP_NORM_GROUP": "norm_group"}
        | {f"PRIOR_{i}": f"prior_{i}" for i in range(1, 5)}
    )
    assert expected.height > 3000
    subject, rest = cohort.split("_", 1)
    assert_same_students(*demo, f"{NAMES[subject]}_{rest}", expected)


@pytest.mark.parametrize("cohort", ["MATH_2025_G8", "READ_2025_G7"])
def test_demo_knots(golden: Path, demo: tuple[StudentTable, PanelSet], cohort: str) -> None:
    stored: dict[str, Any] = json.loads((golden / "knots_boundaries.json").read_text())
    subject, rest = cohort.split("_", 1)
    panels = panels_of(demo[1], f"{NAMES[subject]}_{rest}")
    orders = stored["knots_boundaries_used"][f"{cohort}|DATA_FULLPANEL"]
    assert len(panels) == len(orders)
    for panel, order in zip(panels, orders, strict=True):
        for prior, scores in zip(panel.pattern.priors, panel.knot_scores, strict=True):
            inner, outer = knots(scores)
            assert inner == order["knots"][f"knots_{prior.grade}"]
            assert outer == order["boundaries"][f"boundaries_{prior.grade}"]


def test_demo_account(demo: tuple[StudentTable, PanelSet]) -> None:
    table, built = demo
    assert table.frame.height == 368_301
    assert built.current.height == built.counts.filter(subject="all")["rows"][-1]
    assert built.current.filter(status="scored").height == sum(
        len(panel) for panel in built.panels if len(panel.pattern) == 1
    )
