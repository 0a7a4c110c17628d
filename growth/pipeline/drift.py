r"""Drift audit: whether the schools moved, or the norm that they are measured by.

A later year's schools have two levels on the same cut points: in the base year's norm, and in their own
year's, which moves with them. For each school and subject, exactly:

.. math:: \underbrace{L_{moving} - L_{base}}_{change} = \underbrace{L_{frozen} - L_{base}}_{schools}
    + \underbrace{L_{moving} - L_{frozen}}_{norm}

*schools*: what the school's result did against a ruler that stayed. *norm*: what a ruler that moves with all
schools takes away or adds. If a run of the later year without the bundle is given, a third part
:math:`L_{refitted} - L_{moving}`, *curves*, is what refitting the students' curves does, and the change is
that of the published levels.

Students show the same: under frozen curves their mean percentile is their growth against the base year's
similar students; refitted curves put it at 50 every year.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.aggregate import by_group
from growth.errors import SpecError, problem
from growth.freeze import FreezeBundle
from growth.index import LevelCuts, assign_levels
from growth.measures import SchoolGrowthPercentile
from growth.pipeline.result import GrowthRun
from growth.school import ReferenceNorm
from growth.spec import GrowthSpec

__all__ = ["DriftAudit", "drift_audit"]

_ALL = "All"
_SCHOOL = ["subject", "school_id"]


@dataclass(frozen=True, slots=True, eq=False)
class DriftAudit:
    """A change of levels, split."""

    schools: pl.DataFrame
    """One row per subject and school of the later year: year, effect, growth_percentile_frozen and _moving
    [percentile rank], level_base (null for a bundle, or a new school), level_frozen, level_moving,
    level_refitted, and in levels change = change_schools + change_norm + change_curves."""
    system: pl.DataFrame
    """One row per subject: schools_base, schools, mean_effect_base, mean_effect, effect_change [points of the
    measure], mean levels likewise, their change and its parts, share_schools, share_norm and share_curves of
    all movement (absolute parts over their sum; null if nothing moved). Each year's schools count."""
    students: pl.DataFrame
    """One row per subject and grade: n, mean_percentile and mean_percentile_refitted [0-100], curves
    (``frozen`` or ``refitted``)."""
    sentences: tuple[str, ...]
    """The same in words."""

    @property
    def frames(self) -> dict[str, pl.DataFrame]:
        """The tables by name."""
        return {"schools": self.schools, "system": self.system, "students": self.students}

    @property
    def plot(self) -> Any:  # noqa: ANN401
        """Altair charts, `growth.plot.DriftPlots`: ``levels()`` and ``students()``."""
        return import_module("growth.plot").DriftPlots(self)  # by name: pictures live further up the street

    def __repr__(self) -> str:
        return "\n".join(["DriftAudit(", *(f"  {sentence}" for sentence in self.sentences), ")"])


def drift_audit(
    base: GrowthRun | FreezeBundle, later: GrowthRun, *, refitted: GrowthRun | None = None
) -> DriftAudit:
    """Split the change of levels between a base year and a later year into norm and schools.

    Parameters
    ----------
    base : GrowthRun or FreezeBundle
        The base year; a run knows the level that each school had.
    later : GrowthRun
        The later year, run with the base year's bundle, norms and cuts at least.
    refitted : GrowthRun, optional
        The later year run without it: what would have been published.

    Raises
    ------
    SpecError
        If `later` was not run with the bundle of `base`, holds several years, or `refitted` is of another
        year; if norms are by grade span, or growth percentiles are expected ranks.
    """
    bundle = base.freeze(parts=("norms", "cuts")) if isinstance(base, GrowthRun) else base
    year = _checked(base, bundle, later, refitted)
    assert bundle.norms is not None
    assert bundle.cuts is not None
    parts = [
        _subject(subject, later, norm, bundle.cuts)
        for subject in later.frames["schools"]["subject"].unique().sort()
        if (norm := bundle.norms.find(subject, _ALL)) is not None
    ]
    schools = _with_others(pl.concat(parts), base, refitted, bundle.cuts)
    system = _system(schools, bundle)
    students = _students(later, refitted)
    words = _sentences(system, students, bundle.base_year, year)
    return DriftAudit(schools.with_columns(year=pl.lit(year, pl.Int32)), system, students, words)


