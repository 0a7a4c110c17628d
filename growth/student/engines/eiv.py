"""Errors-in-variables prediction: the slopes of true priors, from observed priors and their CSEM.

Observed priors are true ones plus error, and least squares on them is attenuated: it expects too little of
students with high priors, and schools with able intakes look better than they are. This engine removes the
error's part from the moments (Fuller 1987; formulas in `growth.student.least_squares` and in
`growth.student.design.power_terms`), school means of priors included. It is the route of the CORE districts'
vendor.

The expected score is the prediction at the *observed* priors. For a single student it is therefore not the
best guess, and residuals correlate with observed priors; errors of measurement average out over the students
of a school, for which these residuals are meant.

References
----------
.. [1] W. A. Fuller (1987), Measurement Error Models, Wiley.
.. [2] J. R. Lockwood and D. F. McCaffrey (2014), Correcting for test score measurement error in ANCOVA models
   for estimating treatment effects, JEBS 39(1), 22-52.
"""

from __future__ import annotations

import warnings

from growth.errors import GrowthWarning, SpecError, problem
from growth.panel import Panel
from growth.panel.panels import PRIOR_MEAN
from growth.spec import GrowthSpec
from growth.student.design import power_terms
from growth.student.engines.linear import LinearGrowth, placed, placed_frozen, predicted
from growth.student.frozen import FrozenCohort

__all__ = ["eiv_growth", "require_known_errors"]


def eiv_growth(panel: Panel, spec: GrowthSpec, frozen: FrozenCohort | None = None) -> LinearGrowth:
    """Predict the scores of a cohort from its true priors and rank the residuals; or take a frozen model.

    Raises
    ------
    CohortError
        If there are no more students than columns, or the CSEMs leave too little true variance
        (``student.not_definite``).
    SpecError
        If the panel has no CSEM, or a covariate whose error is not known.
    """
    require_known_errors(panel)
    if frozen is not None:
        return placed_frozen(panel, spec, frozen)
    terms = power_terms(panel, spec, panel.csem)
    partial = spec.student.not_definite == "partial"
    fit = predicted(panel, terms.matrix, terms.names, errors=terms.errors, partial=partial)
    if fit.capped:
        warnings.warn(
            f"{panel.key}: only a part of the measurement error is removed from {fit.capped} of "
            f"{len(fit.names)} combinations of columns, because all of it would leave a share of true "
            f"variance of {fit.least_reliability:.2f}. Results may stay partly biased towards schools with "
            "able intakes.",
            GrowthWarning,
            stacklevel=2,
        )
    return placed(panel, fit)


def require_known_errors(panel: Panel) -> None:
    """Let through priors with CSEM, covariates without error, and the school mean whose error is known.

    Raises
    ------
    SpecError
        If the panel has no CSEM, or a covariate whose error is not known.
    """
    if panel.csem is None:
        raise SpecError(f"{panel.key}: the engine 'eiv' needs the CSEM of the priors (measurement.csem).")
    strange = [n for n in panel.covariate_names if "prior" in n.split(":") and n != PRIOR_MEAN]
    if strange:
        raise SpecError(
            problem(
                f"{panel.key}: the engine 'eiv' does not know the error in the columns {', '.join(strange)}",
                rule="priors, their school mean, flags and categories",
                fix="leave interactions with 'prior' out of peers, or choose another engine",
            )
        )
