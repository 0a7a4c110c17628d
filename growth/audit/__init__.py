"""What an appeal asks of a stored run: is it whole and right, where does a number come from, what changed."""

from growth.audit.ahead import student_projection
from growth.audit.differences import Difference, difference
from growth.audit.fan import student_fan
from growth.audit.school import SchoolAccount, explain_school
from growth.audit.student import StudentAccount, explain_student
from growth.audit.verify import Check, Verification, verify_run

__all__ = [
    "Check",
    "Difference",
    "SchoolAccount",
    "StudentAccount",
    "Verification",
    "difference",
    "explain_school",
    "explain_student",
    "student_fan",
    "student_projection",
    "verify_run",
]
