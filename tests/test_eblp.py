"""EBLP: equal to stored reference numbers, to formulas by hand, to a slow twin, and to truth."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from eblp_cases import Reference, Truth, reference, system

from growth._types import FloatArray
from growth.errors import CohortError, ColumnError, SpecError
from growth.school.eblp import Eblp, EblpOptions, Known, StudentBlocks, Target, eblp
from growth.school.eblp.data import layout
from growth.school.eblp.moments import cell_effects
from growth.school.eblp.project import clipped, nearest

REFERENCE = 1e-9
"""Stored with 15 digits; an independent program agreed within 1e-13 (PROVENANCE.md)."""
ROUNDING = 1e-12
STATED = 0.05
"""Relative difference of stated and realised mean squared errors that is asked for."""

PLAIN = EblpOptions(cell_effects=False, jackknife=0)
GIVEN = EblpOptions(jackknife=0)


@pytest.fixture(scope="module")
def case(repository: Path) -> Reference:
    return reference(repository)


RUNS: list[tuple[str, dict[str, object], EblpOptions]] = [
    ("supplied_alpha0_alln", {}, PLAIN),
    ("supplied_alpha0_y2math", {"year": 2, "subject": "math"}, PLAIN),
    ("supplied_alln", {}, GIVEN),
    ("supplied_y2math", {"year": 2, "subject": "math"}, GIVEN),
    ("supplied_y2math_equal", {"year": 2, "subject": "math", "weights": "equal"}, GIVEN),
    ("supplied_contrast", {"year": 2, "subject": "math", "minus": True}, GIVEN),
    ("est_nojack_alln", {}, GIVEN),
    ("est_nojack_alpha0_alln", {}, PLAIN),
    ("est_nojack_spectral_alln", {}, replace(GIVEN, projection="alternating")),
    ("est_jackmax_alln", {}, EblpOptions(jackknife=1000)),
    ("est_jackmax_y2math", {"year": 2, "subject": "math"}, EblpOptions(jackknife=1000)),
    ("est_jack5_alln", {}, EblpOptions()),
    ("est_default", {"year": 2}, EblpOptions()),
]


def fitted(case: Reference, run: str) -> Eblp:
    choice, options = next((choice, options) for name, choice, options in RUNS if name == run)
    known = Known()
    if run.startswith("supplied"):
        known = Known(case.matrix("known_G"), case.matrix("known_R"))
    elif run == "est_jack5_alln":
        known = Known(batch=case.table(f"{run}_schools")["jack_batch"].fill_null(0).to_numpy() - 1)
    return eblp(case.students, {"asked": case.target(**choice)}, options, known)  # type: ignore[arg-type]


def same(ours: FloatArray, theirs: FloatArray) -> None:
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=REFERENCE)


@pytest.mark.parametrize("run", [name for name, _, _ in RUNS])
def test_every_stored_run(case: Reference, run: str) -> None:
    found = fitted(case, run)
    stored = case.table(f"{run}_target")
    columns = {
        "direct": "est.direct", "direct_mse": "mse.direct", "blp": "est.blp", "blp_mse": "mse.blp",
        "hybrid": "est.hybrid", "hybrid_mse": "mse.hybrid", "prmse": "prmse.direct", "n": "ntotal",
    }  # fmt: skip
    for ours, theirs in columns.items():
        mine, want = (
            frame[name].cast(float).fill_null(np.nan)
            for frame, name in ((found.schools, ours), (stored, theirs))
        )
        same(mine.to_numpy(), want.to_numpy())
    settings = case.settings(run)
    for name, matrix in (("G", found.g), ("R", found.r)):
        if name in settings:
            same(matrix, np.array(settings[name]))
    stats = settings["modstats"]
    assert isinstance(stats, dict)
    assert found.between_schools == pytest.approx(stats["estimated_variance_among_schools"], abs=REFERENCE)


@pytest.mark.parametrize(
    "run", ["supplied_alln", "est_nojack_alln", "est_jackmax_alln", "est_jack5_alln", "est_default"]
)
def test_blocks_and_levels_of_the_stored_runs(case: Reference, run: str) -> None:
    found = fitted(case, run).predicted
    schools = case.table(f"{run}_schools")
    same(found.mu, schools["mu"].to_numpy())
    same(found.mu_mse, schools["var_muhat"].to_numpy())
    blocks = case.table(f"{run}_blocks")
    place = [case.schools.index(s) for s in blocks["school"]], [case.blocks.index(b) for b in blocks["block"]]
    assert np.isfinite(found.blp).sum() == blocks.height
    same(found.blp[place], blocks["blp"].to_numpy())
    same(found.mse[place], blocks["mse_blp"].to_numpy())
    if "jack" in run and "nojack" not in run:
        same(found.mse_jackknife[place], blocks["mse_blp_so"].to_numpy())
        same(found.mu_jackknife, schools["var_muhat_so"].to_numpy())


def test_moments_before_their_projection_and_counts(case: Reference) -> None:
    found = fitted(case, "est_nojack_alln")
    pairs = case.table("est_nojack_alln_pairs")
    i, j = (pairs[name].to_numpy() - 1 for name in ("blockidi", "blockidj"))
    same(found.g_moments[i, j], pairs["Graw"].to_numpy())
    same(found.r_moments[i, j], np.where(pairs["R_est"], pairs["Rraw"].fill_null(0.0), 0.0))
    np.testing.assert_array_equal(found.means.weight[i, j], pairs["nsch"])
    assert (np.linalg.eigvalsh(found.g_moments) < -1e-6).sum() == 6
    assert np.linalg.eigvalsh(found.g).min() > -ROUNDING
    np.testing.assert_allclose(found.g.sum(axis=1), 0.0, atol=ROUNDING)


def test_a_school_seen_in_one_block_stays_as_it_is(case: Reference) -> None:
    found = fitted(case, "est_default").schools
    # S41 has one block, in year 2: nothing to borrow from.
    alone = found.filter(school=case.schools.index("S41")).row(0, named=True)
    assert alone["blp"] == pytest.approx(alone["direct"], rel=ROUNDING)
    assert alone["prmse"] == pytest.approx(0.0, abs=ROUNDING)
    worse = fitted(case, "est_jackmax_alln").schools
    assert (worse["used"] == "direct").any()
    assert worse.filter(used="direct")["hybrid"].to_list() == worse.filter(used="direct")["direct"].to_list()


def test_two_blocks_by_hand() -> None:
    # theta = (t, -t), var t = g; no student in both blocks. a, b: variances of noise of the means.
    g, r = 0.5, np.diag([2.0, 3.0])
    value = np.array([1.0, 3.0, 0.0, 2.0, 4.0])
    students = StudentBlocks(np.arange(5), np.zeros(5, np.int64), np.array([0, 0, 1, 1, 1]), value, 1, 2)
    known = Known(g * np.array([[1.0, -1.0], [-1.0, 1.0]]), r)
    found = eblp(students, {"first": Target((0,)), "difference": Target((0,), "n", (1,))}, PLAIN, known)
    a, b = 2.0 / 2, 3.0 / 3
    whole = 4 * g + a + b
    first, difference = found.schools.iter_rows(named=True)
    assert first["direct"] == 2.0
    assert first["direct_mse"] == pytest.approx(a)
    assert first["blp"] == pytest.approx(((4 * g + b) * 2.0 + a * 2.0) / whole)
    assert first["blp_mse"] == pytest.approx(a * (4 * g + b) / whole)
    assert first["prmse"] == pytest.approx(a / whole)
    assert first["mu"] == pytest.approx(((2 * g + b) * 2.0 + (2 * g + a) * 2.0) / whole)
    # The difference is shrunk as any effect of variance 4 g with noise a + b, towards no difference.
    assert difference["blp"] == pytest.approx(4 * g / whole * (2.0 - 2.0))
    assert difference["blp_mse"] == pytest.approx(4 * g * (a + b) / whole)


def test_common_students_by_hand() -> None:
    # Four students, all in both blocks: R_s = R / 4. Moments of R are means of squares and products over 3.
    x, y = np.array([1.0, 2.0, 3.0, 6.0]), np.array([2.0, 1.0, 5.0, 4.0])
    students = StudentBlocks(
        np.tile(np.arange(4), 2), np.zeros(8, np.int64), np.repeat([0, 1], 4), np.concatenate([x, y]), 1, 2
    )
    options = replace(PLAIN, min_pair=1)
    found = eblp(students, {"all": Target((0, 1))}, options, Known(g=np.zeros((2, 2))))
    want = np.cov(x, y)  # n0 n1 / (n0 n1 - n0 - n1 + n01) = 16 / 12 and 1 / n01 make 1 / 3
    np.testing.assert_allclose(found.r, want, ROUNDING)
    row = found.schools.row(0, named=True)
    assert row["direct_mse"] == pytest.approx(np.array([0.5, 0.5]) @ want @ [0.5, 0.5] / 4)


def slow_school(y: FloatArray, g: FloatArray, r_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return predictions and their MSE matrix as Henderson's mixed-model equations give them."""
    one = np.ones((len(y), 1))
    value, vector = np.linalg.eigh(g)
    z = vector[:, value > 1e-12] * np.sqrt(value[value > 1e-12])
    x = np.hstack([one, z])
    inside = np.linalg.inv(r_s)
    penalty = np.diag([0.0] + [1.0] * z.shape[1])
    c = np.linalg.inv(x.T @ inside @ x + penalty)
    return x @ c @ x.T @ inside @ y, x @ c @ x.T


