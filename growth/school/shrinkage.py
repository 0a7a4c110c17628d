r"""Empirical Bayes for school effects, by the method of moments.

Model: :math:`y_j = \theta_j + e_j`, :math:`\theta_j \sim (\mu, \tau^2)`, :math:`e_j` with known SD
:math:`s_j`. With :math:`w_j = 1/s_j^2`,

.. math::
    Q = \sum_j w_j (y_j - \bar y_w)^2, \quad
    \hat\tau^2 = \max\left(0, \frac{Q - (J - 1)}{\sum w - \sum w^2 / \sum w}\right), \quad
    \hat\mu = \frac{\sum_j y_j / (\hat\tau^2 + s_j^2)}{\sum_j 1 / (\hat\tau^2 + s_j^2)},

.. math::
    B_j = \frac{\hat\tau^2}{\hat\tau^2 + s_j^2}, \quad
    \hat\theta_j = \hat\mu + B_j (y_j - \hat\mu), \quad
    \mathrm{var}(\theta_j \mid y) = \hat\tau^2 (1 - B_j).

References
----------
.. [1] R. DerSimonian and N. Laird (1986), Controlled Clinical Trials 7(3), 177-188.
.. [2] C. N. Morris (1983), Journal of the American Statistical Association 78(381), 47-55.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import FloatArray

__all__ = ["VarianceComponents", "reliability", "shrink", "variance_components"]


@dataclass(frozen=True, slots=True)
class VarianceComponents:
    """Between-school distribution of true effects [percentile points]."""

    schools: int
    mean: float
    tau2: float
    """Between-school variance."""
    q: float
    """Heterogeneity: about J - 1 if schools do not differ."""

    @property
    def tau(self) -> float:
        """Between-school SD."""
        return float(np.sqrt(self.tau2))


def variance_components(effect: FloatArray, se: FloatArray) -> VarianceComponents:
    """Estimate mean and variance of true effects.

    Parameters
    ----------
    effect, se : ndarray, shape (J,)
        J >= 2 observed effects and their standard errors, all positive [percentile points].
    """
    weight = 1.0 / se**2
    total = weight.sum()
    q = float(weight @ (effect - weight @ effect / total) ** 2)
    schools = len(effect)
    tau2 = max(0.0, (q - (schools - 1)) / float(total - weight @ weight / total))
    weight = 1.0 / (tau2 + se**2)
    return VarianceComponents(schools, float(weight @ effect / weight.sum()), tau2, q)


def reliability(se: FloatArray, tau2: float) -> FloatArray:
    """Return B, the share of variance of each observed effect that is between schools, shape (J,)."""
    return np.asarray(tau2 / (tau2 + se**2))


def shrink(effect: FloatArray, se: FloatArray, mean: float, tau2: float) -> tuple[FloatArray, FloatArray]:
    """Return posterior means and posterior SDs, each of shape (J,); NaN where the SE is NaN."""
    share = reliability(se, tau2)
    return mean + share * (effect - mean), np.sqrt(tau2 * (1.0 - share))
