"""California: the student score file of CAASPP (``^`` between fields) and exports of CERS.

CAASPP gives students who did not answer enough items the lowest score of the scale: include indicator ``T``,
condition code ``LOSS``. That is no measure of what they know; ``rows.unearned_scores`` decides.
"""

from __future__ import annotations

from typing import Final

from growth.panel.layouts.layout import Layout, Screen

__all__ = ["CAASPP", "CERS"]

_ENGLISH_LEARNER: Final = {
    "EL": "yes",
    "ADEL": "yes",
    "EO": "no",
    "IFEP": "no",
    "RFEP": "no",
    "TBD": "",
}
_ETHNICITY: Final = {
    "100": "American Indian or Alaska Native",
    "200": "Asian",
    "300": "Native Hawaiian or Other Pacific Islander",
    "400": "Filipino",
    "500": "Hispanic or Latino",
    "600": "Black or African American",
    "700": "White",
    "800": "Two or More Races",
}

CAASPP: Final = Layout(
    name="caaspp",
    title="CAASPP student score file",
    names={
        "student_id": ("SSID",),
        "year": ("SchoolYear", "TestYear"),
        "subject": ("RecordType",),
        "grade": ("GradeAssessed",),
        "score": ("ScaleScore",),
        "csem": ("StandardErrorMeasurement",),
        "school_id": ("CALPADSSchoolCode",),
        "district_id": ("CALPADSDistrictCode",),
        "achievement_level": ("AchievementLevels",),
        "school_name": ("CALPADSSchoolName",),
        "district_name": ("CALPADSDistrictName",),
        "econ_disadvantaged": ("EconomicDisadvantageTesting", "EconomicDisadvantageStatus"),
        "english_learner": ("ELStatus",),
        "disability": ("CALPADSIDEAIndicator",),
        "homeless": ("HomelessStatus",),
        "foster": ("FosterStatus",),
        "race_ethnicity": ("ReportingEthnicity",),
        "gender": ("Gender",),
        "include_indicator": ("IncludeIndicator",),
        "condition_code": ("ConditionCode",),
    },
    marks=(
        "student_id",
        "subject",
        "grade",
        "score",
        "csem",
        "achievement_level",
        "school_id",
        "district_id",
        "include_indicator",
    ),
    codes={
        "subject": {"01": "ELA", "1": "ELA", "02": "MATH", "2": "MATH"},
        "english_learner": _ENGLISH_LEARNER,
        "race_ethnicity": _ETHNICITY,
    },
    screens=(
        Screen("subject", "other_test", keep=frozenset({"01", "1", "02", "2", "ELA", "MATH"}), drop=None),
        Screen(
            "include_indicator",
            "not_valid",
            keep=frozenset({"Y", "T"}),
            drop=frozenset({"N"}),
            blank_is_refused=True,
        ),
        Screen("include_indicator", "unearned_score", keep=None, drop=frozenset({"T"}), unearned=True),
        Screen("condition_code", "unearned_score", keep=None, drop=frozenset({"LOSS"}), unearned=True),
    ),
)

CERS: Final = Layout(
    name="cers",
    title="CERS export",
    names={
        "student_id": ("StudentIdentifier",),
        "year": ("SchoolYear",),
        "subject": ("Subject",),
        "grade": ("GradeLevelWhenAssessed",),
        "score": ("ScaleScore",),
        "csem": ("ScaleScoreStandardError",),
        "school_id": ("SchoolId",),
        "district_id": ("DistrictId",),
        "achievement_level": ("ScaleScoreAchievementLevel",),
        "school_name": ("SchoolName",),
        "district_name": ("DistrictName",),
        "econ_disadvantaged": ("EconomicDisadvantageStatus",),
        "english_learner": ("EnglishLearner", "LEPStatus"),
        "disability": ("IDEAIndicator",),
        "gender": ("Gender", "Sex"),
        "assessment_type": ("AssessmentType",),
        "completeness": ("Completeness",),
        "administration_condition": ("AdministrationCondition",),
        "status": ("Status",),
    },
    marks=("student_id", "year", "subject", "grade", "score", "csem", "school_id", "achievement_level"),
    codes={"subject": {"ELA": "ELA", "MATH": "MATH"}, "english_learner": _ENGLISH_LEARNER},
    screens=(
        Screen("assessment_type", "other_test", keep=frozenset({"SUM", "SUMMATIVE"}), drop=None),
        Screen("completeness", "not_valid", keep=frozenset({"COMPLETE"}), drop=frozenset({"PARTIAL"})),
        Screen("administration_condition", "not_valid", keep=None, drop=frozenset({"IN", "INVALID"})),
        Screen("status", "not_valid", keep=None, drop=frozenset({"INVALIDATED", "EXPIRED"})),
    ),
)
