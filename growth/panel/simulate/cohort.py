r"""One cohort whose true conditional percentiles are known in closed form.

For student *i* in school *j*, flag :math:`d_i`, and lag :math:`l = 0` (now), 1, ..., k (years back), in SDs,

.. math::
    x_{il} &= g (d_i - \bar d) + m_j + a_{il},
        & a_i &\sim N(0, (1-\omega^2) R), \quad R_{lq} = \rho^{|l-q|} \\
    w_{il} &= x_{il} + u_{il}, & u_{il} &\sim N(0, \sigma_u^2), \quad \sigma_u^2 = (1-r)/r \\
    y_i &= x_{i0} + \theta_j + u_{i0}, & m_j &\sim N(0, \omega^2), \quad \theta_j \sim N(0, \tau^2).

All is jointly Gaussian given the flag. With :math:`S = \omega^2 11' + (1-\omega^2) R_{1..k} + \sigma_u^2 I`
and :math:`c = \omega^2 1 + (1-\omega^2)(\rho, ..., \rho^k)'` the observed priors *w* give

.. math::
    b = S^{-1} c, \quad
    E[y | w, d] = g(d - \bar d) + b'(w - g(d - \bar d)), \quad
    \mathrm{Var}[y | w, d] = s^2 = 1 + \tau^2 + \sigma_u^2 - c'b .

The true percentile is :math:`\Phi((y - E[y|w,d]) / s)`. In school *j* it has the mean

.. math:: \Phi\left(\frac{\theta_j + (1 - b'1) m_j}{\sqrt{s^2 + v^2}}\right), \quad
    v^2 = (1-\omega^2)(1 - 2 b'R_{0} + b'R_{1..k}b) + \sigma_u^2 (1 + b'b),

whose second term is the bias towards schools with able intakes (Lockwood & McCaffrey 2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import ndtr

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import SpecError, problem
from growth.panel.simulate.parameters import SEED

__all__ = ["SimulatedCohort", "simulate_cohort"]

MEAN, SD = 2500.0, 100.0
_GRADE, _YEAR, _MAX_PRIORS = 8, 2025, 5


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedCohort:
    """n students in J schools with k priors; scores are not rounded [scale-score points]."""

    score: FloatArray
    """Current scores, shape (n,)."""
    priors: FloatArray
    """Observed priors, shape (n, k), most recent first."""
    flag: BoolArray
    """A student flag, shape (n,)."""
    school: IntArray
    """School numbers 0..J-1, shape (n,)."""
    percentile: FloatArray
    """True percentile of the score given observed priors and flag, shape (n,), in (0, 1)."""
    expected: FloatArray
    """True conditional mean, and median, of the score, shape (n,)."""
    spread: float
    """True conditional SD of the score."""
    effect: FloatArray
    """True school effects, shape (J,); weighted by students their mean is 0."""
    school_mean: FloatArray
    """Expected mean percentile of each school, shape (J,) [percentile, 0-100]."""

    def __repr__(self) -> str:
        n, k = self.priors.shape
        return f"SimulatedCohort(n={n:,}, priors={k}, schools={len(self.effect)}, spread={self.spread:.1f})"

    def table(self) -> pl.DataFrame:
        """Return the cohort as a student table: grade 8 in 2025, its priors in the years before.

        Student ids sort in row order, so results sorted by id align with the arrays.
        """
        n, k = self.priors.shape
        who = pl.Series(np.arange(n)).cast(pl.String).str.zfill(8)
        years = [
            pl.DataFrame(
                {
                    "student_id": who,
                    "year": np.full(n, _YEAR - lag, dtype=np.int32),
                    "subject": ["MATH"] * n,
                    "grade": np.full(n, _GRADE - lag, dtype=np.int16),
                    "score": self.score if lag == 0 else np.ascontiguousarray(self.priors[:, lag - 1]),
                    "school_id": pl.Series(self.school).cast(pl.String).str.zfill(4),
                    "flag": self.flag,
                }
            )
            for lag in range(k + 1)
        ]
        return pl.concat(years)


def simulate_cohort(
    n: int = 20_000,
    k_priors: int = 1,
    *,
    n_schools: int = 100,
    effect_sd: float = 0.10,
    intake_sd: float = 0.0,
    flag_gap: float = 0.0,
    persistence: float = 0.90,
    reliability: float = 0.92,
    seed: int = SEED,
) -> SimulatedCohort:
    r"""Simulate a Gaussian cohort with closed-form truth (formulas in the module's docstring).

    Parameters
    ----------
    n : int
        Students, assigned to schools at random.
    k_priors : int
        Prior scores, 1 to 5 years back.
    n_schools : int
        Schools, J.
    effect_sd : float
        :math:`\tau` [ability SDs]. Drawn effects are scaled to exactly this SD over students.
    intake_sd : float
        :math:`\omega`, SD between schools of the students' mean ability, below 1.
    flag_gap : float
        *g*, difference in ability of the 40 % of students with the flag [ability SDs].
    persistence : float
        :math:`\rho`, correlation of ability from year to year within schools.
    reliability : float
        *r*, of each score.
    seed : int
        Equal seeds give equal cohorts.

    Returns
    -------
    SimulatedCohort

    Raises
    ------
    SpecError
        If a size or a share is not possible.

    References
    ----------
    Lockwood, J. R., & McCaffrey, D. F. (2014). Correcting for test score measurement error in ANCOVA models
    for estimating treatment effects. *Journal of Educational and Behavioral Statistics*, 39(1), 22-52.
    """
    _check(n, k_priors, n_schools, intake_sd, reliability)
    rng = np.random.default_rng(seed)
    noise = np.sqrt((1 - reliability) / reliability)
    within = 1 - intake_sd**2
    lags = np.arange(k_priors + 1)
    correlation = persistence ** np.abs(lags[:, None] - lags)

    school = rng.integers(n_schools, size=n)
    effect = _exact(rng.standard_normal(n_schools), school, effect_sd)
    intake = _exact(rng.standard_normal(n_schools), school, intake_sd)
    flag = rng.random(n) < 0.4
    mean = flag_gap * (flag - flag.mean())
    deviation = rng.standard_normal((n, k_priors + 1)) @ np.linalg.cholesky(within * correlation).T
    observed = (mean + intake[school])[:, None] + deviation + noise * rng.standard_normal((n, k_priors + 1))
    score, priors = observed[:, 0] + effect[school], observed[:, 1:]

    recent, past = correlation[0, 1:], correlation[1:, 1:]
    covariance = intake_sd**2 + within * recent
    slope = np.linalg.solve(intake_sd**2 + within * past + noise**2 * np.eye(k_priors), covariance)
    expected = mean + (priors - mean[:, None]) @ slope
    variance = 1 + effect_sd**2 + noise**2 - covariance @ slope
    spread = float(np.sqrt(variance))
    inner = within * (1 - 2 * slope @ recent + slope @ past @ slope) + noise**2 * (1 + slope @ slope)
    shift = effect + (1 - slope.sum()) * intake
    return SimulatedCohort(
        score=MEAN + SD * score,
        priors=MEAN + SD * priors,
        flag=flag,
        school=school.astype(np.int64),
        percentile=np.asarray(ndtr((score - expected) / spread)),
        expected=MEAN + SD * expected,
        spread=SD * spread,
        effect=SD * effect,
        school_mean=np.asarray(100 * ndtr(shift / np.sqrt(variance + inner))),
    )


def _exact(draw: FloatArray, school: IntArray, sd: float) -> FloatArray:
    """Centre and scale school values so that over students their mean is 0 and their SD is `sd`."""
    centred = draw - draw[school].mean()
    return np.asarray(centred * (sd / centred[school].std()))


def _check(n: int, k_priors: int, n_schools: int, intake_sd: float, reliability: float) -> None:
    if not 2 <= n_schools <= n:
        raise SpecError(problem(f"n_schools = {n_schools}", rule="at least 2 and at most n"))
    if not 1 <= k_priors <= _MAX_PRIORS:
        raise SpecError(problem(f"k_priors = {k_priors}", rule=f"1 to {_MAX_PRIORS}"))
    if not 0 <= intake_sd < 1:
        raise SpecError(problem(f"intake_sd = {intake_sd}", rule="in [0, 1)"))
    if not 0 < reliability <= 1:
        raise SpecError(problem(f"reliability = {reliability}", rule="in (0, 1]"))
