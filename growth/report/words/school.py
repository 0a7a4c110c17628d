"""The sentences of a school's own page, with {holes} that the page's program fills.

What depends on the specification is decided here; what depends on the school, by the name of the sentence.
"""

from __future__ import annotations

from growth.release.published import least_of
from growth.report.labels import listed
from growth.report.words.text import flow, traits_in_words
from growth.spec import GrowthSpec

__all__ = ["school_words"]

_MEASURES = {
    "mean": "The average of these percentiles is {effect}. At 50 the students of a school grow just like "
    "similar students elsewhere.",
    "median": "The median of these percentiles is {effect}: half of the students lie above it. At 50 the "
    "students of a school grow just like similar students elsewhere.",
    "trimmed_mean": "The average of these percentiles, without the highest and the lowest, is {effect}. At "
    "50 the students of a school grow just like similar students elsewhere.",
    "mean_residual": "On average scores lie {effect} points from those of similar students. At 0 the "
    "students of a school grow just like similar students elsewhere.",
}


def school_words(spec: GrowthSpec, frozen_norms: bool = False) -> dict[str, str]:
    """Return the sentences by name.

    Parameters
    ----------
    spec : GrowthSpec
    frozen_norms : bool
        Schools are ranked in the distribution of an earlier year.
    """
    return {
        **_steps(spec, frozen_norms),
        **_certainty(),
        **_next_levels(),
        **_over_time(spec),
        **_beside(spec),
    }


def _steps(spec: GrowthSpec, frozen_norms: bool) -> dict[str, str]:
    """Return the way from students to a level."""
    similar = "the same earlier scores"
    if traits := traits_in_words(spec):
        similar += f" and the same status on {listed(traits)}"
    if spec.peers.composition != "none":
        similar += ", in schools of the same make-up"
    value = "Each is a student’s place from 0 to 100 among"
    if spec.school.aggregate == "mean_residual":
        value = "Each is how far a student’s score lies from that of"
    schools = "schools of the base year" if frozen_norms else "schools"
    words = {
        "step_students": f"{{n}} student results count. {value} similar students: those with {similar}.",
        "step_effect": _MEASURES[spec.school.aggregate],
        "title_effect": "Their median" if spec.school.aggregate == "median" else "Their average",
        "step_rank": f"{{result}} is more than the results of about {{gp}} of 100 {schools}, so the growth "
        "percentile is {gp}.",
        "step_level": "Percentiles from {from} to {to} are level {level}. Levels {band_from} to {band_to} "
        "are called {band}.",
    }
    if spec.levels.rule != "fixed_tens":
        words["step_level"] = (
            "On the cut points of the base year, percentile {gp} is level {level}. Levels {band_from} to "
            "{band_to} are called {band}."
        )
    if spec.school.shrinkage != "none":
        words["step_shrunk"] = _shrunk(spec)
    return words


def _shrunk(spec: GrowthSpec) -> str:
    if spec.school.shrinkage == "eblp":
        return "With the school’s results in other years, grades and subjects in view it is {result}."
    towards = "50" if spec.school.shrinkage == "sgp" else "the average of all schools"
    return f"Averages of few students swing by chance, so the result is moved towards {towards}: {{result}}."


def _certainty() -> dict[str, str]:
    return {
        "sure": "Level {level} itself has a probability of {p}%, levels {from} to {to} together {near}%.",
        "band": "With 95% probability the growth percentile lies between {lo} and {hi}.",
        "above": "The whole band lies above 50: growth is above average beyond what chance explains.",
        "below": "The whole band lies below 50: growth is below average beyond what chance explains.",
        "average": "The band includes 50: the school may well be an average one.",
        "bottom": "The probability of being among the lowest 5% of schools is {bottom}%.",
        "summary_above": "Growth percentile {gp}, 95% band {lo}–{hi}: above average beyond chance.",
        "summary_average": "Growth percentile {gp}, 95% band {lo}–{hi}: it may well be an average school.",
        "summary_below": "Growth percentile {gp}, 95% band {lo}–{hi}: below average beyond chance.",
        "summary": "Growth percentile {gp}.",
        "no_band": "There is no measure of uncertainty for this result.",
    }


def _next_levels() -> dict[str, str]:
    """Return the parts of the sentence that `growth.index.next_level_sentence` makes."""
    return {
        "next": "Level {level} begins {points} percentile points higher",
        "next_effect": ": each student would have to move up by about {effect} points",
        "next_students": ", or {students} of {n} students from the 40th to the 60th percentile",
        "next_all": ", more than all {n} students moving from the 40th to the 60th percentile",
        "highest": "Level 10 is the highest.",
        "no_forecast": "This is no forecast: others move as well, and so does chance.",
    }


def _over_time(spec: GrowthSpec) -> dict[str, str]:
    measure = "median" if spec.school.aggregate == "median" else "average"
    return {
        "up": "Level {last} in {before}, level {level} in {year}: up by {change}.",
        "down": "Level {last} in {before}, level {level} in {year}: down by {change}.",
        "same": "Level {level} in {before} and in {year}.",
        "small_change": "A change of one level is well within what chance does.",
        "high_years": f"The growth percentile has been {spec.school.high_percentile:g} or more for {{years}} "
        "up to the latest.",
        "trend": f"Over the years of this report the school’s {measure} changed by {{trend}} points a year "
        "(95% interval {low} to {high}). All schools together stay where they are, unless norms are frozen.",
    }


def _beside(spec: GrowthSpec) -> dict[str, str]:
    least = least_of(spec)[1]
    return {
        "told": flow(
            """Beyond chance, growth is higher than at {higher} and lower than at {lower} of the {others}
            other schools. From the remaining {same} it cannot be told apart."""
        ),
        "similar": flow(
            """Schools of the same grades whose students are most like this school’s in earlier scores,
            groups and number, nearest first. Growth plays no part in the choice."""
        ),
        "similar_none": "There are no schools of the same grades to compare with.",
        ">": "this school is higher",
        "=": "no clear difference",
        "<": "this school is lower",
        "groups_missing": f"Groups that are not listed have fewer than {least} students here, or none, or "
        "their number would give a smaller one away.",
        "groups_none": f"No group has {least} or more students here whose number can be told.",
        "unknown": "There is no school with this number in the report.",
        "withheld": "No result: {reason}.",
    }
