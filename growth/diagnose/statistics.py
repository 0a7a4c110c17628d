"""The statistics behind the diagnostics: bounds, design effects, tests of uniformity.

Students of a school resemble each other, so that n of them tell less than n strangers: standard errors are
clustered, and tests of distributions count n / design effect students (Kish 1965; Rao & Scott 1981). A
*bound* answers "how large is it at least": tests are of being beyond a tolerable size, not of being exactly
zero, which no real system is.

References
----------
.. [1] L. Kish (1965), Survey Sampling, section 5.4.
.. [2] J. N. K. Rao and A. J. Scott (1981), JASA 76(374), 221-230.
.. [3] T. W. Anderson and D. A. Darling (1952), Annals of Mathematical Statistics 23(2), 193-212.
.. [4] G. Marsaglia and J. Marsaglia (2004), Journal of Statistical Software 9(2).
"""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray, IntArray

__all__ = [
    "anderson_darling",
    "chi_square_bound",
    "clustered_se",
    "codes",
    "correlation_bound",
    "design_effect",
    "kolmogorov",
    "kolmogorov_bound",
    "t_bound",
]


def codes(values: object) -> IntArray:
    """Return cluster numbers 0, 1, ... of labels, shape (n,); each missing label is a cluster."""
    labels = np.asarray(values, dtype=object)
    missing = np.array([label is None for label in labels], dtype=bool)
    found: IntArray = np.unique(np.where(missing, "", labels).astype(str), return_inverse=True)[1]
    found = found.astype(np.int64)
    found[missing] = found.max(initial=-1) + 1 + np.arange(int(missing.sum()))
    return found


def design_effect(values: FloatArray, cluster: IntArray) -> float:
    """Return by how much clustering widens the variance of a mean: 1 + (m - 1) ICC, at least 1.

    Parameters
    ----------
    values : ndarray, shape (n,)
    cluster : ndarray of int, shape (n,)
        Numbers 0, 1, ...
    """
    n, size = len(values), np.bincount(cluster)
    size = size[size > 0]
    groups = len(size)
    if groups < 2 or groups == n:
        return 1.0
    cluster = np.unique(cluster, return_inverse=True)[1]
    mean = np.bincount(cluster, weights=values) / size
    between = float(size @ (mean - values.mean()) ** 2) / (groups - 1)
    within = float(((values - mean[cluster]) ** 2).sum()) / (n - groups)
    typical = (n - float(size @ size) / n) / (groups - 1)
    spread = (between - within) / typical
    total = spread + within
    icc = max(0.0, spread / total) if total > 0 else 0.0
    return 1.0 + (float(size @ size) / n - 1.0) * icc


def clustered_se(values: FloatArray, cluster: IntArray) -> tuple[float, int]:
    """Return the standard error of a mean and its degrees of freedom, clusters being drawn.

    Infinite with fewer than two clusters.
    """
    cluster = np.unique(cluster, return_inverse=True)[1]
    total = np.bincount(cluster, weights=values - values.mean())
    groups = len(total)
    if groups < 2:
        return np.inf, 1
    return float(np.sqrt(groups / (groups - 1) * (total**2).sum()) / len(values)), groups - 1


def t_bound(value: float, se: float, df: int, level: float) -> float:
    """Return the least size that `value` has, given its standard error: 0 or more."""
    from scipy.stats import t

    if not np.isfinite(se):
        return 0.0
    return max(0.0, abs(value) - float(t.isf(level / 2, df)) * se) if se > 0 else abs(value)


def correlation_bound(r: float, n: float, level: float) -> float:
    """Return the least size of a correlation of `n` pairs (Fisher's z): 0 or more."""
    from scipy.stats import norm

    if n <= 4 or not np.isfinite(r):
        return 0.0
    z = np.arctanh(min(abs(r), 1 - 1e-12)) - float(norm.isf(level / 2)) / np.sqrt(n - 3)
    return float(np.tanh(max(0.0, z)))


def chi_square_bound(statistic: float, df: int, level: float) -> float:
    """Return the least non-centrality of a chi-square statistic: 0 or more."""
    from scipy.optimize import brentq
    from scipy.stats import chi2, ncx2

    if chi2.sf(statistic, df) >= level:
        return 0.0

    def excess(noncentrality: float) -> float:
        return float(ncx2.sf(statistic, df, noncentrality) - level)

    return float(brentq(excess, 0.0, statistic))


def kolmogorov(percentile: FloatArray) -> float:
    """Return the largest distance of percentiles' distribution from uniform on (0, 1).

    Equal percentiles, as discrete scores give, are taken in the middle of their step: a mid-percentile is
    where it should be if half of its ties lie below it.
    """
    value, count = np.unique(percentile, return_counts=True)
    n = len(percentile)
    middle = (np.cumsum(count) - count / 2) / n
    distance = np.abs(middle - value)
    # A single student is no step: both sides of it count, as in the usual statistic.
    return float((distance + np.where(count == 1, 0.5 / n, 0.0)).max())


def kolmogorov_bound(distance: float, n: float, level: float) -> tuple[float, float]:
    """Return the p value of uniformity and the least true distance."""
    from scipy.stats import kstwobign

    root = np.sqrt(n)
    least = max(0.0, distance - float(kstwobign.isf(level)) / root)
    return float(kstwobign.sf(distance * root)), least


def anderson_darling(percentile: FloatArray, n: float) -> tuple[float, float]:
    """Return Anderson and Darling's statistic against uniform on (0, 1), scaled to `n`, and its p value."""
    x = np.sort(np.clip(percentile, 1e-12, 1 - 1e-12))
    size = len(x)
    i = 2 * np.arange(1, size + 1) - 1
    statistic = -size - float((i * (np.log(x) + np.log1p(-x[::-1]))).sum()) / size
    statistic *= n / size
    return statistic, 1.0 - _anderson_darling_below(max(statistic, 1e-9))


def _anderson_darling_below(z: float) -> float:
    """Return the limiting distribution function of the statistic (Marsaglia & Marsaglia 2004)."""
    if z < 2:
        series = (2.00012, 0.247105, -0.0649821, 0.0347962, -0.011672, 0.00168691)
        return float(np.exp(-1.2337141 / z) / np.sqrt(z) * np.polyval(series[::-1], z))
    series = (1.0776, -2.30695, 0.43424, -0.082433, 0.008056, -0.0003146)
    return float(np.exp(-np.exp(np.polyval(series[::-1], z))))
