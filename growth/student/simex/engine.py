"""SIMEX and ranked SIMEX percentiles of a cohort whose curves have been fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from growth._types import FloatArray
from growth.panel import Panel
from growth.quantile import QuantileProcess
from growth.spec import GrowthSpec
from growth.student.result import percentile_ranks
from growth.student.simex.curves import Watch, corrected_curves
from growth.student.simex.draws import Perturbed
from growth.student.simex.places import SimexGrowth, place_in, ranked

__all__ = ["simex_growth"]


def simex_growth(
    panel: Panel,
    process: QuantileProcess,
    design: FloatArray,
    spec: GrowthSpec,
    *,
    perturbed: Perturbed | None = None,
    n_jobs: int | None = None,
    watch: Watch | None = None,
    folder: Path | None = None,
) -> SimexGrowth:
    """Correct a cohort's percentiles for measurement error in the priors.

    Parameters
    ----------
    panel : Panel
        With CSEMs.
    process : QuantileProcess
        The fit to the scores as they are.
    design : ndarray, shape (n, p)
        Its design.
    spec : GrowthSpec
    perturbed, n_jobs, watch, folder
        As in `corrected_curves`.

    Returns
    -------
    SimexGrowth

    Raises
    ------
    ColumnError, ConvergenceError, SpecError
        As `corrected_curves`.
    """
    digits = spec.quantiles.round_digits
    curves = process.predict(
        design, rearrange=spec.quantiles.rearrange, digits=None if digits == "none" else digits
    )
    curves = corrected_curves(
        panel, process, curves, spec, perturbed=perturbed, n_jobs=n_jobs, watch=watch, folder=folder
    )
    places = place_in(curves, panel.score, process.taus)
    return SimexGrowth(
        sgp=np.clip(places.below, 1, 99),
        percentile=places.percentile,
        sgp_ranked=ranked(places.eighths),
        percentile_ranked=percentile_ranks(places.percentile, 1.0),
        place=places.eighths,
    )
