"""What a run will take, before it is made: cohorts, work, time and memory, here and on several workers."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import polars as pl

from growth.errors import SpecError, problem
from growth.panel import CsemFunction, Panel, PanelSet, StudentTable, build_panels, read_table
from growth.pipeline.costs import PROBE, held, priced, probe
from growth.pipeline.ledger import plain_choices, plain_panels
from growth.spec import GrowthSpec

__all__ = ["Plan", "Workload", "plan", "workload"]

_ROW, _TRACED, _COPIES, _COMPARED, _COUNTED, _RANKED = 4, 250, 4, 120, 100, 24
"""Bytes that cannot be given back: per row of the table; per student of a cohort that is formed; copies of
the design of a cohort that is fitted; per result of a subject and year that is compared by group; per result
that counts for schools; per posterior draw of a school."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Work that one worker does alone: units of work, and how many such pieces there are."""

    stage: str
    units: Mapping[str, float]
    times: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """What there is to do, in units of `growth.pipeline.costs`."""

    whole: tuple[Piece, ...]
    """Work of one process."""
    pieces: tuple[Piece, ...]
    """Work that is spread over workers."""
    live: Mapping[str, float]
    """Bytes in use by stage that do not lie in mapped files."""
    cohorts: pl.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a run will take.

    Attributes
    ----------
    cohorts : polars.DataFrame
        One row per fit: cohort, peers (false for the second fit, on prior scores alone), students, columns,
        quantiles, fits (1 and its refits for SIMEX, intervals and standard errors), seconds [CPU seconds].
    stages : polars.DataFrame
        One row per stage: stage, seconds, of them parallel [CPU seconds].
    workers : polars.DataFrame
        workers, seconds: wall-clock time where each worker is as fast as this machine [s].
    memory_gb : float
        Most memory that the process that makes the run cannot give back at any time [GB]; mapped files are
        the operating system's.
    speed : float
        How many times as long as the reference machine this one takes.
    threads : int
        Processors of this machine.
    rows : int
        Rows of the table.
    """

    cohorts: pl.DataFrame
    stages: pl.DataFrame
    workers: pl.DataFrame
    memory_gb: float
    speed: float
    threads: int
    rows: int

    @property
    def seconds(self) -> float:
        """Wall-clock time on this machine, all its processors at work [s]."""
        return float(self.workers.filter(workers=self.threads)["seconds"][0])

    def __repr__(self) -> str:
        values = (self.cohorts["students"] * self.cohorts["quantiles"] * self.cohorts["fits"]).sum()
        times = ", ".join(f"{k} {_spoken(seconds)}" for k, seconds in self.workers.iter_rows())
        return (
            f"Plan({self.rows:,} rows, {self.cohorts['fits'].sum():,} fits, "
            f"{values:.2g} students x quantiles; {_spoken(self.seconds)} and {self.memory_gb:.1f} GB here; "
            f"by workers: {times})"
        )


def plan(
    table: StudentTable | str | Path | Any,  # noqa: ANN401
    spec: GrowthSpec | Mapping[str, Any] | str | Path | None = None,
    *,
    workers: Sequence[int] = (1, 2, 4, 8, 16, 32),
    times: float = 1.0,
    variants: int = 1,
    csem: CsemFunction | None = None,
) -> Plan:
    """Estimate time and memory of a run, without a fit.

    The table is read and its cohorts are formed: a fifth of the time of a plain run. Time and memory come
    from a cost model (`growth.pipeline.costs`), scaled to this machine.

    Parameters
    ----------
    table : path, frame or StudentTable
        As `growth.run` takes it.
    spec : GrowthSpec, str, Path or mapping, optional
        ``"core"`` by default.
    workers : sequence of int
        Numbers of workers to give the time for; this machine's own is added.
    times : float
        Plan for a system so many times as large, of the same make-up.
    variants : int
        Variants of a study: each is computed once, and the table is read once. What variants share is
        computed once in a study, so that this is the most it can take.
    csem : callable, optional
        As `growth.run` takes it.

    Returns
    -------
    Plan

    Raises
    ------
    GrowthError
        As `growth.run`, of a table or specification that cannot be computed.
    SpecError
        If `workers`, `times` or `variants` are not positive.
    """
    if min(*workers, variants) < 1 or not times > 0:
        raise SpecError(problem("workers, times and variants are positive numbers", fix="give 1 or more"))
    choices = GrowthSpec.of("core" if spec is None else spec)
    source = table if isinstance(table, StudentTable) else read_table(table, choices)
    load = workload(source, build_panels(source, choices, csem=csem), choices, times=times)
    speed = probe() / PROBE
    threads = joblib.cpu_count()
    clock = {k: _wall(load, k, speed, variants) for k in sorted({*workers, threads})}
    return Plan(
        cohorts=load.cohorts.with_columns(seconds=pl.col("seconds") * speed),
        stages=_stages(load, speed, variants),
        workers=pl.DataFrame({"workers": list(clock), "seconds": list(clock.values())}),
        memory_gb=held(max(load.live.values())),
        speed=speed,
        threads=threads,
        rows=round(source.codes.height * times),
    )


def workload(table: StudentTable, panels: PanelSet, spec: GrowthSpec, *, times: float = 1.0) -> Workload:
    """Return what a run of some cohorts has to do, if there were `times` as many students.

    Parameters
    ----------
    table : StudentTable
    panels : PanelSet
        Of `table`.
    spec : GrowthSpec
    times : float
    """
    plain = plain_panels(panels, spec)
    bare = plain_choices(spec)
    rows, scope = times * table.codes.height, times * panels.current.height
    scored = times * panels.current["highest"].count()
    groups = 1 + len(spec.groups.flags) + bool(spec.groups.race)
    members = times * sum(map(len, panels.panels))
    squares = times * sum(len(panel) * columns_of(panel, spec) ** 2 for panel in panels.panels)
    two_steps = spec.peers.composition == "two_step"
    whole = (
        Piece("read", {"read": 1, "read rows": rows}),
        Piece("panels", {"panels": 1, "panels rows": rows, "panels students": members}),
        Piece("composition", {"composition": 1, "composition n p2": squares} if two_steps else {}),
        Piece("student growth", {"students": 1, "students rows": scope}),
        Piece("fairness", {"fairness": 1, "fairness results": scored * groups}),
        Piece("school growth", {"schools": 1, "schools results": scored * groups}),
        Piece("result", {"result": 1, "result rows": scope}),
    )
    own = [piece for panel in panels.panels for piece in _fits(panel, spec, "student growth", times)]
    second = [piece for panel in plain for piece in _fits(panel, bare, "fairness", times)]
    cohorts = pl.DataFrame(
        [*_described(panels.panels, spec, True, times), *_described(plain, bare, False, times)]
    )
    pieces = (*own, *second, *_samples(panels.panels, spec, times))
    return Workload(whole, pieces, _live(table, panels, spec, times), cohorts)


def columns_of(panel: Panel, spec: GrowthSpec) -> int:
    """Return the columns of a cohort's model."""
    per_prior = 1
    if spec.student.engine in ("quantile", "normal"):
        per_prior = spec.basis.degree + len(spec.basis.knot_quantiles)
    return 1 + len(panel.pattern.priors) * per_prior + len(panel.covariate_names)


