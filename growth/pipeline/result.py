"""What one run hands back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from importlib import import_module
from typing import Any

import polars as pl

from growth.aggregate import by_group
from growth.errors import GrowthError, SpecError, did_you_mean, problem
from growth.freeze import FreezeBundle, checked_parts
from growth.index import LevelCuts
from growth.pipeline.frozen import require_freezable
from growth.school import Norms
from growth.spec import FrozenPart, GrowthSpec
from growth.student import FrozenCurves, growth_sentence

__all__ = ["FRAMES", "ON_REQUEST", "GrowthRun"]

FRAMES = ("students", "schools", "levels", "counts", "cells", "variance", "fairness", "neutrality")
"""Results of a run, most detailed first."""

ON_REQUEST = {
    "spans": "school.by_span",
    "districts": "school.districts",
    "predictions": 'school.shrinkage = "eblp"',
    "history": "cohorts.years",
}
"""Results that a run has if its specification asks for them, by the field that does."""

_ALL = "All"


def _as_polars(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


@dataclass(frozen=True, eq=False, repr=False)
class GrowthRun:
    """Results of `growth.run`, with everything needed to explain and to repeat them.

    The frames `students`, `schools`, `levels`, `counts`, `cells`, `variance`, `fairness` and `neutrality` are
    of the kind of frame that the table came as; `polars` returns any of them as polars.

    Examples
    --------
    >>> import growth
    >>> city = growth.simulate_table(3_000, 12, years=1, seed=1)
    >>> result = growth.run(city.table)
    >>> result.summary().columns[:4]
    ['year', 'subject', 'students', 'scored']
    """

    frames: Mapping[str, pl.DataFrame] = field(repr=False)
    """The results as polars, by the names in `FRAMES`."""
    spec: GrowthSpec
    """Every choice of the run."""
    manifest: Mapping[str, Any]
    """Digests, versions, platform, times and certificates, as plain values."""
    cuts: LevelCuts
    """The cut points of the levels; `freeze` hands them to later years."""
    norms: Norms
    """The distributions schools were ranked in; `freeze` hands them to later years."""
    curves: FrozenCurves = field(default=FrozenCurves(), repr=False)
    """The models of the cohorts; `freeze` hands them to later years."""
    to_caller: Callable[[pl.DataFrame], Any] = field(default=_as_polars, repr=False)
    """Turns a polars frame into the caller's kind."""

    def polars(self, name: str) -> pl.DataFrame:
        """Return a result as polars.

        Raises
        ------
        GrowthError
            If there is no result of that name.
        """
        if name not in self.frames and name in ON_REQUEST:
            raise GrowthError(f"This run has no result {name!r}: {ON_REQUEST[name]} asks for it.")
        if name not in self.frames:
            hint = did_you_mean(name, self.frames)
            raise GrowthError(f"There is no result {name!r}{hint} (there are: {', '.join(self.frames)}).")
        return self.frames[name]

    @cached_property
    def students(self) -> Any:  # noqa: ANN401
        """One row per student x subject x year in scope: status, sgp (1-99) and its interval, residual."""
        return self.to_caller(self.frames["students"])

    @cached_property
    def schools(self) -> Any:  # noqa: ANN401
        """One row per school x subject x year x group: means, medians, standard errors, growth percentile."""
        return self.to_caller(self.frames["schools"])

    @cached_property
    def levels(self) -> Any:  # noqa: ANN401
        """One row per school x subject x year x group: growth percentile (0-100) and level (1-10)."""
        return self.to_caller(self.frames["levels"])

    @cached_property
    def counts(self) -> Any:  # noqa: ANN401
        """Account of every row: subject, year, step, rows left, rows excluded, reason."""
        return self.to_caller(self.frames["counts"])

    @cached_property
    def cells(self) -> Any:  # noqa: ANN401
        """One row per cohort: engine, size, columns, quality of fit, time [s]."""
        return self.to_caller(self.frames["cells"])

    @cached_property
    def variance(self) -> Any:  # noqa: ANN401
        """One row per year x subject x group: between-school variance, reliability."""
        return self.to_caller(self.frames["variance"])

    @cached_property
    def fairness(self) -> Any:  # noqa: ANN401
        """One row per year x subject x group: mean percentile with and without the peer definition."""
        return self.to_caller(self.frames["fairness"])

    @cached_property
    def neutrality(self) -> Any:  # noqa: ANN401
        """One row per year x subject x trait: correlation of school results with schools' intake."""
        return self.to_caller(self.frames["neutrality"])

    @cached_property
    def spans(self) -> Any:  # noqa: ANN401
        """One row per school x subject x year x group x grade span, if ``school.by_span`` asks for them."""
        return self.to_caller(self.polars("spans"))

    @cached_property
    def districts(self) -> Any:  # noqa: ANN401
        """One row per district x subject x year x group, if ``school.districts`` asks for them."""
        return self.to_caller(self.polars("districts"))

    @cached_property
    def predictions(self) -> Any:  # noqa: ANN401
        """Predictions across years, grades and subjects, if ``school.shrinkage = "eblp"`` asks for them."""
        return self.to_caller(self.polars("predictions"))

    @cached_property
    def history(self) -> Any:  # noqa: ANN401
        """One row per school x subject x group in runs of several years: consecutive high years, trend."""
        return self.to_caller(self.polars("history"))

    @property
    def notices(self) -> tuple[str, ...]:
        """What was read as missing, and what was asked for and could not be done, in sentences."""
        traits = self.frames["neutrality"].filter(pl.col("composition") == "too_few_schools")
        many = traits.group_by("year", "subject", "schools", maintain_order=True).len("means")
        notices = list(self.manifest.get("input", {}).get("notices", ()))  # older runs have none
        notices += [
            f"{subject} {year}: school composition is not taken out, because {schools:,} schools are too few "
            f"for {means} school means (peers.schools_per_trait = {self.spec.peers.schools_per_trait})."
            for year, subject, schools, means in many.iter_rows()
        ]
        if self.spec.intervals.used(self.spec.measurement.csem):
            bare = self.frames["students"].filter(pl.col("sgp").is_not_null() & pl.col("sgp_se").is_null())
            if bare.height:
                notices.append(
                    f"{bare.height:,} student percentiles have no interval, because the current score has no "
                    "CSEM."
                )
        return tuple(notices)

    @property
    def plot(self) -> Any:  # noqa: ANN401
        """Altair charts, one method each: `growth.plot.RunPlots`.

        ``bubbles``, ``caterpillar``, ``levels``, ``changes`` of a subject; ``chances`` and ``years`` of a
        school; ``waterfall``; ``system``, the system growth chart; ``student``, one student's scores, fans
        and projection. They need the extra ``growth[report]``.
        """
        return import_module("growth.plot").RunPlots(self)  # by name: pictures live further up the street

    def describe(self, student_id: str) -> tuple[str, ...]:
        """Return a student's results in words, each with its interval, in the order of the students frame.

        Raises
        ------
        GrowthError
            If the student has no row in scope.
        """
        rows = self.frames["students"].filter(pl.col("student_id") == str(student_id))
        if rows.is_empty():
            raise GrowthError("No student with this student_id has a row in the years and grades in scope.")
        return tuple(
            f"{row['subject']} {row['year']}, grade {row['grade']}: {growth_sentence(row, self.spec)}"
            for row in rows.iter_rows(named=True)
        )

    def freeze(self, *, year: int | None = None, parts: Iterable[FrozenPart] | None = None) -> FreezeBundle:
        """Return what later years need to be measured as this one.

        Parameters
        ----------
        year : int, optional
            The base year, if the run has results of several.
        parts : iterable of str, optional
            Of ``"curves"``, ``"norms"``, ``"cuts"``; ``spec.freeze.parts`` if not given.

        Raises
        ------
        SpecError
            If a part is not known or was itself taken from a bundle; if the year is not named or has no
            results; or if curves have columns that other years cannot share (`peers.reference`), or are
            SIMEX's.
        """
        chosen = checked_parts(self.spec.freeze.parts if parts is None else parts)
        given = self.manifest.get("freeze") or {}
        if again := [part for part in chosen if part in given.get("parts", ())]:
            raise SpecError(
                problem(
                    f"The {' and '.join(again)} of this run are those of {given['base_year']}",
                    rule="what is frozen stays with its base year",
                    fix="use that bundle again, or choose other parts",
                )
            )
        base_year = self._base_year(year)
        if "curves" in chosen:
            require_freezable(self.spec)
        return FreezeBundle(
            base_year=base_year,
            spec=self.spec,
            input_digest=self.manifest["input"]["sha256"],
            curves=self.curves.of_year(base_year) if "curves" in chosen else None,
            norms=self.norms.of_year(base_year) if "norms" in chosen else None,
            cuts=self.cuts if "cuts" in chosen else None,
        )

    def _base_year(self, year: int | None) -> int:
        years = self.frames["cells"]["year"].unique().sort().to_list()
        if year is None and len(years) == 1:
            return int(years[0])
        if year is not None and year in years:
            return year
        what = f"There are results of {', '.join(map(str, years))}"
        asked = "" if year is None else f", not of {year}"
        raise SpecError(problem(what + asked, rule="a bundle is of one base year", fix="name it: year = ..."))

    def summary(self) -> pl.DataFrame:
        """Return one row per year and subject.

        Returns
        -------
        polars.DataFrame
            students in scope, scored, cohorts; schools with a result for all their students and schools
            withheld; mean_percentile of the scored students [0-100]; school_sd, the SD of true school
            effects [percentile points], where spans are apart within them; reliability of a school's mean
            (0-1); band, the median width of the
            95 % bands of school growth percentiles [percentile points].
        """
        keys = ["year", "subject"]
        one_each = self.frames["students"].select(*keys, "percentile", "highest").filter("highest")
        everyone = self.frames["schools"].filter(pl.col("group") == _ALL)
        shown = pl.col("reason").is_null()
        width = pl.col("growth_percentile_high") - pl.col("growth_percentile_low")
        students = by_group(
            one_each,
            keys,
            pl.len().alias("students"),
            pl.col("percentile").count().alias("scored"),
            (100 * pl.col("percentile").mean()).round(1).alias("mean_percentile"),
        )
        schools = by_group(
            everyone,
            keys,
            shown.sum().alias("schools"),
            (~shown).sum().alias("withheld"),
            width.median().round(1).alias("band"),
        )
        cohorts = by_group(self.frames["cells"], keys, pl.len().alias("cohorts"))
        by_span = self.frames["variance"].filter(pl.col("group") == _ALL)
        spread = by_group(
            by_span,
            keys,
            _over_spans("tau2").sqrt().round(1).alias("school_sd"),
            _over_spans("reliability").round(2).alias("reliability"),
        )
        table = students
        for part in (cohorts, schools, spread):
            table = table.join(part, on=keys, how="left")
        counts = ["students", "scored", "cohorts", "schools", "withheld"]
        return table.select(
            *keys,
            *(pl.col(name).fill_null(0).cast(pl.Int64) for name in counts),
            "mean_percentile",
            "school_sd",
            "reliability",
            "band",
        ).sort(keys)

    def __repr__(self) -> str:
        with pl.Config(
            tbl_hide_dataframe_shape=True,
            tbl_hide_column_data_types=True,
            tbl_rows=20,
            tbl_cols=-1,
            tbl_width_chars=120,
        ):
            table = str(self.summary())
        return "\n".join([self._headline(), table, *self.notices, self._next_steps()])

    def _repr_html_(self) -> str:
        summary = self.summary()
        head = "".join(f"<th>{escape(name)}</th>" for name in summary.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(_shown(value))}</td>" for value in row) + "</tr>"
            for row in summary.iter_rows()
        )
        return (
            f"<p><b>{escape(self._headline())}</b></p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>"
            + "".join(f"<p>{escape(line)}</p>" for line in (*self.notices, self._next_steps()))
        )

    def _headline(self) -> str:
        cells = self.frames["cells"]
        gaps = cells["max_relative_gap"].drop_nulls().to_list()
        proof = f"largest optimality gap {max(gaps):.1e}" if gaps else f"engine {self.spec.student.engine}"
        return (
            f"GrowthRun(spec {self.spec.name!r}, {cells.height} cohorts fitted, "
            f"{proof}, input {self.manifest['input']['sha256'][:12]})"
        )

    def _next_steps(self) -> str:
        frames = " ".join(f".{name}" for name in self.frames)
        return f"Frames: {frames}; also .spec .manifest .cuts .norms .curves .plot; .freeze() for later years"


def _over_spans(column: str) -> pl.Expr:
    """Return the mean over grade spans by their schools; most runs have one span."""
    known = pl.col(column).is_not_null()
    schools = pl.col("schools").clip(lower_bound=1).filter(known)
    mean = (pl.col(column).filter(known) * schools).sum() / schools.sum()
    return pl.when(known.any()).then(mean)


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and value > 9_999 else str(value)
