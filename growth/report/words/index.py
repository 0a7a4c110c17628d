"""What the index and the pairs are, and the sentences about them."""

from __future__ import annotations

from growth.index.why import ALONE
from growth.report.words.text import flow
from growth.spec import GrowthSpec

__all__ = ["about_index", "about_pairs", "index_words", "no_index_words", "no_partner_words"]

_NO_INDEX = {
    "too_few_metrics": "results in too few metrics",
    "metric_missing": "no result in a metric that applies to it",
    "domain_empty": "no result in a whole domain",
}


def no_index_words(reason: str) -> str:
    """Return why a school has no index."""
    return _NO_INDEX.get(reason, reason.replace("_", " "))


def no_partner_words(reason: str) -> str:
    """Return why a school has no partner."""
    return ALONE.get(reason, reason.replace("_", " "))


def about_index(spec: GrowthSpec) -> str:
    """Return how points add up to the index."""
    academic = spec.index.academic_points
    share = spec.index.all_share
    own = (
        "all students count as much as each group that is reported"
        if share == "equal"
        else f"all students have {100 * float(share):g}% and the groups that are reported the rest, evenly"
    )
    return flow(
        f"""The index runs from 0 to 100: {academic:g} points are for academic results, {100 - academic:g} for
        school quality. The points of each are divided evenly among the metrics that a school has results in.
        Within a metric {own}. A result at level 10 gets all of its points, at level 5 half of them. Numbers
        of students are not shown here."""
    )


def about_pairs() -> str:
    """Return how schools are paired."""
    return flow(
        """Schools with low growth and schools of the same grades with high growth whose students are most
        alike in earlier scores, groups and number. Who works with whom is chosen for all pairs together, so
        that the differences are as small as they can be."""
    )


def index_words() -> dict[str, str]:
    """Return the sentences that the page's program fills."""
    return {
        "index_sum": "Index {index} of 100: {parts}, from {with} of {of} metrics.",
        "index_part": "{name} {points} of {possible}",
        "index_none": "No index: {reason}.",
        "index_divided": "Points of a group are shown where every group that counts may be shown. Levels of "
        "groups that are not listed are withheld, or there are no such students.",
        "pair": "{partner} (average level {partnerLevel}) {verb} this school (average level {level}). Its "
        "growth is higher with a probability of {probability}. {place}{needs}",
        "pair_new": "is the partner of",
        "pair_kept": "stays the partner of",
        "pair_best": "Of {candidates} schools that could help, its students are the most similar.",
        "pair_rank": "It is number {rank} of {candidates} schools that could help; the nearer ones help "
        "others.",
        "pair_rank_kept": "It is number {rank} of {candidates} schools that could help.",
        "pair_stays": "It would not be chosen anew, but is close enough to stay.",
        "pair_needs": " It is strong in {met} of {needs} areas where this school needs help.",
        "pair_helps": "This school helps:",
        "pair_alone": "No partner: {reason}.",
    }
