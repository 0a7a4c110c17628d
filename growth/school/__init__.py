"""School growth: means, medians, standard errors, shrinkage, groups, growth percentiles with rank bands."""

from growth.school.blocks import Variance
from growth.school.fairness import Ledger, fairness_ledger
from growth.school.growth import SchoolGrowth, school_growth
from growth.school.norms import Norms, ReferenceNorm

__all__ = [
    "Ledger",
    "Norms",
    "ReferenceNorm",
    "SchoolGrowth",
    "Variance",
    "fairness_ledger",
    "school_growth",
]
