"""The engines behind `student_growth`, one chapter each: same question, different models."""