def _checked(
    base: GrowthRun | FreezeBundle, bundle: FreezeBundle, later: GrowthRun, refitted: GrowthRun | None
) -> int:
    told = later.manifest.get("freeze") or {}
    same = told.get("base_year") == bundle.base_year and told.get("input_sha256") == bundle.input_digest
    if isinstance(base, FreezeBundle):
        same = same and told.get("sha256") == base.digest
    if not same or not {"norms", "cuts"} <= set(told.get("parts", ())):
        raise SpecError(
            problem(
                f"The later run was not measured by the norms and cut points of {bundle.base_year}",
                rule="an audit compares a frozen norm with a moving one",
                fix="run the later year with growth.run(table, freeze=bundle)",
            )
        )
    if bundle.norms is None or bundle.cuts is None:
        raise SpecError(problem("The bundle has no norms or no cut points", fix="freeze both"))
    if any(norm.span for norm in bundle.norms):
        raise SpecError(problem("Norms by grade span are not audited", fix='use school.norms_by = "none"'))
    if later.spec.school.growth_percentile == "expected":
        what = "Expected percentile ranks are not audited"
        rule = "a school's place in another norm follows from its effect alone"
        raise SpecError(problem(what, rule=rule, fix='use school.growth_percentile = "rank" or "normal"'))
    years = later.frames["levels"]["year"].unique().to_list()
    given = years if refitted is None else refitted.frames["levels"]["year"].unique().to_list()
    if len(years) != 1 or given != years:
        raise SpecError(problem(f"The later runs hold the years {sorted({*years, *given})}", rule="one year"))
    return int(years[0])


def _subject(subject: str, later: GrowthRun, norm: ReferenceNorm, cuts: LevelCuts) -> pl.DataFrame:
    """Return the later year's schools of a subject in both norms."""
    rows = later.frames["schools"].filter(subject=subject, group=_ALL).filter(pl.col("reason").is_null())
    spec = later.spec
    effect = rows[_ranked(spec)].to_numpy()
    key, location = (norm.year, subject, _ALL), _location(effect, later, subject)
    moving = ReferenceNorm.of(key, effect, np.zeros(len(effect)), location, norm.measure)
    places = {
        "frozen": rows["growth_percentile"].to_numpy(),
        "moving": moving.rank(effect) if spec.school.growth_percentile == "rank" else moving.normal(effect),
    }
    return pl.DataFrame(
        [
            rows["subject"],
            rows["school_id"],
            pl.Series("effect", effect),
            *(pl.Series(f"growth_percentile_{name}", place) for name, place in places.items()),
            *(pl.Series(f"level_{name}", _levels(place, cuts, subject)) for name, place in places.items()),
        ]
    )


def _ranked(spec: GrowthSpec) -> str:
    return "effect" if spec.school.shrinkage == "none" else "shrunk"


def _location(effect: FloatArray, later: GrowthRun, subject: str) -> tuple[float, float]:
    """Return mean and spread of the later year's norm, as `school_growth` would."""
    if later.spec.school.shrinkage == "none":
        return float(effect.mean()), float(effect.std(ddof=1)) if len(effect) > 1 else 0.0
    row = later.frames["variance"].filter(subject=subject, group=_ALL).row(0, named=True)
    return float(row["mean"]), float(np.sqrt(row["tau2"]))


def _levels(place: FloatArray, cuts: LevelCuts, subject: str) -> IntArray:
    levels = assign_levels(SchoolGrowthPercentile(place), cuts, subject=subject)
    return np.asarray(levels.filled(0), dtype=np.int64)


def _with_others(
    schools: pl.DataFrame, base: GrowthRun | FreezeBundle, refitted: GrowthRun | None, cuts: LevelCuts
) -> pl.DataFrame:
    """Add the levels of the base year and of refitted curves, and the parts of the change."""
    nothing = pl.DataFrame(schema={"subject": pl.String, "school_id": pl.String, "level": pl.Int64})
    before, published = nothing, nothing
    if isinstance(base, GrowthRun):
        before = base.frames["levels"].filter(group=_ALL).select(*_SCHOOL, pl.col("level").cast(pl.Int64))
    if refitted is not None:
        rows = refitted.frames["levels"].filter(group=_ALL).drop_nulls("growth_percentile")
        published = pl.concat(
            part.select(*_SCHOOL).with_columns(
                level=pl.Series(_levels(part["growth_percentile"].to_numpy(), cuts, part["subject"][0]))
            )
            for part in rows.partition_by("subject")
        )
    joined = schools
    for name, levels in (("base", before), ("refitted", published)):
        levels = levels.rename({"level": f"level_{name}"})
        joined = joined.join(levels, on=_SCHOOL, how="left", maintain_order="left")
    final = pl.col("level_moving") if refitted is None else pl.col("level_refitted")
    return joined.with_columns(
        change=final - pl.col("level_base"),
        change_schools=pl.col("level_frozen") - pl.col("level_base"),
        change_norm=pl.col("level_moving") - pl.col("level_frozen"),
        change_curves=final - pl.col("level_moving"),
    )


