"""Every rule behind a verdict: what is measured, from where on to look, from where on it is a problem.

Two kinds of rules. *By chance*: the number would vary if students were drawn again, so a verdict needs both
size and evidence: the confidence bound of the number, not the number itself, must pass the limit. All of them
together alarm on clean data with a probability of `FAMILY` at most: it is split evenly over the rules, and
within a rule over its comparisons (Bonferroni). *As counted*: the number is a fact of the run.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CHANCE", "FAMILY", "RULES", "Rule", "level_of"]

FAMILY = 0.05
"""Probability that any rule at all alarms by chance on clean data."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One diagnostic's rule."""

    name: str
    title: str
    look: float
    problem: float
    number: str
    """What is compared with the limits, in words, with its unit."""
    good: str
    bad: str
    """Sentence with the fields {where}, {value}, {size} (the value without sign) and {others}."""
    chance: bool = True
    """Whether the number varies by chance."""
    below: bool = False
    """Whether small numbers are the bad ones."""
    digits: int = 1

    @property
    def words(self) -> str:
        """The rule in words."""
        side = "below" if self.below else "above"
        limits = f"look {side} {self.look:g}, problem {side} {self.problem:g}"
        evidence = "; the confidence bound must pass the limit" if self.chance else ""
        return f"{self.number}: {limits}{evidence}"


