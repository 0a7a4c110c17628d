"""Sensitivity studies: many specifications on one table, and which decision matters."""

from growth.study.compare import Comparison, compare_runs
from growth.study.factors import Range
from growth.study.file import read_study
from growth.study.result import Study
from growth.study.run import run_study
from growth.study.selection import Selection, compare_specs

__all__ = [
    "Comparison",
    "Range",
    "Selection",
    "Study",
    "compare_runs",
    "compare_specs",
    "read_study",
    "run_study",
]
