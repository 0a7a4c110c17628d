"""All layouts by name, the engine's own first."""

from __future__ import annotations

from typing import Final

from growth.panel.layouts.california import CAASPP, CERS
from growth.panel.layouts.district import DISTRICT_WIDE
from growth.panel.layouts.layout import Layout
from growth.panel.layouts.sgp import LONG, WIDE
from growth.panel.layouts.standards import CEDS, EDFI
from growth.spec import LayoutName

__all__ = ["LAYOUTS", "OWN"]

_KEYS: Final = ("student_id", "year", "subject", "grade", "score", "school_id")
_MORE: Final = ("year_label", "district_id", "enrolled", "valid")

OWN: Final = Layout(
    name="growth",
    title="the engine's own names",
    names={own: (own,) for own in (*_KEYS, *_MORE)},
    marks=_KEYS,
)

LAYOUTS: Final[dict[LayoutName, Layout]] = {
    layout.name: layout for layout in (OWN, LONG, WIDE, CAASPP, CERS, CEDS, EDFI, DISTRICT_WIDE)
}