def _quantiles(spec: GrowthSpec) -> int:
    if spec.student.engine != "quantile":
        return 1
    return spec.quantiles.count if spec.quantiles.taus is None else len(spec.quantiles.taus)


def _fits(panel: Panel, spec: GrowthSpec, stage: str, times: float) -> list[Piece]:
    """Return the pieces of work of a cohort: one fit, and what refits it for."""
    n, p, taus = times * len(panel), columns_of(panel, spec), _quantiles(spec)
    units = {"fit p2": float(taus * p * p), "fit n p": taus * n * p}
    if spec.simex.use == "simex":
        draws = len(spec.simex.lambdas) * spec.simex.replicates
        size = min(n, spec.simex.sample_size or n)
        units |= {"simex p2": float(draws * taus * p * p), "simex n p": draws * taus * (p * size + p * n) / 2}
    used = spec.intervals.used(spec.measurement.csem)
    if "curves" in used:
        refits = spec.intervals.refits
        units |= {"intervals p2": float(refits * taus * p * p), "intervals n p": refits * taus * n * p}
    if "measurement" in used:
        units["intervals n"] = (spec.intervals.refits if "curves" in used else 1) * taus * n
    return [Piece(stage, units)]


def _samples(panels: Sequence[Panel], spec: GrowthSpec, times: float) -> list[Piece]:
    """Return the samples of ``school.standard_error = "refit"``, each a fit of all cohorts."""
    if spec.school.standard_error != "refit":
        return []
    fits = [
        _fits(panel, plain_choices(spec).model_copy(update={"peers": spec.peers}), "", times)
        for panel in panels
    ]
    units = {
        f"refit{name.removeprefix('fit')}": sum(piece.units[name] for found in fits for piece in found)
        for name in ("fit p2", "fit n p")
    }
    return [Piece("school growth", units, spec.school.replicates)]


