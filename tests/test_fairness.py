"""The fairness ledger: every number by hand on a small table, and what must be true of any run."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import growth
from growth import GrowthRun
from growth.pipeline.ledger import without_peers
from growth.school import Ledger, fairness_ledger
from growth.spec import GrowthSpec

PINNED = 0.5
"""Mean percentile of a flag in the model around 50: curves pass through some of its 170 students or more."""
SPEC = GrowthSpec.from_dict(
    {
        "peers": {"flags": ["el"], "categories": ["program"]},
        "groups": {"flags": {"SED": "poor"}, "race": "race", "lowest_race": False},
        "school": {"min_n": 2},
    }
)
NO_EFFECTS = pl.DataFrame(
    schema={
        "year": pl.Int32,
        "subject": pl.String,
        "trait": pl.String,
        "effect": pl.Float64,
        "effect_se": pl.Float64,
        "status": pl.String,
    }
)


def students() -> pl.DataFrame:
    """Ten students in four schools (one of a single student), one without a school, one not scored."""
    n = 10
    return pl.DataFrame(
        {
            "student_id": [str(i) for i in range(n)],
            "year": pl.Series([2025] * n, dtype=pl.Int32),
            "subject": ["A"] * n,
            "grade": pl.Series([5] * n, dtype=pl.Int16),
            "school_id": ["s", "s", "s", "t", "t", "u", "u", "v", None, "s"],
            "status": ["scored"] * 9 + ["no_prior_score"],
            "highest": [True] * n,
            "percentile": [0.1, 0.5, 0.9, 0.3, 0.4, 0.8, 0.6, 0.2, 0.7, None],
            "sgp": pl.Series([10, 50, 90, 30, 40, 80, 60, 20, 70, None], dtype=pl.Int16),
            "prior": [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, None],
            "el": [True, True, False, True, False, False, False, False, None, True],
            "poor": [True, False, True, False, True, False, True, False, True, False],
            "program": ["a", "a", "b", "b", "b", None, "a", "b", "a", "c"],
            "race": ["x"] * 9 + ["y"],
        }
    )


PLAIN = pl.DataFrame(
    {
        "percentile": [0.05, 0.4, 0.95, 0.2, 0.5, 0.85, 0.7, 0.3, 0.65, None],
        "sgp": pl.Series([5, 40, 95, 20, 50, 85, 70, 30, 65, None], dtype=pl.Int16),
    }
)


@pytest.fixture(scope="module")
def book() -> Ledger:
    return fairness_ledger(students(), PLAIN, NO_EFFECTS, SPEC)


class TestByHand:
    def test_the_groups_are_every_flag_level_and_race(self, book: Ledger) -> None:
        found = book.groups.select("kind", "column", "level", "n", "schools", "in_model").rows()
        assert found == [
            ("all", "all", None, 9, 4, False),
            ("flag", "el", None, 3, 2, True),
            ("flag", "poor", None, 5, 3, False),
            ("category", "program", "a", 4, 2, True),
            ("category", "program", "b", 4, 3, True),
            ("race", "race", "x", 9, 4, False),
        ]

    def test_means_with_and_without_peers(self, book: Ledger) -> None:
        learners = book.groups.row(1, named=True)
        assert learners["adjusted"] == pytest.approx((10 + 50 + 30) / 3)
        assert learners["unadjusted"] == pytest.approx((5 + 40 + 20) / 3)
        poor = book.groups.row(2, named=True)
        assert poor["adjusted"] == pytest.approx((10 + 90 + 40 + 60 + 70) / 5)

    def test_intervals_treat_schools_as_clusters(self, book: Ledger) -> None:
        """Poor students: two in s (10, 90), one each in t (40) and u (60), one without a school (70)."""
        from scipy.stats import t

        mean = 54.0
        sums = np.array([10 + 90 - 2 * mean, 40 - mean, 60 - mean, 70 - mean])
        error = np.sqrt(4 / 3 * np.sum(sums**2)) / 5
        poor = book.groups.row(2, named=True)
        assert poor["adjusted_low"] == pytest.approx(mean - t.ppf(0.975, 3) * error)
        assert poor["adjusted_high"] == pytest.approx(mean + t.ppf(0.975, 3) * error)

    def test_a_group_in_one_school_has_no_interval(self) -> None:
        alone = students().with_columns(el=pl.col("school_id") == "t")
        line = fairness_ledger(alone, PLAIN, NO_EFFECTS, SPEC).groups.row(1, named=True)
        assert (line["n"], line["schools"], line["adjusted"]) == (2, 1, pytest.approx(35.0))
        assert line["adjusted_low"] is line["adjusted_high"] is None

    def test_schools_with_a_result_by_their_intake(self, book: Ledger) -> None:
        """Schools s, t and u; v has one student. With three schools Fisher's z has no variance."""
        results, plain = [50.0, 35.0, 70.0], [1.4 / 3 * 100, 35.0, 77.5]
        prior = book.neutrality.row(0, named=True)
        assert (prior["kind"], prior["schools"]) == ("prior", 3)
        assert prior["r"] == pytest.approx(np.corrcoef([20, 45, 65], results)[0, 1])
        assert prior["r_unadjusted"] == pytest.approx(np.corrcoef([20, 45, 65], plain)[0, 1])
        assert prior["r_low"] is prior["r_high"] is None
        learners = book.neutrality.row(1, named=True)
        assert learners["column"] == "el"
        assert learners["r"] == pytest.approx(np.corrcoef([2 / 3, 1 / 2, 0], results)[0, 1])
        counted = students().filter(pl.col("percentile").is_not_null() & pl.col("school_id").is_not_null())
        theirs = np.corrcoef(counted["percentile"], counted["prior"])[0, 1]
        assert prior["r_students"] == pytest.approx(theirs)
        assert book.neutrality.row(-1, named=True)["r"] is None, "all students are of one race"

    def test_fishers_interval(self) -> None:
        four = students().with_columns(pl.col("school_id").fill_null("v"))
        line = fairness_ledger(four, PLAIN, NO_EFFECTS, SPEC).neutrality.row(0, named=True)
        r = np.corrcoef([20, 45, 65, 85], [50, 35, 70, 45])[0, 1]
        assert line["r"] == pytest.approx(r)
        ends = np.tanh(np.arctanh(r) + np.array([-1.959964, 1.959964]) / np.sqrt(4 - 3))
        assert [line["r_low"], line["r_high"]] == pytest.approx(ends, rel=1e-6)

    def test_school_results_follow_the_specification(self) -> None:
        medians = SPEC.replace({"school.aggregate": "median", "school.percentile": "integer"})
        line = fairness_ledger(students(), PLAIN, NO_EFFECTS, medians).neutrality.row(0, named=True)
        assert line["r_unadjusted"] == pytest.approx(np.corrcoef([20, 45, 65], [40, 35, 77.5])[0, 1])

    def test_priors_are_compared_within_grade(self) -> None:
        later = students().with_columns(
            grade=pl.Series([6] * 10, dtype=pl.Int16),
            school_id=pl.col("school_id") + "2",
            prior=3 * pl.col("prior") + 500,
        )
        both = pl.concat([students(), later])
        line = fairness_ledger(both, pl.concat([PLAIN, PLAIN]), NO_EFFECTS, SPEC).neutrality
        alone = fairness_ledger(students(), PLAIN, NO_EFFECTS, SPEC).neutrality
        assert line["r"][0] == pytest.approx(alone["r"][0])
        assert line["schools"][0] == 6

    def test_without_a_peer_definition_there_is_one_fit(self) -> None:
        bare = without_peers(SPEC)
        groups = fairness_ledger(students(), None, NO_EFFECTS, bare).groups
        assert_frame_equal(groups.select(adjusted="unadjusted"), groups.select("adjusted"))
        assert not groups["in_model"].any()
        assert groups["column"].unique(maintain_order=True).to_list() == ["all", "poor", "race"]

    def test_the_form_of_composition_is_named(self) -> None:
        effects = NO_EFFECTS.clear().vstack(
            pl.DataFrame(
                {
                    "year": pl.Series([2025, 2025], dtype=pl.Int32),
                    "subject": ["A", "A"],
                    "trait": ["prior", "el"],
                    "effect": [0.5, None],
                    "effect_se": [0.1, None],
                    "status": ["estimated", "does_not_vary"],
                }
            )
        )
        spec = SPEC.replace({"peers.composition": "two_step"})
        found = fairness_ledger(students(), PLAIN, effects, spec).neutrality
        assert found["composition"][:3].to_list() == ["two_step", "does_not_vary", "none"]
        assert found["effect"][:2].to_list() == [0.5, None]
        one = fairness_ledger(students(), PLAIN, NO_EFFECTS, SPEC.replace({"peers.composition": "one_step"}))
        assert one.neutrality["composition"][:3].to_list() == ["one_step", "one_step", "none"]


