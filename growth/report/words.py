"""What was computed, how to read it and what it cannot say, in plain sentences with this run's numbers.

Every sentence follows from the specification or from the results: change a choice and the page says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from growth.report.disclosure import least_published
from growth.report.labels import column_words, in_sentence, listed
from growth.report.results import BlockFacts, PageFacts
from growth.spec import GrowthSpec, School
from growth.student import interval_sentence

__all__ = [
    "Note",
    "about_fairness",
    "about_levels",
    "example_sentence",
    "how_computed",
    "how_to_read",
    "lead",
    "limits",
]

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


@dataclass(frozen=True, slots=True)
class Note:
    """A short heading and the sentences under it."""

    title: str
    text: str


def lead(facts: PageFacts) -> str:
    """Return the paragraph that opens the page: who, when, what, how many."""
    subjects = listed(map(in_sentence, facts.subject_names))
    per = "one per subject and year" if len(facts.years) > 1 else "one per subject"
    return _flow(
        f"""This page reports how far students got in {subjects} in {listed(map(str, facts.years))}, compared
        with students like them. {facts.students:,} students in {_span(facts.grades)} have {facts.results:,}
        growth percentiles, {per}; {facts.schools_reported:,} of {facts.schools:,} schools have enough of
        them for a result of their own."""
    )


def how_to_read(spec: GrowthSpec) -> list[Note]:
    """Return how a growth percentile, its band and its level are read."""
    brackets = (
        " The levels in brackets are those that the band covers." if spec.levels.rule == "fixed_tens" else ""
    )
    return [
        Note("Growth percentile", _flow(_GROWTH_PERCENTILE)),
        Note("Band", _flow(_BAND)),
        Note("Level", _levels(spec) + brackets),
        Note("Rounding", _flow(_ROUNDING)),
    ]


def limits(spec: GrowthSpec, facts: PageFacts) -> list[Note]:
    """Return what the numbers cannot say."""
    return [
        Note("Not a cause", _flow(_NOT_A_CAUSE)),
        Note("Ranks are uncertain", _rank_uncertainty(facts)),
        Note("Levels are plus or minus one", _flow(_PLUS_OR_MINUS_ONE)),
        Note("Single students are noisier still", f"{_flow(_SINGLE_STUDENTS)} {interval_sentence(spec)}"),
        Note("Averages of groups", _pinned(spec)),
        Note("Test error and intake", _neutrality(spec, facts)),
    ]


def how_computed(spec: GrowthSpec, frozen_norms: bool = False) -> list[Note]:
    """Return the model in words, in the order in which the data walk through it."""
    return [
        Note("Similar students", _peers(spec)),
        Note("Who is compared", _cohorts(spec)),
        Note("A student's percentile", _percentile(spec)),
        Note("A school's result", _aggregate(spec)),
        Note("Growth percentile and band", _rank(spec, frozen_norms)),
        Note("Levels", _levels(spec)),
        Note("Groups of students", _groups(spec)),
        Note("Small numbers", _minimum(spec)),
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


def _flow(text: str) -> str:
    """Return a text written over several lines as one."""
    return " ".join(text.split())


def _span(grades: tuple[int, ...]) -> str:
    """Return ``"grades 3–8 and 11"``."""
    if len(grades) < 2:
        return f"grade {grades[0]}" if grades else "no grade"
    starts = [grades[0], *(after for before, after in pairwise(grades) if after != before + 1)]
    ends = [*(before for before, after in pairwise(grades) if after != before + 1), grades[-1]]
    runs = zip(starts, ends, strict=True)
    return "grades " + listed(f"{first}" if first == last else f"{first}–{last}" for first, last in runs)


def _traits(spec: GrowthSpec) -> list[str]:
    return [column_words(name) for name in (*spec.peers.flags, *spec.peers.categories)]


def _peers(spec: GrowthSpec) -> str:
    cohorts, traits = spec.cohorts, _traits(spec)
    similar = [
        "about the same score in the same subject the year before"
        if cohorts.own_priors == 1
        else f"about the same earlier scores in the same subject (up to {cohorts.own_priors} of them)"
    ]
    if cohorts.other_priors:
        many = "score" if cohorts.other_priors == 1 else f"scores (up to {cohorts.other_priors})"
        where = listed(cohorts.other_subjects) if cohorts.other_subjects else "each other subject"
        similar.append(f"about the same earlier {many} in {where}")
    if traits:
        similar.append(f"the same status on {listed(traits)}")
    parts = [f"Students are similar when they have {'; '.join(similar)}."]
    if not traits:
        parts.append("Characteristics such as poverty or disability are not part of the comparison.")
    parts += _details(spec)
    for grade, priors in sorted(cohorts.progressions.items()):
        grades = "grade" if len(priors) == 1 else "grades"
        parts.append(f"For grade {grade} the earlier scores come from {grades} {listed(map(str, priors))}.")
    return " ".join(parts)


def _details(spec: GrowthSpec) -> list[str]:
    """Return what else the peer definition says, one sentence per choice."""
    peers = spec.peers
    parts = []
    if peers.interactions:
        pairs = (" with ".join(_term_words(name) for name in term.split(":")) for term in peers.interactions)
        parts.append(f"These count together as well: {listed(pairs)}.")
    if _traits(spec) and peers.missing == "exclude":
        parts.append("Students whose status is not known are counted out.")
    if _traits(spec) and peers.missing == "indicator":
        parts.append("Students whose status is not known form groups of their own.")
    if peers.composition == "one_step":
        parts.append("The make-up of the school, as averages over its students, is part of it as well.")
    elif peers.composition == "two_step":
        shares = (
            f" and their shares of {listed(column_words(flag) for flag in peers.flags)}"
            if peers.flags
            else ""
        )
        parts.append(
            f"What goes with the average earlier score of a school's students{shares} is taken out of the "
            "scores first, in two steps (Ehlert, Koedel, Parsons & Podgursky 2016): differences between "
            "students of the same school give the slopes, differences between schools what goes with these "
            "averages."
        )
    else:
        parts.append("What kind of students attend the same school is not part of it.")
    return parts


def _term_words(name: str) -> str:
    return "the earlier score" if name == "prior" else column_words(name)


def _cohorts(spec: GrowthSpec) -> str:
    cohorts = spec.cohorts
    parts = ["One comparison per grade, subject and year, and per set of earlier scores that students have."]
    if cohorts.orders == "nested":
        parts.append("Students who lack some of the earlier scores are compared on those that they do have.")
    else:
        parts.append("Students who lack any of the earlier scores are counted out.")
    if cohorts.repeaters == "exclude":
        parts.append("Students who took the same grade's test in the year before are counted out.")
    else:
        parts.append("Students who repeat a grade are compared with one another.")
    if cohorts.min_cohort > 1:
        parts.append(f"Comparisons with fewer than {cohorts.min_cohort:,} students are not made.")
    return " ".join(parts)


def _percentile(spec: GrowthSpec) -> str:
    return {
        "quantile": _curves,
        "normal": _normal,
        "eiv": _true_prediction,
        "residual_gain": _prediction,
    }[spec.student.engine](spec)


def _normal(spec: GrowthSpec) -> str:
    return _flow(
        f"""The average score of similar students is fitted by least squares on {_splines(spec)}; the
        spread of their scores may widen or narrow with that average. A student's growth percentile is the
        share of students below the student's score on a normal curve with this average and spread."""
    )


