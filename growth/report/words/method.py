"""What was computed, in the order in which the data walk through it."""

from __future__ import annotations

from collections.abc import Iterator

from growth.release.published import least_of
from growth.report.labels import column_words, listed
from growth.report.words.text import Note, flow, traits_in_words
from growth.spec import GrowthSpec, School

__all__ = ["about_levels", "how_computed", "levels_in_words"]


def how_computed(spec: GrowthSpec, frozen_norms: bool = False) -> list[Note]:
    """Return the model in words, in the order in which the data walk through it."""
    return [
        Note("Similar students", _peers(spec)),
        Note("Who is compared", _cohorts(spec)),
        Note("A student's percentile", _percentile(spec)),
        Note("A school's result", _aggregate(spec)),
        Note("Growth percentile and band", _rank(spec, frozen_norms)),
        Note("Levels", levels_in_words(spec)),
        Note("Groups of students", _groups(spec)),
        Note("Small numbers", _minimum(spec)),
    ]


def _peers(spec: GrowthSpec) -> str:
    cohorts, traits = spec.cohorts, traits_in_words(spec)
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
    if traits_in_words(spec) and peers.missing == "exclude":
        parts.append("Students whose status is not known are counted out.")
    if traits_in_words(spec) and peers.missing == "indicator":
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
    return flow(
        f"""The average score of similar students is fitted by least squares on {_splines(spec)}; the
        spread of their scores may widen or narrow with that average. A student's growth percentile is the
        share of students below the student's score on a normal curve with this average and spread."""
    )


def _prediction(spec: GrowthSpec) -> str:
    terms = " and their squares" if spec.student.prior_terms == "quadratic" else ""
    return flow(
        f"""A score is predicted from the earlier scores{terms} by least squares. A student's growth
        percentile is the share of students in the same comparison whose scores lie less far above, or
        further below, what is predicted for them."""
    )


def _true_prediction(spec: GrowthSpec) -> str:
    correction = f"""The prediction is corrected for the error of measurement in the earlier scores, with the
        standard errors {_source_of_csem(spec)} (errors in variables; Fuller 1987)."""
    return f"{_prediction(spec)} {flow(correction)}"


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
    return flow(
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
    return flow(
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
        return flow(
            f"""The school's place, from 0 to 100, on a normal curve with the mean and spread of {schools}.
            The band runs between the places of the two ends of the school's 95% interval."""
        )
    place = (
        "The school's expected place" if spec.school.growth_percentile == "expected" else "The school's place"
    )
    return flow(
        f"""{place}, from 0 to 100, among {schools}. The band holds the middle 95% of the places
        that the school takes in {spec.school.band_draws:,} random draws of what students' results leave
        possible for it and for the schools it is compared with."""
    )


def levels_in_words(spec: GrowthSpec) -> str:
    """Return which percentiles are which level."""
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
        text += " " + flow(
            """The lowest racial/ethnic group is chosen in each school and subject. As the lowest of
            several it is low partly by chance, even where all groups are alike."""
        )
    return text


def _minimum(spec: GrowthSpec) -> str:
    school, group = least_of(spec)
    groups = "nor do groups of them" if school == group else f"nor do groups with fewer than {group}"
    return flow(
        f"""Schools with fewer than {school} student results get no result of their own, {groups}. Some larger
        groups are withheld as well: their numbers, taken from totals, would give a smaller one away. Which
        ones was worked out from everything that this page tells, so that no small number can be narrowed
        down to fewer than {min(school, group)} possible values."""
    )
