"""The only door for dataframes: read a student table, form cohorts, simulate systems with known truth."""

from growth.panel.build import build_panels
from growth.panel.csem import CsemFunction, csem_tables
from growth.panel.frames import CallerFrame, hand_back
from growth.panel.panels import Panel, PanelSet
from growth.panel.patterns import Pattern, Prior
from growth.panel.places import Places
from growth.panel.simulate import SimulatedSystem, simulate_table
from growth.panel.table import StudentTable, read_table

__all__ = [
    "CallerFrame",
    "CsemFunction",
    "Panel",
    "PanelSet",
    "Pattern",
    "Places",
    "Prior",
    "SimulatedSystem",
    "StudentTable",
    "build_panels",
    "csem_tables",
    "hand_back",
    "read_table",
    "simulate_table",
]
