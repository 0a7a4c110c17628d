"""Parts of pages that are made from the code itself, so that they cannot fall behind it.

Directives: ``room`` (the public names of a package), ``specification``, ``input-rules``, ``frames``,
``diagnostics``, ``commands``, and ``measured`` (tables of ``benchmarks/results``).
"""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal

from docutils import nodes
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

ROOT = Path(__file__).parents[2]
LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


class Made(SphinxDirective):
    """A directive whose content is Markdown written by a function."""

    def markdown(self) -> str:
        """Return the text that stands in the directive's place."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse the text as part of the page, headings included."""
        return self.parse_text_to_nodes(self.markdown(), allow_section_headings=True)


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table; line breaks and bars of its cells do not end them."""
    lines = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


class Room(Made):
    """The public names of a package: a list with a line on each, then each of them.

    What the face hands on is documented as ``growth.NAME`` there and only named elsewhere.
    """

    required_arguments = 1

    def markdown(self) -> str:
        """Return the package's text, a summary, and an entry per name."""
        name = self.arguments[0]
        room = import_module(name)
        face = set() if name == "growth" else set(import_module("growth").__all__)
        names = [each for each in room.__all__ if each not in face and not each.startswith("__")]
        documented = [each for each in names if kind(getattr(room, each))]
        constants = [each for each in names if each not in documented]
        text = inspect.getdoc(room) or ""
        parts = [f"```{{eval-rst}}\n.. py:module:: {name}\n\n{text}\n```\n"]
        if handed := [each for each in room.__all__ if each in face]:
            links = ", ".join(f"{{py:obj}}`growth.{each}`" for each in handed)
            parts.append(f"On [the face](face.md): {links}.\n")
        listed = "\n".join(f"   {each}" for each in documented)
        entries = "\n".join(f".. auto{kind(getattr(room, each))}:: {each}\n" for each in documented)
        parts.append(
            f"```{{eval-rst}}\n.. currentmodule:: {name}\n\n"
            f".. autosummary::\n   :nosignatures:\n\n{listed}\n\n{entries}\n```\n"
        )
        if constants:
            parts.append(f"Constants: {', '.join(f'`{each}`' for each in constants)}.\n")
        return "\n".join(parts)


def kind(found: object) -> str:
    """Return how Sphinx calls what a name stands for; empty for constants and other names of types."""
    if inspect.isclass(found):
        return "exception" if issubclass(found, BaseException) else "class"
    return "function" if inspect.isroutine(found) else ""


class Specification(Made):
    """Every part of the specification with every choice, from the texts beside the fields."""

    def markdown(self) -> str:
        """Return a section per part."""
        from growth.spec import GrowthSpec

        parts = []
        for name, field in GrowthSpec.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                parts.append(self._part(name, field.annotation))
        return "\n".join(parts)

    def _part(self, name: str, model: type[BaseModel], level: int = 2) -> str:
        rows, nested = [], []
        for choice, field in model.model_fields.items():
            values = values_of(field)
            decides = [field.description or "", values and f"<br>*{values}*"]
            rows.append((f"`{choice}`", default_of(field), " ".join(filter(None, decides))))
            nested += [(choice, each) for each in models_in(field.annotation)]
        text = inspect.getdoc(model) or ""
        own = f"(spec-{name.replace('.', '-')})=\n{'#' * level} `{name}`\n\n{text}\n\n" + table(
            ("choice", "default", "what it decides"), rows
        )
        return "\n".join([own, *(self._part(f"{name}.{choice}", each, level + 1) for choice, each in nested)])


def models_in(annotation: object) -> list[type[BaseModel]]:
    """Return the parts of a specification inside a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for each in typing.get_args(annotation) for model in models_in(each)]


def default_of(field: FieldInfo) -> str:
    """Return what a choice is if nothing is said."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return "none" if default is None else f"`{shown(default)}`"


def values_of(field: FieldInfo) -> str:
    """Return the values that a choice takes: names, or the limits of a number; empty where neither."""
    options = literals(field.annotation)
    if options:
        listed = ", ".join(f"`{shown(option)}`" for option in options)
        return f"{listed}, or a value" if others(field.annotation) else listed
    limits = [
        f"{words} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, words in LIMITS.items()
        if hasattr(limit, name)
    ]
    return ", ".join(limits)


