"""Freeze bundles: a later year is placed as the base year would have placed it, and files are not trusted."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import growth
from growth import FreezeBundle, GrowthRun, GrowthSpec
from growth.errors import CohortError, GrowthError, SpecError, StoreError
from growth.freeze import pack, unpack
from growth.pipeline import street
from growth.store import load_bundle, save_bundle
from growth.student import FrozenCurves, student_growth

SAME = 1e-9
"""Percentiles of the engines that predict by one product of matrices: its order of adding may differ."""
RANK_GRID = 5.1e-4
"""Places among a thousand quantiles of residuals instead of among all of them."""
BANDS = ["growth_percentile_low", "growth_percentile_high"]
"""A school is no longer one of the schools that it is drawn against."""
ENGINES: dict[str, dict[str, Any]] = {
    "quantile": {"peers.composition": "one_step"},
    "two_step": {"peers.composition": "two_step", "peers.schools_per_trait": 1},
    "normal": {"student.engine": "normal"},
    "residual_gain": {"student.engine": "residual_gain", "student.prior_terms": "quadratic"},
    "eiv": {
        "student.engine": "eiv",
        "measurement.csem": "column",
        "peers.composition": "one_step",
        "peers.flags": ("econ_disadvantaged",),
        "student.not_definite": "partial",
    },
}
SMALL = {
    "cohorts.grades": (5, 8),
    "cohorts.other_priors": 0,
    "groups.flags": {},
    "groups.race": "",
    "school.shrinkage": "none",
}


def spec_of(engine: str) -> GrowthSpec:
    return GrowthSpec.preset("core").replace({"peers.composition": "none", **SMALL, **ENGINES[engine]})


@pytest.fixture(scope="module")
def city(city_file: Path) -> pl.DataFrame:
    as_text = {"student_id": pl.String, "school_id": pl.String}
    return pl.read_csv(city_file, schema_overrides=as_text)


@pytest.fixture(scope="module")
def base(city: pl.DataFrame) -> GrowthRun:
    return growth.run(city, spec_of("two_step"))


@pytest.fixture(scope="module")
def bundle(base: GrowthRun) -> FreezeBundle:
    return base.freeze()


def later(table: pl.DataFrame, years: int = 1) -> pl.DataFrame:
    return table.with_columns(pl.col("year") + years)


def refuse_to_fit(*_: object, **__: object) -> None:
    raise AssertionError("something was fitted")


class TestApplied:
    @pytest.mark.parametrize("engine", ENGINES)
    @pytest.mark.filterwarnings("ignore:.*only a part of the measurement error")
    def test_the_same_students_a_year_later_get_the_same_results(
        self, city: pl.DataFrame, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = growth.run(city, spec_of(engine))
        bundle = FreezeBundle.from_bytes(first.freeze().to_bytes())
        for place in ("quantile.fit_quantiles", "linear.fit_linear", "normal.predicted"):
            monkeypatch.setattr(f"growth.student.engines.{place}", refuse_to_fit)
        monkeypatch.setattr("growth.student.composition.within_schools", refuse_to_fit)
        monkeypatch.setattr("growth.student.composition.school_line", refuse_to_fit)
        again = growth.run(later(city), freeze=bundle)
        close = {"quantile": 0.0, "two_step": 0.0, "normal": SAME}.get(engine, RANK_GRID)
        ours, theirs = again.students, first.students
        assert ours["year"].unique().to_list() == [2026]
        distance = (ours["percentile"] - theirs["percentile"]).abs()
        assert distance.count() == theirs["percentile"].count() > 0
        assert distance.max() <= close
        assert (ours["residual"] - theirs["residual"]).abs().max() < 1e-7
        if not close:
            assert ours["sgp"].equals(theirs["sgp"])
            unlike = ["year", *BANDS, *(name for name in first.schools.columns if name.startswith("p_"))]
            assert_frame_equal(again.schools.drop(unlike), first.schools.drop(unlike))
            told = ["school_id", "level", "band", "points_to_next_1", "points_to_next_3", "reason"]
            assert_frame_equal(again.levels.select(told), first.levels.select(told))
            assert_frame_equal(again.fairness.drop("year"), first.fairness.drop("year"))

    def test_what_is_frozen_is_said(self, city: pl.DataFrame, base: GrowthRun, bundle: FreezeBundle) -> None:
        again = growth.run(later(city), freeze=bundle)
        assert again.cells["base_year"].to_list() == [2025] * base.cells.height
        assert base.cells["base_year"].null_count() == base.cells.height
        assert again.cells["max_relative_gap"].equals(base.cells["max_relative_gap"]), "certificates travel"
        assert again.cells["pivots"].null_count() == again.cells.height
        told = again.manifest["freeze"]
        assert told["sha256"] == bundle.digest
        assert told["parts"] == ["curves", "norms", "cuts"]
        assert (told["base_year"], told["refitted"]) == (2025, [])
        assert told["input_sha256"] == base.manifest["input"]["sha256"]
        assert again.spec == base.spec
        assert again.cuts is bundle.cuts

    def test_one_school_can_be_placed(
        self, city: pl.DataFrame, base: GrowthRun, bundle: FreezeBundle
    ) -> None:
        """Its students are too few for a fit of 100 quantiles."""
        spec = base.spec.replace({"cohorts.min_cohort": 0, "cohorts.grades": (5,)})
        students = base.students.filter(grade=5, status="scored")
        school = students["school_id"].mode()[0]
        members = students.filter(school_id=school)["student_id"].to_list()
        small = growth.run(later(city).filter(pl.col("student_id").is_in(members)), spec, freeze=bundle)
        both = small.students.join(base.students, on=["student_id", "subject"], suffix="_base")
        assert both["percentile"].count() > 20
        np.testing.assert_allclose(both["percentile"], both["percentile_base"], atol=SAME)

    def test_parts_are_a_choice(self, city: pl.DataFrame, base: GrowthRun, bundle: FreezeBundle) -> None:
        shifted = later(city).with_columns(
            score=pl.when(pl.col("year") == 2026).then(pl.col("score") + 15).otherwise("score")
        )
        spec = base.spec
        frozen = growth.run(shifted, spec, freeze=bundle)
        norms_only = growth.run(shifted, spec, freeze=bundle.only("norms", "cuts"))
        curves_only = growth.run(shifted, spec, freeze=base.freeze(parts=["curves"]))
        mean = {
            name: float(run.students["percentile"].mean() * 100)
            for name, run in {"all": frozen, "norms": norms_only, "curves": curves_only}.items()
        }
        assert mean["all"] == mean["curves"] > 55
        assert abs(mean["norms"] - 50) < 1
        assert frozen.levels["level"].mean() > curves_only.levels["level"].mean() + 1
        assert curves_only.manifest["norms"] == {"frozen": False}
        assert norms_only.cells["base_year"].null_count() == norms_only.cells.height

    def test_a_cohort_without_curves_is_refused_or_refitted(
        self, city: pl.DataFrame, base: GrowthRun, bundle: FreezeBundle
    ) -> None:
        wider = base.spec.replace({"cohorts.grades": (5, 7)})
        with pytest.raises(CohortError, match=r"no curves for ELA_2026_G7_own1.*freeze\.missing"):
            growth.run(later(city), wider, freeze=bundle)
        refit = growth.run(later(city), wider.replace({"freeze.missing": "refit"}), freeze=bundle)
        fitted = refit.cells.filter(pl.col("base_year").is_null())
        assert fitted["grade"].unique().to_list() == [7]
        assert refit.manifest["freeze"]["refitted"] == fitted["cohort"].to_list()
        frozen = refit.students.filter(grade=5)["percentile"]
        assert frozen.equals(base.students.filter(grade=5)["percentile"])

    def test_another_lag_is_another_cohort(self, city: pl.DataFrame, bundle: FreezeBundle) -> None:
        lagged = bundle.spec.replace({"cohorts.progressions": {5: (3,), 8: (6,)}, "cohorts.min_cohort": 0})
        stretched = city.with_columns(
            year=pl.when(pl.col("year") == 2024).then(2023).otherwise("year").cast(pl.Int64),
            grade=pl.when(pl.col("year") == 2024).then(pl.col("grade") - 1).otherwise("grade"),
        ).filter(pl.col("grade") >= 3)
        stretched = stretched.unique(["student_id", "year", "subject"], keep="none")
        with pytest.raises(CohortError, match="prior pattern"):
            growth.run(stretched, lagged, freeze=bundle)


class TestColumns:
    CATEGORY: ClassVar = {"peers.categories": ("race_ethnicity",), "peers.flags": ("disability",)}

    def test_levels_come_and_go(self, city: pl.DataFrame) -> None:
        spec = spec_of("quantile").replace(
            {**self.CATEGORY, "peers.composition": "none", "peers.reference": {"race_ethnicity": "White"}}
        )
        base = growth.run(city, spec)
        races = city["race_ethnicity"].unique().sort().to_list()
        rare = next(race for race in races if race != "White")
        gone = later(city).filter(pl.col("race_ethnicity") != rare)
        some = growth.run(gone, freeze=base.freeze())
        both = some.students.join(base.students, on=["student_id", "subject"], suffix="_base")
        assert both["percentile"].count() > 1_000
        np.testing.assert_array_equal(both["percentile"], both["percentile_base"])
        new = later(city).with_columns(race_ethnicity=pl.col("race_ethnicity").replace(rare, "Martian"))
        with pytest.raises(CohortError, match="race_ethnicity=Martian"):
            growth.run(new, freeze=base.freeze())
        refitted = growth.run(new, spec.replace({"freeze.missing": "refit"}), freeze=base.freeze())
        assert refitted.cells["base_year"].null_count() == refitted.cells.height

    def test_a_reference_level_must_be_named(self, city: pl.DataFrame) -> None:
        run = growth.run(city, spec_of("quantile").replace(self.CATEGORY))
        with pytest.raises(SpecError, match=r"peers\.reference"):
            run.freeze()
        assert run.freeze(parts=("norms", "cuts")).parts == ("norms", "cuts")


class TestChoices:
    def test_another_model_is_refused(
        self, city: pl.DataFrame, base: GrowthRun, bundle: FreezeBundle
    ) -> None:
        other = base.spec.replace({"peers.composition": "none", "quantiles.count": 50})
        for kept in (bundle, bundle.only("norms")):
            with pytest.raises(SpecError, match="differs from the bundle's in peers, quantiles"):
                growth.run(later(city), other, freeze=kept)
        growth.run(later(city), other, freeze=bundle.only("cuts"))

    def test_simex_is_refused(self, base: GrowthRun, bundle: FreezeBundle, city: pl.DataFrame) -> None:
        spec = spec_of("quantile").replace({"measurement.csem": "column", "simex.use": "simex"})
        with pytest.raises(SpecError, match="SIMEX"):
            replace(base, spec=spec).freeze()
        with pytest.raises(SpecError, match="in peers, simex"):
            growth.run(later(city), spec, freeze=bundle)

    def test_what_was_frozen_is_not_frozen_again(self, city: pl.DataFrame, bundle: FreezeBundle) -> None:
        again = growth.run(later(city), freeze=bundle.only("norms", "cuts"))
        with pytest.raises(SpecError, match="norms and cuts of this run are those of 2025"):
            again.freeze()
        assert again.freeze(parts=["curves"]).base_year == 2026

    def test_the_base_year_is_one_year(self, city: pl.DataFrame, base: GrowthRun) -> None:
        spec = base.spec.replace({"cohorts.years": (2025, 2030), "rows.latest_year": 2030})
        both = growth.run(pl.concat([city, later(city, 5)]), spec)
        with pytest.raises(SpecError, match="2025, 2030"):
            both.freeze()
        with pytest.raises(SpecError, match="not of 2026"):
            both.freeze(year=2026)
        bundle = both.freeze(year=2030)
        assert bundle.curves is not None
        assert bundle.curves.years == (2030,)
        assert {norm.year for norm in bundle.norms or ()} == {2030}

    @pytest.mark.parametrize(("parts", "said"), [(["curve"], "'curve' cannot"), ([], "Nothing")])
    def test_parts_are_known(self, base: GrowthRun, parts: Any, said: str) -> None:  # noqa: ANN401
        with pytest.raises(SpecError, match=said):
            base.freeze(parts=parts)

    def test_a_part_that_is_not_there(self, bundle: FreezeBundle) -> None:
        with pytest.raises(SpecError, match="has no curves, only norms"):
            bundle.only("norms").only("curves")

    def test_the_specification_chooses_parts(self, base: GrowthRun) -> None:
        with pytest.raises(SpecError, match="each part once"):
            GrowthSpec().replace({"freeze.parts": ["cuts", "cuts"]})
        assert base.spec.freeze.parts == ("curves", "norms", "cuts")


def changed(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return a file with a changed document and a digest that agrees."""
    document = unpack(data)
    change(document)
    return pack(document)


