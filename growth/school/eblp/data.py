"""Students' results by school and block, counted and coded once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from growth._types import BoolArray, FloatArray, IntArray
from growth.errors import ColumnError, problem

__all__ = ["Layout", "StudentBlocks", "layout"]

_BITS = 62
"""Blocks that one signed 64-bit word can hold with room to spare."""


@dataclass(frozen=True, slots=True, eq=False)
class StudentBlocks:
    """Student results, one row per student and block; a block is a year x grade x subject."""

    student: IntArray
    """Codes, 0 or more, shape (n,)."""
    school: IntArray
    """Codes 0..S-1, shape (n,)."""
    block: IntArray
    """Codes 0..B-1, shape (n,)."""
    value: FloatArray
    """Growth results, comparable between blocks, shape (n,)."""
    schools: int
    """S."""
    blocks: int
    """B."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Rows ordered by student and block, with everything that is counted.

    A *pattern* is the set of blocks in which a student has results, in whatever schools. A *cell* is a block
    in a pattern, a *unit* a cell in a school.
    """

    student: IntArray
    """Ascending, shape (n,)."""
    school: IntArray
    block: IntArray
    value: FloatArray
    cell: IntArray
    """Codes 0..C-1, shape (n,)."""
    unit: IntArray
    """Codes 0..U-1, shape (n,)."""
    unit_school: IntArray
    """Shape (U,)."""
    unit_cell: IntArray
    """Shape (U,)."""
    unit_size: IntArray
    """Rows of each unit, shape (U,)."""
    cell_block: IntArray
    """Shape (C,)."""
    size: IntArray
    """Rows per school and block, shape (S, B)."""
    patterns: int
    """Patterns after the rare ones were put together."""
    pooled: int
    """Students whose pattern was rare."""

    @property
    def seen(self) -> BoolArray:
        """Whether a school has results in a block, shape (S, B)."""
        return np.asarray(self.size > 0)

    @property
    def cells(self) -> int:
        """Number of cells, C."""
        return len(self.cell_block)

    def pairs(self) -> list[tuple[IntArray, IntArray]]:
        """Return rows (i, j), i before j, of the same student, by how far they are apart."""
        found: list[tuple[IntArray, IntArray]] = []
        step = 1
        while True:
            first = np.flatnonzero(self.student[step:] == self.student[:-step])
            if not len(first):
                return found
            found.append((first, first + step))
            step += 1

    def common(self) -> IntArray:
        """Return students of each school in both of two blocks, shape (S, B, B); the diagonal is `size`."""
        schools, blocks = self.size.shape
        both = np.zeros(schools * blocks * blocks, np.int64)
        for i, j in self.pairs():
            here = self.school[i] == self.school[j]
            i, j = i[here], j[here]
            key = (self.school[i] * blocks + self.block[i]) * blocks + self.block[j]
            both += np.bincount(key, minlength=len(both))
        half = both.reshape(schools, blocks, blocks)
        whole = half + half.transpose(0, 2, 1)
        whole[:, np.arange(blocks), np.arange(blocks)] = self.size
        return whole


def layout(students: StudentBlocks, min_pattern: int) -> Layout:
    """Order and code the rows.

    Patterns of fewer than `min_pattern` students are put together; if these are still fewer, the next rarest
    join them.

    Raises
    ------
    ColumnError
        If a code is out of range, a value is not finite, or a student has two rows in one block.
    """
    _check(students)
    blocks = students.blocks
    key = students.student * blocks + students.block
    order = np.argsort(key, kind="stable")
    key = key[order]
    twice = int(np.count_nonzero(key[1:] == key[:-1]))
    if twice:
        raise ColumnError(
            problem(
                "Students have more than one result in a block",
                rule="one row per student, year, grade and subject",
                rows=twice,
                fix="keep one of them",
            )
        )
    student, block, school = students.student[order], students.block[order], students.school[order]
    pattern, patterns, pooled = _patterns(student, block, blocks, min_pattern)
    cells, cell = np.unique(pattern * blocks + block, return_inverse=True)
    units, unit, unit_size = np.unique(school * len(cells) + cell, return_inverse=True, return_counts=True)
    size = np.bincount(school * blocks + block, minlength=students.schools * blocks)
    return Layout(
        student=student,
        school=school,
        block=block,
        value=students.value[order],
        cell=cell,
        unit=unit,
        unit_school=units // len(cells),
        unit_cell=units % len(cells),
        unit_size=unit_size,
        cell_block=cells % blocks,
        size=size.reshape(students.schools, blocks),
        patterns=patterns,
        pooled=pooled,
    )


def _patterns(student: IntArray, block: IntArray, blocks: int, least: int) -> tuple[IntArray, int, int]:
    """Return the pattern of each row after rare ones were pooled, their number, and the students pooled."""
    start = np.flatnonzero(np.concatenate([[True], student[1:] != student[:-1]]))
    code = np.zeros(len(start), np.int64)
    for low in range(0, blocks, _BITS):
        bit = np.where((block >= low) & (block < low + _BITS), 1 << np.clip(block - low, 0, _BITS), 0)
        word = np.unique(np.bitwise_or.reduceat(bit, start), return_inverse=True)[1]
        code = np.unique(code * (int(word.max()) + 1) + word, return_inverse=True)[1]
    count = np.bincount(code)
    order = np.argsort(count, kind="stable")
    upto = np.cumsum(count[order])
    rare = int(np.searchsorted(count[order], least, side="left"))
    while 0 < rare < len(order) and upto[rare - 1] < least:
        rare += 1
    label = np.empty(len(count), np.int64)
    label[order] = np.maximum(np.arange(len(count)) - max(rare - 1, 0), 0)
    pooled = int(upto[rare - 1]) if rare else 0
    rows = np.diff(np.append(start, len(student)))
    return np.repeat(label[code], rows), len(count) - max(rare - 1, 0), pooled


def _check(students: StudentBlocks) -> None:
    codes = (
        ("student", students.student, None),
        ("school", students.school, students.schools),
        ("block", students.block, students.blocks),
    )
    for name, values, most in codes:
        bad = int(np.count_nonzero((values < 0) | ((values >= most) if most is not None else False)))
        if bad:
            rule = "whole numbers from 0" + ("" if most is None else f" to {most - 1}")
            raise ColumnError(problem(f"Codes of {name} are out of range", rule=rule, rows=bad))
    bad = int(np.count_nonzero(~np.isfinite(students.value)))
    if bad:
        raise ColumnError(problem("Values are not finite", rule="a number for every row", rows=bad))
