"""Reference results of the R package SGP as plain arrays: fixtures/own, and the folder GROWTH_GOLDEN."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.panel import Panel, Pattern, Prior
from growth.quantile import QuantileProcess, SplineBasis, spline_design
from growth.spec import GrowthSpec
from growth.student import StudentGrowth, student_growth

OWN = Path(__file__).parents[1] / "fixtures" / "own"
GRID = (np.arange(1, 101) - 0.5) / 100
OBJECTIVE = 1e-9
"""Relative, as the issue demands; met with 1e-12."""
COEFFICIENT = 1e-9
"""Relative to the largest coefficient of the model, where the optimum is unique."""
INSIDE = 1e-9
"""Duals this far inside their boxes prove a unique optimum."""
SUBJECTS = {"MATH": "MATHEMATICS", "READ": "READING", "SGPDATA": "READING", "ELA": "ELA"}


@dataclass(frozen=True)
class Model:
    """One fitted model: the students of a cohort who have this many priors."""

    cohort: str
    order: int
    bases: tuple[SplineBasis, ...]
    ids: tuple[str, ...]
    priors: FloatArray
    """Shape (n, order), most recent first."""
    score: FloatArray
    sgp: IntArray
    """SGP of this order, as stored."""
    reported: IntArray
    """1 where this is the order that the student's reported SGP comes from."""
    objectives: dict[str, FloatArray]
    """Solver -> sum of check losses per tau."""
    coef: FloatArray | None
    """Shape (100, p), of the simplex solver; None if not stored."""
    bounds: tuple[float, float] | None = None
    """LOSS and HOSS, if the package's adjustment for them was switched on."""

    @property
    def subject(self) -> str:
        return re.sub(r"^(EDGE_.*_|BASELINE_|SIMEX_)?(MATH|READ|ELA|SGPDATA)_.*$", r"\2", self.cohort)

    @property
    def grade(self) -> int:
        return int(self.cohort.rsplit("_G", 1)[1])

    @property
    def converted(self) -> bool:
        """Whether 0 became 1 and 100 became 99: the package's default, which one edge case switches off.

        Counts run from 0 to 100, so a cohort that shows either end was reported unconverted.
        """
        return not np.isin([0, 100], self.sgp).any()

    @property
    def design(self) -> FloatArray:
        return spline_design(self.priors, self.bases)

    @property
    def panel(self) -> Panel:
        """The model's students as the student room takes them."""
        n, subject = len(self.ids), self.subject
        return Panel(
            subject=subject,
            grade=self.grade,
            year=2025,
            pattern=Pattern(tuple(Prior(subject, k, self.grade - k) for k in range(1, self.order + 1))),
            row=np.arange(n),
            score=self.score,
            priors=self.priors,
            covariates=np.empty((n, 0)),
            covariate_names=(),
            knot_scores=tuple(self.priors.T),
            bounds=self.bounds,
            norm_group="",
        )

    @property
    def spec(self) -> GrowthSpec:
        """The package's conventions with the knots that this model used."""
        knots = {
            str(self.grade - k): {"knots": basis.knots, "boundaries": basis.boundaries}
            for k, basis in enumerate(self.bases, start=1)
        }
        changes: dict[str, Any] = {"basis.fixed": {self.subject: knots}}
        if self.bounds is not None:
            changes["scale.bounds"] = {self.subject: {str(self.grade): self.bounds}}
            changes["correction.loss_hoss"] = True
        return GrowthSpec.preset("sgp").replace(changes)

    def with_bounds(self, bounds: tuple[float, float]) -> Panel:
        """The panel with LOSS and HOSS that only clip percentile cuts."""
        return replace(self.panel, bounds=bounds)


def check(model: Model) -> StudentGrowth:
    """Fit a model and compare everything that is stored for it."""
    growth = student_growth(model.panel, model.spec)
    process = growth.process
    expected = model.sgp if model.converted else np.clip(model.sgp, 1, 99)
    np.testing.assert_array_equal(growth.sgp, expected)
    if not model.converted:
        below = process.score(model.design, model.score, digits=5).below
        np.testing.assert_array_equal(below, model.sgp)
    for objective in model.objectives.values():
        np.testing.assert_allclose(process.objective, objective, rtol=OBJECTIVE)
    assert process.relative_gap.max() <= 1e-9
    if model.coef is not None:
        tau = process.taus[:, None]
        edge = np.minimum(tau - process.dual, process.dual - (tau - 1.0))
        unique = (edge > INSIDE).all(axis=1)
        assert unique.mean() > 0.9
        size = np.abs(model.coef).max()
        np.testing.assert_allclose(process.coef[unique], model.coef[unique], rtol=0, atol=COEFFICIENT * size)
    return growth


