"""Simulation-extrapolation (SIMEX): percentiles corrected for measurement error in the prior scores."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from growth.spec.part import PART

if TYPE_CHECKING:
    from growth.spec.model import GrowthSpec

__all__ = ["Simex", "refuse_contradictions"]


class Simex(BaseModel):
    """Simulation-extrapolation of the fitted curves, with and without ranking.

    Cook & Stefanski (1994); Shang, VanIwaarden & Betebenner (2015); Castellano & McCaffrey (2017).
    """

    model_config = PART

    use: Literal["none", "simex"] = "none"
    """With "simex", students get `sgp_simex` and `sgp_simex_ranked` beside the uncorrected `sgp`. The engine
    is `quantile`, and `measurement.csem` says how far scores are from true ones."""
    lambdas: tuple[Annotated[float, Field(gt=0.0, allow_inf_nan=False)], ...] = (0.5, 1.0, 1.5, 2.0)
    """Increasing: error of variance lambda x CSEM^2 is added; lambda = 0, the scores as they are, goes
    without saying."""
    replicates: int = Field(50, ge=1, le=10_000)
    """Draws and refits per lambda (R package: 20 in the function, 75 in the pipeline). With 50, two of its
    runs of a cohort of 4,245 differ by 2 percentile points per student."""
    extrapolation: Literal["linear", "quadratic"] = "linear"
    """Least-squares polynomial in lambda, read off at -1 for each curve of each student. Linear, as in the R
    package, has the smaller error for one student, and leaves a quarter to a half of the bias of school
    results; quadratic leaves a sixth at most (`benchmarks/results/truth.md`)."""
    sample_size: int = Field(0, ge=0)
    """Refit on a simple random sample of so many students per replicate, and predict all; 0 for all (R
    package: all in the function, 5000 in the pipeline). Smaller samples than twice the number of columns of
    the model are refused."""
    draws: Literal["shared", "student"] = "shared"
    """One draw per distinct pair of prior and current score, as in the R package, or one per student."""
    seed: int = Field(314_159, ge=0)
    """Of the errors that are added and of the samples."""

    @model_validator(mode="after")
    def _extrapolates(self) -> Self:
        if any(a >= b for a, b in pairwise(self.lambdas)):
            raise ValueError("simex.lambdas must increase")
        least = 1 if self.extrapolation == "linear" else 2
        if len(self.lambdas) < least:
            raise ValueError(f"a {self.extrapolation} extrapolation needs {least} or more simex.lambdas")
        return self


def refuse_contradictions(spec: GrowthSpec) -> None:
    """Raise ValueError if other parts of a specification do not go with its SIMEX part."""
    if spec.simex.use == "none":
        if spec.simex != Simex():
            raise ValueError('simex has choices without effect: add simex.use = "simex", or leave them out')
        if spec.school.percentile.startswith("simex"):
            raise ValueError(f'school.percentile = {spec.school.percentile!r} needs simex.use = "simex"')
        return
    if spec.student.engine != "quantile":
        raise ValueError(
            f'simex.use = "simex" corrects fitted curves: student.engine = "quantile", not '
            f'{spec.student.engine!r} ("eiv" has a correction of its own)'
        )
    if spec.measurement.csem == "none":
        raise ValueError(
            'simex.use = "simex" needs the CSEM of the priors: measurement.csem = "column", "table" '
            'or "function"'
        )
    if spec.school.percentile.startswith("simex") and spec.school.aggregate == "mean_residual":
        raise ValueError(
            f"school.percentile = {spec.school.percentile!r} is corrected, and the residuals of "
            'school.aggregate = "mean_residual" are not: choose "mean", or student.engine = "eiv"'
        )
    if spec.peers.composition == "two_step":
        raise ValueError(
            'simex.use = "simex" and peers.composition = "two_step" would correct school results twice: what '
            "error in the priors adds to them goes with the schools' mean prior, which two steps take out. "
            'Use peers.composition = "one_step" (the mean is perturbed as well) or "none"'
        )
    if spec.correction.loss_hoss:
        raise ValueError(
            "correction.loss_hoss keeps curves on the scale and SIMEX extrapolates them off it: choose one"
        )
    if spec.quantiles.taus is not None or spec.quantiles.count != 100:
        raise ValueError('simex.use = "simex" needs the 100 taus of quantiles.count = 100')
