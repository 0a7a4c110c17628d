r"""Best linear predictions of schools, given G and R, and their mean squared errors.

For one school with observed blocks, y its block means less the cell effects :math:`\alpha`, and
:math:`V = G + R_s`:

.. math::
    \hat\mu = \frac{1'V^{-1}y}{1'V^{-1}1}, \quad
    \mathrm{BLP} = \alpha + 1\hat\mu + G V^{-1}(y - 1\hat\mu), \quad
    H = \frac{1 1'V^{-1}}{1'V^{-1}1}, \quad Q = H + G V^{-1}(I - H),

    \mathrm{MSE} = (I - Q) G (I - Q)' + Q R_s Q'.

Schools are taken together in order of their number of blocks. Blocks that one of them lacks become unit
rows and columns of V with y = 0 and a 0 in place of the 1 above, which leaves its own numbers as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed

from growth._types import BoolArray, FloatArray, IntArray
from growth.school.eblp.between import CHUNK, Schools, noise

__all__ = ["Predicted", "Refits", "predict"]


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Predictions of S schools in B blocks and for T targets; NaN where a school has no such block."""

    mu: FloatArray
    """Own level of each school, shape (S,)."""
    mu_mse: FloatArray
    """1 / 1'V^-1 1, plus the jackknife term, shape (S,)."""
    mu_jackknife: FloatArray
    """Shape (S,)."""
    blp: FloatArray
    """Shape (S, B)."""
    mse: FloatArray
    """Plug-in plus jackknife term, shape (S, B)."""
    mse_jackknife: FloatArray
    """Shape (S, B)."""
    direct: FloatArray
    """Weighted means of the observed block means, shape (S, T)."""
    direct_mse: FloatArray
    """lambda' R_s lambda, shape (S, T)."""
    target: FloatArray
    """Weighted means of the block predictions, shape (S, T)."""
    target_mse: FloatArray
    """Plug-in plus jackknife term, shape (S, T)."""
    response: FloatArray
    """By how much `target` moves with its blocks' means, all of them moved alike, shape (S, T)."""


@dataclass(frozen=True, slots=True, eq=False)
class Refits:
    """Covariances to predict with: of all schools, and of the jackknife."""

    g: FloatArray
    """Shape (B, B)."""
    r: FloatArray
    """Shape (B, B)."""
    without: tuple[FloatArray, ...] = ()
    """G without each batch of schools."""


