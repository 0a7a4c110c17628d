"""Whether a stored run is what was written, agrees with itself, and follows from its table and models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from growth.audit.again import Met, Reformed, reform
from growth.audit.proof import optimality
from growth.errors import GrowthError, TableError
from growth.panel import CallerFrame, CsemFunction, StudentTable
from growth.pipeline import GrowthRun
from growth.pipeline.account import account_of_rows
from growth.pipeline.manifest import frame_digest
from growth.quantile import spline_design
from growth.quantile.fit import GAP_TOLERANCE
from growth.store import load_run, read_manifest, strange_files
from growth.student import QuantileGrowth
from growth.student.models import RESIDUALS_KEPT, QuantileModel

__all__ = ["Check", "Verification", "verify_run"]

PROVEN = 1e-7
"""Largest relative gap, imbalance and difference of objectives that rounding explains in the second proof;
the solver's own certificates are held to `GAP_TOLERANCE`."""
SAME = 1e-9
"""Continuous percentiles of engines that multiply matrices: their order of adding may differ."""
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked."""

    name: str
    holds: bool | None
    """None where it could not be checked."""
    detail: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Everything that was checked of a run."""

    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing that was checked is wrong."""
        return all(check.holds is not False for check in self.checks)

    def __repr__(self) -> str:
        words = {True: "ok     ", False: "WRONG  ", None: "not checked"}
        lines = [f"  {words[check.holds]} {check.name}: {check.detail}" for check in self.checks]
        return "\n".join([f"Verification({'holds' if self.holds else 'fails'}", *lines, ")"])


def verify_run(
    folder: str | Path,
    table: StudentTable | CallerFrame | str | Path | None = None,
    *,
    csem: CsemFunction | None = None,
) -> Verification:
    """Check a run folder.

    Without a table: digests of all files; the manifest against specification, frames, cut points and models;
    every stored certificate; the account of rows. With the table: stored coefficients are proven optimal
    again, by another way than the solver's (`growth.audit.proof`), and every percentile is computed again.

    Parameters
    ----------
    folder : path
        Written by this or an earlier version.
    table : path, frame or StudentTable, optional
        What the run was made from.
    csem : callable, optional
        As the run was given.

    Returns
    -------
    Verification

    Raises
    ------
    StoreError
        If it is not a run folder.
    """
    manifest = read_manifest(folder)
    checks = [_files(folder, manifest)]
    try:
        run = load_run(folder)
        for name in run.frames:
            run.polars(name)
    except GrowthError as error:
        return Verification((*checks, Check("reading", False, str(error))))
    checks += [
        _specification(run),
        _frames(run),
        _stated("cut points", run.manifest["cuts"]["sha256"], run.cuts.digest),
        _cells(run),
        _certificates(run),
        _account(run),
    ]
    if table is not None:
        checks += _against_table(run, table, csem)
    return Verification(tuple(checks))


def _files(folder: str | Path, manifest: Mapping[str, Any]) -> Check:
    strange = strange_files(folder)
    detail = f"{len(manifest['files'])} files as written"
    if strange:
        detail = "; ".join(f"{name} {what}" for name, what in list(strange.items())[:_NAMED])
    return Check("files", not strange, detail)


def _stated(name: str, stated: str, found: str) -> Check:
    return Check(name, stated == found, f"SHA-256 {stated[:12]}..." + (" differs" if stated != found else ""))


def _specification(run: GrowthRun) -> Check:
    """Compare digests; they cover names of fields, so another version's may differ with the same choices."""
    stated, by = run.manifest["spec"]["sha256"], run.manifest["versions"]["growth"]
    if stated == run.spec.digest:
        return _stated("specification", stated, run.spec.digest)
    detail = (
        f"spec.toml is as written by growth {by}; its digest covers other fields than {version('growth')}'s"
    )
    return Check("specification", None, detail)


def _frames(run: GrowthRun) -> Check:
    stated = run.manifest["outputs"]
    names = {*stated, *run.frames}
    wrong = [n for n in sorted(names) if n not in run.frames or stated.get(n) != frame_digest(run.frames[n])]
    return Check(
        "frames", not wrong, f"{len(names)} frames" + (f"; differ: {', '.join(wrong)}" * bool(wrong))
    )


def _cells(run: GrowthRun) -> Check:
    stated = {(cell["cohort"], cell["n"]) for cell in run.manifest["cells"]}
    found = set(run.frames["cells"].select("cohort", "n").iter_rows())
    scored = run.frames["students"].filter(pl.col("sgp").is_not_null())
    sizes = dict(scored.group_by("cohort").len().iter_rows())
    every = run.spec.cohorts.report != "highest"
    short = [key for key, n in found if sizes.get(key, 0) > n or (every and sizes.get(key, 0) != n)]
    models = len(run.curves.cohorts) in (0, len(found))
    agree = stated == found and not short and models
    return Check("cohorts", agree, f"{len(found)} cohorts in manifest, cells, students and models")


