"""Standard errors of quantile-regression coefficients.

All kinds are sandwiches J^-1 V J^-1, with rows x_i multiplied by their weights: J = sum_i f_i x_i x_i',
where f_i is the density of the response at its conditional quantile, and V is the variance of the score
sum_i psi_i x_i, psi_i = tau - 1[u_i < 0]. The kinds differ in how f_i and V are estimated:

========  ==============================================  =============================================
kind      density f_i                                     variance V of the score
========  ==============================================  =============================================
iid       the same for all rows: inverse sparsity         tau (1 - tau) sum_i x_i x_i'
nid       difference quotient of two curves at tau +- h   as iid
ker       Gaussian kernel of the residual                 as iid
cluster   uniform kernel of the residual                  sum_g s_g s_g',  s_g = sum of psi_i x_i in g
========  ==============================================  =============================================

References
----------
.. [1] R. Koenker (2005), Quantile Regression, Cambridge University Press, sections 3.4 and 4.10.
.. [2] P. Hall and S. Sheather (1988), JRSS B 50(3), 381-391.
.. [3] W. Hendricks and R. Koenker (1992), JASA 87(417), 58-68.
.. [4] J. L. Powell (1991), in: Nonparametric and Semiparametric Methods, Cambridge University Press, 357-384.
.. [5] P. Parente and J. Santos Silva (2016), Journal of Econometric Methods 5(1), 1-15.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from growth._types import FloatArray, IntArray
from growth.errors import ColumnError, GrowthWarning, SpecError, did_you_mean, problem
from growth.quantile.fit import fit_quantiles
from growth.quantile.process import QuantileProcess

__all__ = ["StandardErrorKind", "hall_sheather_bandwidth", "standard_errors"]

StandardErrorKind: TypeAlias = Literal["iid", "nid", "ker", "cluster"]

ALPHA = 0.05
"""The bandwidth is the best one for tests at this level."""
ZERO = 2.0**-26
"""Residuals and curve differences up to this share of the typical absolute residual count as zero."""
NORMAL_IQR = 1.34
"""Interquartile range of the standard normal distribution, rounded as Silverman (1986) does."""
SINGULAR = 1e-14
"""A density-weighted Gram matrix with a smaller reciprocal condition number has no usable inverse."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """One process and the rows it was fitted to, in the scale in which all weights are 1."""

    taus: FloatArray  # (m,)
    coef: FloatArray  # (m, r) without dropped columns
    design: FloatArray  # (n, r) rows times weights
    response: FloatArray  # (n,) times weights
    bandwidth: FloatArray  # (m,)
    zero: float  # residuals and curve differences up to this are zero [units of the weighted response]
    cluster: IntArray | None  # (n,) 0, 1, ... without gaps


def hall_sheather_bandwidth(taus: ArrayLike, n: int) -> FloatArray:
    """Return the bandwidth on the scale of tau for the sparsity at each tau.

    Parameters
    ----------
    taus : array_like, shape (m,)
        Within (0, 1).
    n : int
        Number of rows.

    Returns
    -------
    ndarray, shape (m,)
        Halved until tau - h and tau + h lie within [0, 1].

    References
    ----------
    .. [1] P. Hall and S. Sheather (1988), JRSS B 50(3), 381-391.
    """
    taus = np.atleast_1d(np.asarray(taus, dtype=np.float64))
    h = _plain_bandwidth(taus, n)
    while (out := (taus - h < 0.0) | (taus + h > 1.0)).any():
        h[out] /= 2.0
    return h


def standard_errors(
    process: QuantileProcess,
    design: FloatArray,
    response: FloatArray,
    weights: FloatArray | None = None,
    *,
    kind: StandardErrorKind = "nid",
    groups: ArrayLike | None = None,
) -> FloatArray:
    """Estimate standard errors of the coefficients of a fitted process.

    Parameters
    ----------
    process : QuantileProcess
        As returned by `fit_quantiles` for the same `design`, `response` and `weights`.
    design : ndarray, shape (n, p)
    response : ndarray, shape (n,)
    weights : ndarray, shape (n,), optional
        Weights of the check losses; a row of weight w stands for an observation (w x, w y) as in [1]_, not
        for w equal rows. Rows of weight 0 take no part.
    kind : {"nid", "iid", "ker", "cluster"}
        ``"iid"``: errors independent of the design; the sparsity is the slope of a median line through
        the central ordered residuals. ``"nid"``: independent errors of any shape, density by difference
        quotients of curves refitted at tau +- h (Hendricks and Koenker 1992). ``"ker"``: the same,
        density by a Gaussian kernel (Powell 1991). ``"cluster"``: errors also correlated within `groups`
        (Parente and Santos Silva 2016). Bandwidths after Hall and Sheather (1988) throughout.
    groups : array_like, shape (n,), optional
        Cluster of each row, such as its school; needed by, and only allowed with, ``kind="cluster"``.

    Returns
    -------
    ndarray, shape (m, p)
        Same units as the coefficients. NaN for the columns that the process dropped, and for all columns at a
        tau where no density could be estimated (few or heavily tied rows; a `GrowthWarning` says how many).

    Raises
    ------
    SpecError
        If `kind` is unknown, or `groups` is missing or not wanted.
    ColumnError
        If shapes disagree, a group is missing or there are fewer than two groups.

    Notes
    -----
    "iid", "nid" and "ker" follow the conventions documented for ``summary.rq`` of the R package quantreg,
    except that "zero up to rounding" is relative to the residuals, so that standard errors scale with the
    response. "cluster" is multiplied by G / (G - 1) (n - 1) / (n - rank) for G groups, and rows on the fitted
    hyperplane share the score that makes the total zero, as the dual solution does.

    References
    ----------
    .. [1] R. Koenker (2005), Quantile Regression, Cambridge University Press, section 3.4.
    .. [2] P. Parente and J. Santos Silva (2016), Journal of Econometric Methods 5(1), 1-15.

    Examples
    --------
    >>> import numpy as np
    >>> from growth.quantile import fit_quantiles
    >>> rng = np.random.default_rng(1)
    >>> x = np.column_stack([np.ones(500), rng.standard_normal(500)])
    >>> y = x @ [1.0, 2.0] + rng.standard_normal(500)
    >>> process = fit_quantiles(x, y, [0.25, 0.5])
    >>> standard_errors(process, x, y).round(2)
    array([[0.07, 0.08],
           [0.06, 0.07]])
    """
    if kind not in _COVARIANCE:
        raise SpecError(f"Unknown kind {kind!r}{did_you_mean(str(kind), get_args(StandardErrorKind))}.")
    if (kind == "cluster") != (groups is not None):
        raise SpecError('`groups` belongs to kind="cluster": give both or neither.')
    fit = _fit(process, design, response, weights, groups)
    kept = [j for j in range(process.coef.shape[1]) if j not in process.dropped]
    out = np.full(process.coef.shape, np.nan)
    length = np.sqrt(np.einsum("ij,ij->j", fit.design, fit.design))
    unit = fit.design / length
    with np.errstate(divide="ignore", invalid="ignore"):
        for k, covariance in enumerate(_COVARIANCE[kind](fit, unit)):
            if covariance is not None:
                out[k, kept] = np.sqrt(np.diag(covariance)) / length
    lost = int(np.count_nonzero(np.isnan(out[:, kept]).any(axis=1)))
    if lost:
        warnings.warn(
            problem(
                f"{lost} of {len(out)} quantiles have no standard errors of kind {kind!r}",
                rule="the density at each quantile must be estimable: residuals near it must vary",
                fix="take fewer columns, quantiles nearer to the median, or another kind",
            ),
            GrowthWarning,
            stacklevel=2,
        )
    return out


def _plain_bandwidth(taus: FloatArray, n: int) -> FloatArray:
    z = ndtri(taus)
    density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    level = ndtri(1.0 - ALPHA / 2.0) ** (2.0 / 3.0)
    h: FloatArray = n ** (-1.0 / 3.0) * level * np.cbrt(1.5 * density**2 / (2.0 * z * z + 1.0))
    return h


def _fit(
    process: QuantileProcess,
    design: FloatArray,
    response: FloatArray,
    weights: FloatArray | None,
    groups: ArrayLike | None,
) -> _Fit:
    design, response = np.asarray(design, dtype=np.float64), np.asarray(response, dtype=np.float64)
    n = response.size
    if design.shape != (n, process.coef.shape[1]):
        raise ColumnError(
            f"The design has shape {design.shape} and the response {response.shape}; the process has "
            f"{process.coef.shape[1]} columns."
        )
    cluster = None if groups is None else _cluster_codes(groups, n)
    if weights is not None:
        weight = np.asarray(weights, dtype=np.float64)
        if weight.shape != response.shape or not (weight >= 0.0).all():
            raise ColumnError(f"Weights must be non-negative and of shape {response.shape}.")
        used = weight > 0.0
        design, response = design[used] * weight[used, None], response[used] * weight[used]
        cluster = None if cluster is None else np.unique(cluster[used], return_inverse=True)[1]
    if response.size != process.n:
        raise ColumnError(
            f"The process was fitted to {process.n:,} rows of positive weight, not {response.size:,}."
        )
    if cluster is not None and cluster.max() < 1:
        raise ColumnError("Standard errors by cluster need at least two groups.")
    kept = [j for j in range(design.shape[1]) if j not in process.dropped]
    middle = process.coef[int(np.argmin(np.abs(process.taus - 0.5)))]
    return _Fit(
        taus=process.taus,
        coef=process.coef[:, kept],
        design=np.ascontiguousarray(design[:, kept]),
        response=response,
        bandwidth=hall_sheather_bandwidth(process.taus, response.size),
        zero=ZERO * float(np.median(np.abs(response - design @ middle))),
        cluster=cluster,
    )


def _residual(fit: _Fit, k: int) -> FloatArray:
    residual: FloatArray = fit.response - fit.design @ fit.coef[k]
    residual[np.abs(residual) <= fit.zero] = 0.0
    return residual


def _cluster_codes(groups: ArrayLike, n: int) -> IntArray:
    labels: Any = np.asarray(groups)
    if labels.shape != (n,):
        raise ColumnError(f"The groups have shape {labels.shape} but there are {n:,} rows.")
    # NaN is the only value that differs from itself.
    missing = np.array([label is None for label in labels]) if labels.dtype == object else np.zeros(n, bool)
    missing |= np.asarray(labels != labels, dtype=bool)
    if missing.any():
        raise ColumnError(
            problem("Groups are missing", rows=int(missing.sum()), fix="drop those rows before the fit")
        )
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64)


# --- covariances of the coefficients of unit-length columns, one per tau; None where J has no inverse ---


def _iid(fit: _Fit, unit: FloatArray) -> list[FloatArray | None]:
    n, p = unit.shape
    inverse = np.linalg.inv(unit.T @ unit)
    out: list[FloatArray | None] = []
    for k, h in enumerate(_plain_bandwidth(fit.taus, n)):
        tau, residual = fit.taus[k], _residual(fit, k)
        first = int(np.count_nonzero(residual == 0.0))
        rank = np.arange(first + 1, min(n, first + 1 + max(p + 1, int(np.ceil(n * h)))) + 1)
        if rank.size < 3:
            out.append(None)
            continue
        nearest = np.sort(residual[np.argsort(np.abs(residual), kind="stable")[rank - 1]])
        line = np.column_stack([np.ones(rank.size), rank / max(1, n - p)])
        sparsity = fit_quantiles(line, nearest, [0.5]).coef[0, 1]
        out.append(sparsity**2 * tau * (1.0 - tau) * inverse if sparsity > 0.0 else None)
    return out


def _nid(fit: _Fit, unit: FloatArray) -> list[FloatArray | None]:
    low, high = fit.taus - fit.bandwidth, fit.taus + fit.bandwidth
    grid = np.unique(np.concatenate([low, high]))
    coef = fit_quantiles(unit, fit.response, grid).coef
    out: list[FloatArray | None] = []
    for k, h in enumerate(fit.bandwidth):
        rise = unit @ (coef[np.searchsorted(grid, high[k])] - coef[np.searchsorted(grid, low[k])])
        density = np.where(rise > fit.zero, 2.0 * h / np.maximum(rise, fit.zero), 0.0)
        out.append(_sandwich(unit, density, _binomial_score(fit, unit, k)))
    return out


def _ker(fit: _Fit, unit: FloatArray) -> list[FloatArray | None]:
    out: list[FloatArray | None] = []
    for k in range(fit.taus.size):
        residual = _residual(fit, k)
        quartiles = np.quantile(residual, [0.25, 0.75])
        spread = min(float(residual.std(ddof=1)), float(quartiles[1] - quartiles[0]) / NORMAL_IQR)
        z = residual / (width := spread * _normal_distance(fit, k))
        density = np.exp(-0.5 * z * z) / (width * np.sqrt(2.0 * np.pi))
        out.append(_sandwich(unit, density, _binomial_score(fit, unit, k)))
    return out


def _cluster(fit: _Fit, unit: FloatArray) -> list[FloatArray | None]:
    assert fit.cluster is not None
    n, p = unit.shape
    count = int(fit.cluster.max()) + 1
    correction = count / (count - 1) * (n - 1) / max(1, n - p)
    out: list[FloatArray | None] = []
    for k in range(fit.taus.size):
        residual = _residual(fit, k)
        spread = float(np.median(np.abs(residual - np.median(residual))))
        width = spread * _normal_distance(fit, k)
        density = (np.abs(residual) < width) / (2.0 * width)
        score = unit * _exact_score(unit, residual, fit.taus[k])[:, None]
        sums = np.column_stack(
            [np.bincount(fit.cluster, weights=column, minlength=count) for column in score.T]
        )
        out.append(_sandwich(unit, density, correction * (sums.T @ sums)))
    return out


def _normal_distance(fit: _Fit, k: int) -> float:
    """Width between tau - h and tau + h under a standard normal distribution."""
    return float(ndtri(fit.taus[k] + fit.bandwidth[k]) - ndtri(fit.taus[k] - fit.bandwidth[k]))


def _binomial_score(fit: _Fit, unit: FloatArray, k: int) -> FloatArray:
    variance: FloatArray = fit.taus[k] * (1.0 - fit.taus[k]) * (unit.T @ unit)
    return variance


def _exact_score(unit: FloatArray, residual: FloatArray, tau: float) -> FloatArray:
    """Return psi; rows on the hyperplane share what makes sum_i psi_i x_i zero, as the dual solution does."""
    psi = np.where(residual < 0.0, tau - 1.0, tau)
    on = residual == 0.0
    rest = psi[~on] @ unit[~on]
    psi[on] = np.clip(np.linalg.lstsq(unit[on].T, -rest, rcond=None)[0], tau - 1.0, tau)
    return psi


def _sandwich(unit: FloatArray, density: FloatArray, score: FloatArray) -> FloatArray | None:
    bread = (unit * density[:, None]).T @ unit
    if not np.isfinite(bread).all() or not np.linalg.cond(bread) < 1.0 / SINGULAR:
        return None
    inverse = np.linalg.inv(bread)
    covariance: FloatArray = inverse @ score @ inverse
    return covariance


_COVARIANCE: dict[str, Callable[[_Fit, FloatArray], list[FloatArray | None]]] = {
    "iid": _iid,
    "nid": _nid,
    "ker": _ker,
    "cluster": _cluster,
}
