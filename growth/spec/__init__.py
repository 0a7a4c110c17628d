"""Every policy choice on one page: the frozen `GrowthSpec` and its presets."""

from growth.spec.model import (
    Basis,
    Cohorts,
    Columns,
    Correction,
    CsemTable,
    Groups,
    GrowthSpec,
    Knots,
    Levels,
    Measurement,
    Quantiles,
    Scale,
    School,
    Student,
)
from growth.spec.peers import Peers

__all__ = [
    "Basis",
    "Cohorts",
    "Columns",
    "Correction",
    "CsemTable",
    "Groups",
    "GrowthSpec",
    "Knots",
    "Levels",
    "Measurement",
    "Peers",
    "Quantiles",
    "Scale",
    "School",
    "Student",
]
