r"""EBLP: the growth of a school in some blocks, predicted from its results in all of them.

Model of Lockwood, Castellano & McCaffrey (2022), student i in block b (a year x grade x subject) of school s:

.. math::
    Y_{ib} = \alpha_{\text{pattern},b} + \mu_s + \theta_{sb} + e_{ib}, \quad \sum_b \theta_{sb} = 0, \quad
    \mathrm{Var}\,\theta_s = G, \quad \mathrm{Var}\,e_i = R.

:math:`\mu_s` is one fixed effect per school: a block borrows from the school's other blocks, never from other
schools. The gain is large for one year or one subject and small for the mean over all blocks. Cell effects
:math:`\alpha` are least squares beside schools (`moments.cell_effects`), R and G moments
(`moments.residual_covariance`, `between`), both projected to covariance matrices (`project`), predictions and
mean squared errors closed formulas (`predict`). Not knowing G adds a school jackknife term; :math:`\alpha`
and R count as known. In simulated systems of 60 to 400 schools and 4 to 16 blocks stated mean squared errors
are within 4 % of the realised ones.

References
----------
.. [1] J. R. Lockwood, K. E. Castellano and D. F. McCaffrey (2022), Improving accuracy and stability of
   aggregate student growth measures using empirical best linear prediction, J. of Educational and Behavioral
   Statistics 47(5), 544-575.
.. [2] N. J. Higham (2002), IMA Journal of Numerical Analysis 22(3), 329-343.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from growth._types import FloatArray, IntArray
from growth.errors import CohortError, SpecError, problem
from growth.school.eblp.between import Schools, between_covariance, jackknifed
from growth.school.eblp.data import Layout, StudentBlocks, layout
from growth.school.eblp.moments import cell_effects, residual_covariance
from growth.school.eblp.predict import Predicted, Refits, predict
from growth.school.eblp.project import Projection, clipped, nearest
from growth.school.eblp.target import Target, target_weights

__all__ = ["Eblp", "EblpOptions", "Known", "eblp"]

LEAST_BLOCKS = 2


@dataclass(frozen=True, slots=True)
class EblpOptions:
    """How the model is estimated."""

    cell_effects: bool = True
    """Remove differences between blocks and patterns of results; without, every alpha is 0."""
    min_pattern: int = 100
    """Patterns of fewer students are put together."""
    min_pair: int = 100
    """Covariances of student results in two blocks with fewer common students are 0."""
    projection: Projection = "nearest"
    """How an R with such zeros becomes a covariance matrix."""
    jackknife: int = 50
    """Batches of schools that are left out in turn, one school each if there are no more; 0 for none."""
    seed: int = 20_170_813
    """Of the batches."""
    n_jobs: int | None = None
    """Threads, None for one unless a ``joblib.parallel_config`` says otherwise; results are the same bit for
    bit."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is given instead of estimated."""

    g: FloatArray | None = None
    """Shape (B, B), rows sum to 0; takes the place of the jackknife too."""
    r: FloatArray | None = None
    """Shape (B, B)."""
    batch: IntArray | None = None
    """Jackknife batch of each school, shape (S,); -1 for none."""


@dataclass(frozen=True, slots=True, eq=False)
class Eblp:
    """Predictions with what they rest on."""

    schools: pl.DataFrame
    """One row per target and school: target, school (code), n (all its results), n_target, blocks, mu,
    mu_mse, direct, direct_mse, blp, blp_mse, hybrid, hybrid_mse, used ("blp" where its MSE is the smaller,
    else "direct"), prmse (1 - blp_mse / direct_mse). Null where a school has none of the target's blocks."""
    predicted: Predicted
    """The same as arrays, and predictions of every block."""
    means: Schools
    """Block means, cell effects and counts of schools."""
    g: FloatArray
    """Covariance of effects in use, shape (B, B)."""
    g_moments: FloatArray
    """Its estimate before the projection."""
    r: FloatArray
    """Covariance of student results in use, shape (B, B)."""
    r_moments: FloatArray
    """Its estimate before the projection."""
    batch: IntArray
    """Jackknife batch of each school, -1 for none, shape (S,)."""
    cells: int
    """Blocks x patterns whose effects were removed."""
    between_schools: float
    """Variance of mu between schools, weighted by students, noise taken off."""


