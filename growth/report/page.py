"""One self-contained HTML page from a run: no request leaves it, no student is in it.

The page carries one copy of the publishable results as JSON, the chart specifications, and the Vega runtime.
A content security policy names the two scripts by their hash and forbids every request, so that neither a
school called ``<script>`` nor a later edit of the data can run anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from growth.errors import StoreError, problem
from growth.report.disclosure import ALL, least_published
from growth.report.extras import require_extra
from growth.report.inputs import ReportInput, RunLike, report_input
from growth.report.labels import (
    group_label,
    group_name,
    listed,
    reason_words,
    shown_percentile,
    step_label,
    step_words,
    subject_name,
)
from growth.report.results import Results, WaterfallLine, page_results
from growth.report.words import (
    about_fairness,
    about_levels,
    example_sentence,
    how_computed,
    how_to_read,
    lead,
    limits,
)
from growth.spec import GrowthSpec

__all__ = ["render_report", "write_report"]

_TEMPLATES = Path(__file__).parent / "templates"
_SNIPPET = "window.vegaEmbed = vegaEmbed;"
_EXAMPLE_NEAR = 62
_PARTS = {"gp": "growth_percentile", "lo": "growth_percentile_low", "hi": "growth_percentile_high"}


def write_report(run: RunLike | ReportInput, path: str | Path) -> Path:
    """Write the report of a run to one HTML file.

    Parameters
    ----------
    run : GrowthRun or ReportInput
        What to report.
    path : str or Path
        The file to write; missing folders are made.

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
    page = render_report(run)
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        what = f"The report cannot be written to {str(target)!r}: {error.strerror}"
        raise StoreError(problem(what, fix="give the name of a file in a folder you may write to")) from None
    return target


def render_report(run: RunLike | ReportInput) -> str:
    """Return the report of a run as the text of one HTML page.

    Parameters
    ----------
    run : GrowthRun or ReportInput
        What to report.

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
    given = run if isinstance(run, ReportInput) else report_input(run)
    results, frozen = page_results(given), _frozen(given.manifest)
    scripts = {"runtime": _runtime(), "program": _script(_text("page.js"))}
    page: str = _template().render(
        policy=_policy(*scripts.values()),
        style=_text("page.css"),
        scripts=scripts,
        data=_embedded(_payload(results, given.spec)),
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
        how_computed=how_computed(given.spec, frozen),
        about_levels=about_levels(given.spec, frozen),
        minimum=least_published(given.spec.school.min_n),
        spec_name=given.spec.name,
        spec_text=given.spec.to_toml(),
        provenance=_provenance(given.manifest, given.spec),
    )
    return page


def _payload(results: Results, spec: GrowthSpec) -> dict[str, Any]:
    """Return what the page's program works on: codes once, results column by column."""
    from growth.report.charts import chart_specs

    rows = results.rows
    codes = {name: rows[name].unique(maintain_order=True).to_list() for name in ("year", "subject", "group")}
    schools = rows.select("school_id", "school_name").unique(maintain_order=True).sort("school_id")
    codes["school"] = schools["school_id"].to_list()
    minimum = least_published(spec.groups.min_n)
    reasons = rows["reason"].drop_nulls().unique().sort().to_list()
    school_minimum = least_published(spec.school.min_n)
    return {
        "years": codes["year"],
        "subjects": [subject_name(subject) for subject in codes["subject"]],
        "subjectCodes": codes["subject"],
        "groups": [group_name(group) for group in codes["group"]],
        "groupLabels": [group_label(group) for group in codes["group"]],
        "everyone": codes["group"].index(ALL) if ALL in codes["group"] else -1,
        "schools": schools.rows(),
        "reasons": [reason_words(reason, school_minimum) for reason in reasons],
        "groupReasons": [reason_words(reason, minimum) for reason in reasons],
        "atLeast": f"{minimum} or more",
        "aggregate": "median" if spec.school.aggregate == "median" else "mean",
        "tens": spec.levels.rule == "fixed_tens",
        "rows": _columns(rows, {**codes, "reason": reasons}),
        "waterfall": _bars(results.waterfall),
        "charts": chart_specs(_achievement_range(rows), _most(rows)),
    }


def _columns(rows: pl.DataFrame, codes: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the results as lists; a code is the place of its value in the list of all values."""
    place = {name: {value: at for at, value in enumerate(values)} for name, values in codes.items()}
    names = {
        "year": "year",
        "subject": "subject",
        "group": "group",
        "school": "school_id",
        "reason": "reason",
    }
    columns: dict[str, list[Any]] = {
        out: [place[out].get(value) for value in rows[name]] for out, name in names.items()
    }
    details = zip(rows["group"], rows["group_detail"], strict=True)
    columns["detail"] = [group_name(group, detail) if detail else None for group, detail in details]
    columns |= {out: [_down(value) for value in rows[name]] for out, name in _PARTS.items()}
    columns["n"] = rows["n"].to_list()
    columns["level"] = rows["level"].to_list()
    columns["average"] = rows["average_percentile"].round(1).to_list()
    columns["ach"] = rows["achievement"].round(3).to_list()
    return columns


def _down(value: float | None) -> float | None:
    """Return a percentile to two decimals, never rounded up into the next level."""
    return None if value is None else math.floor(value * 100) / 100


def _bars(lines: tuple[WaterfallLine, ...]) -> list[dict[str, Any]]:
    """Return one bar per step: rows left, and rows before it."""
    bars: dict[str, dict[str, Any]] = {}
    for line in lines:
        bar = bars.setdefault(
            line.step, {"label": step_label(line.step), "before": line.rows + line.excluded}
        )
        bar["rows"] = line.rows
    return list(bars.values())


def _achievement_range(rows: pl.DataFrame) -> tuple[float, float]:
    low, high = rows["achievement"].min(), rows["achievement"].max()
    if not isinstance(low, float) or not isinstance(high, float):
        return -1.0, 1.0
    reach = max(abs(low), abs(high), 0.1) * 1.08
    return -round(reach, 2), round(reach, 2)


def _most(rows: pl.DataFrame) -> int:
    most = rows["n"].max()
    return most if isinstance(most, int) else 1


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
    low, high = (row[_PARTS[end]] for end in ("lo", "hi"))
    shown = (shown_percentile(row["growth_percentile"]), shown_percentile(low), shown_percentile(high))
    standing = "above" if low > 50 else "below" if high < 50 else "average"
    return {
        "text": example_sentence(row["school_name"], subject_name(row["subject"]), shown, standing),
        "low": round(low, 1),
        "high": round(high, 1),
        "at": round(row["growth_percentile"], 1),
        "standing": standing,
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
