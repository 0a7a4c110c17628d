"""The tables of a study against hand computation on a small system: every statistic of METHOD D."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from index_cases import metric_row, types

import growth
from growth.index import growth_metrics, growth_points, school_index
from growth.school.counted import count_results
from growth.spec import GrowthSpec
from growth.study.outcome import Outcome, halves, intake
from growth.study.points import points_between, points_moved, points_sentence
from growth.study.tables import (
    P_LEVELS,
    SIZES,
    intake_table,
    reliability_table,
    school_table,
    statistics_table,
)

ROUNDING = 1e-12
"""Sums of a few numbers of order one, relative."""
YEARS = (2024, 2025)
SCHOOLS = ("A", "B", "C", "D")
RANKS = (12.5, 37.5, 62.5, 87.5)
NEUTRAL = {
    "kind": "prior",
    "column": "prior",
    "level": None,
    "schools": 4,
    "r": 0.3,
    "r_low": -0.1,
    "r_high": 0.6,
}


def outcome(order: dict[int, tuple[int, ...]], *, withheld: str = "", icc: float = 0.05) -> Outcome:
    """Return results of four schools: per year the place of each, 0 the lowest."""
    rows, levels, halved, worth = [], [], [], []
    for year in YEARS:
        for school, place in zip(SCHOOLS, order[year], strict=True):
            key = {"year": year, "subject": "ELA", "school_id": school}
            gone = school == withheld
            percentile = None if gone else RANKS[place]
            level = None if percentile is None else int(percentile // 10) + 1
            chances = dict.fromkeys(P_LEVELS, None if gone else 0.05)
            if level is not None:
                chances[f"p_level_{level}"] = 0.55
            rows.append(
                {
                    **key,
                    "group": "All",
                    "n": 40,
                    "shrunk": None if gone else 40.0 + 5 * place,
                    "effect": None if gone else 38.0 + 6 * place,
                    "growth_percentile": percentile,
                    "growth_percentile_low": None if gone else RANKS[place] - 30,
                    "growth_percentile_high": None if gone else RANKS[place] + 30,
                    **chances,
                }
            )
            levels.append({**key, "group": "All", "level": level})
            halved.append({**key, "n": 40, "first": float(place), "second": float((place + 1) % 4)})
            if level is not None:
                worth.append({**key, "possible": 10.0, "points": float(level)})
    blocks = [{"year": year, "subject": "ELA"} for year in YEARS]
    frames = {
        "schools": pl.DataFrame(rows, infer_schema_length=None),
        "levels": pl.DataFrame(levels, infer_schema_length=None),
        "variance": pl.DataFrame(
            [
                {**block, "span": span, "group": "All", "icc": value, "reliability": 0.6 + value}
                for block in blocks
                for span, value in (("E", icc - 0.01), ("M", icc + 0.01))
            ]
        ),
        "counts": pl.DataFrame([{**block, "step": "in_scope", "rows": 200} for block in blocks]),
        "halves": pl.DataFrame(halved),
        "neutrality": pl.DataFrame([{**block, **NEUTRAL} for block in blocks], infer_schema_length=None),
        "points": pl.DataFrame(worth),
    }
    return Outcome(frames, {}, 1.0)


BASE = outcome({2024: (0, 1, 2, 3), 2025: (0, 1, 2, 3)})
OTHER = outcome({2024: (1, 0, 2, 3), 2025: (3, 1, 2, 0)}, withheld="B", icc=0.10)
NOBODY = pl.DataFrame(schema={"subject": pl.String, "school_id": pl.String})


def statistics(truth: pl.DataFrame | None = None, poorest: pl.DataFrame = NOBODY) -> pl.DataFrame:
    return statistics_table(school_table([BASE, OTHER]), [BASE, OTHER], truth, poorest)


def row(frame: pl.DataFrame, variant: int, year: int = 2025) -> dict[str, float]:
    return frame.filter(variant=variant, year=year).row(0, named=True)


class TestStatistics:
    def test_agreement_is_over_schools_with_both(self) -> None:
        """A, C and D; A and D change places: from 40, 50, 55 to 55, 50, 40."""
        found = row(statistics(), 1)
        assert found["schools"] == 3
        assert found["pearson"] == pytest.approx(-13 / 14)  # -325/3 over 350/3
        assert found["spearman"] == pytest.approx(-1)
        assert found["kendall"] == pytest.approx(-1)
        assert found["level_changed"] == found["level_changed_by_more"] == pytest.approx(200 / 3)
        assert found["quintile_changed"] == pytest.approx(200 / 3)
        assert found["bottom_turnover"] == found["top_turnover"] == 100
        assert found["rmse"] == pytest.approx(np.sqrt(2 * 75.0**2 / 3))

    def test_index_points_moved(self) -> None:
        """Levels 2 and 9 change places, worth a point each level: 7, 0 and 7."""
        found = row(statistics(), 1)
        assert (found["points_moved"], found["points_moved_most"]) == (pytest.approx(14 / 3), 7)
        assert row(statistics(), 0)["points_moved"] == 0
        assert points_moved(BASE.frames["points"].clear(), OTHER.frames["points"]) == (None, None)

    def test_a_variant_by_itself(self) -> None:
        found = row(statistics(), 1)
        # Shrunken results of 2024 and 2025 of A, C, D: 45, 50, 55 and 55, 50, 40.
        assert found["year_to_year"] == pytest.approx(np.corrcoef([45, 50, 55], [55, 50, 40])[0, 1])
        assert row(statistics(), 1, 2024)["year_to_year"] is None
        assert found["icc"] == pytest.approx(0.10, abs=ROUNDING)  # mean over spans
        assert found["reliability"] == pytest.approx(0.70, abs=ROUNDING)
        # Halves 3, 1, 2, 0 against 0, 2, 3, 1: r = -.6 (rank differences 9 + 1 + 1 + 1).
        assert found["split_half"] == pytest.approx(2 * -0.2 / 0.8)
        assert found["level_accuracy"] == pytest.approx(0.55)
        assert found["level_consistency"] == pytest.approx(0.55**2 + 9 * 0.05**2)
        assert found["school_coverage"] == 75
        assert found["student_coverage"] == pytest.approx(100 * 120 / 200)

    def test_kappa_of_levels_by_hand(self) -> None:
        found = row(statistics(), 0)
        mean = np.full(10, 0.05)
        mean[[1, 3, 6, 8]] = (0.55 + 3 * 0.05) / 4
        chance = (mean**2).sum()
        seen = 0.55**2 + 9 * 0.05**2
        assert found["level_kappa"] == pytest.approx((seen - chance) / (1 - chance))

    def test_against_the_truth(self) -> None:
        truth = pl.DataFrame(
            [(2025, "ELA", school, float(i)) for i, school in enumerate(SCHOOLS)],
            schema={"year": pl.Int64, "subject": pl.String, "school_id": pl.String, "effect": pl.Float64},
            orient="row",
        )
        poorest = pl.DataFrame({"subject": ["ELA"], "school_id": ["A"]})
        found = row(statistics(truth, poorest), 1)
        # True ranks of A, C, D among three: 16.7, 50, 83.3; said: 87.5, 62.5, 12.5.
        off = np.array([87.5 - 50 / 3, 12.5, 12.5 - 250 / 3])
        assert found["truth_spearman"] == pytest.approx(-1)
        assert found["truth_bias"] == pytest.approx(off.mean())
        assert found["truth_rmse"] == pytest.approx(np.sqrt((off**2).mean()))
        assert found["truth_bias_poverty"] == pytest.approx(off[0])
        assert found["truth_coverage"] == pytest.approx(100 / 3)  # C alone lies within 30 points
        assert found["truth_level_hits"] == 0  # true levels 2, 6, 9 against 9, 7, 2
        assert row(statistics(truth, poorest), 0)["truth_level_hits"] == 100

    def test_reliability_by_size(self) -> None:
        found = reliability_table([BASE, OTHER]).filter(variant=1, year=2025)
        assert found["n"].to_list() == list(SIZES)
        assert SIZES[0] == 10
        assert SIZES[-1] == 250
        assert found["reliability"].to_list() == pytest.approx([n * 0.1 / (1 + (n - 1) * 0.1) for n in SIZES])

    def test_intake_is_that_of_each_variant(self) -> None:
        found = intake_table([BASE, OTHER])
        assert found["variant"].to_list() == [0, 0, 1, 1]
        assert set(found["r"]) == {0.3}


def students(spec: GrowthSpec) -> pl.DataFrame:
    """Return two schools of eleven and four scored students."""
    school = ["A"] * 11 + ["B"] * 4
    n = len(school)
    return pl.DataFrame(
        {
            "student_id": [f"{i:02d}" for i in range(n)],
            "year": [2025] * n,
            "subject": ["ELA"] * n,
            "grade": [5] * n,
            "school_id": school,
            "highest": [True] * n,
            "status": ["scored"] * n,
            "percentile": [(i + 1) / 20 for i in range(n)],
            "sgp": [5 * (i + 1) for i in range(n)],
            "prior_score": [2400.0 + 10 * i for i in range(n)],
            "econ_disadvantaged": [i % 2 == 0 for i in range(n)],
            "english_learner": [False] * n,
            "disability": [False] * n,
            "race_ethnicity": ["x"] * n,
        }
    )


class TestOutcome:
    SPEC = GrowthSpec().replace({"school.min_n": 5, "groups.min_n": 5, "school.trim": 0.2})

    @pytest.mark.parametrize("aggregate", ["mean", "median", "trimmed_mean"])
    def test_halves_are_even_and_aggregated_as_schools_are(self, aggregate: str) -> None:
        spec = self.SPEC.replace({"school.aggregate": aggregate})
        found = halves(count_results(students(spec), spec), spec, seed=4)
        assert found["school_id"].to_list() == ["A"]  # B has too few
        order = np.random.default_rng(4).permutation(15)
        mine = [i for i in order if i < 11]
        of = {
            "mean": np.mean,
            "median": np.median,
            "trimmed_mean": lambda x: np.sort(x)[1:-1].mean(),  # a fifth of six and of five, rounded down
        }[aggregate]
        expected = [of(5.0 * (np.array(mine[k::2]) + 1)) for k in (0, 1)]
        assert found.select("first", "second").row(0) == pytest.approx(tuple(expected))
        assert found["n"].item() == 11

    def test_intake_by_hand(self) -> None:
        rows = students(self.SPEC)
        found = intake(count_results(rows, self.SPEC), self.SPEC)
        assert found["school_id"].to_list() == ["A"]
        prior = rows["prior_score"].to_numpy()
        z = (prior - prior.mean()) / prior.std(ddof=1)
        assert found["prior"].item() == pytest.approx(z[:11].mean())
        assert found["SED"].item() == pytest.approx(6 / 11)


def of_growth(**levels: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the schools and levels frames of school A, by subject and group as ``ELA_All=7``."""
    rows = []
    for name, level in levels.items():
        subject, group = name.split("_")
        key = {"year": 2025, "subject": subject, "group": group.replace("lowest", "race:x"), "school_id": "A"}
        rows.append({**key, "n": 50, "effect": 50.0, "effect_se": 3.0, "reason": None, "level": level})
    frame = pl.DataFrame(rows).with_columns(
        growth_percentile=10.0 * pl.col("level") - 5, reason=pl.lit(None, pl.String)
    )
    return frame.drop("level"), frame.select("year", "subject", "group", "school_id", "level")


