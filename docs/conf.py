"""How the documentation site is built: ``sphinx-build -W -n --keep-going docs docs/_build``.

The build asks the network for nothing, and neither do the pages: formulae are MathML, fonts are the reader's.
Notebooks are copied from their folder and shown as they are committed, without outputs; with
``GROWTH_DOCS_RUN_NOTEBOOKS=1`` they are run, and pages show what they print and draw.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "_ext")]  # benchmarks for measured numbers, and the extensions


def _copy_notebooks() -> None:
    """Put the notebooks where Sphinx looks for pages; unchanged ones are left alone."""
    target = HERE / "notebooks"
    target.mkdir(exist_ok=True)
    there = {path.name: path for path in (ROOT / "notebooks").glob("*.ipynb")}
    for path in target.glob("*.ipynb"):
        if path.name not in there:
            path.unlink()
    for name, path in there.items():
        copy = target / name
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            shutil.copyfile(path, copy)


_copy_notebooks()

project = "growth"
author = "the authors of growth"
version = release = version_of("growth")
html_title = f"growth {release}"

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "mathml",
    "generated",
]
exclude_patterns = ["_build", "jupyter_execute", "**/.ipynb_checkpoints"]

# Names of other libraries have no pages here, and inventories would have to be fetched.
nitpick_ignore_regex = [("py:.*", r"(?!growth(\.|$)).*")]
default_role = "literal"  # docstrings name choices and columns in single backquotes
show_warning_types = True

INHERITED = ("model_config", "set_fit_request", "set_score_request")  # from pydantic and scikit-learn
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings state types, shapes and units
autodoc_default_options = {"members": True, "exclude-members": ", ".join(INHERITED)}
autosummary_generate = False
numpydoc_show_class_members = False

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force" if os.environ.get("GROWTH_DOCS_RUN_NOTEBOOKS") == "1" else "off"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_output_stderr = "remove"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["growth.css"]
html_math_renderer = "mathml"
smartquotes = False
html_show_sphinx = html_show_copyright = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
copybutton_exclude = ".linenos, .gp, .go"
