"""SIMEX's pieces of work one by one, ahead of the cohort that needs them: one lambda of one cohort each.

Their sums wait in a folder, where `corrected_curves` finds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from growth._types import FloatArray
from growth.panel import Panel
from growth.spec import GrowthSpec
from growth.student.composition import without_composition
from growth.student.design import spline_terms
from growth.student.simex.checkpoint import Checkpoint
from growth.student.simex.curves import How, blocks_of, level_sum

__all__ = ["forget_simex", "simex_ahead", "simex_complete"]


@dataclass(frozen=True, slots=True, eq=False)
class _Planned:
    """Columns of a fit that is not made here."""

    taus: FloatArray
    names: tuple[str, ...]
    blocks: tuple[slice, ...]


def simex_ahead(panel: Panel, spec: GrowthSpec, level: int, folder: Path) -> None:
    """Compute a cohort's sums at ``spec.simex.lambdas[level]``, or finish them, and keep them in a folder.

    Raises
    ------
    ColumnError, ConvergenceError, SpecError
        As `growth.student.simex.corrected_curves`.
    """
    placed = _placed(panel, spec)
    terms = spline_terms(placed, spec)
    planned = _Planned(spec.quantiles.grid(), tuple(terms.names), tuple(terms.blocks))
    level_sum(placed, planned, spec, level, How(n_jobs=1, folder=folder))


def simex_complete(panel: Panel, spec: GrowthSpec, folder: Path) -> bool:
    """Return whether a cohort's sums at all lambdas are in the folder."""
    blocks = len(blocks_of(spec.simex))
    return all(one.done() == blocks for one in _checkpoints(panel, spec, folder))


def forget_simex(panel: Panel, spec: GrowthSpec, folder: Path) -> None:
    """Remove a cohort's sums from the folder: they are as large as all its curves."""
    if spec.simex.use == "simex":
        for one in _checkpoints(panel, spec, folder):
            one.file.unlink(missing_ok=True)


def _checkpoints(panel: Panel, spec: GrowthSpec, folder: Path) -> Iterator[Checkpoint]:
    placed = _placed(panel, spec)
    return (Checkpoint.of(folder, placed, spec, level) for level in range(len(spec.simex.lambdas)))


def _placed(panel: Panel, spec: GrowthSpec) -> Panel:
    return without_composition(panel) if spec.peers.composition == "two_step" else panel
