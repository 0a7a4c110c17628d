"""Diagnostics: the rules, the statistics, and each chapter on frames made by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import golden
import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.special import ndtr

from growth._types import FloatArray, IntArray
from growth.diagnose import FAMILY, RULES
from growth.diagnose.account import cohorts, left_out, simex_gap
from growth.diagnose.fit import calibration, decile_table, goodness_of_fit, heteroskedasticity, uniformity
from growth.diagnose.rules import CHANCE, level_of
from growth.diagnose.scale import csem, drift, extremes
from growth.diagnose.schools import (
    correlations,
    duplicated_schools,
    flag_directions,
    outlying_schools,
    variance_components,
    within_schools_difference,
)
from growth.diagnose.scored import SMALLEST_SHOWN, Scored, tenths
from growth.diagnose.statistics import (
    anderson_darling,
    chi_square_bound,
    clustered_se,
    codes,
    correlation_bound,
    design_effect,
    kolmogorov,
    kolmogorov_bound,
    t_bound,
)
from growth.diagnose.verdicts import Finding, judge
from growth.pipeline import GrowthRun
from growth.release.published import LEAST
from growth.spec import GrowthSpec

PRINTED = 1e-9
"""Percentages of the R package are stored in full."""
TABLED = 2e-3
"""Critical values of Anderson and Darling's statistic are known to three decimals."""


def one_row(value: float, bound: float | None = None) -> pl.DataFrame:
    return pl.DataFrame({"where": ["Here"], "value": [value], "bound": [value if bound is None else bound]})


class TestRules:
    @pytest.mark.parametrize("name", RULES)
    def test_limits_decide(self, name: str) -> None:
        rule = RULES[name]
        harmless, between, grave = rule.look, (rule.look + rule.problem) / 2, rule.problem
        step = (rule.problem - rule.look) / 100
        for value, verdict in (
            (harmless, "ok"),
            (between, "look"),
            (grave, "look"),
            (grave + step, "problem"),
        ):
            found = judge(Finding(name, one_row(value)))
            assert found["verdict"] == verdict
            assert found["alarms"] == int(verdict != "ok")
            assert "{" not in str(found["sentence"])

    @pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.chance])
    def test_evidence_decides_where_chance_plays(self, name: str) -> None:
        found = judge(Finding(name, one_row(10 * RULES[name].problem, RULES[name].look)))
        assert found["verdict"] == "ok"
        assert "the confidence bound must pass the limit" in str(found["rule"])

    def test_the_worst_comparison_is_named_and_the_others_counted(self) -> None:
        rows = pl.DataFrame({"where": ["A", "B", "C"], "value": [5.0, -9.0, 0.0], "bound": [4.0, 8.5, 0.0]})
        found = judge(Finding("uniformity", rows))
        assert (found["verdict"], found["where"], found["alarms"]) == ("problem", "B", 2)
        assert "9.0 %" in str(found["sentence"])
        assert "(1 more such)" in str(found["sentence"])

    def test_nothing_to_test_is_said_and_why(self) -> None:
        found = judge(Finding("simex_gap", one_row(1.0).clear(), "SIMEX was not asked for."))
        assert (found["verdict"], found["sentence"]) == ("not judged", "SIMEX was not asked for.")

    def test_all_rules_together_alarm_by_chance_in_five_percent_at_most(self) -> None:
        comparisons = 17
        assert level_of(comparisons) * comparisons * CHANCE == pytest.approx(FAMILY)

    def test_what_is_withheld_here_is_withheld_in_the_report(self) -> None:
        assert SMALLEST_SHOWN == LEAST


