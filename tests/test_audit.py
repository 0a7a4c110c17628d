"""Audit: damage is found, numbers add up, claims about other scores come true, old runs still explain."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import growth
from growth import GrowthRun, GrowthSpec
from growth.audit import Verification, difference, explain_school, explain_student, verify_run
from growth.audit.proof import optimality
from growth.cli import app
from growth.errors import GrowthError, TableError
from growth.freeze import pack, unpack
from growth.quantile import fit_quantiles
from growth.store import load_run, save_run

EXACT = 1e-9
"""Sums of some dozens of percentiles, in two orders."""
OPTIMAL = 1e-9
FAR = 1e-6
"""Coefficients moved by a tenth of a point are this far from optimal, at least."""


@pytest.fixture(scope="module", params=["core_2025_v0.1.0"])
def earlier(request: pytest.FixtureRequest, repository: Path) -> Path:
    return repository / "fixtures" / "runs" / request.param


@pytest.fixture
def copy(earlier: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(earlier, tmp_path / "run"))


@pytest.fixture(scope="module")
def run(earlier: Path) -> GrowthRun:
    return load_run(earlier)


def wrong(found: Verification) -> list[str]:
    return [check.name for check in found.checks if check.holds is False]


class TestProof:
    def test_it_agrees_with_the_solver_and_sees_what_is_not_optimal(self) -> None:
        rng = np.random.default_rng(1)
        x = np.column_stack([np.ones(400), rng.integers(0, 20, 400), rng.integers(0, 2, 400)]).astype(float)
        y = np.round(x @ [100.0, 2.0, 5.0] + rng.normal(0, 8, 400))
        taus = np.array([0.05, 0.25, 0.5, 0.9])
        process = fit_quantiles(x, y, taus)
        proof = optimality(x, y, taus, process.coef)
        assert np.allclose(proof.objective, process.objective, rtol=OPTIMAL)
        assert max(proof.gap.max(), proof.imbalance.max()) < OPTIMAL
        for j in range(3):
            moved = process.coef.copy()
            moved[:, j] += 0.1
            astray = optimality(x, y, taus, moved)
            assert (np.maximum(astray.gap, astray.imbalance) > FAR).all()

    def test_rows_that_repeat_share_the_proof(self) -> None:
        x = np.column_stack([np.ones(60), np.repeat([0.0, 1.0, 2.0], 20)])
        y = np.tile([1.0, 1.0, 2.0, 5.0], 15)
        process = fit_quantiles(x, y, [0.3, 0.5])
        proof = optimality(x, y, process.taus, process.coef)
        assert max(proof.gap.max(), proof.imbalance.max()) < OPTIMAL


class TestVerify:
    def test_an_earlier_release_s_run_verifies_on_its_table(self, earlier: Path, city_file: Path) -> None:
        found = verify_run(earlier, city_file)
        assert found.holds, found
        names = {check.name for check in found.checks if check.holds}
        assert {"files", "frames", "certificates", "account of rows", "optimality", "percentiles"} <= names

    @pytest.mark.parametrize(
        "name", ["students.parquet", "levels.csv", "spec.toml", "curves.zip", "norms.json"]
    )
    def test_a_changed_file_is_named(self, copy: Path, name: str) -> None:
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        found = verify_run(copy)
        assert "files" in wrong(found)
        assert f"{name} changed" in found.checks[0].detail

    def test_missing_and_added_files_are_named(self, copy: Path) -> None:
        (copy / "schools.csv").unlink()
        (copy / "notes.txt").write_text("mine")
        detail = verify_run(copy).checks[0].detail
        assert "schools.csv missing" in detail
        assert "notes.txt not part of the run" in detail

    def test_whoever_rewrites_digests_as_well_meets_the_frames(self, copy: Path) -> None:
        levels = pl.read_parquet(copy / "levels.parquet").with_columns(pl.col("level") % 10 + 1)
        levels.cast({"level": pl.Int8}).write_parquet(copy / "levels.parquet")
        _sign_again(copy, "levels.parquet")
        assert wrong(verify_run(copy)) == ["frames"]

    def test_forged_curves_meet_the_table(self, copy: Path, city_file: Path) -> None:
        curves = unpack((copy / "curves.zip").read_bytes())
        model = curves["cohorts"][-1]["model"]
        coef = model["coef"].copy()
        coef[:, 0] += 3.0
        model["coef"] = coef
        (copy / "curves.zip").write_bytes(pack(curves))
        _sign_again(copy, "curves.zip")
        assert verify_run(copy).holds, "without the table nothing contradicts them"
        assert wrong(verify_run(copy, city_file)) == ["optimality", "percentiles"]

    def test_unproven_curves_are_not_certified(self, copy: Path) -> None:
        curves = unpack((copy / "curves.zip").read_bytes())
        gap = curves["cohorts"][0]["model"]["relative_gap"].copy()
        gap[7] = 1e-3
        curves["cohorts"][0]["model"]["relative_gap"] = gap
        (copy / "curves.zip").write_bytes(pack(curves))
        _sign_again(copy, "curves.zip")
        assert wrong(verify_run(copy)) == ["certificates"]

    def test_another_table_is_refused(self, earlier: Path, city_file: Path) -> None:
        other = pl.read_csv(city_file, infer_schema=False).head(6_000)
        assert wrong(verify_run(earlier, other)) == ["table"]

    def test_frozen_two_step_and_other_engines(self, city_file: Path, tmp_path: Path, run: GrowthRun) -> None:
        city = pl.read_csv(city_file, schema_overrides={"student_id": pl.String, "school_id": pl.String})
        later = city.with_columns(pl.col("year") + 1)
        frozen = save_run(growth.run(later, freeze=run.freeze()), tmp_path / "frozen")
        found = verify_run(frozen, later)
        assert found.holds, found
        assert [check.name for check in found.checks if check.holds is None] == ["optimality"]
        for engine in ("normal", "residual_gain"):
            spec = run.spec.replace({"student.engine": engine})
            folder = save_run(growth.run(city, spec), tmp_path / engine)
            found = verify_run(folder, city)
            assert found.holds, found


class TestStudent:
    def test_claims_about_other_scores_come_true(self, run: GrowthRun, city_file: Path) -> None:
        """Change the student's score in the table, place it on the run's curves, and look."""
        city = pl.read_csv(city_file, schema_overrides={"student_id": pl.String, "school_id": pl.String})
        scored = run.polars("students").filter(status="scored")
        who = scored.filter(pl.col("sgp").is_between(30, 70))["student_id"][0]
        (account,) = explain_student(run, who, city_file)
        sgp = account.facts["sgp"]
        assert [percentile for percentile, _ in account.scores] == [
            sgp - 10,
            sgp - 5,
            sgp - 1,
            sgp + 1,
            sgp + 5,
            sgp + 10,
        ]
        (low, below), (high, above) = account.bracket
        assert (low, high) == (sgp - 1, sgp)
        assert below < account.facts["score"] <= above
        bundle = run.freeze(parts=["curves"])
        mine = (pl.col("student_id") == who) & (pl.col("year") == 2025) & (pl.col("subject") == "ELA")
        for percentile, score in (account.scores[1], account.scores[4]):
            for least, holds in ((score, True), (score - 1, False)):
                other = city.with_columns(pl.when(mine).then(least).otherwise("score").alias("score"))
                other = other.with_columns(pl.col("year") + 1)
                again = growth.run(other, freeze=bundle).polars("students")
                placed = again.filter(student_id=who, status="scored")["sgp"].item()
                assert (placed >= percentile) is holds

    def test_claims_about_other_facts_come_true(self, run: GrowthRun, city_file: Path) -> None:
        city = pl.read_csv(city_file, schema_overrides={"student_id": pl.String, "school_id": pl.String})
        scored = run.polars("students").filter(status="scored", n_priors=2)
        who = scored.filter(pl.col("sgp").is_between(30, 70))["student_id"][1]
        (account,) = explain_student(run, who, city_file)
        assert account.students == scored.filter(cohort=account.facts["cohort"]).height
        claims, flag = dict(account.otherwise), "english_learner"
        prior = dict(account.priors)["ELA grade 4, 2024"] - 10.0
        turned = 1 - int(dict(account.columns)[flag])
        bundle = run.freeze(parts=["curves"])
        mine, subject = pl.col("student_id") == who, pl.col("subject") == "ELA"
        for claim, where, column, value in (
            (f"{flag} = {turned}", mine & (pl.col("year") == 2025), flag, turned),
            (f"ELA grade 4, 2024 = {prior:g}", mine & subject & (pl.col("year") == 2024), "score", prior),
        ):
            changed = pl.when(where).then(pl.lit(float(value))).otherwise(pl.col(column).cast(pl.Float64))
            table = city.with_columns(changed.alias(column), pl.col("year") + 1)
            placed = growth.run(table, freeze=bundle).polars("students").filter(student_id=who)
            assert placed.filter(status="scored")["sgp"].item() == claims[claim]

    def test_corrected_runs_are_explained_and_verified(self, city_file: Path, tmp_path: Path) -> None:
        changes: dict[str, Any] = {"simex.replicates": 2, "cohorts.grades": [5], "cohorts.subjects": ["ELA"]}
        corrected = growth.run(city_file, GrowthSpec.preset("georgia").replace(changes))
        row = corrected.polars("students").filter(status="scored").row(3, named=True)
        account = explain_student(corrected, row["student_id"], city_file)[0]
        assert f"prior scores: {row['sgp_simex']}, ranked {row['sgp_simex_ranked']}" in repr(account)
        assert verify_run(save_run(corrected, tmp_path / "run"), city_file).holds
        shown = corrected.polars("schools").filter(pl.col("reason").is_null(), group="All")
        (school,) = explain_school(corrected, shown["school_id"][0])
        assert school.of_rows
        assert school.percentile_sum / school.n == pytest.approx(shown["mean_percentile"][0], rel=EXACT)

    def test_priors_and_peers_are_those_of_the_table(self, run: GrowthRun, city_file: Path) -> None:
        city = pl.read_csv(city_file, infer_schema=False)
        row = run.polars("students").filter(status="scored", n_priors=2).row(3, named=True)
        (account,) = explain_student(run, row["student_id"], city_file)
        before = city.filter(student_id=row["student_id"], year="2024")
        stated = dict(zip(before["subject"], before["score"].cast(pl.Float64), strict=True))
        assert dict(account.priors) == {f"{name} grade 4, 2024": stated[name] for name in ("ELA", "MATH")}
        assert dict(account.columns)["disability"] == float(row["disability"])

    def test_without_the_table_it_says_what_the_run_knows(self, run: GrowthRun) -> None:
        row = run.polars("students").filter(status="scored").row(0, named=True)
        (account,) = explain_student(run, row["student_id"])
        assert account.priors == account.scores == ()
        assert row["norm_group"] in repr(account)
        nobody = run.polars("students").filter(pl.col("status") != "scored")["student_id"][0]
        assert len(explain_student(run, nobody)) == 1

    def test_who_is_not_there_is_not_repeated(self, run: GrowthRun, city_file: Path) -> None:
        with pytest.raises(GrowthError, match="No student") as caught:
            explain_student(run, "4711-canary")
        assert "4711" not in str(caught.value)
        who = run.polars("students")["student_id"][0]
        with pytest.raises(TableError, match="made from"):
            explain_student(run, who, pl.read_csv(city_file, infer_schema=False).head(6_000))


class TestSchool:
    def test_every_step_adds_up_for_every_school(self, city_run: GrowthRun) -> None:
        students = city_run.polars("students").filter("highest")
        seen = 0
        for school in city_run.polars("schools")["school_id"].unique():
            for a in explain_school(city_run, school):
                row = a.result
                mine = students.filter(school_id=school, subject=a.subject, year=a.year)
                assert a.rows == mine.height == a.n + sum(a.excluded.values())
                assert a.n == row["n"] == mine["percentile"].count()
                if row["reason"] is not None:
                    assert a.level is None
                    assert row["reason"] in repr(a)
                    continue
                seen += 1
                assert a.percentile_sum / a.n == pytest.approx(row["mean_percentile"], rel=EXACT)
                assert row["mean_se"] == pytest.approx(a.within_sd / np.sqrt(row["n_effective"]), rel=EXACT)
                shrunk = a.prior_mean + a.kept_share * (row["effect"] - a.prior_mean)
                assert shrunk == pytest.approx(row["shrunk"], rel=EXACT)
                below, equal, schools = a.place
                assert 100 * (2 * below + equal) / (2 * schools) == row["growth_percentile"]
                low, high = a.bounds
                assert low <= row["growth_percentile"] <= high
        assert seen > 10

    def test_the_words_hold_the_same_numbers(self, run: GrowthRun) -> None:
        shown = run.polars("schools").filter(pl.col("reason").is_null(), group="All")
        (account,) = explain_school(run, shown["school_id"][0])
        text = repr(account)
        for number in (account.rows, account.n, *account.excluded.values(), account.level):
            assert str(number) in text

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"school.aggregate": "median", "school.percentile": "integer"}, "the median of their"),
            ({"school.aggregate": "mean_residual"}, "above the expected ones"),
            ({"school.aggregate": "trimmed_mean"}, "without the highest"),
            (
                {
                    "school.shrinkage": "eblp",
                    "cohorts.grades": [4, 5, 6],
                    "cohorts.subjects": ["ELA", "MATH"],
                },
                "Predicted from the school's results",
            ),
            ({"school.standard_error": "bootstrap", "school.replicates": 20}, "SD of students within"),
        ],
    )
    def test_other_effects_follow_from_the_students(
        self, run: GrowthRun, city_file: Path, changes: dict[str, Any], words: str
    ) -> None:
        other = growth.run(city_file, run.spec.replace({"student.engine": "residual_gain", **changes}))
        schools = other.polars("schools").filter(pl.col("reason").is_null(), group="All")
        texts = ""
        for school in schools["school_id"].unique():
            for a in explain_school(other, school):
                texts, row = texts + repr(a), a.result
                if a.own_effect is not None:
                    assert a.own_effect == pytest.approx(row["effect"], rel=EXACT, abs=EXACT)
                if a.kept_share is not None and row["shrunk"] is not None:
                    start = a.predicted[0] if a.used == "blp" else row["effect"]
                    shrunk = a.prior_mean + a.kept_share * (start - a.prior_mean)
                    assert shrunk == pytest.approx(row["shrunk"], rel=EXACT)
        assert words in texts

    def test_weighted_results_are_not_passed_off_as_sums(self, run: GrowthRun, city_file: Path) -> None:
        both = growth.run(city_file, run.spec.replace({"school.composite": "results"}))
        shown = both.polars("schools").filter(pl.col("reason").is_null(), group="All", subject="COMPOSITE")
        accounts = {a.subject: a for a in explain_school(both, shown["school_id"][0])}
        assert not accounts["COMPOSITE"].of_rows
        assert f"of {accounts['COMPOSITE'].result['n']:,} students; the spec" in repr(accounts["COMPOSITE"])

    def test_numbers_that_do_not_follow_are_refused(self, run: GrowthRun) -> None:
        school = run.polars("schools").filter(pl.col("reason").is_null(), group="All")["school_id"][0]
        forged = run.polars("schools").with_columns(pl.col("mean_percentile") + 1.0)
        frames = {**run.frames, "schools": forged}
        with pytest.raises(GrowthError, match="mean_percentile"):
            explain_school(GrowthRun(frames, run.spec, run.manifest, run.cuts, run.norms), school)
        with pytest.raises(GrowthError, match="No school"):
            explain_school(run, "nowhere")


class TestDifference:
    def test_the_same_run_does_not_differ(self, run: GrowthRun) -> None:
        found = difference(run, run)
        assert found.causes == found.frames == ()
        assert "the same in every frame" in repr(found)

    def test_a_choice_is_named(self, run: GrowthRun, city_file: Path) -> None:
        changes: dict[str, Any] = {"school.shrinkage": "none", "peers.flags": ("disability",)}
        found = difference(run, growth.run(city_file, run.spec.replace(changes)))
        assert set(found.spec) == set(changes)
        assert found.spec["school.shrinkage"] == ("empirical_bayes", "none")
        if not found.version:
            assert found.causes == ("specification",)
            assert "only the specification does" in found.verdict
        assert "levels" in found.frames
        assert found.levels[0] > found.levels[1] > 0

    def test_rows_that_went_are_counted(self, run: GrowthRun, city_file: Path) -> None:
        city = pl.read_csv(city_file, infer_schema=False)
        gone = city.filter(year="2025", subject="ELA", grade="5").head(7)
        fewer = growth.run(city.join(gone, on=["student_id", "year", "subject"], how="anti"), run.spec)
        found = difference(run, fewer)
        assert "data" in found.causes
        assert found.data["table rows"] == ("18040", "18033")
        entered = found.rows.filter(subject="ELA", year=2025)
        assert (entered["rows"] - entered["rows_b"])[0] == 7

    def test_versions_and_forgeries_are_told_apart(self, run: GrowthRun) -> None:
        made = {**run.manifest, "versions": {**run.manifest["versions"], "numpy": "0.9"}}
        levels = run.polars("levels").with_columns((pl.col("level") % 10 + 1).cast(pl.Int8))
        frames = {**run.frames, "levels": levels}
        other = GrowthRun(frames, run.spec, made, run.cuts, run.norms)
        assert difference(run, other).causes == ("version",)
        forged = GrowthRun(frames, run.spec, run.manifest, run.cuts, run.norms)
        assert "growth verify" in difference(run, forged).verdict


class TestCommands:
    def test_they_print_and_end_as_promised(self, earlier: Path, copy: Path, run: GrowthRun) -> None:
        who = run.polars("students").filter(status="scored")["student_id"][0]
        school = run.polars("schools").filter(pl.col("reason").is_null())["school_id"][0]
        for arguments, text in (
            (["verify", earlier], "certificates"),
            (["explain", earlier, "--student", who], "similar students"),
            (["explain", earlier, "--school", school], "counted"),
            (["diff", earlier, copy], "same in every frame"),
        ):
            done = CliRunner().invoke(app, [str(x) for x in arguments])
            assert done.exit_code == 0, done.output
            assert text in done.stdout
        (copy / "cuts.json").write_text("{}")
        assert CliRunner().invoke(app, ["verify", str(copy)]).exit_code == 1
        assert CliRunner().invoke(app, ["explain", str(earlier)]).exit_code == 2


def _sign_again(folder: Path, name: str) -> None:
    """Write the digest of a changed file into the manifest, as a careful forger would."""
    import hashlib

    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_specifications_of_other_versions_are_said_and_not_condemned(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["spec"]["sha256"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))
    found = {check.name: check.holds for check in verify_run(copy).checks}
    assert found["specification"] is None
    assert GrowthSpec.from_toml(copy / "spec.toml") is not None
