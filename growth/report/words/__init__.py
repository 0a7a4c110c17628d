"""What was computed, how to read it and what it cannot say, in plain sentences with this run's numbers.

Every sentence follows from the specification or from the results: change a choice and the page says so.
"""

from growth.report.words.fairness import about_fairness
from growth.report.words.glossary import glossary
from growth.report.words.index import (
    about_index,
    about_pairs,
    index_words,
    no_index_words,
    no_partner_words,
)
from growth.report.words.method import about_levels, how_computed
from growth.report.words.reading import example_sentence, how_to_read, lead, limits
from growth.report.words.school import school_words
from growth.report.words.text import Note

__all__ = [
    "Note",
    "about_fairness",
    "about_index",
    "about_levels",
    "about_pairs",
    "example_sentence",
    "glossary",
    "how_computed",
    "how_to_read",
    "index_words",
    "lead",
    "limits",
    "no_index_words",
    "no_partner_words",
    "school_words",
]
