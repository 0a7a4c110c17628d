"""One student's percentile, down to the curves around the score and what another score would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from growth.audit.again import Met, reform
from growth.errors import GrowthError
from growth.panel import CallerFrame, CsemFunction, Panel, StudentTable
from growth.pipeline import GrowthRun
from growth.student import NormalGrowth, QuantileGrowth, growth_sentence, percentile_cuts, student_growth

__all__ = ["StudentAccount", "explain_student"]

_STEPS = (1, 5, 10)
"""Percentiles above and below for which the score is named."""
_CURVES = range(1, 100)
_MOST = 10_000
"""Whole scores that are tried, at most."""
_PRIOR_STEP = 10.0
"""By how much prior scores are changed to see what that does [scale-score points]."""
_SCHOOL = "school_mean:"
"""How the names of columns begin that are of the school and not of the student."""


@dataclass(frozen=True, slots=True, eq=False)
class StudentAccount:
    """How one result of a student came about."""

    facts: dict[str, Any]
    """Of the students frame: subject, year, grade, score, status, cohort, norm_group, sgp, ..."""
    sentence: str
    """The result in words."""
    priors: tuple[tuple[str, float], ...] = ()
    """Prior scores in the model, as (subject grade year, score); empty without the table."""
    columns: tuple[tuple[str, float], ...] = ()
    """What else students are compared by, as (column, value)."""
    students: int | None = None
    """Students of the cohort that they are compared within."""
    make_up: float | None = None
    """What goes with the school's composition and is taken out of the score [scale-score points]."""
    bracket: tuple[tuple[int, float], ...] = ()
    """The curves around the score: (percentile, score up to which it reaches) [scale-score points]."""
    scores: tuple[tuple[int, float], ...] = ()
    """What would change it: (percentile, least whole score that earns at least that much)."""
    otherwise: tuple[tuple[str, int], ...] = ()
    """What else would change it: (what would have been recorded, percentile on the same curves)."""

    def __repr__(self) -> str:
        f = self.facts
        lines = [
            f"{f['subject']} {f['year']}, grade {f['grade']}, score {_plain(f['score'])}: {self.sentence}"
        ]
        if f["cohort"] is None:
            return lines[0]
        among = f"the {self.students:,} of " if self.students else ""
        lines.append(f"  Compared among {among}{f['cohort']} ({f['norm_group']}) with students who have")
        alike = [f"    {name} = {_plain(value)}" for name, value in (*self.priors, *self.columns)]
        lines += alike or ["    similar prior scores (and traits, if there are such)"]
        if self.make_up is not None:
            lines.append(
                f"  Left out of the comparison: {self.make_up:+.1f} points that go with the school's make-up."
            )
        if f.get("expected_score") is not None:
            lines.append(_expected(f))
        if self.bracket:
            lines.append(_around(self.bracket, f["sgp"]))
        if self.scores:
            steps = ", ".join(f"{percentile} from {_plain(score)} on" for percentile, score in self.scores)
            lines.append(f"  With another score, at least percentile {steps}.")
        if self.otherwise:
            lines.append("  With something else recorded:")
            lines += [f"    {what}: percentile {percentile}" for what, percentile in self.otherwise]
        if f.get("sgp_simex") is not None:
            lines.append(
                f"  Corrected for the measurement error of prior scores: {f['sgp_simex']}, ranked "
                f"{f['sgp_simex_ranked']}; made for averages of many students."
            )
        return "\n".join(lines)


def explain_student(
    run: GrowthRun,
    student_id: str,
    table: StudentTable | CallerFrame | str | Path | None = None,
    *,
    csem: CsemFunction | None = None,
) -> tuple[StudentAccount, ...]:
    """Explain every result of a student, in the order of the students frame.

    Parameters
    ----------
    run : GrowthRun
    student_id : str
    table : path, frame or StudentTable, optional
        What the run was made from: needed for prior scores, curves and other scores, which a run folder does
        not keep for each student.
    csem : callable, optional
        As the run was given.

    Returns
    -------
    tuple of StudentAccount

    Raises
    ------
    GrowthError
        If the student has no row in scope.
    TableError
        If the table is not the one that the run was made from.
    """
    rows = run.polars("students").filter(pl.col("student_id") == str(student_id))
    if rows.is_empty():
        raise GrowthError("No student with this student_id has a row in the years and grades in scope.")
    plain = [StudentAccount(row, growth_sentence(row, run.spec)) for row in rows.iter_rows(named=True)]
    if table is None:
        return tuple(plain)
    again = reform(run, table, csem=csem)
    cohorts = {met.panel.key: met for met in again}
    who = again.table.codes["student_id"]
    found = []
    for account in plain:
        met = cohorts.get(account.facts["cohort"] or "")
        if met is None:
            found.append(account)
            continue
        at = np.flatnonzero((who.gather(met.panel.row) == str(student_id)).to_numpy())
        found.append(_with_curves(account, met, at))
    return tuple(found)


