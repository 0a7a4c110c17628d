"""How to read the page, and what its numbers cannot say."""

from __future__ import annotations

from growth.report.labels import in_sentence, listed, number_words
from growth.report.results import BlockFacts, PageFacts
from growth.report.words.method import levels_in_words
from growth.report.words.text import Note, flow, grades_in_words, traits_in_words
from growth.spec import GrowthSpec
from growth.student import interval_sentence

__all__ = ["example_sentence", "how_to_read", "lead", "limits"]

_GROWTH_PERCENTILE = """
    A rank among schools, from 0 to 100. At 63, the students of a school grew more, compared with similar
    students, than those of about 63 in 100 schools. 50 is an average contribution. Below 50 means slower than
    similar students elsewhere, not that students lost knowledge."""
_BAND = """
    The range in which the school's rank lies with 95% probability, given how few or many students stand
    behind it. When a band includes 50, the data cannot tell the school from an average one."""
_ROUNDING = """
    Percentiles are shown without decimals, rounded down, so that a percentile always agrees with its
    level."""
_NOT_A_CAUSE = """
    A result describes how the students of a school did compared with similar students. It does not show
    that the school caused the difference: tutoring, attendance, events outside school and everything that
    is not in the data are part of it."""
_PLUS_OR_MINUS_ONE = """
    Ten levels are finer than one year of tests can tell apart. Read a level together with its neighbors,
    and do not act on a change of one level."""
_SINGLE_STUDENTS = """
    The percentile of one student carries an error of close to 20 points (McCaffrey, Castellano & Lockwood
    2015). No student's result is on this page, and none should be read without an interval."""


def lead(facts: PageFacts) -> str:
    """Return the paragraph that opens the page: who, when, what, how many."""
    subjects = listed(map(in_sentence, facts.subject_names))
    per = "one per subject and year" if len(facts.years) > 1 else "one per subject"
    return flow(
        f"""This page reports how far students got in {subjects} in {listed(map(str, facts.years))}, compared
        with students like them. {facts.students:,} students in {grades_in_words(facts.grades)} have
        {facts.results:,} growth percentiles, {per}; {facts.schools_reported:,} of {facts.schools:,} schools
        have enough of them for a result of their own. Each has a page that says how its result comes about:
        look for its name or number above."""
    )


def how_to_read(spec: GrowthSpec) -> list[Note]:
    """Return how a growth percentile, its band and its level are read."""
    brackets = (
        " The levels in brackets are those that the band covers." if spec.levels.rule == "fixed_tens" else ""
    )
    return [
        Note("Growth percentile", flow(_GROWTH_PERCENTILE)),
        Note("Band", flow(_BAND)),
        Note("Level", levels_in_words(spec) + brackets),
        Note("Rounding", flow(_ROUNDING)),
    ]


def limits(spec: GrowthSpec, facts: PageFacts) -> list[Note]:
    """Return what the numbers cannot say."""
    return [
        Note("Not a cause", flow(_NOT_A_CAUSE)),
        Note("Ranks are uncertain", _rank_uncertainty(facts)),
        Note("Levels are plus or minus one", flow(_PLUS_OR_MINUS_ONE)),
        Note("Single students are noisier still", f"{flow(_SINGLE_STUDENTS)} {interval_sentence(spec)}"),
        Note("Averages of groups", _pinned(spec)),
        Note("Test error and intake", _neutrality(spec, facts)),
    ]


def example_sentence(school: str, subject: str, shown: tuple[int, int, int], standing: str) -> str:
    """Return one school's result in words.

    Parameters
    ----------
    school, subject : str
        Their names.
    shown : tuple of int
        Growth percentile, and the low and high end of its band.
    standing : {"below", "average", "above"}
        Where the band lies.
    """
    at, low, high = shown
    verdict = {
        "average": "it may well be an average school",
        "above": "it is above average beyond what chance explains",
        "below": "it is below average beyond what chance explains",
    }[standing]
    return (
        f"For example, the growth percentile of {school} in {in_sentence(subject)} is {at}: its students "
        f"grew more than those of about {at} in 100 schools. The band runs from {low} to {high}, "
        f"so {verdict}."
    )


def _rank_uncertainty(facts: PageFacts) -> str:
    blocks = [_block_uncertainty(block) for block in facts.blocks if block.reported]
    first = "Most schools cannot be told from their neighbors in the list."
    last = "The bands cover chance in which students a school has, not errors in the data or in the model."
    return " ".join([first, *blocks, last])


def _block_uncertainty(block: BlockFacts) -> str:
    return (
        f"{block.label}: half of the bands are wider than {block.median_width:.0f} points, and "
        f"{block.above + block.below:,} of {block.reported:,} schools have a band that leaves out 50."
    )


def _pinned(spec: GrowthSpec) -> str:
    traits = traits_in_words(spec)
    if not traits:
        return flow(
            """Student characteristics are not in the model, so the averages of student groups differ as their
            growth differs, and schools with many students of a group share in that difference."""
        )
    named = listed(traits)
    are = "is" if len(traits) == 1 else "are"
    return flow(
        f"""{named[:1].upper()}{named[1:]} {are} in the model. The average of such a group over the whole
        system is therefore close to 50 by construction, whatever the system does for it. It can show
        differences between schools, never how a group is served overall."""
    )


def _neutrality(spec: GrowthSpec, facts: PageFacts) -> str:
    found = [
        f"{block.label}: correlation of growth with the earlier score "
        f"{number_words(block.r_students, '+.2f')} between students, "
        f"{number_words(block.r_schools, '+.2f')} between schools."
        for block in facts.blocks
        if block.r_students is not None and block.r_schools is not None
    ]
    if spec.student.engine == "eiv":
        first = flow(
            """Tests measure with error. The prediction is corrected for it, so that students with high
            earlier scores fall short of it more often than others: part of what put them high was error. Over
            the students of a school these errors average out; look at the correlation between schools."""
        )
    elif spec.school.percentile.startswith("simex"):
        first = flow(
            """Tests measure with error. Students' percentiles are corrected for it, so that those with high
            earlier scores tend to have lower ones: part of what put them high was error. Over the students of
            a school these errors average out; look at the correlation between schools."""
        )
    else:
        first = flow(
            """Tests measure with error, and that error ties the results of schools to the achievement of the
            students who come to them. A correlation near zero between students holds by construction and
            does not rule this out; look at the one between schools."""
        )
    return " ".join([first, *found])
