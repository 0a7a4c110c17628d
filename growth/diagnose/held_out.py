"""Do curves hold for schools they were not fitted to? Cross-validation by folds of schools.

Every cohort is fitted, then refitted once per fold without the fold's schools, starting from the full fit;
the refits are as exact as any fit. Students are left out school by school, because students of one school
resemble each other: leaving out single students would measure too little. Knots stay where all students put
them, and so does what is taken out for composition in two steps. What the curves of engines without quantile
fits are, `growth.student.held_out` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from growth._types import FloatArray, IntArray
from growth.diagnose.fit import TAUS
from growth.diagnose.rules import level_of
from growth.diagnose.scored import SMALLEST_SHOWN
from growth.diagnose.statistics import clustered_se, t_bound
from growth.diagnose.verdicts import Finding
from growth.errors import SpecError, problem
from growth.panel import Panel, PanelSet, StudentTable, build_panels, read_table
from growth.parallel import Crew, Shared
from growth.pipeline import GrowthRun
from growth.quantile import QuantileProcess, fit_quantiles
from growth.spec import GrowthSpec, Intervals, Peers, Simex
from growth.spec.model import Measurement
from growth.student import compose, fitted_curves, held_out_curves
from growth.student.composition import without_composition
from growth.student.design import spline_terms

__all__ = ["HeldOut", "held_out", "pinball"]

_SHAPE = {"where": pl.String, "value": pl.Float64, "bound": pl.Float64}
_CHUNK = 20_000
"""Students whose curves are held at a time."""
_FEWEST = 2
"""Schools per fold."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How schools are left out."""

    folds: int = 5
    seed: int = 20_260_101
    """Deals schools to folds."""

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise SpecError(problem(f"folds = {self.folds}", rule="at least 2"))


@dataclass(frozen=True, slots=True)
class Losses:
    """Mean check losses of one cohort and its students' places in curves without their schools."""

    inside: FloatArray
    """Of the curves fitted to all, shape (m,) [scale-score points]."""
    outside: FloatArray
    """Of the curves fitted without the student's school, shape (m,) [scale-score points]."""
    percentile: FloatArray
    """In those, shape (n,), in (0, 1)."""


def held_out(
    run: GrowthRun,
    table: StudentTable | str | Path | Any,  # noqa: ANN401
    how: HeldOut,
    n_jobs: int | None = None,
) -> tuple[pl.DataFrame, Finding, Finding]:
    """Cross-validate the cohorts of a run by schools.

    Parameters
    ----------
    run : GrowthRun
        Fitted on its own students.
    table : path, frame or StudentTable
        The one that the run was made from.
    how : HeldOut
    n_jobs : int, optional
        Threads; results do not depend on it.

    Returns
    -------
    losses : polars.DataFrame
        cohort, year, subject, grade, n, schools, tau, loss (mean check loss in the fit) and loss_held_out
        [scale-score points], below: share of held-out scores below the curve.
    coverage, loss : Finding

    Raises
    ------
    SpecError
        If the table is not the one the run was made from.
    """
    empty = pl.DataFrame(schema=_SHAPE)
    if reason := _not_possible(run):
        coverage, loss = (Finding(name, empty, reason) for name in ("held_out_coverage", "held_out_loss"))
        return pl.DataFrame(), coverage, loss
    idle: dict[str, object] = {"simex": Simex(), "intervals": Intervals(sources=())}
    if run.spec.student.engine != "eiv":
        idle["measurement"] = Measurement()
    spec = run.spec.model_copy(update=idle)
    source = table if isinstance(table, StudentTable) else read_table(table, run.spec)
    panels = build_panels(source, spec)
    _require_same(run, source, panels)
    with threadpool_limits(limits=1, user_api="blas"):
        panels = compose(panels, spec).panels
        used = set(panels.current["highest"].drop_nulls().unique())
        chosen = [panel for panel in panels.panels if panel.key in used and _enough(panel, how)]
        fold = _deal(chosen, how)
        crew = Crew.of(n_jobs)
        tasks = ((crew.share(panel), fold[_schools(panel)]) for panel in chosen)
        found = list(crew.each(_LeftOut(spec, how.folds), tasks, in_order=True))
    taus = spec.quantiles.grid()
    rows = [row for panel, losses in zip(chosen, found, strict=True) for row in _rows(panel, losses, taus)]
    shares = list(_coverage(chosen, found))
    ratio = [_optimism(panel, losses) for panel, losses in zip(chosen, found, strict=True)]
    reason = "No cohort has students in schools enough to leave some out."
    return (
        pl.DataFrame(rows, infer_schema_length=None),
        Finding("held_out_coverage", pl.DataFrame(shares, _SHAPE, orient="row"), reason),
        Finding("held_out_loss", pl.DataFrame(ratio, _SHAPE, orient="row"), reason),
    )


