"""Student growth: each student's place among academically and demographically similar students."""

from growth.student.growth import StudentGrowth, student_growth

__all__ = ["StudentGrowth", "student_growth"]