def eblp(
    students: StudentBlocks,
    targets: Mapping[str, Target],
    options: EblpOptions | None = None,
    known: Known | None = None,
) -> Eblp:
    """Predict school growth from all years, grades and subjects.

    Parameters
    ----------
    students : StudentBlocks
        Student results of S schools in B >= 2 blocks.
    targets : mapping of name to Target
        What is wanted; all of them come from one fit.
    options : EblpOptions, optional
    known : Known, optional
        Covariances that are given instead of estimated.

    Returns
    -------
    Eblp

    Raises
    ------
    ColumnError
        If codes or values cannot be used, or a block is too small for its variance.
    CohortError
        If there are too few blocks, or two of them are never seen in the same school.
    SpecError
        If a target or a given matrix cannot be used.
    """
    options, known = options or EblpOptions(), known or Known()
    _check(students, known)
    # The library behind numpy adds in another order with another number of threads.
    with threadpool_limits(limits=1, user_api="blas"):
        rows = layout(students, options.min_pattern)
        schools = _means(rows, cell_effects(rows) if options.cell_effects else np.zeros(rows.cells))
        r_moments, zero = (
            residual_covariance(rows, options.min_pair)
            if known.r is None
            else (known.r, np.zeros(known.r.shape, np.bool_))
        )
        r = nearest(r_moments, zero, options.projection) if known.r is None else r_moments
        g_moments = between_covariance(schools, r_moments) if known.g is None else known.g
        g = clipped(g_moments) if known.g is None else g_moments
        batch = _batches(schools, options, known)
        without = tuple(jackknifed(schools, r_moments, batch)) if batch.max(initial=-1) > 0 else ()
        weights = np.stack([target_weights(target, schools.size) for target in targets.values()])
        predicted = predict(schools, Refits(g, r, without), weights, options.n_jobs)
    return Eblp(
        schools=_frame(list(targets), weights, schools, predicted),
        predicted=predicted,
        means=schools,
        g=g,
        g_moments=g_moments,
        r=r,
        r_moments=r_moments,
        batch=batch,
        cells=rows.cells if options.cell_effects else 0,
        between_schools=_between_schools(schools, predicted),
    )


def _means(rows: Layout, effects: FloatArray) -> Schools:
    shape = rows.size.shape
    place = rows.school * shape[1] + rows.block
    n = np.maximum(rows.size, 1)
    total = np.bincount(place, rows.value, rows.size.size).reshape(shape)
    alpha = np.bincount(place, effects[rows.cell], rows.size.size).reshape(shape)
    return Schools(total / n, alpha / n, rows.size, rows.common())


def _batches(schools: Schools, options: EblpOptions, known: Known) -> IntArray:
    """Return the jackknife batch of each school; schools with one block say nothing of G."""
    batch = np.full(len(schools.size), -1)
    if known.batch is not None:
        return known.batch
    if known.g is not None or options.jackknife == 0:
        return batch
    several = np.flatnonzero(schools.seen.sum(axis=1) > 1)
    count = min(options.jackknife, len(several))
    label = np.arange(len(several)) % count
    if count < len(several):
        label = np.random.default_rng(options.seed).permutation(label)
    batch[several] = label
    return batch


def _between_schools(schools: Schools, predicted: Predicted) -> float:
    share = schools.size.sum(axis=1) / schools.size.sum()
    here = share > 0
    share, mu, mse = share[here], predicted.mu[here], predicted.mu_mse[here]
    return float(share @ mu**2 - share @ mse - (share @ mu) ** 2 + share**2 @ mse)


def _frame(names: list[str], weights: FloatArray, schools: Schools, found: Predicted) -> pl.DataFrame:
    parts = []
    for t, name in enumerate(names):
        direct, direct_mse = found.direct[:, t], found.direct_mse[:, t]
        blp, blp_mse = found.target[:, t], found.target_mse[:, t]
        better = blp_mse < direct_mse
        none = np.isnan(direct)
        used = np.where(better, "blp", "direct").astype(object)
        used[none] = None
        parts.append(
            pl.DataFrame(
                {
                    "target": pl.repeat(name, len(blp), eager=True),
                    "school": np.arange(len(blp)),
                    "n": schools.size.sum(axis=1),
                    "n_target": np.where(weights[t] > 0, schools.size, 0).sum(axis=1),
                    "blocks": schools.seen.sum(axis=1),
                    "mu": found.mu,
                    "mu_mse": found.mu_mse,
                    "direct": direct,
                    "direct_mse": direct_mse,
                    "blp": blp,
                    "blp_mse": blp_mse,
                    "hybrid": np.where(better, blp, direct),
                    "hybrid_mse": np.where(better, blp_mse, direct_mse),
                    "used": used.tolist(),
                    "prmse": 1.0 - blp_mse / np.where(none, np.nan, direct_mse),
                },
                schema_overrides={"used": pl.String},
            )
        )
    return pl.concat(parts).with_columns(pl.col(pl.Float64).fill_nan(None))


def _check(students: StudentBlocks, known: Known) -> None:
    if students.blocks < LEAST_BLOCKS:
        raise CohortError(problem("There is one block only", rule="a block borrows from other blocks"))
    for name, matrix in (("G", known.g), ("R", known.r)):
        if matrix is None:
            continue
        usable = matrix.shape == (students.blocks,) * 2 and np.isfinite(matrix).all()
        if not usable or not np.allclose(matrix, matrix.T):
            rule = f"a symmetric matrix of {students.blocks} rows"
            raise SpecError(problem(f"The given {name} cannot be used", rule=rule))
    if known.g is not None and not np.allclose(known.g.sum(axis=1), 0.0, atol=1e-8):
        raise SpecError(
            problem("The rows of the given G do not sum to 0", rule="effects sum to 0 over blocks")
        )
