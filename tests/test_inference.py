"""Standard errors: equal to R's where R has them, to a plain twin, and right about repeated samples."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from growth._types import FloatArray, IntArray
from growth.errors import ColumnError, GrowthWarning, SpecError
from growth.quantile import fit_quantiles
from growth.quantile.inference import hall_sheather_bandwidth, standard_errors

OWN = Path(__file__).parents[1] / "fixtures" / "own"
TAUS = (0.05, 0.25, 0.5, 0.75, 0.95)
EXACT = 1e-11
"""Same formula in another order of operations."""
OFFSET = 2e-6
"""R subtracts 1.5e-8 [response units] from the rise between two curves, which may be as small as 0.02."""
INTERPOLATED = 0.03
"""Scores of interpolated rows are a convention; at n = 900, p = 3 they move a standard error this much."""
BOOTSTRAP = 0.2
"""The wild gradient bootstrap estimates the density in another way and has noise of its own."""


def _read(name: str) -> pl.DataFrame:
    return pl.read_csv(OWN / name)


def _dataset(name: str) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    rows = _read("rq_data.csv").filter(pl.col("dataset") == name)
    columns = [rows[f"x{j}"].to_numpy() for j in range(1, 12) if rows[f"x{j}"].null_count() == 0]
    design = np.column_stack([np.ones(len(rows)), *columns])
    return design, rows["y"].to_numpy(), None if rows["w"].null_count() else rows["w"].to_numpy()


def _clustered() -> tuple[FloatArray, FloatArray, IntArray]:
    rows = _read("cluster/cluster_data.csv")
    design = np.column_stack([np.ones(len(rows)), rows["x1"].to_numpy(), rows["x2"].to_numpy()])
    return design, rows["y"].to_numpy(), rows["group"].to_numpy()


def _twin(x: FloatArray, residual: FloatArray, tau: float, groups: IntArray, on_plane: float) -> FloatArray:
    """Parente and Santos Silva's formula, row by row; `on_plane` is the score of interpolated rows."""
    n, p = x.shape
    h = (
        n ** (-1 / 3)
        * norm.ppf(0.975) ** (2 / 3)
        * (1.5 * norm.pdf(norm.ppf(tau)) ** 2 / (2 * norm.ppf(tau) ** 2 + 1)) ** (1 / 3)
    )
    kappa = np.median(np.abs(residual - np.median(residual)))
    width = kappa * (norm.ppf(tau + h) - norm.ppf(tau - h))
    bread, sums = np.zeros((p, p)), {g: np.zeros(p) for g in groups.tolist()}
    for row, u, g in zip(x, residual, groups.tolist(), strict=True):
        bread += (abs(u) < width) / (2 * width) * np.outer(row, row)
        sums[g] += (on_plane if abs(u) < 1e-9 else tau - (u < 0)) * row
    meat = sum(np.outer(s, s) for s in sums.values())
    count = len(sums)
    covariance = np.linalg.inv(bread) @ meat @ np.linalg.inv(bread) * count / (count - 1) * (n - 1) / (n - p)
    return np.sqrt(np.diag(covariance))


def test_bandwidths_equal_quantreg() -> None:
    rows = _read("rq_objectives.csv")
    for tau, n, bandwidth in rows.select("tau", "n", "bandwidth").iter_rows():
        # R reports the bandwidth before it is halved.
        fits = tau - bandwidth >= 0 and tau + bandwidth <= 1
        ours = hall_sheather_bandwidth([tau], n)[0] * (1 if fits else 2)
        assert ours == pytest.approx(bandwidth, rel=1e-13)


def test_bandwidth_is_halved_until_it_fits() -> None:
    taus = np.array([0.001, 0.5, 0.999])
    h = hall_sheather_bandwidth(taus, 20)
    assert (taus - h >= 0).all()
    assert (taus + h <= 1).all()
    assert h[0] == pytest.approx(h[2])


@pytest.mark.parametrize("kind", ["iid", "nid", "ker"])
@pytest.mark.parametrize(
    "name", ["A_continuous", "B_integer_ties", "C_weights", "D_intercept", "E_heavy_tails"]
)
def test_equal_to_quantreg(name: str, kind: str) -> None:
    design, response, weights = _dataset(name)
    process = fit_quantiles(design, response, TAUS, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GrowthWarning)  # B: quantiles whose central residuals are all tied
        ours = standard_errors(process, design, response, weights, kind=kind)
    theirs = _read("rq_se.csv").filter((pl.col("dataset") == name) & (pl.col("se_type") == kind))
    compared = 0
    for k, tau in enumerate(TAUS):
        rows = theirs.filter((pl.col("tau") == tau) & (pl.col("exact") == 1))
        if len(rows):
            assert len(rows) == design.shape[1]
            np.testing.assert_allclose(
                ours[k], rows["se"].to_numpy(), rtol=OFFSET if kind == "nid" else EXACT
            )
            compared += 1
    assert compared >= 2


