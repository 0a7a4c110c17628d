"""The rules that every table is held to, as data: what holds, what happens otherwise, which choice decides.

``growth check --rules`` prints them; each has a test (`tests/test_panel_rules.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["RULES", "InputRule", "Outcome"]

Outcome: TypeAlias = Literal["refused", "counted out", "read", "noted"]
"""An error; an exclusion with a count and a reason; no problem; a note of ``growth check``."""


@dataclass(frozen=True, slots=True)
class InputRule:
    """One rule for input."""

    name: str
    rule: str
    outcome: Outcome
    """What happens by default."""
    policy: str = ""
    """Choice of the specification that decides otherwise, if there is one."""


RULES: Final = (
    InputRule("empty file", "a file has a header line and rows", "refused"),
    InputRule("no header", "the first line holds names, not a student's data", "refused"),
    InputRule("byte order mark", "a UTF-8 mark at the start of a file is no part of a name", "read"),
    InputRule("mixed encodings", "text is UTF-8 throughout", "refused", "columns.encoding"),
    InputRule("ragged lines", "every line has as many fields as the header line", "refused"),
    InputRule("open quote", "a quoted field ends", "refused"),
    InputRule("truncated file", "a Parquet or compressed file is whole", "refused"),
    InputRule("repeated name", "column names differ", "refused"),
    InputRule("two columns for one value", "a wide table has one column per value", "refused"),
    InputRule("missing column", "every column that a choice needs is there", "refused", "columns.rename"),
    InputRule("wrong type", "a column has a type that can hold its values", "refused"),
    InputRule("leading zeros", "ids are text exactly as written", "read"),
    InputRule("blank key", "every row has a student, year, subject and grade", "refused"),
    InputRule("duplicate key", "one row per student, year and subject", "refused", "rows.duplicates"),
    InputRule("unknown grade", "grades are PK, K or 1-13", "refused", "rows.unknown_grade"),
    InputRule("unknown year", "years are 2024, 2023_2024 or 2023-24, one spelling per year", "refused"),
    InputRule("future year", "no year lies after the next one", "refused", "rows.latest_year"),
    InputRule("score is no number", "scores are numbers, or blank", "refused", "rows.unreadable_score"),
    InputRule("NaN and infinity", "scores are finite", "refused", "rows.unreadable_score"),
    InputRule("score outside bounds", "scores lie within scale.bounds", "refused", "scale.outside"),
    InputRule("negative CSEM", "CSEMs are finite and not negative", "refused"),
    InputRule("flag with three values", "yes/no columns say yes or no", "refused", "rows.unclear_flags"),
    InputRule("unclear validity", "the column for validity says yes or no in every row", "refused"),
    InputRule("not valid", "rows marked as not valid do not count", "counted out"),
    InputRule("another test", "rows of other tests or kinds of score do not count", "counted out"),
    InputRule("unknown code", "codes of a layout are those it defines", "refused", "columns.layout"),
    InputRule(
        "unearned score",
        "lowest scores given for too few answers do not count",
        "counted out",
        "rows.unearned_scores",
    ),
    InputRule("blank cell", "a blank score in a wide table is no record", "counted out"),
    InputRule("school missing", "rows have a school, to count for one", "noted", "rows.no_school"),
    InputRule("covariate missing", "students with priors have every peer column", "refused", "peers.missing"),
    InputRule("constant column", "a column that compares or groups students has two values", "noted"),
    InputRule("impossible lag", "a student's grade does not fall from one year to a later one", "noted"),
    InputRule("unclear layout", "one layout is far more probable than any other", "noted", "columns.layout"),
)
