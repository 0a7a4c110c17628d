"""Formulae as MathML, made while the site is built: no script, and nothing to fetch when a page is read."""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from docutils.utils.math.mathml_elements import MathElement, mover
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

LOGGER = logging.getLogger(__name__)


def _markup(node: nodes.math | nodes.math_block) -> str:
    block = isinstance(node, nodes.math_block)
    root = latex2mathml.math(display="block") if block else latex2mathml.math()
    try:
        latex2mathml.parse_latex_math(root, node.astext())
    except MathError as error:
        LOGGER.warning("a formula cannot be shown: %s", error, location=node, type="mathml")
    _set_accents_apart(root)
    return str(root.toxml())


def _set_accents_apart(root: MathElement) -> None:
    """Put the index of an accented letter beside it; docutils puts it below, as under a sum."""
    for stack in list(root.iter("munderover")):
        base, index, over = list(stack)
        if over.get("stretchy") == "false":
            stack.clear()
            stack.tag = "msub"
            stack.extend([mover(base, over, accent=True), index])


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(f'<span class="math">{_markup(node)}</span>')
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{_markup(node)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
