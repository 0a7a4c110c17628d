"""From school growth percentiles to levels on kept cut points, index points, pairs and communities."""

from growth.index.composite import SchoolIndex, school_index
from growth.index.definitions import RECORDS
from growth.index.growth_metric import growth_metrics
from growth.index.levels import LevelArray, LevelCuts, assign_levels, level_cuts, level_table
from growth.index.rates import MetricResult, together

__all__ = [
    "RECORDS",
    "LevelArray",
    "LevelCuts",
    "MetricResult",
    "SchoolIndex",
    "assign_levels",
    "growth_metrics",
    "level_cuts",
    "level_table",
    "school_index",
    "together",
]
