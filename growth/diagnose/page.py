"""Verdicts and pictures as one HTML file without scripts: nothing is requested, nothing can run."""

from __future__ import annotations

from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from growth.errors import GrowthError, StoreError, problem

if TYPE_CHECKING:
    from growth.diagnose.diagnostics import Diagnostics

__all__ = ["render_page", "require_pictures", "write_page"]

_STYLE = """
:root { --paper: #fbfaf7; --ink: #20262b; --muted: #5d666d; --line: #dcdad3;
  --good: #0e7470; --bad: #b4532a; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181b; --ink: #e7e4dc; --muted: #a2abb1; --line: #363c40;
    --good: #56c1b8; --bad: #ef986c; }
}
body { background: var(--paper); color: var(--ink); margin: 0 auto; max-width: 72rem; padding: 2rem 1.2rem;
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } p { max-width: 44rem; color: var(--muted); margin: 1.5rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
th { text-align: left; font-weight: 600; border-bottom: 2px solid var(--line); padding: .4rem .8rem .4rem 0; }
td { vertical-align: top; border-bottom: 1px solid var(--line); padding: .55rem .8rem .55rem 0; }
td small { display: block; color: var(--muted); margin-top: .15rem; }
.look, .problem { color: var(--bad); font-weight: 600; } .problem { text-decoration: underline; }
.ok { color: var(--good); } .not { color: var(--muted); }
figure { margin: 2rem 0 0; padding: .4rem; background: #fff; border: 1px solid var(--line); border-radius:
6px;
  overflow-x: auto; break-inside: avoid; }
figure svg { display: block; max-width: 100%; height: auto; }
"""


def require_pictures() -> None:
    """Check that what draws is installed.

    Raises
    ------
    GrowthError
        Naming the packages that are missing and the extra that brings them.
    """
    needed = {"altair": "altair", "vl_convert": "vl-convert-python"}
    missing = [package for module, package in needed.items() if find_spec(module) is None]
    if missing:
        raise GrowthError(
            problem(f"Pictures need {', '.join(missing)}, not installed", fix='pip install "growth[report]"')
        )


def write_page(diagnostics: Diagnostics, path: str | Path) -> Path:
    """Write verdicts and pictures to one HTML file.

    Raises
    ------
    GrowthError
        If the extra `report` is not installed.
    StoreError
        If the file cannot be written.
    """
    target = Path(path)
    text = render_page(diagnostics)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    except OSError as error:
        what = f"The page cannot be written to {str(target)!r}: {error.strerror}"
        raise StoreError(problem(what, fix="choose another file")) from None
    return target


def render_page(diagnostics: Diagnostics) -> str:
    """Return verdicts and pictures as HTML; charts are SVG.

    Raises
    ------
    GrowthError
        If the extra `report` is not installed.
    """
    require_pictures()
    from growth.diagnose.plot import PICTURES

    rows = "".join(_row(row) for row in diagnostics.verdicts.iter_rows(named=True))
    figures = "".join(
        f'<figure role="img" aria-label="{escape(PICTURES[name])}">{_svg(draw())}</figure>'
        for name, draw in diagnostics.plot.available().items()
    )
    title = f"Diagnostics ({escape(diagnostics.name)})"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src '
        "'unsafe-inline'\">"
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main><h1>{title}</h1>"
        "<p>Rules that depend on chance are set so that clean data alarm in at most 5 % of runs, all of them "
        "together. Numbers of few students are withheld.</p>"
        '<table><thead><tr><th scope="col">Diagnostic</th><th scope="col">Verdict</th>'
        f'<th scope="col">What it says, and the rule</th></tr></thead><tbody>{rows}</tbody></table>'
        f"<p>{escape(diagnostics.caution)}</p>{figures}</main></body></html>\n"
    )


def _row(row: dict[str, object]) -> str:
    verdict = str(row["verdict"])
    kind = verdict.split()[0]
    return (
        f'<tr><td>{escape(str(row["title"]))}</td><td class="{kind}">{escape(verdict)}</td>'
        f"<td>{escape(str(row['sentence']))}<small>{escape(str(row['rule']))}</small></td></tr>"
    )


def _svg(chart: object) -> str:
    import vl_convert

    text: str = vl_convert.vegalite_to_svg(chart.to_json())  # type: ignore[attr-defined]
    return text
