"""Responses with a floor, and starts that belong to other responses: the kinds of problem that once stalled.

What is bounded are counters, which do not depend on the machine.
"""

from __future__ import annotations

import pytest

from benchmarks.problems import TAUS
from benchmarks.robust import Case, draw_case
from growth.quantile import QuantileProcess, fit_quantiles

RETRIES = 45
"""Of 100 quantiles; searches that start over again and again took 54 to 259."""
PASSES = 8
"""Over the data, for one quantile."""


def _goes_straight(process: QuantileProcess) -> None:
    assert set(process.status) == {"certified"}
    assert process.relative_gap.max() <= 1e-9
    assert process.counters["retries"].sum() <= RETRIES
    assert process.counters["passes"].max() <= PASSES


@pytest.mark.parametrize("case", [Case(3_000, 8, 14), Case(3_000, 22, 8), Case(30_000, 8, 15)])
def test_hyperplanes_along_a_floor_do_not_stall(case: Case) -> None:
    drawn = draw_case(case)
    assert "floored" in drawn.kind
    fitted = fit_quantiles(drawn.design, drawn.response, TAUS, drawn.weights, blocks=drawn.blocks)
    _goes_straight(fitted)


def test_a_start_that_belongs_to_another_response_is_given_up_early() -> None:
    drawn = draw_case(Case(10_000, 15, 0))
    assert drawn.refit_kind == "to t3 floored"
    fitted = fit_quantiles(drawn.design, drawn.response, TAUS, drawn.weights, blocks=drawn.blocks)
    refit = fitted.refit(*drawn.refit)
    assert not refit.warm
    _goes_straight(refit)
