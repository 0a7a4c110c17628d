"""Two runs: which schools' levels differ, and which stage moved them.

Stages of the first run are replaced by those of the second, one after the other in the order of the street,
and levels are worked out anew after each. *data*: who is in the table and in which school; *student*: growth
percentiles; *school*: what is counted, averaged and shrunk; *norm*: among whom, and how, schools are ranked;
*cuts*: where levels begin. A school's change of level is the sum of the changes of the stages.

Levels are worth index points: `growth.study.points` says how many each school gains or loses.

What a stage does depends on what was replaced before it. Where a mixture of two runs is impossible (a norm of
means for medians), the change is booked on the next stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from growth.errors import GrowthError, SpecError, problem
from growth.index import LevelCuts
from growth.index.levels import level_table
from growth.pipeline import GrowthRun
from growth.school import Norms, school_growth
from growth.spec import Groups, GrowthSpec
from growth.study.points import points_between, points_sentence

__all__ = ["STAGES", "Comparison", "compare_runs"]

STAGES = ("data", "student", "school", "norm", "cuts")
_ALL = "All"
_UNIT = ["year", "subject", "school_id"]
_STUDENT = ["student_id", "year", "subject"]
_OF_NORM = ("growth_percentile", "norms_by")
_OF_STAGE = {
    "data": ("columns", "scale"),
    "student": ("cohorts", "peers", "basis", "quantiles", "student", "measurement", "simex", "correction"),
    "school": ("school",),
    "norm": ("freeze",),
    "cuts": ("levels",),
}
_RESULTS = ("status", "cohort", "n_priors", "sgp", "percentile", "expected_score", "residual", "residual_sd")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison:
    """The levels of two runs, and what lies between them."""

    schools: pl.DataFrame
    """One row per year, subject and school: growth_percentile_a and _b, level_a, level_b, change (b less a),
    change_data, change_student, change_school, change_norm, change_cuts (levels; null where the mixture was
    impossible), because (the stage with the largest part; ``several`` if two are as large; null without
    change)."""
    stages: pl.DataFrame
    """One row per subject and stage: moved (schools that it moves), up, down, levels (moved in all)."""
    choices: pl.DataFrame
    """One row per choice that differs: stage, key, a, b."""
    points: pl.DataFrame
    """One row per year and school: growth_a, growth_b, growth_moved, index_a, index_b, index_moved [index
    points]; see `growth.study.points.points_between`."""

    @property
    def frames(self) -> Mapping[str, pl.DataFrame]:
        """The tables by name."""
        names = ("schools", "stages", "choices", "points")
        return {name: getattr(self, name) for name in names}

    @property
    def sentences(self) -> tuple[str, ...]:
        """The comparison in words: a sentence per subject, and one on index points."""
        lines = []
        for (subject,), part in self.schools.drop_nulls("change").group_by("subject", maintain_order=True):
            changed = part.filter(pl.col("change") != 0)
            reasons = (
                changed["because"].value_counts(sort=True).sort("count", "because", descending=[True, False])
            )
            why = ", ".join(f"{count} by {stage}" for stage, count in reasons.iter_rows())
            told = f"{subject}: {changed.height:,} of {part.height:,} schools have another level"
            lines.append(told + (f" ({why})." if why else "."))
        worth = points_sentence(self.points)
        return tuple([*lines, worth] if worth else lines)

    def __repr__(self) -> str:
        return "\n".join(["Comparison(", *(f"  {line}" for line in self.sentences), ")"])


@dataclass(frozen=True, slots=True, eq=False)
class _Mixture:
    """Stages of two runs put together."""

    students: pl.DataFrame
    spec: GrowthSpec
    norms: Norms | None
    cuts: LevelCuts

    def levels(self) -> pl.DataFrame:
        """Return year, subject, school_id, growth_percentile and level of all students' results."""
        plain = self.spec.model_copy(update={"groups": Groups(flags={}, race="", lowest_race=False)})
        found = school_growth(self.students, plain, norms=self.norms, cuts=self.cuts.points)
        return _of_schools(level_table(found.frame, self.cuts))