class TestStatistics:
    def test_design_effect_equals_the_textbook_for_equal_clusters(self) -> None:
        rng = np.random.default_rng(1)
        values = rng.normal(size=(30, 8)) + rng.normal(size=(30, 1))
        between = 8 * values.mean(axis=1).var(ddof=1)
        within = values.var(axis=1, ddof=1).mean()
        icc = (between - within) / (between + 7 * within)
        found = design_effect(values.ravel(), np.repeat(np.arange(30), 8))
        assert found == pytest.approx(1 + 7 * icc)

    def test_clustered_se_of_clusters_of_one_is_the_usual_one(self) -> None:
        x = np.random.default_rng(2).normal(size=50)
        se, df = clustered_se(x, np.arange(50))
        assert (se, df) == (pytest.approx(x.std(ddof=1) / np.sqrt(50)), 49)
        assert clustered_se(x, np.zeros(50, dtype=np.int64))[0] == np.inf

    def test_missing_schools_are_clusters_of_their_own(self) -> None:
        found = codes(["b", None, "a", "b", None])
        assert found[0] == found[3]
        assert len(set(found.tolist())) == 4

    def test_kolmogorov_is_that_of_scipy_without_ties(self) -> None:
        x = np.random.default_rng(3).random(200) ** 1.1
        distance, p = stats.kstest(x, "uniform", method="asymp")
        assert kolmogorov(x) == pytest.approx(distance)
        assert kolmogorov_bound(distance, 200, 0.01)[0] == pytest.approx(p)

    def test_ties_in_the_middle_of_their_step_are_no_distance(self) -> None:
        shares = np.array([0.2, 0.5, 0.3])
        middle = np.cumsum(shares) - shares / 2
        assert kolmogorov(np.repeat(middle, (100 * shares).astype(int))) == pytest.approx(0.0)

    @pytest.mark.parametrize(("statistic", "p"), [(1.933, 0.10), (2.492, 0.05), (3.857, 0.01)])
    def test_anderson_darling_has_the_known_critical_values(self, statistic: float, p: float) -> None:
        x = np.random.default_rng(4).random(500)
        raw, _ = anderson_darling(x, 500)
        # Scaled to the n at which the statistic has this value.
        again, found = anderson_darling(x, 500 * statistic / raw)
        assert again == pytest.approx(statistic)
        assert found == pytest.approx(p, abs=TABLED)

    def test_bounds_are_where_tests_turn(self) -> None:
        level = 0.004
        least = chi_square_bound(200.0, 90, level)
        assert stats.ncx2.sf(200.0, 90, least) == pytest.approx(level)
        assert chi_square_bound(100.0, 90, level) == 0.0
        assert t_bound(3.0, 1.0, 20, 0.05) == pytest.approx(3 - stats.t.isf(0.025, 20))
        assert t_bound(-3.0, 10.0, 20, 0.05) == 0.0
        low = np.tanh(np.arctanh(0.5) - stats.norm.isf(0.025) / np.sqrt(97))
        assert correlation_bound(-0.5, 100, 0.05) == pytest.approx(low)

    def test_within_schools_difference_is_least_squares_with_dummies(self) -> None:
        rng = np.random.default_rng(5)
        school = np.repeat(np.arange(6), 12)
        flagged = rng.random(72) < 0.4
        z = rng.normal(size=72) + school / 3 - 0.5 * flagged
        design = np.column_stack([flagged, school[:, None] == np.arange(6)]).astype(np.float64)
        coef, rest = np.linalg.lstsq(design, z, rcond=None)[:2]
        variance = rest[0] / (72 - 7) * np.linalg.inv(design.T @ design)[0, 0]
        assert within_schools_difference(z, flagged, school) == pytest.approx((coef[0], np.sqrt(variance)))


