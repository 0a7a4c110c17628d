"""School growth: means, medians, standard errors, shrinkage, groups, growth percentiles with rank bands."""

from growth.school.aggregates import Errors
from growth.school.blocks import Variance
from growth.school.columns import Column, column_table
from growth.school.comparison import compare_schools
from growth.school.enrolment import Enrolment, check_enrolment, read_enrolment
from growth.school.fairness import Ledger, fairness_ledger
from growth.school.growth import SchoolGrowth, district_growth, measure_units, school_growth, span_growth
from growth.school.history import school_history
from growth.school.inputs import Inputs, school_inputs
from growth.school.norms import Norms, ReferenceNorm
from growth.school.resampling import SampleErrors, SampleStatistics, SchoolSamples
from growth.school.tradeoff import n_size_tradeoff

__all__ = [
    "Column",
    "Enrolment",
    "Errors",
    "Inputs",
    "Ledger",
    "Norms",
    "ReferenceNorm",
    "SampleErrors",
    "SampleStatistics",
    "SchoolGrowth",
    "SchoolSamples",
    "Variance",
    "check_enrolment",
    "column_table",
    "compare_schools",
    "district_growth",
    "fairness_ledger",
    "measure_units",
    "n_size_tradeoff",
    "read_enrolment",
    "school_growth",
    "school_history",
    "school_inputs",
    "span_growth",
]
