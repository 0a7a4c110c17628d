r"""Empirical Bayes for school effects.

Model: :math:`y_j = \theta_j + e_j`, :math:`\theta_j \sim (\mu, \tau^2)`, :math:`e_j` with known SD
:math:`s_j`. Given :math:`\mu` and :math:`\tau`,

.. math::
    B_j = \frac{\tau^2}{\tau^2 + s_j^2}, \quad
    \hat\theta_j = \mu + B_j (y_j - \mu), \quad
    \mathrm{var}(\theta_j \mid y) = \tau^2 (1 - B_j).

`growth.school.spread` says what :math:`\mu` and :math:`\tau` are.

References
----------
.. [1] C. N. Morris (1983), Journal of the American Statistical Association 78(381), 47-55.
"""

from __future__ import annotations

import numpy as np

from growth._types import FloatArray

__all__ = ["reliability", "sgp_constant", "sgp_shrink", "shrink"]


def reliability(se: FloatArray, tau2: float | FloatArray) -> FloatArray:
    """Return B, the share of variance of each observed effect that is between schools, shape (J,)."""
    return np.asarray(tau2 / (tau2 + se**2))


def shrink(
    effect: FloatArray, se: FloatArray, mean: float | FloatArray, tau2: float | FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return posterior means and posterior SDs, each of shape (J,); NaN where the SE is NaN.

    `mean` and `tau2` are what is expected of every school, or of each, shape (J,).
    """
    share = reliability(se, tau2)
    return mean + share * (effect - mean), np.sqrt(tau2 * (1.0 - share))


def sgp_constant(effect: FloatArray, se: FloatArray) -> float:
    """Return c of the R package SGP: the variance of a whole table's medians less their mean squared error.

    The package takes all years, subjects and schools of a table together, and standard errors rounded to two
    decimals. Where errors explain more than all of the variance, c is 0 here, and negative in the package.

    Parameters
    ----------
    effect, se : ndarray, shape (J,)
        Of all schools; NaN is left out of each by itself.
    """
    effect, se = effect[np.isfinite(effect)], se[np.isfinite(se)]
    if len(effect) < 2 or not len(se):
        return 0.0
    return max(0.0, float(effect.var(ddof=1) - np.mean(np.round(se, 2) ** 2)))


def sgp_shrink(effect: FloatArray, se: FloatArray, constant: float) -> FloatArray:
    """Return medians as the R package SGP shrinks them: to 50, whole percentiles, shape (J,)."""
    with np.errstate(invalid="ignore"):
        share = constant / (constant + np.round(se, 2) ** 2)
    return np.asarray(np.round(50.0 + (effect - 50.0) * share))
