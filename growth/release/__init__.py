"""What leaves the engine for others: withheld where students are few, ids hashed, in layouts they know."""

from growth.release.export import LAYOUTS, Layout, Terms, export_frame, export_run
from growth.release.pseudonyms import hashed, read_key
from growth.release.published import published_results
from growth.release.research import Coarse

__all__ = [
    "LAYOUTS",
    "Coarse",
    "Layout",
    "Terms",
    "export_frame",
    "export_run",
    "hashed",
    "published_results",
    "read_key",
]
