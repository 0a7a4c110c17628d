"""What the parts of a specification have in common."""

from __future__ import annotations

from pydantic import ConfigDict

__all__ = ["PART"]

PART = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
"""Frozen; unknown keys are refused; the text under a field describes it in the JSON Schema."""