@pytest.fixture(scope="module")
def big_run() -> GrowthRun:
    city = growth.simulate_table(20_000, 60, years=1, seed=12)
    return growth.run(city.table, "core", n_jobs=2)


class TestOfARun:
    def test_a_flag_in_the_model_pins_its_group(self, big_run: GrowthRun) -> None:
        pinned = big_run.fairness.filter("in_model")
        assert set(pinned["column"]) == set(big_run.spec.peers.flags)
        assert (pinned["adjusted"] - 50).abs().max() < PINNED
        learners = pinned.filter(pl.col("column").is_in(["english_learner", "disability"]))
        assert (learners["unadjusted_high"] < 50).all()

    def test_means_are_those_of_the_students_frame(self, big_run: GrowthRun) -> None:
        scored = big_run.students.filter(status="scored", subject="MATH")
        races = big_run.fairness.filter(kind="race", subject="MATH").select("level", "n", "adjusted")
        theirs = scored.group_by("race_ethnicity").agg(
            pl.len().cast(pl.Int64), 100 * pl.mean("percentile").alias("mean")
        )
        assert races.sort("level").rows() == [
            (race, n, pytest.approx(mean)) for race, n, mean in theirs.sort("race_ethnicity").iter_rows()
        ]

    def test_unadjusted_is_the_run_without_peers(self, big_run: GrowthRun) -> None:
        city = growth.simulate_table(20_000, 60, years=1, seed=12)
        bare = growth.run(city.table, without_peers(big_run.spec), n_jobs=2)
        ours = big_run.fairness.filter(kind="race")
        theirs = bare.fairness.filter(kind="race")
        for name in ("unadjusted", "unadjusted_low", "unadjusted_high"):
            np.testing.assert_array_equal(ours[name], theirs[name.replace("unadjusted", "adjusted")])
        assert bare.neutrality["r"].head(1).item() == big_run.neutrality["r_unadjusted"].head(1).item()

    def test_results_are_neutral_where_they_were_not(self, big_run: GrowthRun) -> None:
        prior = big_run.neutrality.filter(kind="prior")
        assert prior["r"].abs().max() < 0.05 < prior["r_unadjusted"].min()
        assert (prior["r_low"] < prior["r"]).all()
        assert big_run.notices == ()

    def test_too_few_schools_are_said_aloud(self, city_run: GrowthRun) -> None:
        assert set(city_run.neutrality.filter(kind="flag")["composition"]) == {"too_few_schools"}
        assert [line[:9] for line in city_run.notices] == ["ELA 2025:", "MATH 2025"]
        for text in (repr(city_run), city_run._repr_html_()):
            assert "12 schools are too few for 6 school means" in text

    def test_threads_do_not_matter(self, big_run: GrowthRun) -> None:
        city = growth.simulate_table(20_000, 60, years=1, seed=12)
        one = growth.run(city.table, "core", n_jobs=1)
        for name in ("fairness", "neutrality", "students"):
            assert_frame_equal(one.polars(name), big_run.polars(name), check_exact=True)

    def test_a_run_without_schools_has_a_ledger_all_the_same(
        self, city_run: GrowthRun, city_file: str
    ) -> None:
        table = pl.read_csv(city_file, schema_overrides={"student_id": pl.String}).with_columns(
            school_id=pl.lit(None, dtype=pl.String)
        )
        nobody = growth.run(table, city_run.spec)
        assert nobody.neutrality["r"].null_count() == nobody.neutrality.height
        assert nobody.fairness["adjusted"].null_count() == 0
