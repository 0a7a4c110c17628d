"""The simulated system is what its docstring says, and the truth that it hands out is true."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import kstest

from growth.errors import SpecError
from growth.panel.simulate import (
    SCORE_BOUNDS,
    SimulatedSystem,
    SystemParameters,
    csem,
    simulate_cohort,
    simulate_table,
)
from growth.panel.simulate.parameters import FLAGS
from growth.panel.simulate.scale import SUBJECTS, TESTED_GRADES, score_scale

FIXTURES = Path(__file__).parents[1] / "fixtures"
KS_LEVEL = 1e-3
"""Fixed seeds: a p-value below this is a wrong formula, not bad luck."""
MEAN_SQUARE = 0.15
"""Mean squares of some hundred standard normal values lie this close to 1 (2 SDs at 350 values)."""


@pytest.fixture(scope="module")
def city() -> SimulatedSystem:
    return simulate_table(20_000, 100)


@pytest.fixture(scope="module")
def rows(city: SimulatedSystem) -> pl.DataFrame:
    """Table and truth side by side, with points per ability SD and ability around the grade's mean."""
    truth = city.students.select("true_score", "expected_score", "expected_sd", "percentile")
    points = pl.concat(
        pl.DataFrame(
            {
                "subject": subject,
                "grade": pl.Series(TESTED_GRADES, dtype=pl.Int16),
                "points": score_scale(subject, np.array(TESTED_GRADES))[1],
            }
        )
        for subject in SUBJECTS
    )
    both = city.table.hstack(truth).join(points, on=["subject", "grade"], how="left", maintain_order="left")
    centre = pl.mean("true_score").over("year", "subject", "grade")
    return both.with_columns(ability=(pl.col("true_score") - centre) / pl.col("points"))


