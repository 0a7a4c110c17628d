"""EBLP in a run: blocks, sets, targets, what is reported."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from school_results import plain_spec
from scipy.special import ndtr
from scipy.stats import rankdata

import growth
from growth.errors import ColumnError, SpecError
from growth.pipeline.schema import mismatches
from growth.school import SchoolGrowth, school_growth
from growth.school.eblp import EblpOptions, StudentBlocks, Target, eblp
from growth.spec import GrowthSpec

ROUNDING = 1e-10
STATED = 0.1
"""Relative; 2,400 squared errors, dependent within a school, have a Monte-Carlo SE of some 4 %."""

EBLP = {"school__shrinkage": "eblp", "school__min_n": 10, "school__eblp__jackknife": 10}


def students_of(seed: int, schools: int = 60, *, kinds: bool = False) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return students of 2 years, grades 4-7 and 2 subjects, and the true means of schools in each block.

    With `kinds`, half of the schools have grades 4-5 and half grades 6-7.
    """
    rng = np.random.default_rng([9, seed])
    level = 0.2 * rng.standard_normal(schools)
    part = {(y, s): 0.15 * rng.standard_normal(schools) for y in (2024, 2025) for s in ("ELA", "MATH")}
    size = np.exp(rng.uniform(np.log(4), np.log(30), schools)).astype(np.int64)
    rows: list[pl.DataFrame] = []
    first = 0
    for cohort in range(3, 8):
        school = np.repeat(np.arange(schools), size)
        student = first + np.arange(len(school))
        first += len(school)
        able = rng.standard_normal(len(school))
        for year in (2024, 2025):
            grade = cohort + year - 2024
            if not 4 <= grade <= 7:
                continue
            here = (school % 2 == (grade > 5)) if kinds else np.ones(len(school), np.bool_)
            for subject in ("ELA", "MATH"):
                there = np.flatnonzero(here & (rng.random(len(school)) < 0.95))
                mean = (level + part[year, subject])[school[there]]
                z = mean + 0.5 * able[there] + 0.87 * rng.standard_normal(len(there))
                rows.append(
                    pl.DataFrame(
                        {
                            "student_id": student[there].astype(str),
                            "school_id": school[there].astype(str),
                            "year": np.full(len(there), year, np.int32),
                            "grade": np.full(len(there), grade),
                            "subject": [subject] * len(there),
                            "percentile": ndtr(z),
                            "status": ["scored"] * len(there),
                            "highest": np.ones(len(there), np.bool_),
                        }
                    )
                )
    truth = [
        pl.DataFrame(
            {
                "year": np.full(schools, y, np.int32),
                "subject": [s] * schools,
                "school_id": np.arange(schools).astype(str),
                # E Phi(z) for z normal with variance 0.5^2 + 0.87^2 = 1.0069.
                "truth": 100 * ndtr((level + effect) / np.sqrt(1 + 0.25 + 0.87**2)),
            }
        )
        for (y, s), effect in part.items()
    ]
    return pl.concat(rows), pl.concat(truth)


def run(students: pl.DataFrame, **changes: object) -> SchoolGrowth:
    return school_growth(students, plain_spec(**(EBLP | changes)))


def coded(students: pl.DataFrame, keys: list[str]) -> tuple[StudentBlocks, list[str], pl.DataFrame]:
    blocks = students.select(keys).unique().sort(keys)
    names = sorted(students["school_id"].unique())
    block = students.select(keys).join(blocks.with_row_index("b"), on=keys, how="left", maintain_order="left")
    rows = StudentBlocks(
        students["student_id"].cast(pl.Int64).to_numpy(),
        students["school_id"].replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy(),
        block["b"].cast(pl.Int64).to_numpy(),
        100 * students["percentile"].to_numpy(),
        len(names),
        blocks.height,
    )
    return rows, names, blocks


