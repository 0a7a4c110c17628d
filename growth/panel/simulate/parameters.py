"""The physics of the simulated system: every number that is not its size."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from growth.errors import SpecError, problem

__all__ = ["FLAGS", "SEED", "SystemParameters"]

SEED = 20_250_601

FLAGS = ("econ_disadvantaged", "english_learner", "disability", "homeless", "foster")

_SHARES = (
    "persistence",
    "subject_correlation",
    "effect_correlation",
    "mobility",
    "turnover",
    "repeat_rate",
    "absence",
    "missing_score",
    "unlisted",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemParameters:
    """How students, schools and the test behave. Lengths are in SDs of ability within a grade.

    Raises
    ------
    SpecError
        If a share lies outside [0, 1), a standard deviation is negative or a tuple has the wrong length.
    """

    persistence: float = 0.90
    """Share of a student's deviation that is still there a year later."""
    deviation_sd: float = 0.85
    """SD of ability between students alike in flags and neighbourhood."""
    subject_correlation: float = 0.78
    """Correlation of the two subjects' deviations."""
    flag_gaps: tuple[tuple[float, ...], tuple[float, ...]] = (
        (-0.50, -0.65, -0.85, -0.15, -0.25),
        (-0.50, -0.45, -0.80, -0.15, -0.30),
    )
    """Long-run difference of ability for each flag (in the order of `FLAGS`), in ELA and in MATH."""
    intake_sd: float = 0.20
    """SD between neighbourhoods in the ability with which students arrive."""
    school_persistent_sd: float = 0.09
    """SD between schools of the lasting part of the effect on a year's growth."""
    school_yearly_sd: float = 0.06
    """SD of the part that is drawn anew every year."""
    effect_correlation: float = 0.60
    """Correlation of a school's effects in the two subjects."""
    sorting: float = 0.0
    """Correlation of the lasting part with the advantage of the neighbourhoods that a school serves."""
    composition_effect: float = 0.0
    """What a school whose students are one SD abler than those of other schools adds to a year's growth."""
    mobility: float = 0.05
    """Share of students who change schools in a year without having to."""
    turnover: float = 0.05
    """Share of students who leave the system in a year and are replaced by newcomers without records."""
    repeat_rate: float = 0.01
    """Share of students who repeat a grade."""
    repeat_gain: float = 0.30
    """What a repeated year adds to ability relative to the grade."""
    absence: float = 0.02
    """Share of students without a score in either subject."""
    missing_score: float = 0.01
    """Further share without a score, in each subject."""
    unlisted: float = 0.01
    """Share of students without any row in a year, though they come back."""
    tiny_schools: float = 0.04
    """Share of elementary schools with about a tenth of the usual enrolment."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in _SHARES and not 0.0 <= value < 1.0:
                raise SpecError(problem(f"{field.name} = {value!r}", rule="a share in [0, 1)"))
            if field.name.endswith("_sd") and value < 0.0:
                raise SpecError(problem(f"{field.name} = {value!r}", rule="a standard deviation, at least 0"))
        if not -1.0 < self.sorting < 1.0:
            raise SpecError(problem(f"sorting = {self.sorting!r}", rule="a correlation in (-1, 1)"))
        if [len(gaps) for gaps in self.flag_gaps] != [len(FLAGS)] * 2:
            raise SpecError(problem("flag_gaps", rule=f"two tuples of {len(FLAGS)} gaps: {', '.join(FLAGS)}"))

    @property
    def innovation_sd(self) -> float:
        """SD of one year's growth around its expectation, keeping the deviations stationary."""
        return float(self.deviation_sd * (1.0 - self.persistence**2) ** 0.5)
