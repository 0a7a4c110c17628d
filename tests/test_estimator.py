"""The estimator keeps scikit-learn's contract and adds nothing to the process but its conventions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import QuantileRegressor
from sklearn.metrics import d2_pinball_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from growth._types import FloatArray
from growth.errors import SpecError
from growth.quantile import fit_quantiles
from growth.quantile.estimator import MultiQuantileRegressor


@pytest.fixture(scope="module")
def rows() -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(11)
    x = rng.standard_normal((600, 3))
    return x, 5.0 + x @ [1.0, -2.0, 0.5] + (1.0 + 0.3 * np.abs(x[:, 0])) * rng.standard_normal(600)


@parametrize_with_checks(
    [
        MultiQuantileRegressor(),
        MultiQuantileRegressor(quantiles=[0.5], fit_intercept=False, rearrange=False),
    ]
)
def test_scikit_learn_contract(
    estimator: BaseEstimator, check: Callable[[BaseEstimator], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # otherwise the check of array-API input skips itself
    check(estimator)


def test_same_numbers_as_the_process(rows: tuple[FloatArray, FloatArray]) -> None:
    x, y = rows
    model = MultiQuantileRegressor().fit(x, y)
    design = np.column_stack([np.ones(len(x)), x])
    process = fit_quantiles(design, y)
    np.testing.assert_array_equal(model.intercept_, process.coef[:, 0])
    np.testing.assert_array_equal(model.coef_, process.coef[:, 1:])
    np.testing.assert_array_equal(model.quantiles_, (np.arange(1, 101) - 0.5) / 100)
    np.testing.assert_array_equal(model.predict_quantiles(x), process.predict(design))
    scores = process.score(design, y)
    np.testing.assert_array_equal(model.score_percentile(x, y), scores.percentile)
    np.testing.assert_array_equal(model.predict(x), scores.median)
    assert model.process_.names == ("intercept", "x0", "x1", "x2")


def test_same_optimum_as_scikit_learn(rows: tuple[FloatArray, FloatArray]) -> None:
    x, y = rows
    weights = np.random.default_rng(0).random(len(y))
    model = MultiQuantileRegressor(quantiles=[0.2, 0.8]).fit(x, y, sample_weight=weights)
    for k, tau in enumerate([0.2, 0.8]):
        peer = QuantileRegressor(quantile=tau, alpha=0.0).fit(x, y, sample_weight=weights)
        np.testing.assert_allclose(model.coef_[k], peer.coef_, atol=1e-7)
        assert model.intercept_[k] == pytest.approx(peer.intercept_, abs=1e-7)


def test_median_from_any_grid(rows: tuple[FloatArray, FloatArray]) -> None:
    x, y = rows
    exact = MultiQuantileRegressor(quantiles=[0.5]).fit(x, y)
    np.testing.assert_array_equal(exact.predict(x), exact.predict_quantiles(x)[:, 0])
    around = MultiQuantileRegressor(quantiles=[0.1, 0.4, 0.6]).fit(x, y)
    np.testing.assert_allclose(around.predict(x), around.predict_quantiles(x)[:, 1:].mean(axis=1), rtol=1e-12)
    below = MultiQuantileRegressor(quantiles=[0.1, 0.2]).fit(x, y)
    np.testing.assert_array_equal(below.predict(x), below.predict_quantiles(x)[:, 1])
    above = MultiQuantileRegressor(quantiles=[0.8, 0.9]).fit(x, y)
    np.testing.assert_array_equal(above.predict(x), above.predict_quantiles(x)[:, 0])


def test_percentiles_are_calibrated(rows: tuple[FloatArray, FloatArray]) -> None:
    x, y = rows
    percentile = MultiQuantileRegressor().fit(x, y).score_percentile(x, y)
    assert ((percentile > 0) & (percentile < 1)).all()
    # The score equations hold the share below each curve to within rank / n.
    for tau in (0.1, 0.5, 0.9):
        assert np.mean(percentile < tau) == pytest.approx(tau, abs=2 * 4 / len(y))


def test_score_is_d2_pinball(rows: tuple[FloatArray, FloatArray]) -> None:
    x, y = rows
    weights = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    for tau in (0.25, 0.9):
        model = MultiQuantileRegressor(quantiles=[tau]).fit(x, y)
        assert model.score(x, y) == pytest.approx(d2_pinball_score(y, model.predict(x), alpha=tau), abs=1e-12)
        weighted = d2_pinball_score(y, model.predict(x), alpha=tau, sample_weight=weights)
        assert model.score(x, y, weights) == pytest.approx(weighted, abs=1e-12)
    losses = [(MultiQuantileRegressor(quantiles=[t]).fit(x, y).process_.objective[0]) for t in (0.25, 0.9)]
    constant = fit_quantiles(np.ones((len(y), 1)), y, [0.25, 0.9]).objective
    both = MultiQuantileRegressor(quantiles=[0.25, 0.9]).fit(x, y)
    assert both.score(x, y) == pytest.approx(1 - sum(losses) / constant.sum(), abs=1e-12)


def test_score_of_responses_that_do_not_vary(rows: tuple[FloatArray, FloatArray]) -> None:
    x, y = rows
    model = MultiQuantileRegressor(quantiles=[0.5])
    assert model.fit(x, np.full(len(x), 3.0)).score(x, np.full(len(x), 3.0)) == 1.0
    assert model.fit(x, y).score(x, np.full(len(x), 3.0)) == 0.0


def test_score_in_chunks(rows: tuple[FloatArray, FloatArray], monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rows
    model = MultiQuantileRegressor(quantiles=[0.3, 0.7]).fit(x, y)
    weights = np.arange(len(y), dtype=float)
    whole = model.score(x, y, weights)
    monkeypatch.setattr("growth.quantile.estimator.CHUNK", 7)
    assert model.score(x, y, weights) == pytest.approx(whole, rel=1e-12)


def test_dependent_features_are_named(rows: tuple[FloatArray, FloatArray]) -> None:
    x, y = rows
    frame = pd.DataFrame(x, columns=["own", "other", "third"]).assign(twice=lambda d: 2 * d["own"], one=1.0)
    model = MultiQuantileRegressor(quantiles=[0.5]).fit(frame, y)
    assert model.process_.dropped_names == ("twice", "one")
    assert (model.coef_[:, 3:] == 0).all()
    assert list(model.feature_names_in_) == list(frame.columns)
    np.testing.assert_allclose(
        model.coef_[:, :3], MultiQuantileRegressor(quantiles=[0.5]).fit(x, y).coef_, atol=1e-9
    )


def test_rearranged_quantiles_increase(rows: tuple[FloatArray, FloatArray]) -> None:
    x, y = rows
    far = 8.0 * x
    crossing = MultiQuantileRegressor(rearrange=False).fit(x, y).predict_quantiles(far)
    assert (np.diff(crossing) < 0).any()
    sorted_ = MultiQuantileRegressor().fit(x, y).predict_quantiles(far)
    np.testing.assert_array_equal(sorted_, np.sort(crossing, axis=1))


def test_no_intercept(rows: tuple[FloatArray, FloatArray]) -> None:
    x, y = rows
    model = MultiQuantileRegressor(fit_intercept=False).fit(x, y)
    np.testing.assert_array_equal(model.coef_, fit_quantiles(x, y).coef)
    assert (model.intercept_ == 0).all()
    assert model.intercept_.shape == (100,)


def test_threads_change_nothing(rows: tuple[FloatArray, FloatArray]) -> None:
    x, y = rows
    one, two = MultiQuantileRegressor().fit(x, y), MultiQuantileRegressor(n_jobs=2).fit(x, y)
    np.testing.assert_array_equal(one.coef_, two.coef_)


def test_works_in_pipelines_and_searches(rows: tuple[FloatArray, FloatArray]) -> None:
    x, y = rows
    model = make_pipeline(StandardScaler(), MultiQuantileRegressor(quantiles=[0.1, 0.5, 0.9]))
    assert model.fit(x, y).score(x, y) > 0.3
    search = GridSearchCV(MultiQuantileRegressor(quantiles=[0.5]), {"fit_intercept": [True, False]}, cv=3)
    assert search.fit(x, y).best_params_ == {"fit_intercept": True}
    assert clone(search.best_estimator_).quantiles == [0.5]


@pytest.mark.parametrize("quantiles", [[0.5, 0.2], [0.0, 0.5], [0.5, 0.5], [1.2], []])
def test_impossible_quantiles(quantiles: list[float], rows: tuple[FloatArray, FloatArray]) -> None:
    with pytest.raises(SpecError, match="taus must increase"):
        MultiQuantileRegressor(quantiles=quantiles).fit(*rows)


def test_the_room_does_not_import_scikit_learn() -> None:
    code = "import sys, growth.quantile; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