def _with_curves(account: StudentAccount, met: Met, at: Any) -> StudentAccount:  # noqa: ANN401
    panel = one_student(met.panel, at)
    priors = tuple(
        (f"{prior.subject} grade {prior.grade}, {panel.year - prior.lag}", float(score))
        for prior, score in zip(panel.pattern.priors, panel.priors[0], strict=True)
    )
    columns = tuple(zip(panel.covariate_names, map(float, panel.covariates[0]), strict=True))
    account = replace(
        account,
        priors=priors,
        columns=columns,
        students=met.model.n,
        make_up=_make_up(met, panel),
    )
    with threadpool_limits(limits=1, user_api="blas"):
        account = replace(account, otherwise=_otherwise(met, panel))
        growth = student_growth(panel, met.spec, frozen=met.model, n_jobs=1)
        if not isinstance(growth, QuantileGrowth | NormalGrowth):
            return account
        cuts = percentile_cuts(growth, panel, tuple(_CURVES), met.spec, digits=5)[0]
        return replace(
            account,
            bracket=_bracket(cuts, float(panel.score[0])),
            scores=_other_scores(met, panel, int(growth.sgp[0])),
        )


def one_student(panel: Panel, at: Any) -> Panel:  # noqa: ANN401
    """Return a cohort of the students at some places of it; knots stay where all students put them."""

    def part(values: Any) -> Any:  # noqa: ANN401
        return None if values is None else values[at]

    return replace(
        panel,
        row=panel.row[at],
        score=panel.score[at],
        priors=panel.priors[at],
        covariates=panel.covariates[at],
        school=part(panel.school),
        csem=part(panel.csem),
        score_csem=part(panel.score_csem),
        offset=part(panel.offset),
        offset_se=part(panel.offset_se),
    )


def _bracket(cuts: Any, score: float) -> tuple[tuple[int, float], ...]:  # noqa: ANN401
    below, above = np.flatnonzero(cuts < score), np.flatnonzero(cuts >= score)
    ends = [*below[-1:], *above[:1]]
    return tuple((_CURVES[int(k)], float(cuts[k])) for k in ends)


def _other_scores(met: Met, panel: Panel, sgp: int) -> tuple[tuple[int, float], ...]:
    """Place the student with every whole score in reach: what is said is what the engine does."""
    low, high = panel.bounds or (_reach(met.panel.score, -1), _reach(met.panel.score, 1))
    scores = np.arange(np.ceil(low), np.floor(high) + 1)[:_MOST]
    many = one_student(panel, np.zeros(len(scores), dtype=np.int64))
    placed = student_growth(replace(many, score=scores), met.spec, frozen=met.model, n_jobs=1).sgp
    wanted = sorted({sgp + sign * step for step in _STEPS for sign in (-1, 1)} & set(_CURVES))
    found = []
    for percentile in wanted:
        enough = np.flatnonzero(placed >= percentile)
        if enough.size:
            found.append((percentile, float(scores[enough[0]])))
    return tuple(found)


def _make_up(met: Met, panel: Panel) -> float | None:
    if met.panel.offset is None or panel.offset is None or not met.panel.offset.any():
        return None
    return float(panel.offset[0])


def _otherwise(met: Met, panel: Panel) -> tuple[tuple[str, int], ...]:
    """Place the student with one other fact at a time: a flag turned round, a prior score 10 points off.

    Flags that another column is made from, by interaction, are left out. The school's composition stays.
    """
    names = panel.covariate_names
    made_from = {part for name in names if not name.startswith(_SCHOOL) for part in name.split(":")[1:]}
    made_from |= {name.split(":")[0] for name in names if ":" in name and not name.startswith(_SCHOOL)}
    changes: list[tuple[str, str, int, float]] = []
    for k, name in enumerate(names):
        if name in met.spec.peers.flags and name not in made_from:
            other = 1.0 - float(panel.covariates[0, k])
            changes.append((f"{name} = {_plain(other)}", "covariates", k, other))
    if "prior" not in made_from:
        for k, prior in enumerate(panel.pattern.priors):
            for step in (-_PRIOR_STEP, _PRIOR_STEP):
                score = float(panel.priors[0, k]) + step
                what = f"{prior.subject} grade {prior.grade}, {panel.year - prior.lag} = {_plain(score)}"
                changes.append((what, "priors", k, score))
    if not changes:
        return ()
    many = one_student(panel, np.zeros(len(changes), dtype=np.int64))
    many = replace(many, covariates=many.covariates.copy(), priors=many.priors.copy())
    for row, (_, array, column, value) in enumerate(changes):
        getattr(many, array)[row, column] = value
    placed = student_growth(many, met.spec, frozen=met.model, n_jobs=1).sgp
    return tuple((what, int(sgp)) for (what, *_), sgp in zip(changes, placed, strict=True))


def _expected(facts: dict[str, Any]) -> str:
    off = facts["residual"]
    side = "above" if off >= 0 else "below"
    return f"  Their typical score is {facts['expected_score']:.1f}; this one lies {abs(off):.1f} {side} it."


def _around(bracket: tuple[tuple[int, float], ...], sgp: int) -> str:
    """Say between which scores the percentile lies."""
    above = [f"above {score:.2f}" for percentile, score in bracket if percentile < sgp]
    upto = [f"up to {score:.2f}" for percentile, score in bracket if percentile >= sgp]
    return f"  Percentile {sgp} of such students: scores {' and '.join(above + upto)}."


def _reach(scores: Sequence[float] | Any, sign: int) -> float:  # noqa: ANN401
    """Return the lowest or highest score of the cohort."""
    return float(np.min(scores) if sign < 0 else np.max(scores))


def _plain(number: float | None) -> str:
    return "none" if number is None else f"{number:g}"
