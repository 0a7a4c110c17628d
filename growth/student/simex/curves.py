r"""Curves corrected for measurement error: simulate, refit, extrapolate.

For each :math:`\lambda` of the specification and each replicate b the priors get additional error of variance
:math:`\lambda \sigma_i^2`, all quantiles are fitted again, and every student's curves are read off at the
student's own perturbed priors, sorted and rounded. Their means over the replicates,
:math:`\bar Q_{it}(\lambda)`, together with the curves at :math:`\lambda = 0`, are extrapolated by a
least-squares polynomial to :math:`\lambda = -1`, where the error would be gone; then sorted again.
Coefficients are never extrapolated.

Knots are placed once per lambda and prior, on the perturbed scores of all replicates together, so that no
score lies outside.

A least-squares extrapolation is a fixed linear combination :math:`\sum_l c_l \bar Q_{it}(\lambda_l)`: two
n x m sums are all that is held, however many replicates there are. Lambdas do not depend on each other, nor
on the fit at 0: each is a piece of work of its own, which other processes may do (`level_sum` with a folder).
Within one, replicates are refitted side by side, `BLOCK` at a time, all from the same earlier fit; then
students are taken in chunks, each adding its replicates in their order. Every number is therefore the same
for any number of threads and processes, and after any interruption.

Memory: two n x m sums (16 n m bytes), the designs of a block (8 BLOCK n p bytes) and the perturbed priors of
one lambda, twice (16 B n k bytes).

References
----------
.. [1] J. R. Cook and L. A. Stefanski (1994), Simulation-extrapolation estimation in parametric measurement
   error models, JASA 89(428), 1314-1328.
.. [2] Y. Shang, A. VanIwaarden and D. W. Betebenner (2015), Covariate measurement error correction for
   student growth percentiles using the SIMEX method, EM:IP 34(1), 4-14.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol, TypeAlias

import numpy as np
from joblib import Parallel, delayed

from growth._types import FloatArray, IntArray
from growth.errors import SpecError, problem
from growth.panel import Panel
from growth.quantile import QuantileProcess, SplineBasis, fit_quantiles, spline_design
from growth.spec import GrowthSpec, Simex
from growth.student.simex.checkpoint import Checkpoint, State
from growth.student.simex.draws import Draws, Perturbed, moved_covariates, sample_rows

__all__ = [
    "BLOCK",
    "Columns",
    "How",
    "Stage",
    "Watch",
    "blocks_of",
    "corrected_curves",
    "extrapolation_weights",
    "level_sum",
]

BLOCK = 10
"""Replicates that are refitted side by side, and after which an interrupted run may go on."""
CHUNK = 1024
"""Students whose sums stay in the processor's cache while the replicates of a block are added."""
SAVED_EVERY = 5.0
"""Time after which the sum so far is worth a file [s]; it is n m numbers."""
DECIMALS = 9
"""Decimals of the result. Curves that pass through a score at every lambda still do so at -1; without this,
rounding errors would decide on which side."""

Watch: TypeAlias = Callable[[str], None]
"""Called after each block with what has been done."""