def test_predictions_are_those_of_mixed_model_equations() -> None:
    truth = system(3, 40)
    found = eblp(truth.students, {"all": Target((0, 1, 2, 3))}, GIVEN)
    means = found.means
    for s in range(40):
        n = means.size[s]
        r_s = found.r * means.common[s] / np.outer(n, n)
        blp, mse = slow_school(means.less_alpha[s], found.g, r_s)
        np.testing.assert_allclose(found.predicted.blp[s] - means.alpha[s], blp, 1e-8)
        np.testing.assert_allclose(found.predicted.mse[s], np.diag(mse), 1e-8)


def test_cell_effects_are_least_squares(case: Reference) -> None:
    rows = layout(case.students, 100)
    x = np.zeros((len(rows.value), 41 + rows.cells))
    x[np.arange(len(x)), rows.school] = 1.0
    x[np.arange(len(x)), 41 + rows.cell] = 1.0
    slow = np.linalg.lstsq(x, rows.value, rcond=None)[0][41:]
    np.testing.assert_allclose(cell_effects(rows), slow - slow.mean(), rtol=0, atol=1e-9)
    assert rows.patterns == 6  # five kept and the pool, PROVENANCE.md


def test_schools_that_share_no_cell_have_effects_of_their_own(case: Reference) -> None:
    first = system(1, 30).students
    apart = StudentBlocks(
        np.concatenate([first.student, first.student + first.student.max() + 1]),
        np.concatenate([first.school, first.school + 30]),
        np.concatenate([first.block, first.block + 4]),
        np.concatenate([first.value, first.value + 5.0]),
        60,
        8,
    )
    rows, alone = layout(apart, 100), cell_effects(layout(first, 100))
    found = cell_effects(rows)
    np.testing.assert_allclose(found[rows.cell_block < 4], alone, atol=ROUNDING)
    np.testing.assert_allclose(found[rows.cell_block >= 4], alone, atol=1e-9)
    with pytest.raises(CohortError, match="16 pairs of blocks are never seen in the same school"):
        eblp(apart, {"all": Target((0, 1))})


