"""One self-contained HTML page from a run: no request leaves it, no student is in it.

The page carries one copy of the publishable results as JSON, the chart specifications, and the Vega runtime.
A content security policy names the two scripts by their hash and forbids every request, so that neither a
school called ``<script>`` nor a later edit of the data can run anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from growth.errors import StoreError, problem
from growth.release.published import least_of
from growth.report.extras import require_extra
from growth.report.inputs import ReportInput, RunLike, report_input
from growth.report.labels import listed, shown_percentile, step_words, subject_name
from growth.report.payload import payload
from growth.report.points import IndexLike, PairsLike
from growth.report.results import Results, page_results
from growth.report.words import (
    about_fairness,
    about_index,
    about_levels,
    about_pairs,
    example_sentence,
    glossary,
    how_computed,
    how_to_read,
    lead,
    limits,
)
from growth.school.groups import ALL
from growth.spec import GrowthSpec

__all__ = ["render_report", "write_report"]

_TEMPLATES = Path(__file__).parent / "templates"
_SNIPPET = "window.vegaEmbed = vegaEmbed;"
_EXAMPLE_NEAR = 62
_PROGRAM = ("data", "charts", "table", "index", "school", "start")


def write_report(
    run: RunLike | ReportInput,
    path: str | Path,
    *,
    verdicts: pl.DataFrame | None = None,
    index: IndexLike | None = None,
    pairs: PairsLike | None = None,
) -> Path:
    """Write the report of a run to one HTML file.

    Parameters
    ----------
    run : GrowthRun or ReportInput
        What to report.
    path : str or Path
        The file to write; missing folders are made.
    verdicts : polars.DataFrame, optional
        Diagnostics to show: title, verdict, sentence and rule, one row each.
    index : SchoolIndex or IndexTables, optional
        Index points to show, of the latest year.
    pairs : Pairs or PairTables, optional
        Partner schools to show, with the reason for each.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    GrowthError
        If the extra ``growth[report]`` is not installed.
    StoreError
        If the file cannot be written.
    """
    page = render_report(run, verdicts=verdicts, index=index, pairs=pairs)
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        what = f"The report cannot be written to {str(target)!r}: {error.strerror}"
        raise StoreError(problem(what, fix="give the name of a file in a folder you may write to")) from None
    return target


def render_report(
    run: RunLike | ReportInput,
    *,
    verdicts: pl.DataFrame | None = None,
    index: IndexLike | None = None,
    pairs: PairsLike | None = None,
) -> str:
    """Return the report of a run as the text of one HTML page.

    Parameters
    ----------
    run : GrowthRun or ReportInput
        What to report.
    verdicts : polars.DataFrame, optional
        Diagnostics to show: title, verdict, sentence and rule, one row each; a `ReportInput` brings its own.
    index : SchoolIndex or IndexTables, optional
        Index points to show, of the latest year.
    pairs : Pairs or PairTables, optional
        Partner schools to show, with the reason for each.

    Returns
    -------
    str
        HTML with style, data, charts and the Vega runtime inside; equal input gives equal text.

    Raises
    ------
    GrowthError
        If the extra ``growth[report]`` is not installed.
    """
    require_extra()
    given = run if isinstance(run, ReportInput) else report_input(run, verdicts, index=index, pairs=pairs)
    results, frozen = page_results(given), _frozen(given.manifest)
    scripts = {"runtime": _runtime(), "program": _script(_program())}
    page: str = _template().render(
        policy=_policy(*scripts.values()),
        style=_text("page.css"),
        scripts=scripts,
        data=_embedded(payload(results, given.spec, frozen)),
        facts=results.facts,
        fits=results.fits,
        waterfall=results.waterfall,
        step_words=step_words,
        fairness=results.fairness,
        about_fairness=about_fairness(given.spec),
        example=_example(results),
        lead=lead(results.facts),
        how_to_read=how_to_read(given.spec),
        limits=limits(given.spec, results.facts),
        glossary=glossary(given.spec),
        verdicts=_loudest_first(given.verdicts),
        parts=_parts_of(results),
        how_computed=how_computed(given.spec, frozen),
        about_levels=about_levels(given.spec, frozen),
        about_index=about_index(given.spec),
        about_pairs=about_pairs(),
        index_year=results.index.year,
        minimum=least_of(given.spec)[0],
        spec_name=given.spec.name,
        spec_text=given.spec.to_toml(),
        provenance=_provenance(given.manifest, given.spec),
    )
    return page


def _example(results: Results) -> dict[str, Any] | None:
    """Return the school whose result illustrates the page: a little above average, with a usual band."""
    rows = results.rows.filter(
        (pl.col("group") == ALL)
        & (pl.col("year") == pl.col("year").max())
        & pl.col("growth_percentile_low").is_not_null()
    )
    if rows.is_empty():
        return None
    near = (pl.col("growth_percentile") - _EXAMPLE_NEAR).abs()
    row = rows.sort(near, "subject", "school_id").row(0, named=True)
    low, high = (row[f"growth_percentile_{end}"] for end in ("low", "high"))
    shown = (shown_percentile(row["growth_percentile"]), shown_percentile(low), shown_percentile(high))
    standing = "above" if low > 50 else "below" if high < 50 else "average"
    return {
        "text": example_sentence(row["school_name"], subject_name(row["subject"]), shown, standing),
        "low": round(low, 1),
        "high": round(high, 1),
        "at": round(row["growth_percentile"], 1),
        "school_id": row["school_id"],
        "level": row["level"],
        "standing": standing,
    }


def _loudest_first(verdicts: pl.DataFrame | None) -> list[dict[str, Any]]:
    """Return diagnostics as lines, problems first."""
    if verdicts is None:
        return []
    order = pl.col("verdict").replace_strict({"problem": 0, "look": 1, "ok": 2}, default=3)
    return verdicts.sort(order, maintain_order=True).to_dicts()


def _parts_of(results: Results) -> dict[str, bool]:
    """Say which parts of the page this run has something for."""
    return {
        "changes": results.rows["level_last_year"].count() > 0,
        "districts": not results.comparisons.districts.is_empty(),
        "index": results.index.year is not None,
        "pairs": not results.pairs.is_empty(),
        "own_districts": results.comparisons.districts["growth_percentile"].count() > 0,
    }


def _frozen(manifest: Mapping[str, Any]) -> bool:
    """Say whether schools were ranked in the distribution of an earlier year."""
    return bool(manifest.get("norms", {}).get("frozen", False))


def _provenance(manifest: Mapping[str, Any], spec: GrowthSpec) -> list[tuple[str, str]]:
    """Return what it takes to repeat the run: never a path, a host or an id."""
    given, versions = manifest.get("input", {}), manifest.get("versions", {})
    facts = {
        "Computed": manifest.get("finished"),
        "Program": versions.get("growth") and f"growth {versions['growth']}",
        "Specification": f"{spec.name}, SHA-256 {spec.digest}",
        "Input": given.get("sha256") and f"{given.get('rows', 0):,} rows, SHA-256 {given['sha256']}",
        "Norms and cut points": _kept(manifest),
    }
    return [(name, value) for name, value in facts.items() if value]


def _kept(manifest: Mapping[str, Any]) -> str:
    kept = [name for name in ("norms", "cuts") if manifest.get(name, {}).get("frozen")]
    words = {"norms": "reference distribution", "cuts": "cut points"}
    return f"{listed(words[name] for name in kept)} of an earlier run" if kept else "of this run"


def _policy(*scripts: str) -> str:
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _embedded(data: Mapping[str, Any]) -> str:
    """Return JSON that cannot end the element it stands in, nor open a comment."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _script(text: str) -> str:
    """Return program text that HTML reads as one element: its strings keep their meaning."""
    return text.replace("\r\n", "\n").replace("</script", "<\\/script").replace("<!--", "\\x3c!--")


@lru_cache(maxsize=1)
def _runtime() -> str:
    import vl_convert

    return _script(vl_convert.javascript_bundle(_SNIPPET))


def _program() -> str:
    """Return the page's program: chapters of one function, so that nothing of it is global."""
    chapters = "\n".join(_text(f"page_{name}.js") for name in _PROGRAM)
    return f'"use strict";\n(() => {{\n{chapters}}})();\n'


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")


@lru_cache(maxsize=1)
def _template() -> Any:  # noqa: ANN401
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")