def students(n: int = 2_000, seed: int = 1, schools: int = 40, **columns: object) -> pl.DataFrame:
    """Return students of one grade whose percentiles are uniform given their prior scores."""
    rng = np.random.default_rng(seed)
    prior = rng.normal(size=n)
    p = rng.permutation((np.arange(n) + 0.5) / n)
    residual = stats.norm.ppf(p)
    base: dict[str, object] = {
        "student_id": [f"{i:05d}" for i in range(n)],
        "year": np.full(n, 2025),
        "subject": ["ELA"] * n,
        "grade": np.full(n, 5),
        "school_id": [f"{i:03d}" for i in rng.integers(0, schools, n)],
        "score": np.round(2500 + 80 * (0.8 * prior + 0.6 * residual)),
        "prior_score": np.round(2450 + 80 * prior),
        "n_priors": np.ones(n, dtype=np.int64),
        "percentile": p,
        "sgp": np.clip(np.floor(100 * p + 0.5), 1, 99).astype(np.int64),
        "expected_score": 2500 + 64 * prior,
        "residual": 48 * residual,
    }
    return pl.DataFrame(base | columns)


def scored(frame: pl.DataFrame, *, frozen: bool = False, minimum: int = 20) -> Scored:
    return Scored(frame, minimum, frozen)


def moved(frame: pl.DataFrame, percentile: FloatArray) -> pl.DataFrame:
    """Return students with other percentiles."""
    sgp = np.clip(np.floor(100 * percentile + 0.5), 1, 99).astype(np.int64)
    return frame.with_columns(percentile=pl.Series(percentile), sgp=pl.Series(sgp))


def verdict(finding: Finding) -> object:
    return judge(finding)["verdict"]


class TestFit:
    def test_the_table_is_that_of_the_r_package(self) -> None:
        rows = pl.read_parquet(golden.OWN / "sgp_students.parquet").filter(cohort="ELA_2025_G5")
        counts, _ = decile_table(rows["prior_1"].cast(pl.Float64).to_numpy(), rows["sgp"].to_numpy())
        check_table(counts, pl.read_csv(golden.OWN / "gof.csv"), "percent", "prior_decile", "sgp_decile")

    def test_the_table_is_that_of_the_r_package_on_its_own_data(self, golden: Path) -> None:
        stored = pl.read_parquet(golden / "gof.parquet")
        students = pl.read_parquet(golden / "sgp_students.parquet")
        students = students.with_columns(pl.col("COHORT", "KNOTS").cast(pl.String))
        for cohort in stored["COHORT"].unique().sort():
            rows = students.filter(pl.col("COHORT") == cohort)
            rows = rows.filter(pl.col("KNOTS") == rows["KNOTS"].sort()[-1])
            table = stored.filter(pl.col("COHORT") == cohort)
            assert table["N"][0] == rows.height
            counts, _ = decile_table(
                rows["PRIOR_1"].cast(pl.Float64).to_numpy(), rows["SGP"].cast(pl.Int64).to_numpy()
            )
            check_table(counts, table, "PERCENT", "PRIOR_DECILE", "SGP_DECILE")

    def test_heaped_priors_merge_deciles(self) -> None:
        place, breaks = tenths(np.repeat([1.0, 2.0, 3.0], [51, 31, 19]))
        assert breaks.tolist() == [1.0, 2.0, 3.0]
        assert np.bincount(place).tolist() == [51, 50]

    def test_uniform_percentiles_are_fine_in_every_respect(self) -> None:
        frame = students()
        assert verdict(goodness_of_fit(scored(frame))[1]) == "ok"
        assert verdict(uniformity(scored(frame), ())[2]) == "ok"
        assert verdict(calibration(scored(frame), ())[1]) == "ok"
        assert verdict(heteroskedasticity(scored(frame))[1]) == "ok"

    def test_a_bow_along_prior_scores_is_found_though_all_is_uniform(self) -> None:
        frame = students(n=4_000)
        z = (frame["prior_score"].to_numpy() - 2450) / 80
        raw = stats.norm.ppf(frame["percentile"].to_numpy()) + 0.4 * (z**2 - 1)
        bowed = moved(frame, (stats.rankdata(raw) - 0.5) / len(raw))
        assert verdict(goodness_of_fit(scored(bowed))[1]) != "ok"
        assert verdict(calibration(scored(bowed), ())[1]) != "ok"
        assert verdict(uniformity(scored(bowed), ())[2]) == "ok"

    def test_percentiles_too_close_to_the_middle_are_found(self) -> None:
        frame = students()
        close = moved(frame, ndtr(0.6 * stats.norm.ppf(frame["percentile"].to_numpy())))
        assert verdict(uniformity(scored(close), ())[2]) in ("look", "problem")

    def test_spread_that_grows_with_the_score_is_found(self) -> None:
        frame = students()
        z = stats.norm.ppf(frame["percentile"].to_numpy())
        grows = z * np.exp(0.35 * (frame["expected_score"].to_numpy() - 2500) / 64)
        spread, found = heteroskedasticity(scored(moved(frame, ndtr(grows))))
        assert verdict(found) == "problem"
        assert spread["z_sd"][0] < 0.8 < 1.2 < spread["z_sd"][-1]

    def test_parts_with_few_students_or_few_others_are_not_shown(self) -> None:
        frame = students().with_columns(flag=pl.int_range(pl.len()) < 1_985)
        levels = uniformity(scored(frame), ("flag",))[0].filter(by="group")
        assert levels.is_empty()


