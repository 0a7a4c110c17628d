"""The command line: a skin over the library."""

from growth.cli.app import main
from growth.cli.audit import diff_command, explain_command, verify_command
from growth.cli.check import check
from growth.cli.diagnose import diagnose_command
from growth.cli.export import export_command
from growth.cli.index import index_command, pair_command
from growth.cli.plan import plan_command
from growth.cli.report import report_command
from growth.cli.shared import PRESET_NAMES, app
from growth.cli.study import compare_command, study_command

__all__ = [
    "PRESET_NAMES",
    "app",
    "check",
    "compare_command",
    "diagnose_command",
    "diff_command",
    "explain_command",
    "export_command",
    "index_command",
    "main",
    "pair_command",
    "plan_command",
    "report_command",
    "study_command",
    "verify_command",
]
