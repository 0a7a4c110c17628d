"""The way to the next levels: what is said to suffice suffices, and nothing less does."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from school_results import plain_spec, system

import growth
from growth import GrowthRun, GrowthSpec
from growth.errors import SpecError
from growth.index import LevelCuts, next_level_sentence, with_last_year
from growth.index.distance import Context, described_levels
from growth.index.levels import TENS
from growth.school import ReferenceNorm, school_growth

ADDING = 1e-6
"""Percentile points; rounding of sums of 40 students' percentiles."""
ABOUT = 0.1
"""Of an effect: a school that moves also moves the spread that it is shrunk by, and a group its school."""
LEAST = 0.1
"""Percentile points: shorter ways lie within the distance of neighbouring ranks."""
KEYS = ["year", "subject", "group", "school_id"]


def norm_of(effects: list[float]) -> ReferenceNorm:
    values = np.array(effects)
    place = (float(values.mean()), float(values.std()))
    return ReferenceNorm.of((2025, "MATH", "All"), values, np.ones(len(values)), place, ("mean", "c", "none"))


class TestInverse:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("rule", ["rank", "normal"])
    def test_the_least_effect_that_suffices(self, seed: int, rule: str) -> None:
        rng = np.random.default_rng(seed)
        norm = norm_of(rng.integers(40, 60, 25).astype(float).tolist())
        target = np.concatenate([np.arange(1, 100.0), rng.uniform(0.1, 99.9, 50)])
        place = norm.rank if rule == "rank" else norm.normal
        effect = norm.effect_at(target, rule)
        assert (place(effect) >= target).all()
        assert (place(effect - 1e-9) < target).all()

    def test_what_cannot_be_reached_is_nan(self) -> None:
        norm = norm_of([50.0, 50.0])
        assert np.isnan(norm.effect_at(np.array([np.nan, 100.1]), "rank")).all()
        assert np.isnan(norm.effect_at(np.array([60.0]), "normal")).all(), "no spread"
        assert norm.effect_at(np.array([100.0]), "rank") > 50.0


@pytest.fixture(scope="module")
def unshrunken(city_file: object) -> GrowthRun:
    spec = GrowthSpec.preset("core").replace({"school.shrinkage": "none", "peers.composition": "none"})
    return growth.run(city_file, spec)


