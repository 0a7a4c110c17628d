"""Paths of constant percentile: a slow twin, the curves themselves, and the R package's projections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import naive
import numpy as np
import polars as pl
import pytest
from golden import SUBJECTS, demo_bounds, golden_json, golden_members, golden_table, stored_bases

from growth._types import FloatArray
from growth.errors import GrowthError
from growth.panel import Pattern, Prior
from growth.quantile import SplineBasis, fit_quantiles, spline_design
from growth.spec import GrowthSpec
from growth.student import FrozenCohort, Traveller, growth_paths, path_at
from growth.student.models import Makeup, QuantileModel

GRID = (np.arange(100) + 0.5) / 100
EXACT = 2e-5
"""Values are rounded to 5 decimals: the last one may fall either way."""
MILLI = 1.1e-3
"""The package stores trajectories with 3 decimals, and its simplex stops at 1e-8 of a coefficient."""
BASIS = SplineBasis((420.0, 480.0, 520.0, 580.0), (300.0, 700.0))
SPEC = GrowthSpec.from_dict(
    {
        "scale": {"bounds": {"MATH": {"5": [300, 520]}}},
        "peers": {
            "flags": ["el", "swd"],
            "categories": ["race"],
            "reference": {"race": "white"},
            "interactions": ["el:prior", "swd:race"],
            "missing": "indicator",
        },
    }
)
COLUMNS = ("el", "swd", "race=black", "missing:el", "el:prior", "swd:race=black")


def _cohort(subject: str, grade: int, priors: list[tuple[str, int, int]], seed: int) -> FrozenCohort:
    """Return curves that rise with the priors and with tau, and cross here and there."""
    rng = np.random.default_rng(seed)
    p = 1 + 7 * len(priors) + len(COLUMNS)
    coef = rng.normal(0.0, 3.0, (100, p))
    coef[:, 0] = 250.0 + 100.0 * GRID
    for k in range(len(priors)):
        coef[:, 1 + 7 * k : 8 + 7 * k] += np.linspace(20.0, 300.0, 7) / len(priors)
    coef[:, p - 2] = 0.01 * GRID
    names = tuple(f"c{j}" for j in range(p))
    proof = np.zeros(100)
    model = QuantileModel((BASIS,) * len(priors), names, GRID, coef, (), proof, proof, ())
    pattern = Pattern(tuple(Prior(*prior) for prior in priors))
    makeup = Makeup(40.0, np.zeros(3), 25.0)
    return FrozenCohort(2025, subject, grade, pattern, "quantile", 500, COLUMNS, model, makeup)


COHORTS = (
    _cohort("MATH", 5, [("MATH", 1, 4)], 1),
    _cohort("MATH", 5, [("MATH", 1, 4), ("ELA", 1, 4)], 2),
    _cohort("MATH", 5, [("MATH", 1, 4), ("MATH", 2, 3), ("ELA", 1, 4)], 3),
    _cohort("MATH", 4, [("MATH", 1, 4)], 4),  # repeaters lead nowhere
    _cohort("ELA", 5, [("ELA", 1, 4), ("MATH", 1, 4)], 5),
    _cohort("MATH", 8, [("MATH", 3, 5), ("ELA", 3, 5)], 6),
    _cohort("MATH", 8, [("MATH", 3, 5), ("ELA", 2, 6)], 7),  # nobody knows grade 6
)


def _twin(
    cohort: FrozenCohort, priors: list[FloatArray], columns: Mapping[str, float], shift: float
) -> list[float]:
    """One student's next values, sum by sum; `priors` holds one score per curve, for each prior."""
    model = cohort.model
    assert isinstance(model, QuantileModel)
    values = []
    for t in range(100):
        row = [1.0]
        for prior in priors:
            row += list(naive.spline_columns(np.array([prior[t]]), BASIS.knots, BASIS.boundaries, 3)[0])
        row += [columns["el:prior"] * priors[0][t] if c == "el:prior" else columns[c] for c in COLUMNS]
        value = sum(x * b for x, b in zip(row, model.coef[t], strict=True)) + 25.0 * shift
        if (cohort.subject, cohort.grade) == ("MATH", 5):
            value = min(max(value, 300.0), 520.0)
        values.append(value)
    return [round(value, 5) for value in sorted(values)]


