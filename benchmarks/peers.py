"""The libraries, each behind the same call: `run(data, taus, budget) -> Run`.

Every library runs in a process of its own with one thread. Timings hold the solver alone: reading data,
imports, compilation and building formulas are left out for all of them.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from benchmarks.measure import PATIENCE, Run, one_by_one, whole_process
from growth._types import FloatArray

PYFIXEST_ITERATIONS = 500
"""Its own limit is the number of rows, which a quantile that does not converge uses up."""


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """One problem's arrays as a worker sees them."""

    design: FloatArray
    response: FloatArray
    blocks: list[slice]


@dataclass(frozen=True, slots=True)
class Peer:
    """A library and the sizes for which it is tried."""

    name: str
    distribution: str
    """Python distribution, or "R"."""
    most_rows: int
    """Larger problems are left out: a single tau would not fit into any sensible budget of time or memory."""
    whole: bool = False
    """All taus in one call."""


def growth(data: Data, taus: FloatArray, budget: float) -> Run:
    """Run this engine."""
    from growth.quantile import fit_quantiles

    last: list[Any] = []

    def solve(some: FloatArray) -> FloatArray:
        process = fit_quantiles(data.design, data.response, some, blocks=data.blocks)
        last[:] = [process]
        return process.coef

    solve(taus)  # compiles, or loads what is compiled
    run = whole_process(solve, taus, budget)
    process = last[0]
    run.notes.update(
        {name: float(counter.sum()) / len(process.taus) for name, counter in process.counters.items()},
        fallbacks=float(sum(status != "certified" for status in process.status)),
        certified_gap=float(process.relative_gap.max()),
    )
    return run


def floor(data: Data, taus: FloatArray, budget: float) -> Run:
    """Read the data once per tau."""
    from benchmarks.floor import dense_passes

    coef = np.zeros((taus.size, data.design.shape[1]))
    dense_passes(data.design[:64], data.response[:64], coef)

    def solve(some: FloatArray) -> FloatArray:
        dense_passes(data.design, data.response, coef[: some.size])
        return np.full((some.size, coef.shape[1]), np.nan)

    return whole_process(solve, taus, budget)


def statsmodels(data: Data, taus: FloatArray, budget: float) -> Run:
    """Run iterated weighted least squares."""
    from statsmodels.regression.quantile_regression import QuantReg

    model = QuantReg(data.response, data.design)
    warnings.simplefilter("ignore")
    return one_by_one(lambda tau: model.fit(q=tau).params, taus, budget)


def sklearn(data: Data, taus: FloatArray, budget: float) -> Run:
    """Run the linear program with HiGHS."""
    from sklearn.linear_model import QuantileRegressor

    def solve(tau: float) -> FloatArray:
        model = QuantileRegressor(quantile=tau, alpha=0.0, fit_intercept=False, solver="highs")
        coef: FloatArray = model.fit(data.design, data.response).coef_
        return coef

    return one_by_one(solve, taus, budget)


def pyfixest_fn(data: Data, taus: FloatArray, budget: float) -> Run:
    """Run Frisch-Newton, one tau at a time."""
    from pyfixest.estimation.quantreg.quantreg_ import Quantreg

    column = data.response[:, None]
    warnings.simplefilter("ignore")

    def fit(design: FloatArray, response: FloatArray, tau: float) -> FloatArray:
        # The method reads nothing from its instance; called bare it leaves formulas out of the timing.
        bare: Any = Quantreg.fit_qreg_fn
        coef: FloatArray = bare(None, design, response, tau, maxiter=PYFIXEST_ITERATIONS)[0]
        return coef

    step = max(1, data.response.size // 1000)
    fit(np.ascontiguousarray(data.design[::step]), np.ascontiguousarray(column[::step]), 0.5)  # compiles
    return one_by_one(lambda tau: fit(data.design, column, tau), taus, budget)


def pyfixest_process(data: Data, taus: FloatArray, budget: float) -> Run:
    """Run the process method of Chernozhukov, Fernandez-Val and Melly (exact variant)."""
    import pandas as pd  # type: ignore[import-untyped]
    import pyfixest
    from pyfixest.estimation.quantreg import QuantregMulti as library

    names = [f"x{j}" for j in range(data.design.shape[1])]
    frame = pd.DataFrame(data.design, columns=names).assign(y=data.response)
    formula = "y ~ " + " + ".join(names[1:])  # the formula brings its own intercept
    clock: list[tuple[float, float]] = []
    multi: Any = library.QuantregMulti
    inner = multi.get_fit

    def timed(self: Any) -> Any:  # noqa: ANN401
        cpu, wall = time.process_time(), time.perf_counter()
        out = inner(self)
        clock.append((time.process_time() - cpu, time.perf_counter() - wall))
        return out

    multi.get_fit = timed
    warnings.simplefilter("ignore")

    def solve(some: FloatArray) -> FloatArray:
        fit = pyfixest.quantreg(
            formula,
            frame,
            quantile=some.tolist(),
            method="fn",
            multi_method="cfm1",
            vcov="iid",
            maxiter=PYFIXEST_ITERATIONS,
            seed=1,
        )
        return np.array([model.coef().to_numpy() for model in fit.to_list()])

    middle = taus.size // 2
    solve(taus[middle : middle + 2])
    some = np.arange(middle - 2, middle + 3)
    coef = solve(taus[some])
    # Taus not done are taken to cost what the last three cost, so that the first one's own way counts once.
    (cpu, wall), (cpu_two, wall_two) = clock[-1], clock[-2]
    more = (taus.size - some.size) / (some.size - 2)
    cpu, wall = cpu + more * max(cpu - cpu_two, 0.0), wall + more * max(wall - wall_two, 0.0)
    # Every tau holds its own copies of the data in this library: all of them only where that fits.
    if cpu < PATIENCE * budget and data.design.nbytes * taus.size < 4e9:
        some = np.arange(taus.size)
        coef = solve(taus)
        cpu, wall = clock[-1]
    return Run(some, coef, cpu, wall, (cpu, cpu))


PYTHON: dict[str, Callable[[Data, FloatArray, float], Run]] = {
    "growth": growth,
    "floor": floor,
    "statsmodels": statsmodels,
    "sklearn": sklearn,
    "pyfixest_fn": pyfixest_fn,
    "pyfixest_process": pyfixest_process,
}

PEERS = (
    Peer("growth", "growth", 10**9, whole=True),
    Peer("floor", "numba", 10**9, whole=True),
    Peer("quantreg_pfnb", "R", 10**9, whole=True),
    Peer("quantreg_ppro", "R", 10**9, whole=True),
    Peer("quantreg_pfn", "R", 10**9),
    Peer("quantreg_fn", "R", 10**9),
    Peer("quantreg_br", "R", 400_000),
    Peer("pyfixest_fn", "pyfixest", 400_000),
    Peer("pyfixest_process", "pyfixest", 400_000, whole=True),
    Peer("statsmodels", "statsmodels", 400_000),
    Peer("sklearn", "scikit-learn", 20_000),
)


def installed_version(peer: Peer) -> str | None:
    """Return the version of a Python peer, or None where it is not installed."""
    try:
        return version(peer.distribution)
    except PackageNotFoundError:
        return None
