"""From the student table to the cohorts that are fitted, with an account of every row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from growth._types import BoolArray, CodeArray, FloatArray, IntArray
from growth.errors import CohortError, problem
from growth.mapped import distinct, texts
from growth.panel.covariates import Covariates, read_covariates, refuse_missing
from growth.panel.csem import CsemFunction, read_csem, refuse_unknown_csem
from growth.panel.history import STATUSES, Cell, code_of, trace_cell
from growth.panel.panels import Panel, PanelSet
from growth.panel.patterns import Pattern
from growth.panel.records import Records
from growth.panel.scope import Scope, find_scope
from growth.panel.table import StudentTable
from growth.panel.waterfall import ALL_SUBJECTS, Line, Step, step_lines, waterfall_frame
from growth.scratch import empty, kept, kept_at, pieces
from growth.spec import GrowthSpec

__all__ = ["build_panels"]

_REASONS: tuple[tuple[Step, tuple[str, ...]], ...] = (
    ("has_current_score", ("no_current_score",)),
    ("has_priors", ("no_prior_score", "off_path", "repeater")),
    ("cohort_large_enough", ("missing_covariate", "cohort_too_small")),
    ("scored", ()),
)


@dataclass(frozen=True, slots=True, eq=False)
class _Sources:
    """What every cell is built from."""

    records: Records
    covariates: Covariates
    absent: dict[str, BoolArray]  # column -> (N,) rows without it
    incomplete: BoolArray  # (N,) rows without a covariate
    csem: FloatArray | None  # (N,)
    labels: dict[int, str]  # year -> the caller's text
    spec: GrowthSpec


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    """What became of the n students of a cell."""

    subject: str
    year: int
    rows: IntArray  # (n,)
    has_priors: BoolArray  # (n,)
    panels: list[Panel]
    status: CodeArray  # (n,) codes of STATUSES
    highest: CodeArray  # (n,) position in `panels` of the highest-order panel, -1 if none
    unknown: list[IntArray]  # per panel, rows of prior scores without a CSEM


def build_panels(table: StudentTable, spec: GrowthSpec, *, csem: CsemFunction | None = None) -> PanelSet:
    """Form one cohort per grade x subject x year x prior pattern.

    A student belongs to a pattern if the record of every prior year of the pattern is in the progression's
    grade and has a score; nothing is imputed. Membership is nested: a cohort with fewer priors holds everyone
    who has those priors, also those who have more. The knot scores of ``basis.knots_from = "all_rows"`` are
    all scores of the prior's subject and grade, whoever has them, in the years from the earliest own prior
    that any student of the grade has (or the prior itself, if that is earlier) up to the year before the
    current one.

    Parameters
    ----------
    table : StudentTable
    spec : GrowthSpec
        ``cohorts``, ``peers``, ``basis.knots_from``, ``measurement`` and ``scale.bounds`` matter here.
    csem : callable, optional
        For ``measurement.csem = "function"``: called with (scores, subject, grade, year), the scores of shape
        (n,), it returns their CSEM, shape (n,).

    Returns
    -------
    PanelSet

    Raises
    ------
    CohortError
        Nothing is in scope, or no cohort is large enough; the message counts the rows per reason.
    ColumnError
        A covariate is missing where it is needed and ``peers.missing`` is ``"error"``; or the CSEM of a prior
        is unknown or not a standard error.
    SpecError
        The argument `csem` and ``measurement.csem`` disagree.

    References
    ----------
    Betebenner, D. (2009). Norm- and criterion-referenced student growth. Educational Measurement: Issues and
    Practice, 28(4), 42-51.
    """
    records = Records.of(table.codes)
    scope = find_scope(records, spec.cohorts)
    sources = _sources(table, records, spec, csem)
    outcomes = [_build_cell(trace_cell(records, *cell, spec.cohorts), sources) for cell in scope.cells]
    if spec.peers.missing == "error":
        refuse_missing(sources.absent, [one.rows[one.has_priors] for one in outcomes])
    panels = tuple(panel for outcome in outcomes for panel in outcome.panels)
    lines = _table_lines(table, scope) + _cell_lines(outcomes)
    if not panels:
        raise CohortError(_nothing_to_fit(outcomes, spec))
    unknown = [rows for outcome in outcomes for rows in outcome.unknown]
    if unknown:
        refuse_unknown_csem(table, np.concatenate(unknown))
    counts = pl.concat([table.counts, waterfall_frame(lines)])
    return PanelSet(panels, _current(outcomes, table.codes.height), counts)


def _sources(table: StudentTable, records: Records, spec: GrowthSpec, csem: CsemFunction | None) -> _Sources:
    covariates = read_covariates(table, spec.peers)
    absent = covariates.missing()
    incomplete = empty(table.codes.height, np.bool_)
    incomplete[:] = False
    for rows in absent.values():
        incomplete |= rows
    labels = dict(distinct(table.codes.select("year", "year_label")).sort("year").iter_rows())
    errors = read_csem(table, spec, csem)
    return _Sources(records, covariates, absent, incomplete, errors, labels, spec)


def _build_cell(cell: Cell, sources: _Sources) -> _Outcome:
    cohorts = sources.spec.cohorts
    eligible = cell.has_priors & ~sources.incomplete[cell.rows]
    patterns = cell.patterns(eligible, cohorts)
    panels: list[Panel] = []
    unknown: list[IntArray] = []
    highest = np.full(len(cell.rows), -1, dtype=np.int16)
    tried = np.zeros(len(cell.rows), dtype=np.bool_)
    for pattern in patterns:
        members = cell.members(pattern) & eligible
        tried |= members
        if np.count_nonzero(members) >= max(cohorts.min_cohort, 1):
            highest[members] = len(panels)
            prior_rows = cell.prior_rows(pattern, members)
            panels.append(_panel(cell, pattern, members, prior_rows, sources))
            if sources.csem is not None:
                unknown.append(prior_rows[np.isnan(sources.csem[prior_rows])])
    status = cell.status.astype(np.int8)
    status[cell.has_priors & ~eligible] = code_of("missing_covariate")
    status[eligible & (highest < 0)] = code_of("cohort_too_small")
    if panels and cohorts.orders == "exact":
        status[eligible & ~tried] = code_of("no_prior_score")
    arrays = map(kept, (cell.rows, cell.has_priors, status, highest))
    rows, has_priors, status, highest = arrays
    return _Outcome(cell.subject, cell.year, rows, has_priors, panels, status, highest, unknown)


def _panel(
    cell: Cell, pattern: Pattern, members: BoolArray, prior_rows: IntArray, sources: _Sources
) -> Panel:
    records, spec = sources.records, sources.spec
    rows = cell.rows[members]
    priors = records.score[prior_rows]
    covariates, names = sources.covariates.matrix(rows, priors[:, 0])
    return Panel(
        subject=cell.subject,
        grade=cell.grade,
        year=cell.year,
        pattern=pattern,
        row=kept(rows),
        score=kept(records.score[rows]),
        priors=kept(priors),
        covariates=kept(covariates),
        covariate_names=names,
        knot_scores=tuple(map(kept, _knot_scores(cell, pattern, priors, sources))),
        bounds=spec.scale.bounds.get(cell.subject, {}).get(cell.grade),
        norm_group=_norm_group(cell, pattern, sources.labels),
        school=kept(records.school[rows].astype(np.int64)),
        csem=None if sources.csem is None else kept(sources.csem[prior_rows]),
        score_csem=None if sources.csem is None else kept(sources.csem[rows]),
    )


def _knot_scores(
    cell: Cell, pattern: Pattern, priors: FloatArray, sources: _Sources
) -> tuple[FloatArray, ...]:
    if sources.spec.basis.knots_from == "cohort":
        return tuple(np.ascontiguousarray(column) for column in priors.T)
    # an other-subject prior may lie further back than any own prior: its own year must count
    first = {prior: cell.year - max(cell.window, prior.lag) for prior in pattern.priors}
    return tuple(sources.records.scores(p.subject, p.grade, first[p], cell.year - 1) for p in pattern.priors)


def _norm_group(cell: Cell, pattern: Pattern, labels: dict[int, str]) -> str:
    oldest_first = sorted(pattern.priors, key=lambda prior: -prior.lag)
    parts = [f"{labels[cell.year - p.lag]}/{p.subject}_{p.grade}" for p in oldest_first]
    return "; ".join([*parts, f"{labels[cell.year]}/{cell.subject}_{cell.grade}"])


def _current(outcomes: Sequence[_Outcome], rows: int) -> pl.DataFrame:
    """Return what became of every row in scope, in the order of the table's `rows`."""
    status, highest = empty(rows, np.int8), empty(rows, np.int32)
    status[:] = highest[:] = -1
    keys: list[str] = []
    for outcome in outcomes:
        status[outcome.rows] = outcome.status
        highest[outcome.rows] = np.where(outcome.highest < 0, -1, outcome.highest + len(keys))
        keys += [panel.key for panel in outcome.panels]
    row = empty(sum(len(outcome.rows) for outcome in outcomes), np.int64)
    place = 0
    for k in pieces(rows):
        here = np.flatnonzero(status[k] >= 0)
        row[place : place + len(here)] = here + k.start
        place += len(here)
    return pl.DataFrame(
        [
            pl.Series("row", row),
            texts("status", kept_at(status, row), STATUSES),
            texts("highest", kept_at(highest, row), keys),
        ]
    )


