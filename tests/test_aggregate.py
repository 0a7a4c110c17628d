"""Sums of groups: the same bits from call to call and for any number of polars' threads."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import polars as pl

from growth.aggregate import by_group

MARKS = """
import hashlib, numpy as np, polars as pl
from growth.aggregate import by_group
rng = np.random.default_rng(4)
frame = pl.DataFrame({"unit": rng.integers(0, 40, 60_000), "x": rng.lognormal(size=60_000)})
x = pl.col("x")
alone = [[x.sum()], [x.mean()], [x.sum(), x.mean().alias("mean")], [x.std()], [x.sum(), x.std().alias("sd")]]
keys = ["unit"], ["unit", "half"]
frame = frame.with_columns(half=pl.col("unit") % 2)
found = [by_group(frame, key, *sums).drop(key) for sums in alone for key in keys for _ in range(2)]
print(pl.thread_pool_size(), *(hashlib.sha256(f.to_numpy().tobytes()).hexdigest() for f in found))
"""


def test_same_bits_for_any_number_of_threads() -> None:
    """Each by itself as well: what stands beside a sum can change how polars adds it up."""
    marks = {}
    for threads in ("1", "3", "8"):
        ended = subprocess.run(
            [sys.executable, "-c", MARKS],
            env={**os.environ, "POLARS_MAX_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        )
        used, *marks[threads] = ended.stdout.split()
        assert used == threads
    for same in zip(*marks.values(), strict=True):
        assert len(set(same)) == 1
    twice = marks["1"]
    assert twice[::2] == twice[1::2]


def test_groups_come_in_order_of_appearance_and_null_is_one() -> None:
    frame = pl.DataFrame({"a": ["y", None, "x", "y", None], "b": [1, 2, 3, 4, 5], "c": [1, 1, 1, 1, 2]})
    found = by_group(frame, ["a", "c"], pl.col("b").sum(), pl.col("b").max().alias("most"))
    assert found.rows() == [("y", 1, 5, 4), (None, 1, 2, 2), ("x", 1, 3, 3), (None, 2, 5, 5)]
    assert by_group(frame.clear(), "a", pl.len()).shape == (0, 2)


def test_equals_sums_of_a_slow_twin() -> None:
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({"unit": rng.integers(0, 7, 500), "x": rng.normal(size=500)})
    for unit, total in by_group(frame, "unit", pl.col("x").sum()).iter_rows():
        rows = frame.filter(unit=unit)["x"].to_list()
        np.testing.assert_allclose(total, sum(rows), rtol=1e-13)