def test_dropped_columns_have_none() -> None:
    design, response, _ = _dataset("F_rank_deficient")
    process = fit_quantiles(design, response, TAUS)
    assert process.dropped == (5,)
    thin = fit_quantiles(design[:, :5], response, TAUS)
    groups = np.arange(response.size) % 30
    for kind in ("iid", "nid", "ker", "cluster"):
        extra = {"groups": groups} if kind == "cluster" else {}
        ours = standard_errors(process, design, response, kind=kind, **extra)
        np.testing.assert_allclose(
            ours[:, :5], standard_errors(thin, design[:, :5], response, kind=kind, **extra), rtol=1e-8
        )
        assert np.isnan(ours[:, 5]).all()


def test_cluster_formula_equals_pyfixest_and_quantreg_bootstrap() -> None:
    design, response, groups = _clustered()
    reference = _read("cluster/cluster_se.csv")
    taus = np.unique(reference["tau"].to_numpy())
    process = fit_quantiles(design, response, taus)
    ours = standard_errors(process, design, response, kind="cluster", groups=groups)
    for k, tau in enumerate(taus):
        residual = response - design @ process.coef[k]
        rows = reference.filter(pl.col("tau") == tau)
        theirs = rows.filter(pl.col("source") == "pyfixest")["se"].to_numpy()
        np.testing.assert_allclose(_twin(design, residual, tau, groups, tau - 1.0), theirs, rtol=1e-7)
        np.testing.assert_allclose(ours[k], theirs, rtol=INTERPOLATED)
        bootstrap = rows.filter(pl.col("source") == "quantreg_boot")["se"].to_numpy()
        np.testing.assert_allclose(ours[k], bootstrap, rtol=BOOTSTRAP)


def test_cluster_scores_of_interpolated_rows_are_the_duals() -> None:
    design, response, groups = _clustered()
    process = fit_quantiles(design, response, [0.3])
    residual = response - design @ process.coef[0]
    score = design * (0.3 - (residual < 0))[:, None]
    score[process.basis[0]] = design[process.basis[0]] * process.dual[0][:, None]
    np.testing.assert_allclose(score.sum(axis=0), 0.0, atol=1e-9)
    h = hall_sheather_bandwidth([0.3], response.size)[0]
    width = np.median(np.abs(residual - np.median(residual))) * (norm.ppf(0.3 + h) - norm.ppf(0.3 - h))
    inverse = np.linalg.inv((design * (np.abs(residual) < width)[:, None]).T @ design / (2 * width))
    sums = np.array([score[groups == g].sum(axis=0) for g in np.unique(groups)])
    n, count = response.size, len(sums)
    covariance = inverse @ sums.T @ sums @ inverse * count / (count - 1) * (n - 1) / (n - 3)
    ours = standard_errors(process, design, response, kind="cluster", groups=groups)
    np.testing.assert_allclose(ours[0], np.sqrt(np.diag(covariance)), rtol=1e-9)


def _sample(rng: np.random.Generator, groups: IntArray) -> tuple[FloatArray, FloatArray]:
    clusters = int(groups.max()) + 1
    x = 0.5 * rng.standard_normal(groups.size) + rng.standard_normal(clusters)[groups]
    error = 0.7 * rng.standard_normal(clusters)[groups] + rng.standard_normal(groups.size)
    return np.column_stack([np.ones(groups.size), x]), 1.0 + 2.0 * x + error


def test_coverage_in_repeated_clustered_samples() -> None:
    """95 % intervals by cluster cover the true slope; those that ignore clusters do not."""
    rng = np.random.default_rng(3)
    groups = np.arange(800) % 80
    taus, repeats = np.array([0.3, 0.5]), 300
    hits = {"cluster": np.zeros(2), "nid": np.zeros(2)}
    for _ in range(repeats):
        design, response = _sample(rng, groups)
        process = fit_quantiles(design, response, taus)
        for kind, hit in hits.items():
            extra = {"groups": groups} if kind == "cluster" else {}
            se = standard_errors(process, design, response, kind=kind, **extra)[:, 1]
            hit += np.abs(process.coef[:, 1] - 2.0) < 1.96 * se
    # 300 repeats have a standard error of 1.3 points; 80 clusters leave the intervals a little short.
    assert ((hits["cluster"] / repeats > 0.89) & (hits["cluster"] / repeats < 0.985)).all()
    assert (hits["nid"] / repeats < 0.8).all()


def test_close_to_a_cluster_bootstrap() -> None:
    rng = np.random.default_rng(5)
    groups = np.arange(1200) % 100
    design, response = _sample(rng, groups)
    process = fit_quantiles(design, response, TAUS[1:4])
    ours = standard_errors(process, design, response, kind="cluster", groups=groups)
    draws = []
    for _ in range(300):
        times = np.bincount(rng.integers(0, 100, 100), minlength=100)[groups].astype(np.float64)
        draws.append(fit_quantiles(design, response, TAUS[1:4], times).coef)
    np.testing.assert_allclose(ours, np.std(draws, axis=0), rtol=BOOTSTRAP)


