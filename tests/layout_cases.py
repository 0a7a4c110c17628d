"""One small system of records, written in every layout that is known."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

RECORDS = pl.DataFrame(
    {
        "student_id": ["0007", "0007", "0007", "0007", "0010", "0010"],
        "year": ["2023", "2024", "2023", "2024", "2023", "2024"],
        "subject": ["ELA", "ELA", "MATH", "MATH", "ELA", "ELA"],
        "grade": ["3", "4", "3", "4", "3", "4"],
        "score": ["2400", "2451", "2390", "2444", "2410", "2480"],
        "csem": ["30", "28", "31", "27", "29", "26"],
        "school_id": ["0123456"] * 4 + ["0123457"] * 2,
        "district_id": ["0098765"] * 6,
    }
)
"""All text, as files have it; ids with leading zeros."""


def sgp(records: pl.DataFrame) -> pl.DataFrame:
    return records.select(
        ID="student_id",
        YEAR=pl.format("{}_{}", pl.col("year").cast(pl.Int32) - 1, "year"),
        CONTENT_AREA="subject",
        GRADE="grade",
        SCALE_SCORE="score",
        SCALE_SCORE_CSEM="csem",
        SCHOOL_NUMBER="school_id",
        DISTRICT_NUMBER="district_id",
        VALID_CASE=pl.lit("VALID_CASE"),
    )


def sgp_wide(records: pl.DataFrame) -> pl.DataFrame:
    """One subject, as the R package's wide table holds it."""
    parts = records.filter(subject="ELA").partition_by("year", as_dict=True)
    wide = pl.DataFrame({"ID": records["student_id"].unique(maintain_order=True)})
    for (year,), part in sorted(parts.items()):
        columns = {f"GRADE_{year}": "grade", f"SS_{year}": "score", f"SCALE_SCORE_CSEM_{year}": "csem"}
        columns |= {f"SCHOOL_NUMBER_{year}": "school_id", f"DISTRICT_NUMBER_{year}": "district_id"}
        wide = wide.join(part.select(ID="student_id", **columns), on="ID", how="left", maintain_order="left")
    return wide


def caaspp(records: pl.DataFrame) -> pl.DataFrame:
    return records.select(
        RecordType=pl.col("subject").replace({"ELA": "01", "MATH": "02"}),
        SSID="student_id",
        SchoolYear="year",
        GradeAssessed=pl.col("grade").str.zfill(2),
        CALPADSSchoolCode="school_id",
        CALPADSDistrictCode="district_id",
        CALPADSIDEAIndicator=pl.lit("No"),
        ELStatus=pl.lit("RFEP"),
        ReportingEthnicity=pl.lit("500"),
        IncludeIndicator=pl.lit("Y"),
        ConditionCode=pl.lit(""),
        ScaleScore="score",
        StandardErrorMeasurement="csem",
        AchievementLevels=pl.lit("2"),
    )


def cers(records: pl.DataFrame) -> pl.DataFrame:
    return records.select(
        DistrictId="district_id",
        SchoolId="school_id",
        StudentIdentifier="student_id",
        SchoolYear="year",
        AssessmentType=pl.lit("Summative"),
        Subject=pl.col("subject").replace({"MATH": "Math"}),
        GradeLevelWhenAssessed=pl.col("grade").str.zfill(2),
        Completeness=pl.lit("Complete"),
        AdministrationCondition=pl.lit("Valid"),
        ScaleScoreAchievementLevel=pl.lit("2"),
        ScaleScore="score",
        ScaleScoreStandardError="csem",
    )


def ceds(records: pl.DataFrame) -> pl.DataFrame:
    return records.select(
        StudentIdentifierState="student_id",
        SchoolYear="year",
        AssessmentAcademicSubject="subject",
        GradeLevelWhenAssessed=pl.col("grade").str.zfill(2),
        ScoreValue="score",
        AssessmentScoreMetricType=pl.lit("ScaleScore"),
        SchoolIdentifierSea="school_id",
        LeaIdentifierSeaAccountability="district_id",
        ParticipationIndicator=pl.lit("Participated"),
        csem="csem",
    )


def edfi(records: pl.DataFrame) -> pl.DataFrame:
    words = {"3": "Third grade", "4": "Fourth grade"}
    address = "uri://ed-fi.org/{}Descriptor#{}"
    return records.select(
        pl.col("student_id").alias("studentUniqueId"),
        pl.col("year").alias("schoolYear"),
        pl.format(address, pl.lit("AcademicSubject"), "subject").alias("academicSubjectDescriptor"),
        pl.format(address, pl.lit("GradeLevel"), pl.col("grade").replace(words)).alias(
            "whenAssessedGradeLevelDescriptor"
        ),
        pl.col("score").alias("scoreResults.result"),
        pl.format(address, pl.lit("AssessmentReportingMethod"), pl.lit("Scale score")).alias(
            "scoreResults.assessmentReportingMethodDescriptor"
        ),
        pl.lit("").alias("reasonNotTestedDescriptor"),
        pl.col("school_id").alias("schoolId"),
        pl.col("district_id").alias("localEducationAgencyId"),
        pl.col("csem"),
    )


def district_wide(records: pl.DataFrame) -> pl.DataFrame:
    keys = ["student_id", "year", "grade", "school_id", "district_id"]
    wide = records.pivot("subject", index=keys, values=["score", "csem"], maintain_order=True)
    return wide.rename(
        {
            f"{kind}_{subject}": f"{subject}_{kind.upper()}"
            for kind in ("score", "csem")
            for subject in ("ELA", "MATH")
        }
    )


WRITERS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "growth": lambda records: records,
    "sgp": sgp,
    "sgp_wide": sgp_wide,
    "caaspp": caaspp,
    "cers": cers,
    "ceds": ceds,
    "edfi": edfi,
    "district_wide": district_wide,
}