def compare_runs(
    a: GrowthRun,
    b: GrowthRun,
    *,
    metrics: pl.DataFrame | str | Path | Any | None = None,  # noqa: ANN401
) -> Comparison:
    """Say which schools have another level in run `b` than in run `a`, and which stage moved them.

    Parameters
    ----------
    a, b : GrowthRun
        Of the same years.
    metrics : path or frame, optional
        The other metrics of the index, as for `growth.index.school_index`: both runs then have an index, and
        points moved are those of the whole. Without it they are those that `growth.index.growth_points` gives
        for growth, in index points as well.

    Returns
    -------
    Comparison

    Raises
    ------
    SpecError
        If the runs are of different years; or school results cannot be worked out from the run alone
        (``school.standard_error = "refit"``, ``school.share = "enrolment"``).
    """
    _check(a, b)
    ends = (_of_schools(a.frames["levels"]), _of_schools(b.frames["levels"]))
    found = [_levels_or_none(mixture) for mixture in _mixtures(a, b)]
    for run, end, worked_out in zip("ab", ends, (found[0], found[-1]), strict=True):
        if worked_out is None or not worked_out.sort(_UNIT).equals(end.sort(_UNIT)):
            what = f"The levels of run {run} cannot be worked out again from its folder"
            raise SpecError(problem(what, rule="both ends of a comparison must be what was published"))
    table = ends[0].join(ends[1], on=_UNIT, how="full", coalesce=True, suffix="_b")
    table = table.rename({"growth_percentile": "growth_percentile_a", "level": "level_a"})
    steps: dict[str, pl.DataFrame | None] = {}
    last = 0
    for place, stage in enumerate(STAGES, start=1):
        now, before = found[place], found[last]
        if now is None or before is None:
            steps[stage] = None
            continue
        both = before.join(now, on=_UNIT, suffix="_now")
        steps[stage] = both.select(*_UNIT, (pl.col("level_now") - pl.col("level")).alias(f"change_{stage}"))
        last = place
    for stage, step in steps.items():
        if step is None:
            table = table.with_columns(pl.lit(None, pl.Int64).alias(f"change_{stage}"))
        else:
            table = table.join(step, on=_UNIT, how="left")
    parts = [f"change_{stage}" for stage in STAGES]
    table = table.with_columns(change=pl.col("level_b") - pl.col("level_a")).with_columns(because=_because())
    shown = ["growth_percentile_a", "growth_percentile_b", "level_a", "level_b", "change", *parts, "because"]
    schools = table.select(*_UNIT, *shown).sort(_UNIT)
    points = points_between(a, b, metrics)
    return Comparison(schools, _stages(schools), _choices(a.spec, b.spec), points)


def _check(a: GrowthRun, b: GrowthRun) -> None:
    years = [sorted(run.frames["levels"]["year"].unique()) for run in (a, b)]
    if years[0] != years[1]:
        what = f"The runs are of different years: {years[0]} and {years[1]}"
        raise SpecError(problem(what, fix="growth drift says what moved levels between two years"))
    for run in (a, b):
        rules = run.spec.school
        if rules.standard_error == "refit" or rules.share == "enrolment":
            key = "standard_error" if rules.standard_error == "refit" else "share"
            what = f"school.{key} = {getattr(rules, key)!r} needs more than a run keeps"
            raise SpecError(problem(what, fix="compare runs without it"))