def corrected_curves(
    panel: Panel,
    process: QuantileProcess,
    curves: FloatArray,
    spec: GrowthSpec,
    *,
    perturbed: Perturbed | None = None,
    n_jobs: int | None = None,
    watch: Watch | None = None,
    folder: Path | None = None,
) -> FloatArray:
    """Return the conditional quantiles at true prior scores, shape (n, m), ascending [scale-score points].

    Parameters
    ----------
    panel : Panel
        With CSEMs.
    process : QuantileProcess
        The fit to the scores as they are; its taus are fitted again.
    curves : ndarray, shape (n, m)
        Its curves at the scores as they are, sorted and rounded as the specification says.
    spec : GrowthSpec
        ``simex``; ``basis`` (its fixed knots belong to unperturbed scores and are not used), ``quantiles``.
    perturbed : callable, optional
        Perturbed priors to use instead of drawing them: called with the position of a lambda in
        ``spec.simex.lambdas`` and the replicate, it returns shape (n, k) [scale-score points].
    n_jobs : int, optional
        Threads; results do not depend on it.
    watch : callable, optional
        Called after each block of replicates with a few words.
    folder : Path, optional
        Finished blocks are kept here, and what is found here is not computed again.

    Raises
    ------
    ColumnError
        If the cohort has no CSEM.
    ConvergenceError
        If a refit could not be proven optimal.
    SpecError
        If samples are too small for the model, or `folder` comes with priors from elsewhere.
    """
    rules = spec.simex
    if folder is not None and perturbed is not None:
        raise SpecError("Perturbed priors that are handed in cannot be told apart: give no folder with them.")
    weights = extrapolation_weights(rules)
    total: FloatArray = weights[0] * curves
    how = How(n_jobs, watch, folder, perturbed)
    for level in range(len(rules.lambdas)):
        total += weights[level + 1] * (level_sum(panel, process, spec, level, how) / rules.replicates)
    total.sort(axis=1)
    return np.round(total, DECIMALS, out=total)


class Columns(Protocol):
    """What is known of a fit before it is made."""

    @property
    def taus(self) -> FloatArray:
        """Shape (m,)."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns of its design, length p."""

    @property
    def blocks(self) -> tuple[slice, ...]:
        """Columns that belong to one prior each."""


@dataclass(frozen=True, slots=True, eq=False)
class How:
    """What results do not depend on, and priors from elsewhere; see `corrected_curves`."""

    n_jobs: int | None = None
    watch: Watch | None = None
    folder: Path | None = None
    perturbed: Perturbed | None = None


def level_sum(panel: Panel, like: Columns, spec: GrowthSpec, level: int, how: How) -> FloatArray:
    """Return the sum of all replicates' curves at one lambda, shape (n, m) [scale-score points].

    Parameters
    ----------
    panel : Panel
        With CSEMs.
    like : Columns
        The quantiles and columns of the fit to the scores as they are.
    spec : GrowthSpec
    level : int
        Position of the lambda in ``spec.simex.lambdas``.
    how : How

    Raises
    ------
    ColumnError, ConvergenceError, SpecError
        As `corrected_curves`.
    """
    rules, blocks = spec.simex, blocks_of(spec.simex)
    saved = None if how.folder is None else Checkpoint.of(how.folder, panel, spec, level)
    beginning: State = 0, np.zeros((len(panel), len(like.taus)))
    done, part = beginning if saved is None else saved.load(beginning)
    for replicates in blocks[:done]:
        _tell(how.watch, rules.lambdas[level], replicates, rules)
    if done == len(blocks):
        return part
    if saved is not None:
        saved.prepare()
    source = Draws.of(panel, rules) if how.perturbed is None else how.perturbed
    stage = Stage.of(panel, spec, level, np.stack([source(level, b) for b in range(rules.replicates)]))
    anchor, last_saved = stage.first(like, how.n_jobs), perf_counter()
    for place, replicates in enumerate(blocks[done:], start=done + 1):
        stage.add(anchor, replicates, part, how.n_jobs)
        if saved is not None and (place == len(blocks) or perf_counter() - last_saved > SAVED_EVERY):
            saved.save(place, part)
            last_saved = perf_counter()
        _tell(how.watch, rules.lambdas[level], replicates, rules)
    return part


def extrapolation_weights(rules: Simex) -> FloatArray:
    """Return the weights, shape (1 + lambdas,), of the curves at 0 and at each lambda in those at -1."""
    degree = 1 if rules.extrapolation == "linear" else 2
    powers = np.vander(np.array([0.0, *rules.lambdas]), degree + 1, increasing=True)
    at_minus_one = (-1.0) ** np.arange(degree + 1)
    return np.asarray(at_minus_one @ np.linalg.pinv(powers), dtype=np.float64)


