"""Cases for the EBLP tests: the stored reference case, and systems with known truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.school.eblp import StudentBlocks, Target


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Case a of fixtures/own/eblp: 41 schools, 12 blocks."""

    folder: Path
    students: StudentBlocks
    schools: list[str]
    blocks: list[str]

    def target(
        self, year: int | None = None, subject: str = "", weights: str = "n", minus: bool = False
    ) -> Target:
        found = self.of(year, subject)
        return Target(found, weights, self.of(1, subject) if minus else ())  # type: ignore[arg-type]

    def of(self, year: int | None, subject: str) -> tuple[int, ...]:
        start = "t" if year is None else f"t{year}_"
        return tuple(
            b for b, name in enumerate(self.blocks) if name.startswith(start) and name.endswith(subject)
        )

    def table(self, name: str) -> pl.DataFrame:
        return pl.read_csv(self.folder / f"a_{name}.csv")

    def matrix(self, name: str) -> FloatArray:
        return self.table(name).drop("block").to_numpy()

    def settings(self, run: str) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.folder / f"a_{run}.json").read_text())
        return found


def reference(repository: Path) -> Reference:
    folder = repository / "fixtures" / "own" / "eblp"
    rows = pl.read_csv(folder / "a_students.csv").with_columns(
        block=pl.format("t{}_g{}_b{}", "year", "grade", "subject")
    )
    names = {c: sorted(rows[c].unique()) for c in ("student_id", "school_id", "block")}
    codes = [
        rows[c].replace_strict(values, range(len(values)), return_dtype=pl.Int64).to_numpy()
        for c, values in names.items()
    ]
    schools, blocks = names["school_id"], names["block"]
    students = StudentBlocks(*codes, rows["score"].to_numpy(), len(schools), len(blocks))
    return Reference(folder, students, schools, blocks)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A system with known levels: 2 years x 2 subjects, three cohorts, one of them in both years."""

    students: StudentBlocks
    level: FloatArray
    """mu + theta, shape (S, 4)."""


def effects_covariance() -> FloatArray:
    """Return a G of rank 3 in which years and subjects share variance."""
    raw = (
        0.02 * np.eye(4)
        + 0.03 * np.kron(np.eye(2), np.ones((2, 2)))
        + 0.01 * np.kron(np.ones((2, 2)), np.eye(2))
    )
    centre = np.eye(4) - 0.25
    return np.asarray(centre @ raw @ centre)


def system(seed: int, schools: int = 400) -> Truth:
    """Draw schools with 3 to 60 students per cohort; blocks are year 1 math, ela, year 2 math, ela."""
    rng = np.random.default_rng([20220815, seed])
    value, vector = np.linalg.eigh(effects_covariance())
    theta = rng.standard_normal((schools, 4)) * np.sqrt(np.maximum(value, 0)) @ vector.T
    level = theta + 0.2 * rng.standard_normal((schools, 1))
    mean = np.array([0.1, -0.1, 0.0, 0.05])
    rows: list[tuple[IntArray, IntArray, IntArray, FloatArray]] = []
    first = 0
    for blocks in ((0, 1), (0, 1, 2, 3), (2, 3)):
        size = np.exp(rng.uniform(np.log(3), np.log(60), schools)).astype(np.int64)
        school = np.repeat(np.arange(schools), size)
        student = first + np.arange(len(school))
        first += len(school)
        able = rng.standard_normal(len(school))
        for b in blocks:
            there = rng.random(len(school)) < 0.95
            noise = 0.6 * able * (1 if b < 2 else -0.4) + 0.8 * rng.standard_normal(len(school))
            values = level[school, b] + mean[b] + noise
            rows.append((student[there], school[there], np.full(there.sum(), b), values[there]))
    columns = (np.concatenate(part) for part in zip(*rows, strict=True))
    # Block means are not identified beside levels: the model takes them out, with their mean left in mu.
    return Truth(StudentBlocks(*columns, schools, 4), level + mean)
