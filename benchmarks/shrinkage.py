"""Schools: EBLP at the size of a state, and how well intervals cover where schools are few."""

from __future__ import annotations

import time

import numpy as np
from scipy.stats import rankdata

from benchmarks.sections import Section, forget_peak, peak_gb
from benchmarks.table import markdown
from growth._types import FloatArray, VarianceRule
from growth.school.eblp import EblpOptions, StudentBlocks, Target, eblp
from growth.school.posterior import Observed, posterior_draws, shrunken
from growth.school.spread import Expected, spread
from growth.school.standing import TENS, standing_of_ranks

YEARS, GRADES, SUBJECTS = 3, 6, 2
SPANS = np.array([[0, 2], [3, 5], [0, 5]])
"""First and last grade of elementary, middle and K-8 schools."""
RULES: tuple[VarianceRule, ...] = ("moments", "reml", "integrated")
ASKED = 120.0
"""Wall-clock seconds for 10,000 schools on two cores."""


def state(schools: int, threads: int = 2) -> Section:
    """Measure EBLP of 3 years x 6 grades x 2 subjects with its jackknife, in this process."""
    students = draw_state(schools)
    latest = tuple(range((YEARS - 1) * GRADES * SUBJECTS, students.blocks))
    targets = {"latest year": Target(latest), "latest math": Target(latest[::SUBJECTS])}
    forget_peak()
    before, start = peak_gb(), time.perf_counter()
    found = eblp(students, targets, EblpOptions(n_jobs=threads))
    seconds = time.perf_counter() - start
    numbers = {
        "rows": float(len(students.value)),
        "students": float(len(np.unique(students.student))),
        "schools": float(schools),
        "blocks": float(students.blocks),
        "cells": float(found.cells),
        "seconds": seconds,
        "peak_gb": peak_gb(),
        "data_gb": before,
    }
    for (name,), part in found.schools.group_by("target", maintain_order=True):
        numbers[f"median prmse, {name}"] = float(np.median(part["prmse"].drop_nulls().to_numpy()))
    body = [[name, f"{value:,.0f}" if value >= 100 else f"{value:.2f}"] for name, value in numbers.items()]
    text = (
        f"{threads} threads, 50 jackknife batches. Asked for 10,000 schools: under {ASKED:.0f} s.\n\n"
        + markdown(["", "measured"], body)
    )
    return Section("EBLP", text, numbers)


def draw_state(schools: int, seed: int = 1) -> StudentBlocks:
    """Draw schools of a state with students who move up through the grades; 6 % change school in a year."""
    rng = np.random.default_rng(seed)
    span = SPANS[rng.choice(3, schools, p=[0.55, 0.3, 0.15])]
    size = np.clip(np.exp(rng.normal(np.log(42.0), 0.7, schools)), 3, 400)
    blocks = YEARS * GRADES * SUBJECTS
    level = rng.normal(0, 0.2, (schools, 1)) + rng.normal(0, 0.12, (schools, blocks))
    parts: list[tuple[FloatArray, ...]] = []
    first = 0
    for entry in range(1 - YEARS, GRADES):
        school = np.repeat(np.arange(schools), rng.poisson(size))
        student = first + np.arange(len(school))
        first += len(school)
        able = rng.standard_normal(len(school))
        for year in range(YEARS):
            moves = rng.random(len(school)) < 0.06
            school = np.where(moves, rng.integers(0, schools, len(school)), school)
            grade = entry + year
            here = (span[school, 0] <= grade) & (grade <= span[school, 1])
            shared = rng.standard_normal(len(school))
            for subject in range(SUBJECTS):
                block = (year * GRADES + grade) * SUBJECTS + subject
                there = np.flatnonzero(here & (rng.random(len(school)) < 0.93))
                if len(there):
                    noise = 0.3 * able * (-1) ** year + 0.6 * shared + 0.7 * rng.standard_normal(len(school))
                    value = level[school[there], block] + noise[there]
                    parts.append((student[there], school[there], np.full(len(there), block), value))
    columns = (np.concatenate(part) for part in zip(*parts, strict=True))
    return StudentBlocks(*columns, schools, blocks)


def coverage(systems: int) -> Section:
    """Measure what share of true effects and of true ranks 95 % intervals hold, rule by rule."""
    body: list[list[str]] = []
    numbers: dict[str, float] = {}
    for schools in (10, 30, 100):
        for tau in (1.5, 4.0):
            row = [str(schools), str(tau)]
            for rule in RULES:
                seeds = ([system, schools, int(10 * tau)] for system in range(systems))
                effects, ranks, error = np.mean([_covered(seed, schools, tau, rule) for seed in seeds], 0)
                row.append(f"{100 * effects:.0f} / {100 * ranks:.0f} / {np.sqrt(error):.2f}")
                key = f"{schools} schools, SD {tau}, {rule}"
                numbers |= {f"{key}: effects": effects, f"{key}: ranks": ranks}
            body.append(row)
    text = (
        "Intervals of true effects [%] / rank bands [%] / root mean squared error of shrunken effects; "
        f"SEs of 2 to 6 points, {systems} systems each.\n\n"
    )
    return Section("Coverage", text + markdown(["schools", "SD between", *RULES], body), numbers)


def _covered(seed: list[int], schools: int, tau: float, rule: VarianceRule) -> tuple[float, float, float]:
    rng = np.random.default_rng(seed)
    se = rng.uniform(2.0, 6.0, schools)
    truth = 50.0 + tau * rng.standard_normal(schools)
    effect = truth + se * rng.standard_normal(schools)
    found = shrunken(Observed(effect, se, Expected.alike(schools), spread(effect, se, rule)))
    draws = posterior_draws(found, 1000, rng)
    band = standing_of_ranks(draws, np.sort(draws, axis=1), TENS)
    low, high = band.low, band.high
    rank = 100.0 * (rankdata(truth) - 0.5) / schools
    inside = np.abs(found.mean - truth) <= 1.96 * found.sd
    return inside.mean(), ((low <= rank) & (rank <= high)).mean(), ((found.mean - truth) ** 2).mean()