class TestDistances:
    def test_points_lead_to_the_next_cut(self, city_run: GrowthRun) -> None:
        rows = city_run.levels.drop_nulls("level")
        for k in (1, 2, 3):
            reach = rows["growth_percentile"] + rows[f"points_to_next_{k}"]
            expected = pl.Series(
                [TENS[level + k - 2] if level + k <= 10 else None for level in rows["level"]]
            )
            np.testing.assert_allclose(reach.to_numpy(), expected.cast(float).to_numpy(), atol=1e-9)
            missing = rows.filter(pl.col("level") + k > 10)[f"effect_to_next_{k}"]
            assert missing.null_count() == len(missing)
        withheld = city_run.levels.filter(pl.col("level").is_null())
        assert withheld.height
        for name in ("band", "points_to_next_1", "effect_to_next_1", "students_to_next_1", "level_change"):
            assert withheld[name].null_count() == withheld.height

    @pytest.mark.parametrize("frozen", [False, True])
    def test_that_many_points_more_make_the_level(self, unshrunken: GrowthRun, frozen: bool) -> None:
        """Move all students of one school up and rank again."""
        spec = unshrunken.spec
        bundle = unshrunken.freeze()
        norms = bundle.norms if frozen else None
        year = 2026 if frozen else 2025
        students = unshrunken.polars("students").with_columns(year=pl.lit(year, pl.Int32))
        first = growth_levels(students, spec, unshrunken, frozen)
        row = first.filter(pl.col("group") == "All", pl.col("level") == 5).row(0, named=True)
        for k in (1, 3):
            for extra, reached in ((ADDING, True), (-ADDING, False)):
                here = (pl.col("school_id") == row["school_id"]) & (pl.col("subject") == row["subject"])
                points = (row[f"effect_to_next_{k}"] + extra) / 100
                moved = pl.when(here).then(pl.col("percentile") + points).otherwise("percentile")
                more = students.with_columns(percentile=moved)
                schools = school_growth(_clipped(more, here), spec, norms=norms).frame
                again = schools.filter(pl.col("group") == "All").join(
                    pl.DataFrame([{key: row[key] for key in KEYS}], schema_overrides={"year": pl.Int32}),
                    on=KEYS,
                )
                place = again["growth_percentile"].item()
                assert (place >= TENS[row["level"] + k - 2]) == reached

    def test_students_are_whole_and_enough(self, unshrunken: GrowthRun) -> None:
        rows = unshrunken.levels.join(unshrunken.schools.select(*KEYS, "n"), on=KEYS)
        rows = rows.drop_nulls("effect_to_next_1")
        moved = 20.0 * rows["students_to_next_1"]
        needed = rows["effect_to_next_1"] * rows["n"]
        assert (moved >= needed - 1e-6).all()
        assert (moved - 20 < needed).all()

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"school.growth_percentile": "normal"},
            {"school.shrinkage": "eblp", "school.eblp.jackknife": 0},
            {"school.shrinkage": "eblp", "school.eblp.jackknife": 0, "school.eblp.afterwards": "none"},
            {"groups.flags": {"EL": "el"}, "groups.min_n": 1, "groups.shrink_towards": "school"},
        ],
        ids=["shrunken", "normal", "eblp", "eblp alone", "group towards school"],
    )
    def test_shrinkage_makes_the_way_longer(self, changes: dict[str, object]) -> None:
        """Move all students of one school, or its group, and shrink and rank again."""
        spec = plain_spec(school__shrinkage="empirical_bayes", school__band_draws=200).replace(changes)
        parts = [system(60, 2_400, seed=seed, subject=name) for seed, name in ((1, "MATH"), (101, "ELA"))]
        students = pl.concat(parts).with_columns(
            percentile=0.25 + 0.5 * pl.col("percentile"),  # room to move
            grade=pl.lit(5),
            el=pl.int_range(pl.len()) % 5 < 2,
        )
        group = "EL" if spec.groups.flags else "All"
        found = school_growth(students, spec)
        cuts = LevelCuts(dict.fromkeys(("ELA", "MATH"), TENS), "fixed_tens")
        levels = described_levels(found.frame, spec, Context(cuts, found.norms, found.response))
        rows = levels.filter(pl.col("effect_to_next_1") > LEAST, group=group, subject="MATH")
        for row in rows.sort("school_id").head(4).iter_rows(named=True):
            for factor, reached in ((1 + ABOUT, True), (1 - ABOUT, False)):
                here = (pl.col("school_id") == row["school_id"]) & (pl.col("subject") == "MATH")
                here &= pl.col("el") if group == "EL" else pl.lit(True)
                points = factor * row["effect_to_next_1"] / 100
                more = pl.when(here).then(pl.col("percentile") + points).otherwise("percentile")
                again = school_growth(students.with_columns(percentile=more), spec).frame
                own = again.filter(group=group, subject="MATH", school_id=row["school_id"])
                assert (own["growth_percentile"].item() >= TENS[row["level"] - 1]) == reached

    @pytest.mark.parametrize(
        "changes",
        [
            {"school.growth_percentile": "expected"},
            {"school.shrinkage": "sgp", "school.aggregate": "median", "school.standard_error": "sgp"},
        ],
        ids=["expected", "sgp"],
    )
    def test_no_effect_where_none_leads_there(self, changes: dict[str, object]) -> None:
        spec = plain_spec(school__shrinkage="empirical_bayes", school__band_draws=200).replace(changes)
        found = school_growth(system(30, 1_200), spec)
        cuts = LevelCuts({"MATH": TENS}, "fixed_tens")
        levels = described_levels(found.frame, spec, Context(cuts, found.norms, found.response))
        assert levels["points_to_next_1"].count() > 10
        assert levels["effect_to_next_1"].count() == levels["students_to_next_1"].count() == 0
        row = levels.drop_nulls("points_to_next_1").row(0, named=True)
        assert str(next_level_sentence(row)).endswith("percentile points higher.")

    def test_bands_are_in_the_specification(self, city_run: GrowthRun) -> None:
        rows = city_run.levels.drop_nulls("level")
        for level, band in rows.select("level", "band").iter_rows():
            assert band == ("above_average" if level >= 8 else "average" if level >= 4 else "below_average")
        with pytest.raises(SpecError, match="must be below"):
            city_run.spec.replace({"levels.average_from": 8})

    def test_a_sentence_says_it(self) -> None:
        row = {
            "level": 5,
            "points_to_next_1": 4.0,
            "effect_to_next_1": 1.25,
            "students_to_next_1": 3,
            "n": 40,
        }
        assert next_level_sentence(row) == (
            "Level 6 begins 4.0 percentile points higher: each student would have to move up by about "
            "1.2 points, or 3 of 40 students from the 40th to the 60th percentile."
        )
        assert "more than all 2 students" in str(next_level_sentence(row | {"n": 2}))
        assert next_level_sentence(row | {"points_to_next_1": None}) is None


class TestLastYear:
    def test_levels_of_a_run_of_several_years(self, city_file: object) -> None:
        as_text = {"student_id": pl.String, "school_id": pl.String}
        city = pl.read_csv(city_file, schema_overrides=as_text)
        spec = GrowthSpec.preset("core").replace({"groups.flags": {}, "groups.race": ""})
        base = growth.run(city, spec)
        later = growth.run(city.with_columns(pl.col("year") + 1), freeze=base.freeze(), previous=base)
        assert later.levels["level_last_year"].equals(base.levels["level"])
        assert set(later.levels["level_change"].drop_nulls()) == {0}
        assert base.levels["level_change"].null_count() == base.levels.height
        both = pl.concat([base.levels, later.levels])
        assert with_last_year(both).filter(year=2026).equals(later.levels)
        other = growth.run(city, spec.replace({"levels.rule": "base_deciles"}))
        with pytest.raises(SpecError, match="other cut points"):
            growth.run(city, spec, previous=other)


def growth_levels(students: pl.DataFrame, spec: GrowthSpec, base: GrowthRun, frozen: bool) -> pl.DataFrame:
    found = school_growth(students, spec, norms=base.norms if frozen else None)
    cuts = LevelCuts(dict.fromkeys(("ELA", "MATH"), TENS), "fixed_tens")
    return described_levels(found.frame, spec, Context(cuts, found.norms, found.response))


def _clipped(students: pl.DataFrame, here: pl.Expr) -> pl.DataFrame:
    """Keep percentiles within (0, 1) without changing the mean of the moved school."""
    low, high = 1e-6, 1 - 1e-6
    part = students.filter(here & pl.col("percentile").is_not_null())["percentile"].to_numpy().copy()
    for _ in range(1000):
        over = np.clip(part, low, high)
        rest = float((part - over).sum())
        if abs(rest) < 1e-13:
            break
        free = (over < high) if rest > 0 else (over > low)
        over[free] += rest / free.sum()
        part = over
    values = students["percentile"].to_numpy().copy()
    at = students.select((here & pl.col("percentile").is_not_null()).alias("_"))["_"].to_numpy()
    values[at] = part
    return students.with_columns(percentile=pl.Series(values, nan_to_null=True))