def _mixtures(a: GrowthRun, b: GrowthRun) -> Iterator[_Mixture]:
    """Yield run a, then with one stage after the other of run b; run b itself comes last."""
    same = a.manifest["input"]["sha256"] == b.manifest["input"]["sha256"]
    norms = [run.norms if run.manifest["norms"]["frozen"] else None for run in (a, b)]
    students = a.frames["students"]
    kept = {name: getattr(a.spec.school, name) for name in _OF_NORM}
    half = b.spec.model_copy(update={"school": b.spec.school.model_copy(update=kept)})
    yield _Mixture(students, a.spec, norms[0], a.cuts)
    yield _Mixture(students if same else _on_data(a, b), a.spec, norms[0], a.cuts)
    yield _Mixture(b.frames["students"], a.spec, norms[0], a.cuts)
    yield _Mixture(b.frames["students"], half, norms[0], a.cuts)
    yield _Mixture(b.frames["students"], b.spec, norms[1], a.cuts)
    yield _Mixture(b.frames["students"], b.spec, norms[1], b.cuts)


def _on_data(a: GrowthRun, b: GrowthRun) -> pl.DataFrame:
    """Return the students and schools of run b with the growth of run a, where that has it."""
    mine, theirs = a.frames["students"].filter("highest"), b.frames["students"].filter("highest")
    results = [name for name in mine.columns if name in theirs.columns and name.startswith(_RESULTS)]
    known = mine.filter(status="scored").select(*_STUDENT, *results, pl.lit(True).alias("_known"))
    joined = theirs.join(known, on=_STUDENT, how="left", suffix="_a", maintain_order="left")
    mixed = [
        pl.when(pl.col("_known")).then(pl.col(f"{name}_a")).otherwise(pl.col(name)).alias(name)
        for name in results
    ]
    return joined.with_columns(mixed).select(theirs.columns)


def _levels_or_none(mixture: _Mixture) -> pl.DataFrame | None:
    try:
        return mixture.levels()
    except GrowthError:
        return None


def _of_schools(levels: pl.DataFrame) -> pl.DataFrame:
    shown = levels.filter(group=_ALL).drop_nulls("level")
    return shown.select(*_UNIT, "growth_percentile", pl.col("level").cast(pl.Int64)).sort(_UNIT)


def _because() -> pl.Expr:
    """Return the stage with the largest part in the direction of the change."""
    parts = [pl.col(f"change_{stage}").fill_null(0) * pl.col("change").sign() for stage in STAGES]
    most = pl.max_horizontal(parts)
    name: pl.Expr = pl.lit("several")
    for stage, part in zip(STAGES, parts, strict=True):
        alone = pl.sum_horizontal([(other == most).cast(pl.Int64) for other in parts]) == 1
        name = pl.when(alone & (part == most)).then(pl.lit(stage)).otherwise(name)
    return pl.when(pl.col("change") != 0).then(name)


def _stages(schools: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for (subject,), part in schools.group_by("subject", maintain_order=True):
        for stage in STAGES:
            change = part[f"change_{stage}"].drop_nulls()
            up, down = int((change > 0).sum()), int((change < 0).sum())
            rows.append((subject, stage, up + down, up, down, int(change.abs().sum())))
    names = {"moved": pl.Int64, "up": pl.Int64, "down": pl.Int64, "levels": pl.Int64}
    return pl.DataFrame(rows, schema={"subject": pl.String, "stage": pl.String, **names}, orient="row")


def _choices(a: GrowthSpec, b: GrowthSpec) -> pl.DataFrame:
    """Return the choices that differ and move schools, by the stage that they belong to."""
    rows = []
    for stage, parts in _OF_STAGE.items():
        for part in parts:
            one, two = (getattr(spec, part).model_dump(mode="json") for spec in (a, b))
            for key in one:
                if one[key] != two[key]:
                    at = "norm" if part == "school" and key in _OF_NORM else stage
                    rows.append((at, f"{part}.{key}", _text(one[key]), _text(two[key])))
    names = dict.fromkeys(("stage", "key", "a", "b"), pl.String)
    order = pl.col("stage").replace_strict(STAGES, range(len(STAGES)), return_dtype=pl.Int64)
    return pl.DataFrame(rows, schema=names, orient="row").sort(order, "key")


def _text(value: Any) -> str:  # noqa: ANN401
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