def check_table(counts: IntArray, stored: pl.DataFrame, value: str, row: str, column: str) -> None:
    percent = 100 * counts / counts.sum(axis=1)[:, None]
    expected = np.full((10, 10), np.nan)
    expected[stored[row].to_numpy() - 1, stored[column].to_numpy() - 1] = stored[value].to_numpy()
    np.testing.assert_allclose(percent, expected, atol=PRINTED)


class TestScale:
    def test_ends_of_a_normal_test_are_fine(self) -> None:
        panel, extreme, ends = extremes(scored(students()))
        assert verdict(extreme) == verdict(ends) == "ok"
        assert panel["mean_sgp"].to_list() == pytest.approx(panel["expected_sgp"].to_list(), abs=6)

    def test_a_ceiling_is_found(self) -> None:
        frame = students()
        at = frame["score"].quantile(0.9)
        ends = extremes(scored(frame.with_columns(pl.col("score").clip(upper_bound=at))))[2]
        assert verdict(ends) in ("look", "problem")
        assert "highest scorers" in str(judge(ends)["where"])

    def test_a_coarse_scale_without_a_pile_is_no_ceiling(self) -> None:
        frame = students().with_columns((pl.col("score") / 60).round())
        assert verdict(extremes(scored(frame))[2]) == "ok"

    def test_extreme_scorers_with_ordinary_percentiles_are_found(self) -> None:
        frame = students()
        shuffled = np.random.default_rng(9).permutation(frame["percentile"].to_numpy())
        assert verdict(extremes(scored(moved(frame, shuffled)))[1]) == "problem"

    @pytest.mark.parametrize(
        ("size", "large", "small"),
        [(24.0, "ok", "ok"), (46.0, "look", "ok"), (60.0, "problem", "ok"), (8.0, "ok", "look")],
    )
    def test_csem_of_the_wrong_size_is_found(self, size: float, large: str, small: str) -> None:
        frame = students(csem=np.full(2_000, size))
        errors, too_large, too_small = csem(scored(frame), GrowthSpec())
        assert (verdict(too_large), verdict(too_small)) == (large, small)
        assert errors["csem"].item() == size
        assert errors["reliability"].item() == pytest.approx(1 - size**2 / frame["score"].var())  # type: ignore[operator]

    def test_csem_of_published_tables_is_judged_too(self) -> None:
        table = {"subject": "ELA", "grade": 5, "scores": [2000, 3000], "csem": [60, 60]}
        spec = GrowthSpec().replace({"measurement.csem": "table", "measurement.tables": [table]})
        errors, too_large, _ = csem(scored(students()), spec)
        assert errors["csem"].item() == pytest.approx(60)
        assert verdict(too_large) == "problem"

    def test_drift_shows_in_frozen_curves_only(self) -> None:
        frame = students()
        up = moved(frame, ndtr(stats.norm.ppf(frame["percentile"].to_numpy()) + 0.3))
        assert verdict(drift(scored(up))[1]) == "not judged"
        assert verdict(drift(scored(frame, frozen=True))[1]) == "ok"
        assert verdict(drift(scored(up, frozen=True))[1]) in ("look", "problem")

    def test_a_grade_is_held_against_the_other_grades_of_its_schools(self) -> None:
        """Schools far apart, one grade ahead by 8 points in each of them: too little for the level."""
        rng = np.random.default_rng(8)
        parts = []
        for grade in (5, 6, 7):
            frame = students(n=1_200, seed=grade, schools=12).with_columns(grade=pl.lit(grade, pl.Int64))
            lift = frame["school_id"].cast(pl.Int64).to_numpy() / 30 - 0.2 + 0.08 * (grade == 6)
            raw = 0.5 + 0.25 * rng.uniform(-1, 1, frame.height) + lift
            parts.append(moved(frame, np.clip(raw, 0.01, 0.99)))
        means, found = drift(scored(pl.concat(parts), frozen=True))
        loud = judge(found)
        assert loud["verdict"] != "ok"
        assert loud["where"] == "ELA 2025, grade 6, against other grades of its schools"
        level = found.tested.filter(pl.col("where").str.ends_with("against 50"))
        assert level["bound"].max() == 0
        # By hand: the difference weighs schools by the students that can be compared.
        frames = pl.concat(parts).with_columns(here=pl.col("grade") == 6)
        of = frames.group_by("school_id", "here").agg(pl.len().alias("n"), pl.col("percentile").mean())
        here, there = (of.filter(here=flag).sort("school_id") for flag in (True, False))
        weight = 1 / (1 / here["n"].to_numpy() + 1 / there["n"].to_numpy())
        apart = 100 * (here["percentile"] - there["percentile"]).to_numpy()
        row = means.filter(grade=6).row(0, named=True)
        assert row["within"] == pytest.approx(weight @ apart / weight.sum())
        assert row["schools"] == 12


