"""Composition in two steps: against explicit school dummies, against known effects, and for neutrality."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import growth
from growth._types import FloatArray, IntArray
from growth.errors import SpecError
from growth.panel import PanelSet, SimulatedSystem, build_panels, read_table, simulate_table
from growth.panel.simulate import SystemParameters
from growth.spec import GrowthSpec
from growth.student import compose, percentile_cuts, student_growth
from growth.student.composition import school_line, within_schools
from growth.student.design import spline_terms

EQUAL = 1e-9
"""Relative: two ways to solve the same least squares."""
ON_A_CURVE = 1e-3
"""Scale-score points; cuts are rounded to 4 decimals."""
NEUTRAL = 0.05
"""|r| of school results with composition that two steps may leave (the issue)."""
LEAST_RECOVERY_GAIN = 0.015
"""Correlation with true effects that two steps keep and one step loses; observed .037-.054."""

FLAGS = ("econ_disadvantaged", "english_learner", "disability")
SPEC = GrowthSpec.from_dict(
    {
        "cohorts": {"other_priors": 1, "min_cohort": 300, "progressions": {11: [8]}},
        "peers": {"flags": FLAGS, "composition": "two_step"},
        "groups": {"flags": {}, "race": "", "lowest_race": False},
    }
)
Table = tuple[SimulatedSystem, PanelSet]


@cache
def system(sorting: float = 0.0, composition_effect: float = 0.0) -> SimulatedSystem:
    parameters = SystemParameters(sorting=sorting, composition_effect=composition_effect)
    return simulate_table(50_000, 150, years=1, seed=4, parameters=parameters)


@pytest.fixture(scope="module")
def small() -> Table:
    city = simulate_table(8_000, 60, years=1, seed=9)
    return city, build_panels(read_table(city.table, SPEC), SPEC)


def dummies(school: IntArray) -> FloatArray:
    return (school[:, None] == np.unique(school)).astype(float)


class TestSteps:
    def test_slopes_within_schools_are_those_beside_school_dummies(self, small: Table) -> None:
        for panel in small[1].panels[:4]:
            columns = spline_terms(panel, SPEC).matrix[:, 1:]
            assert panel.school is not None
            found = within_schools(columns, panel.score, panel.school)
            scale = np.maximum(np.abs(columns).max(axis=0), 1e-300)
            every = np.column_stack([columns / scale, dummies(panel.school)])
            coef, _, rank, _ = np.linalg.lstsq(every, panel.score, rcond=1e-10)
            fitted = columns @ found.slopes
            theirs = (columns / scale) @ coef[: columns.shape[1]]
            # up to the part that dummies and columns share, fits agree student by student
            apart = fitted - theirs
            means = dummies(panel.school).T @ apart / dummies(panel.school).sum(axis=0)
            tolerance = EQUAL * np.abs(panel.score).max()
            assert np.abs(apart - dummies(panel.school) @ means).max() < 1e3 * tolerance
            residual = panel.score - every @ coef
            assert found.spread == pytest.approx(np.sqrt(residual @ residual / (len(panel) - rank)), rel=1e-6)

    def test_students_without_a_school_take_no_part_but_have_a_rest(self, small: Table) -> None:
        panel = small[1].panels[1]
        assert panel.school is not None
        columns = spline_terms(panel, SPEC).matrix[:, 1:]
        outside = np.arange(len(panel)) < 25
        ours = within_schools(columns, panel.score, np.where(outside, -1, panel.school))
        fewer = within_schools(columns[~outside], panel.score[~outside], panel.school[~outside])
        np.testing.assert_allclose(ours.slopes, fewer.slopes, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours.rest[outside], (panel.score - columns @ ours.slopes)[outside])

    def test_the_school_line_is_generalised_least_squares(self) -> None:
        import statsmodels.api as sm

        rng = np.random.default_rng(1)
        size = rng.integers(5, 400, 80)
        traits = rng.normal(size=(80, 3))
        effect = traits @ [0.3, 0.0, -0.2] + 0.15 * rng.normal(size=80) + rng.normal(size=80) / np.sqrt(size)
        line = school_line(effect, traits, size)
        weights = 1 / (line.tau2 + 1 / size)
        theirs = sm.WLS(effect, sm.add_constant(traits), weights=weights).fit()
        np.testing.assert_allclose(line.slopes, theirs.params[1:], rtol=EQUAL)
        # weights are inverse variances: the sum of squares equals its degrees of freedom (Paule & Mandel)
        assert theirs.scale == pytest.approx(1.0, rel=1e-6)
        np.testing.assert_allclose(line.standard_error, theirs.bse[1:], rtol=1e-6)

    def test_the_school_line_is_right_on_average_and_its_errors_are_true(self) -> None:
        rng = np.random.default_rng(2)
        truth, draws = np.array([0.3, -0.2]), 400
        found = np.empty((draws, 3, 2))
        for d in range(draws):
            size = rng.integers(5, 200, 60)
            traits = rng.normal(size=(60, 2))
            noise = 0.15 * rng.normal(size=60) + rng.normal(size=60) / np.sqrt(size)
            line = school_line(traits @ truth + noise, traits, size)
            found[d] = line.slopes, line.standard_error, [line.tau2, 0]
        slopes, error = found[:, 0], found[:, 1]
        assert np.abs(slopes.mean(axis=0) - truth).max() < 3 * slopes.std() / np.sqrt(draws)
        assert error.mean() == pytest.approx(slopes.std(axis=0).mean(), rel=0.1)
        assert found[:, 2, 0].mean() == pytest.approx(0.15**2, rel=0.1)

    def test_no_variance_between_schools_beyond_chance_is_no_variance(self) -> None:
        rng = np.random.default_rng(3)
        line = school_line(0.1 * rng.normal(size=50) / 20, rng.normal(size=(50, 1)), np.full(50, 400))
        assert line.tau2 == 0.0


class TestCompose:
    def test_two_steps_equal_the_twin_with_dummies(self, small: Table) -> None:
        """Step by step with explicit dummies and loops over schools, from the panels as they are."""
        panels = small[1]
        composed = compose(panels, SPEC)
        chosen = dict(panels.current.drop_nulls().select("row", "highest").rows())
        for subject in ("ELA", "MATH"):
            members = [panel for panel in panels.panels if panel.subject == subject]
            effects: dict[int, list[float]] = {}
            traits: dict[int, list[FloatArray]] = {}
            spreads = {}
            for panel in members:
                assert panel.school is not None
                columns = spline_terms(panel, SPEC).matrix[:, 1:]
                scale = np.maximum(np.abs(columns).max(axis=0), 1e-300)
                every = np.column_stack([columns / scale, dummies(panel.school)])
                coef, _, rank, _ = np.linalg.lstsq(every, panel.score, rcond=1e-10)
                rest = panel.score - (columns / scale) @ coef[: columns.shape[1]]
                residual = panel.score - every @ coef
                spreads[panel.key] = np.sqrt(residual @ residual / (len(panel) - rank))
                mine = np.array([chosen[row] == panel.key for row in panel.row])
                of = np.column_stack([panel.priors[:, 0] / panel.priors[:, 0].std(), panel.covariates])
                value = (rest - rest[mine].mean()) / spreads[panel.key]
                of = of - of[mine].mean(axis=0)
                for i in np.flatnonzero(mine):
                    effects.setdefault(panel.school[i], []).append(value[i])
                    traits.setdefault(panel.school[i], []).append(of[i])
            codes = list(effects)
            size = np.array([len(effects[j]) for j in codes])
            means = np.array([np.mean(traits[j], axis=0) for j in codes])
            line = school_line(np.array([np.mean(effects[j]) for j in codes]), means, size)
            shift = dict(zip(codes, means @ line.slopes, strict=True))
            for panel in composed.panels.panels:
                if panel.subject != subject:
                    continue
                assert panel.school is not None
                assert panel.offset is not None
                theirs = [spreads[panel.key] * shift.get(j, 0.0) for j in panel.school]
                np.testing.assert_allclose(panel.offset, theirs, atol=1e-4)
            found = composed.effects.filter(subject=subject)
            assert found["trait"].to_list() == ["prior", *FLAGS]
            np.testing.assert_allclose(found["effect"], line.slopes, atol=1e-5)
            np.testing.assert_allclose(found["effect_se"], line.standard_error, rtol=1e-4)
            assert (found["schools"] == len(codes)).all()

    def test_other_forms_are_left_alone(self, small: Table) -> None:
        for form in ("none", "one_step"):
            composed = compose(small[1], SPEC.replace({"peers.composition": form}))
            assert composed.panels is small[1]
            assert composed.effects.is_empty()

    def test_too_few_schools_leave_composition_in_and_say_so(self, small: Table) -> None:
        enough = SPEC.replace({"peers.schools_per_trait": 15})
        assert set(compose(small[1], enough).effects["status"]) == {"estimated"}
        composed = compose(small[1], SPEC.replace({"peers.schools_per_trait": 16}))
        assert set(composed.effects["status"]) == {"too_few_schools"}
        assert composed.effects["effect"].null_count() == composed.effects.height
        assert not any(np.any(panel.offset) for panel in composed.panels.panels)

    def test_a_flag_that_nobody_has_costs_nothing(self, small: Table) -> None:
        city = small[0].table.with_columns(foster=pl.lit(False))
        spec = SPEC.replace({"peers.flags": ["foster", *FLAGS], "peers.schools_per_trait": 15})
        panels = build_panels(read_table(city, spec), spec)
        composed = compose(panels, spec)
        assert composed.effects.filter(trait="foster")["status"].to_list() == ["does_not_vary"] * 2
        plain = compose(small[1], SPEC)
        for ours, theirs in zip(composed.panels.panels, plain.panels.panels, strict=True):
            assert ours.offset is not None
            assert theirs.offset is not None
            np.testing.assert_allclose(ours.offset, theirs.offset, atol=1e-6)

    def test_students_without_a_school_keep_their_scores(self, small: Table) -> None:
        lost = pl.int_range(pl.len()) % 19 == 0
        table = small[0].table.with_columns(school_id=pl.when(~lost).then("school_id"))
        composed = compose(build_panels(read_table(table, SPEC), SPEC), SPEC)
        for panel in composed.panels.panels:
            assert panel.school is not None
            assert panel.offset is not None
            assert not panel.offset[panel.school < 0].any()
            assert panel.offset[panel.school >= 0].any()

    def test_units_of_the_scale_do_not_matter(self, small: Table) -> None:
        scaled = small[0].table.with_columns(score=3.0 * pl.col("score") + 1000.0)
        theirs = compose(build_panels(read_table(scaled, SPEC), SPEC), SPEC)
        ours = compose(small[1], SPEC)
        for a, b in zip(ours.panels.panels, theirs.panels.panels, strict=True):
            assert a.offset is not None
            assert b.offset is not None
            np.testing.assert_allclose(3 * a.offset, b.offset, atol=0.02)
        assert_frame_equal(ours.effects, theirs.effects, abs_tol=1e-4)


class TestStudents:
    def test_the_engine_sees_adjusted_scores_and_expectations_come_back(self, small: Table) -> None:
        panel = compose(small[1], SPEC).panels.panels[1]
        assert panel.offset is not None
        plain = SPEC.replace({"peers.composition": "none"})
        for engine in ("quantile", "normal", "residual_gain"):
            ours = student_growth(panel, SPEC.replace({"student.engine": engine}))
            adjusted = replace(panel, score=panel.score - panel.offset)
            theirs = student_growth(adjusted, plain.replace({"student.engine": engine}))
            np.testing.assert_array_equal(ours.percentile, theirs.percentile)
            np.testing.assert_array_equal(ours.expected, theirs.expected + panel.offset)
            np.testing.assert_allclose(ours.residual, panel.score - ours.expected, atol=1e-9)

    @pytest.mark.parametrize("engine", ["quantile", "normal"])
    def test_percentile_cuts_are_on_the_scale_of_the_test(self, small: Table, engine: str) -> None:
        spec = SPEC.replace({"student.engine": engine})
        panel = compose(small[1], spec).panels.panels[1]
        found = student_growth(panel, spec)
        cuts = percentile_cuts(found, panel, (25, 75), spec, digits=4)
        # scores that lie on a curve, up to rounding, may fall on either side
        clear = (np.abs(panel.score[:, None] - cuts) > ON_A_CURVE).all(axis=1)
        inside = (panel.score > cuts[:, 0]) & (panel.score <= cuts[:, 1])
        np.testing.assert_array_equal(inside[clear], ((found.sgp > 25) & (found.sgp <= 75))[clear])
        assert clear.mean() > 0.95  # two curves pass through 18 students each

    def test_a_panel_alone_does_not_know_its_composition(self, small: Table) -> None:
        with pytest.raises(SpecError, match=r"hand all panels to growth\.student\.compose"):
            student_growth(small[1].panels[0], SPEC)


def correlations(
    sorting: float, composition_effect: float, changes: dict[str, object]
) -> dict[str, list[float]]:
    """School results of ELA and MATH with mean prior, share disadvantaged, and true effects."""
    city = system(sorting, composition_effect)
    run = growth.run(city.table, SPEC.replace(changes), n_jobs=2)
    priors = city.table.sort("year").filter(pl.col("score").is_not_null())
    priors = priors.select(
        "student_id",
        "subject",
        "year",
        ((pl.col("score") - pl.col("score").mean()) / pl.col("score").std())
        .over("subject", "grade", "year")
        .alias("prior"),
    )
    earlier = priors.filter(pl.col("year") < 2025).group_by("student_id", "subject").agg(pl.last("prior"))
    students = run.students.filter(status="scored").join(earlier, on=["student_id", "subject"])
    schools = students.group_by("subject", "school_id", maintain_order=True).agg(
        pl.len().alias("n"), pl.mean("percentile"), pl.mean("prior"), pl.mean("econ_disadvantaged")
    )
    schools = schools.join(city.schools, on=["subject", "school_id"]).filter(pl.col("n") >= 20)
    parts = [schools.filter(subject=subject) for subject in ("ELA", "MATH")]
    return {
        name: [float(np.corrcoef(part["percentile"], part[name])[0, 1]) for part in parts]
        for name in ("prior", "econ_disadvantaged", "effect")
    }


class TestNeutrality:
    """Known selection: better schools where students are advantaged, or abler fellow students who help."""

    @pytest.mark.parametrize(("sorting", "composition_effect"), [(0.0, 0.1), (0.6, 0.0), (0.4, 0.05)])
    @pytest.mark.parametrize("engine", ["quantile", "residual_gain"])
    def test_two_steps_are_neutral(self, sorting: float, composition_effect: float, engine: str) -> None:
        found = correlations(sorting, composition_effect, {"student.engine": engine})
        assert np.abs([found["prior"], found["econ_disadvantaged"]]).max() < NEUTRAL
        none = correlations(sorting, composition_effect, {"peers.composition": "none"})
        assert min(none["prior"]) > 0.25

    def test_one_step_under_corrects_and_knows_less_of_the_truth(self) -> None:
        one = correlations(0.0, 0.1, {"peers.composition": "one_step"})
        two = correlations(0.0, 0.1, {})
        assert min(one["prior"]) > NEUTRAL
        assert np.mean(np.subtract(two["effect"], one["effect"])) > LEAST_RECOVERY_GAIN

    def test_one_step_over_corrects_where_better_schools_serve_the_disadvantaged(self) -> None:
        """It turns a tie to intake into one of the other sign; two steps leave neither."""
        none, one, two = (
            np.array(found["prior"])
            for form in ("none", "one_step", "two_step")
            for found in [correlations(-0.6, 0.0, {"peers.composition": form})]
        )
        assert none.max() < -0.1
        assert one.max() > 2 * NEUTRAL
        assert np.abs(two).max() < NEUTRAL

    def test_what_neutrality_costs(self) -> None:
        """Where good schools do sit in advantaged neighbourhoods, their being good is taken out with that."""
        none = correlations(0.6, 0.0, {"peers.composition": "none"})
        two = correlations(0.6, 0.0, {})
        assert np.mean(none["effect"]) - np.mean(two["effect"]) > 0.1
