"""Documents whose code is run: each block of Python is followed by what it prints."""

from __future__ import annotations

import contextlib
import io
import re

EXAMPLE = re.compile(r"^```python\n(.*?)^```$\n+(?:```text\n(.*?)^```$)?", flags=re.DOTALL | re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def examples(text: str) -> list[tuple[str, str]]:
    """Return every block of Python with the text that follows it; empty if none does."""
    return EXAMPLE.findall(text)


def printed(code: str, names: dict[str, object], where: str) -> str:
    """Run a block among the names of those before it, and return what it prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, where, "exec"), names)
    return output.getvalue()
