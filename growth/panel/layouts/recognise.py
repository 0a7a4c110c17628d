"""Which layout a table has: a posterior probability over the known layouts, from its column names alone.

Each mark of a layout is in a table of that layout with probability .9; a name that the layout may have, but
that does not mark it, with .5; a name that is foreign to it with .02; columns by subject or year are in a
wide table with .95, in others with .01. Layouts are equally likely before. The stated confidence is right as
often as it says where tables lose and gain columns in that way (`tests/test_panel_layouts.py`); it says
nothing of layouts that are not known here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from growth.panel.layouts.known import LAYOUTS
from growth.panel.layouts.layout import Block, Layout, folded
from growth.spec import LayoutName

__all__ = ["Recognition", "recognise"]

_MARK, _POSSIBLE, _FOREIGN = 0.9, 0.5, 0.02
_WIDE, _NOT_WIDE = 0.95, 0.01


@dataclass(frozen=True, slots=True)
class Recognition:
    """A layout, and why it was taken for that of the table."""

    layout: Layout
    confidence: float
    """Probability among the known layouts; 1 if the specification names it."""
    chosen: bool
    """The specification names it."""
    matched: tuple[str, ...]
    """The caller's columns that are marks of the layout."""
    absent: tuple[str, ...]
    """Names of marks that are not in the table."""
    blocks: tuple[Block, ...]
    """Records per row of a wide table; none for a long one."""
    rival: LayoutName | None
    """The next most probable layout."""

    def sentence(self) -> str:
        """Say layout, confidence and reasons in one line."""
        if self.chosen:
            return f"{self.layout.name}: {self.layout.title}, as the specification says"
        reasons = [f"{len(self.matched)} of {len(self.layout.marks)} marks"]
        reasons += [f"{len(self.blocks)} columns of scores by subject or year"] if self.blocks else []
        found = f" ({', '.join(self.matched)})" if self.matched else ""
        return (
            f"{self.layout.name}: {self.layout.title}, confidence {_percent(self.confidence)}: "
            f"{', '.join(reasons)}{found}"
        )


def recognise(columns: Sequence[str], choice: LayoutName | Literal["auto"]) -> Recognition:
    """Return the layout of a table with these columns.

    Parameters
    ----------
    columns : sequence of str
    choice : str
        ``columns.layout`` of the specification; ``"auto"`` takes the most probable layout.
    """
    present = {folded(name): name for name in reversed(columns)}
    blocks = {
        name: () if layout.blocks is None else layout.blocks(columns) for name, layout in LAYOUTS.items()
    }
    log_odds = {
        name: _log_likelihood(layout, present, blocks)
        for name, layout in LAYOUTS.items()
        if layout.blocks is None or blocks[name]
    }
    highest = max(log_odds.values())
    weight = {name: math.exp(value - highest) for name, value in log_odds.items()}
    ranked = sorted(weight, key=lambda name: -weight[name])
    best = ranked[0] if choice == "auto" else choice
    layout = LAYOUTS[best]
    names = {own: _first(layout.names[own], present) for own in layout.marks}
    return Recognition(
        layout=layout,
        confidence=weight[best] / sum(weight.values()) if choice == "auto" else 1.0,
        chosen=choice != "auto",
        matched=tuple(name for name in names.values() if name is not None),
        absent=tuple(layout.names[own][0] for own, name in names.items() if name is None),
        blocks=blocks[best],
        rival=next((name for name in ranked if name != best), None),
    )


def _first(names: tuple[str, ...], present: Mapping[str, str]) -> str | None:
    return next((present[folded(name)] for name in names if folded(name) in present), None)


def _groups(layout: Layout) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(map(folded, layout.names[own])) for own in layout.marks)


_MARKS: Final = tuple(dict.fromkeys(group for layout in LAYOUTS.values() for group in _groups(layout)))
_OF: Final = {name: frozenset(_groups(layout)) for name, layout in LAYOUTS.items()}
_ANY: Final = {
    name: frozenset(folded(n) for names in layout.names.values() for n in names)
    for name, layout in LAYOUTS.items()
}


def _log_likelihood(
    layout: Layout, present: Mapping[str, str], blocks: Mapping[LayoutName, tuple[Block, ...]]
) -> float:
    total = 0.0
    for group in _MARKS:
        foreign = _POSSIBLE if group & _ANY[layout.name] else _FOREIGN
        chance = _MARK if group in _OF[layout.name] else foreign
        total += math.log(chance if any(name in present for name in group) else 1 - chance)
    for name, found in blocks.items():
        if LAYOUTS[name].blocks is not None:
            chance = _WIDE if name == layout.name else _NOT_WIDE
            total += math.log(chance if found else 1 - chance)
    return total


def _percent(share: float) -> str:
    return "over 99.9 %" if share > 0.999 else f"{100 * share:.1f} %"
