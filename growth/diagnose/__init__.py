"""Diagnostics of a run as data, as pictures and as verdicts in plain words."""

from growth.diagnose.diagnostics import Diagnostics, diagnose
from growth.diagnose.held_out import HeldOut
from growth.diagnose.page import render_page, require_pictures, write_page
from growth.diagnose.rules import FAMILY, RULES, Rule

__all__ = [
    "FAMILY",
    "RULES",
    "Diagnostics",
    "HeldOut",
    "Rule",
    "diagnose",
    "render_page",
    "require_pictures",
    "write_page",
]