_ALL = (
    Rule(
        "goodness_of_fit",
        "Prior decile by SGP decile",
        1.5,
        4.0,
        "deviation of the 10 x 10 table's cells from 10 % [percentage points, root mean square]",
        "In every tenth of prior scores each tenth of growth percentiles holds about 10 % of the students.",
        "{where}: cells of the 10 x 10 table deviate from 10 % by {size} points: the curves do not follow "
        "the "
        "scores. Check knots and degree of the basis, and whether priors are what they seem{others}.",
    ),
    Rule(
        "uniformity",
        "Uniform percentiles",
        3.0,
        8.0,
        "largest distance of the distribution of percentiles from uniform [percentage points, "
        "Kolmogorov-Smirnov]",
        "Percentiles of all students are spread evenly from 0 to 100, as they should be.",
        "{where}: percentiles are not spread evenly: up to {size} % of the students are on the wrong side of "
        "a percentile{others}.",
    ),
    Rule(
        "calibration",
        "Calibration of the curves",
        3.0,
        8.0,
        "share of scores below a curve less its tau, overall and by fifths of prior scores [percentage "
        "points]",
        "Each curve has its share of scores below it, at low and at high prior scores.",
        "{where}: the share below the curve is off by {value} points{others}.",
    ),
    Rule(
        "held_out_coverage",
        "Calibration in schools left out",
        3.0,
        8.0,
        "share of scores below a curve fitted without their schools, less its tau [percentage points]",
        "Curves fitted without a school hold for it: each has its share of scores below it.",
        "{where}: below curves fitted without their schools the share of scores is off by {value} points: "
        "the "
        "fit does not carry over{others}.",
    ),
    Rule(
        "held_out_loss",
        "Loss in schools left out",
        25.0,
        60.0,
        "pinball loss in schools left out over that in the fit, less 1 [%]",
        "Curves predict scores of schools left out about as well as those they were fitted to.",
        "{where}: the pinball loss is {size} % higher in schools left out: too many columns for so few "
        "students. Use fewer knots, fewer priors, or larger cohorts{others}.",
        chance=False,
    ),
    Rule(
        "student_correlation",
        "Student percentile and prior score",
        0.05,
        0.15,
        "correlation of students' percentiles with their prior scores",
        "Percentiles of students do not go with their prior scores. That is no evidence of unbiased school "
        "results: the next line is.",
        "{where}: percentiles of students go with prior scores (r = {value}), which conditioning on them "
        "should prevent{others}.",
        digits=2,
    ),
    Rule(
        "school_correlation",
        "School result and mean prior score",
        0.2,
        0.5,
        "correlation of schools' results with their students' mean prior score",
        "No correlation of school results with intake is shown beyond what chance and small schools make.",
        "{where}: schools' results go with their mean prior score (r = {value}), though students' may not. "
        "Measurement error in the priors does that, and so do better schools with abler students: compare "
        "with SIMEX and with composition taken out{others}.",
        digits=2,
    ),
    Rule(
        "extremes",
        "Lowest and highest scorers",
        10.0,
        20.0,
        "how much nearer to the middle the mean percentile of the 50 lowest or highest scorers is than "
        "normal "
        "theory expects [percentile points]",
        "The lowest scorers have low and the highest have high percentiles.",
        "{where}: the mean percentile is {size} points nearer to the middle than expected: the test does not "
        "tell these students apart{others}.",
    ),
    Rule(
        "ends",
        "Ceiling and floor",
        2.0,
        10.0,
        "share of students at the highest or lowest score, if no fewer than at the next [%]",
        "Scores do not pile up at the ends of the scale.",
        "{where}: {size} % of the students share this score: their growth cannot be told apart, and those "
        "who "
        "were near it before cannot show growth. Consider correction.loss_hoss{others}.",
        chance=False,
    ),
    Rule(
        "heteroskedasticity",
        "Spread by expected score",
        10.0,
        25.0,
        "SD of percentiles' normal scores in a tenth of expected scores, against 1 [%]",
        "Percentiles spread alike at low and at high expected scores.",
        "{where}: percentiles spread {value} % differently than over all students: residuals widen or narrow "
        "with the score, and the model does not follow{others}.",
    ),
    Rule(
        "frozen_drift",
        "Drift against the base year",
        2.0,
        8.0,
        "mean percentile in the base year's curves, less 50, or less that of other grades of their schools "
        "[percentile points]",
        "Against the base year's curves students are on average where students of that year were.",
        "{where}: the mean percentile in the base year's curves is {value} points off. Either all students "
        "grew so much differently, or the scale has drifted; a single grade points to the scale. See growth "
        "drift{others}.",
    ),
    Rule(
        "flags",
        "Direction of the flags",
        0.1,
        0.3,
        "standardised difference of prior scores, flagged less other students, in the unexpected direction "
        "[SD]",
        "Students with a flag of disadvantage have lower prior scores than others, everywhere.",
        "{where}: flagged students have prior scores {size} SD above the others', against what is usual or "
        "what holds elsewhere in the system: are yes and no reversed?{others}",
        digits=2,
    ),
    Rule(
        "outlying_schools",
        "Schools far off",
        0.5,
        1.5,
        "distance of a school's mean percentile beyond what differences between schools and chance make "
        "[SDs of schools]",
        "No school's result lies outside what normally distributed schools show.",
        "{where}: the mean percentile lies {size} SDs of schools off: check its data before praising or "
        "blaming it{others}.",
    ),
    Rule(
        "duplicated_schools",
        "Schools with the same students",
        50.0,
        80.0,
        "students of a school whose scores of all subjects and years all occur in another school [%]",
        "No two schools hold the same scores.",
        "{where}: {size} % of the students have exactly the scores of students in the other school: was a "
        "file read twice under another code?{others}",
        chance=False,
    ),
    Rule(
        "crossing",
        "Crossing curves",
        35.0,
        50.0,
        "pairs of neighbouring curves that crossed before they were sorted [%]",
        "Curves cross before sorting about as often as sampling makes neighbours cross.",
        "{where}: {size} % of neighbouring curves crossed before sorting: too many columns, or too few "
        "students{others}.",
        chance=False,
    ),
    Rule(
        "outside_knots",
        "Scores outside the boundary knots",
        0.1,
        1.0,
        "prior scores outside the boundary knots, where curves are extrapolated [% of the cohort]",
        "All prior scores lie where curves were fitted.",
        "{where}: {size} % of prior scores lie outside the boundary knots, where curves are "
        "extrapolated{others}.",
        chance=False,
        digits=2,
    ),
    Rule(
        "cohort_size",
        "Students per column",
        15.0,
        7.0,
        "students per column of the cohort's model",
        "All cohorts have students enough for their models.",
        "{where}: only {size} students per column of the model: curves follow single students{others}.",
        chance=False,
        below=True,
    ),
    Rule(
        "left_out",
        "Rows left out",
        25.0,
        50.0,
        "current-year rows of the grades in scope without a growth percentile [%]",
        "Few rows in scope have no growth percentile.",
        "{where}: {size} % of the rows in scope have no growth percentile; results speak for the others "
        "only{others}.",
        chance=False,
    ),
    Rule(
        "left_out_groups",
        "Groups left out",
        15.0,
        30.0,
        "share without a growth percentile in a group, less that of all students [percentage points]",
        "No group of students is left out much more often than others.",
        "{where}: left out {size} points more often than students in all{others}.",
    ),
    Rule(
        "reliability",
        "Reliability of school results",
        0.5,
        0.3,
        "reliability of a school's mean, over all schools (0-1), at the upper end of the SD's 95 % interval",
        "Differences between schools are large beside their errors.",
        "{where}: the reliability of school results is {size}: most of what sets schools apart is chance. "
        "Average over years{others}.",
        below=True,
        digits=2,
    ),
    Rule(
        "icc",
        "Share of variance between schools",
        0.2,
        0.35,
        "intraclass correlation of student percentiles within schools (0-1)",
        "Schools differ as much as schools usually do.",
        "{where}: {size} of the variance of percentiles lies between schools, more than schools usually "
        "make: "
        "different tests, dates or scales?{others}",
        chance=False,
        digits=2,
    ),
    Rule(
        "csem_large",
        "CSEM against residuals",
        0.75,
        1.0,
        "mean error variance of the score over the variance of residuals",
        "Errors of measurement fit into the residuals.",
        "{where}: error variance is {size} of the residual variance, of which it can only be a part: is the "
        "CSEM in other units, or doubled?{others}",
        chance=False,
        digits=2,
    ),
    Rule(
        "csem_small",
        "CSEM against scores",
        0.02,
        0.005,
        "mean error variance of the score over the variance of scores, 1 - reliability",
        "Errors of measurement are of the size that tests have.",
        "{where}: error variance is {size} of the variance of scores, less than any test reaches: is the "
        "CSEM "
        "in other units, or halved?{others}",
        chance=False,
        below=True,
        digits=3,
    ),
    Rule(
        "eiv_definite",
        "Errors in variables",
        0.0,
        3.0,
        "columns from which less than their whole error could be removed",
        "All error of the priors was removed.",
        "{where}: in {size} combinations of columns the CSEM leaves no true variance, and only a part of the "
        "error was removed{others}.",
        chance=False,
        digits=0,
    ),
    Rule(
        "simex_gap",
        "SIMEX against uncorrected",
        3.0,
        10.0,
        "mean change of school means by SIMEX, without sign [percentile points]",
        "Correcting for measurement error moves school means little.",
        "{where}: correcting for measurement error moves school means by {size} points on average: say which "
        "of the two is reported{others}.",
        chance=False,
    ),
    Rule(
        "proof",
        "Optimality of the fits",
        1e-8,
        1e-6,
        "largest relative duality gap",
        "Every curve is proven optimal.",
        "{where}: a fit is not proven optimal (relative gap {size}){others}.",
        chance=False,
        digits=9,
    ),
)

RULES: dict[str, Rule] = {rule.name: rule for rule in _ALL}
CHANCE = sum(rule.chance for rule in _ALL)
"""Rules that share `FAMILY`."""


def level_of(comparisons: int) -> float:
    """Return the error probability of one of a rule's comparisons, two-sided."""
    return FAMILY / CHANCE / max(comparisons, 1)