def _prediction(spec: GrowthSpec) -> str:
    terms = " and their squares" if spec.student.prior_terms == "quadratic" else ""
    return _flow(
        f"""A score is predicted from the earlier scores{terms} by least squares. A student's growth
        percentile is the share of students in the same comparison whose scores lie less far above, or
        further below, what is predicted for them."""
    )


def _true_prediction(spec: GrowthSpec) -> str:
    correction = f"""The prediction is corrected for the error of measurement in the earlier scores, with the
        standard errors {_source_of_csem(spec)} (errors in variables; Fuller 1987)."""
    return f"{_prediction(spec)} {_flow(correction)}"


def _source_of_csem(spec: GrowthSpec) -> str:
    return {
        "column": "published for each score",
        "table": "published by the testing program for each grade and subject",
        "function": "supplied with the data",
    }[spec.measurement.csem]


def _simex(spec: GrowthSpec) -> str:
    rules = spec.simex
    if rules.use == "none":
        return ""
    most = f"{max(rules.lambdas):g}"
    return _flow(
        f"""Beside it stands one that is corrected for the error of measurement in the earlier scores, with
        the standard errors {_source_of_csem(spec)}: the curves are fitted again to earlier scores with more
        and more error, up to {most} times its variance added, {rules.replicates} times each, and a
        {rules.extrapolation} trend leads back to scores without error (SIMEX; Shang, VanIwaarden &
        Betebenner 2015). Ranked among all students of the comparison it is spread evenly again (ranked SIMEX;
        Castellano & McCaffrey 2017). Corrected percentiles serve averages over many students; one student's
        is less certain than the uncorrected one."""
    )


