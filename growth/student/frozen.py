"""Models of a base year's cohorts, kept to place a later year's students without a fit.

A cohort of a later year takes the model of the base year's cohort of the same subject, grade and prior
pattern: same subjects, grades and lags of the priors. The calendar year plays no part. Everything that the
base year's data decided is kept, and nothing is decided anew: knots and boundaries, coefficients, means from
which priors are measured, the spread of scores, the distribution of residuals, what goes with composition.

Columns are matched by name. A category's level that no later student has is a column of zeros. A level that
the base year did not know has no coefficient, and such a cohort counts as one without a frozen model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np

from growth.errors import SpecError, problem
from growth.panel import Panel
from growth.panel.patterns import Pattern, Prior
from growth.student.models import CohortModel, FrozenLine, LinearModel, Makeup
from growth.student.thaw import line_of, makeup_of, model_of, plain, require, unreadable

__all__ = ["CohortKey", "FrozenCohort", "FrozenCurves", "aligned"]

CohortKey: TypeAlias = tuple[str, int, Pattern]
"""Subject, grade and prior pattern: what a later year's cohort is matched by."""


@dataclass(frozen=True, slots=True, eq=False)
class FrozenCohort:
    """The model of one cohort of a base year."""

    year: int
    subject: str
    grade: int
    pattern: Pattern
    engine: str
    n: int
    """Students of the base year."""
    covariates: tuple[str, ...]
    """Columns beside the priors, in order."""
    model: CohortModel
    makeup: Makeup | None = None

    @property
    def key(self) -> CohortKey:
        """What a later year's cohort is matched by."""
        return self.subject, self.grade, self.pattern

    def unknown(self, panel: Panel) -> list[str]:
        """Return the columns of a later year's cohort that the model does not know, or lacks."""
        ours, theirs = set(self.covariates), panel.covariate_names
        new = [n for j, n in enumerate(theirs) if n not in ours and panel.covariates[:, j].any()]
        return new + [name for name in self.covariates if name not in theirs and not _may_be_absent(name)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values and arrays."""
        return {
            "year": self.year,
            "subject": self.subject,
            "grade": self.grade,
            "priors": [[prior.subject, prior.lag, prior.grade] for prior in self.pattern.priors],
            "engine": self.engine,
            "n": self.n,
            "covariates": list(self.covariates),
            "model": plain(self.model),
            "makeup": None if self.makeup is None else plain(self.makeup),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FrozenCohort:
        """Restore a cohort; `FrozenCurves.from_dict` says what is raised."""
        priors = tuple(Prior(str(subject), int(lag), int(grade)) for subject, lag, grade in data["priors"])
        engine = str(data["engine"])
        cohort = cls(
            int(data["year"]),
            str(data["subject"]),
            int(data["grade"]),
            Pattern(priors),
            engine,
            int(data["n"]),
            tuple(map(str, data["covariates"])),
            model_of(engine, data["model"]),
            None if data["makeup"] is None else makeup_of(data["makeup"]),
        )
        require(bool(priors) and cohort.n > 0, "priors and students")
        require(_columns(cohort) == len(cohort.model.names), "as many names as columns")
        return cohort


@dataclass(frozen=True, slots=True, eq=False)
class FrozenCurves:
    """The models of a run's cohorts, of one year or several."""

    cohorts: tuple[FrozenCohort, ...] = ()
    plain: tuple[FrozenCohort, ...] = ()
    """Models without the peer definition, for the fairness ledger."""
    lines: tuple[FrozenLine, ...] = ()
    """Of two-step composition."""

    _FORMAT: ClassVar[int] = 1

    def __len__(self) -> int:
        return len(self.cohorts)

    def __repr__(self) -> str:
        years = ", ".join(str(year) for year in self.years)
        return f"FrozenCurves({len(self.cohorts)} cohorts of {years or 'no year'})"

    @property
    def years(self) -> tuple[int, ...]:
        """Years of the cohorts."""
        return tuple(sorted({cohort.year for cohort in self.cohorts}))

    def of_year(self, year: int) -> FrozenCurves:
        """Return the models of one year."""
        return FrozenCurves(
            tuple(cohort for cohort in self.cohorts if cohort.year == year),
            tuple(cohort for cohort in self.plain if cohort.year == year),
            tuple(line for line in self.lines if line.year == year),
        )

    def line(self, subject: str) -> FrozenLine | None:
        """Return the line of a subject, None if there is none."""
        return next((line for line in self.lines if line.subject == subject), None)

    def by_key(self) -> dict[CohortKey, FrozenCohort]:
        """Return the cohorts by what they are matched by.

        Raises
        ------
        SpecError
            If there are several years.
        """
        return _by_key(self.cohorts)

    def plain_by_key(self) -> dict[CohortKey, FrozenCohort]:
        """Return the cohorts without the peer definition; as `by_key`."""
        return _by_key(self.plain)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values and arrays; `from_dict` restores every bit."""
        return {
            "format": self._FORMAT,
            "cohorts": [cohort.to_dict() for cohort in self.cohorts],
            "plain": [cohort.to_dict() for cohort in self.plain],
            "lines": [plain(line) for line in self.lines],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FrozenCurves:
        """Restore models.

        Raises
        ------
        SpecError
            If a part is missing or impossible.
        """
        try:
            require(data["format"] == cls._FORMAT, f"format {cls._FORMAT}")
            return cls(
                tuple(FrozenCohort.from_dict(item) for item in data["cohorts"]),
                tuple(FrozenCohort.from_dict(item) for item in data["plain"]),
                tuple(line_of(item) for item in data["lines"]),
            )
        except SpecError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise unreadable(error) from None


def aligned(panel: Panel, cohort: FrozenCohort) -> Panel:
    """Return the panel with the columns that the model was fitted with, in its order.

    Raises
    ------
    SpecError
        If the panel has a column that the model does not know, or lacks one that it needs.
    """
    if panel.covariate_names == cohort.covariates:
        return panel
    if unknown := cohort.unknown(panel):
        raise SpecError(
            problem(
                f"{panel.key}: the frozen curves of {cohort.year} and these students differ in the columns "
                f"{', '.join(unknown)}",
                rule="a column has a coefficient of the base year",
                fix='map new levels to known ones, or set freeze.missing = "refit"',
            )
        )
    place = {name: j for j, name in enumerate(panel.covariate_names)}
    columns = [
        panel.covariates[:, place[name]] if name in place else np.zeros(len(panel))
        for name in cohort.covariates
    ]
    matrix = np.column_stack(columns) if columns else np.empty((len(panel), 0))
    return replace(panel, covariates=matrix, covariate_names=cohort.covariates)


def _may_be_absent(name: str) -> bool:
    """Tell whether a column stands for a level or a blank, which a later cohort may not have."""
    return any("=" in part or part == "missing" for part in name.split(":"))


def _by_key(cohorts: tuple[FrozenCohort, ...]) -> dict[CohortKey, FrozenCohort]:
    found = {cohort.key: cohort for cohort in cohorts}
    require(len(found) == len(cohorts), "one model per subject, grade and prior pattern: curves of one year")
    return found


def _columns(cohort: FrozenCohort) -> int:
    """Return how many columns the design of a cohort has."""
    model, priors = cohort.model, len(cohort.pattern)
    if isinstance(model, LinearModel):
        require(len(model.centres) == priors, "a mean per prior")
        free = len(model.names) - 1 - len(cohort.covariates)
        require(free in (priors, 2 * priors), "linear or quadratic terms")
        return 1 + free + len(cohort.covariates)
    require(len(model.bases) == priors, "a basis per prior")
    return 1 + sum(basis.n_columns for basis in model.bases) + len(cohort.covariates)
