"""What SIMEX does to school results where true prior scores and school effects are known."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from growth._types import FloatArray, IntArray
from growth.panel import Panel, build_panels, read_table
from growth.spec import GrowthSpec
from growth.student import QuantileGrowth, compose, student_growth
from growth.student.composition import without_composition

sys.path.insert(0, str(Path(__file__).parents[1]))  # not an installed package

from benchmarks.known import Drawn, Route, World, draw_world

WORLD = World(0.8)
"""20,000 students in 200 schools, whose mean true priors differ by 0.4 SD; effects unrelated to them."""
NOISE = 0.25
"""Five standard errors of the bias of one draw over its expectation [percentile points per SD of intake]."""
APART = 0.3
"""More than such errors of 20,000 students vary from draw to draw [percentile points]."""
GONE = 0.3
"""No bias, one draw [the same]."""
SIMEX = {"simex.use": "simex", "simex.replicates": 10}
PLAIN = GrowthSpec.from_dict(
    {
        "cohorts": {"own_priors": 1},
        "groups": {"flags": {}, "race": ""},
        "measurement": {"csem": "column"},
    }
)


@cache
def drawn() -> Drawn:
    return draw_world(WORLD, 0)


@cache
def grown(composition: str, extrapolation: str = "linear") -> tuple[QuantileGrowth, IntArray]:
    """Return growth with SIMEX and each student's school; also after two steps, which is refused."""
    spec = PLAIN.replace({"peers.composition": composition})
    table = read_table(drawn().table, spec)
    panel: Panel = compose(build_panels(table, spec), spec).panels.panels[0]
    if composition == "two_step":
        panel, spec = without_composition(panel), PLAIN
    assert (np.diff(panel.row) > 0).all()  # students in the order in which they were drawn
    growth = student_growth(panel, spec.replace(SIMEX | {"simex.extrapolation": extrapolation}))
    assert isinstance(growth, QuantileGrowth)
    return growth, table.frame["school_id"].gather(panel.row).cast(int).to_numpy()


def bias(percentile: FloatArray, school: IntArray) -> float:
    """Return what mean percentiles gain per SD of intake, given effects and luck [percentile points]."""
    known = drawn()
    means = 100 * np.bincount(school, weights=percentile) / np.bincount(school)
    columns = np.column_stack([np.ones(len(means)), known.effect, known.luck, known.intake / WORLD.intake_sd])
    return float(np.linalg.lstsq(columns, means, rcond=None)[0][-1])


def closed_form(route: Route) -> float:
    step = 1e-3 * WORLD.intake_sd * np.array([-0.5, 0.5])
    low, high = WORLD.expected(WORLD.comparison(route), np.zeros(2), step)
    return float((high - low) / 1e-3)


@pytest.mark.parametrize("route", ["naive", "simex", "ranked"])
def test_bias_is_what_the_closed_form_says(route: Route) -> None:
    growth, school = grown("none")
    assert growth.simex is not None
    found = {
        "naive": growth.percentile,
        "simex": growth.simex.percentile,
        "ranked": growth.simex.percentile_ranked,
    }
    assert bias(found[route], school) == pytest.approx(closed_form(route), abs=NOISE)


def test_simex_takes_half_of_it_with_a_line() -> None:
    assert 0.4 < closed_form("simex") / closed_form("naive") < 0.6


def test_composition_in_one_step_leaves_none() -> None:
    """The school's mean is made of perturbed priors: neither left flattened nor corrected twice."""
    growth, school = grown("one_step")
    assert growth.simex is not None
    for values in (growth.percentile, growth.simex.percentile, growth.simex.percentile_ranked):
        assert abs(bias(values, school)) < GONE


def test_after_two_steps_it_would_be_taken_out_twice() -> None:
    """Why the specification refuses both."""
    growth, school = grown("two_step")
    assert growth.simex is not None
    assert abs(bias(growth.percentile, school)) < GONE
    assert bias(growth.simex.percentile, school) < -1.0


def test_one_student_is_placed_worse_the_more_is_corrected() -> None:
    """For averages only: nearest to the true percentile is the uncorrected one, then ranked, then linear."""
    linear, quadratic = (grown("none", extrapolation)[0] for extrapolation in ("linear", "quadratic"))
    assert linear.simex is not None
    assert quadratic.simex is not None
    found = [linear.percentile, linear.simex.percentile_ranked]
    found += [linear.simex.percentile, quadratic.simex.percentile]
    errors = [100 * float(np.mean((values - drawn().place) ** 2)) ** 0.5 for values in found]
    assert (np.diff(errors) > APART).all(), errors
    assert errors[0] > 15
