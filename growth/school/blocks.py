"""Schools that are ranked together: every group's results, placed in one reference distribution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from growth._types import BoolArray, FloatArray
from growth.school.aggregates import Aggregates
from growth.school.bands import DrawRule, Z, reference_draws, stream_key
from growth.school.estimate import Beside, Estimate, Prior, Source, estimate
from growth.school.groups import ALL
from growth.school.norms import LEAST_SCHOOLS, Norms, ReferenceNorm, measure_of
from growth.school.posterior import Posterior, posterior_draws
from growth.school.shrinkage import reliability
from growth.school.standing import LEVELS, Standing, nowhere, standing_of_percentiles, standing_of_ranks
from growth.spec import GrowthSpec, School

__all__ = ["Block", "Measured", "Variance", "measure_block"]

Block: TypeAlias = tuple[int, str, str]
"""Year, subject, grade span; "" where schools of every span are ranked together."""


@dataclass(frozen=True, slots=True)
class Variance:
    """What is known of the distribution of true effects of one year x subject x group; NaN where unknown."""

    year: int
    subject: str
    span: str | None
    """Grade span; None where schools of every span are ranked together."""
    group: str
    schools: int
    """Schools with enough students and a standard error."""
    students: int
    """Their student results."""
    mean: float
    """Mean of true effects (mu)."""
    within_sd: float
    """Pooled within-school SD of students' percentiles (or residuals), all schools."""
    tau2: float
    """Between-school variance of true effects; with ``school.variance = "integrated"`` the square of the
    posterior median of its root."""
    tau_low: float
    """95 % interval of the between-school SD, lower end; NaN where it is taken as known. With
    ``groups.shrink_towards = "school"``, of the SD around what the school's other students make expect."""
    tau_high: float
    q: float
    """Heterogeneity statistic; about schools - 1 if schools do not differ."""
    icc: float
    """tau2 / (tau2 + within_sd^2); reliability at n students is n icc / (1 + (n - 1) icc)."""
    reliability: float
    """Mean over schools of tau2 / (tau2 + SE^2)."""
    source: Source
    """Where mean and tau2 come from: a group in fewer than ten schools takes those of all students; these, if
    there are so few schools at all, take the frozen norm's."""
    bands_extended: int
    """Schools whose percentile lay outside the quantiles of its drawn ranks; their bands extend to it."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Results of one group, each array of shape (J,); NaN where undefined."""

    aggregates: Aggregates
    shrunk: FloatArray
    shrunk_se: FloatArray
    percentile: FloatArray
    low: FloatArray
    high: FloatArray
    probabilities: FloatArray
    """P(level 1), ..., P(level 10), P(bottom 5 %), P(above average), shape (J, 12)."""
    reason: NDArray[np.object_]
    """Why a result is withheld, or None."""
    variance: Variance
    response: FloatArray
    """By how much what is ranked moves with the effect."""


@dataclass(frozen=True, slots=True, eq=False)
class _Reference:
    norm: ReferenceNorm
    draws: FloatArray
    """Posterior draws of its schools, each row ascending, shape (D, R)."""
    own: FloatArray | None = None
    """The same draws in the order of the schools, where the ranked schools are the reference themselves."""


def measure_block(
    block: Block,
    groups: Mapping[str, Aggregates],
    spec: GrowthSpec,
    frozen: Norms | None,
    cuts: FloatArray,
    beside: Mapping[str, Beside] | None = None,
) -> tuple[dict[str, Measured], tuple[ReferenceNorm, ...]]:
    """Measure every group of one year, subject and span.

    Parameters
    ----------
    block : (year, subject, span)
    groups : mapping of label to Aggregates
        ``All`` first; every group for the same J schools.
    frozen : Norms, optional
        Reference distributions of an earlier year, instead of this year's.
    cuts : ndarray, shape (9,)
        Lower bounds of levels 2, ..., 10 [percentile, 0-100].
    beside : mapping of label to Beside, optional
        What else bears on the effects of a group.

    Returns
    -------
    results : dict of label to Measured
    norms : tuple of ReferenceNorm
        The reference distributions in use.
    """
    found: dict[str, Measured] = {}
    references: dict[str, _Reference | None] = {}
    fallback = _norm_prior(frozen, block)
    for label, aggregates in groups.items():
        rules, of_all = spec.school, label == ALL
        least = rules.min_n if of_all else spec.groups.min_n
        found_here = estimate(aggregates, rules, least, fallback, (beside or {}).get(label))
        if of_all and found_here.prior is not None:
            fallback = found_here.prior.lent()
        own = of_all or spec.groups.reference == "group"
        if own:
            references[label] = (
                _frozen(frozen, block, label, rules)
                if frozen is not None
                else _moving(found_here, block, label, rules)
            )
        reference = references[label if own else ALL]
        found[label] = _measured(found_here, reference, (block, label, cuts), rules)
    return found, tuple(reference.norm for reference in references.values() if reference is not None)