def test_paths_equal_a_slow_twin() -> None:
    scores = {
        ("MATH", 0, 4): np.array([455.0, 610.0]),
        ("ELA", 0, 4): np.array([500.0, 530.0]),
        ("MATH", 1, 3): np.array([430.0, 560.0]),
    }
    shift = {"MATH": np.array([0.3, -0.2])}
    traveller = Traveller(scores, frozenset({"el", "swd"}), {"race": "black"}, frozenset(), shift)
    steps = growth_paths(COHORTS, traveller, SPEC, steps=3)
    assert [(s.subject, s.grade, s.ahead) for s in steps] == [("ELA", 5, 1), ("MATH", 5, 1), ("MATH", 8, 4)]
    ela, math, later = steps
    assert [len(s.cohort.pattern) for s in steps] == [2, 3, 2]
    columns = dict.fromkeys(COLUMNS, 1.0) | {"missing:el": 0.0}
    for i in range(2):
        m4, e4, m3 = (np.full(100, scores[key][i]) for key in scores)
        twin_ela = _twin(ela.cohort, [e4, m4], columns, 0.0)
        twin_math = _twin(math.cohort, [m4, m3, e4], columns, shift["MATH"][i])
        np.testing.assert_allclose(ela.values[i], twin_ela, rtol=0, atol=EXACT)
        np.testing.assert_allclose(math.values[i], twin_math, rtol=0, atol=EXACT)
        on = _twin(later.cohort, [math.values[i], ela.values[i]], columns, shift["MATH"][i])
        np.testing.assert_allclose(later.values[i], on, rtol=0, atol=EXACT)
    assert math.values.max() == 520.0
    np.testing.assert_array_equal(path_at(math, (10, 50)), math.values[:, [9, 49]])


def test_what_is_not_known_is_refused() -> None:
    scores = {("MATH", 0, 4): np.array([500.0])}
    with pytest.raises(GrowthError, match="no column race=asian"):
        growth_paths(COHORTS, Traveller(scores, levels={"race": "asian"}), SPEC)
    with pytest.raises(GrowthError, match="no column missing:swd"):
        growth_paths(COHORTS, Traveller(scores, missing=frozenset({"swd"})), SPEC)
    with pytest.raises(GrowthError, match="next year's classmates"):
        growth_paths(COHORTS, Traveller(scores), SPEC.replace({"peers.composition": "one_step"}))
    with pytest.raises(GrowthError, match="no quantile curves"):
        growth_paths(COHORTS, Traveller(scores), GrowthSpec.preset("california"))
    with pytest.raises(GrowthError, match="No scores"):
        growth_paths(COHORTS, Traveller({}), SPEC)
    reference = growth_paths(COHORTS, Traveller(scores, levels={"race": "white"}), SPEC)
    plain = growth_paths(COHORTS, Traveller(scores), SPEC)
    np.testing.assert_array_equal(reference[0].values, plain[0].values)
    assert growth_paths(COHORTS, Traveller({("MATH", 0, 8): np.array([500.0])}), SPEC) == ()
    assert plain[0].cohort.pattern == Pattern((Prior("MATH", 1, 4),))
    with pytest.raises(GrowthError, match="100 taus"):
        path_at(replace(plain[0], taus=GRID[::20]), (50,))


@pytest.mark.parametrize(("subject", "grade"), [("MATH", 6), ("READ", 7)])
def test_projections_equal_the_package(golden_folder: Path, subject: str, grade: int) -> None:
    folder = golden_folder
    stored = golden_table(folder, "projections").filter(COHORT=f"{subject}_2025_G{grade}").sort("ID")
    bounds = {str(g): demo_bounds(folder, subject, g) for g in range(3, 11)}
    spec = GrowthSpec.preset("sgp").replace({"scale.bounds": {subject: bounds}})
    cohorts = [
        _golden_cohort(folder, subject, g, order) for g in range(grade + 1, 11) for order in range(1, 5)
    ]
    compared = 0
    for history in range(1, grade - 1):
        who = golden_members(folder, subject, grade, history - 1)
        if history < grade - 2:
            longer = golden_members(folder, subject, grade, history)
            who = who.join(longer, on="ID", how="anti")
        who = who.filter(pl.col("ID").is_in(stored["ID"].implode()))
        if who.is_empty():
            continue
        names = ["score", *(f"prior_{k}" for k in range(1, history))]
        scores = {
            (subject, back, grade - back): np.clip(who[name].to_numpy(), *bounds[str(grade - back)])
            for back, name in enumerate(names)
        }
        rows = stored.join(who.select("ID"), on="ID").sort("ID")
        steps = growth_paths(cohorts, Traveller(scores), spec, steps=9)
        assert [step.grade for step in steps] == list(range(grade + 1, 11))
        for step in steps:
            for v in (1, 20, 35, 50, 65, 80, 99):
                theirs = rows[f"P{v}_PROJ_YEAR_{step.ahead}_CURRENT_MILLI"].to_numpy() / 1000
                np.testing.assert_allclose(path_at(step, (v,))[:, 0], theirs, rtol=0, atol=MILLI)
                compared += len(theirs)
    assert compared >= 7 * stored.height


def _golden_cohort(folder: Path, subject: str, grade: int, order: int) -> FrozenCohort:
    members = golden_members(folder, subject, grade, order)
    knots = golden_json(folder, "knots_boundaries")["demo_state_knots_boundaries"][SUBJECTS[subject]]
    bases = stored_bases({"knots": knots, "boundaries": knots}, grade, order)
    priors = members.select(f"prior_{k}" for k in range(1, order + 1)).to_numpy()
    process = fit_quantiles(spline_design(priors, bases), members["score"].to_numpy(), GRID)
    pattern = Pattern(tuple(Prior(subject, k, grade - k) for k in range(1, order + 1)))
    return FrozenCohort(
        2025, subject, grade, pattern, "quantile", len(members), (), QuantileModel.of(process, bases)
    )
