"""The specification: what is measured, against whom, and how it is reported.

One frozen object holds every policy choice. It is validated once, written and read as TOML, changed only
through :meth:`GrowthSpec.replace`, and travels with every result. No field is without an effect.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from growth._types import FloatArray
from growth.errors import SpecError, did_you_mean
from growth.spec.columns import Columns
from growth.spec.freeze import Freeze
from growth.spec.index import Index
from growth.spec.intervals import Intervals
from growth.spec.pairing import Pairing
from growth.spec.part import PART
from growth.spec.peers import Peers
from growth.spec.rows import Rows
from growth.spec.school import Groups, School
from growth.spec.simex import Simex, refuse_contradictions

PRESETS = ("core", "core_vendor", "sgp", "georgia", "california", "new_york")
"""This engine's own model, and published systems; each a commented TOML file."""

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Decimals = Annotated[int, Field(ge=0)] | Literal["none"]


class _Part(BaseModel):
    model_config = PART


class Scale(_Part):
    """Lowest and highest obtainable scale scores (LOSS, HOSS)."""

    bounds: dict[str, dict[int, tuple[float, float]]] = {}
    """subject -> grade -> (LOSS, HOSS) [scale-score points]."""
    outside: Literal["error", "exclude"] = "error"
    """What happens to rows with a score outside the bounds."""

    @field_validator("bounds")
    @classmethod
    def _ordered(
        cls, value: dict[str, dict[int, tuple[float, float]]]
    ) -> dict[str, dict[int, tuple[float, float]]]:
        for subject, grades in value.items():
            for grade, (low, high) in grades.items():
                if not low < high:
                    raise ValueError(f"{subject} grade {grade}: the lowest score must be below the highest")
        return value


class Cohorts(_Part):
    """Who is compared with whom: one cohort per grade x subject x year x prior pattern."""

    subjects: tuple[str, ...] | None = None
    """Subjects that get growth results; all subjects of the table if not given."""
    grades: tuple[int, ...] | None = None
    """Current grades that get growth results; every grade with a prior grade if not given."""
    years: tuple[int, ...] | Literal["latest", "all"] = "latest"
    """Years (of the current score) that get growth results."""
    own_priors: int = Field(1, ge=1, le=12)
    """Most prior scores in the same subject."""
    other_priors: int = Field(0, ge=0, le=4)
    """Most prior scores in each other subject."""
    other_subjects: tuple[str, ...] | None = None
    """Subjects that give such priors; every other subject of the table if not given."""
    progressions: dict[int, tuple[int, ...]] = {}
    """Grade -> prior grades, most recent first, where not g-1, g-2, ...; the lag is the difference."""
    orders: Literal["nested", "exact"] = "nested"
    """Fit every prior pattern from one prior up, or only the fullest."""
    report: Literal["highest", "all"] = "highest"
    """Keep the result of the fullest pattern per student, or one row per pattern."""
    repeaters: Literal["exclude", "own_cohort"] = "exclude"
    """Students who took the same grade's test in the prior year: counted out, or compared with each other."""
    min_cohort: int = Field(0, ge=0)
    """Cohorts with fewer students are not fitted."""