def blocks_of(rules: Simex) -> list[range]:
    """Return the replicates of each block of one lambda."""
    starts = range(0, rules.replicates, BLOCK)
    return [range(start, min(start + BLOCK, rules.replicates)) for start in starts]


def _tell(watch: Watch | None, lam: float, replicates: range, rules: Simex) -> None:
    if watch is not None:
        watch(f"lambda {lam:g}: {replicates.stop} of {rules.replicates}")


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """All replicates of one lambda."""

    panel: Panel
    spec: GrowthSpec
    level: int
    """Position of the lambda."""
    priors: FloatArray
    """Perturbed, shape (replicates, n, k) [scale-score points]."""
    bases: tuple[SplineBasis, ...]
    """Spline basis per prior, placed on all replicates together."""

    @classmethod
    def of(cls, panel: Panel, spec: GrowthSpec, level: int, priors: FloatArray) -> Stage:
        """Place the knots.

        Raises
        ------
        CohortError
            If a prior does not vary.
        """
        digits = spec.basis.round_digits
        bases = tuple(
            SplineBasis.from_scores(
                priors[:, :, j].ravel(),
                quantiles=spec.basis.knot_quantiles,
                margin=spec.basis.boundary_margin,
                digits=None if digits == "none" else digits,
                degree=spec.basis.degree,
            )
            for j in range(priors.shape[2])
        )
        return cls(panel, spec, level, priors, bases)

    def first(self, like: Columns, n_jobs: int | None) -> QuantileProcess:
        """Fit the first replicate from scratch: where all the others start."""
        design = self._design(0)
        rows = self._rows(0)
        _refuse_small_samples(self.spec.simex, len(self.panel), design.shape[1])
        return fit_quantiles(
            design[rows],
            self.panel.score[rows],
            like.taus,
            names=like.names,
            blocks=like.blocks,
            n_jobs=n_jobs,
        )

    def add(
        self, anchor: QuantileProcess, replicates: Sequence[int], sums_out: FloatArray, n_jobs: int | None
    ) -> None:
        """Refit each replicate and add its curves, shape (n, m), to the sums."""
        threads = Parallel(n_jobs=n_jobs or 1, backend="threading")
        fits = list(threads(delayed(self.refit)(anchor, b) for b in replicates))
        starts = range(0, len(self.panel), CHUNK)
        threads(delayed(self._read)(fits, slice(start, start + CHUNK), sums_out) for start in starts)

    def refit(self, anchor: QuantileProcess, replicate: int) -> tuple[QuantileProcess, FloatArray]:
        """Return the fit to a replicate, and the design of all students in it."""
        design, rows = self._design(replicate), self._rows(replicate)
        if replicate == 0:
            return anchor, design
        return anchor.refit(design[rows], self.panel.score[rows]), design

    def _read(
        self, fits: Sequence[tuple[QuantileProcess, FloatArray]], some: slice, sums_out: FloatArray
    ) -> None:
        quantiles = self.spec.quantiles
        digits = None if quantiles.round_digits == "none" else quantiles.round_digits
        for process, design in fits:
            process.add_curves(design[some], sums_out[some], rearrange=quantiles.rearrange, digits=digits)

    def _design(self, replicate: int) -> FloatArray:
        priors = self.priors[replicate]
        return spline_design(priors, self.bases, moved_covariates(self.panel, priors))

    def _rows(self, replicate: int) -> slice | IntArray:
        chosen = sample_rows(self.spec.simex, len(self.panel), self.level, replicate)
        return slice(None) if chosen is None else chosen


def _refuse_small_samples(rules: Simex, n: int, p: int) -> None:
    if 0 < rules.sample_size < min(n, 2 * p):
        raise SpecError(
            problem(
                f"simex.sample_size = {rules.sample_size} is too small for a model of {p} columns",
                rule="twice as many students as columns, or 0 for all",
            )
        )
