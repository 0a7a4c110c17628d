"""Sensitivity studies: many specifications on one table, and which decision matters."""

from growth.study.factors import Range
from growth.study.result import Study
from growth.study.run import run_study

__all__ = ["Range", "Study", "run_study"]
