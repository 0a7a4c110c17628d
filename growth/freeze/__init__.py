"""What is kept of a base year, as one versioned object and as the bytes of one file."""

from growth.freeze.bundle import FreezeBundle, checked_parts
from growth.freeze.container import pack, unpack

__all__ = ["FreezeBundle", "checked_parts", "pack", "unpack"]
