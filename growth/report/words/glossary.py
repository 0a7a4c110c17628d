"""The terms of the page, each in a sentence or two."""

from __future__ import annotations

from growth.release.published import least_of
from growth.report.words.text import Note, flow
from growth.spec import GrowthSpec

__all__ = ["glossary"]

_TERMS = {
    "Achievement": """How high students score, whatever they knew before: the average score of a school's
        students, compared within each grade. One SD is the spread of students' scores.""",
    "Adjusted, unadjusted": """Compared with students alike in earlier scores and in everything else that the
        specification names; compared with students alike in earlier scores only.""",
    "Band": """The range in which the school's growth percentile lies with 95% probability. The fewer the
        students, the wider the band.""",
    "Beyond chance": """A difference larger than chance alone would make it in 95 of 100 cases. Of a hundred
        schools that do not differ about five will still seem to.""",
    "Comparison": """Students of one grade, subject and year with the same kinds of earlier scores, fitted
        together.""",
    "Growth": """How far a student got from one test to the next, compared with similar students.""",
    "Growth percentile of a school": """Its place among schools, from 0 to 100, by the growth of its students.
        50 is the middle.""",
    "Intake": """What kind of students a school gets: their earlier scores and the groups they are in.""",
    "Percentile of a student": """How many of 100 similar students score lower. Not shown on this page.""",
    "Probability of a level": """How often the school's true place falls into that level, given what its
        students' results leave possible.""",
    "Result moved towards the average": """Averages of few students swing most by chance. Moving them towards
        the average of all schools, the more the fewer students there are, makes them more accurate (also
        called shrinkage).""",
    "Similar schools": """Schools of the same grades whose students are most alike in earlier scores, groups
        and number; growth itself plays no part in the choice.""",
    "Similar students": """Students with about the same earlier scores and the same characteristics, as far as
        the specification names them.""",
}


def glossary(spec: GrowthSpec) -> list[Note]:
    """Return the terms in alphabetical order."""
    levels = spec.levels
    own = {
        "Level": f"""A tenth of the scale of growth percentiles, from 1 to 10. Levels {levels.above_from} to
            10 are called above average, {levels.average_from} to {levels.above_from - 1} average, 1 to
            {levels.average_from - 1} below average.""",
        "Withheld": f"""Not shown, because fewer than {least_of(spec)[1]} students stand behind it, or because
            a smaller number could be worked out from it. The page does not say which of the two.""",
    }
    return [Note(term, flow(text)) for term, text in sorted({**_TERMS, **own}.items())]