class TestPoints:
    SPEC = GrowthSpec().replace({"index.levels": "fixed_tens"})

    def test_by_hand(self) -> None:
        """Two academic metrics apply to elementary schools: 30 points for growth, 15 a subject."""
        frames = of_growth(ELA_All=8, ELA_EL=4, MATH_All=6)
        found = growth_points(*frames, self.SPEC, types())
        assert found["subject"].to_list() == ["ELA", "MATH"]
        assert found["possible"].to_list() == [15, 15]
        assert found["points"].to_list() == pytest.approx([15 * 0.6, 15 * 0.6])
        half = self.SPEC.replace({"index.all_share": 0.5})
        # Half for all students and an eighth for English learners: 0.8 and 0.2 of what is reported.
        assert growth_points(*frames, half, types())["points"][0] == pytest.approx(
            15 * (0.8 * 0.8 + 0.2 * 0.4)
        )
        assert growth_points(*frames, self.SPEC, types(A="Middle"))["possible"].to_list() == [10, 10]

    def test_they_are_those_of_the_index(self) -> None:
        frames = of_growth(ELA_All=8, ELA_EL=4, ELA_SED=3, ELA_lowest=2, MATH_All=6, MATH_SWD=1)
        others = pl.DataFrame([metric_row("academic_performance"), metric_row("climate")])
        own = growth_metrics(*frames, self.SPEC)
        whole = school_index(pl.concat([typed(others), own]), self.SPEC, schools=types())
        parts = whole.points.filter(metric="growth").group_by("part").agg(pl.col("points").sum()).sort("part")
        found = growth_points(*frames, self.SPEC, types())
        assert found["points"].to_list() == pytest.approx(parts["points"].to_list())

    def test_an_index_without_growth(self) -> None:
        metrics = {"climate": {"domain": "school_quality"}, "academic_performance": {"domain": "academic"}}
        spec = self.SPEC.replace({"index.metrics": metrics})
        assert growth_points(*of_growth(ELA_All=8), spec, types()).is_empty()