def literals(annotation: object) -> list[object]:
    """Return the names and numbers that a type lists."""
    if typing.get_origin(annotation) is Literal:
        return list(typing.get_args(annotation))
    return [option for each in typing.get_args(annotation) for option in literals(each)]


def others(annotation: object) -> bool:
    """Tell whether a type takes more than the names and numbers that it lists."""
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType, typing.Annotated, tuple, list):
        return any(others(each) for each in members)
    return origin is not Literal and annotation not in (type(None), Ellipsis)


def shown(value: object) -> str:
    """Return a default as TOML has it, as short as it can be."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case tuple() | list():
            return f"[{', '.join(map(shown, value))}]"
        case Mapping():
            return "{ " + ", ".join(f"{k} = {shown(v)}" for k, v in value.items()) + " }" if value else "{}"
        case BaseModel():
            return "see below"
    return str(value)


class InputRules(Made):
    """The rules that every table is held to."""

    def markdown(self) -> str:
        """Return one table."""
        from growth.panel.rules import RULES

        rows = ((r.name, r.rule, r.outcome, r.policy and choice_link(r.policy)) for r in RULES)
        return table(("rule", "what holds", "otherwise", "choice that decides"), rows)


def choice_link(choice: str) -> str:
    """Return a choice with a link to its part of the specification."""
    return f"[`{choice}`](#spec-{choice.split('.')[0]})"


class Frames(Made):
    """The contract of a run's frames."""

    def markdown(self) -> str:
        """Return a section per frame."""
        from growth.pipeline.schema import ON_DEMAND, SCHEMA

        parts = []
        for name, columns in SCHEMA.items():
            optional = ON_DEMAND.get(name, frozenset())
            rows = (
                (f"`{c.name}`{' *' if c.name in optional else ''}", c.dtype, c.unit, c.text) for c in columns
            )
            note = "\n\\* Only if the table has it or the specification asks for it.\n" if optional else ""
            header = ("column", "dtype", "unit", "meaning")
            parts.append(f"(frame-{name})=\n## `{name}`\n\n{table(header, rows)}{note}")
        return "\n".join(parts)


class DiagnosticRules(Made):
    """What `growth diagnose` measures, and the limits behind its verdicts."""

    def markdown(self) -> str:
        """Return one table."""
        from growth.diagnose import RULES

        rows = (
            (rule.title, rule.number, f"{rule.look:g}", f"{rule.problem:g}", "yes" if rule.chance else "no")
            for rule in (RULES.values() if isinstance(RULES, Mapping) else RULES)
        )
        return table(("diagnostic", "number", "look from", "problem from", "varies by chance"), rows)


class Commands(Made):
    """The command line, from its own help."""

    def markdown(self) -> str:
        """Return a section per command."""
        import typer
        from typer.cli import get_docs_for_click

        from growth.cli import app

        group: Any = typer.main.get_command(app)
        context = typer.Context(group, info_name="growth")
        parts = []
        for name in group.list_commands(context):
            text = get_docs_for_click(
                obj=group.get_command(context, name), ctx=context, indent=1, call_prefix="growth"
            )
            parts.append(f"(growth-{name})=\n{text}")
        return "\n".join(parts).replace("* `--help`: Show this message and exit.\n", "")


class Measured(Made):
    """A table of committed results, rendered as the README's is."""

    required_arguments = 1
    option_spec: ClassVar = {}

    def markdown(self) -> str:
        """Return the table of ``benchmarks/results/NAME.json``."""
        from benchmarks import readme, truth

        name = self.arguments[0]
        path = ROOT / "benchmarks" / "results" / f"{name}.json"
        self.env.note_dependency(str(path))
        render = {"speed": readme.render, "truth": truth.render}[name]
        return render(json.loads(path.read_text("utf-8")))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directives."""
    for name, directive in {
        "room": Room,
        "specification": Specification,
        "input-rules": InputRules,
        "frames": Frames,
        "diagnostics": DiagnosticRules,
        "commands": Commands,
        "measured": Measured,
    }.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
