"""Student growth percentiles and school growth percentiles: exact, fast, explainable.

One call does it all: ``growth.run(table, spec)``. The rooms behind it can be entered one by one:

    read_table -> build_panels -> student_growth -> school_growth -> assign_levels -> write_report
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from growth.errors import GrowthError, GrowthWarning
    from growth.freeze import FreezeBundle
    from growth.index import assign_levels
    from growth.panel import build_panels, read_table, simulate_table
    from growth.pipeline import GrowthRun, drift_audit, plan, run
    from growth.quantile import QuantileProcess, fit_quantiles
    from growth.report import figures, write_report
    from growth.school import school_growth
    from growth.spec import GrowthSpec
    from growth.student import student_growth
    from growth.study import compare_specs, run_study

    __version__: str

__all__ = [
    "FreezeBundle",
    "GrowthError",
    "GrowthRun",
    "GrowthSpec",
    "GrowthWarning",
    "QuantileProcess",
    "__version__",
    "assign_levels",
    "build_panels",
    "compare_specs",
    "drift_audit",
    "figures",
    "fit_quantiles",
    "plan",
    "read_table",
    "run",
    "run_study",
    "school_growth",
    "simulate_table",
    "student_growth",
    "write_report",
]

# Names are fetched on first use: `import growth` must stay instant, whatever the rooms need.
_ROOMS = {
    "FreezeBundle": "freeze",
    "GrowthError": "errors",
    "GrowthRun": "pipeline",
    "GrowthSpec": "spec",
    "GrowthWarning": "errors",
    "QuantileProcess": "quantile",
    "assign_levels": "index",
    "build_panels": "panel",
    "compare_specs": "study",
    "drift_audit": "pipeline",
    "figures": "report",
    "fit_quantiles": "quantile",
    "plan": "pipeline",
    "read_table": "panel",
    "run": "pipeline",
    "run_study": "study",
    "school_growth": "school",
    "simulate_table": "panel",
    "student_growth": "student",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("growth")
    elif name in _ROOMS:
        value = getattr(import_module(f"growth.{_ROOMS[name]}"), name)
    else:
        raise AttributeError(f"module 'growth' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
