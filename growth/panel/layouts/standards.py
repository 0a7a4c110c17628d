"""Data standards: names of the Common Education Data Standards (CEDS) and of Ed-Fi, flattened to columns.

Ed-Fi descriptors (``uri://ed-fi.org/GradeLevelDescriptor#Fourth grade``) are read after the ``#``. Both
standards allow several scores per test; a column that names the kind of score keeps the scale scores.
"""

from __future__ import annotations

from typing import Final

from growth.panel.layouts.layout import Layout, Screen

__all__ = ["CEDS", "EDFI"]

_SCALE_SCORE: Final = frozenset({"SCALE SCORE", "SCALESCORE", "SCALE_SCORE", "SCALED SCORE"})

CEDS: Final = Layout(
    name="ceds",
    title="CEDS element names",
    names={
        "student_id": ("StudentIdentifierState",),
        "year": ("SchoolYear",),
        "subject": ("AssessmentAcademicSubject",),
        "grade": ("GradeLevelWhenAssessed",),
        "score": ("ScoreValue", "AssessmentResultScoreValue"),
        "achievement_level": ("AssessmentPerformanceLevelIdentifier",),
        "school_id": ("SchoolIdentifierSea",),
        "district_id": ("LeaIdentifierSeaAccountability", "LeaIdentifierSea"),
        "econ_disadvantaged": ("EconomicDisadvantageStatus",),
        "english_learner": ("EnglishLearnerStatus",),
        "disability": ("IDEAIndicator",),
        "homeless": ("HomelessnessStatus",),
        "participation": ("ParticipationIndicator", "AssessmentRegistrationParticipationIndicator"),
        "score_kind": ("AssessmentScoreMetricType",),
    },
    marks=("student_id", "year", "subject", "grade", "score", "school_id"),
    screens=(
        Screen("score_kind", "other_score", keep=_SCALE_SCORE, drop=None),
        Screen(
            "participation",
            "not_valid",
            keep=frozenset({"PARTICIPATED", "YES", "Y", "TRUE", "1"}),
            drop=frozenset({"DIDNOTPARTICIPATE", "NO", "N", "FALSE", "0"}),
        ),
    ),
)

EDFI: Final = Layout(
    name="edfi",
    title="Ed-Fi student assessments",
    names={
        "student_id": ("studentUniqueId", "studentReference.studentUniqueId"),
        "year": ("schoolYear", "schoolYearTypeReference.schoolYear"),
        "subject": ("academicSubjectDescriptor",),
        "grade": ("whenAssessedGradeLevelDescriptor",),
        "score": ("scoreResults.result", "scoreResults.0.result", "result"),
        "achievement_level": ("performanceLevels.performanceLevelDescriptor", "performanceLevels"),
        "school_id": ("schoolId", "schoolReference.schoolId", "reportedSchoolReference.schoolId"),
        "district_id": ("localEducationAgencyId",),
        "reason_not_tested": ("reasonNotTestedDescriptor",),
        "score_kind": (
            "scoreResults.assessmentReportingMethodDescriptor",
            "scoreResults.0.assessmentReportingMethodDescriptor",
            "assessmentReportingMethodDescriptor",
        ),
    },
    marks=("student_id", "year", "subject", "grade", "score", "school_id"),
    descriptors=("subject", "grade", "achievement_level", "score_kind", "reason_not_tested"),
    screens=(
        Screen("score_kind", "other_score", keep=_SCALE_SCORE, drop=None),
        Screen("reason_not_tested", "not_valid", keep=frozenset(), drop=None),
    ),
)
