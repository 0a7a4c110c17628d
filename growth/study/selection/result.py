"""What a comparison of specifications hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from growth.spec import GrowthSpec
from growth.study.outcome import Outcome
from growth.study.selection.losses import ALL
from growth.study.selection.ranking import ranking_table, sentences
from growth.study.selection.schools import half_levels
from growth.study.tables import intake_table, school_table, statistics_table

if TYPE_CHECKING:
    from growth.study.selection.plots import SelectionPlots

__all__ = ["Selection"]


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """Results of `compare_specs`: tables as polars frames, verdicts as sentences, pictures by `plot`."""

    specs: Mapping[str, GrowthSpec]
    losses: pl.DataFrame
    """Held-out losses; see `growth.study.selection.losses.loss_table`."""
    differences: pl.DataFrame
    """Paired differences; see `growth.study.selection.losses.difference_table`."""
    calibration: pl.DataFrame
    """Shares below held-out curves; see `growth.study.selection.losses.calibration_table`."""
    scored: tuple[int, ...]
    """Results of each specification."""
    compared: int
    """Results that all specifications give, which they are compared on."""
    outcomes: tuple[Outcome, ...] = field(repr=False)
    """Results about schools of each specification."""
    by: str = "student"
    folds: int = 5

    @cached_property
    def ranking(self) -> pl.DataFrame:
        """One row per specification, the least held-out loss first; see `ranking_table`."""
        return ranking_table(self)

    @cached_property
    def statistics(self) -> pl.DataFrame:
        """Statistics about schools, with `spec` in the place of the variant.

        See `growth.study.tables.statistics_table`; agreement is with the first specification. Further
        halves_same and halves_near, schools whose random halves have the same level, or neighbouring ones
        [%].
        """
        nobody = pl.DataFrame(schema={"subject": pl.String, "school_id": pl.String})
        found = statistics_table(school_table(self.outcomes), self.outcomes, None, nobody)
        found = found.select(name for name in found.columns if not name.startswith("truth"))
        halves = half_levels(self.outcomes)
        both = found.join(halves, on=["variant", "year", "subject"], how="left", maintain_order="left")
        return self._with_names(both)

    @cached_property
    def neutrality(self) -> pl.DataFrame:
        """Correlations of school results with intake; see `growth.study.tables.intake_table`."""
        return self._with_names(intake_table(self.outcomes))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the specifications, as they were given."""
        return tuple(self.specs)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The comparison in words: a sentence per specification, and what to make of them."""
        return sentences(self)

    @property
    def frames(self) -> Mapping[str, pl.DataFrame]:
        """All tables by name, as `growth select` writes them."""
        names = ("ranking", "losses", "differences", "calibration", "neutrality", "statistics")
        return {name: getattr(self, name) for name in names}

    @property
    def plot(self) -> SelectionPlots:
        """Pictures: ``plot.losses()``, ``taus()``, ``calibration()``, ``trade_off()``."""
        from growth.study.selection.plots import SelectionPlots

        return SelectionPlots(self)

    def difference(self, spec: str, against: str) -> dict[str, object]:
        """Return the row of `differences` of two specifications over all subjects and taus."""
        pair = self.differences.filter(spec=spec, against=against, subject=ALL)
        return pair.filter(pl.col("tau").is_null()).row(0, named=True)

    def _with_names(self, frame: pl.DataFrame) -> pl.DataFrame:
        names = pl.Series(self.names)[frame["variant"].to_numpy()].alias("spec")
        return frame.select(names, pl.exclude("variant"))

    def __repr__(self) -> str:
        head = f"Selection({len(self.specs)} specifications, {self.folds} folds by {self.by}, "
        return (
            "\n".join([f"{head}{self.compared:,} results", *(f"  {line}" for line in self.sentences)]) + ")"
        )