class TestSchools:
    def test_a_school_read_twice_is_found(self) -> None:
        frame = students(n=2_000, schools=20)
        assert verdict(duplicated_schools(scored(frame))[1]) == "ok"
        copy = frame.filter(school_id="003").with_columns(
            student_id=pl.lit("X") + pl.col("student_id"), school_id=pl.lit("777")
        )
        pairs, found = duplicated_schools(scored(pl.concat([frame, copy])))
        assert verdict(found) == "problem"
        top = pairs.row(0, named=True)
        assert (top["school_id"], top["other_school_id"], top["share"]) == ("003", "777", 100.0)

    def test_a_scale_of_few_scores_tells_of_no_doubles(self) -> None:
        coarse = [(pl.col(name) / 100).round() for name in ("score", "prior_score")]
        frame = students(n=2_000, schools=20).with_columns(coarse)
        found = judge(duplicated_schools(scored(frame))[1])
        assert found["verdict"] == "not judged"
        assert "too coarse" in str(found["sentence"])

    def test_reversed_flags_are_found_in_the_system_a_grade_and_a_school(self) -> None:
        frame = students(n=4_000, schools=10)
        rng = np.random.default_rng(3)
        z = (frame["prior_score"].to_numpy() - 2450) / 80
        flag = pl.Series("econ_disadvantaged", rng.random(4_000) < ndtr(-z))
        usual = frame.with_columns(flag)
        name = ("econ_disadvantaged",)
        assert verdict(flag_directions(scored(usual), name)[1]) == "ok"
        swapped = usual.with_columns(~flag)
        assert verdict(flag_directions(scored(swapped), name)[1]) == "problem"
        here = pl.when(school_id="004").then(~flag).otherwise(flag).alias("econ_disadvantaged")
        found = judge(flag_directions(scored(usual.with_columns(here)), name)[1])
        assert found["verdict"] != "ok"
        assert "school 004" in str(found["where"])

    def test_flags_of_any_direction_may_go_their_own_way_in_the_system(self) -> None:
        frame = students().with_columns(gifted=pl.col("prior_score") > 2500)
        assert verdict(flag_directions(scored(frame), ("gifted",))[1]) == "ok"


