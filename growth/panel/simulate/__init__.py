"""Synthetic tables and cohorts with known truth."""

from growth.panel.simulate.cohort import SimulatedCohort, simulate_cohort
from growth.panel.simulate.parameters import SystemParameters
from growth.panel.simulate.records import SimulatedRecords, simulate_records
from growth.panel.simulate.scale import SCORE_BOUNDS, csem
from growth.panel.simulate.system import SimulatedSystem, simulate_table

__all__ = [
    "SCORE_BOUNDS",
    "SimulatedCohort",
    "SimulatedRecords",
    "SimulatedSystem",
    "SystemParameters",
    "csem",
    "simulate_cohort",
    "simulate_records",
    "simulate_table",
]
