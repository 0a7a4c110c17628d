"""A fitted quantile-regression process: coefficients for every tau, and the proof that they are optimal."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from growth._types import FloatArray, IntArray
from growth.errors import ColumnError, SpecError, problem
from growth.quantile.designs import plain
from growth.quantile.scores import Reading, Scores
from growth.quantile.start import Start

__all__ = ["QuantileProcess"]


@dataclass(frozen=True, slots=True, eq=False)
class QuantileProcess:
    """Exact linear quantile regressions for a grid of taus.

    Every coefficient vector is a vertex of its linear program and comes with a dual point: `dual` for the
    `basis` rows; every other row's dual value is w (tau - 1[y < x'b]). `relative_gap` is the proven distance
    from optimality.
    """

    taus: FloatArray
    """Shape (m,)."""
    coef: FloatArray
    """Shape (m, p), one column per column of the design; 0 for dropped columns."""
    objective: FloatArray
    """Sum of check losses, shape (m,) [units of the response]."""
    relative_gap: FloatArray
    """(primal - dual) / primal, shape (m,)."""
    dual: FloatArray
    """Dual values of the basic rows over their weights, in [tau - 1, tau], shape (m, rank)."""
    basis: IntArray
    """Row numbers that each solution interpolates, shape (m, rank)."""
    status: tuple[str, ...]
    """Per tau: "certified", or "fallback" (certified as well) where only the simplex on all rows arrived, or
    where a proof needed orthogonal columns."""
    counters: dict[str, IntArray] = field(repr=False)
    """Per tau, shape (m,): passes over the data, pivots, band rows, rows checked, rows added, retries."""
    names: tuple[str, ...] = ()
    """Names of the design columns."""
    dropped: tuple[int, ...] = ()
    """Design columns that depend linearly on earlier ones; they take no part in the fit."""
    n: int = 0
    """Rows with positive weight."""
    blocks: tuple[slice, ...] = field(default=(), repr=False)
    """Columns that belong together."""

    warm: bool = False
    """Whether this is a refit that started from an earlier fit."""
    start: Start | None = field(default=None, repr=False)
    """What a refit starts from."""

    @property
    def rank(self) -> int:
        """Number of linearly independent columns."""
        return int(self.coef.shape[1]) - len(self.dropped)

    @property
    def dropped_names(self) -> tuple[str, ...]:
        """Names of the dropped columns."""
        return tuple(self.names[j] if self.names else f"x{j}" for j in self.dropped)

    def __repr__(self) -> str:
        worst = float(self.relative_gap.max())
        dropped = f", dropped={list(self.dropped_names)}" if self.dropped else ""
        return (
            f"QuantileProcess({len(self.taus)} taus in [{self.taus[0]:g}, {self.taus[-1]:g}], n={self.n:,}, "
            f"p={self.coef.shape[1]}{dropped}, largest relative gap {worst:.1e})"
        )

    def refit(
        self,
        design: FloatArray,
        response: FloatArray,
        weights: FloatArray | None = None,
        *,
        n_jobs: int | None = None,
    ) -> QuantileProcess:
        """Fit the same columns and taus to other data, starting from this solution.

        For data that resemble those of this fit: measurement-error replicates, bootstrap weights, variants.
        Every solution is exact and proven, and the same as that of `fit_quantiles`; only the way to it is
        shorter. Where the start does not help (dependent columns) the fit is done from scratch and `warm` of
        the result is False.

        Parameters
        ----------
        design : ndarray, shape (n', p)
            Any number of rows.
        response : ndarray, shape (n',)
        weights : ndarray, shape (n',), optional
            Non-negative.
        n_jobs : int, optional
            Threads; at most two are used. Results do not depend on it.

        Returns
        -------
        QuantileProcess

        Raises
        ------
        ColumnError, ConvergenceError
            As `fit_quantiles`.
        SpecError
            If the design has other columns than the fit.
        """
        from growth.quantile.fit import refit_quantiles

        return refit_quantiles(self, design, response, weights, n_jobs=n_jobs)

    def predict(
        self,
        design: FloatArray,
        *,
        rearrange: bool = True,
        digits: int | None = None,
        bounds: tuple[float, float] | None = None,
    ) -> FloatArray:
        """Return the conditional quantiles, shape (n, m).

        Parameters
        ----------
        design : ndarray, shape (n, p)
            Finite.
        rearrange : bool
            Sort each row so that quantiles do not cross.
        digits : int, optional
            Decimals to round to, after sorting.
        bounds : (low, high), optional
            Clip to this range before sorting.

        Raises
        ------
        SpecError
            If the design has other columns than the fit.
        ColumnError
            If a row has no finite quantiles.
        """
        return self._reading(rearrange, digits, bounds).curves(self._checked(design))

    def add_curves(
        self, design: FloatArray, sums_out: FloatArray, *, rearrange: bool = True, digits: int | None = None
    ) -> None:
        """Add the conditional quantiles of `predict` to running sums, without storing them.

        Parameters
        ----------
        design : ndarray, shape (n, p)
            Finite.
        sums_out : ndarray, shape (n, m)
            C-contiguous; a slice of rows of a larger array will do.
        rearrange, digits
            As in `predict`.

        Raises
        ------
        SpecError
            If the design has other columns than the fit, or the sums another shape.
        ColumnError
            If a row has no finite quantiles.
        """
        design = self._checked(design)
        if sums_out.shape != (len(design), len(self.taus)):
            raise SpecError(
                f"Sums of shape {sums_out.shape}; the curves have shape {(len(design), len(self.taus))}."
            )
        self._reading(rearrange, digits, None).add_curves(design, sums_out)

    def score(
        self,
        design: FloatArray,
        response: FloatArray,
        *,
        rearrange: bool = True,
        digits: int | None = None,
        bounds: tuple[float, float] | None = None,
        n_jobs: int | None = None,
    ) -> Scores:
        """Place each response among its row's conditional quantiles without storing them.

        Rows are taken in chunks. Where the `blocks` take few distinct values, as with integer scores, fitted
        values are looked up instead of computed. Results do not depend on either, nor on the number of rows
        or threads.

        Parameters
        ----------
        design : ndarray, shape (n, p)
            Finite.
        response : ndarray, shape (n,)
        rearrange, digits, bounds
            As in `predict`.
        n_jobs : int, optional
            Threads.

        Raises
        ------
        SpecError
            If the design has other columns than the fit.
        ColumnError
            If there is not one known response per row, or if a row has no finite quantiles.

        Notes
        -----
        Memory beyond the design and the response: 32 bytes per row for the result, and at most 30 MB per
        thread (100 taus, three blocks; 5 MB with 600 distinct scores).
        """
        design = self._checked(design)
        response = plain(response)
        if response.shape != design.shape[:1]:
            raise ColumnError(
                f"The design has shape {design.shape}, the response has shape {response.shape}."
            )
        unknown = int(np.count_nonzero(np.isnan(response)))
        if unknown:
            raise ColumnError(problem("The response holds NaN", rows=unknown, fix="drop those rows"))
        return self._reading(rearrange, digits, bounds).scores(design, response, n_jobs)

    def _reading(self, rearrange: bool, digits: int | None, bounds: tuple[float, float] | None) -> Reading:
        scale = 0.0 if digits is None else 10.0**digits
        low, high = bounds or (-np.inf, np.inf)
        return Reading(self.coef, self.taus, self.blocks, rearrange, scale, (float(low), float(high)))

    def _checked(self, design: FloatArray) -> FloatArray:
        design = np.asarray(design)
        if design.ndim != 2 or design.shape[1] != self.coef.shape[1]:
            raise SpecError(
                f"The design has shape {design.shape}; this process has {self.coef.shape[1]} columns."
            )
        return design
