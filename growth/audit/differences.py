"""What two stored runs differ in, and which of data, specification and version can be why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from growth.pipeline import GrowthRun
from growth.pipeline.manifest import frame_digest

__all__ = ["Difference", "difference"]

_KEYS = ["year", "subject", "group", "school_id"]
_STEP = ["subject", "year", "step", "reason"]
_ABSENT = "(not there)"


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """From one run, A, to another, B."""

    data: Mapping[str, tuple[str, str]]
    """Inputs that differ: name -> (in A, in B)."""
    spec: Mapping[str, tuple[str, str]]
    """Choices that differ, by dotted key."""
    version: Mapping[str, tuple[str, str]]
    """Versions and platform that differ."""
    frames: tuple[str, ...]
    """Result frames that differ."""
    rows: pl.DataFrame
    """Lines of the account of rows that differ: subject, year, step, reason, rows and excluded of each."""
    levels: tuple[int, int]
    """School results in both runs, and how many of them have another level."""

    @property
    def causes(self) -> tuple[str, ...]:
        """Which of data, specification and version differ: what a change of results can come from."""
        kinds = {"data": self.data, "specification": self.spec, "version": self.version}
        return tuple(name for name, found in kinds.items() if found)

    @property
    def verdict(self) -> str:
        """The attribution in a sentence."""
        if not self.frames:
            return "Results are the same in every frame."
        if not self.causes:
            return (
                "Results differ although data, specification and version are the same: one of the folders is "
                "not what growth wrote; check both with growth verify."
            )
        if len(self.causes) == 1:
            return f"Results differ, and only the {self.causes[0]} does: that is the cause."
        names = " and ".join(self.causes)
        return (
            f"Results differ, and so do {names}: two runs cannot tell their shares apart. To fix: run once "
            "more with one of them changed."
        )

    def __repr__(self) -> str:
        lines = [self.verdict]
        for title, found in (("Data", self.data), ("Specification", self.spec), ("Version", self.version)):
            lines += [f"  {title}: {name}: {old} -> {new}" for name, (old, new) in found.items()]
        if self.frames:
            lines.append(f"  Frames that differ: {', '.join(self.frames)}")
        for row in self.rows.iter_rows(named=True):
            where = f"{row['subject'] or 'table'} {row['year'] or ''} {row['step']}".replace("  ", " ")
            reason = f" ({row['reason']})" if row["reason"] else ""
            lines.append(
                f"  Rows: {where}{reason}: {row['rows'] or 0:,} -> {row['rows_b'] or 0:,} left, "
                f"{row['excluded'] or 0:,} -> {row['excluded_b'] or 0:,} left out"
            )
        both, moved = self.levels
        lines.append(f"  Levels: {moved:,} of {both:,} school results in both runs differ")
        return "\n".join(lines)


def difference(a: GrowthRun, b: GrowthRun) -> Difference:
    """Compare two runs by what made them and what they give.

    Which stage moved a school is another question.

    Parameters
    ----------
    a, b : GrowthRun

    Returns
    -------
    Difference
    """
    names = sorted({*a.frames, *b.frames})
    return Difference(
        data=_unlike(_inputs(a), _inputs(b)),
        spec=_unlike(dict(_flat(_choices(a))), dict(_flat(_choices(b)))),
        version=_unlike(_makers(a), _makers(b)),
        frames=tuple(name for name in names if not _same(a, b, name)),
        rows=_rows(a, b),
        levels=_levels(a, b),
    )


def _choices(run: GrowthRun) -> dict[str, Any]:
    return run.spec.model_dump(mode="json", exclude={"name"})


def _inputs(run: GrowthRun) -> dict[str, Any]:
    manifest = run.manifest
    freeze = manifest.get("freeze") or {}
    return {
        "table sha256": manifest["input"]["sha256"],
        "table rows": manifest["input"]["rows"],
        "enrolment sha256": (manifest.get("enrolment") or {}).get("sha256"),
        "bundle sha256": freeze.get("sha256"),
        "bundle base year": freeze.get("base_year"),
        "frozen parts": ", ".join(freeze.get("parts", ())),
    }


def _makers(run: GrowthRun) -> dict[str, Any]:
    machine = run.manifest.get("platform", {}).get("machine")
    return {**run.manifest["versions"], "machine": machine}


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{path}{key}.")
        else:
            yield f"{path}{key}", item


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    keys = dict.fromkeys([*a, *b])
    return {
        key: (str(a.get(key, _ABSENT)), str(b.get(key, _ABSENT)))
        for key in keys
        if a.get(key, _ABSENT) != b.get(key, _ABSENT)
    }


def _same(a: GrowthRun, b: GrowthRun, name: str) -> bool:
    if name not in a.frames or name not in b.frames:
        return False
    return frame_digest(a.frames[name]) == frame_digest(b.frames[name])


def _rows(a: GrowthRun, b: GrowthRun) -> pl.DataFrame:
    old, new = (run.frames["counts"] for run in (a, b))
    both = old.join(
        new, on=_STEP, how="full", suffix="_b", nulls_equal=True, coalesce=True, maintain_order="left"
    )
    unlike = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_b")) for name in ("rows", "excluded"))
    return both.filter(unlike).select(*_STEP, "rows", "rows_b", "excluded", "excluded_b")


def _levels(a: GrowthRun, b: GrowthRun) -> tuple[int, int]:
    old, new = (run.frames["levels"].select(*_KEYS, "level") for run in (a, b))
    both = old.join(new, on=_KEYS, how="inner", suffix="_b")
    return both.height, both.filter(pl.col("level").ne_missing(pl.col("level_b"))).height
