"""One door to every export: which file, for whom, with which ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import polars as pl

from growth.errors import GrowthError, did_you_mean, problem
from growth.pipeline import GrowthRun
from growth.release.dictionary import dictionary_of
from growth.release.layouts import california_file, long_results, sgp_file, wide_results
from growth.release.pseudonyms import hashed
from growth.release.published import least_students
from growth.release.research import Coarse, research_file
from growth.store import save_tables

__all__ = ["LAYOUTS", "Layout", "Terms", "export_frame", "export_run"]

Layout: TypeAlias = Literal["long", "wide", "sgp", "california", "research"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms results leave the engine."""

    key: bytes | None = field(default=None, repr=False)
    """For the ids of students (`growth.release.pseudonyms.read_key`): needed by ``sgp``, unless plain ids are
    asked for, and by ``research``."""
    plain_ids: bool = False
    """With ``sgp``: ids as they are, for those who hold them already."""
    minimum: int = 0
    """Students behind anything shown; never less than the specification asks for, nor less than ten."""
    coarse: Coarse = field(default_factory=Coarse)
    """Bins, top and bottom codes of the scores of ``research``."""


def export_frame(run: GrowthRun, layout: Layout, terms: Terms = Terms()) -> pl.DataFrame:
    """Return results in a layout.

    Parameters
    ----------
    run : GrowthRun
    layout : {"long", "wide", "sgp", "california", "research"}
        ``long``, ``wide`` and ``california`` hold schools' results with everything about few students
        withheld; ``sgp`` and ``research`` hold one row per student.
    terms : Terms

    Raises
    ------
    GrowthError
        If the layout is not known, or its ids need a key.
    SpecError
        If the run does not have what the layout holds.
    """
    if layout not in LAYOUTS:
        what = f"There is no layout {layout!r}{did_you_mean(layout, LAYOUTS)}"
        raise GrowthError(problem(what, rule=f"one of {', '.join(LAYOUTS)}"))
    if terms.plain_ids and layout != "sgp":
        what = f"Plain ids are not part of the layout {layout!r}"
        raise GrowthError(problem(what, fix='leave them out, or use the layout "sgp"'))
    if layout in ("sgp", "research") and terms.key is None and not terms.plain_ids:
        what = f"The layout {layout!r} has one row per student, and their ids are hashed with a key of yours"
        raise GrowthError(problem(what, fix="give a key"))
    if layout == "sgp":
        frame = sgp_file(run)
        hide = terms.key is not None and not terms.plain_ids
        return frame.with_columns(hashed(frame["ID"], terms.key or b"", "student")) if hide else frame
    if layout == "research" and terms.key is not None:
        least = max(least_students(run.spec), terms.minimum)
        return research_file(run, terms.key, least, terms.coarse)
    schools = {"long": long_results, "wide": wide_results, "california": california_file}
    return schools[layout](run, terms.minimum)


def export_run(
    run: GrowthRun,
    layout: Layout,
    folder: str | Path,
    terms: Terms = Terms(),
    *,
    overwrite: bool = False,
) -> Path:
    """Write results in a layout, as CSV and Parquet with a data dictionary, whole or not at all.

    Parameters
    ----------
    run, layout, terms
        As in `export_frame`.
    folder : path
        New or empty.
    overwrite : bool
        Replace an earlier export.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    GrowthError, SpecError
        As `export_frame`.
    StoreError
        If the folder cannot be written.
    """
    frame = export_frame(run, layout, terms)
    tables = {layout: frame, "dictionary": dictionary_of(frame, layout)}
    return save_tables(tables, folder, run.spec, overwrite=overwrite)