def _splines(spec: GrowthSpec) -> str:
    basis = spec.basis
    if basis.degree == 1 and not basis.knot_quantiles and not basis.fixed:
        return "the earlier scores, along straight lines"
    degree = {1: "linear", 2: "quadratic", 3: "cubic"}.get(basis.degree, f"degree-{basis.degree}")
    shares = listed(f"{100 * quantile:g}" for quantile in basis.knot_quantiles)
    inner = f"with knots at their {shares}% quantiles" if shares else "without inner knots"
    knots = "with fixed knots" if basis.fixed else inner
    return f"{degree} B-splines of the earlier scores, {knots}"


def _curves(spec: GrowthSpec) -> str:
    curves = len(spec.quantiles.grid())
    order = (
        "Where curves would cross they are put in order (Chernozhukov, Fernández-Val & Galichon 2010)."
        if spec.quantiles.rearrange
        else ""
    )
    return _flow(
        f"""{curves} curves of the scores that similar students reach, from low to high, are fitted by
        quantile regression on {_splines(spec)}. {order} A student's
        growth percentile is the share of similar students whom the curves place below the student's
        score (Betebenner 2009). {_simex(spec)}"""
    )


def _aggregate(spec: GrowthSpec) -> str:
    school = spec.school
    kind = "whole-number (1 to 99)" if "integer" in school.percentile else "unrounded"
    if school.percentile.startswith("simex"):
        kind += ", ranked SIMEX" if "ranked" in school.percentile else ", SIMEX"
    what = {
        "mean": f"The mean of its students' {kind} percentiles.",
        "median": f"The median of its students' {kind} percentiles.",
        "trimmed_mean": f"The mean of its students' {kind} percentiles without the lowest and the highest "
        f"{school.trim:.0%} of them.",
        "mean_residual": "The mean of what its students' scores lie above those of similar students.",
    }
    parts = [what[school.aggregate]]
    if school.years > 1:
        parts.append("Students of the year and of the two years before it count.")
    if school.share != "none":
        parts.append("A student counts by the share of the year spent in the school.")
    if school.enrolled_only:
        parts.append("Only students enrolled for the full year count.")
    return " ".join([*parts, *_shrinkage(school)])


def _shrinkage(school: School) -> Iterator[str]:
    predicted = school.shrinkage == "eblp"
    if predicted:
        yield (
            "It is predicted from the school's results in all years, grades and subjects of the run, where "
            "that is more accurate than the observed average (EBLP)."
        )
    if school.shrinkage == "empirical_bayes" or (predicted and school.eblp.afterwards == "empirical_bayes"):
        yield (
            "It is moved towards the average of the schools, the more so the fewer students stand behind it "
            "(empirical Bayes), because results of few students swing most by chance."
        )
    elif school.shrinkage == "sgp":
        yield "It is moved towards 50 by the R package's rule, in whole percentiles and without a band."
    elif not predicted:
        yield "Results are not shrunken, so those of few students swing most by chance."


def _rank(spec: GrowthSpec, frozen_norms: bool) -> str:
    schools = (
        "the schools of an earlier year, kept as they were so that all schools can improve"
        if frozen_norms
        else "the schools of the same subject and year"
    )
    if spec.school.norms_by == "span":
        schools += " and the same grade span"
    if spec.school.growth_percentile == "normal":
        return _flow(
            f"""The school's place, from 0 to 100, on a normal curve with the mean and spread of {schools}.
            The band runs between the places of the two ends of the school's 95% interval."""
        )
    place = (
        "The school's expected place" if spec.school.growth_percentile == "expected" else "The school's place"
    )
    return _flow(
        f"""{place}, from 0 to 100, among {schools}. The band holds the middle 95% of the places
        that the school takes in {spec.school.band_draws:,} random draws of what students' results leave
        possible for it and for the schools it is compared with."""
    )


def _levels(spec: GrowthSpec) -> str:
    if spec.levels.rule == "fixed_tens":
        return "Percentiles 0–9 are level 1, 10–19 level 2, and so on to 90–100, level 10."
    return "Ten levels with cut points at the tenths of the schools of the base year, kept for later years."


