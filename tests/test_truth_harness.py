"""The truth harness: its closed forms, a short run of it, and what its committed results claim."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

sys.path.insert(0, str(Path(__file__).parents[1]))  # not an installed package

from benchmarks import readme, truth
from benchmarks.known import POINTS, World, draw_world

NOISE = 4.0
"""Monte-Carlo standard errors between a short run and the closed form; eight comparisons."""
PER_DRAW = 0.12
"""Monte-Carlo standard error of the bias in one draw, from long runs [percentile points]."""
EXACT = 1e-10


class TestClosedForms:
    def test_the_bias_is_that_of_lockwood_and_mccaffrey(self) -> None:
        world = World(0.9, slope=0.8, intake_sd=0.3, effect_sd=0.0)
        method = world.comparison("naive")
        s = np.sqrt(1 - 0.9 * 0.8**2)
        delta = 0.8 * 0.1 * 0.25 / s
        z = (0.8**2 * 0.01 * 0.91 + 0.72**2 * (0.1 / 0.9) + 1 - 0.8**2) / s**2
        found = world.expected(method, np.zeros(1), np.array([0.25]))
        assert found == pytest.approx(100 * ndtr(delta / np.sqrt(1 + z)), abs=EXACT)

    def test_two_steps_and_errors_in_variables_have_no_bias(self) -> None:
        world = World(0.85, students=10**12)
        for route in ("eiv", "two_step"):
            method = world.comparison(route)
            far = world.expected(method, np.zeros(3), np.array([-1.0, 0.0, 1.0]))
            np.testing.assert_allclose(far, 50, atol=1e-6)

    def test_extrapolation_leaves_what_is_known_of_it(self) -> None:
        """METHOD C4: true slope .85, reliability .9: naive .765, linear .827, quadratic .846."""
        world = World(0.9)
        slopes = [world.comparison("naive").slope, *(world.comparison("ranked", d).slope for d in (1, 2))]
        np.testing.assert_allclose(slopes, [0.765, 0.826, 0.846], atol=6e-4)

    def test_draws_have_the_moments_asked_for(self) -> None:
        world = World(0.85, sorting=0.4)
        drawn = draw_world(world, 1)
        prior, score = (drawn.table.filter(grade=g)["score"].to_numpy() for g in (7, 8))
        slope, spread = world.comparison("naive").slope, world.comparison("naive").spread
        residual = score - score.mean() - slope * (prior - prior.mean())
        assert residual.std() / POINTS == pytest.approx(spread, rel=0.02)
        assert np.cov(prior, score)[0, 1] / np.var(prior) == pytest.approx(slope, abs=0.02)
        assert np.corrcoef(drawn.effect, drawn.intake)[0, 1] == pytest.approx(0.4, abs=0.03)
        assert drawn.table["csem"].n_unique() == 1
        again = draw_world(world, 1)
        curved = draw_world(World(0.85, curve=0.25), 1).table.filter(grade=7)
        assert curved["csem"].max() > 2 * curved["csem"].min()
        assert curved["score"].var() == pytest.approx(prior.var(), rel=0.02)
        assert again.table.equals(drawn.table)


SHORT = truth.Size(12_000, 150, draws=3, simex_draws=3, replicates=4)


def test_a_short_run_finds_what_the_closed_forms_say() -> None:
    rows = truth.measure(World(0.85, students=12_000, schools=150), truth.METHODS, SHORT, n_jobs=2)
    for row in rows:
        assert abs(row.bias - row.predicted) < NOISE * max(row.bias_se, PER_DRAW / row.draws**0.5), row
    by = {row.method: row for row in rows}
    naive = by["quantile"]
    assert naive.predicted > 2
    assert abs(naive.bias / naive.predicted - 1) < truth.AS_PREDICTED
    for name in ("eiv", "two_step", "simex_quadratic", "ranked_quadratic"):
        assert abs(by[name].bias) < truth.LEFT * naive.predicted, name
        assert by[name].coverage > naive.coverage
        assert by[name].rmse < naive.rmse
    for name in ("eiv", "two_step", "ranked_quadratic"):
        assert by[name].r_effect > naive.r_effect
    for name in ("simex_linear", "ranked_linear"):
        assert truth.LEFT * naive.predicted < by[name].bias < 0.5 * naive.predicted, name


@pytest.fixture(scope="module")
def record(repository: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        (repository / "benchmarks" / "results" / "truth.json").read_text("utf-8")
    )
    return found


def test_the_documents_show_what_the_results_file_holds(record: dict[str, object], repository: Path) -> None:
    found = readme.section("truth").findall((repository / "README.md").read_text("utf-8"))
    assert found == [("benchmarks/results/truth.json", truth.render(record))]
    assert (repository / "benchmarks" / "results" / "truth.md").read_text("utf-8") == truth.document(record)


def test_the_results_hold_every_method_in_every_system(record: dict[str, object]) -> None:
    rows = truth.rows_of(record)
    found = {(row.reliability, row.sorting, row.curve, row.method) for row in rows}
    asked = [(world.reliability, world.sorting, world.curve) for world in truth.worlds(truth.FULL)]
    assert found == {(*system, method.name) for system in asked for method in truth.METHODS}


def test_uncorrected_results_have_the_bias_of_the_closed_form(record: dict[str, object]) -> None:
    rows = [row for row in truth.rows_of(record) if row.method in ("quantile", "normal") and row.plain]
    assert all(abs(row.bias / row.predicted - 1) <= truth.AS_PREDICTED for row in rows)


def test_corrections_leave_what_the_closed_form_says_and_all_but_linear_extrapolation_meet_the_mark(
    record: dict[str, object],
) -> None:
    rows = [row for row in truth.rows_of(record) if row.plain]
    naive = {row.reliability: row.predicted for row in rows if row.method == "quantile"}
    for row in rows:
        assert abs(row.bias - row.predicted) < NOISE * max(row.bias_se, PER_DRAW / row.draws**0.5), row
        if row.method in ("eiv", "simex_quadratic", "ranked_quadratic", "two_step"):
            assert abs(row.bias) <= truth.LEFT * naive[row.reliability], row
    missed = {
        row.reliability
        for row in rows
        if row.method == "ranked_linear" and row.bias > naive[row.reliability] / 4
    }
    assert missed == {0.8, 0.85, 0.9}
