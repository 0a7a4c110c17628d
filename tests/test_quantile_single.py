"""One column: weighted quantiles, as good as the solutions of the walk over the taus."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from growth._types import FloatArray
from growth.quantile import fit, fit_quantiles
from growth.quantile.prepare import Prepared
from growth.quantile.walk import Walked, walk_taus

TAUS = (np.arange(1, 101) - 0.5) / 100
SAME = 1e-12
"""Ratios are rounded before they are sorted, coefficients are refined."""


def _draw(kind: str, n: int, seed: int) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    rng = np.random.default_rng(seed)
    column: dict[str, FloatArray] = {
        "ones": np.ones(n),
        "negative": np.full(n, -0.3),
        "any sign": rng.standard_normal(n) + 0.2,
        "mostly negative": rng.standard_normal(n) - 0.2,
        "zeros": np.where(rng.random(n) < 0.4, 0.0, rng.exponential(1.0, n)),
    }
    response = rng.normal(250.0, 30.0, n)
    weights = (None, rng.integers(0, 4, n).astype(float), rng.lognormal(0.0, 2.0, n))[seed % 3]
    return column[kind][:, None], response if seed % 2 else np.rint(response), weights


def _exact(column: FloatArray, response: FloatArray, weights: FloatArray | None) -> list[float]:
    """Return the quantiles from sums of fractions, the smaller one where two are optimal."""
    weights = np.ones(column.size) if weights is None else weights
    pulls = [Fraction(w) * Fraction(x) for w, x in zip(weights.tolist(), column.tolist(), strict=True)]
    sign = 1 if sum(pulls) > 0 else -1
    whole, negative = abs(sum(pulls)), -sum(sign * pull for pull in pulls if sign * pull < 0)
    rows = np.flatnonzero(column)
    rows = rows[np.argsort(sign * response[rows] / column[rows])]
    found: list[float] = []
    reached = Fraction(0)
    for i in rows.tolist():
        reached += abs(pulls[i])
        while len(found) < TAUS.size and reached >= Fraction(2 * len(found) + 1, 200) * whole + negative:
            found.append(float(response[i] / column[i]))
    return found


@pytest.mark.parametrize("kind", ["ones", "negative", "any sign", "mostly negative", "zeros"])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n", [7, 400, 3_000])
def test_weighted_quantiles(kind: str, seed: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    design, response, weights = _draw(kind, n, seed)
    single = fit_quantiles(design, response, TAUS, weights)
    assert single.relative_gap.max() <= 1e-9
    assert set(single.status) == {"certified"}
    np.testing.assert_allclose(single.coef[:, 0], _exact(design[:, 0], response, weights), rtol=SAME)

    def walked(prepared: Prepared, taus: FloatArray) -> Walked:
        return walk_taus(prepared, taus, None, None)

    monkeypatch.setattr(fit, "weighted_quantiles", walked)
    walk = fit_quantiles(design, response, TAUS, weights)
    np.testing.assert_allclose(single.objective, walk.objective, rtol=SAME)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_between_two_values_the_limit_from_smaller_taus(sign: float) -> None:
    """The median of four values lies between two of them."""
    response = np.array([4.0, 1.0, 3.0, 2.0])
    fitted = fit_quantiles(np.full((4, 1), sign), response, [0.25, 0.5, 0.75])
    np.testing.assert_array_equal(sign * fitted.coef[:, 0], [1.0, 2.0, 3.0])


def test_one_sort_serves_all_taus_and_a_refit_needs_no_start() -> None:
    design, response, _ = _draw("any sign", 500, 1)
    fitted = fit_quantiles(design, response, TAUS)
    assert fitted.counters["passes"].sum() == 1
    assert fitted.counters["pivots"].sum() == 0
    again = fitted.refit(design, response, n_jobs=2)
    assert not again.warm
    np.testing.assert_array_equal(again.coef, fitted.coef)
