"""School growth: means, medians, standard errors, shrinkage, groups, growth percentiles with rank bands."""

from growth.school.blocks import Variance
from growth.school.enrolment import Enrolment, check_enrolment, read_enrolment
from growth.school.fairness import Ledger, fairness_ledger
from growth.school.growth import SchoolGrowth, district_growth, school_growth, span_growth
from growth.school.norms import Norms, ReferenceNorm

__all__ = [
    "Enrolment",
    "Ledger",
    "Norms",
    "ReferenceNorm",
    "SchoolGrowth",
    "Variance",
    "check_enrolment",
    "district_growth",
    "fairness_ledger",
    "read_enrolment",
    "school_growth",
    "span_growth",
]
