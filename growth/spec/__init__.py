"""Every policy choice on one page: the frozen `GrowthSpec` and its presets."""

from growth.spec.columns import Columns, LayoutName
from growth.spec.eblp import EblpPart
from growth.spec.freeze import PARTS, Freeze, FrozenPart
from growth.spec.index import Definitions, Index, Metric
from growth.spec.intervals import Intervals, IntervalSource
from growth.spec.model import (
    Basis,
    Cohorts,
    Correction,
    CsemTable,
    GrowthSpec,
    Knots,
    Levels,
    Measurement,
    Quantiles,
    Scale,
    Student,
)
from growth.spec.pairing import Pairing
from growth.spec.peers import Peers
from growth.spec.rows import Rows
from growth.spec.school import Groups, School
from growth.spec.simex import Simex

__all__ = [
    "PARTS",
    "Basis",
    "Cohorts",
    "Columns",
    "Correction",
    "CsemTable",
    "Definitions",
    "EblpPart",
    "Freeze",
    "FrozenPart",
    "Groups",
    "GrowthSpec",
    "Index",
    "IntervalSource",
    "Intervals",
    "Knots",
    "LayoutName",
    "Levels",
    "Measurement",
    "Metric",
    "Pairing",
    "Peers",
    "Quantiles",
    "Rows",
    "Scale",
    "School",
    "Simex",
    "Student",
]