def _require_same(run: GrowthRun, source: StudentTable, panels: PanelSet) -> None:
    """Refuse a table with other students, scores or cohorts; a file may have become a frame in between."""
    if source.digest == run.manifest["input"]["sha256"]:
        return
    key = ["student_id", "year", "subject", "grade", "score"]
    rows = source.rows(panels.current["row"].to_numpy()).select(key)
    marks = [
        frame.select(pl.col("year", "grade").cast(pl.Int64), "student_id", "subject", "score")
        .select(pl.struct(pl.all()).hash(seed=1).sort())
        .to_series()
        for frame in (rows, run.frames["students"].filter("highest").select(key))
    ]
    sizes = dict(run.frames["cells"].select("cohort", "n").iter_rows())
    if not marks[0].equals(marks[1]) or sizes != {panel.key: len(panel) for panel in panels.panels}:
        raise SpecError(
            problem(
                "This is not the table that the run was made from",
                rule="the same students with the same scores in the same cohorts",
                fix="give the table of the run, or leave the held-out diagnostics out",
            )
        )


def _not_possible(run: GrowthRun) -> str:
    if run.spec.student.engine == "eiv" and run.spec.measurement.csem == "function":
        return "The engine 'eiv' needs the CSEM of the priors, and the run had it from a function."
    if "curves" in ((run.manifest.get("freeze") or {}).get("parts") or ()):
        return "Frozen curves were not fitted to these students: all of calibration is held out."
    return ""


def _schools(panel: Panel) -> IntArray:
    assert panel.school is not None
    return panel.school


def _enough(panel: Panel, how: HeldOut) -> bool:
    return panel.school is not None and len(np.unique(panel.school)) >= _FEWEST * how.folds


def _deal(panels: list[Panel], how: HeldOut) -> IntArray:
    """Return the fold of each school code; -1, no school, is the last place."""
    most = max((int(_schools(panel).max()) for panel in panels), default=-1)
    order = np.random.default_rng(how.seed).permutation(most + 2)
    fold = np.empty(most + 2, dtype=np.int64)
    fold[order] = np.arange(most + 2) % how.folds
    return fold


@dataclass(frozen=True, slots=True, eq=False)
class _LeftOut:
    spec: GrowthSpec
    folds: int

    def __call__(self, task: tuple[Shared[Panel], IntArray]) -> Losses:
        panel, fold = task
        return cross_validate(panel.get(), self.spec, fold, self.folds)


def cross_validate(panel: Panel, spec: GrowthSpec, fold: IntArray, folds: int) -> Losses:
    """Fit a cohort with and without each fold; `fold` has shape (n,)."""
    placed = without_composition(panel) if spec.peers.composition == "two_step" else panel
    if spec.student.engine != "quantile":
        return _of_engine(placed, spec, fold)
    terms = spline_terms(placed, spec)
    design, score = terms.matrix, placed.score
    taus = spec.quantiles.grid()
    process = fit_quantiles(design, score, taus, names=terms.names, blocks=terms.blocks, n_jobs=1)
    inside = pinball(process, design, score, spec.quantiles.rearrange)
    outside, percentile = np.zeros(len(taus)), np.empty(len(score))
    for k in range(folds):
        left = fold == k
        if not left.any():
            continue
        again = process.refit(np.ascontiguousarray(design[~left]), score[~left], n_jobs=1)
        outside += pinball(again, design[left], score[left], spec.quantiles.rearrange) * left.sum()
        placed_there = again.score(design[left], score[left], rearrange=spec.quantiles.rearrange, n_jobs=1)
        percentile[left] = placed_there.percentile
    return Losses(inside, outside / len(score), percentile)


