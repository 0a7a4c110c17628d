r"""A cohort whose true prior scores and school effects are known, and what each method makes of it.

Student *i* of school *j*, in SDs of true prior scores:

.. math::
    x_i &= \mu_j + a_i, & \mu_j &\sim N(0, \omega^2), \quad a_i \sim N(0, 1 - \omega^2) \\
    w_i &= x_i + u_i, & u_i &\sim N(0, \sigma_u^2), \quad \sigma_u^2 = (1 - r) / r \\
    y_i &= \beta x_i + \theta_j + e_i, & \theta_j &\sim N(0, \tau^2), \quad
        e_i \sim N(0, 1 - \beta^2 - \tau^2), \quad \mathrm{corr}(\theta, \mu) = \kappa .

A method compares *y* with :math:`b w + c \mu_j`: the percentile is :math:`\Phi((y - b w - c \mu_j) / S)`.
School *j* is then expected at

.. math:: 100\, \Phi\left(\frac{\theta_j + (\beta - b - c) \mu_j}{\sqrt{S^2 + V}}\right), \quad
    V = (\beta - b)^2 (1 - \omega^2) + b^2 \sigma_u^2 + \mathrm{Var}(e).

The term in :math:`\mu_j` is the bias. Without sorting, :math:`\kappa = 0`, least squares and quantile
regression on observed priors have :math:`b = r \beta`, which gives Lockwood & McCaffrey's
:math:`\delta = \beta (1 - r) \mu_j / s`; errors in variables have :math:`b = \beta`; simulation and
extrapolation have what a polynomial in :math:`\lambda` makes of :math:`b(\lambda)`. Two steps have
:math:`b + c = \beta + \kappa \tau / \omega`, but for the error in observed means of few students: no bias,
and nothing left of what effects have to do with intake.

References
----------
.. [1] J. R. Lockwood and D. F. McCaffrey (2014), Correcting for test score measurement error in ANCOVA models
   for estimating treatment effects, JEBS 39(1), 22-52.
.. [2] J. R. Cook and L. A. Stefanski (1994), Simulation-extrapolation estimation in parametric measurement
   error models, JASA 89(428), 1314-1328.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from scipy.special import ndtr

from growth._types import FloatArray, IntArray

Route: TypeAlias = Literal["naive", "eiv", "simex", "ranked", "two_step"]

MEAN, POINTS = 2500.0, 100.0
"""Scale-score points: middle of the scale, and one SD of true prior scores."""
LAMBDAS = (0.0, 0.5, 1.0, 1.5, 2.0)


class Comparison(NamedTuple):
    """What a method compares scores with, in SDs of true prior scores."""

    slope: float
    """b, of the observed prior."""
    context: float
    """c, of the school's mean."""
    spread: float
    """S, SD that turns distances into percentiles."""