@cache
def outcomes() -> dict[str, FloatArray]:
    """Return errors, stated MSEs and sizes of 20 systems of 400 schools, shape (8000, targets)."""
    targets = {"latest math": Target((2,)), "latest": Target((2, 3)), "all": Target((0, 1, 2, 3))}
    parts: dict[str, list[FloatArray]] = {
        name: [] for name in ("blp", "blp_mse", "direct", "direct_mse", "n")
    }
    for seed in range(20):
        truth: Truth = system(seed)
        found = eblp(truth.students, targets, EblpOptions(jackknife=20))
        size = found.means.size
        for name, values in (("blp", found.predicted.target), ("direct", found.predicted.direct)):
            wanted = [
                (truth.level[:, target.blocks] * size[:, target.blocks]).sum(1)
                / size[:, target.blocks].sum(1)
                for target in targets.values()
            ]
            parts[name].append((values - np.column_stack(wanted)) ** 2)
        parts["blp_mse"].append(found.predicted.target_mse)
        parts["direct_mse"].append(found.predicted.direct_mse)
        parts["n"].append(np.column_stack([size[:, list(t.blocks)].sum(1) for t in targets.values()]))
    return {name: np.concatenate(values) for name, values in parts.items()}


def test_stated_mean_squared_errors_are_the_realised_ones() -> None:
    found = outcomes()
    for name in ("blp", "direct"):
        ratio = found[name].mean(axis=0) / found[f"{name}_mse"].mean(axis=0)
        np.testing.assert_allclose(ratio, 1.0, rtol=0, atol=STATED)


def test_predictions_beat_means_at_every_size_below_fifty() -> None:
    found = outcomes()
    for low, high in ((1, 10), (10, 20), (20, 30), (30, 40), (40, 50)):
        inside = (found["n"][:, 0] >= low) & (found["n"][:, 0] < high)
        assert inside.sum() > 300
        assert found["blp"][inside, 0].mean() < 0.9 * found["direct"][inside, 0].mean()