def frozen(coef: FloatArray, taus: FloatArray = GRID) -> QuantileProcess:
    """Return a process of given coefficients, as a frozen baseline hands it over; shape (m, p)."""
    m = len(coef)
    return QuantileProcess(
        taus=taus,
        coef=np.ascontiguousarray(coef),
        objective=np.full(m, np.nan),
        relative_gap=np.full(m, np.nan),
        dual=np.empty((m, 0)),
        basis=np.empty((m, 0), np.int64),
        status=("given",) * m,
        counters={},
    )


def coefficients(rows: pl.DataFrame, value: str, tau: str) -> FloatArray:
    """Return coefficients, shape (100, p), from a table in which the terms of each tau follow each other."""
    table = rows.sort(tau, maintain_order=True)[value].to_numpy().reshape(len(GRID), -1)
    np.testing.assert_allclose(rows[tau].unique().sort(), GRID, atol=6e-4)  # stored with three decimals
    return np.ascontiguousarray(table, dtype=np.float64)


# --- synthetic cohorts, in fixtures/own ---------------------------------------------------------------------


def own_cohorts() -> list[tuple[str, int]]:
    students = pl.read_parquet(OWN / "sgp_students.parquet", columns=["cohort", "sgp_order_1", "sgp_order_2"])
    counts = students.group_by("cohort", maintain_order=True).agg(pl.all().count())
    return [(name, k) for name, *n in counts.rows() for k in (1, 2) if n[k - 1]]


@cache
def own_knots() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((OWN / "knots.json").read_text())
    return found


def own_bases(cohort: str, order: int) -> tuple[SplineBasis, ...]:
    used = own_knots()["knots_boundaries_used"][cohort][f"order_{order}"]
    return tuple(_basis(one["knots"], one["boundaries"]) for one in used)


def own_model(cohort: str, order: int) -> Model:
    students = pl.read_parquet(OWN / "sgp_students.parquet").filter(
        pl.col("cohort") == cohort, pl.col(f"sgp_order_{order}").is_not_null()
    )
    edge = own_knots()["loss_hoss_edge"]
    return Model(
        cohort=cohort,
        order=order,
        bases=own_bases(cohort, order),
        ids=tuple(students["student_id"]),
        priors=_matrix(students, [f"prior_{k}" for k in range(1, order + 1)]),
        score=students["scale_score"].cast(pl.Float64).to_numpy(),
        sgp=students[f"sgp_order_{order}"].to_numpy(),
        reported=(students["sgp_order"] == order).cast(pl.Int64).to_numpy(),
        objectives={"br": own_objectives(cohort, order)},
        coef=own_coefficients(cohort, order),
        bounds=(float(edge["loss"]), float(edge["hoss"])) if "LOSSHOSS_ON" in cohort else None,
    )


def own_objectives(cohort: str, order: int) -> FloatArray:
    table = pl.read_parquet(OWN / "objectives.parquet").filter(cohort=cohort, order=order)
    return table.sort("tau")["objective"].to_numpy()


def own_coefficients(cohort: str, order: int) -> FloatArray:
    table = pl.read_parquet(OWN / "coefficients.parquet").filter(cohort=cohort, order=order)
    return coefficients(table, "value", "tau")


# --- the package's exemplar data, in the folder GROWTH_GOLDEN -----------------------------------------------


def golden_folder() -> Path | None:
    folder = os.environ.get("GROWTH_GOLDEN")
    return Path(folder) if folder else None


@cache
def golden_table(folder: Path, name: str) -> pl.DataFrame:
    table = pl.read_parquet(folder / f"{name}.parquet")
    return table.with_columns(pl.col(pl.Categorical).cast(pl.String))