def _of_engine(panel: Panel, spec: GrowthSpec, fold: IntArray) -> Losses:
    """Do the same with an engine that has no quantile fits."""
    plain = spec.model_copy(
        update={"peers": Peers()}
    )  # the panel has its columns, and is without composition
    taus, score = spec.quantiles.grid(), panel.score[:, None]
    inside, outside = fitted_curves(panel, plain, taus), held_out_curves(panel, plain, fold, taus)
    means = [((score - q) * (taus - (score < q))).mean(axis=0) for q in (inside, outside)]
    return Losses(means[0], means[1], _places(panel.score, outside, taus))


def _places(score: FloatArray, curves: FloatArray, taus: FloatArray) -> FloatArray:
    """Return where scores lie among increasing curves, interpolated, shape (n,)."""
    known = np.concatenate([[0.0], taus, [1.0]])
    low, high = curves[:, :1] - np.ptp(curves), curves[:, -1:] + np.ptp(curves)
    rungs = np.hstack([low, curves, high])
    at = np.clip((rungs < score[:, None]).sum(axis=1), 1, len(known) - 1)
    below, above = (np.take_along_axis(rungs, at[:, None] - k, axis=1)[:, 0] for k in (1, 0))
    share = np.clip((score - below) / np.maximum(above - below, 1e-12), 0.0, 1.0)
    return np.asarray(known[at - 1] + share * (known[at] - known[at - 1]))


def pinball(process: QuantileProcess, design: FloatArray, score: FloatArray, rearrange: bool) -> FloatArray:
    """Return the mean check loss of each curve, shape (m,) [units of the score]."""
    taus, total = process.taus, np.zeros(len(process.taus))
    for start in range(0, len(score), _CHUNK):
        rows = slice(start, start + _CHUNK)
        error = score[rows, None] - process.predict(design[rows], rearrange=rearrange)
        total += (error * (taus - (error < 0))).sum(axis=0)
    return np.asarray(total / len(score))


def _rows(panel: Panel, losses: Losses, taus: FloatArray) -> Iterator[dict[str, object]]:
    schools = len(np.unique(_schools(panel)))
    if len(panel) < SMALLEST_SHOWN:
        return
    for t, tau in enumerate(taus):
        yield {
            "cohort": panel.key,
            "year": panel.year,
            "subject": panel.subject,
            "grade": panel.grade,
            "n": len(panel),
            "schools": schools,
            "tau": float(tau),
            "loss": float(losses.inside[t]),
            "loss_held_out": float(losses.outside[t]),
            "below": float((losses.percentile < tau).mean()),
        }


def _coverage(panels: list[Panel], found: list[Losses]) -> Iterator[tuple[str, float, float]]:
    level = level_of(len(panels) * len(TAUS))
    for panel, losses in zip(panels, found, strict=True):
        cluster = np.unique(_schools(panel), return_inverse=True)[1]
        for tau in TAUS:
            below = np.asarray(losses.percentile < tau, dtype=np.float64)
            se, df = clustered_se(below, cluster)
            se = max(se, float(np.sqrt(tau * (1 - tau) / len(panel))))
            off = 100 * (float(below.mean()) - tau)
            yield f"Cohort {panel.key}, curve {tau:g}", off, t_bound(off, 100 * se, df, level)


def _optimism(panel: Panel, losses: Losses) -> tuple[str, float, float]:
    more = 100 * (float(losses.outside.mean()) / max(float(losses.inside.mean()), 1e-12) - 1)
    return f"Cohort {panel.key}", more, more
