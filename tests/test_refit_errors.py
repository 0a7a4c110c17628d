"""The full-refit bootstrap against brute force and against the spread of results over new students."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.special import ndtr

import growth
from growth._types import FloatArray
from growth.errors import SpecError
from growth.panel import build_panels, read_table
from growth.pipeline.bootstrap import Refits, draw_schools, draw_students, repeated
from growth.pipeline.students import Fitted, students_frame
from growth.quantile import fit_quantiles
from growth.school import school_growth, school_inputs
from growth.spec import GrowthSpec
from growth.student import compose, student_growth

SAME_CURVES = 1e-9
"""Percentiles of two exact fits to the same students, one of them with weights for repeats."""

PLAIN: dict[str, Any] = {
    "cohorts.min_cohort": 0,
    "cohorts.progressions": {},
    "peers.flags": ["econ_disadvantaged"],
    "peers.composition": "none",
    "peers.schools_per_trait": 2,
    "groups.race": "",
    "quantiles.count": 20,
    "school.standard_error": "refit",
    "school.replicates": 20,
    "school.min_n": 10,
    "groups.min_n": 10,
}


def spec_of(**changes: object) -> GrowthSpec:
    return (
        GrowthSpec.preset("core")
        .replace(PLAIN | {key.replace("__", "."): value for key, value in changes.items()})
        .replace({"name": "refits"})
    )


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return pl.DataFrame(growth.simulate_table(1_200, 10, years=1, seed=4).table)


def refits(table: pl.DataFrame, spec: GrowthSpec) -> Refits:
    source = read_table(table, spec)
    panels = compose(build_panels(source, spec), spec).panels
    fitted = [Fitted(panel, student_growth(panel, spec), None, 0.0) for panel in panels.panels]
    students = students_frame(source, panels, fitted, spec)
    return Refits.of(source, panels, fitted, [school_inputs(students, spec)], spec)


def stream() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize("draw", [draw_schools, draw_students])
def test_a_sample_is_what_fitting_from_scratch_to_repeated_students_gives(
    table: pl.DataFrame, draw: Callable[..., FloatArray]
) -> None:
    one = refits(table, spec_of())
    counts = draw(one.strata, stream())
    assert set(counts) >= {0.0, 1.0, 2.0}
    percentiles = []
    for cohort in one.cohorts:
        panel, spec = cohort.fitted.panel, one.spec
        again = np.repeat(np.arange(len(panel)), counts[panel.row].astype(int))
        cold = fit_quantiles(cohort.design[again], panel.score[again], spec.quantiles.grid())
        percentiles.append(cold.score(cohort.design, panel.score, digits=5).percentile)
    expected = 100 * np.concatenate(percentiles)[one.place]
    found, value = one.placed(counts)
    assert value is found
    # Where repeated rows tie, another and equally optimal set of rows may be interpolated.
    differing = np.abs(found - expected) > 100 * SAME_CURVES
    assert differing.mean() < 0.02
    mean = one.samples[0].statistics(found, value, None)["All"][0][0]
    units = one.samples[0].statistics(expected, expected, None)["All"][0][0]
    np.testing.assert_allclose(mean, units, atol=0.1)


def test_students_are_drawn_within_their_schools(table: pl.DataFrame) -> None:
    one = refits(table, spec_of())
    counts = draw_students(one.strata, stream())
    times = pl.DataFrame({"student": one.strata.student, "times": counts}).unique()
    assert times["student"].is_unique().all()  # a student is drawn as a whole, in every subject
    school = one.strata.school[times["student"].to_numpy()]
    for code in np.unique(school):
        assert times["times"].to_numpy()[school == code].sum() == (school == code).sum()


def test_schools_are_drawn_whole_and_the_same_in_every_subject(table: pl.DataFrame) -> None:
    one = refits(table, spec_of())
    counts = draw_schools(one.strata, stream())
    times: dict[int, set[float]] = {}
    for cohort in one.cohorts:
        panel = cohort.fitted.panel
        assert panel.school is not None
        for school in np.unique(panel.school[panel.school >= 0]):
            times.setdefault(int(school), set()).update(counts[panel.row[panel.school == school]].tolist())
    assert all(len(found) == 1 for found in times.values())
    assert sum(next(iter(found)) for found in times.values()) == len(times)


def test_composition_is_taken_out_anew_in_every_sample(table: pl.DataFrame) -> None:
    one = refits(table, spec_of(peers__composition="two_step"))
    counts = draw_schools(one.strata, stream())
    offsets = one._offsets(counts)
    drawn = tuple(repeated(cohort.fitted.panel, counts) for cohort in one.cohorts)
    composed = compose(replace(one.panels, panels=drawn), one.spec)
    moved = 0.0
    for panel, cohort in zip(composed.panels.panels, one.cohorts, strict=True):
        ours = cohort.fitted.panel
        place = {int(row): k for k, row in enumerate(ours.row)}
        assert panel.offset is not None
        assert ours.offset is not None
        at = [place[int(row)] for row in panel.row]
        np.testing.assert_allclose(panel.offset, offsets[ours.key][at], rtol=1e-9, atol=1e-9)
        moved += float(np.abs(offsets[ours.key] - ours.offset).max())
    assert moved > 0.1


def test_threads_change_nothing_and_every_frame_has_its_errors(table: pl.DataFrame) -> None:
    spec = spec_of(peers__composition="two_step", school__composite="results", school__by_span=True)
    spec = spec.replace({"cohorts.grades": [5, 6]})
    one, two = (growth.run(table, spec, n_jobs=jobs) for jobs in (1, 2))
    for name in ("schools", "spans", "variance"):
        assert_frame_equal(one.polars(name), two.polars(name), check_exact=True)
    shown = one.polars("schools").filter(pl.col("reason").is_null())
    assert set(shown["subject"]) == {"ELA", "MATH", "COMPOSITE"}
    assert shown["effect_se"].is_between(0.5, 30.0).all()
    pooled = growth.run(table, spec.replace({"school.standard_error": "pooled"})).polars("schools")
    assert_frame_equal(
        pooled.select("school_id", "n", "effect"), one.polars("schools").select("school_id", "n", "effect")
    )


def test_errors_cover_what_schools_do_to_the_curves() -> None:
    """Ten schools that differ: which ten there are moves the curves, and with them every school's result."""
    spec = spec_of(
        peers__flags=[], groups__flags={}, school__replicates=40, cohorts__other_priors=0, quantiles__count=10
    ).replace({"school.shrinkage": "none"})
    schools, n, spread = 10, 40, 0.4
    misses, stated, sampling = [], [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        school = np.repeat(np.arange(schools), n)
        effect = spread * rng.standard_normal(schools)
        prior = 2500 + 60 * rng.standard_normal(schools * n)
        score = prior + 60 * (effect[school] + rng.standard_normal(schools * n))
        ids, places = [f"{i:04d}" for i in range(schools * n)], [f"S{s}" for s in school]
        years = [
            pl.DataFrame({"student_id": ids, "year": y, "grade": g, "score": x, "school_id": places})
            for y, g, x in ((2024, 4, prior), (2025, 5, score))
        ]
        frame = pl.concat(years).with_columns(subject=pl.lit("MATH"))
        found = growth.run(frame, spec).polars("schools").sort("school_id")
        truth = 100 * ndtr(effect / np.sqrt(2 + spread**2))
        misses.append(found["effect"].to_numpy() - truth)
        stated.append(found["effect_se"].to_numpy())
        sampling.append(27.0 / np.sqrt(n))
    real = np.sqrt(np.mean(np.square(misses)))
    # 30 systems whose schools share a shift: Monte-Carlo error of the spread about 7 %.
    assert 0.85 < np.sqrt(np.mean(np.square(stated))) / real < 1.15
    covered = np.mean(np.abs(misses) < 1.96 * np.array(stated))
    assert 0.93 < covered < 0.98
    assert np.mean(np.abs(misses) < 1.96 * np.array(sampling)[:, None]) < covered - 0.02


@pytest.mark.parametrize(
    "changes",
    [{"student.engine": "normal", "quantiles.count": 100}, {"school.percentile": "integer"}],
)
def test_what_cannot_be_refitted_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="refit"):
        spec_of().replace(changes)


def test_the_school_room_alone_cannot_refit(table: pl.DataFrame) -> None:
    spec = spec_of()
    students = growth.run(table, spec.replace({"school.standard_error": "pooled"})).polars("students")
    with pytest.raises(SpecError, match=r"growth\.run"):
        school_growth(students, spec)