@dataclass(frozen=True, slots=True)
class World:
    """The parameters of a cohort."""

    reliability: float
    """r, of prior scores."""
    sorting: float = 0.0
    """kappa, correlation of school effects with intake."""
    curve: float = 0.0
    """Errors grow with the distance from the middle of the scale: SD times 1 + `curve` x^2, scaled so that
    their variance over all students stays. The closed forms are then approximate."""
    students: int = 20_000
    schools: int = 200
    slope: float = 0.85
    """beta"""
    intake_sd: float = 0.40
    """omega"""
    effect_sd: float = 0.10
    """tau"""

    @property
    def error_variance(self) -> float:
        """Of observed prior scores."""
        return (1 - self.reliability) / self.reliability

    def csem(self, prior: FloatArray) -> FloatArray:
        """Return the standard errors of measurement at prior scores, both in SDs of true prior scores."""
        typical = 1 + 2 * self.curve + 3 * self.curve**2
        return np.asarray((self.error_variance / typical) ** 0.5 * (1 + self.curve * prior**2))

    @property
    def residual_variance(self) -> float:
        """Of current scores given true prior and school."""
        return 1 - self.slope**2 - self.effect_sd**2

    @property
    def shared(self) -> float:
        """Covariance of school effects and intake."""
        return self.sorting * self.effect_sd * self.intake_sd

    def comparison(self, route: Route, degree: int = 1) -> Comparison:
        """Return what a method compares scores with; `degree` is that of the extrapolating polynomial."""
        context = 0.0
        slope = self._slope(0.0)
        if route == "eiv":
            slope = self._slope(-1.0)
        elif route in ("simex", "ranked"):
            slope = self._extrapolated([self._slope(amount) for amount in LAMBDAS], degree)
            if route == "simex":
                spreads = [self._spread(self._slope(amount), 0.0, 1 + amount) for amount in LAMBDAS]
                return Comparison(slope, 0.0, self._extrapolated(spreads, degree))
        elif route == "two_step":
            within, error = 1 - self.intake_sd**2, self.error_variance
            slope = self.slope * within / (within + error)
            n = self.students / self.schools
            means = self.intake_sd**2 + within / n
            context = (self.slope - slope) * means + self.shared - slope * error / n
            context /= means + error / n
        return Comparison(slope, context, self._spread(slope, context, 1.0))

    def expected(self, method: Comparison, effect: FloatArray, intake: FloatArray) -> FloatArray:
        """Return schools' expected mean percentiles [percentile, 0-100]; without bias if `intake` is 0."""
        bias = (self.slope - method.slope - method.context) * intake
        return np.asarray(100 * ndtr((effect + bias) / self.scale(method)))

    def scale(self, method: Comparison) -> float:
        """Return the effect that moves a school's expected mean percentile from 50 to 84."""
        return float((method.spread**2 + self._within(method.slope, 1.0)) ** 0.5)

    def _slope(self, amount: float) -> float:
        """Regression of current on prior scores with (1 + `amount`) times the error variance."""
        return (self.slope + self.shared) / (1 + (1 + amount) * self.error_variance)

    def _within(self, slope: float, error: float) -> float:
        """Variance of y - b w within schools, with `error` times the error variance."""
        left = (self.slope - slope) ** 2 * (1 - self.intake_sd**2)
        return left + slope**2 * error * self.error_variance + self.residual_variance

    def _spread(self, slope: float, context: float, error: float) -> float:
        bias = self.slope - slope - context
        between = bias**2 * self.intake_sd**2 + self.effect_sd**2 + 2 * bias * self.shared
        return float((self._within(slope, error) + between) ** 0.5)

    @staticmethod
    def _extrapolated(values: list[float], degree: int) -> float:
        return float(np.polyval(np.polyfit(LAMBDAS, values, degree), -1.0))


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A cohort with its truth."""

    world: World
    table: pl.DataFrame
    """Grades 7 and 8 in one subject: student_id, year, subject, grade, score, csem, school_id. The CSEM is
    that at the observed score, as testing programs publish it; errors have that at the true score."""
    effect: FloatArray
    """theta, shape (J,), by school_id."""
    intake: FloatArray
    """mu, shape (J,)."""
    luck: FloatArray
    """Mean of e over each school's students, shape (J,)."""
    place: FloatArray
    """Percentile of each student's current score given the true prior score, shape (n,), in (0, 1)."""


def draw_world(world: World, seed: int) -> Drawn:
    """Draw a cohort; over students, effects and intakes have exactly the moments asked for."""
    rng = np.random.default_rng([seed, round(1e6 * world.reliability), round(1e6 * world.sorting)])
    n, schools = world.students, world.schools
    school = rng.integers(schools, size=n)
    size = np.bincount(school, minlength=schools)
    intake = _standard(rng.standard_normal(schools), size)
    other = rng.standard_normal(schools)
    other = _standard(other - np.average(other * intake, weights=size) * intake, size)
    effect = world.effect_sd * (world.sorting * intake + (1 - world.sorting**2) ** 0.5 * other)
    intake = world.intake_sd * intake
    within = (1 - world.intake_sd**2) ** 0.5
    true = intake[school] + within * rng.standard_normal(n)
    residual = world.residual_variance**0.5 * rng.standard_normal(n)
    observed = true + world.csem(true) * rng.standard_normal(n)
    score = world.slope * true + effect[school] + residual
    return Drawn(
        world,
        pl.concat([_year(2024, 7, observed, school, world), _year(2025, 8, score, school, world)]),
        effect,
        intake,
        np.bincount(school, weights=residual, minlength=schools) / size,
        ndtr((score - world.slope * true) / (world.residual_variance + world.effect_sd**2) ** 0.5),
    )


def _standard(values: FloatArray, size: IntArray) -> FloatArray:
    """Centre and scale school values to mean 0 and SD 1 over students."""
    centred = values - np.average(values, weights=size)
    return np.asarray(centred / np.average(centred**2, weights=size) ** 0.5)


def _year(year: int, grade: int, score: FloatArray, school: IntArray, world: World) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "student_id": pl.int_range(len(score), eager=True).cast(pl.String).str.zfill(8),
            "year": pl.Series([year], dtype=pl.Int32).new_from_index(0, len(score)),
            "subject": pl.Series(["MATH"]).new_from_index(0, len(score)),
            "grade": pl.Series([grade], dtype=pl.Int16).new_from_index(0, len(score)),
            "score": MEAN + POINTS * score,
            "csem": POINTS * world.csem(score),
            "school_id": pl.Series(school).cast(pl.String).str.zfill(4),
        }
    )
