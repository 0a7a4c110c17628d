r"""Index points, in exact fractions.

.. math::
    \text{points} = \sum_{\text{metrics } m} \frac{W_{d(m)}}{M_d} \sum_{\text{parts}} \frac{1}{P_m}
        \sum_{\text{groups } g} \frac{s_g}{\sum_h s_h} \frac{\text{level}_g}{10},

with the domain's points W, the school's active metrics M in it, the parts P of a metric that it has
(subjects, kinds of respondents) and the groups h that are reported. Every number in it is a fraction, and
nothing is rounded: where three metrics share 40 points, a school at level 10 throughout has exactly 40/3 in
each. (Published reports of such an index once showed "13.35 of 13.33": the sum of five rounded fifths.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from growth.index.levels import LEVELS
from growth.school.groups import ALL, LOWEST_RACE
from growth.spec import GrowthSpec

__all__ = ["Cell", "DomainPoints", "award", "group_shares"]

HUNDRED = Fraction(100)
DOMAINS = ("academic", "school_quality")


@dataclass(frozen=True, slots=True)
class Cell:
    """A reported result: its place in the index, and its level (1-10)."""

    domain: str
    metric: str
    part: str
    group: str
    level: int


@dataclass(frozen=True, slots=True)
class DomainPoints:
    """What one school gets."""

    weight: tuple[Fraction, ...]
    """Points that each cell could have, in the order of the cells."""
    share: tuple[Fraction, ...]
    """Share of each cell's group in its metric and part, after renormalisation."""
    points: tuple[Fraction, ...]
    """Points of each cell."""
    domains: Mapping[str, Fraction]
    """Points of each domain that has a metric."""

    @property
    def total(self) -> Fraction:
        """The index."""
        return sum(self.domains.values(), Fraction(0))


def exact(number: float) -> Fraction:
    """Return the decimal number that was written: 0.2 is 1/5, not its binary neighbour."""
    return Fraction(repr(number))


@cache
def _shares(all_share: float | str, groups: tuple[str, ...]) -> Mapping[str, Fraction]:
    if not groups:
        return {ALL: Fraction(1)}
    own = Fraction(1, len(groups) + 1) if isinstance(all_share, str) else exact(all_share)
    return {ALL: own, **dict.fromkeys(groups, (1 - own) / len(groups))}


def group_shares(spec: GrowthSpec, metric: str) -> Mapping[str, Fraction]:
    """Return the groups that share a metric's points, with their shares: they sum to 1."""
    lowest = (LOWEST_RACE,) if spec.groups.race else ()
    groups = (*spec.groups.flags, *lowest) if spec.index.metrics[metric].groups else ()
    return _shares(spec.index.all_share, groups)


def award(cells: Sequence[Cell], spec: GrowthSpec) -> DomainPoints:
    """Give a school its points.

    Parameters
    ----------
    cells : sequence of Cell
        Every reported result of the school, each metric, part and group once.
    spec : GrowthSpec
        ``spec.index``: points of domains, shares of groups, what an empty domain means.
    """
    parts = {(cell.metric, cell.part) for cell in cells}
    metrics = {(cell.domain, cell.metric) for cell in cells}
    pots = _domain_points({domain for domain, _ in metrics}, spec)
    active = {domain: sum(one == domain for one, _ in metrics) for domain in pots}
    in_metric = {metric: sum(one == metric for one, _ in parts) for _, metric in metrics}
    reported: dict[tuple[str, str], Fraction] = {}
    for cell in cells:
        place = (cell.metric, cell.part)
        reported[place] = reported.get(place, Fraction(0)) + group_shares(spec, cell.metric)[cell.group]
    weight, share, points = [], [], []
    domains = dict.fromkeys(pots, Fraction(0))
    for cell in cells:
        whole = reported[(cell.metric, cell.part)]
        own = group_shares(spec, cell.metric)[cell.group]
        part = own / whole
        possible = _pot(pots[cell.domain], active[cell.domain], in_metric[cell.metric]) * part
        share.append(part)
        weight.append(possible)
        points.append(possible * cell.level / LEVELS)
        domains[cell.domain] += points[-1]
    return DomainPoints(tuple(weight), tuple(share), tuple(points), domains)


@cache
def _pot(domain: Fraction, metrics: int, parts: int) -> Fraction:
    return domain / metrics / parts


def _domain_points(present: set[str], spec: GrowthSpec) -> dict[str, Fraction]:
    academic = exact(spec.index.academic_points)
    points = {"academic": academic, "school_quality": HUNDRED - academic}
    if spec.index.empty_domain == "renormalise" and len(present) == 1:
        return dict.fromkeys(present, HUNDRED)
    return {domain: points[domain] for domain in DOMAINS if domain in present}