def test_results_are_those_of_the_model() -> None:
    students, _ = students_of(1)
    found = run(students, school__eblp__afterwards="none")
    rows, names, blocks = coded(students, ["grade", "year", "subject"])
    chosen = (blocks["year"] == 2025) & (blocks["subject"] == "MATH")
    target = Target(tuple(np.flatnonzero(chosen.to_numpy()).tolist()))
    model = eblp(rows, {"math": target}, EblpOptions(jackknife=10, seed=plain_spec().school.seed)).schools
    assert found.predictions is not None
    ours = found.predictions.filter(year=2025, subject="MATH")
    assert ours["school_id"].to_list() == names
    for mine, theirs in (("direct", "direct"), ("blp", "blp"), ("prmse", "prmse")):
        np.testing.assert_allclose(ours[mine], model[theirs], ROUNDING)
    np.testing.assert_allclose(ours["blp_se"], np.sqrt(model["blp_mse"]), ROUNDING)
    assert ours["used"].to_list() == model["used"].to_list()
    shown = found.frame.filter(year=2025, subject="MATH")
    np.testing.assert_allclose(shown["shrunk"], model["hybrid"], ROUNDING)
    np.testing.assert_allclose(shown["shrunk_se"], np.sqrt(model["hybrid_mse"]), ROUNDING)
    np.testing.assert_allclose(shown["effect"], model["direct"], ROUNDING)
    assert shown.sort("shrunk")["growth_percentile"].is_sorted()
    assert (shown["growth_percentile_low"] < shown["growth_percentile_high"]).all()


def test_predictions_beat_means_and_are_as_sure_as_they_say() -> None:
    squares: dict[str, list[float]] = {name: [] for name in ("direct", "blp", "shrunk", "eb")}
    every: list[float] = []
    stated: list[float] = []
    inside: list[bool] = []
    for seed in range(10):
        students, truth = students_of(seed)
        found = run(students)
        plain = school_growth(students, plain_spec(school__shrinkage="empirical_bayes", school__min_n=10))
        assert found.predictions is not None
        keys = ["year", "subject", "school_id"]
        both = truth.join(found.predictions, on=keys).join(
            found.frame.select(*keys, "shrunk", "shrunk_se"), on=keys
        )
        both = both.join(plain.frame.select(*keys, pl.col("shrunk").alias("eb")), on=keys)
        # All schools are large enough, so that none is missing from the comparison of errors.
        every += ((both["blp"] - both["truth"]) ** 2).to_list()
        stated += (both["blp_se"] ** 2).to_list()
        both = both.filter(pl.col("n") < 50)
        for name, values in squares.items():
            values += ((both[name] - both["truth"]) ** 2).to_list()
        inside += ((both["shrunk"] - both["truth"]).abs() < 1.96 * both["shrunk_se"]).to_list()
    error = {name: float(np.mean(values)) for name, values in squares.items()}
    assert len(inside) > 1000
    assert error["blp"] < 0.8 * error["direct"]
    # Shrunk twice: within the school first, then towards all schools, better than either alone.
    assert error["shrunk"] < error["eb"]
    assert error["shrunk"] < error["blp"]
    assert len(every) > 2000
    assert np.mean(stated) == pytest.approx(np.mean(every), rel=STATED)
    assert 0.92 < np.mean(inside) < 0.98


def test_rank_bands_of_predictions_cover_true_ranks() -> None:
    inside: list[float] = []
    for seed in range(6):
        students, truth = students_of(seed)
        frame = run(students).frame.filter(pl.col("reason").is_null())
        for _, part in frame.join(truth, on=["year", "subject", "school_id"]).group_by("year", "subject"):
            rank = 100 * (rankdata(part["truth"]) - 0.5) / part.height
            low, high = (part[f"growth_percentile_{end}"].to_numpy() for end in ("low", "high"))
            inside += ((low <= rank) & (rank <= high)).tolist()
    # Discrete ranks and outer band ends: slightly more than 95 %.
    assert 0.93 < np.mean(inside) < 0.98


def test_grades_that_never_meet_in_a_school_have_models_of_their_own() -> None:
    students, _ = students_of(2, kinds=True)
    found = run(students, school__eblp__afterwards="none").predictions
    low = run(students.filter(pl.col("grade") <= 5), school__eblp__afterwards="none").predictions
    assert found is not None
    assert low is not None
    keys = ["year", "subject", "school_id"]
    both = low.join(found, on=keys, suffix="_all").filter(pl.col("n") >= 10)
    for name in ("direct", "blp", "blp_se"):
        np.testing.assert_allclose(both[name], both[f"{name}_all"], ROUNDING)


def test_small_blocks_count_as_observed() -> None:
    students, _ = students_of(3)
    size = students.filter(pl.col("grade") == 7).group_by("year", "subject").len()["len"].max()
    all_small = run(students, school__eblp__min_block=10**6, school__eblp__afterwards="none")
    assert all_small.predictions is not None
    shown = all_small.frame
    np.testing.assert_allclose(shown["shrunk"], shown["effect"], ROUNDING)
    assert set(all_small.predictions["used"].drop_nulls()) == {"direct"}
    assert isinstance(size, int)
    few = students.filter((pl.col("grade") < 7) | (pl.int_range(pl.len()).over("grade") < 60))
    some = run(few, school__eblp__afterwards="none")
    np.testing.assert_allclose(some.predictions["direct"], some.frame["effect"], ROUNDING)  # type: ignore[index]
    assert "both" in some.predictions["used"].to_list()  # type: ignore[index]


