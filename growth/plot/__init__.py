"""Pictures of results for notebooks, one call each: ``run.plot.bubbles("MATH")``."""

from growth.plot.drift import DriftPlots
from growth.plot.index import IndexPlots
from growth.plot.run import RunPlots
from growth.plot.system import SystemGrowth, system_growth

__all__ = ["DriftPlots", "IndexPlots", "RunPlots", "SystemGrowth", "system_growth"]
