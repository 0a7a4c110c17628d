"""Student growth: each student's place among academically and demographically similar students."""

from growth.student.growth import StudentGrowth, percentile_cuts, student_growth

__all__ = ["StudentGrowth", "percentile_cuts", "student_growth"]