def _table_lines(table: StudentTable, scope: Scope) -> list[Line]:
    return step_lines(ALL_SUBJECTS, None, "in_scope", table.codes.height, scope.outside)


def _cell_lines(outcomes: Sequence[_Outcome]) -> list[Line]:
    lines: list[Line] = []
    for subject, year in sorted({(outcome.subject, outcome.year) for outcome in outcomes}):
        here = [one.status for one in outcomes if (one.subject, one.year) == (subject, year)]
        totals = sum(np.bincount(status, minlength=len(STATUSES)) for status in here)
        counts = dict(zip(STATUSES, np.asarray(totals).tolist(), strict=True))
        lines.append(Line(subject, year, "in_scope", sum(counts.values())))
        for step, reasons in _REASONS:
            lines += step_lines(subject, year, step, lines[-1].rows, {r: counts[r] for r in reasons})
    return lines


def _nothing_to_fit(outcomes: Sequence[_Outcome], spec: GrowthSpec) -> str:
    status = np.concatenate([outcome.status for outcome in outcomes])
    counts = zip(STATUSES, np.bincount(status, minlength=len(STATUSES)), strict=True)
    reasons = ", ".join(f"{name} {count:,}" for name, count in counts if count)
    return problem(
        f"No cohort can be fitted; rows in scope by reason: {reasons}",
        rule=f"current and prior scores, at least {max(spec.cohorts.min_cohort, 1)} students per cohort",
        rows=len(status),
        fix="add earlier years, lower cohorts.min_cohort, or name skipped years in cohorts.progressions",
    )