def test_a_small_year_is_not_told_by_means_over_several() -> None:
    students, _ = students_of(4)
    last = (pl.col("school_id") == "0") & (pl.col("year") == 2025) & (pl.col("subject") == "MATH")
    few = students.filter(~last | (pl.int_range(pl.len()).over(last) < 5))
    found = run(few, school__eblp__target="all").predictions
    assert found is not None
    rows = found.filter(school_id="0", subject="MATH").sort("year")
    assert rows["n"][1] == rows["n"][0] + 5
    assert rows["direct"].is_null().to_list() == [False, True]
    assert mismatches("predictions", found) == []


def test_small_schools_are_withheld_there_too() -> None:
    students, _ = students_of(4)
    found = run(students, school__min_n=40).predictions
    assert found is not None
    small = found.filter(pl.col("n") < 40)
    assert small.height > 10
    assert (
        small.select("direct", "direct_se", "blp", "blp_se", "prmse", "used").null_count().row(0)
        == (small.height,) * 6
    )


def test_all_years_up_to_the_result() -> None:
    students, _ = students_of(5)
    found = run(students, school__eblp__target="all", school__eblp__afterwards="none").predictions
    assert found is not None
    n = students.group_by("school_id", "subject").len()
    last = found.filter(year=2025).join(n, on=["school_id", "subject"])
    assert (last["n"] == last["len"]).all()
    only = run(students, school__eblp__afterwards="none").predictions
    assert only is not None
    first, alone = (frame.filter(pl.col("year") == 2024) for frame in (found, only))
    assert_frame_equal(first, alone)


def test_rows_in_any_order_give_the_same_predictions() -> None:
    students, _ = students_of(6)
    one, two = (run(frame) for frame in (students, students.sample(fraction=1.0, shuffle=True, seed=1)))
    assert one.frame.equals(two.frame)
    assert one.predictions is not None
    assert two.predictions is not None
    assert one.predictions.equals(two.predictions)


def test_without_students_or_with_one_block_nothing_is_predicted() -> None:
    students, _ = students_of(8)
    none = run(students.with_columns(status=pl.lit("no_prior_score")))
    assert none.predictions is not None
    assert none.predictions["blp"].null_count() == none.predictions.height > 0
    assert set(none.frame["reason"]) == {"n_below_minimum"}
    one = run(students.filter(year=2025, grade=5, subject="MATH"))
    assert one.predictions is not None
    shown = one.predictions.drop_nulls("used")
    assert set(shown["used"]) == {"direct"}
    plain = plain_spec(school__shrinkage="empirical_bayes", school__min_n=10)
    same = school_growth(students.filter(year=2025, grade=5, subject="MATH"), plain).frame
    np.testing.assert_allclose(one.frame["shrunk"].drop_nulls(), same["shrunk"].drop_nulls(), ROUNDING)


def test_grades_are_needed() -> None:
    students, _ = students_of(7)
    with pytest.raises(ColumnError, match="'grade' is missing"):
        run(students.drop("grade"))


@pytest.mark.parametrize(
    "changes",
    [
        {"school__aggregate": "median"},
        {"school__years": 3},
        {"school__composite": "results"},
        {"school__share": "column"},
        {"school__shrinkage": "empirical_bayes"},
        {"school__aggregate": "mean_residual"},
    ],
)
def test_what_has_no_prediction_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        plain_spec(**(EBLP | changes))


def test_a_run_hands_on_its_predictions() -> None:
    city = growth.simulate_table(4_000, 12, years=2, seed=3)
    spec = GrowthSpec().replace(
        {"school.shrinkage": "eblp", "school.eblp.min_schools": 2, "cohorts.years": "all"}
    )
    found = growth.run(city.table, spec, n_jobs=2)
    predictions = found.polars("predictions")
    assert predictions.columns == [
        "year", "subject", "school_id", "n", "direct", "direct_se", "blp", "blp_se", "prmse", "used",
    ]  # fmt: skip
    shown = found.polars("schools").filter(group="All")
    both = shown.join(predictions, on=["year", "subject", "school_id"]).drop_nulls("shrunk")
    np.testing.assert_allclose(both["effect"], both["direct"], ROUNDING)
    assert both["blp"].null_count() == 0
