"""A quantile-regression library in its own right: spline bases and exact, certified quantile processes."""

from growth.quantile.basis import SplineBasis, spline_design
from growth.quantile.fit import fit_quantiles
from growth.quantile.process import QuantileProcess
from growth.quantile.scores import Scores

__all__ = ["QuantileProcess", "Scores", "SplineBasis", "fit_quantiles", "spline_design"]