class Knots(_Part):
    """Interior and boundary knots of one prior's spline basis [scale-score points]."""

    knots: tuple[float, ...]
    """Interior knots, none of them lower than the one before."""
    boundaries: tuple[float, float]
    """Lowest and highest knot; outside them curves are extended."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        line = (self.boundaries[0], *self.knots, self.boundaries[1])
        if any(a > b for a, b in pairwise(line)) or line[0] == line[-1]:
            raise ValueError(f"knots must not decrease and lie within the boundaries, got {line}")
        return self


class Basis(_Part):
    """B-spline basis of each prior score (Betebenner 2009)."""

    degree: int = Field(3, ge=1, le=5)
    """Of the polynomials between knots; 3 is cubic, 1 straight lines."""
    knot_quantiles: tuple[Fraction, ...] = (0.2, 0.4, 0.6, 0.8)
    """Interior knots at these quantiles (linear interpolation) of the prior's scores."""
    boundary_margin: float = Field(0.1, ge=0.0)
    """Boundary knots: range of the scores widened by this share of its width on each side."""
    round_digits: Decimals = 3
    """Decimals of data-driven knots."""
    knots_from: Literal["all_rows", "cohort"] = "all_rows"
    """Scores that place knots: all of that subject and grade before the current year, or the cohort's."""
    fixed: dict[str, dict[int, Knots]] = {}
    """subject -> grade of the prior -> knots to use instead of data-driven ones."""

    @field_validator("knot_quantiles")
    @classmethod
    def _in_order(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(a > b for a, b in pairwise(value)):
            raise ValueError("knot_quantiles must not decrease")
        return value


class Quantiles(_Part):
    """The grid of conditional quantiles and what is done with the fitted curves."""

    count: int = Field(100, ge=2, le=1000)
    """tau = (t - 0.5) / count, t = 1..count."""
    taus: tuple[Fraction, ...] | None = None
    """An explicit increasing grid instead of `count`."""
    rearrange: bool = True
    """Sort each student's curves so that they do not cross (Chernozhukov et al. 2010)."""
    round_digits: Decimals = 5
    """Decimals of the curves before they are compared with the score."""

    @field_validator("taus")
    @classmethod
    def _increasing(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (len(value) < 2 or any(a >= b for a, b in pairwise(value))):
            raise ValueError("taus must be at least two increasing numbers between 0 and 1")
        return value

    def grid(self) -> FloatArray:
        """Return the taus, shape (m,), increasing in (0, 1)."""
        if self.taus is not None:
            return np.array(self.taus, dtype=np.float64)
        return (np.arange(1, self.count + 1) - 0.5) / self.count


class Student(_Part):
    """The engine that places each student among similar students."""

    engine: Literal["quantile", "normal", "eiv", "residual_gain"] = "quantile"
    """Quantile regression (Betebenner 2009); heteroskedastic normal theory on the same splines; linear
    prediction corrected for errors in the priors (Fuller 1987); ordinary linear prediction (California)."""
    prior_terms: Literal["linear", "quadratic"] = "linear"
    """Terms of each prior in the linear engines, `eiv` and `residual_gain`."""
    not_definite: Literal["error", "partial"] = "error"
    """`eiv` where CSEMs leave too little true variance in some combination of columns: refuse the cohort, or
    remove only a part of the error from that combination, and say so."""


class CsemTable(_Part):
    """Conditional standard errors of measurement of one test by scale score, as testing programs publish."""

    subject: str
    """As the table has it, after `columns.subjects`."""
    grade: int
    """Grade of the test."""
    years: tuple[int, ...] = ()
    """Years the table holds for; every year without a table of its own if not given."""
    program: str = ""
    """Testing program, a value of the column `measurement.program`; empty for every other program."""
    scores: tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
    """Increasing [scale-score points]."""
    csem: tuple[Annotated[float, Field(ge=0.0, allow_inf_nan=False)], ...]
    """One per score [CSEM points]."""

    @model_validator(mode="after")
    def _is_a_curve(self) -> Self:
        if len(self.scores) != len(self.csem) or len(self.scores) < 2:
            raise ValueError(
                f"as many CSEMs as scores, at least two: got {len(self.csem)} and {len(self.scores)}"
            )
        if any(a >= b for a, b in pairwise(self.scores)):
            raise ValueError(f"the scores of {self.subject} grade {self.grade} must increase")
        return self


class Measurement(_Part):
    """How far observed scores are from true ones: the conditional standard error of measurement (CSEM)."""

    csem: Literal["none", "column", "table", "function"] = "none"
    """Where each score's CSEM comes from: the column `csem`, `tables` (natural cubic spline of the score), or
    the Python argument `csem` of `run` and `build_panels`."""
    tables: tuple[CsemTable, ...] = ()
    """One per test, given with `csem = "table"` and only then."""
    program: str = ""
    """Column that names each row's testing program, where tables differ by it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.csem == "table") != bool(self.tables):
            raise ValueError('measurement.tables and measurement.csem = "table" go together')
        if any(table.program for table in self.tables) != bool(self.program):
            raise ValueError("measurement.program and tables that name a program go together")
        keys = [
            (table.subject, table.grade, table.program, year)
            for table in self.tables
            for year in table.years or (None,)
        ]
        twice = sorted({f"{s} grade {g}" for s, g, p, y in keys if keys.count((s, g, p, y)) > 1})
        if twice:
            raise ValueError(f"more than one table for the same program and year: {', '.join(twice)}")
        return self


class Correction(_Part):
    """Corrections of student percentiles."""

    loss_hoss: bool = False
    """Clip curves to the current grade's LOSS/HOSS and give scores at HOSS the highest tied percentile."""


class Levels(_Part):
    """Levels 1-10 from the school growth percentile."""

    rule: Literal["fixed_tens", "base_deciles"] = "fixed_tens"
    """0-9 -> 1, ..., 90-100 -> 10; or deciles of the base year's schools."""
    average_from: int = Field(4, ge=2, le=9)
    """Lowest level of the band `average`; levels under it are `below_average`."""
    above_from: int = Field(8, ge=3, le=10)
    """Lowest level of the band `above_average`."""

    @model_validator(mode="after")
    def _bands_rise(self) -> Self:
        if self.average_from >= self.above_from:
            raise ValueError("levels.average_from must be below levels.above_from")
        return self


class GrowthSpec(_Part):
    """Every choice of a growth run.

    Examples
    --------
    >>> spec = GrowthSpec.preset("core")
    >>> spec.replace({"school.aggregate": "median"}).school.aggregate
    'median'
    """

    name: str = "custom"
    """Of the whole; reports and run folders show it."""
    columns: Columns = Columns()
    rows: Rows = Rows()
    scale: Scale = Scale()
    cohorts: Cohorts = Cohorts()
    peers: Peers = Peers()
    basis: Basis = Basis()
    quantiles: Quantiles = Quantiles()
    student: Student = Student()
    measurement: Measurement = Measurement()
    simex: Simex = Simex()
    correction: Correction = Correction()
    intervals: Intervals = Intervals()
    school: School = School()
    groups: Groups = Groups()
    levels: Levels = Levels()
    index: Index = Index()
    pairing: Pairing = Pairing()
    freeze: Freeze = Freeze()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.intervals.check(self.measurement.csem, self.student.engine)
        if self.correction.loss_hoss and not self.scale.bounds:
            raise ValueError("correction.loss_hoss needs scale.bounds")
        if self.peers.composition == "two_step" and self.correction.loss_hoss:
            raise ValueError(
                'peers.composition = "two_step" moves scores off the ends of the scale that '
                "correction.loss_hoss treats: choose one of them"
            )
        if self.groups.shrink_towards == "school" and self.school.shrinkage in ("none", "sgp"):
            raise ValueError(
                'groups.shrink_towards = "school" needs school.shrinkage = "empirical_bayes" or "eblp"'
            )
        ignored = [name for name, engines in self._chosen() if self.student.engine not in engines]
        if ignored:
            raise ValueError(
                f"student.engine = {self.student.engine!r} cannot honour {', '.join(ignored)}: "
                "leave out what it does not use, or choose another engine"
            )
        if self.school.standard_error == "refit" and self.student.engine != "quantile":
            raise ValueError(
                f'school.standard_error = "refit" refits quantile curves, not {self.student.engine!r}: '
                'use "bootstrap"'
            )
        if self.student.engine == "eiv" and self.measurement.csem == "none":
            raise ValueError(
                'student.engine = "eiv" needs the CSEM of the priors: measurement.csem = "column", "table" '
                'or "function"'
            )
        if self.student.engine == "eiv" and self.peers.composition == "two_step":
            raise ValueError(
                'student.engine = "eiv" takes composition in one step, with the error of the school mean: '
                'peers.composition = "one_step" or "none"'
            )
        if self.student.engine == "eiv" and any("prior" in pair for pair in self.peers.pairs):
            raise ValueError('student.engine = "eiv" has no correction for interactions with "prior"')
        refuse_contradictions(self)
        return self

    def _chosen(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each choice that differs from the default and is not for every engine, with its engines."""
        curves, splines, linear = ("quantile",), ("quantile", "normal"), ("eiv", "residual_gain")
        if self.quantiles != Quantiles():
            yield "quantiles", curves
        if self.correction.loss_hoss:
            yield "correction.loss_hoss", curves
        if self.basis != Basis():
            yield "basis", splines
        if self.student.prior_terms != "linear":
            yield "student.prior_terms", linear
        if self.student.not_definite != "error":
            yield "student.not_definite", ("eiv",)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GrowthSpec:
        """Validate a nested mapping.

        Raises
        ------
        SpecError
            Names each offending key, its value, and the nearest valid name.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            raise SpecError(_explain(error)) from None

    @classmethod
    def of(cls, choice: GrowthSpec | Mapping[str, Any] | str | Path) -> GrowthSpec:
        """Return the specification that `choice` stands for.

        Parameters
        ----------
        choice : GrowthSpec, mapping, str or Path
            A specification, a nested mapping, the name of a preset, TOML text or the path of a TOML file.

        Raises
        ------
        SpecError
            If it is none of these, or not valid.
        """
        if isinstance(choice, GrowthSpec):
            return choice
        if isinstance(choice, Mapping):
            return cls.from_dict(choice)
        text = str(choice)
        if text not in PRESETS and ("\n" in text or text.endswith(".toml") or Path(text).is_file()):
            return cls.from_toml(choice)
        return cls.preset(text)

    @classmethod
    def preset(cls, name: str) -> GrowthSpec:
        """Return a shipped specification, by its name in `PRESETS`."""
        return cls.from_dict(tomllib.loads(preset_text(name)))

    @classmethod
    def from_toml(cls, source: str | Path) -> GrowthSpec:
        """Read a specification from a TOML file, or from TOML text if `source` has a line break.

        Raises
        ------
        SpecError
            If the file cannot be read, is not TOML, or is not a valid specification.
        """
        try:
            text = source if isinstance(source, str) and "\n" in source else Path(source).read_text("utf-8")
            return cls.from_dict(tomllib.loads(text))
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"The specification file {str(source)!r} cannot be read: {error}.") from None
        except tomllib.TOMLDecodeError as error:
            raise SpecError(f"The specification is not valid TOML: {error}.") from None

    def to_toml(self) -> str:
        """Return the whole specification, defaults included, as TOML that `from_toml` reads back."""
        import tomli_w

        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def replace(self, changes: Mapping[str, Any]) -> GrowthSpec:
        """Return a validated copy with dotted keys changed, e.g. ``{"school.min_n": 10}``."""
        data = self.model_dump(mode="json")
        for key, value in changes.items():
            *path, last = key.split(".")
            node = data
            for step in path:
                child = node.get(step)
                if not isinstance(child, dict):
                    raise SpecError(f"Unknown key {key!r}{did_you_mean(step, node)}")
                node = child
            node[last] = value
        return type(self).from_dict(data)

    @property
    def digest(self) -> str:
        """SHA-256 of the choices with keys in alphabetical order: equal specifications, equal digests."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema, for editors that check TOML while it is typed."""
        return cls.model_json_schema()


def preset_text(name: str) -> str:
    """Return the commented TOML of a preset."""
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS)
        raise SpecError(f"{name!r} is neither a preset nor a file; presets are {', '.join(PRESETS)}{hint}")
    return resources.files("growth.spec").joinpath("presets", f"{name}.toml").read_text("utf-8")


def _explain(error: ValidationError) -> str:
    lines = ["The specification is not valid:"]
    for item in error.errors():
        # pydantic adds the tried member of a union, such as "tuple[int, ...]", to the location.
        where = ".".join(str(step) for step in item["loc"] if "[" not in str(step))
        if item["type"] == "extra_forbidden":
            valid = _fields_at(item["loc"][:-1])
            hint = did_you_mean(str(item["loc"][-1]), valid)
            lines.append(f"  unknown key {where!r}{hint} (valid: {', '.join(valid)})")
        else:
            shown = "" if isinstance(item["input"], Mapping) else f" = {item['input']!r}"
            lines.append(f"  {where or 'spec'}{shown}: {item['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)


def _fields_at(path: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = GrowthSpec
    for step in path:
        field = model.model_fields.get(str(step))
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return sorted(Knots.model_fields) if "fixed" in path else []
        model = kind
    return list(model.model_fields)