def _system(schools: pl.DataFrame, bundle: FreezeBundle) -> pl.DataFrame:
    assert bundle.norms is not None
    assert bundle.cuts is not None
    rows = []
    for part in schools.partition_by("subject", maintain_order=True):
        norm = bundle.norms.find(part["subject"][0], _ALL)
        assert norm is not None
        place = norm.rank if bundle.spec.school.growth_percentile == "rank" else norm.normal
        of_base = _levels(place(norm.effects), bundle.cuts, norm.subject)
        rows.append(_balance(part, norm, float(of_base.mean())))
    return pl.DataFrame(rows)


def _balance(part: pl.DataFrame, norm: ReferenceNorm, level_base: float) -> dict[str, object]:
    """Return a subject's means and what moved them."""

    def mean(name: str) -> float:
        known = part[name].drop_nulls().to_numpy()
        return float(known.mean()) if len(known) else 0.0

    given = part["level_refitted"].count() > 0
    frozen, moving = mean("level_frozen"), mean("level_moving")
    final = mean("level_refitted") if given else moving
    moved = {"schools": frozen - level_base, "norm": moving - frozen, "curves": final - moving}
    total = sum(map(abs, moved.values()))
    return {
        "subject": norm.subject,
        "schools_base": norm.schools,
        "schools": part.height,
        "mean_effect_base": float(norm.effects.mean()),
        "mean_effect": mean("effect"),
        "effect_change": mean("effect") - float(norm.effects.mean()),
        "mean_level_base": level_base,
        "mean_level_frozen": frozen,
        "mean_level_moving": moving,
        "mean_level_refitted": final if given else None,
        "change": final - level_base,
        **{f"change_{name}": value for name, value in moved.items()},
        **{f"share_{name}": abs(value) / total if total else None for name, value in moved.items()},
    }


def _students(later: GrowthRun, refitted: GrowthRun | None) -> pl.DataFrame:
    def means(run: GrowthRun, name: str) -> pl.DataFrame:
        rows = run.frames["students"].filter("highest").drop_nulls("percentile")
        grouped = by_group(
            rows,
            ["subject", "grade"],
            pl.len().cast(pl.Int64).alias("n"),
            (100 * pl.col("percentile").mean()).alias(name),
        )
        return grouped.sort("subject", "grade")

    found = means(later, "mean_percentile")
    if refitted is None:
        found = found.with_columns(mean_percentile_refitted=pl.lit(None, pl.Float64))
    else:
        theirs = means(refitted, "mean_percentile_refitted").drop("n")
        found = found.join(theirs, on=["subject", "grade"], how="left", maintain_order="left")
    frozen = "curves" in later.manifest["freeze"]["parts"]
    return found.with_columns(curves=pl.lit("frozen" if frozen else "refitted"))


def _sentences(system: pl.DataFrame, students: pl.DataFrame, base_year: int, year: int) -> tuple[str, ...]:
    said = []
    for row in system.iter_rows(named=True):
        rest = ""
        if row["mean_level_refitted"] is not None:
            rest = f"; with refitted curves {row['mean_level_refitted']:.2f} ({row['change_curves']:+.2f})"
        said.append(
            f"{row['subject']}: from {base_year} to {year} the mean effect of schools changed by "
            f"{row['effect_change']:+.2f} points. Their mean level was {row['mean_level_base']:.2f} and is "
            f"{row['mean_level_frozen']:.2f} in the norm of {base_year} ({row['change_schools']:+.2f}, the "
            f"schools). In a norm of {year} it would be {row['mean_level_moving']:.2f} "
            f"({row['change_norm']:+.2f}, the norm){rest}."
        )
    for part in students.partition_by("subject", maintain_order=True):
        n = part["n"].to_numpy()
        mean = float(np.average(part["mean_percentile"].to_numpy(), weights=n))
        subject, refitted = part["subject"][0], part["mean_percentile_refitted"]
        if part["curves"][0] == "refitted":
            said.append(
                f"{subject}: students' curves were refitted in {year}, so that percentiles average "
                f"{mean:.1f}, and growth of all students alike cannot show in any of these levels."
            )
            continue
        told = f"{subject}: students of {year} are on average at percentile {mean:.1f} of similar students "
        told += f"of {base_year}"
        if refitted.null_count() == 0:
            told += f"; refitted curves say {float(np.average(refitted.to_numpy(), weights=n)):.1f}"
        said.append(told + ".")
    return tuple(said)