@pytest.mark.parametrize("kind", ["iid", "nid", "ker", "cluster"])
def test_scale_shift_and_order_of_rows(kind: str) -> None:
    design, response, groups = _clustered()

    def errors(x: FloatArray, y: FloatArray, g: IntArray) -> FloatArray:
        extra = {"groups": g} if kind == "cluster" else {}
        return standard_errors(fit_quantiles(x, y, TAUS), x, y, kind=kind, **extra)

    base = errors(design, response, groups)
    assert (base > 0).all()
    np.testing.assert_allclose(errors(design, 1e-6 * response, groups), 1e-6 * base, rtol=1e-7)
    shifted = response + design @ [100.0, -3.0, 2.0]
    np.testing.assert_allclose(errors(design, shifted, groups), base, rtol=1e-7)
    turn = np.random.default_rng(0).permutation(response.size)
    np.testing.assert_allclose(errors(design[turn], response[turn], groups[turn]), base, rtol=1e-7)
    np.testing.assert_allclose(
        errors(design * [1.0, 1e5, 1e-4], response, groups), base / [1.0, 1e5, 1e-4], rtol=1e-7
    )


def test_rows_of_weight_zero_take_no_part() -> None:
    design, response, groups = _clustered()
    weights = 0.5 + np.random.default_rng(1).random(response.size)
    weights[::7] = 0.0
    used = weights > 0
    process = fit_quantiles(design, response, TAUS, weights)
    part = fit_quantiles(design[used], response[used], TAUS, weights[used])
    labels = np.array([f"school {g}" for g in groups])
    for kind in ("iid", "nid", "ker", "cluster"):
        all_rows, rows = ({"groups": labels}, {"groups": groups[used]}) if kind == "cluster" else ({}, {})
        np.testing.assert_allclose(
            standard_errors(process, design, response, weights, kind=kind, **all_rows),
            standard_errors(part, design[used], response[used], weights[used], kind=kind, **rows),
            rtol=1e-9,
        )


def test_a_whole_process_of_integer_scores() -> None:
    rng = np.random.default_rng(2)
    x = np.rint(rng.normal(0.0, 10.0, 3000))
    design = np.column_stack([np.ones(3000), x, x**2 / 10.0])
    response = np.rint(x + 5.0 * rng.standard_normal(3000))
    process = fit_quantiles(design, response)
    errors = standard_errors(process, design, response)
    assert errors.shape == (100, 3)
    assert (errors > 0).all()
    # Fewer observations lie near an extreme quantile.
    assert errors[1, 1] > 1.5 * errors[50, 1]


def test_no_density_gives_nan_and_says_so() -> None:
    design = np.column_stack([np.ones(40), np.arange(40.0)])
    process = fit_quantiles(design, 2.0 * np.arange(40.0), TAUS)
    for kind in ("iid", "nid", "ker"):
        with pytest.warns(GrowthWarning, match=r"5 of 5 quantiles have no standard errors"):
            assert np.isnan(standard_errors(process, design, 2.0 * np.arange(40.0), kind=kind)).all()


def test_what_cannot_be_computed_is_refused() -> None:
    design, response, groups = _clustered()
    process = fit_quantiles(design, response, [0.5])
    with pytest.raises(SpecError, match="did you mean 'nid'"):
        standard_errors(process, design, response, kind="nyd")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="give both or neither"):
        standard_errors(process, design, response, kind="cluster")
    with pytest.raises(SpecError, match="give both or neither"):
        standard_errors(process, design, response, groups=groups)
    with pytest.raises(ColumnError, match="3 columns"):
        standard_errors(process, design[:, :2], response)
    with pytest.raises(ColumnError, match="fitted to 900 rows"):
        standard_errors(process, design[1:], response[1:])
    with pytest.raises(ColumnError, match="non-negative"):
        standard_errors(process, design, response, -np.ones(response.size))
    with pytest.raises(ColumnError, match="two groups"):
        standard_errors(process, design, response, kind="cluster", groups=np.zeros(response.size))
    with pytest.raises(ColumnError, match="there are 900 rows"):
        standard_errors(process, design, response, kind="cluster", groups=groups[1:])
    blank = groups.astype(np.float64)
    blank[:4] = np.nan
    with pytest.raises(ColumnError, match="Rows affected: 4"):
        standard_errors(process, design, response, kind="cluster", groups=blank)
    named = np.array([f"s{g}" for g in groups], dtype=object)
    named[:3] = None
    with pytest.raises(ColumnError, match="Rows affected: 3"):
        standard_errors(process, design, response, kind="cluster", groups=named)
