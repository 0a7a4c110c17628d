"""Residual gain, California's growth model: least squares on the priors, cohort by cohort.

The score is predicted from the priors of both subjects (as many as the cohort's pattern holds) and the
covariates by ordinary least squares. The residual over the cohort's residual SD is comparable across grades
and subjects (`LinearGrowth.scaled`); the percentile is the residual's rank within the cohort.

References
----------
.. [1] J. R. Lockwood, K. E. Castellano and D. F. McCaffrey (2022), Improving accuracy and stability of
   aggregate student growth measures using empirical best linear prediction, JEBS 47(5), 544-575.
"""

from __future__ import annotations

from growth.panel import Panel
from growth.spec import GrowthSpec
from growth.student.design import power_terms
from growth.student.engines.linear import LinearGrowth, placed, placed_frozen, predicted
from growth.student.frozen import FrozenCohort

__all__ = ["residual_gain_growth"]


def residual_gain_growth(panel: Panel, spec: GrowthSpec, frozen: FrozenCohort | None = None) -> LinearGrowth:
    """Predict the scores of a cohort by least squares and rank the residuals; or take a frozen model.

    Raises
    ------
    CohortError
        If there are no more students than columns, or nothing is left unexplained.
    """
    if frozen is not None:
        return placed_frozen(panel, spec, frozen)
    terms = power_terms(panel, spec)
    return placed(panel, predicted(panel, terms.matrix, terms.names))