@pytest.fixture(scope="module")
def latest(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(year=2025)


def test_equal_seeds_give_equal_systems() -> None:
    one, two = (simulate_table(1_000, 10, seed=3) for _ in range(2))
    assert one.table.equals(two.table)
    assert one.schools.equals(two.schools)
    assert one.students.equals(two.students)
    assert not one.table.equals(simulate_table(1_000, 10, seed=4).table)


def test_the_system_has_the_size_asked_for(city: SimulatedSystem, latest: pl.DataFrame) -> None:
    tested = latest.drop_nulls("score")["student_id"].n_unique()
    assert tested == pytest.approx(20_000, rel=0.02)
    assert city.table["school_id"].n_unique() == city.schools["school_id"].n_unique() == 100
    assert city.schools.height == 100 * 2 * 3
    assert city.schools["school_name"].n_unique() == 100
    assert city.schools["year"].unique().sort().to_list() == [2023, 2024, 2025]
    assert "schools=100" in repr(city)
    assert "growth years=2023-2025" in repr(city)


def test_every_growth_year_comes_with_the_records_its_priors_need(city: SimulatedSystem) -> None:
    cells = set(city.table.select("year", "grade").unique().iter_rows())
    assert cells == (
        {(year, grade) for year in (2023, 2024, 2025) for grade in TESTED_GRADES}
        | {(2022, grade) for grade in range(3, 9)}
        | {(2020, 8), (2021, 8)}
    )


def test_keys_are_unique_and_ids_are_zero_padded_text(city: SimulatedSystem) -> None:
    table = city.table
    assert not table.select("student_id", "year", "subject").is_duplicated().any()
    assert table["student_id"].str.contains(r"^\d{10}$").all()
    assert table["student_id"].str.starts_with("0").any()
    assert table["school_id"].str.contains(r"^\d{7}$").all()
    assert city.students.select("student_id", "year", "subject", "grade").equals(
        table.select("student_id", "year", "subject", "grade")
    )


def test_scores_are_integers_within_bounds(city: SimulatedSystem) -> None:
    assert city.table["score"].dtype.is_integer()
    seen = city.table.group_by("subject", "grade").agg(low=pl.col("score").min(), high=pl.col("score").max())
    for subject, grade, low, high in seen.iter_rows():
        assert SCORE_BOUNDS[subject][grade][0] <= low < high <= SCORE_BOUNDS[subject][grade][1]
    at_ends = [seen["low"].to_list(), seen["high"].to_list()]
    bounds = [SCORE_BOUNDS[subject][grade] for subject, grade in seen.select("subject", "grade").iter_rows()]
    assert sum(low == b[0] for low, b in zip(at_ends[0], bounds, strict=True)) > 0
    assert sum(high == b[1] for high, b in zip(at_ends[1], bounds, strict=True)) > 0


def test_scores_rise_with_grade(latest: pl.DataFrame) -> None:
    means = latest.group_by("subject", "grade").agg(pl.col("score").mean()).sort("subject", "grade")
    assert (means.select(pl.col("score").diff().over("subject")).drop_nulls().to_numpy() > 10).all()


def test_csem_is_a_u_and_tells_the_size_of_the_error(latest: pl.DataFrame) -> None:
    grade = np.full(5, 5)
    low, high = SCORE_BOUNDS["MATH"][5]
    values = csem(np.linspace(low, high, 5), score_scale("MATH", grade))
    np.testing.assert_allclose(values, values[::-1])
    assert (np.diff(values[:3]) < 0).all()
    assert values[0] > 3 * values[2]

    error = latest.drop_nulls("score").with_columns(
        z=(pl.col("score") - pl.col("true_score")) / pl.col("csem"), distance=pl.col("ability").abs()
    )
    assert error.group_by("subject", "grade").agg(pl.corr("score", "true_score"))["score"].min() > 0.95
    for near, far in ((0.0, 0.5), (0.5, 1.0), (1.0, 1.5)):
        assert error.filter(pl.col("distance").is_between(near, far))["z"].std() == pytest.approx(1, abs=0.06)
    assert latest.filter(pl.col("score").is_null())["csem"].is_null().all()


def test_abilities_are_correlated_across_years_and_subjects(rows: pl.DataFrame) -> None:
    key = ["student_id", "subject"]
    earlier = rows.filter(year=2024).select(
        *key, grade_before="grade", before="true_score", score_before="score"
    )
    pairs = rows.filter(year=2025).join(earlier, on=key).filter(pl.col("grade") == pl.col("grade_before") + 1)
    across = pairs.group_by("subject", "grade").agg(
        true=pl.corr("true_score", "before"), observed=pl.corr("score", "score_before")
    )
    assert across["true"].is_between(0.90, 0.95).all()
    assert across["observed"].is_between(0.82, 0.90).all()

    wide = rows.filter(year=2025).pivot("subject", index=["student_id", "grade"], values="true_score")
    between = wide.group_by("grade").agg(r=pl.corr("ELA", "MATH"))["r"]
    assert between.is_between(0.78, 0.87).all()


@pytest.mark.parametrize("flag", FLAGS)
def test_flags_go_with_achievement_and_with_poverty(latest: pl.DataFrame, flag: str) -> None:
    means = latest.group_by(flag).agg(pl.mean("ability")).sort(flag)["ability"]
    assert means[1] < means[0] - 0.2

    rate = latest.group_by("econ_disadvantaged").agg(rate=pl.mean(flag)).sort("econ_disadvantaged")["rate"]
    assert rate[1] > 1.2 * rate[0]


@pytest.mark.parametrize(("flag", "times_chance"), [("econ_disadvantaged", 10), ("english_learner", 2)])
def test_flags_cluster_in_elementary_schools_beyond_chance(
    latest: pl.DataFrame, flag: str, times_chance: float
) -> None:
    ela = latest.filter(pl.col("subject") == "ELA", pl.col("grade") < 6)
    share = ela[flag].mean()
    schools = ela.group_by("school_id").agg(n=pl.len(), share=pl.mean(flag))
    in_binomial_variances = schools["n"] * (schools["share"] - share) ** 2 / (share * (1 - share))
    assert in_binomial_variances.mean() > times_chance


def test_race_is_segregated_and_goes_with_achievement(latest: pl.DataFrame) -> None:
    ela = latest.filter(subject="ELA")
    shares = ela["race_ethnicity"].value_counts(normalize=True)
    assert shares.height == 8
    assert shares["proportion"].max() < 0.6
    school = ela.group_by("school_id").agg(white=(pl.col("race_ethnicity") == "White").mean())
    assert school["white"].std() > 0.08
    means = ela.group_by("race_ethnicity").agg(pl.mean("ability"))
    assert means["ability"].max() - means["ability"].min() > 0.3


def test_repeaters_movers_newcomers_and_gaps_have_their_shares(rows: pl.DataFrame) -> None:
    ela = rows.filter(subject="ELA")
    before = ela.filter(year=2024).select("student_id", grade_before="grade", school_before="school_id")
    now = ela.filter(pl.col("year") == 2025, pl.col("grade").is_between(4, 8))
    both = now.join(before, on="student_id", how="left")
    repeats = (both["grade"] == both["grade_before"]).mean()
    assert 0.005 < repeats < 0.02
    settled = both.filter(pl.col("grade").is_in([5, 7, 8]), pl.col("grade") == pl.col("grade_before") + 1)
    assert (settled["school_id"] != settled["school_before"]).mean() == pytest.approx(0.05, abs=0.02)
    assert both["grade_before"].null_count() / both.height == pytest.approx(0.06, abs=0.015)

    scores = rows.filter(year=2025).pivot("subject", index="student_id", values="score")
    missing = scores.select(
        pl.col("ELA").is_null().mean(), both=(pl.col("ELA").is_null() & pl.col("MATH").is_null()).mean()
    )
    assert missing["ELA"][0] == pytest.approx(0.031, abs=0.008)
    assert missing["both"][0] == pytest.approx(0.021, abs=0.007)
    years = ela.group_by("student_id").agg(pl.col("year").unique().sort(), pl.col("grade").max())
    gap = years.filter(
        pl.col("year").list.contains(2023)
        & ~pl.col("year").list.contains(2024)
        & pl.col("year").list.contains(2025)
    )
    assert 0 < gap.height / scores.height < 0.02


def test_grade_11_looks_back_to_grade_8_three_years_before(rows: pl.DataFrame) -> None:
    eleven = rows.filter(year=2025, grade=11, subject="MATH")
    eight = rows.filter(year=2022, grade=8, subject="MATH").select("student_id", before="true_score")
    pairs = eleven.join(eight, on="student_id")
    assert pairs.height / eleven.height > 0.8
    assert pairs.select(pl.corr("true_score", "before")).item() == pytest.approx(0.79, abs=0.03)


def test_growth_given_the_truth_is_standard_normal(city: SimulatedSystem, rows: pl.DataFrame) -> None:
    effects = city.schools.select("school_id", "subject", "year", "effect")
    known = rows.drop_nulls("expected_score").join(effects, on=["school_id", "subject", "year"])
    z = known.with_columns(
        z=(pl.col("true_score") - pl.col("expected_score") - pl.col("effect") * pl.col("points"))
        / pl.col("expected_sd"),
        typical=pl.col("expected_score").rank() / pl.len(),
    )
    assert z["percentile"].is_between(0, 1).all()
    assert kstest(z["z"].to_numpy(), "norm").pvalue > KS_LEVEL
    for grade in (4, 5, 6, 7, 8, 11):
        part = z.filter(grade=grade)["z"].to_numpy()
        assert part.std() == pytest.approx(1, abs=4 / np.sqrt(2 * len(part)))
    for decile in range(10):
        part = z.filter(pl.col("typical").is_between(decile / 10, (decile + 1) / 10))["z"].to_numpy()
        assert part.mean() == pytest.approx(0, abs=4 / np.sqrt(len(part)))


def test_school_effects_are_the_means_of_true_residuals(city: SimulatedSystem, rows: pl.DataFrame) -> None:
    residual = rows.drop_nulls("expected_score").with_columns(
        r=(pl.col("true_score") - pl.col("expected_score")) / pl.col("points"),
        v=(pl.col("expected_sd") / pl.col("points")) ** 2,
    )
    schools = residual.group_by("school_id", "subject", "year").agg(
        pl.mean("r"), se=pl.col("v").sum().sqrt() / pl.len(), n=pl.len()
    )
    both = schools.filter(pl.col("n") >= 20).join(city.schools, on=["school_id", "subject", "year"])
    z = ((both["r"] - both["effect"]) / both["se"]).to_numpy()
    assert len(z) > 500
    assert np.mean(z**2) == pytest.approx(1, abs=MEAN_SQUARE)
    large = both.filter(pl.col("n") >= 50)
    assert large.select(pl.corr("r", "effect")).item() > 0.85


def test_effects_have_a_lasting_and_a_yearly_part(city: SimulatedSystem) -> None:
    schools = city.schools
    assert (schools["effect"] - schools["persistent"] - schools["yearly"]).abs().max() < 1e-12
    lasting = schools.group_by("school_id", "subject").agg(pl.col("persistent").n_unique())
    assert (lasting["persistent"] == 1).all()
    assert schools["persistent"].std() == pytest.approx(0.09, rel=0.25)
    assert schools["yearly"].std() == pytest.approx(0.06, rel=0.15)
    wide = schools.filter(year=2025).pivot("subject", index="school_id", values="persistent")
    assert wide.select(pl.corr("ELA", "MATH")).item() == pytest.approx(0.6, abs=0.25)
    centred = schools.group_by("school_type", "subject", "year").agg(pl.mean("effect"))
    assert centred["effect"].abs().max() < 1e-12


def test_parameters_change_the_system() -> None:
    still = SystemParameters(mobility=0, turnover=0, repeat_rate=0, absence=0, missing_score=0, unlisted=0)
    system = simulate_table(1_000, 10, years=1, parameters=still)
    assert system.table["score"].null_count() == 0
    now = system.table.filter(pl.col("year") == 2025, pl.col("grade").is_between(4, 8))
    before = system.table.filter(year=2024)
    assert now.join(before, on=["student_id", "subject"], how="anti").is_empty()


@pytest.mark.parametrize(
    ("make", "culprit"),
    [
        (lambda: SystemParameters(mobility=1.5), "mobility"),
        (lambda: SystemParameters(intake_sd=-1), "intake_sd"),
        (lambda: SystemParameters(flag_gaps=((0.0,), (0.0,))), "flag_gaps"),
        (lambda: simulate_table(1_000, 2), "n_schools"),
        (lambda: simulate_table(50, 10), "n_tested"),
        (lambda: simulate_table(1_000, 10, years=0), "years"),
        (lambda: simulate_cohort(100, 0), "k_priors"),
        (lambda: simulate_cohort(100, n_schools=101), "n_schools"),
        (lambda: simulate_cohort(100, n_schools=5, intake_sd=1.0), "intake_sd"),
        (lambda: simulate_cohort(100, n_schools=5, reliability=0.0), "reliability"),
    ],
)
def test_impossible_wishes_are_refused(make, culprit: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SpecError, match=culprit):
        make()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k_priors": 3, "flag_gap": -0.6, "seed": 5},
        {"k_priors": 2, "intake_sd": 0.4, "n_schools": 300},
        {"reliability": 0.8, "intake_sd": 0.3, "flag_gap": 0.5, "n_schools": 300},
    ],
)
def test_cohort_percentiles_are_uniform_given_priors_and_flag(options: dict[str, float]) -> None:
    cohort = simulate_cohort(**options)  # type: ignore[arg-type]
    assert kstest(cohort.percentile, "uniform").pvalue > KS_LEVEL
    assert (cohort.score - cohort.expected).std() == pytest.approx(cohort.spread, rel=0.02)
    for prior in cohort.priors.T:
        assert abs(np.corrcoef(prior, cohort.percentile)[0, 1]) < 0.03
    for value in (False, True):
        assert cohort.percentile[cohort.flag == value].mean() == pytest.approx(0.5, abs=0.012)


