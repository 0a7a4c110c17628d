"""The command line: a skin over the library."""

from growth.cli.app import app, main
from growth.cli.index import index_command, pair_command

__all__ = ["app", "index_command", "main", "pair_command"]
