"""Coded rows, merged rows and ordered bases, each against an obvious twin."""

from __future__ import annotations

import numpy as np
import pytest

from growth._types import FloatArray, IntArray
from growth.kernels import bases, grouping
from growth.kernels.rows import CHUNK, Coding, Runs, code_blocks
from growth.quantile.designs import CodedDesign, DenseDesign

ROUNDED_UP = 1e-5
"""Leverages are rounded up, in single precision."""


def drawn(n: int, seed: int = 0) -> tuple[FloatArray, list[slice]]:
    """Return an intercept, two blocks of few distinct rows, and a column that belongs to none."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(7, 3)), rng.normal(size=(30, 2))
    flag = rng.integers(0, 2, n).astype(float)
    columns = [np.ones(n), a[rng.integers(0, 7, n)], b[rng.integers(0, 30, n)], flag]
    return np.column_stack(columns), [slice(1, 4), slice(4, 6)]


def naive_cells(code: IntArray, response: FloatArray, weight: FloatArray) -> tuple[list[int], list[float]]:
    """First row and weight of each pair of code and response, in order of first appearance."""
    found: dict[tuple[int, float], list[float]] = {}
    for i, key in enumerate(zip(code.tolist(), response.tolist(), strict=True)):
        found.setdefault(key, [i, 0.0])[1] += weight[i]
    return [int(first) for first, _ in found.values()], [total for _, total in found.values()]


RUNS = Runs(np.array([0, 1, 4, 6]), np.array([1, 4, 6, 7]), np.array([2, 0, 1, 2]))
"""The intercept and the last column form a block of two runs."""
MIX = np.cos(np.arange(1.0, 8.0) ** 2)


@pytest.mark.parametrize("n", [1, CHUNK, 3 * CHUNK + 5])
def test_lines_are_coded_in_order_of_first_appearance(n: int) -> None:
    matrix, _ = drawn(n)
    codes, values, count = np.zeros((3, n), np.uint16), np.empty((3, 40, 7)), np.empty(3, np.int64)
    assert code_blocks(matrix, RUNS, MIX, Coding.of(3, 40), codes, values, count)
    for b, columns in enumerate(([1, 2, 3], [4, 5], [0, 6])):
        part = matrix[:, columns]
        lines: list[tuple[float, ...]] = list(dict.fromkeys(map(tuple, part.tolist())))
        assert np.array_equal(values[b, : count[b], columns].T, lines)
        assert np.array_equal(values[b][codes[b]][:, columns], part)


def test_rows_that_are_not_few_or_not_numbers_are_not_coded() -> None:
    matrix, _ = drawn(1_000)
    one = Runs(np.array([4]), np.array([6]), np.array([0]))

    def coded(most: int) -> bool:
        codes, count = np.zeros((1, 1_000), np.uint16), np.empty(1, np.int64)
        work = Coding.of(1, most)
        return code_blocks(matrix, one, MIX, work, codes, np.empty((1, most, 7)), count)

    assert coded(30)
    assert not coded(29)
    matrix[700, 5] = np.nan
    assert not coded(40)
    matrix[:, 4:6] = [MIX[5], 0.0]
    assert coded(40)
    matrix[500:, 4:6] = [0.0, MIX[4]]  # another row of the same sum
    assert not coded(40)


def test_a_coded_design_is_the_matrix() -> None:
    matrix, blocks = drawn(6_000)
    coded = CodedDesign.of(matrix, blocks)
    assert coded is not None
    assert coded.rows.tables.shape[0] == 3  # the intercept is part of the first block
    assert np.array_equal(coded.dense(), matrix)


def test_leverages_of_one_block_are_those_of_its_rows() -> None:
    matrix, blocks = drawn(6_000)
    matrix = matrix[:, :4]
    coded = CodedDesign.of(matrix, blocks[:1])
    assert coded is not None
    metric = np.linalg.cholesky(matrix.T @ matrix)
    expected = DenseDesign(matrix).leverages(metric)
    assert coded.leverages(metric) == pytest.approx(expected, rel=ROUNDED_UP)


@pytest.mark.parametrize("weighted", [False, True])
def test_cells_are_merged_in_order_of_first_appearance(weighted: bool) -> None:
    rng = np.random.default_rng(3)
    n, lines, scores = 5_000, 20, 50
    code = rng.integers(0, lines, n).astype(np.uint16)
    response = rng.integers(0, scores, n) - 7.25
    weight = rng.uniform(0.5, 2.0, n) if weighted else np.ones(n)
    table = np.zeros((lines, scores), np.int32)
    first, total = np.empty(table.size, np.int64), np.empty(table.size)
    given = weight if weighted else np.empty(0)
    groups = grouping.merge_cells(code, response, given, -7.25, table, first, total)
    rows, sums = naive_cells(code, response, weight)
    assert first[:groups].tolist() == rows
    assert total[:groups].tolist() == sums
    table[:] = 0
    response[-1] += 2.0**-40
    assert grouping.merge_cells(code, response, given, -7.25, table, first, total) == -1


def test_coefficients_do_not_depend_on_the_order_of_a_basis() -> None:
    rng = np.random.default_rng(4)
    matrix = np.round(rng.normal(size=(40, 5)), 1)
    matrix[:, 0] = 1.0
    response = rng.integers(0, 4, 40).astype(float)  # many equal: design rows decide
    rows = DenseDesign(matrix).rows
    basis = np.stack([rng.choice(40, 5, replace=False) for _ in range(30)])
    content = np.column_stack([response, matrix])
    expected = np.array([sorted(h, key=lambda i: tuple(content[i])) for h in basis.tolist()])
    coef, other = np.empty((30, 5)), np.empty((30, 5))
    shuffled = rng.permuted(basis, axis=1)
    work = bases.Square.of(5)
    bases.vertex_coefficients(rows, response, basis, work, coef)
    bases.vertex_coefficients(rows, response, shuffled, work, other)
    assert np.array_equal(basis, expected)
    assert np.array_equal(shuffled, expected)
    assert np.array_equal(coef, other, equal_nan=True)
    for h, b in zip(basis, coef, strict=True):
        assert np.isnan(b).all() or b == pytest.approx(np.linalg.solve(matrix[h], response[h]), abs=1e-9)
