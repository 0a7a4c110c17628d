"""The peer definition: reference levels, blanks, interactions by name, priors across missing years."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from growth.errors import ColumnError, SpecError
from growth.panel import Panel, Pattern, Prior, build_panels, read_table
from growth.spec import GrowthSpec
from growth.student import student_growth

PLAIN = GrowthSpec.from_dict({"groups": {"flags": {}, "race": "", "lowest_race": False}})
EL = [1, 0, 0, 1, 1, 0, None]
SWD = [1, 1, 0, 0, 1, 1, 0]
PROGRAM = ["b", "a", "b", "c", None, "a", "a"]
SCHOOL = ["s", "s", "t", "t", "t", None, "s"]


def table() -> pl.DataFrame:
    """Seven students: scores 20-26 now, 10-16 before; one lacks a school, one a flag, one a program."""
    now = pl.DataFrame(
        {
            "student_id": [f"{i}" for i in range(7)],
            "year": [2024] * 7,
            "subject": ["A"] * 7,
            "grade": [5] * 7,
            "score": [20.0 + i for i in range(7)],
            "school_id": SCHOOL,
            "el": EL,
            "swd": SWD,
            "program": PROGRAM,
        }
    )
    before = now.with_columns(year=pl.lit(2023), grade=pl.lit(4), score=pl.col("score") - 10)
    return pl.concat([now, before.with_columns(pl.col("year", "grade").cast(pl.Int64))])


def panel_of(**peers: object) -> Panel:
    spec = PLAIN.replace({f"peers.{name}": value for name, value in peers.items()})
    (panel,) = build_panels(read_table(table(), spec), spec).panels
    return panel


def columns_of(**peers: object) -> dict[str, list[float]]:
    panel = panel_of(**peers)
    return {n: column.tolist() for n, column in zip(panel.covariate_names, panel.covariates.T, strict=True)}


class TestReference:
    def test_the_most_frequent_level_unless_one_is_named(self) -> None:
        assert list(columns_of(categories=["program"], missing="exclude")) == ["program=b", "program=c"]
        named = columns_of(categories=["program"], reference={"program": "c"}, missing="exclude")
        assert named == {"program=a": [0, 1, 0, 0, 1, 1], "program=b": [1, 0, 1, 0, 0, 0]}

    def test_a_level_that_does_not_occur_is_refused(self) -> None:
        with pytest.raises(ColumnError, match=r"peers\.reference\.program = 'cc' does not occur"):
            columns_of(categories=["program"], reference={"program": "cc"}, missing="exclude")


class TestMissing:
    def test_indicators_keep_everyone_and_say_who_was_blank(self) -> None:
        columns = columns_of(flags=["el", "swd"], categories=["program"], missing="indicator")
        assert columns == {
            "el": [1, 0, 0, 1, 1, 0, 0],
            "swd": SWD,
            "program=b": [1, 0, 1, 0, 0, 0, 0],
            "program=c": [0, 0, 0, 1, 0, 0, 0],
            "missing:el": [0, 0, 0, 0, 0, 0, 1],
            "missing:program": [0, 0, 0, 0, 1, 0, 0],
        }

    def test_without_a_school_the_mean_of_the_cohort_stands_in(self) -> None:
        columns = columns_of(flags=["swd"], composition="one_step", missing="indicator")
        assert columns["missing:school_id"] == [0, 0, 0, 0, 0, 1, 0]
        assert columns["school_mean:prior"] == pytest.approx([37 / 3, 37 / 3, 13, 13, 13, 13, 37 / 3])
        assert columns["school_mean:swd"] == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1 / 3, 1 / 3, 4 / 7, 2 / 3])

    def test_two_steps_ask_for_no_school_and_add_no_column(self) -> None:
        assert columns_of(flags=["swd"], composition="two_step") == {"swd": SWD}

    @pytest.mark.parametrize(("policy", "students"), [("exclude", 6), ("indicator", 7)])
    def test_policies_decide_who_is_compared(self, policy: str, students: int) -> None:
        assert len(panel_of(flags=["el"], missing=policy)) == students

    def test_errors_offer_both_ways_out(self) -> None:
        with pytest.raises(ColumnError, match=r"'el' \(1\).*\"exclude\".*\"indicator\""):
            panel_of(flags=["el"])


class TestInteractions:
    def test_flags_categories_and_the_prior_act_on_each_other_by_name(self) -> None:
        columns = columns_of(
            flags=["el", "swd"],
            categories=["program"],
            missing="indicator",
            interactions=["el:swd", "swd:prior", "program:swd"],
        )
        assert columns["el:swd"] == [1, 0, 0, 0, 1, 0, 0]
        assert columns["swd:prior"] == [10, 11, 0, 0, 14, 15, 0]
        assert columns["program=b:swd"] == [1, 0, 0, 0, 0, 0, 0]
        assert columns["program=c:swd"] == [0] * 7
        assert "prior" not in columns

    def test_an_interaction_changes_the_comparison(self) -> None:
        """Where a flag halves the slope on the prior, only its interaction makes percentiles uniform."""
        rng = np.random.default_rng(5)
        n = 4_000
        flag, prior = rng.random(n) < 0.4, rng.normal(500, 50, n)
        score = 500 + (prior - 500) * np.where(flag, 0.3, 0.9) + rng.normal(0, 20, n)
        rows = pl.DataFrame(
            {
                "student_id": np.tile([f"{i:05d}" for i in range(n)], 2),
                "year": np.repeat([2023, 2024], n),
                "subject": ["A"] * (2 * n),
                "grade": np.repeat([4, 5], n),
                "score": np.concatenate([prior, score]),
                "school_id": ["s"] * (2 * n),
                "flag": np.tile(flag, 2),
            }
        )
        low = flag & (prior < 450)
        means = {}
        for terms in ((), ("flag:prior",)):
            spec = PLAIN.replace({"peers.flags": ["flag"], "peers.interactions": terms})
            (panel,) = build_panels(read_table(rows, spec), spec).panels
            means[terms] = 100 * student_growth(panel, spec).percentile[low].mean()
        assert means[()] > 65
        assert means[("flag:prior",)] == pytest.approx(50, abs=3)

    @pytest.mark.parametrize(
        "terms", [["el"], ["el:el"], ["el:swd:prior"], ["el:foster"], ["el:swd", "swd:el"], [":"]]
    )
    def test_terms_that_are_no_pair_are_refused(self, terms: list[str]) -> None:
        with pytest.raises(SpecError, match=r"interaction .* must be a pair"):
            PLAIN.replace({"peers.flags": ["el", "swd"], "peers.interactions": terms})


@pytest.mark.parametrize(
    ("peers", "why"),
    [
        ({"flags": ["el"], "categories": ["el"]}, "named once"),
        ({"flags": ["prior"]}, "not 'prior'"),
        ({"reference": {"race": "a"}}, "not in peers.categories"),
    ],
)
def test_contradictions_are_refused(peers: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        GrowthSpec.from_dict({"peers": peers})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"scale.bounds": {"A": {"5": [0, 50]}}, "correction.loss_hoss": True}, "loss_hoss"),
        ({"student.engine": "eiv", "measurement.csem": "column"}, "one_step"),
    ],
)
def test_what_two_steps_cannot_be_combined_with_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        PLAIN.replace({"peers.composition": "two_step", **changes})


class TestPriors:
    """Own- and other-subject priors, 1..k years, any lag, and years without a test."""

    @staticmethod
    def records(*years_and_grades: tuple[int, int]) -> pl.DataFrame:
        rows = [
            (student, year, subject, grade, 100.0 * year + grade + offset)
            for student, start in (("0", 0.0), ("1", 0.5))
            for subject, offset in (("A", start), ("B", start + 50))
            for year, grade in years_and_grades
        ]
        names = ["student_id", "year", "subject", "grade", "score"]
        return pl.DataFrame(rows, schema=names, orient="row").with_columns(school_id=pl.lit("s"))

    def patterns(self, rows: pl.DataFrame, **cohorts: object) -> dict[str, Pattern]:
        spec = PLAIN.replace({f"cohorts.{name}": value for name, value in cohorts.items()})
        built = build_panels(read_table(rows, spec), spec).panels
        for panel in built:
            for j, prior in enumerate(panel.pattern.priors):
                of_prior = 100.0 * (panel.year - prior.lag) + prior.grade
                base = of_prior + (50 if prior.subject == "B" else 0)
                np.testing.assert_array_equal(panel.priors[:, j], [base, base + 0.5])
        return {panel.key: panel.pattern for panel in built}

    def test_a_year_without_a_test_is_stepped_over(self) -> None:
        """No test in 2022: grade 6 of 2024 looks back to grade 5 and then to grade 3."""
        rows = self.records((2021, 3), (2023, 5), (2024, 6))
        found = self.patterns(
            rows, grades=[6], own_priors=2, other_priors=2, progressions={6: [5, 3]}, orders="exact"
        )
        ours = (Prior("A", 1, 5), Prior("A", 3, 3))
        theirs = (Prior("B", 1, 5), Prior("B", 3, 3))
        assert found == {
            "A_2024_G6_own2_other2": Pattern(ours + theirs),
            "B_2024_G6_own2_other2": Pattern(theirs + ours),
        }

    def test_two_years_back_where_last_year_had_no_test(self) -> None:
        rows = self.records((2022, 4), (2024, 6))
        found = self.patterns(rows, grades=[6], other_priors=1, progressions={6: [4]}, orders="exact")
        assert found["A_2024_G6_own1_other1"] == Pattern((Prior("A", 2, 4), Prior("B", 2, 4)))

    def test_grade_11_from_grade_8_in_both_subjects(self) -> None:
        rows = self.records((2021, 8), (2024, 11))
        found = self.patterns(rows, other_priors=1, progressions={11: [8]})
        assert found["A_2024_G11_own1_other1"] == Pattern((Prior("A", 3, 8), Prior("B", 3, 8)))
        assert found["A_2024_G11_own1"] == Pattern((Prior("A", 3, 8),))

    def test_up_to_k_years(self) -> None:
        rows = self.records((2020, 3), (2021, 4), (2022, 5), (2023, 6), (2024, 7))
        found = self.patterns(rows, own_priors=4, grades=[7])
        assert [len(found[f"A_2024_G7_own{k}"]) for k in (1, 2, 3, 4)] == [1, 2, 3, 4]