def of_frames(**frames: pl.DataFrame) -> GrowthRun:
    """Return what chapters read of a run."""
    spec = GrowthSpec()
    return cast(GrowthRun, SimpleNamespace(frames=frames, spec=spec, manifest={}))


def results(effects: FloatArray, se: float = 3.0) -> pl.DataFrame:
    """Return school results of one subject."""
    n = len(effects)
    return pl.DataFrame(
        {
            "year": [2025] * n,
            "subject": ["ELA"] * n,
            "span": pl.Series([None] * n, dtype=pl.String),
            "group": ["All"] * n,
            "school_id": [f"{i:03d}" for i in range(n)],
            "n": [80] * n,
            "effect": effects,
            "effect_se": np.full(n, se),
            "reason": pl.Series([None] * n, dtype=pl.String),
        }
    )


def spread(tau: float, tau_high: float, se: float, icc: float = 0.05) -> pl.DataFrame:
    """Return the variance of one subject."""
    return pl.DataFrame(
        {
            "year": [2025],
            "subject": ["ELA"],
            "span": pl.Series([None], dtype=pl.String),
            "group": ["All"],
            "mean": [50.0],
            "tau2": [tau**2],
            "tau_high": [tau_high],
            "icc": [icc],
            "reliability": [tau**2 / (tau**2 + se**2)],
        }
    )


class TestSchoolResults:
    def test_normal_schools_are_fine_and_one_far_off_is_named(self) -> None:
        effects = 50 + 6 * stats.norm.ppf((np.arange(60) + 0.5) / 60)
        variance = spread(5.2, 6.5, 3.0)
        usual = outlying_schools(of_frames(schools=results(effects), variance=variance))[1]
        assert verdict(usual) == "ok"
        effects[7] = 15.0
        far = judge(outlying_schools(of_frames(schools=results(effects), variance=variance))[1])
        assert far["verdict"] != "ok"
        assert "School 007" in str(far["where"])

    def test_reliability_is_judged_by_what_it_may_be_at_best(self) -> None:
        def found(tau: float, tau_high: float) -> object:
            return verdict(variance_components(of_frames(variance=spread(tau, tau_high, 4.0)))[1])

        assert (found(6.0, 8.0), found(3.0, 5.0)) == ("ok", "ok")
        assert (found(2.0, 3.0), found(1.0, 1.5)) == ("look", "problem")

    def test_schools_that_differ_too_much_are_found(self) -> None:
        wide = variance_components(of_frames(variance=spread(15.0, 18.0, 3.0, icc=0.25)))
        assert (verdict(wide[1]), verdict(wide[2])) == ("ok", "look")

    @pytest.mark.parametrize(
        ("r", "schools", "expected"), [(0.3, 30, "ok"), (0.45, 300, "look"), (0.8, 300, "problem")]
    )
    def test_school_correlations_need_size_and_evidence(self, r: float, schools: int, expected: str) -> None:
        kept = results(np.full(40, 50.0))
        neutrality = pl.DataFrame(
            {
                "year": [2025],
                "subject": ["ELA"],
                "kind": ["prior"],
                "column": ["prior"],
                "level": pl.Series([None], dtype=pl.String),
                "schools": [schools],
                "r": [r],
                "r_low": [0.0],
                "r_high": [0.9],
                "r_students": [0.0],
                "composition": ["none"],
            }
        )
        frame = students()
        run = of_frames(schools=kept, neutrality=neutrality)
        table, points, of_students, of_schools = correlations(run, scored(frame))
        assert (verdict(of_students), verdict(of_schools)) == ("ok", expected)
        assert table["students"].item() == frame.height
        assert points["n"].min() >= 20  # type: ignore[operator]
        tilted = moved(
            frame, ndtr(stats.norm.ppf(frame["percentile"]) + 0.006 * (frame["prior_score"] - 2450))
        )
        assert verdict(correlations(run, scored(tilted))[2]) == "problem"


