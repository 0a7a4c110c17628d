"""Every policy choice on one page: the frozen `GrowthSpec` and its presets."""

from growth.spec.model import (
    Basis,
    Cohorts,
    Columns,
    Correction,
    Groups,
    GrowthSpec,
    Knots,
    Levels,
    Peers,
    Quantiles,
    Scale,
    School,
)

__all__ = [
    "Basis",
    "Cohorts",
    "Columns",
    "Correction",
    "Groups",
    "GrowthSpec",
    "Knots",
    "Levels",
    "Peers",
    "Quantiles",
    "Scale",
    "School",
]
