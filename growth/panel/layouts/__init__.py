"""Tables as agencies keep them: which layout a table has, which column is what, and what its codes mean."""

from growth.panel.layouts.known import LAYOUTS
from growth.panel.layouts.layout import Block, Layout, Screen, folded
from growth.panel.layouts.recognise import Recognition, recognise
from growth.panel.layouts.unfold import unfold

__all__ = ["LAYOUTS", "Block", "Layout", "Recognition", "Screen", "folded", "recognise", "unfold"]
