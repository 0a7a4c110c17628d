"""The engine beside its floor under pytest-benchmark: ``pytest benchmarks -o addopts= --benchmark-only``.

The grid over all libraries is `python -m benchmarks`; this is for comparing two states of the engine, with
``--benchmark-autosave`` and ``--benchmark-compare``. ``GROWTH_BENCHMARK_ROWS`` sets the sizes (5000,20000).
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.floor import dense_passes
from benchmarks.problems import Cohort, Problem, draw
from growth.quantile import fit_quantiles

SIZES = [int(rows) for rows in os.environ.get("GROWTH_BENCHMARK_ROWS", "5000,20000").split(",")]
PROBLEMS = [
    Problem(n, k, q, integer)
    for n in SIZES
    for k, q, integer in ((1, 0, True), (2, 0, True), (2, 8, True), (2, 0, False), (3, 0, True))
]


@pytest.fixture(params=PROBLEMS, ids=lambda problem: problem.name)
def cohort(request: pytest.FixtureRequest) -> Cohort:
    return draw(request.param)


@pytest.mark.benchmark(group="fit")
def test_fit(benchmark: BenchmarkFixture, cohort: Cohort) -> None:
    design = cohort.design
    process = benchmark(fit_quantiles, design, cohort.score, blocks=cohort.blocks)
    assert process.relative_gap.max() <= 1e-9
    benchmark.extra_info.update(
        {name: float(counter.mean()) for name, counter in process.counters.items()},
        fallbacks=sum(status != "certified" for status in process.status),
    )


@pytest.mark.benchmark(group="refit")
def test_refit(benchmark: BenchmarkFixture, cohort: Cohort) -> None:
    simex = cohort.simex(1.0, 2, np.random.default_rng(1))
    process = fit_quantiles(simex.design(0), cohort.score, blocks=cohort.blocks)
    again = benchmark(process.refit, simex.design(1), cohort.score)
    assert again.warm
    assert again.relative_gap.max() <= 1e-9


@pytest.mark.benchmark(group="floor")
def test_floor(benchmark: BenchmarkFixture, cohort: Cohort) -> None:
    design = cohort.design
    coef = np.zeros((100, design.shape[1]))
    assert (benchmark(dense_passes, design, cohort.score, coef) == 0).all()


@pytest.mark.benchmark(group="score")
def test_score(benchmark: BenchmarkFixture, cohort: Cohort) -> None:
    design = cohort.design
    process = fit_quantiles(design, cohort.score, blocks=cohort.blocks)
    scores = benchmark(process.score, design, cohort.score)
    assert 0.49 < scores.percentile.mean() < 0.51
