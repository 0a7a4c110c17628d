"""Are school results what they seem? Intake, variance, outliers, doubles, reversed flags."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from growth._types import BoolArray, FloatArray, IntArray
from growth.aggregate import by_group
from growth.diagnose.rules import level_of
from growth.diagnose.scored import BLOCK, Scored
from growth.diagnose.statistics import clustered_se, codes, correlation_bound, t_bound
from growth.diagnose.verdicts import Finding
from growth.pipeline import GrowthRun

__all__ = [
    "CORRELATION_CAUTION",
    "DISADVANTAGE",
    "correlations",
    "duplicated_schools",
    "flag_directions",
    "outlying_schools",
    "variance_components",
]

DISADVANTAGE = ("econ_disadvantaged", "english_learner", "disability", "homeless", "foster")
"""Flags whose students score lower than others in every system."""
CORRELATION_CAUTION = (
    "A student correlation of 0 is built into the model and says nothing about schools: with errors in the "
    "prior scores, results of schools with abler students are too high all the same. Where composition is "
    "taken out, a school correlation of 0 is built in as well."
)
_ALL = "All"
_COMMON = 5
"""Students whose scores are shared by more than so many are no evidence of a double."""
_TESTED = {"where": pl.String, "value": pl.Float64, "bound": pl.Float64}


def correlations(run: GrowthRun, scored: Scored) -> tuple[pl.DataFrame, pl.DataFrame, Finding, Finding]:
    """Return correlations of students' and of schools' results with prior scores and flags, side by side.

    Returns
    -------
    table : polars.DataFrame
        year, subject, kind ("prior", "flag", "level"), column, level, students, r_students, schools,
        r_schools with its 95 % interval r_low, r_high, composition.
    points : polars.DataFrame
        year, subject, school_id, n, mean_prior [SD within grade], mean_percentile; schools large enough.
    students, schools : Finding
    """
    frame = scored.frame.with_columns(_standardised("prior_score").alias("_z"))
    counts = by_group(frame, ["year", "subject"], pl.len().cast(pl.Int64).alias("students"))
    table = run.frames["neutrality"].join(counts, on=["year", "subject"], how="left", maintain_order="left")
    table = table.select(
        "year",
        "subject",
        "kind",
        "column",
        "level",
        "students",
        "r_students",
        "schools",
        pl.col("r").alias("r_schools"),
        "r_low",
        "r_high",
        "composition",
    )
    parts = (
        frame.drop_nulls("_z").sort("year", "subject").partition_by("year", "subject", maintain_order=True)
    )
    parts = [part for part in parts if part.height >= scored.minimum]
    own = [_student_correlation(part, level_of(len(parts))) for part in parts]
    prior = table.filter(pl.col("kind") == "prior", pl.col("r_schools").is_finite())
    level = level_of(prior.height)
    schools = [
        (f"{subject} {year}", r, correlation_bound(r, n, level))
        for year, subject, r, n in prior.select("year", "subject", "r_schools", "schools").iter_rows()
    ]
    return (
        table,
        _points(frame, run, scored.minimum),
        Finding("student_correlation", pl.DataFrame(own, _TESTED, orient="row")),
        Finding("school_correlation", pl.DataFrame(schools, _TESTED, orient="row")),
    )


def _standardised(name: str) -> pl.Expr:
    sd = pl.col(name).std().over(BLOCK)
    return pl.when(sd > 0).then((pl.col(name) - pl.col(name).mean().over(BLOCK)) / sd)


def _student_correlation(part: pl.DataFrame, level: float) -> tuple[str, float, float]:
    z, p = part["_z"].to_numpy(), part["percentile"].to_numpy()
    product = z * (p - p.mean()) / max(float(p.std()), 1e-12)
    se, df = clustered_se(product, codes(part["school_id"].to_list()))
    r = float(product.mean())
    return f"{part['subject'][0]} {part['year'][0]}", r, t_bound(r, se, df, level)


def _points(frame: pl.DataFrame, run: GrowthRun, minimum: int) -> pl.DataFrame:
    keys = ["year", "subject", "school_id"]
    shown = run.frames["schools"].filter(pl.col("group") == _ALL, pl.col("reason").is_null())
    means = by_group(
        frame.drop_nulls(["school_id", "_z"]),
        keys,
        pl.len().cast(pl.Int64).alias("n"),
        pl.col("_z").mean().alias("mean_prior"),
        (100 * pl.col("percentile").mean()).alias("mean_percentile"),
    )
    return means.filter(pl.col("n") >= minimum).join(shown.select(keys), on=keys, how="semi").sort(keys)


def variance_components(run: GrowthRun) -> tuple[pl.DataFrame, Finding, Finding]:
    """Return how much schools differ and how well that is known.

    Returns
    -------
    components : polars.DataFrame
        The frame `variance` of the run: all students and groups, SD between schools school_sd, within_sd
        [percentile points], icc, reliability.
    reliability, icc : Finding
        Of results for all students.
    """
    frame = run.frames["variance"].with_columns(pl.col("tau2").sqrt().alias("school_sd"))
    everyone = frame.filter(pl.col("group") == _ALL)
    span = pl.when(pl.col("span").is_null()).then(pl.lit("")).otherwise(pl.format(" ({})", pl.col("span")))
    where = pl.format("{} {}{}", pl.col("subject"), pl.col("year"), span).alias("where")

    high = pl.col("tau_high") ** 2
    error = pl.col("tau2") * (1 - pl.col("reliability")) / pl.col("reliability")
    # Where schools seem not to differ at all the error does not follow from the reliability.
    at_best = pl.when(pl.col("reliability") > 0).then(high / (high + error)).otherwise("reliability")
    value = {name: pl.col(name).alias("value") for name in ("reliability", "icc")}
    return (
        frame,
        Finding("reliability", everyone.select(where, value["reliability"], at_best.alias("bound"))),
        Finding("icc", everyone.select(where, value["icc"], pl.col("icc").alias("bound"))),
    )


def outlying_schools(run: GrowthRun) -> tuple[pl.DataFrame, Finding]:
    """Return how far schools' results lie from the mean, against what is expected of normal true effects.

    Returns
    -------
    schools : polars.DataFrame
        year, subject, school_id, n, effect, effect_se, z (distance from the mean of schools in SDs of true
        effects and error together), with a result for all students.
    finding : Finding
        How far |z| lies beyond the largest that chance makes of so many schools.
    """
    from scipy.stats import norm

    spread = run.frames["variance"].filter(pl.col("group") == _ALL)
    keys = ["year", "subject"] + (["span"] if spread["span"].null_count() == 0 else [])
    spread = spread.unique(keys, keep="none").select(*keys, "mean", "tau2")
    schools = run.frames["schools"].filter(pl.col("group") == _ALL, pl.col("reason").is_null())
    z = (pl.col("effect") - pl.col("mean")) / (pl.col("tau2") + pl.col("effect_se") ** 2).sqrt()
    frame = (
        schools.join(spread, on=keys, how="inner", maintain_order="left")
        .with_columns(z.alias("z"))
        .select("year", "subject", "school_id", "n", "effect", "effect_se", "z")
        .filter(pl.col("z").is_finite())
    )
    usual = float(norm.isf(level_of(frame.height) / 2))
    past = (pl.col("z").abs() - usual).clip(lower_bound=0)
    beyond = pl.when(pl.col("z") < 0).then(0.0 - past).otherwise(past).alias("value")
    where = pl.format("School {}, {} {}", "school_id", "subject", "year").alias("where")
    tested = frame.select(where, beyond).with_columns(pl.col("value").abs().alias("bound"))
    return frame, Finding("outlying_schools", tested)


def duplicated_schools(scored: Scored) -> tuple[pl.DataFrame, Finding]:
    """Return pairs of schools that hold students with the same scores.

    A student is known by all current and most recent prior scores of a year, subject by subject. Students
    whose scores occur more than five times are left out of the comparison, so that coarse scales tell nothing
    rather than something wrong.

    Returns
    -------
    pairs : polars.DataFrame
        year, school_id, other_school_id, n (students compared of the smaller school), same (of them with the
        scores of a student of the other school), share [%]; the closest hundred pairs.
    finding : Finding
    """
    keys = ["year", "school_id", "student_id"]
    marks = by_group(
        scored.frame.drop_nulls("school_id").select(
            *keys, pl.struct("subject", "grade", "score", "prior_score").hash(seed=1).alias("_row")
        ),
        keys,
        pl.col("_row").sort().alias("_rows"),
    ).select("year", "school_id", pl.col("_rows").hash(seed=2).alias("_mark"))
    marks = marks.filter(pl.len().over("year", "_mark") <= _COMMON)
    size = by_group(marks, ["year", "school_id"], pl.len().cast(pl.Int64).alias("n"))
    seen = marks.unique()
    met = seen.join(seen, on=["year", "_mark"], suffix="_other")
    met = met.filter(pl.col("school_id") < pl.col("school_id_other"))
    pairs = by_group(met, ["year", "school_id", "school_id_other"], pl.len().cast(pl.Int64).alias("same"))
    pairs = pairs.join(size, on=["year", "school_id"]).join(
        size.rename({"school_id": "school_id_other", "n": "n_other"}), on=["year", "school_id_other"]
    )
    pairs = pairs.with_columns(pl.min_horizontal("n", "n_other").alias("n"))
    pairs = pairs.filter(pl.col("n") >= scored.minimum).with_columns(share=100 * pl.col("same") / pl.col("n"))
    pairs = pairs.select(
        "year", "school_id", pl.col("school_id_other").alias("other_school_id"), "n", "same", "share"
    ).sort(["share", "year", "school_id", "other_school_id"], descending=[True, False, False, False])
    where = pl.format("Schools {} and {} in {}", "school_id", "other_school_id", "year").alias("where")
    tested = pairs.select(where, pl.col("share").alias("value"), pl.col("share").alias("bound"))
    if tested.is_empty():
        compared = size.filter(pl.col("n") >= scored.minimum).height
        none = [("all pairs of schools", 0.0, 0.0)] if compared > 1 else []
        tested = pl.DataFrame(none, _TESTED, orient="row")
    reason = "Scores are too coarse, or schools too few, to tell students apart by their scores."
    return pairs.head(100), Finding("duplicated_schools", tested, reason)


def flag_directions(scored: Scored, flags: tuple[str, ...]) -> tuple[pl.DataFrame, Finding]:
    """Return differences of prior scores between flagged and other students.

    Flags of disadvantage are expected to go with lower prior scores in the system and in each grade; in a
    school, any flag is expected to go the way it goes in the system.

    Parameters
    ----------
    scored : Scored
    flags : tuple of str
        Yes/no columns.

    Returns
    -------
    differences : polars.DataFrame
        year, subject, flag, by ("system", "grade", "school"), level, n_flagged, n_other, difference between
        students of the same school [SD of prior scores within grade], se; parts with students enough on both
        sides.
    finding : Finding
    """
    frame = scored.frame.with_columns(_standardised("prior_score").alias("_z")).drop_nulls("_z")
    rows: list[dict[str, object]] = []
    for part in frame.sort("year", "subject").partition_by("year", "subject", maintain_order=True):
        for flag in flags:
            known = part.drop_nulls(flag)
            rows += _differences(known, flag, scored.minimum)
    table = pl.DataFrame(rows, infer_schema_length=None)
    if table.is_empty():
        return table, Finding(
            "flags", pl.DataFrame(schema=_TESTED), "No yes/no columns with students enough."
        )
    in_system = {
        (row["year"], row["subject"], row["flag"]): float(row["difference"])
        for row in table.filter(pl.col("by") == "system").iter_rows(named=True)
    }
    level = level_of(table.height)
    tests = []
    for row in table.iter_rows(named=True):
        usual = -1.0 if row["flag"] in DISADVANTAGE else np.sign(in_system.get(_of(row), 0.0))
        if row["flag"] not in DISADVANTAGE and row["by"] == "system":
            continue
        against = max(0.0, -usual * row["difference"])
        bound = t_bound(against, row["se"], max(row["n_flagged"] - 1, 1), level) if against > 0 else 0.0
        place = {"system": "", "grade": f", grade {row['level']}", "school": f", school {row['level']}"}
        tests.append((f"{row['subject']} {row['year']}{place[row['by']]}, {row['flag']}", against, bound))
    return table, Finding("flags", pl.DataFrame(tests, _TESTED, orient="row"))


def _of(row: dict[str, object]) -> tuple[object, object, object]:
    return row["year"], row["subject"], row["flag"]


def _differences(part: pl.DataFrame, flag: str, minimum: int) -> Iterator[dict[str, object]]:
    z, flagged = part["_z"].to_numpy(), part[flag].to_numpy().astype(np.bool_)
    grade, school = part["grade"].to_numpy(), codes(part["school_id"].to_list())
    names = part["school_id"].to_list()
    key = {"year": part["year"][0], "subject": part["subject"][0], "flag": flag} if part.height else {}

    def compare(by: str, level: str, who: BoolArray) -> Iterator[dict[str, object]]:
        flag_here = flagged[who]
        n_flagged, n_other = int(flag_here.sum()), int((~flag_here).sum())
        if min(n_flagged, n_other) < minimum:
            return
        difference, se = within_schools_difference(z[who], flag_here, school[who])
        if np.isfinite(se):
            yield {
                **key,
                "by": by,
                "level": level,
                "n_flagged": n_flagged,
                "n_other": n_other,
                "difference": difference,
                "se": se,
            }

    everybody = np.ones(len(z), dtype=np.bool_)
    yield from compare("system", "all", everybody)
    for value in np.unique(grade):
        yield from compare("grade", str(value), grade == value)
    for code, at in zip(*np.unique(school, return_index=True), strict=True):
        if names[at] is not None:
            yield from compare("school", names[at], school == code)


def within_schools_difference(z: FloatArray, flagged: BoolArray, school: IntArray) -> tuple[float, float]:
    """Return by how much flagged students differ from others of the same school, and its standard error.

    Least squares with an effect per school; NaN where no school has both.
    """
    school = np.unique(school, return_inverse=True)[1]
    size = np.bincount(school)

    def deviation(values: FloatArray) -> FloatArray:
        return values - (np.bincount(school, weights=values) / size)[school]

    x, y = deviation(flagged.astype(np.float64)), deviation(z)
    length, free = float(x @ x), len(z) - len(size) - 1
    if length <= 0 or free < 1:
        return np.nan, np.nan
    slope = float(x @ y) / length
    rest = y - slope * x
    return slope, float(np.sqrt(rest @ rest / free / length))
