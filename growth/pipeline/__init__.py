"""The street from end to end: one call from a student table to growth percentiles and levels."""

from growth.pipeline.drift import DriftAudit, drift_audit
from growth.pipeline.planning import Plan, plan
from growth.pipeline.result import FRAMES, ON_REQUEST, GrowthRun
from growth.pipeline.resume import KeptCohorts
from growth.pipeline.street import run

__all__ = [
    "FRAMES",
    "ON_REQUEST",
    "DriftAudit",
    "GrowthRun",
    "KeptCohorts",
    "Plan",
    "drift_audit",
    "plan",
    "run",
]