@pytest.mark.parametrize("intake_sd", [0.0, 0.5])
def test_cohort_school_means_have_their_closed_form(intake_sd: float) -> None:
    cohort = simulate_cohort(200_000, n_schools=200, intake_sd=intake_sd, reliability=0.85)
    n = np.bincount(cohort.school)
    mean = 100 * np.bincount(cohort.school, cohort.percentile) / n
    np.testing.assert_allclose(mean, cohort.school_mean, atol=4.5 * 28.9 / np.sqrt(n.min()))
    assert np.corrcoef(mean, cohort.school_mean)[0, 1] > 0.97


def test_cohort_schools_with_able_intakes_gain_from_measurement_error() -> None:
    cohort = simulate_cohort(n_schools=200, intake_sd=0.5, reliability=0.85, effect_sd=0.0)
    intake = np.bincount(cohort.school, cohort.priors[:, 0]) / np.bincount(cohort.school)
    assert np.corrcoef(intake, cohort.school_mean)[0, 1] > 0.95
    assert np.abs(cohort.effect).max() == 0


def test_cohort_as_a_table_keeps_rows_in_order_of_student_id() -> None:
    cohort = simulate_cohort(500, 2, n_schools=5)
    table = cohort.table()
    now = table.filter(year=2025).sort("student_id")
    np.testing.assert_array_equal(now["score"].to_numpy(), cohort.score)
    before = table.filter(year=2023).sort("student_id")
    np.testing.assert_array_equal(before["score"].to_numpy(), cohort.priors[:, 1])
    assert before["grade"].unique().to_list() == [6]
    assert "n=500" in repr(cohort)


def test_the_small_city_is_what_its_script_writes() -> None:
    path = FIXTURES / "small_city.csv"
    assert path.stat().st_size < 1_200_000
    text = {"student_id": pl.String, "school_id": pl.String}
    written = pl.read_csv(path, schema_overrides=text)
    made = runpy.run_path(str(FIXTURES / "make_small_city.py"))["small_city"]()
    assert written.columns == made.columns
    # numpy may change its random streams between releases, so the numbers themselves are not compared
    assert written.height == pytest.approx(made.height, rel=0.03)
    assert written["school_id"].n_unique() == 12
    assert not written.select("student_id", "year", "subject").is_duplicated().any()
    assert written.select(pl.col(FLAGS).is_in([0, 1]).all()).row(0) == (True,) * len(FLAGS)
