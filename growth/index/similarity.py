r"""How far apart schools are in their students.

Traits x of schools, as deviations from the mean of schools with the same grades, in units of their pooled SD;
R their correlation matrix pooled over grade spans. The ridge-whitened Mahalanobis distance is

.. math::
    d(j, k) = \sqrt{(x_j - x_k)' (R + \lambda I)^{-1} (x_j - x_k)}.

Traits that say the same thing count less than twice, and shares that add up to one do no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from scipy.spatial.distance import cdist, pdist
from threadpoolctl import threadpool_limits

from growth._types import FloatArray, IntArray
from growth.errors import TableError, problem
from growth.index.profiles import traits_of

__all__ = ["Space", "between", "one_blas_thread", "span_quantiles", "whiten"]


_F = TypeVar("_F", bound=Callable[..., object])


def one_blas_thread(function: _F) -> _F:
    """Let sums be added in one order within `function`, so that ties fall alike on every machine."""
    wrapped: _F = threadpool_limits.wrap(limits=1, user_api="blas")(function)
    return wrapped


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """The J schools of a table of profiles, in coordinates whose Euclidean distance is theirs."""

    profiles: pl.DataFrame
    """J rows, sorted by school_id, none withheld."""
    traits: tuple[str, ...]
    """Traits that vary, T of them."""
    standard: FloatArray
    """Traits in pooled SDs, shape (J, T)."""
    whitened: FloatArray
    """Shape (J, T)."""
    span: IntArray
    """Grade span of each school as a code, shape (J,)."""
    spans: tuple[str, ...]
    """Grade span of each code."""

    def __len__(self) -> int:
        return self.profiles.height

    @property
    def ids(self) -> list[str]:
        """The schools, in order."""
        found: list[str] = self.profiles["school_id"].to_list()
        return found


def whiten(profiles: pl.DataFrame, ridge: float) -> Space:
    """Place schools in the space of their traits.

    Parameters
    ----------
    profiles : polars.DataFrame
        See `growth.index.profiles.school_profiles`; withheld schools are left out.
    ridge : float
        Lambda, above 0.

    Raises
    ------
    TableError
        If a school is there twice, or no trait varies among schools of a grade span.
    """
    rows = profiles.filter(pl.col("reason").is_null()).sort("school_id")
    twice = int(rows["school_id"].is_duplicated().sum())
    if twice:
        what = "The table of profiles has schools more than once"
        raise TableError(problem(what, rule="one row per school", rows=twice, fix="choose one year"))
    names = traits_of(rows)
    spans, span = np.unique(rows["grade_span"].to_numpy(), return_inverse=True)
    values = rows.select(pl.col(name).cast(pl.Float64) for name in names).to_numpy()
    centred = np.empty_like(values)
    for code in range(len(spans)):
        members = span == code
        centred[members] = values[members] - values[members].mean(axis=0)
    freedom = max(len(rows) - len(spans), 1)
    sd = np.sqrt((centred**2).sum(axis=0) / freedom)
    varies = sd > 1e-9 * (1.0 + np.abs(values).max(axis=0, initial=0.0))
    if not varies.any():
        what = "No trait varies among schools of the same grades: there is nothing to be similar in"
        raise TableError(problem(what, rule="profiles of several schools", fix="pair more schools"))
    standard = centred[:, varies] / sd[varies]
    correlation = standard.T @ standard / freedom
    eigenvalues, vectors = np.linalg.eigh(correlation)
    whitened = standard @ (vectors / np.sqrt(np.maximum(eigenvalues, 0.0) + ridge))
    traits = tuple(name for name, keep in zip(names, varies, strict=True) if keep)
    return Space(rows, traits, standard, whitened, span.astype(np.int64), tuple(map(str, spans)))


def between(space: Space, rows: IntArray, columns: IntArray) -> FloatArray:
    """Return distances between schools, shape (len(rows), len(columns)), whatever their grades."""
    return np.asarray(cdist(space.whitened[rows], space.whitened[columns]))


def span_quantiles(space: Space, level: float) -> FloatArray:
    """Return, per grade span, a quantile of the distances between its schools, shape (spans,)."""
    found = np.zeros(len(space.spans))
    for code in range(len(space.spans)):
        members = np.flatnonzero(space.span == code)
        if len(members) > 1:
            found[code] = np.quantile(pdist(space.whitened[members]), level)
    return found
