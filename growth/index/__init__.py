"""From school growth percentiles to levels on kept cut points."""

from growth.index.levels import LevelArray, LevelCuts, assign_levels, level_cuts, level_table

__all__ = ["LevelArray", "LevelCuts", "assign_levels", "level_cuts", "level_table"]
