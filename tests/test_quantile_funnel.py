"""Along a floor of the scale: the way through the funnel ends where bands end, after far fewer pivots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.problems import TAUS
from benchmarks.robust import Case, Drawn, draw_case
from growth.kernels import process as kernel
from growth.quantile import QuantileProcess, fit_quantiles, walk

CASES = [Case(3_000, 15, 20), Case(3_000, 22, 8), Case(30_000, 15, 21)]
"""Coded and dense designs with 40 % of the rows on a floor."""
SAME = 1e-6
"""Score points by which fitted values of one vertex, reached from two sides, differ by rounding."""
FEWER = 0.8
"""Share of the pivots of bands, where a floor covers much of a large problem."""


def _fit(drawn: Drawn, n_jobs: int | None = None) -> QuantileProcess:
    return fit_quantiles(
        drawn.design, drawn.response, TAUS, drawn.weights, blocks=drawn.blocks, n_jobs=n_jobs
    )


@pytest.mark.parametrize("case", CASES)
def test_the_funnel_ends_where_bands_end(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw_case(case)
    found: list[int] = []
    funnel: Any = kernel.funnel_path

    def counted(*arguments: object) -> int:
        found.append(funnel(*arguments))
        return found[-1]

    monkeypatch.setattr(walk, "FUNNEL_FROM", 0)
    monkeypatch.setattr(kernel, "funnel_path", counted)
    fitted = _fit(drawn)
    assert sum(found) > 0
    monkeypatch.setattr(kernel, "funnel_path", lambda *_: 0)
    bands = _fit(drawn)
    assert set(fitted.status) == set(bands.status) == {"certified"}
    np.testing.assert_allclose(drawn.design @ fitted.coef.T, drawn.design @ bands.coef.T, rtol=0.0, atol=SAME)
    if case is CASES[-1]:
        assert fitted.counters["pivots"].sum() < FEWER * bands.counters["pivots"].sum()


def test_the_funnel_does_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "FUNNEL_FROM", 0)
    drawn = draw_case(CASES[0])
    one, two = _fit(drawn), _fit(drawn, 2)
    np.testing.assert_array_equal(one.coef, two.coef)
    for name, counter in one.counters.items():
        np.testing.assert_array_equal(counter, two.counters[name])