class TestFiles:
    def test_equal_content_has_equal_bytes(self, bundle: FreezeBundle, tmp_path: Path) -> None:
        file = save_bundle(bundle, tmp_path / "new" / "base.zip")
        again = load_bundle(file)
        assert file.read_bytes() == bundle.to_bytes() == again.to_bytes()
        assert again.digest == bundle.digest
        assert repr(again) == repr(bundle)
        assert [path.name for path in file.parent.iterdir()] == ["base.zip"]
        with pytest.raises(StoreError, match="already exists"):
            save_bundle(bundle, file)
        save_bundle(bundle.only("cuts"), file, overwrite=True)
        assert load_bundle(file).parts == ("cuts",)

    def test_it_is_plain_zip_json_and_npy(self, bundle: FreezeBundle) -> None:
        with zipfile.ZipFile(io.BytesIO(bundle.to_bytes())) as archive:
            names = archive.namelist()
            document = json.loads(archive.read("document.json"))
            first = np.load(io.BytesIO(archive.read("arrays/00000.npy")), allow_pickle=False)
        assert (names[0], names[-1]) == ("document.json", "sha256")
        assert document["what"] == "growth freeze bundle"
        assert first.dtype == np.float64

    def test_no_id_is_in_it(self, city: pl.DataFrame, bundle: FreezeBundle) -> None:
        data = bundle.to_bytes()
        for student in city["student_id"].unique().head(200):
            assert student.encode() not in data

    def test_damage_is_found(self, bundle: FreezeBundle) -> None:
        data = bytearray(bundle.to_bytes())
        for place in np.linspace(40, len(data) - 40, 40).astype(int):
            broken = data.copy()
            broken[place] ^= 1
            try:
                found = FreezeBundle.from_bytes(bytes(broken))
            except GrowthError:
                continue
            assert found.digest == bundle.digest, "only the archive's own bookkeeping may differ"
        for cut in (0, 100, len(data) // 2, len(data) - 1):
            with pytest.raises(StoreError, match="cannot be used"):
                FreezeBundle.from_bytes(bytes(data[:cut]))

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="cannot be read or written"):
            load_bundle(tmp_path / "nowhere.zip")
        with pytest.raises(StoreError, match="not a freeze bundle"):
            FreezeBundle.from_bytes(pack({"what": "something else"}))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("document.json", "{}")
        with pytest.raises(StoreError, match="packed in another way"):
            FreezeBundle.from_bytes(packed.getvalue())

    def test_pickled_arrays_are_never_opened(self) -> None:
        good = pack({"a": np.zeros(2)})
        evil = io.BytesIO()
        np.save(evil, np.array([{"a": 1}], dtype=object), allow_pickle=True)
        members = {"document.json": b'{"a":{"array":0}}', "arrays/00000.npy": evil.getvalue()}
        from growth.freeze import container

        members["sha256"] = container._digest(members).encode()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        assert unpack(good)["a"].tolist() == [0.0, 0.0]
        with pytest.raises(StoreError, match=r"cannot be read \(ValueError\)"):
            unpack(packed.getvalue())

    def test_versions_are_told_apart(self, bundle: FreezeBundle) -> None:
        data = bundle.to_bytes()
        with pytest.raises(StoreError, match=r"format 2, written by growth 9\.9.*install growth 9\.9"):
            FreezeBundle.from_bytes(changed(data, lambda d: d.update(format=2, growth="9.9")))
        with pytest.raises(StoreError, match="format 0"):
            FreezeBundle.from_bytes(changed(data, lambda d: d.update(format=0)))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda d: d["curves"]["cohorts"][0]["model"].update(coef=np.ones((3, 3))), "one coefficient"),
            (lambda d: d["curves"]["cohorts"][0]["model"].update(coef=np.full((100, 15), np.nan)), "finite"),
            (lambda d: d["curves"]["cohorts"][0]["model"].update(taus=np.ones(100)), "increasing taus"),
            (lambda d: d["curves"]["cohorts"][0]["model"]["names"].pop(), "one coefficient"),
            (lambda d: d["curves"]["cohorts"][0]["model"]["bases"].pop(), "basis per prior"),
            (lambda d: d["curves"]["cohorts"][0].update(engine="magic"), "cannot be read: KeyError"),
            (lambda d: d["curves"]["cohorts"][0]["makeup"].update(spread=-1.0), "spread of 0 or more"),
            (lambda d: d["curves"]["cohorts"].append(d["curves"]["cohorts"][0]), "one model per subject"),
            (lambda d: d["curves"]["lines"][0]["status"].pop(), "a slope per trait"),
            (lambda d: d["curves"].update(format=2), "format 1"),
            (lambda d: d["cuts"]["cuts"].update(ELA=[90, 80, 70, 60, 50, 40, 30, 20, 10]), "do not decrease"),
            (lambda d: d["norms"]["norms"][0].update(effects=[50.0]), "not usable"),
            (lambda d: d["spec"].update(wishes=1), "unknown key 'wishes'"),
            (lambda d: d.pop("base_year"), "KeyError"),
        ],
    )
    def test_impossible_content_is_refused(
        self,
        city: pl.DataFrame,
        bundle: FreezeBundle,
        change: Callable[[dict[str, Any]], object],
        message: str,
    ) -> None:
        with pytest.raises(GrowthError, match=message):
            growth.run(later(city), freeze=FreezeBundle.from_bytes(changed(bundle.to_bytes(), change)))


