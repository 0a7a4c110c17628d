r"""The covariance G of school-by-block effects, and its jackknife.

For a school with observed blocks, y its block means less the cell effects, :math:`\pi` its shares of students
and :math:`D = I - 1\pi'`: the deviations :math:`r = Dy` from its own level have

.. math:: E[r r'] - D R_s D' = D G D', \quad G = A G^* A', \quad A = [I; -1'],

as effects sum to zero over all blocks. Both sides are summed over schools, and :math:`G^*` is one weighted
least-squares fit to the B (B + 1) / 2 sums, weighted by the number of schools with both blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lstsq

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import CohortError, problem
from growth.school.eblp.project import clipped

__all__ = ["Schools", "between_covariance", "jackknifed", "noise"]

CHUNK = 256
"""Schools that are worked on together."""


@dataclass(frozen=True, slots=True, eq=False)
class Schools:
    """Block means of S schools in B blocks."""

    mean: FloatArray
    """Y, shape (S, B); 0 where not observed."""
    alpha: FloatArray
    """Mean cell effect of the rows behind each mean, shape (S, B)."""
    size: IntArray
    """n, shape (S, B)."""
    common: IntArray
    """Students in both of two blocks, shape (S, B, B)."""

    @property
    def seen(self) -> BoolArray:
        """Observed blocks, shape (S, B)."""
        return np.asarray(self.size > 0)

    @property
    def less_alpha(self) -> FloatArray:
        """Y - alpha, shape (S, B)."""
        return self.mean - self.alpha

    @property
    def weight(self) -> FloatArray:
        """Schools with both of two blocks, shape (B, B)."""
        seen = self.seen.astype(np.float64)
        return seen.T @ seen


def noise(r: FloatArray, common: IntArray, size: IntArray) -> FloatArray:
    """Return R_s, the covariances of noise of the block means of schools: ``R n_bc / (n_b n_c)``."""
    n = np.maximum(size, 1).astype(np.float64)
    return np.asarray(r * common / (n[:, :, None] * n[:, None, :]))


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Both sides of the fit, summed over schools."""

    moments: FloatArray
    """Shape (P,), P = B (B + 1) / 2."""
    design: FloatArray
    """Shape (P, B (B - 1) / 2)."""

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(self.moments - other.moments, self.design - other.design)

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(self.moments + other.moments, self.design + other.design)


def between_covariance(schools: Schools, r: FloatArray) -> FloatArray:
    """Return the estimate of G before its projection, shape (B, B).

    Raises
    ------
    CohortError
        If two blocks are never seen in the same school: their covariance cannot be estimated.
    """
    apart = int(np.count_nonzero(np.triu(schools.weight == 0, 1)))
    if apart:
        raise CohortError(
            problem(
                f"{apart} pairs of blocks are never seen in the same school",
                rule="the covariance of two blocks is estimated from schools with both",
                fix="fit schools of different grade spans apart, or leave out blocks",
            )
        )
    return _solve(_sum(schools, r, np.flatnonzero(_several(schools))), schools.weight)


def jackknifed(schools: Schools, r: FloatArray, batch: IntArray) -> Iterator[FloatArray]:
    """Yield G, projected, without each batch of schools; cell effects, R and weights stay.

    Sums of a batch are taken off the sums of all: the data are not fitted again.

    Parameters
    ----------
    batch : ndarray, shape (S,)
        Batch 0..J-1 of each school with two or more blocks; -1 for the others.
    """
    count = int(batch.max()) + 1
    total = _sum(schools, r, np.flatnonzero(batch >= 0))
    for k in range(count):
        yield clipped(_solve(total - _sum(schools, r, np.flatnonzero(batch == k)), schools.weight))


def _several(schools: Schools) -> BoolArray:
    return np.asarray(schools.seen.sum(axis=1) > 1)


def _sum(schools: Schools, r: FloatArray, which: IntArray) -> _Sums:
    blocks = schools.size.shape[1]
    i, j = np.triu_indices(blocks)
    k, l = np.triu_indices(blocks - 1)
    moments = np.zeros((blocks, blocks))
    products = np.zeros((blocks * (blocks - 1),) * 2)
    y = schools.less_alpha
    for start in range(0, len(which), CHUNK):
        part = which[start : start + CHUNK]
        seen, size = schools.seen[part], schools.size[part]
        share = size / size.sum(axis=1, keepdims=True)
        d = seen[:, :, None] * (np.eye(blocks) * seen[:, None, :] - share[:, None, :])
        deviation = np.einsum("sbc,sc->sb", d, y[part])
        off = d @ noise(r, schools.common[part], size) @ d.transpose(0, 2, 1)
        moments += deviation.T @ deviation - off.sum(axis=0)
        across = (d[:, :, :-1] - d[:, :, -1:]).reshape(len(part), -1)
        products += across.T @ across
    four = products.reshape(blocks, blocks - 1, blocks, blocks - 1)[i, :, j, :]
    design = four + four.transpose(0, 2, 1)
    design[:, np.arange(blocks - 1), np.arange(blocks - 1)] *= 0.5
    return _Sums(moments[i, j], design[:, k, l])


def _solve(sums: _Sums, weight: FloatArray) -> FloatArray:
    blocks = len(weight)
    root = np.sqrt(weight[np.triu_indices(blocks)])
    star = lstsq(root[:, None] * sums.design, root * sums.moments, lapack_driver="gelsy")[0]
    inner = np.zeros((blocks - 1, blocks - 1))
    inner[np.triu_indices(blocks - 1)] = star
    inner = inner + inner.T - np.diag(np.diag(inner))
    a = np.vstack([np.eye(blocks - 1), -np.ones(blocks - 1)])
    return np.asarray(a @ inner @ a.T)
