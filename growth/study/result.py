"""What a study hands back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from growth._types import FloatArray, IntArray
from growth.spec import GrowthSpec
from growth.study.decisions import Shares, alone, crossed, percent_ranks, regressed
from growth.study.factors import BASE, Factor, Refusal, Variant, base_level
from growth.study.gains import level_changes, profiles, quartiles, who_gains
from growth.study.outcome import Outcome
from growth.study.tables import (
    blocks,
    intake_table,
    latest,
    reliability_table,
    school_table,
    statistics_table,
)

if TYPE_CHECKING:
    from growth.study.plots import StudyPlots

__all__ = ["POVERTY", "Study"]

POVERTY = "SED"
"""Group of the presets that stands for poverty."""


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """Results of `run_study`: tables as polars frames, pictures by `plot`."""

    base: GrowthSpec
    factors: tuple[Factor, ...]
    variants: tuple[Variant, ...]
    """The base first; with their specifications."""
    outcomes: tuple[Outcome, ...] = field(repr=False)
    """Results about schools of each variant."""
    refused: pl.DataFrame
    """Combinations without results: a column per factor, stage (``specification`` or ``run``), reason."""
    truth: pl.DataFrame | None = None
    poverty: str = POVERTY
    """Group of the specification that counts as poverty."""

    @classmethod
    def of(
        cls,
        base: GrowthSpec,
        factors: tuple[Factor, ...],
        results: Sequence[tuple[Variant, Outcome]],
        refused: Sequence[Refusal],
        truth: pl.DataFrame | None = None,
        poverty: str = POVERTY,
    ) -> Study:
        """Return the study of variants and their results, the base first."""
        names = [factor.name for factor in factors]
        schema = dict.fromkeys([*names, "stage", "reason"], pl.String)
        rows = [(*one.levels, one.stage, one.reason) for one in refused]
        return cls(
            base,
            factors,
            tuple(variant for variant, _ in results),
            tuple(outcome for _, outcome in results),
            pl.DataFrame(rows, schema=schema, orient="row"),
            truth,
            poverty,
        )

    @cached_property
    def design(self) -> pl.DataFrame:
        """One row per variant: variant (0 the base), label, level of each factor, spec (digest), seconds."""
        levels = {
            factor.name: [variant.levels[i] for variant in self.variants]
            for i, factor in enumerate(self.factors)
        }
        return pl.DataFrame(
            {
                "variant": pl.Series(range(len(self.variants)), dtype=pl.Int32),
                "label": [self._label(variant) for variant in self.variants],
                **levels,
                "spec": [variant.spec.digest for variant in self.variants],
                "seconds": [outcome.seconds for outcome in self.outcomes],
            }
        )

    @cached_property
    def schools(self) -> pl.DataFrame:
        """Every school in every variant; see `growth.study.tables.school_table`."""
        return school_table(self.outcomes)

    @cached_property
    def statistics(self) -> pl.DataFrame:
        """Each variant against the base; see `growth.study.tables.statistics_table`."""
        intake = self.outcomes[0].frames["intake"]
        poorest = pl.DataFrame(schema={"subject": pl.String, "school_id": pl.String})
        if self.poverty in intake.columns:
            base = latest(self.schools).filter(variant=0).drop_nulls(["growth_percentile", "level"])
            found = quartiles(base.select("year", "subject", "school_id"), intake, self.poverty)
            poorest = found.filter(quartile=4).drop("quartile")
        return statistics_table(self.schools, self.outcomes, self.truth, poorest)

    @cached_property
    def reliability(self) -> pl.DataFrame:
        """Reliability by number of students; see `growth.study.tables.reliability_table`."""
        return reliability_table(self.outcomes)

    @cached_property
    def intake(self) -> pl.DataFrame:
        """Correlations of results with schools' intake; see `growth.study.tables.intake_table`."""
        return intake_table(self.outcomes)

    @cached_property
    def who_gains(self) -> pl.DataFrame:
        """Changes by quartile of poverty, size and prior scores; see `growth.study.gains.who_gains`."""
        return who_gains(self.schools, self.outcomes[0].frames["intake"], self.poverty)

    @cached_property
    def level_changes(self) -> pl.DataFrame:
        """Levels in the base against levels in each variant; see `growth.study.gains.level_changes`."""
        return level_changes(self.schools)

    @cached_property
    def profiles(self) -> pl.DataFrame:
        """How firmly each school's level stands; see `growth.study.gains.profiles`."""
        return profiles(self.schools)

    @cached_property
    def decisions(self) -> pl.DataFrame:
        """Which decision matters, in the latest year; see `growth.study.decisions`.

        One row per subject and factor, the most important first: schools (with results in every variant),
        variants, method (``crossed``, ``regressed``, ``alone``), main and total (shares of the variance of
        school ranks, 0-1; total null where the design does not tell), sd [percentile points].
        """
        rows = []
        for (subject,), part in blocks(latest(self.schools).drop_nulls("growth_percentile"), "subject"):
            wide = part.pivot("variant", index="school_id", values="value").drop_nulls()
            present = sorted(int(name) for name in wide.columns if name != "school_id")
            if wide.height < 2 or 0 not in present:
                continue
            ranks = percent_ranks(wide.select(map(str, present)).to_numpy().T)
            method, shares = self._shares(ranks, present)
            for i, factor in enumerate(self.factors):
                total = None if np.isnan(shares.total[i]) else float(shares.total[i])
                effects = (float(shares.main[i]), total, float(shares.sd[i]))
                rows.append((subject, factor.name, wide.height, len(present), method, *effects))
        schema = {"subject": pl.String, "factor": pl.String, "schools": pl.Int64, "variants": pl.Int64}
        schema |= {"method": pl.String, "main": pl.Float64, "total": pl.Float64, "sd": pl.Float64}
        found = pl.DataFrame(rows, schema=schema, orient="row")
        return found.sort(["subject", "main"], descending=[False, True], maintain_order=True)

    @cached_property
    def base_levels(self) -> tuple[str, ...]:
        """Name of each factor's level in the base."""
        return tuple(base_level(self.base, factor) for factor in self.factors)

    @property
    def frames(self) -> Mapping[str, pl.DataFrame]:
        """All tables by name, as `growth study` writes them."""
        names = ("design", "decisions", "statistics", "who_gains", "level_changes", "profiles", "reliability")
        return {name: getattr(self, name) for name in (*names, "intake", "refused")}

    @property
    def plot(self) -> StudyPlots:
        """Pictures: ``plot.decisions()``, ``who_gains()``, ``level_changes()``, ``profiles()``."""
        from growth.study.plots import StudyPlots

        return StudyPlots(self)

    def _label(self, variant: Variant) -> str:
        changed = [
            f"{factor.name} = {level}"
            for factor, level, base in zip(self.factors, variant.levels, self.base_levels, strict=True)
            if level != base
        ]
        return "; ".join(changed) or BASE

    def _shares(self, ranks: FloatArray, present: Sequence[int]) -> tuple[str, Shares]:
        levels = np.array([self.variants[v].levels for v in present], dtype=object)
        own = self.base_levels
        changed = levels != np.array(own, dtype=object)
        if changed.sum(axis=1).max() <= 1:
            members = [np.flatnonzero(~changed.any(axis=1) | changed[:, i]) for i in range(len(own))]
            return "alone", alone(ranks, members)
        inside = np.array([BASE not in row for row in levels])
        codes = self._codes(levels[inside])
        if codes is not None and len({*map(tuple, codes.tolist())}) == np.prod(codes.max(axis=0) + 1):
            return "crossed", crossed(ranks[inside], codes)
        return "regressed", regressed(ranks, [self._columns(i, levels[:, i]) for i in range(len(own))])

    def _codes(self, levels: np.ndarray) -> IntArray | None:
        """Return the levels counted from 0; None if a factor is a range, or nothing is left."""
        if any(factor.range is not None for factor in self.factors) or not len(levels):
            return None
        return np.column_stack([np.unique(column.astype(str), return_inverse=True)[1] for column in levels.T])

    def _columns(self, i: int, levels: np.ndarray) -> FloatArray:
        factor = self.factors[i]
        if factor.range is not None:
            numbers = [self._number(factor, name) for name in levels]
            return np.array(numbers, dtype=np.float64)[:, None]
        names = np.unique(levels.astype(str))
        return np.asarray(levels.astype(str)[:, None] == names[None, 1:], dtype=np.float64)

    def _number(self, factor: Factor, level: str) -> float:
        if level != BASE:
            return float(level)
        value: object = self.base
        for step in factor.name.split("."):
            value = getattr(value, step)
        return float(str(value))

    def __repr__(self) -> str:
        lines = [
            f"Study({len(self.variants):,} variants of {len(self.factors)} factors, base {self.base.name!r}"
            + (f", {self.refused.height:,} combinations refused" if self.refused.height else "")
        ]
        for (subject,), part in blocks(self.decisions, "subject"):
            shares = ", ".join(f"{row['factor']} {row['main']:.0%}" for row in part.iter_rows(named=True))
            lines.append(f"  {subject}, variance of school ranks: {shares}")
        tables = " ".join(f".{name}" for name in self.frames)
        return "\n".join([*lines, f"Tables: {tables}; pictures: .plot)"])
