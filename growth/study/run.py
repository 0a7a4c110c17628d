"""One call from a table, a base specification and factors to a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import polars as pl
from threadpoolctl import threadpool_limits

from growth.disk import remove_leavings
from growth.errors import GrowthError, SpecError, problem
from growth.freeze import FreezeBundle
from growth.panel import CallerFrame, SimulatedSystem, StudentTable
from growth.panel.frames import load
from growth.parallel import Crew, Shared
from growth.pipeline.progress import Progress
from growth.pipeline.street import Given, checked_choices, walk
from growth.school import Enrolment
from growth.source import code_digest
from growth.spec import GrowthSpec
from growth.study.clock import TimeLeft
from growth.study.designs import Design, designed
from growth.study.factors import Factors, Refusal, Variant, as_factors
from growth.study.memory import StudyShelf, digest_of, stage_key, table_key
from growth.study.outcome import Outcome, load_outcome, outcome_of, save_outcome
from growth.study.result import POVERTY, Study

__all__ = ["run_study"]


def run_study(
    table: StudentTable | CallerFrame | str | Path,
    base: GrowthSpec | Mapping[str, Any] | str | Path,
    factors: Factors,
    *,
    design: Design = "one_at_a_time",
    runs: int | None = None,
    n_jobs: int | None = None,
    folder: str | Path | None = None,
    seed: int = 20_170_813,
    progress: Progress | None = None,
    enrolment: Enrolment | None = None,
    truth: SimulatedSystem | pl.DataFrame | None = None,
    poverty: str = POVERTY,
    freeze: FreezeBundle | None = None,
) -> Study:
    """Run many variants of a specification on one table, and compare each with the base.

    Every variant's results are those of `growth.run` with its specification; stages that do not change
    between variants are computed once.

    Parameters
    ----------
    table : path, frame or StudentTable
        As for `growth.run`.
    base : GrowthSpec, str, Path or mapping
        What the variants are compared with.
    factors : mapping
        Dotted key -> list of values, or `Range` (design ``random``); or a name of one's own ->
        {level: {dotted key: value, ...}, ...} for keys that are changed together.
    design : str
        ``one_at_a_time``, ``full``, ``fractional`` or ``random``; see `growth.study.designs`.
    runs : int, optional
        Variants of the designs ``fractional`` and ``random``.
    n_jobs : int, optional
        Threads; -1 for all cores. Within ``joblib.parallel_config(backend="dask")`` the workers of the
        cluster compute the variants. Results do not depend on it.
    folder : str or Path, optional
        Keeps what is done, so that a study can be interrupted and goes on where it was, and one that is done
        is there at once. Workers of a cluster read and write there, too. Its files of cohorts hold student
        data without ids; those named ``shared-``, where a table is a frame and there are workers, also the
        table.
    seed : int
        Of the fractional and random designs, and of split halves.
    progress : callable, optional
        Called with (variants done, variants in all, label with the time left).
    enrolment : Enrolment, optional
        For variants with ``school.share = "enrolment"``.
    truth : SimulatedSystem or polars.DataFrame, optional
        True school effects (year, subject, school_id, effect), to compare results with.
    poverty : str
        Group of the specification (``groups.flags``) that stands for poverty.
    freeze : FreezeBundle, optional
        What was kept of a base year, for every variant, as for `growth.run`; variants that go against it are
        refused. ``bundle.only("cuts")`` goes with all.

    Returns
    -------
    Study

    Raises
    ------
    SpecError
        If the factors or the design make no sense, or no variant is left. Variants that the specification
        refuses, or that cannot be computed on the table, are listed in ``Study.refused``.
    GrowthError
        If the base itself cannot be computed.

    Examples
    --------
    >>> import growth
    >>> city = growth.simulate_table(3_000, 12, years=1, seed=1)
    >>> study = growth.run_study(city.table, "core", {"school.aggregate": ["mean", "median"]})
    >>> study.design["school.aggregate"].to_list()
    ['mean', 'median']
    """
    chosen = GrowthSpec.of(base)
    decisions = as_factors(factors, chosen)
    planned = designed(chosen, decisions, design, runs, seed)
    if isinstance(planned[0], Refusal):
        raise SpecError(planned[0].reason)
    crew = Crew.of(n_jobs, None if folder is None else Path(folder))
    home, source = crew.folder, _source(table)
    keys = _Keys.of(source, (freeze, enrolment), seed)
    placed = freeze is not None and freeze.curves is not None
    under = keys.table if freeze is None else digest_of(keys.table, freeze.digest)
    shelf = StudyShelf(under, None if home is None else home / "cohorts", placed)
    beside = crew.share((freeze, enrolment))
    work = _Work(crew.share(source), beside, shelf, keys, None if home is None else home / "variants", seed)
    found = _computed(planned, work, crew, progress)
    results: list[tuple[Variant, Outcome]] = []
    refused = [one for one in planned if isinstance(one, Refusal)]
    for variant, outcome in zip((one for one in planned if isinstance(one, Variant)), found, strict=True):
        if isinstance(outcome, Outcome):
            results.append((variant, outcome))
        else:
            refused.append(Refusal(variant.levels, "run", outcome))
    if len(results) == 1 and refused:
        raise SpecError(problem("No variant of the study can be computed", rule=refused[0].reason))
    return Study.of(chosen, decisions, results, refused, _truth(truth), poverty)


_Source: TypeAlias = StudentTable | pl.DataFrame | str
_Beside: TypeAlias = tuple[FreezeBundle | None, Enrolment | None]
"""What all variants are given beside the table."""


def _source(table: StudentTable | CallerFrame | str | Path) -> _Source:
    """Return the table as the variants get it: a file by its whole name, a frame as polars."""
    if isinstance(table, str | Path):
        return str(Path(table).resolve()) if Path(table).is_file() else str(table)
    return table if isinstance(table, StudentTable) else load(table, lambda _: []).frame


@dataclass(frozen=True, slots=True)
class _Keys:
    table: str
    rest: str

    @classmethod
    def of(cls, source: _Source, beside: _Beside, seed: int) -> _Keys:
        if isinstance(source, str):
            known: StudentTable | pl.DataFrame | Path = (
                Path(source) if Path(source).is_file() else load(source, lambda _: []).frame
            )
        else:
            known = source
        digests = ("none" if one is None else one.digest for one in reversed(beside))
        return cls(table_key(known), digest_of(*digests, str(seed), code_digest()))


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """What every variant is computed from, and where its results go."""

    table: Shared[_Source]
    beside: Shared[_Beside]
    shelf: StudyShelf
    keys: _Keys
    folder: Path | None
    seed: int

    def outcome(self, spec: GrowthSpec, crew: Crew) -> tuple[Outcome | str, bool]:
        """Return the results of a variant, or why there are none, and whether they had to be computed."""
        start = perf_counter()
        key = digest_of(self.keys.table, self.keys.rest, spec.model_copy(update={"name": "custom"}).digest)
        place = None if self.folder is None else self.folder / key
        known = None if place is None else load_outcome(place)
        if known is not None:
            return known, False
        if spec.measurement.csem == "function":
            return 'a function cannot be recognised again: use measurement.csem = "column" or "table"', False
        try:
            freeze, enrolment = self.beside.get()
            given = Given(freeze=freeze, enrolment=enrolment, shelf=self.shelf)
            run = walk(self.table.get(), checked_choices(spec, freeze), given, crew)
            one = outcome_of(run, enrolment, self.seed, perf_counter() - start)
        except GrowthError as error:
            return str(error), True
        if place is not None:
            save_outcome(one, place)
        return one, True


@dataclass(frozen=True, slots=True, eq=False)
class _Variants:
    """Variants with much in common, one after the other."""

    work: _Work

    def __call__(self, bundle: Sequence[_Numbered]) -> list[tuple[int, Outcome | str, bool]]:
        return [(number, *self.work.outcome(spec, Crew.alone())) for number, spec in bundle]


_Numbered: TypeAlias = tuple[int, GrowthSpec]


def _computed(
    planned: Sequence[Variant | Refusal], work: _Work, crew: Crew, progress: Progress | None
) -> list[Outcome | str]:
    """Compute all variants beside each other, in one process the base before them, by all threads."""
    specs = [one.spec for one in planned if isinstance(one, Variant)]
    clock = TimeLeft(progress, len(specs))
    if work.folder is not None:
        work.folder.mkdir(parents=True, exist_ok=True)
        remove_leavings(work.folder)
    found: dict[int, Outcome | str] = {}

    def take(number: int, outcome: Outcome | str, fresh: bool) -> None:
        if number == 0 and isinstance(outcome, str):
            raise GrowthError(problem("The base of the study cannot be computed", rule=outcome))
        found[number] = outcome
        clock.done(fresh)

    variants = list(enumerate(specs))
    if not crew.apart:
        with threadpool_limits(limits=1, user_api="blas"):
            take(0, *work.outcome(specs[0], crew))
        del variants[0]
    for bundle in crew.each(_Variants(work), _bundles(variants, crew.together(len(variants), _TOGETHER))):
        for one in bundle:
            take(*one)
    return [found[i] for i in range(len(specs))]


_TOGETHER = 4
"""Variants in a piece of work at most: a lost worker costs no more."""


def _bundles(variants: Sequence[_Numbered], most: int) -> list[list[_Numbered]]:
    """Put variants of the same table, panels and composition together; the first comes first."""
    if most == 1:
        return [[one] for one in variants]
    alike: dict[str, list[_Numbered]] = {}
    for one in variants:
        alike.setdefault(stage_key("composition", one[1]), []).append(one)
    return [group[i : i + most] for group in alike.values() for i in range(0, len(group), most)]


def _truth(given: SimulatedSystem | pl.DataFrame | None) -> pl.DataFrame | None:
    if given is None:
        return None
    frame = given.schools if isinstance(given, SimulatedSystem) else given
    return frame.select("year", "subject", "school_id", "effect")
