"""Results to one self-contained HTML page that explains every number on it."""

from growth.report.figures import Figures, figures
from growth.report.inputs import ReportInput, StudentTotals, report_input, summarise_students
from growth.report.page import render_report, write_report
from growth.report.points import IndexTables, PairTables
from growth.report.student_chart import student_chart

__all__ = [
    "Figures",
    "IndexTables",
    "PairTables",
    "ReportInput",
    "StudentTotals",
    "figures",
    "render_report",
    "report_input",
    "student_chart",
    "summarise_students",
    "write_report",
]
