"""The drift audit: +0.2 SD in a later year shows under a frozen norm, and not under one that moves along."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import growth
from growth import GrowthRun, GrowthSpec, drift_audit
from growth.errors import SpecError
from growth.store import save_bundle, save_run

SHIFT = 0.2
"""Of all scores of the later year [SDs of the score within grade]."""
STILL = 0.25
"""Levels. Ranks among one's own year average 50, but whole levels of thirty schools may be rounded."""
LITTLE = 1.0
"""Levels: how much the mean of thirty schools, drawn anew, moves by chance in another year's norm."""
SPEC = GrowthSpec.preset("core").replace(
    {"peers.composition": "none", "groups.flags": {}, "groups.race": "", "cohorts.grades": (4, 5, 7)}
)


@dataclass(frozen=True)
class System:
    base: GrowthRun
    later: GrowthRun
    norms_only: GrowthRun
    refitted: GrowthRun


@pytest.fixture(scope="module")
def system() -> System:
    """Two simulated years, the later one +0.2 SD."""
    city = growth.simulate_table(6_000, 30, years=2, seed=4).table
    sd = pl.col("score").std().over("subject", "grade")
    latest = pl.col("year") == 2025
    shifted = city.with_columns(score=pl.when(latest).then(pl.col("score") + SHIFT * sd).otherwise("score"))
    base = growth.run(city.filter(~latest), SPEC)
    bundle = base.freeze()
    return System(
        base,
        growth.run(shifted, freeze=bundle),
        growth.run(shifted, freeze=bundle.only("norms", "cuts")),
        growth.run(shifted, SPEC),
    )


def test_progress_of_all_shows_under_a_frozen_norm_only(system: System) -> None:
    audit = drift_audit(system.base, system.later, refitted=system.refitted)
    for row in audit.system.iter_rows(named=True):
        assert row["mean_level_frozen"] > row["mean_level_base"] + 1.5
        assert row["mean_level_moving"] == pytest.approx(row["mean_level_base"], abs=STILL)
        assert row["mean_level_refitted"] == pytest.approx(row["mean_level_base"], abs=STILL)
        assert row["effect_change"] > 3
        assert row["change_schools"] > 1.5
        assert row["change_norm"] < -1.5
        assert row["share_schools"] == pytest.approx(0.5, abs=0.1)
    assert (audit.students["mean_percentile"] > 54).all()
    assert (audit.students["mean_percentile_refitted"] - 50).abs().max() < 1
    assert audit.students["curves"].unique().to_list() == ["frozen"]


def test_with_refitted_curves_nothing_can_show(system: System) -> None:
    audit = drift_audit(system.base, system.norms_only)
    assert audit.system["effect_change"].abs().max() < 1
    assert (audit.system["mean_level_frozen"] - audit.system["mean_level_base"]).abs().max() < LITTLE
    assert any("cannot show" in sentence for sentence in audit.sentences)


@pytest.mark.parametrize("with_refitted", [False, True])
def test_parts_add_up_exactly(system: System, with_refitted: bool) -> None:
    audit = drift_audit(system.base, system.later, refitted=system.refitted if with_refitted else None)
    schools = audit.schools.drop_nulls("change")
    assert schools.height > 30
    parts = schools["change_schools"] + schools["change_norm"] + schools["change_curves"]
    assert parts.equals(schools["change"].rename(parts.name))
    final = schools["level_refitted" if with_refitted else "level_moving"]
    assert (final - schools["level_base"]).equals(schools["change"].rename(final.name))
    for row in audit.system.iter_rows(named=True):
        total = row["change_schools"] + row["change_norm"] + row["change_curves"]
        assert total == pytest.approx(row["change"], abs=1e-12)
        assert sum(row[f"share_{part}"] for part in ("schools", "norm", "curves")) == pytest.approx(1)


def test_levels_are_those_of_the_runs(system: System) -> None:
    """The moving rank is that of a run with the same percentiles and no norms."""
    audit = drift_audit(system.base, system.later)
    moving = growth.school_growth(system.later.polars("students"), SPEC).frame.filter(group="All")
    both = audit.schools.join(moving, on=["subject", "school_id"])
    assert both.height == audit.schools.height
    np.testing.assert_allclose(both["growth_percentile_moving"], both["growth_percentile"], atol=1e-9)
    frozen = audit.schools.join(system.later.levels.filter(group="All"), on=["subject", "school_id"])
    assert frozen["level_frozen"].equals(frozen["level"].cast(pl.Int64).rename("level_frozen"))


def test_a_bundle_knows_the_mean_but_no_school(system: System) -> None:
    run, bundle = (drift_audit(base, system.later) for base in (system.base, system.base.freeze()))
    assert bundle.system.equals(run.system)
    assert bundle.schools["level_base"].null_count() == bundle.schools.height


def test_an_audit_needs_a_frozen_run(system: System) -> None:
    for later in (system.refitted, system.base):
        with pytest.raises(SpecError, match="was not measured by the norms and cut points of 2024"):
            drift_audit(system.base, later)
    with pytest.raises(SpecError, match="not measured"):
        drift_audit(system.base.freeze(parts=("norms", "cuts")), system.later)
    with pytest.raises(SpecError, match=r"\[2024, 2025\]"):
        drift_audit(system.base, system.later, refitted=system.base)
    expected = system.later.spec.replace({"school.growth_percentile": "expected"})
    with pytest.raises(SpecError, match="Expected percentile ranks are not audited"):
        drift_audit(system.base, replace(system.later, spec=expected))


def test_the_command_line_says_it(system: System, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from growth.cli import app

    bundle = save_bundle(system.base.freeze(), tmp_path / "base.zip")
    later = save_run(system.later, tmp_path / "later")
    out = tmp_path / "drift"
    done = CliRunner().invoke(app, ["drift", str(bundle), str(later), "--out", str(out)])
    assert done.exit_code == 0, done.output
    for sentence in drift_audit(system.base, system.later).sentences:
        assert sentence in done.stdout
    assert pl.read_csv(out / "schools.csv").height == drift_audit(system.base, system.later).schools.height
    again = CliRunner().invoke(app, ["drift", str(bundle), str(later), "--out", str(out)])
    assert again.exit_code == 1
