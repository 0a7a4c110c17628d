"""Levels: tens and deciles, ties, kept cut points, and what they refuse to grade."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from school_results import system

from growth.errors import ColumnError, MeasureError, SpecError, TableError
from growth.index import LevelCuts, assign_levels, level_cuts, level_table
from growth.measures import SchoolGrowthPercentile, SchoolMeanPercentile, StudentPercentile
from growth.school import school_growth
from growth.spec import GrowthSpec

TENS = LevelCuts({"MATH": tuple(range(10, 100, 10))}, "fixed_tens")
DECILES = GrowthSpec().replace({"levels.rule": "base_deciles"})


def schools(
    values: list[float | None], year: int = 2025, subject: str = "MATH", group: str = "All"
) -> pl.DataFrame:
    n = len(values)
    return pl.DataFrame(
        {
            "year": [year] * n,
            "subject": [subject] * n,
            "group": [group] * n,
            "school_id": [f"{i:03d}" for i in range(n)],
            "growth_percentile": pl.Series(values, dtype=pl.Float64),
            "reason": ["n_below_minimum" if value is None else None for value in values],
        },
        schema_overrides={"reason": pl.String},
    )


@pytest.mark.parametrize(
    ("percentile", "level"),
    [
        (0, 1),
        (7, 1),
        (9.99, 1),
        (10, 2),
        (19.99, 2),
        (20, 3),
        (57, 6),
        (88, 9),
        (89.99, 9),
        (90, 10),
        (100, 10),
    ],
)
def test_tens_as_published(percentile: float, level: int) -> None:
    got = assign_levels(SchoolGrowthPercentile(np.array([percentile])), TENS, subject="MATH")
    assert got.tolist() == [level]
    assert got.dtype == np.int8


def test_no_percentile_no_level() -> None:
    got = assign_levels(SchoolGrowthPercentile(np.array([np.nan, 55.0])), TENS, subject="MATH")
    assert got.tolist() == [None, 6]


@pytest.mark.parametrize(
    "wrong",
    [
        SchoolMeanPercentile(np.array([55.0])),
        StudentPercentile(np.array([0.55])),
        np.array([55.0]),
        [55.0],
    ],
)
def test_only_school_growth_percentiles_have_levels(wrong: object) -> None:
    with pytest.raises(MeasureError, match="A level is defined for a SchoolGrowthPercentile"):
        assign_levels(wrong, TENS, subject="MATH")  # type: ignore[arg-type]


def test_mean_percentiles_of_a_run_are_refused() -> None:
    growth = school_growth(system(), GrowthSpec())
    with pytest.raises(MeasureError, match="not for SchoolMeanPercentile"):
        assign_levels(growth.mean_percentile, TENS, subject="MATH")  # type: ignore[arg-type]
    assert assign_levels(growth.growth_percentile, TENS, subject="MATH").count() == len(
        growth.frame.filter(pl.col("reason").is_null())
    )


def test_fixed_tens_are_the_same_for_every_subject_and_year() -> None:
    cuts = level_cuts(GrowthSpec(), pl.concat([schools([3.0]), schools([4.0], subject="ELA")]))
    assert cuts.cuts == {"ELA": tuple(range(10, 100, 10)), "MATH": tuple(range(10, 100, 10))}
    assert (cuts.rule, cuts.base_year) == ("fixed_tens", None)


def test_base_deciles_put_a_tenth_of_the_base_year_s_schools_in_each_level() -> None:
    base = schools(np.random.default_rng(1).normal(50, 8, 200).tolist())
    groups = schools([0.0] * 50, group="EL")
    cuts = level_cuts(DECILES, pl.concat([base, groups]))
    assert (cuts.rule, cuts.base_year) == ("base_deciles", 2025)
    counts = level_table(base, cuts)["level"].value_counts().sort("level")
    assert counts["level"].to_list() == list(range(1, 11))
    assert counts["count"].to_list() == [20] * 10


def test_deciles_of_a_case_done_by_hand() -> None:
    # 11 equally spaced values: the k-th decile is value k, and a school on a cut point has the higher level.
    base = schools([float(x) for x in range(0, 110, 10)])
    cuts = level_cuts(DECILES, base)
    assert cuts.cuts["MATH"] == pytest.approx(tuple(range(10, 100, 10)))
    assert level_table(base, cuts)["level"].to_list() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10]


def test_the_first_year_sets_deciles_unless_another_is_named() -> None:
    early, late = (
        schools([float(x) for x in range(20)]),
        schools([float(x) for x in range(50, 70)], year=2026),
    )
    both = pl.concat([late, early])
    assert level_cuts(DECILES, both).base_year == 2025
    named = level_cuts(DECILES, both, base_year=2026)
    assert named.base_year == 2026
    assert min(named.cuts["MATH"]) > 50
    assert level_cuts(DECILES, both).cuts["MATH"] == level_cuts(DECILES, early).cuts["MATH"]


def test_deciles_need_ten_schools() -> None:
    with pytest.raises(TableError, match="MATH cannot be set: 9 schools"):
        level_cuts(DECILES, schools([*map(float, range(9)), None, None]))
    with pytest.raises(TableError, match="0 schools"):
        level_cuts(DECILES, schools([float(x) for x in range(20)]), base_year=1999)


def test_cut_points_survive_json_and_know_when_they_were_changed() -> None:
    cuts = level_cuts(DECILES, schools(np.random.default_rng(2).uniform(0, 100, 60).tolist()))
    text = json.dumps(cuts.to_dict())
    restored = LevelCuts.from_dict(json.loads(text))
    assert restored == cuts
    assert restored.digest == cuts.digest
    changed = json.loads(text)
    changed["cuts"]["MATH"][4] += 0.001
    with pytest.raises(SpecError, match="do not match their digest"):
        LevelCuts.from_dict(changed)
    assert "base_deciles, base year 2025" in repr(cuts)


@pytest.mark.parametrize(
    "points", [range(8), [*range(10, 90, 10), 101], [20, *range(10, 90, 10)], [float("nan")] * 9]
)
def test_impossible_cut_points_are_refused(points: list[float]) -> None:
    with pytest.raises(SpecError, match="Cut points of MATH are not usable"):
        LevelCuts({"MATH": tuple(points)}, "base_deciles", 2025)


@pytest.mark.parametrize("change", [{"rule": "quintiles"}, {"tie_rule": "left-open"}])
def test_unknown_rules_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(SpecError, match="are not known"):
        LevelCuts.from_dict(TENS.to_dict() | change)


@pytest.mark.parametrize("key", ["cuts", "rule", "base_year", "tie_rule", "digest"])
def test_incomplete_cut_points_are_refused(key: str) -> None:
    data = TENS.to_dict()
    del data[key]
    with pytest.raises(SpecError, match="cannot be read"):
        LevelCuts.from_dict(data)
    with pytest.raises(SpecError, match="cannot be read"):
        LevelCuts.from_dict(TENS.to_dict() | {"cuts": {"MATH": ["a"] * 9}})


def test_a_subject_without_cut_points_is_named() -> None:
    with pytest.raises(SpecError, match="no cut points for 'MATHS'; did you mean 'MATH'"):
        level_table(schools([50.0], subject="MATHS"), TENS)


def test_table_keeps_order_reasons_and_gaps() -> None:
    frame = pl.concat([schools([95.0, None]), schools([15.0], subject="ELA"), schools([30.0], group="EL")])
    cuts = level_cuts(GrowthSpec(), frame)
    table = level_table(frame, cuts)
    assert table.columns == ["year", "subject", "group", "school_id", "growth_percentile", "level", "reason"]
    assert table.schema["level"] == pl.Int8
    assert table["level"].to_list() == [10, None, 2, 4]
    assert table.drop("level").equals(frame.select(table.drop("level").columns))


def test_empty_tables_have_levels_too() -> None:
    empty = schools([50.0]).clear()
    assert level_table(empty, TENS).schema == level_table(schools([50.0]), TENS).schema
    assert level_cuts(DECILES, empty).cuts == {}


def test_missing_columns_are_named() -> None:
    with pytest.raises(ColumnError, match="'growth_percentile' is missing"):
        level_table(schools([50.0]).drop("growth_percentile"), TENS)
    with pytest.raises(ColumnError, match="'group' is missing"):
        level_cuts(GrowthSpec(), schools([50.0]).drop("group"))


@pytest.mark.parametrize("rule", ["fixed_tens", "base_deciles"])
def test_improvement_of_all_shows_only_under_a_frozen_norm(rule: str) -> None:
    """METHOD C12: cut points that are kept are not enough."""
    spec = GrowthSpec().replace({"levels.rule": rule})
    base = school_growth(system(100, 6_000), spec)
    cuts = LevelCuts.from_dict(level_cuts(spec, base.frame).to_dict())
    later = system(100, 6_000, shift=0.2, year=2026)
    everyone = pl.col("group") == "All"

    def mean_level(norms: object) -> float:
        frame = school_growth(later, spec, norms=norms).frame  # type: ignore[arg-type]
        return float(level_table(frame.filter(everyone), cuts)["level"].mean())  # type: ignore[arg-type]

    before = level_table(base.frame.filter(everyone), cuts)["level"].mean()
    assert mean_level(None) == before
    assert mean_level(base.norms) > before + 1  # type: ignore[operator]