def test_nothing_depends_on_the_order_of_rows_or_on_threads(case: Reference) -> None:
    students = case.students
    order = np.random.default_rng(1).permutation(len(students.value))
    shuffled = replace(
        students,
        student=students.student[order],
        school=students.school[order],
        block=students.block[order],
        value=students.value[order],
    )
    asked = {"all": case.target(), "math": case.target(2, "math")}
    one = eblp(students, asked, EblpOptions(jackknife=7))
    assert one.schools.equals(eblp(shuffled, asked, EblpOptions(jackknife=7)).schools)
    assert one.schools.equals(eblp(students, asked, EblpOptions(jackknife=7, n_jobs=2)).schools)
    assert np.bincount(one.batch[one.batch >= 0]).tolist() == [6, 6, 6, 6, 6, 5, 5]


def test_units_and_levels_do_not_matter(case: Reference) -> None:
    asked, options = {"math": case.target(2, "math")}, EblpOptions(jackknife=5)
    base = eblp(case.students, asked, options).schools
    moved = eblp(replace(case.students, value=50 + 20 * case.students.value), asked, options).schools
    for name, want in (
        ("blp", 50 + 20 * base["blp"]),
        ("blp_mse", 400 * base["blp_mse"]),
        ("prmse", base["prmse"]),
    ):
        np.testing.assert_allclose(moved[name].drop_nulls(), want.drop_nulls(), 1e-8)


def test_the_nearest_covariance_with_zeros_is_nearest() -> None:
    matrix = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.9], [0.0, 0.9, 1.0]])
    zero = np.zeros((3, 3), np.bool_)
    zero[0, 2] = zero[2, 0] = True
    found, other = nearest(matrix, zero, "nearest"), nearest(matrix, zero, "alternating")
    for one in (found, other):
        assert np.linalg.eigvalsh(one).min() > -1e-9
        assert one[0, 2] == 0.0
    distance = np.linalg.norm(found - matrix)
    assert distance < np.linalg.norm(other - matrix) - 1e-5
    # By symmetry the nearest one is [[a, b, 0], [b, c, b], [0, b, a]] with 2 b^2 = a c: search a and c.
    a, c = np.meshgrid(np.linspace(0.5, 1.5, 1001), np.linspace(0.5, 2.0, 1501))
    squares = 2 * (a - 1) ** 2 + (c - 1) ** 2 + 4 * (np.sqrt(a * c / 2) - 0.9) ** 2
    assert distance**2 == pytest.approx(squares.min(), abs=1e-5)
    np.testing.assert_array_equal(nearest(np.eye(3), zero, "nearest"), np.eye(3))
    np.testing.assert_allclose(clipped(np.diag([1.0, -1.0])), np.diag([1.0, 0.0]), atol=ROUNDING)


def test_more_than_sixty_blocks_have_patterns_too() -> None:
    student = np.repeat(np.arange(300), 2)
    block = np.column_stack([np.arange(300) % 3, 62 + np.arange(300) % 3]).ravel()
    value = np.random.default_rng(0).standard_normal(600)
    rows = layout(StudentBlocks(student, student % 5, block, value, 5, 65), 100)
    assert rows.patterns == 3
    assert rows.cells == 6


ONE = np.zeros(2, np.int64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block": np.array([0, 0])}, "more than one result in a block"),
        ({"block": np.array([0, 2])}, "Codes of block are out of range"),
        ({"school": np.array([-1, 0])}, "Codes of school are out of range"),
        ({"value": np.array([0.0, np.nan])}, "not finite"),
        ({}, "no two students of the same pattern"),
    ],
)
def test_unusable_rows_are_refused(change: dict[str, FloatArray], message: str) -> None:
    students = StudentBlocks(ONE, ONE, np.array([0, 1]), np.array([0.0, 1.0]), 1, 2)
    with pytest.raises(ColumnError, match=message):
        eblp(replace(students, **change), {"all": Target((0, 1))})  # type: ignore[arg-type]


@pytest.mark.parametrize("target", [Target(()), Target((5,)), Target((0,), "n", (0, 1))])
def test_unusable_targets_are_refused(target: Target) -> None:
    with pytest.raises(SpecError, match="cannot be used"):
        eblp(system(0, 20).students, {"asked": target}, PLAIN)


def test_unusable_matrices_are_refused() -> None:
    students = system(0, 20).students
    for known in (Known(g=np.eye(3)), Known(g=np.eye(4)), Known(r=np.triu(np.ones((4, 4))))):
        with pytest.raises(SpecError, match="given"):
            eblp(students, {"all": Target((0,))}, PLAIN, known)
    with pytest.raises(CohortError, match="one block only"):
        eblp(replace(students, block=np.zeros_like(students.block), blocks=1), {"all": Target((0,))})