class TestAccount:
    def test_cohorts_are_judged_by_what_the_run_counted(self) -> None:
        cells = pl.DataFrame(
            {
                "cohort": ["A", "B"],
                "subject": ["ELA"] * 2,
                "year": [2025] * 2,
                "grade": [5, 6],
                "n_priors": [1, 2],
                "engine": ["quantile"] * 2,
                "base_year": pl.Series([None, None], dtype=pl.Int64),
                "n": [1_000, 100],
                "p": [10, 10],
                "crossing_share": [0.1, 0.4],
                "outside_knots": [0, 1],
                "max_relative_gap": [1e-12, 1e-7],
                "fallbacks": [0, 0],
                "dropped_columns": [[], []],
                "capped_columns": [0, 1],
            }
        )
        table, findings = cohorts(of_frames(cells=cells))
        assert table["outside_knots"].to_list() == [0.0, 0.5]
        assert [verdict(finding) for finding in findings] == ["look"] * 5
        assert {judge(finding)["where"] for finding in findings} == {"Cohort B"}
        clean = cohorts(of_frames(cells=cells.head(1)))[1]
        assert [verdict(finding) for finding in clean] == ["ok"] * 5

    def test_rows_and_groups_left_out_are_counted(self) -> None:
        counts = pl.DataFrame(
            {
                "subject": ["all", "ELA", "ELA", "ELA"],
                "year": [None, 2025, 2025, 2025],
                "step": ["read", "in_scope", "has_priors", "scored"],
                "rows": [1_000, 1_000, 600, 600],
                "excluded": [0, 0, 400, 0],
                "reason": [None, None, "no_prior_score", None],
            }
        )
        i = np.arange(1_000)
        rows = pl.DataFrame(
            {
                "year": [2025] * 1_000,
                "subject": ["ELA"] * 1_000,
                "school_id": (i % 25).astype(str),
                "highest": [True] * 1_000,
                "percentile": pl.Series(np.where(i < 400, np.nan, 0.5)).fill_nan(None),
                "el": i < 300,
                "sped": i % 3 == 0,
                "few": i < 19,
            }
        )
        run = of_frames(counts=counts, students=rows)
        steps, shares, findings = left_out(run, ("el", "sped", "few"), 20)
        assert steps["share"].to_list() == [0.0, 40.0, 0.0]
        assert shares["group"].to_list() == ["All", "el", "sped"]
        assert shares["left_out"].to_list() == pytest.approx([40.0, 100.0, 40.1], abs=0.1)
        assert [verdict(finding) for finding in findings] == ["look", "problem"]
        assert "el" in str(judge(findings[1])["where"])

    def test_the_simex_gap_is_that_of_school_means(self) -> None:
        frame = students(schools=10)
        z = (frame["prior_score"] - 2450) / 80
        able = pl.when(pl.col("school_id") < "005").then(0.05).otherwise(-0.05)
        moved_by = frame.with_columns(percentile_simex=pl.col("percentile") - 0.02 * z + able)
        gap, found = simex_gap(scored(moved_by))
        assert judge(found)["value"] == pytest.approx(5.0, abs=0.5)
        assert verdict(found) == "look"
        by_prior = gap.filter(by="prior")["gap"].to_list()
        assert len(by_prior) == 10
        assert by_prior[0] > by_prior[-1]
        assert verdict(simex_gap(scored(frame))[1]) == "not judged"