def about_levels(spec: GrowthSpec, frozen_norms: bool) -> str:
    """Return the paragraph above the charts of levels."""
    parts = ["Number of schools at each level, for all students and for groups."]
    if not frozen_norms and spec.school.growth_percentile == "rank":
        parts.append(
            "Schools are ranked among one another, so their results for all students spread evenly over "
            "the levels by construction."
        )
    parts.append("Groups have results in fewer schools, because small groups are withheld.")
    return " ".join(parts)


def _groups(spec: GrowthSpec) -> str:
    groups = spec.groups
    if not groups.flags and not groups.race:
        return "No results for groups of students were asked for."
    schools = "for all students" if groups.reference == "all_students" else "for the same group"
    text = f"The same student percentiles within each group, ranked among schools' results {schools}."
    if groups.shrink_towards == "school":
        text += " A group's result is moved towards what the school's other students make expect of it."
    if groups.race and groups.lowest_race:
        text += " " + _flow(
            """The lowest racial/ethnic group is chosen in each school and subject. As the lowest of
            several it is low partly by chance, even where all groups are alike."""
        )
    return text


def _minimum(spec: GrowthSpec) -> str:
    school, group = least_published(spec.school.min_n), least_published(spec.groups.min_n)
    groups = "nor do groups of them" if school == group else f"nor do groups with fewer than {group}"
    return _flow(
        f"""Schools with fewer than {school} student results get no result of their own, {groups}. Where a
        count would give away a group smaller than {group}, the page says “{group} or more” instead."""
    )


def about_fairness(spec: GrowthSpec) -> list[Note]:
    """Return how the two tables of the fairness ledger are read."""
    traits = _traits(spec)
    peers = listed([*traits, *(["the make-up of the school"] if spec.peers.composition != "none" else [])])
    between = (
        f"Unadjusted results compare students with the same earlier scores and nothing else; adjusted "
        f"results, those of this page, with {peers} as well. Groups in the model, marked *, average "
        "close to 50 by construction once adjusted: read the unadjusted number to see how they fare."
        if peers
        else "Students are compared on earlier scores and nothing else: groups differ as their growth does."
    )
    intake = _flow(
        """A correlation near zero means that results do not go with the students a school gets. Each school
        counts once; intervals are by Fisher's z. The correlation between students is near zero for everything
        in the model by construction, and no evidence that schools are treated alike."""
    )
    price = (
        " "
        + _flow(
            """The make-up of schools is in the model, so schools are compared with schools like them: whether
            schools of one kind are more effective than those of another cannot be seen here."""
        )
        if spec.peers.composition != "none"
        else ""
    )
    return [Note("Groups of students", between), Note("Schools and their intake", intake + price)]


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
    traits = _traits(spec)
    if not traits:
        return _flow(
            """Student characteristics are not in the model, so the averages of student groups differ as their
            growth differs, and schools with many students of a group share in that difference."""
        )
    named = listed(traits)
    are = "is" if len(traits) == 1 else "are"
    return _flow(
        f"""{named[:1].upper()}{named[1:]} {are} in the model. The average of such a group over the whole
        system is therefore close to 50 by construction, whatever the system does for it. It can show
        differences between schools, never how a group is served overall."""
    )


def _neutrality(spec: GrowthSpec, facts: PageFacts) -> str:
    found = [
        f"{block.label}: correlation of growth with the earlier score {block.r_students:+.2f} between "
        f"students, {block.r_schools:+.2f} between schools."
        for block in facts.blocks
        if block.r_students is not None and block.r_schools is not None
    ]
    if spec.student.engine == "eiv":
        first = _flow(
            """Tests measure with error. The prediction is corrected for it, so that students with high
            earlier scores fall short of it more often than others: part of what put them high was error. Over
            the students of a school these errors average out; look at the correlation between schools."""
        )
    elif spec.school.percentile.startswith("simex"):
        first = _flow(
            """Tests measure with error. Students' percentiles are corrected for it, so that those with high
            earlier scores tend to have lower ones: part of what put them high was error. Over the students of
            a school these errors average out; look at the correlation between schools."""
        )
    else:
        first = _flow(
            """Tests measure with error, and that error ties the results of schools to the achievement of the
            students who come to them. A correlation near zero between students holds by construction and
            does not rule this out; look at the one between schools."""
        )
    return " ".join([first, *found])
