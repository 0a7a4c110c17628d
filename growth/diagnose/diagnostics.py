"""All diagnostics of a run, each with its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from growth.diagnose.account import cohorts, left_out, simex_gap
from growth.diagnose.fit import calibration, goodness_of_fit, heteroskedasticity, uniformity
from growth.diagnose.held_out import HeldOut, held_out
from growth.diagnose.rules import RULES
from growth.diagnose.scale import csem, drift, extremes
from growth.diagnose.schools import (
    CORRELATION_CAUTION,
    DISADVANTAGE,
    correlations,
    duplicated_schools,
    flag_directions,
    outlying_schools,
    variance_components,
)
from growth.diagnose.scored import Scored
from growth.diagnose.verdicts import VERDICTS, Finding, judge, verdict_frame
from growth.errors import GrowthError, did_you_mean
from growth.panel import StudentTable
from growth.pipeline import GrowthRun

if TYPE_CHECKING:
    from growth.diagnose.plot import Plot

__all__ = ["Diagnostics", "diagnose"]

_NO_TABLE = "Needs the table of the run: diagnose(run, table=...), or growth diagnose RUN --table FILE."


@dataclass(frozen=True, eq=False, repr=False)
class Diagnostics:
    """What `diagnose` found.

    `verdicts` has one row per diagnostic: diagnostic, title, verdict ("ok", "look", "problem", "not judged"),
    sentence, rule, where, value and bound of the worst comparison, comparisons, alarms. `frames` holds the
    numbers behind them, `plot` draws them.
    """

    verdicts: pl.DataFrame
    frames: Mapping[str, pl.DataFrame] = field(repr=False)
    name: str = ""
    """Of the specification of the run."""

    def __getitem__(self, name: str) -> pl.DataFrame:
        """Return the numbers behind a diagnostic.

        Raises
        ------
        GrowthError
            If there are none of that name.
        """
        if name not in self.frames:
            hint = did_you_mean(name, self.frames)
            raise GrowthError(f"There is no diagnostic {name!r}{hint} (there are: {', '.join(self.frames)}).")
        return self.frames[name]

    def verdict(self, diagnostic: str) -> str:
        """Return "ok", "look", "problem" or "not judged".

        Raises
        ------
        GrowthError
            If there is no such diagnostic.
        """
        if diagnostic not in RULES:
            hint = did_you_mean(diagnostic, RULES)
            raise GrowthError(f"There is no diagnostic {diagnostic!r}{hint} (there are: {', '.join(RULES)}).")
        found: str = self.verdicts.filter(pl.col("diagnostic") == diagnostic)["verdict"].item()
        return found

    @property
    def alarms(self) -> tuple[str, ...]:
        """Diagnostics that say "look" or "problem", the loudest first."""
        loud = self.verdicts.filter(pl.col("verdict").is_in(["look", "problem"]))
        return tuple(
            loud.sort(pl.col("verdict") == "problem", descending=True, maintain_order=True)["diagnostic"]
        )

    @property
    def caution(self) -> str:
        """What correlations with prior scores can and cannot say; belongs wherever they are shown."""
        return CORRELATION_CAUTION

    @property
    def plot(self) -> Plot:
        """The pictures: `plot.goodness_of_fit()`, `plot.qq()`, ...; needs the extra `report`."""
        from growth.diagnose.plot import Plot

        return Plot(self)

    def __repr__(self) -> str:
        count = {name: self.verdicts.filter(pl.col("verdict") == name).height for name in VERDICTS}
        head = ", ".join(f"{number} {name}" for name, number in count.items() if number)
        loud = self.verdicts.filter(pl.col("verdict").is_in(["look", "problem"]))
        lines = [
            f"{verdict}: {title}. {text}"
            for title, verdict, text in loud.select("title", "verdict", "sentence").rows()
        ]
        return "\n".join([f"Diagnostics(spec {self.name!r}: {head})", *lines])


def diagnose(
    run: GrowthRun,
    table: StudentTable | str | Path | Any | None = None,  # noqa: ANN401
    *,
    how: HeldOut | None = None,
    n_jobs: int | None = None,
) -> Diagnostics:
    """Examine a run the way a psychometrician would, with a verdict on everything.

    Verdicts that depend on chance are set so that clean data alarm in at most 5 % of runs, all diagnostics
    together; see `growth.diagnose.rules`.

    Parameters
    ----------
    run : GrowthRun
        From `growth.run`, or read back by `growth.store.load_run`.
    table : path, frame or StudentTable, optional
        The table of the run. With it, cohorts are fitted again without some of the schools, to see whether
        curves hold for schools they were not fitted to.
    how : HeldOut, optional
        Number of folds and seed of that.
    n_jobs : int, optional
        Threads of that; results do not depend on it.

    Returns
    -------
    Diagnostics

    Raises
    ------
    SpecError
        If the table is not the one the run was made from.

    Examples
    --------
    >>> import growth
    >>> from growth.diagnose import diagnose
    >>> city = growth.simulate_table(6_000, 24, years=1, seed=1)
    >>> diagnose(growth.run(city.table)).verdict("duplicated_schools")
    'ok'
    """
    scored = Scored.of(run)
    groups = _flags(run)
    frames: dict[str, pl.DataFrame] = {}
    findings: list[Finding] = []
    frames["goodness_of_fit"], found = goodness_of_fit(scored)
    frames["goodness_of_fit_tests"] = found.tested
    findings.append(found)
    frames["distribution"], frames["qq"], found = uniformity(scored, groups)
    findings.append(found)
    frames["calibration"], found = calibration(scored, groups)
    findings.append(found)
    frames["heteroskedasticity"], found = heteroskedasticity(scored)
    findings.append(found)
    frames["correlations"], frames["school_points"], *more = correlations(run, scored)
    findings += more
    frames["extremes"], *more = extremes(scored)
    findings += more
    frames["csem"], *more = csem(scored, run.spec)
    findings += more
    frames["drift"], found = drift(scored)
    findings.append(found)
    frames["flags"], found = flag_directions(scored, groups)
    findings.append(found)
    frames["outlying_schools"], found = outlying_schools(run)
    findings.append(found)
    frames["duplicated_schools"], found = duplicated_schools(scored)
    findings.append(found)
    frames["cohorts"], more = cohorts(run)
    findings += more
    frames["waterfall"], frames["left_out"], more = left_out(run, groups, scored.minimum)
    findings += more
    frames["variance"], *more = variance_components(run)
    findings += more
    frames["simex"], found = simex_gap(scored)
    findings.append(found)
    if table is None:
        none = pl.DataFrame(schema={"where": pl.String, "value": pl.Float64, "bound": pl.Float64})
        findings += [Finding(name, none, _NO_TABLE) for name in ("held_out_coverage", "held_out_loss")]
    else:
        frames["held_out"], *more = held_out(run, table, how or HeldOut(), n_jobs)
        findings += more
    return Diagnostics(verdict_frame([judge(one) for one in findings]), frames, run.spec.name)


def _flags(run: GrowthRun) -> tuple[str, ...]:
    """Return the yes/no columns of the students frame that the specification or the engine knows."""
    schema = run.frames["students"].schema
    named = dict.fromkeys([*run.spec.peers.flags, *run.spec.groups.flags.values(), *DISADVANTAGE])
    return tuple(name for name in named if schema.get(name) == pl.Boolean)