@cache
def golden_json(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return found


def golden_cohorts(folder: Path) -> list[tuple[str, str, int]]:
    """Return every (cohort, knots, order) with results."""
    students = golden_table(folder, "sgp_students")
    orders = [c for c in students.columns if re.fullmatch(r"SGP_ORDER_\d+", c)]
    counts = students.group_by("COHORT", "KNOTS", maintain_order=True).agg(pl.col(orders).count())
    return [(c, k, i) for c, k, *n in counts.rows() for i in range(1, len(orders) + 1) if n[i - 1]]


def demo_bounds(folder: Path, subject: str, grade: int) -> tuple[float, float]:
    """Return LOSS and HOSS of the package's DEMO state."""
    low, high = golden_json(folder, "knots_boundaries")["demo_state_knots_boundaries"][SUBJECTS[subject]][
        f"loss.hoss_{grade}"
    ]
    return float(low), float(high)


def stored_bases(stored: dict[str, Any], grade: int, order: int) -> tuple[SplineBasis, ...]:
    """Return the bases of a model's priors, most recent first, from its entry in a knots file."""
    knots, boundaries = stored["knots"], stored["boundaries"]
    grades = range(grade - 1, grade - order - 1, -1)
    return tuple(_basis(knots[f"knots_{g}"], boundaries[f"boundaries_{g}"]) for g in grades)


def golden_model(folder: Path, cohort: str, knots: str, order: int) -> Model:
    students = golden_table(folder, "sgp_students").filter(
        pl.col("COHORT") == cohort, pl.col("KNOTS") == knots, pl.col(f"SGP_ORDER_{order}").is_not_null()
    )
    students = students.sort("ID")
    used = golden_json(folder, "knots_boundaries")["knots_boundaries_used"][f"{cohort}|{knots}"][order - 1]
    mine = {"COHORT": cohort, "KNOTS": knots, "ORDER": order}
    objectives = golden_table(folder, "objectives").filter(**mine)
    coefs = golden_table(folder, "coefficients").filter(**mine, METHOD="br")
    model = Model(
        cohort=cohort,
        order=order,
        bases=stored_bases(used, int(cohort.rsplit("_G", 1)[1]), order),
        ids=tuple(students["ID"]),
        priors=_matrix(students, [f"PRIOR_{k}" for k in range(1, order + 1)]),
        score=students["SCALE_SCORE"].cast(pl.Float64).to_numpy(),
        sgp=students[f"SGP_ORDER_{order}"].cast(pl.Int64).to_numpy(),
        reported=(students["SGP_ORDER"] == order).cast(pl.Int64).to_numpy(),
        objectives={
            method: objectives.filter(METHOD=method).sort("TAU")["OBJECTIVE"].to_numpy()
            for method in objectives["METHOD"].unique()
        },
        coef=coefficients(coefs, "VALUE", "TAU") if len(coefs) else None,
    )
    adjusted = cohort.startswith("EDGE_LOSSHOSS")
    return replace(model, bounds=demo_bounds(folder, model.subject, model.grade)) if adjusted else model


def golden_members(folder: Path, subject: str, grade: int, order: int, year: int = 2025) -> pl.DataFrame:
    """Return ID, score and prior_1.. of the students on the grade path with all these scores, sorted by ID.

    Membership rule of SGP_FACTS section 2, on the wide table of all students.
    """
    panel = golden_table(folder, f"panel_{SUBJECTS[subject].lower()}")
    years = range(year, year - order - 1, -1)
    on_path = [
        (pl.col(f"GRADE_{y}") == grade - lag) & pl.col(f"SS_{y}").is_not_null() for lag, y in enumerate(years)
    ]
    names = ["score", *(f"prior_{k}" for k in range(1, order + 1))]
    scores = [pl.col(f"SS_{y}").cast(pl.Float64).alias(n) for n, y in zip(names, years, strict=True)]
    return panel.filter(*on_path).select("ID", *scores).sort("ID")


def given(
    cohort: str, bases: tuple[SplineBasis, ...], rows: pl.DataFrame, who: str, priors: list[str], score: str
) -> Model:
    """Return a model without results of its own: students and bases, to be scored with given coefficients."""
    return Model(
        cohort=cohort,
        order=len(bases),
        bases=bases,
        ids=tuple(rows[who]),
        priors=_matrix(rows, priors),
        score=rows[score].cast(pl.Float64).to_numpy(),
        sgp=np.empty(0, np.int64),
        reported=np.empty(0, np.int64),
        objectives={},
        coef=None,
    )


def _matrix(rows: pl.DataFrame, columns: list[str]) -> FloatArray:
    return np.column_stack([rows[c].cast(pl.Float64).to_numpy() for c in columns])


def _basis(knots: list[float], boundaries: list[float]) -> SplineBasis:
    low, high = boundaries
    return SplineBasis(tuple(map(float, knots)), (float(low), float(high)))
