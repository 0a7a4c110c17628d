"""From school growth percentiles to levels on kept cut points, index points, pairs and communities."""

from growth.index.communities import Communities, communities
from growth.index.composite import SchoolIndex, school_index
from growth.index.definitions import RECORDS, records_of_folder
from growth.index.distance import described_levels, next_level_sentence, with_last_year
from growth.index.growth_metric import growth_metrics
from growth.index.growth_points import growth_points
from growth.index.levels import LevelArray, LevelCuts, assign_levels, level_cuts, level_table
from growth.index.metric_table import school_types
from growth.index.pairing import Pairs, lowest_schools, pair_schools
from growth.index.profiles import growth_needs, needs_of, school_profiles, with_low_groups
from growth.index.rates import MetricResult, together

__all__ = [
    "RECORDS",
    "Communities",
    "LevelArray",
    "LevelCuts",
    "MetricResult",
    "Pairs",
    "SchoolIndex",
    "assign_levels",
    "communities",
    "described_levels",
    "growth_metrics",
    "growth_needs",
    "growth_points",
    "level_cuts",
    "level_table",
    "lowest_schools",
    "needs_of",
    "next_level_sentence",
    "pair_schools",
    "records_of_folder",
    "school_index",
    "school_profiles",
    "school_types",
    "together",
    "with_last_year",
    "with_low_groups",
]
