"""What a fit hands to a refit: coordinates, and where the walk over the taus begins."""

from __future__ import annotations

from dataclasses import dataclass

from growth._types import FloatArray
from growth.quantile.prepare import Geometry

__all__ = ["Start"]


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """The solution at the tau nearest the median, in the coordinates of the search."""

    geometry: Geometry
    """Its center is the solution, its metric belongs to `n` rows."""
    curvature: FloatArray
    """Sum of w_i f_i(0) x_i x_i', shape (r, r)."""
    width: float
    """Half width of the band, in leverages."""
    n: int

    def resized(self, n: int) -> Start:
        """Return the start for another number of rows."""
        factor = n / self.n
        geometry = self.geometry.resized(factor, self.geometry.center)
        return Start(geometry, self.curvature * factor, self.width * factor**0.5, n)
