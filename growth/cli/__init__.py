"""The command line: a skin over the library."""

from growth.cli.app import PRESET_NAMES, app, main
from growth.cli.index import index_command, pair_command

__all__ = ["PRESET_NAMES", "app", "index_command", "main", "pair_command"]