class TestModels:
    def test_a_model_of_another_engine_is_refused(self, city: pl.DataFrame, bundle: FreezeBundle) -> None:
        assert bundle.curves is not None
        spec = spec_of("normal")
        panels = growth.build_panels(growth.read_table(city, spec), spec)
        with pytest.raises(SpecError, match="fitted by the engine 'quantile'"):
            student_growth(panels.panels[0], spec, frozen=bundle.curves.cohorts[0])

    def test_curves_come_back_bit_for_bit(self, bundle: FreezeBundle) -> None:
        assert bundle.curves is not None
        again = FrozenCurves.from_dict(unpack(pack(bundle.curves.to_dict())))
        for one, two in zip(bundle.curves.cohorts, again.cohorts, strict=True):
            assert one.key == two.key
            np.testing.assert_array_equal(one.model.coef, two.model.coef)
        assert repr(again) == "FrozenCurves(4 cohorts of 2025)"
        assert street.run is growth.run


class TestEarlierBundles:
    """Bundles written by earlier versions rank the same students identically (HOUSE.md, habit 12)."""

    FOLDER = "fixtures/bundles"

    @pytest.mark.parametrize("name", ["core_2025_format1"])
    def test_percentiles_and_ranks_stay(self, repository: Path, city: pl.DataFrame, name: str) -> None:
        folder = repository / self.FOLDER
        bundle = load_bundle(folder / f"{name}.zip")
        told = json.loads((folder / f"{name}.json").read_text())
        assert bundle.written_by == told["growth"]
        result = growth.run(later(city), freeze=bundle)
        expected = pl.read_parquet(folder / f"{name}_students.parquet")
        ours = result.students.filter(status="scored").select(expected.columns)
        assert_frame_equal(ours, expected, check_exact=True)
        schools = pl.read_csv(folder / f"{name}_schools.csv", schema_overrides={"school_id": pl.String})
        ours = result.levels.filter(pl.col("level").is_not_null()).select(schools.columns)
        assert_frame_equal(ours, schools, check_dtypes=False, abs_tol=1e-9)