def _certificates(run: GrowthRun) -> Check:
    models = [m.model for m in (*run.curves.cohorts, *run.curves.plain) if isinstance(m.model, QuantileModel)]
    if not models:
        return Check("certificates", None, f"engine {run.spec.student.engine} is not proven by duality")
    worst = max(float(model.relative_gap.max()) for model in models)
    curves = sum(len(model.taus) for model in models)
    cells = run.frames["cells"].drop_nulls("max_relative_gap")
    own = [m.model for m in run.curves.cohorts if isinstance(m.model, QuantileModel)]
    agree = sorted(float(m.relative_gap.max()) for m in own) == cells["max_relative_gap"].sort().to_list()
    detail = f"{curves:,} curves, largest relative gap {worst:.1e}"
    if not agree:
        detail += "; cells and models state different gaps"
    return Check("certificates", worst <= GAP_TOLERANCE and agree, detail)


def _account(run: GrowthRun) -> Check:
    counts, students = run.frames["counts"], run.frames["students"]
    try:
        account_of_rows(counts, counts.clear(), students)
    except GrowthError as error:
        return Check("account of rows", False, str(error))
    read = int(counts["rows"][0])
    stated = run.manifest["input"]["rows"]
    return Check("account of rows", read == stated, f"{read:,} rows read, all accounted for")


def _against_table(
    run: GrowthRun, table: StudentTable | CallerFrame | str | Path, csem: CsemFunction | None
) -> list[Check]:
    try:
        again = reform(run, table, csem=csem)
    except TableError as error:
        return [Check("table", False, str(error))]
    digest = again.table.digest[:12]
    found = [
        Check("table", not again.lost, f"SHA-256 {digest}..., {len(again.cohorts)} cohorts formed again")
    ]
    with threadpool_limits(limits=1, user_api="blas"):
        grown = [(met, met.growth()) for met in again]
        return [*found, _proofs(grown), _percentiles(run, again, grown)]


def _proofs(grown: list[tuple[Met, Any]]) -> Check:
    """Prove every curve that was fitted to these students."""
    own = [(met, growth) for met, growth in grown if isinstance(growth, QuantileGrowth) and met.fitted_here]
    if not own:
        return Check("optimality", None, "no quantile curves were fitted to this table")
    worst, curves = 0.0, 0
    for met, growth in own:
        panel, process = met.panel, growth.process
        design = spline_design(panel.priors, growth.bases, panel.covariates)
        response = panel.score if panel.offset is None else panel.score - panel.offset
        proof = optimality(design, response, process.taus, process.coef)
        stated = np.maximum(process.objective, np.finfo(float).tiny)
        differ = np.abs(proof.objective - process.objective) / stated
        worst = max(worst, *(float(x.max()) for x in (proof.gap, proof.imbalance, differ)))
        curves += len(process.taus)
    detail = f"{curves:,} stored curves proven again on the table, largest relative error {worst:.1e}"
    return Check("optimality", worst <= PROVEN, detail)


def _percentiles(run: GrowthRun, again: Reformed, grown: list[tuple[Met, Any]]) -> Check:
    students = run.frames["students"]
    placed = pl.concat(
        [
            pl.DataFrame({"row": met.panel.row, "_sgp": growth.sgp, "_percentile": growth.percentile}).select(
                pl.lit(met.panel.key).alias("cohort"), pl.all()
            )
            for met, growth in grown
        ]
    )
    keys = ["student_id", "year", "subject"]
    identity = again.table.frame.select(keys).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    placed = placed.join(identity, on="row", how="left")
    scored = students.filter(pl.col("sgp").is_not_null())
    both = scored.join(placed, on=[*keys, "cohort"], how="left")
    distance = (both["percentile"] - both["_percentile"]).abs()
    far = int((distance > _tolerance(run)).fill_null(True).sum())
    moved = int((both["sgp"] != both["_sgp"]).fill_null(True).sum())
    exact = run.spec.student.engine == "quantile"
    detail = f"{scored.height:,} computed again, {far + (moved if exact else 0):,} differ"
    return Check("percentiles", far == 0 and (moved == 0 or not exact), detail)


def _tolerance(run: GrowthRun) -> float:
    """Return how far continuous percentiles may lie apart: linear engines keep quantiles of residuals."""
    engine = run.spec.student.engine
    if engine == "quantile":
        return 0.0
    return SAME if engine == "normal" else 0.51 / RESIDUALS_KEPT