def _described(panels: Iterable[Panel], spec: GrowthSpec, peers: bool, times: float) -> list[dict[str, Any]]:
    refits = len(spec.simex.lambdas) * spec.simex.replicates if spec.simex.use == "simex" else 0
    refits += spec.intervals.refits if "curves" in spec.intervals.used(spec.measurement.csem) else 0
    refits += spec.school.replicates if peers and spec.school.standard_error == "refit" else 0
    return [
        {
            "cohort": panel.key,
            "peers": peers,
            "students": round(times * len(panel)),
            "columns": columns_of(panel, spec),
            "quantiles": _quantiles(spec),
            "fits": 1 + refits,
            "seconds": sum(priced(piece.units) for piece in _fits(panel, spec, "", times)),
        }
        for panel in panels
    ]


def _live(table: StudentTable, panels: PanelSet, spec: GrowthSpec, times: float) -> dict[str, float]:
    """Return the bytes in use by stage that cannot be given back: those of what is at work.

    As many cohorts are at work as there are processors; fairness and schools take a subject and year at a
    time, whose results are those of each grade's largest cohort.
    """
    rows = times * table.codes.height
    largest = times * max(map(len, panels.panels))
    designs = sorted((len(panel) * columns_of(panel, spec) for panel in panels.panels), reverse=True)
    at_work = 8.0 * times * sum(designs[: joblib.cpu_count()])
    grades: dict[tuple[int, str, int], int] = {}
    for panel in panels.panels:
        cell = panel.year, panel.subject, panel.grade
        grades[cell] = max(grades.get(cell, 0), len(panel))
    blocks: dict[tuple[int, str], float] = {}
    for (year, subject, _), students in grades.items():
        blocks[year, subject] = blocks.get((year, subject), 0.0) + times * students
    block = max(blocks.values())
    schools = times * table.codes["school_id"].n_unique()
    return {
        "read": _ROW * rows,
        "panels": _ROW * rows + _TRACED * largest,
        "composition": _COPIES * 8.0 * times * designs[0] + _COUNTED * block,
        "student growth": _COPIES * at_work,
        "fairness": _COMPARED * block,
        "school growth": _COUNTED * block + _RANKED * spec.school.band_draws * schools,
    }


def _stages(load: Workload, speed: float, variants: int) -> pl.DataFrame:
    names = list(dict.fromkeys(piece.stage for piece in load.whole))
    often = {name: 1 if name in ("read", "panels") else variants for name in names}
    total, spread = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for piece in (*load.whole, *load.pieces):
        total[piece.stage] += often[piece.stage] * piece.times * priced(piece.units, speed)
    for piece in load.pieces:
        spread[piece.stage] += often[piece.stage] * piece.times * priced(piece.units, speed)
    return pl.DataFrame({"stage": names, "seconds": list(total.values()), "parallel": list(spread.values())})


def _wall(load: Workload, workers: int, speed: float, variants: int) -> float:
    """Return the time until the last of some workers is done, the largest pieces first."""
    alone = sum(
        priced(piece.units, speed) * (1 if piece.stage in ("read", "panels") else variants)
        for piece in load.whole
    )
    for stage in dict.fromkeys(piece.stage for piece in load.pieces):
        here = [piece for piece in load.pieces if piece.stage == stage]
        costs = np.repeat([priced(piece.units, speed) for piece in here], [piece.times for piece in here])
        alone += variants * _makespan(costs.tolist(), workers)
    return alone


def _makespan(costs: list[float], workers: int) -> float:
    loads = [0.0] * workers
    for cost in sorted(costs, reverse=True):
        heapq.heapreplace(loads, loads[0] + cost)
    return max(loads)


def _spoken(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
