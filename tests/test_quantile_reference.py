"""Plain quantile regression against R's quantreg 5.94 on synthetic data (fixtures/own/PROVENANCE.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from growth._types import FloatArray
from growth.quantile import QuantileProcess, fit_quantiles

OWN = Path(__file__).parents[1] / "fixtures" / "own"
TAUS = (0.05, 0.25, 0.5, 0.75, 0.95)
OBJECTIVE = 1e-12
"""Relative; sums of at most 2,000 losses in another order."""
COEFFICIENT = 1e-11
"""Relative to the largest; p x p systems solved in another order of operations."""
INTERPOLATED = 1e-8
"""Residuals that R's table counts as interpolated."""
SETS = ("A_continuous", "B_integer_ties", "C_weights", "D_intercept", "E_heavy_tails", "F_without_x5")


def read(name: str) -> pl.DataFrame:
    return pl.read_csv(OWN / name, infer_schema_length=None)


def dataset(name: str) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    rows = read("rq_data.csv").filter(dataset=name.replace("without_x5", "rank_deficient"))
    columns = [f"x{j}" for j in range(1, 12) if rows[f"x{j}"].null_count() == 0]
    if name == "F_without_x5":
        columns.remove("x5")
    design = np.column_stack([np.ones(len(rows)), *(rows[c].to_numpy() for c in columns)])
    return design, rows["y"].to_numpy(), None if rows["w"].null_count() else rows["w"].to_numpy()


@pytest.fixture(scope="module")
def objectives() -> pl.DataFrame:
    return read("rq_objectives.csv").sort("dataset", "tau")


@pytest.fixture(scope="module")
def coefficients() -> pl.DataFrame:
    return read("rq_coefficients.csv")


@pytest.mark.parametrize("name", SETS)
def test_the_same_numbers(name: str, objectives: pl.DataFrame, coefficients: pl.DataFrame) -> None:
    design, response, weights = dataset(name)
    process = fit_quantiles(design, response, TAUS, weights)
    expected = objectives.filter(dataset=name)
    assert expected["tau"].to_list() == list(TAUS)
    np.testing.assert_allclose(process.objective, expected["objective"], rtol=OBJECTIVE)
    on = (np.abs(response[:, None] - design @ process.coef.T) < INTERPOLATED).sum(axis=0)
    unique = expected["nonunique"].to_numpy() == 0
    np.testing.assert_array_equal(on[unique], expected["n_interpolated"].to_numpy()[unique])
    table = coefficients.filter(dataset=name)["value"].to_numpy().reshape(len(TAUS), -1)
    size = np.abs(table).max()
    np.testing.assert_allclose(process.coef[unique], table[unique], atol=COEFFICIENT * size)


def test_only_one_solution_is_not_unique(objectives: pl.DataFrame) -> None:
    """Set D at the median: every number between two observations is optimal; ours is one of the two."""
    several = objectives.filter(nonunique=1)
    assert several.select("dataset", "tau").rows() == [("D_intercept", 0.5)]
    design, response, _ = dataset("D_intercept")
    middle = np.sort(response)[24:26]
    assert fit_quantiles(design, response, TAUS).coef[2, 0] == middle[0]


@pytest.fixture(scope="module")
def deficient() -> tuple[FloatArray, QuantileProcess]:
    design, response, _ = dataset("F_rank_deficient")
    names = ("intercept", *(f"x{j}" for j in range(1, design.shape[1])))
    return design, fit_quantiles(design, response, TAUS, names=names)


def test_a_dependent_column_is_solved_and_reported(
    deficient: tuple[FloatArray, QuantileProcess], objectives: pl.DataFrame, coefficients: pl.DataFrame
) -> None:
    """x5 = x1 + 2 x2: quantreg stops or returns meaningless numbers; the optimum is that without x5."""
    design, process = deficient
    np.testing.assert_allclose(design[:, 5], design[:, 1] + 2 * design[:, 2], atol=1e-12)
    assert process.dropped_names == ("x5",)
    assert (process.coef[:, 5] == 0).all()
    expected = objectives.filter(dataset="F_without_x5")["objective"]
    np.testing.assert_allclose(process.objective, expected, rtol=OBJECTIVE)
    table = coefficients.filter(dataset="F_without_x5")["value"].to_numpy().reshape(len(TAUS), -1)
    np.testing.assert_allclose(process.coef[:, :5], table, atol=COEFFICIENT * np.abs(table).max())
    assert process.relative_gap.max() <= 1e-9
