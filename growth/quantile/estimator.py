"""The quantile process as a scikit-learn estimator.

Imported only on request, because scikit-learn takes about a second to import.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from growth._types import FloatArray
from growth.quantile.fit import DEFAULT_TAUS, fit_quantiles

__all__ = ["MultiQuantileRegressor"]

CHUNK = 65_536
"""Rows whose quantiles are held in memory at one time by `score`."""


class MultiQuantileRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Exact linear quantile regression at many quantiles at once.

    Every solution is a vertex of its linear program with a proof of optimality; see `fit_quantiles`.

    Parameters
    ----------
    quantiles : array_like, shape (m,), optional
        Increasing, within (0, 1). Default (t - 0.5) / 100 for t = 1..100.
    fit_intercept : bool
        Put a column of ones before the features.
    rearrange : bool
        Sort predicted quantiles of each row, so that they do not cross (Chernozhukov et al. 2010).
    n_jobs : int, optional
        Threads; at most two are used. Results do not depend on it.

    Attributes
    ----------
    quantiles_ : ndarray, shape (m,)
    coef_ : ndarray, shape (m, p)
        One row per quantile; 0 for features that depend linearly on the intercept and earlier features.
    intercept_ : ndarray, shape (m,)
        Zeros without `fit_intercept`.
    process_ : QuantileProcess
        The fitted process with its duals, gaps and counters. Its design has the intercept as first column.
    n_features_in_ : int
        Called p here.
    feature_names_in_ : ndarray, shape (p,)
        Only where `X` has column names.

    See Also
    --------
    growth.fit_quantiles : The same fit on arrays.
    growth.quantile.inference.standard_errors : Standard errors of `process_`.

    References
    ----------
    .. [1] R. Koenker and G. Bassett (1978), Econometrica 46(1), 33-50.
    .. [2] V. Chernozhukov, I. Fernandez-Val and A. Galichon (2010), Econometrica 78(3), 1093-1125.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(20.0).reshape(-1, 1)
    >>> y = 3.0 + 2.0 * x[:, 0] + np.tile([-1.0, 0.0, 1.0, 0.0], 5)
    >>> model = MultiQuantileRegressor(quantiles=[0.1, 0.5, 0.9]).fit(x, y)
    >>> model.predict_quantiles([[10.0]])
    array([[22., 23., 24.]])
    >>> model.score_percentile([[10.0]], [23.5]).round(2)
    array([0.7])
    """

    def __init__(
        self,
        *,
        quantiles: ArrayLike | None = None,
        fit_intercept: bool = True,
        rearrange: bool = True,
        n_jobs: int | None = None,
    ) -> None:
        self.quantiles = quantiles
        self.fit_intercept = fit_intercept
        self.rearrange = rearrange
        self.n_jobs = n_jobs

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> MultiQuantileRegressor:
        """Fit all quantiles.

        Parameters
        ----------
        X : array_like, shape (n, p)
            Finite numbers.
        y : array_like, shape (n,)
        sample_weight : array_like, shape (n,), optional
            Non-negative; an integer weight counts as that many equal rows.

        Returns
        -------
        MultiQuantileRegressor
            The estimator itself.

        Raises
        ------
        SpecError
            If quantiles do not increase within (0, 1).
        ConvergenceError
            If a solution could not be proven optimal.
        """
        features, response = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        weights = self._weights(sample_weight, features)
        taus = DEFAULT_TAUS if self.quantiles is None else np.asarray(self.quantiles, dtype=np.float64)
        labels = getattr(self, "feature_names_in_", [f"x{j}" for j in range(features.shape[1])])
        names = (["intercept"] if self.fit_intercept else []) + [str(name) for name in labels]
        design = self._design(features)
        self.process_ = fit_quantiles(design, response, taus, weights, names=names, n_jobs=self.n_jobs)
        self.quantiles_ = self.process_.taus
        first = 1 if self.fit_intercept else 0
        self.coef_ = self.process_.coef[:, first:].copy()
        self.intercept_ = self.process_.coef[:, 0].copy() if first else np.zeros(len(self.quantiles_))
        return self

    def predict(self, X: ArrayLike) -> FloatArray:
        """Return the conditional median, shape (n,).

        Linear between the two quantiles around 0.5; if all lie on one side of 0.5, the nearest to it.

        Parameters
        ----------
        X : array_like, shape (n, p)
        """
        design = self._checked(X)
        # Medians come with the places of responses; which responses does not matter here.
        return self.process_.score(design, np.zeros(len(design)), rearrange=self.rearrange).median

    def predict_quantiles(self, X: ArrayLike) -> FloatArray:
        """Return the conditional quantiles, shape (n, m).

        Parameters
        ----------
        X : array_like, shape (n, p)
        """
        return self.process_.predict(self._checked(X), rearrange=self.rearrange)

    def score_percentile(self, X: ArrayLike, y: ArrayLike) -> FloatArray:
        """Return the place of each response in its conditional distribution, shape (n,), in (0, 1).

        Linear between two quantiles; on one or several, the middle of their probabilities; beyond the
        outermost ones, the middle of the remaining probability.

        Parameters
        ----------
        X : array_like, shape (n, p)
        y : array_like, shape (n,)
        """
        features, response = self._pair(X, y)
        return self.process_.score(self._design(features), response, rearrange=self.rearrange).percentile

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return D2: the share of the check loss of constant quantiles that the model removes.

        Parameters
        ----------
        X : array_like, shape (n, p)
        y : array_like, shape (n,)
        sample_weight : array_like, shape (n,), optional

        Returns
        -------
        float
            1 - L / L0, with L the check loss of the predicted quantiles summed over rows and quantiles, and
            L0 that of the quantiles of `y`. At most 1. With one quantile it is
            `sklearn.metrics.d2_pinball_score`, up to the choice of a quantile where several are optimal.
            Where L0 is 0: 1 if L is 0, else 0.

        References
        ----------
        .. [1] R. Koenker and J. Machado (1999), JASA 94(448), 1296-1310.
        """
        features, response = self._pair(X, y)
        weights = self._weights(sample_weight, features)
        loss = 0.0
        for rows in _chunks(len(response)):
            curves = self.process_.predict(self._design(features[rows]), rearrange=self.rearrange)
            residual = response[rows, None] - curves
            losses = (residual * (self.quantiles_ - (residual < 0.0))).sum(axis=1)
            loss += float(losses.sum() if weights is None else weights[rows] @ losses)
        one = np.ones((len(response), 1))
        constant = float(fit_quantiles(one, response, self.quantiles_, weights).objective.sum())
        if constant == 0.0:
            return float(loss == 0.0)
        return 1.0 - loss / constant

    def _pair(self, X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
        check_is_fitted(self)
        features, response = validate_data(self, X, y, reset=False, dtype=np.float64, y_numeric=True)
        return features, response

    def _checked(self, X: ArrayLike) -> FloatArray:
        check_is_fitted(self)
        return self._design(validate_data(self, X, reset=False, dtype=np.float64))

    def _design(self, X: FloatArray) -> FloatArray:
        return np.column_stack([np.ones(len(X)), X]) if self.fit_intercept else X

    def _weights(self, sample_weight: ArrayLike | None, X: FloatArray) -> FloatArray | None:
        if sample_weight is None:
            return None
        weights: FloatArray = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        return weights


def _chunks(n: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, n, CHUNK))