def predict(schools: Schools, refits: Refits, weights: FloatArray, n_jobs: int | None) -> Predicted:
    """Predict every school that has a block.

    Parameters
    ----------
    weights : ndarray, shape (T, S, B)
        Rows lambda of each target; NaN where a school has none.
    """
    count = schools.seen.sum(axis=1)
    order = np.argsort(count, kind="stable")
    order = order[count[order] > 0]
    parts = [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
    run = Parallel(n_jobs=n_jobs, backend="threading")
    found = run(delayed(_predict)(schools, refits, weights[:, part], part) for part in parts)
    (targets, size), blocks = weights.shape[:2], schools.size.shape[1]
    shapes = {
        **dict.fromkeys(("mu", "mu_mse", "mu_jackknife"), (size,)),
        **dict.fromkeys(("blp", "mse", "mse_jackknife"), (size, blocks)),
        **dict.fromkeys(("direct", "direct_mse", "target", "target_mse", "response"), (size, targets)),
    }
    whole = {name: np.full(shape, np.nan) for name, shape in shapes.items()}
    for part, one in zip(parts, found, strict=True):
        for name, values in whole.items():
            values[part] = getattr(one, name)
    return Predicted(**whole)


@dataclass(frozen=True, slots=True, eq=False)
class _Packed:
    """Some schools, each with its own blocks first; w is the largest number of blocks."""

    where: IntArray
    """Block of each place, shape (s, w)."""
    real: BoolArray
    """Places that hold a block, shape (s, w)."""
    y: FloatArray
    """Shape (s, w)."""
    r_s: FloatArray
    """Shape (s, w, w)."""

    def given(self, g: FloatArray) -> _Given:
        """Solve with one G."""
        both = self.real[:, :, None] & self.real[:, None, :]
        within = np.where(both, g[self.where[:, :, None], self.where[:, None, :]], 0.0)
        v = within + self.r_s
        places = np.arange(v.shape[1])
        v[:, places, places] += ~self.real
        one = self.real.astype(np.float64)
        solved = np.linalg.solve(v, np.stack([one, self.y], axis=2))
        information = (one * solved[:, :, 0]).sum(axis=1)
        mu = (one * solved[:, :, 1]).sum(axis=1) / information
        weighted = solved[:, :, 1] - mu[:, None] * solved[:, :, 0]
        theta = np.einsum("sbc,sc->sb", within, weighted)
        level = one * mu[:, None] + theta
        return _Given(within, v, np.asarray(solved[:, :, 0], np.float64), mu, 1.0 / information, level)


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    g: FloatArray
    v: FloatArray
    solved_one: FloatArray
    """V^-1 1, shape (s, w)."""
    mu: FloatArray
    mu_variance: FloatArray
    level: FloatArray
    """mu + theta, shape (s, w)."""


def _packed(schools: Schools, r: FloatArray, part: IntArray) -> _Packed:
    seen = schools.seen[part]
    width = int(seen.sum(axis=1).max())
    where = np.argsort(~seen, axis=1, kind="stable")[:, :width]
    real = np.take_along_axis(seen, where, axis=1)
    r_s = noise(r, schools.common[part], schools.size[part])
    rows = np.arange(len(part))[:, None, None]
    return _Packed(
        where=where,
        real=real,
        y=np.where(real, np.take_along_axis(schools.less_alpha[part], where, axis=1), 0.0),
        r_s=np.where(
            real[:, :, None] & real[:, None, :], r_s[rows, where[:, :, None], where[:, None, :]], 0.0
        ),
    )


def _weights_and_mse(packed: _Packed, given: _Given) -> tuple[FloatArray, FloatArray]:
    """Return Q and the plug-in mean squared error of the block predictions, each of shape (s, w, w)."""
    one = packed.real.astype(np.float64)
    identity = np.eye(one.shape[1])
    h = one[:, :, None] * (given.solved_one * given.mu_variance[:, None])[:, None, :]
    # G V^-1 = (V^-1 G)', as both are symmetric.
    shrinks = np.linalg.solve(given.v, given.g).transpose(0, 2, 1)
    q = h + shrinks @ (identity - h)
    rest = identity - q
    found = rest @ given.g @ rest.transpose(0, 2, 1) + q @ packed.r_s @ q.transpose(0, 2, 1)
    return np.asarray(q), np.asarray(found)


class _Scatter:
    """Sums of squares about the mean, from one set of values at a time."""

    def __init__(self) -> None:
        self.values: list[FloatArray] = []

    def add(self, values: FloatArray) -> None:
        self.values.append(values)

    def term(self, like: FloatArray) -> FloatArray:
        """Return (J - 1) / J times the sum of squares about the jackknife mean; 0 without a jackknife."""
        count = len(self.values)
        if count == 0:
            return np.zeros_like(like)
        stacked = np.stack(self.values)
        squares = ((stacked - stacked.mean(axis=0)) ** 2).sum(axis=0)
        return np.asarray((count - 1) / count * squares)


def _predict(schools: Schools, refits: Refits, weights: FloatArray, part: IntArray) -> Predicted:
    packed = _packed(schools, refits.r, part)
    given = packed.given(refits.g)
    q, mse = _weights_and_mse(packed, given)
    of_target = np.take_along_axis(weights, packed.where[None], axis=2)
    # 0 * NaN is NaN: a school without the target keeps none.
    of_target = np.where(packed.real, of_target, np.where(np.isnan(of_target), np.nan, 0.0))
    scatter = {name: _Scatter() for name in ("mu", "level", "target")}
    for g in refits.without:
        again = packed.given(g)
        scatter["mu"].add(again.mu)
        scatter["level"].add(again.level)
        scatter["target"].add(np.einsum("tsb,sb->st", of_target, again.level))
    alpha = np.take_along_axis(schools.alpha[part], packed.where, axis=1)
    observed = np.where(packed.real, np.take_along_axis(schools.mean[part], packed.where, axis=1), 0.0)
    blp = given.level + np.where(packed.real, alpha, 0.0)
    target = np.einsum("tsb,sb->st", of_target, blp)
    diagonal = np.diagonal(mse, axis1=1, axis2=2)
    terms = {
        "mu": scatter["mu"].term(given.mu),
        "level": scatter["level"].term(blp),
        "target": scatter["target"].term(target),
    }

    def unpacked(values: FloatArray) -> FloatArray:
        out = np.full((len(part), schools.size.shape[1]), np.nan)
        np.put_along_axis(out, packed.where, np.where(packed.real, values, np.nan), axis=1)
        return out

    return Predicted(
        mu=given.mu,
        mu_mse=given.mu_variance + terms["mu"],
        mu_jackknife=terms["mu"],
        blp=unpacked(blp),
        mse=unpacked(diagonal + terms["level"]),
        mse_jackknife=unpacked(terms["level"]),
        direct=np.einsum("tsb,sb->st", of_target, observed),
        direct_mse=np.einsum("tsb,sbc,tsc->st", of_target, packed.r_s, of_target, optimize=True),
        target=target,
        target_mse=np.einsum("tsb,sbc,tsc->st", of_target, mse, of_target, optimize=True) + terms["target"],
        response=np.einsum("tsb,sbc,tsc->st", of_target, q, of_target != 0.0, optimize=True),
    )
