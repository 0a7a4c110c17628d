"""The libraries that only a report needs."""

from __future__ import annotations

from importlib.util import find_spec

from growth.errors import GrowthError, problem

__all__ = ["require_extra"]

_PACKAGES = {"altair": "altair", "jinja2": "jinja2", "vl_convert": "vl-convert-python"}


def require_extra() -> None:
    """Check that the extra `report` is installed, before any of it is imported.

    Raises
    ------
    GrowthError
        Naming the packages that are missing and the extra that brings them.
    """
    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        what = (
            f"A report needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed"
        )
        raise GrowthError(problem(what, fix='pip install "growth[report]"'))
