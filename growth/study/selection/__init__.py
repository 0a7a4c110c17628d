"""Model selection: which of several specifications describes students best, and what it does to schools."""

from growth.study.selection.result import Selection
from growth.study.selection.run import compare_specs

__all__ = ["Selection", "compare_specs"]