def typed(frame: pl.DataFrame) -> pl.DataFrame:
    from growth.index.metric_table import read_metrics

    return read_metrics(frame, TestPoints.SPEC)


class TestTwoRuns:
    def test_points_between_runs_are_those_of_their_indices(self) -> None:
        city = growth.simulate_table(1_200, 12, years=1, seed=5).table
        spec = GrowthSpec.preset("core").replace(
            {
                "cohorts.min_cohort": 60,
                "school.min_n": 10,
                "student.engine": "normal",
                "peers.composition": "none",
            }
        )
        a, b = growth.run(city, spec), growth.run(city, spec.replace({"school.aggregate": "median"}))
        schools = a.frames["schools"]["school_id"].unique().sort().to_list()
        others = pl.DataFrame(
            [
                metric_row(metric, school_id=school, value=float(10 * (i % 9)))
                for i, school in enumerate(schools)
                for metric in ("academic_performance", "climate")
            ]
        )
        fixed = [replace(run, spec=run.spec.replace({"index.levels": "fixed_tens"})) for run in (a, b)]
        found = points_between(*fixed, others)
        for name, run in zip(("index_a", "index_b"), fixed, strict=True):
            table = pl.concat(
                [typed(others), growth_metrics(run.frames["schools"], run.frames["levels"], run.spec)]
            )
            whole = school_index(table, run.spec, schools=run.frames["students"]).index
            both = found.join(whole, on="school_id")
            assert both[name].to_list() == both["index"].to_list()
        moved = found.drop_nulls("index_moved")
        assert moved.height > 5
        assert moved["index_moved"].abs().max() > 0  # type: ignore[operator]
        assert "The index moves by" in points_sentence(found)
        alone = points_between(*fixed, None)
        assert alone["index_a"].null_count() == alone.height
        assert "Index points from growth move by" in points_sentence(alone)