def _measured(
    estimate: Estimate,
    reference: _Reference | None,
    place: tuple[Block, str, FloatArray],
    rules: School,
) -> Measured:
    block, label, _ = place
    shape = estimate.effect.shape
    percentile, low, high = (np.full(shape, np.nan) for _ in range(3))
    probabilities = np.full((*shape, LEVELS + 2), np.nan)
    ranked = _ranked(estimate)
    extended = 0
    if reference is not None:
        known = ranked & estimate.posterior.known
        found = _standing(estimate.posterior.at(known), reference, place, rules)
        low[known], high[known] = found.low, found.high
        probabilities[known] = np.column_stack([found.levels, found.bottom, found.above])
        if rules.growth_percentile == "expected":
            percentile[known] = found.expected
        else:
            in_norm = reference.norm.normal if rules.growth_percentile == "normal" else reference.norm.rank
            percentile[ranked] = in_norm(estimate.effect[ranked])
        extended = int(np.count_nonzero((low > percentile) | (high < percentile)))
        # Where schools differ much in size, the rank of a posterior mean can leave the band of ranks: a large
        # school ranks high among many whose means are shrunk to the centre. No result lies outside its band.
        low, high = np.minimum(low, percentile), np.maximum(high, percentile)
    shrunken = rules.shrinkage != "none"
    absent = np.full(shape, np.nan)
    return Measured(
        aggregates=estimate.aggregates,
        shrunk=estimate.effect if shrunken else absent,
        shrunk_se=estimate.posterior.sd if shrunken else absent,
        percentile=percentile,
        low=low,
        high=high,
        probabilities=probabilities,
        reason=_reasons(estimate, reference is not None, rules),
        variance=_variance(estimate, block, label, extended),
        response=estimate.response,
    )


def _ranked(estimate: Estimate) -> BoolArray:
    return np.asarray(estimate.large & ~np.isnan(estimate.effect))


def _standing(
    posterior: Posterior, reference: _Reference, place: tuple[Block, str, FloatArray], rules: School
) -> Standing:
    """Return bands and probabilities; every one of them from the same draws."""
    block, label, cuts = place
    norm, rule = reference.norm, _draw_rule(rules)
    own = reference.own if norm.group == label else None
    if own is None:
        own = posterior_draws(posterior, rule.count, rule.stream("school", *stream_key(block, label)))
    if rules.growth_percentile == "normal":
        half = Z * posterior.sd
        band = norm.normal(posterior.mean - half), norm.normal(posterior.mean + half)
        return standing_of_percentiles(norm.normal(own), band, cuts)
    if reference.draws.shape[1] == 0:
        return nowhere(len(posterior.mean))
    return standing_of_ranks(own, reference.draws, cuts)


def _moving(estimate: Estimate, block: Block, label: str, rules: School) -> _Reference | None:
    """Return this year's schools as the reference, None if they are too few."""
    ranked = _ranked(estimate)
    if np.count_nonzero(ranked) < LEAST_SCHOOLS:
        return None
    of_all = estimate.posterior.at(ranked)
    location = _location(estimate, of_all.mean, rules)
    year, subject, span = block
    key = (year, subject, label)
    norm = ReferenceNorm.of(key, of_all.mean, of_all.sd, location, measure_of(rules), span)
    if rules.growth_percentile == "normal":
        return _Reference(norm, np.empty((0, 0)))
    rule = _draw_rule(rules)
    own = posterior_draws(
        of_all.at(of_all.known), rule.count, rule.stream("reference", *stream_key(block, label))
    )
    return _Reference(norm, np.sort(own, axis=1), own)


def _frozen(frozen: Norms, block: Block, label: str, rules: School) -> _Reference | None:
    """Return the frozen norm of this subject, span and group, None if there is none."""
    norm = frozen.find(block[1], label, block[2])
    if norm is None:
        return None
    if rules.growth_percentile == "normal":
        return _Reference(norm, np.empty((0, 0)))
    return _Reference(norm, reference_draws(norm, _draw_rule(rules)))


def _location(estimate: Estimate, effect: FloatArray, rules: School) -> tuple[float, float]:
    if rules.shrinkage in ("none", "sgp") or estimate.prior is None:
        return float(effect.mean()), float(effect.std(ddof=1))
    return estimate.prior.mean, float(np.sqrt(estimate.prior.tau2))


def _norm_prior(frozen: Norms | None, block: Block) -> Prior | None:
    norm = frozen.find(block[1], ALL, block[2]) if frozen is not None else None
    if norm is None or norm.measure[2] in ("none", "sgp"):
        return None  # without shrinkage the spread is that of observed effects, noise included
    return Prior.known(norm.mean, norm.spread**2, "norm")


def _draw_rule(rules: School) -> DrawRule:
    return DrawRule(rules.band_draws, rules.seed)


def _reasons(estimate: Estimate, has_reference: bool, rules: School) -> NDArray[np.object_]:
    shrunken = rules.shrinkage != "none"
    reason = np.full(estimate.effect.shape, None, dtype=object)
    if not has_reference or (shrunken and estimate.prior is None):
        reason[:] = "no_reference"
    if shrunken or rules.growth_percentile == "expected":
        reason[~estimate.usable] = "no_standard_error"
    reason[~estimate.large] = "n_below_minimum"
    return reason


def _variance(estimate: Estimate, block: Block, label: str, extended: int) -> Variance:
    aggregates, usable = estimate.aggregates, estimate.usable
    prior = estimate.prior or Prior.known(np.nan, np.nan, "none")
    se = estimate.se[usable]
    # Without a school large enough, a spread of students would describe a handful of them.
    within = aggregates.within_sd if usable.any() else np.nan
    total = prior.tau2 + within**2
    year, subject, span = block
    return Variance(
        year=year,
        subject=subject,
        span=span or None,
        group=label,
        schools=int(np.count_nonzero(usable)),
        students=int(aggregates.n[usable].sum()),
        mean=prior.mean,
        within_sd=within,
        tau2=prior.tau2,
        tau_low=prior.spread.interval[0],
        tau_high=prior.spread.interval[1],
        q=prior.q,
        icc=prior.tau2 / total if total > 0 else np.nan,
        reliability=float(reliability(se, prior.tau2).mean()) if len(se) else np.nan,
        source=prior.source,
        bands_extended=extended,
    )
