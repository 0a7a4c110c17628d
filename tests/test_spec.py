"""The specification: validated once, written and read as TOML, changed only by `replace`."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from growth.errors import GrowthError, SpecError
from growth.spec import GrowthSpec
from growth.spec.model import PRESETS, preset_text

FULL: dict[str, Any] = {
    "name": "every part set",
    "columns": {"layout": "growth", "rename": {"score": "scale score"}},
    "scale": {"bounds": {"MATH": {4: (2204.0, 2659.0)}}, "outside": "exclude"},
    "cohorts": {"subjects": ("MATH",), "grades": (4, 11), "years": (2025,), "progressions": {11: (8, 7)}},
    "peers": {
        "flags": ("foster",),
        "categories": ("language",),
        "reference": {"language": "English"},
        "interactions": ("foster:prior", "language:foster"),
        "missing": "indicator",
        "composition": "one_step",
    },
    "basis": {"fixed": {"MATH": {3: {"knots": (2300.0, 2400.0), "boundaries": (2100.0, 2700.0)}}}},
    "quantiles": {"taus": (0.1, 0.5, 0.9), "round_digits": "none"},
    "measurement": {
        "csem": "table",
        "tables": (
            {"subject": "MATH", "grade": 3, "scores": (2200.0, 2400.0), "csem": (40.0, 20.0)},
            {
                "subject": "MATH",
                "grade": 3,
                "years": (2024,),
                "program": "paper",
                "scores": (2200.0, 2400.0, 2600.0),
                "csem": (45.0, 25.0, 45.0),
            },
        ),
        "program": "test_program",
    },
    "correction": {"loss_hoss": True},
    "school": {"aggregate": "median", "min_n": 11},
    "groups": {"flags": {"EL": "english_learner"}, "race": ""},
    "levels": {"rule": "base_deciles"},
    "index": {
        "metrics": {
            "growth": {"domain": "academic"},
            "suspension": {
                "domain": "school_quality",
                "better": "lower",
                "groups": False,
                "school_types": ("High",),
                "cuts": {"High": (9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0)},
            },
        },
        "all_share": 0.5,
        "definitions": {"proficient_scores": {"MATH": {3: 2436.0}}},
    },
    "pairing": {"capacity": 2, "need_weight": 2.0},
}

TABLE: dict[str, Any] = {"subject": "M", "grade": 4, "scores": [1.0, 2.0], "csem": [3.0, 3.0]}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_survive_toml(preset: str, tmp_path: Path) -> None:
    spec = GrowthSpec.preset(preset)
    assert spec.name == preset
    file = tmp_path / "spec.toml"
    file.write_text(spec.to_toml(), "utf-8")
    assert GrowthSpec.from_toml(file) == spec
    assert GrowthSpec.from_toml(str(file)).digest == spec.digest


def test_every_part_survives_toml() -> None:
    spec = GrowthSpec.from_dict(FULL)
    again = GrowthSpec.from_toml(spec.to_toml())
    assert again == spec
    assert again.scale.bounds["MATH"][4] == (2204.0, 2659.0)
    assert again.basis.fixed["MATH"][3].knots == (2300.0, 2400.0)


def test_core_is_the_model_of_the_core_districts() -> None:
    spec = GrowthSpec.preset("core")
    assert (spec.cohorts.own_priors, spec.cohorts.other_priors) == (1, 1)
    assert spec.cohorts.progressions == {11: (8,)}
    assert set(spec.peers.flags) == {
        "econ_disadvantaged",
        "disability",
        "english_learner",
        "homeless",
        "foster",
    }
    assert spec.peers.composition == "two_step"
    assert (spec.school.percentile, spec.school.aggregate) == ("continuous", "mean")
    assert (spec.school.shrinkage, spec.school.growth_percentile) == ("empirical_bayes", "rank")
    assert spec.school.min_n == spec.groups.min_n == 20


def test_sgp_is_the_convention_of_the_r_package() -> None:
    spec = GrowthSpec.preset("sgp")
    assert spec.cohorts.other_priors == 0
    assert not spec.peers.flags
    assert (spec.basis.degree, spec.basis.knot_quantiles) == (3, (0.2, 0.4, 0.6, 0.8))
    assert (spec.basis.boundary_margin, spec.basis.round_digits) == (0.1, 3)
    np.testing.assert_allclose(spec.quantiles.grid(), (np.arange(1, 101) - 0.5) / 100, rtol=0, atol=1e-15)


def test_preset_files_hold_only_choices_and_comments() -> None:
    for preset in PRESETS:
        assert preset_text(preset).startswith("# ")
        assert GrowthSpec.from_dict(tomllib.loads(preset_text(preset))).name == preset


@pytest.mark.parametrize(
    ("given_", "named", "nearest"),
    [
        ({"cohort": {}}, "cohort", "cohorts"),
        ({"cohorts": {"own_prior": 1}}, "cohorts.own_prior", "own_priors"),
        ({"school": {"min_size": 1}}, "school.min_size", "min_n"),
        (
            {"basis": {"fixed": {"M": {"4": {"knots": [1], "boundary": [0, 2], "boundaries": [0, 2]}}}}},
            "basis.fixed.M.4.boundary",
            "boundaries",
        ),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_name(
    given_: dict[str, Any], named: str, nearest: str
) -> None:
    with pytest.raises(SpecError) as caught:
        GrowthSpec.from_dict(given_)
    assert f"unknown key {named!r}" in str(caught.value)
    assert nearest in str(caught.value)


@pytest.mark.parametrize(
    ("given_", "where", "why"),
    [
        ({"cohorts": {"own_priors": 0}}, "cohorts.own_priors = 0", "greater than or equal to 1"),
        ({"school": {"aggregate": "meen"}}, "school.aggregate = 'meen'", "'mean', 'median'"),
        ({"cohorts": {"years": "last"}}, "cohorts.years = 'last'", "'latest' or 'all'"),
        ({"quantiles": {"taus": [0.5, 0.2]}}, "quantiles.taus", "increasing"),
        ({"quantiles": {"round_digits": -2}}, "quantiles.round_digits", "greater than or equal to 0"),
        ({"basis": {"knot_quantiles": [0.8, 0.2]}}, "basis.knot_quantiles", "must not decrease"),
        ({"pairing": {"ridge": float("inf")}}, "pairing.ridge = inf", "finite"),
        ({"quantiles": {"taus": [0.5, 1.0]}}, "quantiles.taus.1 = 1.0", "less than 1"),
        ({"scale": {"bounds": {"M": {4: (5, 2)}}}}, "scale.bounds", "M grade 4"),
        ({"correction": {"loss_hoss": True}}, "spec", "needs scale.bounds"),
        ({"student": {"engine": "eiv"}}, "spec", "needs the CSEM of the priors"),
        ({"student": {"engine": "normal"}, "quantiles": {"count": 50}}, "spec", "cannot honour quantiles"),
        ({"student": {"engine": "residual_gain"}, "basis": {"degree": 2}}, "spec", "cannot honour basis"),
        (
            {
                "student": {"engine": "normal"},
                "correction": {"loss_hoss": True},
                "scale": {"bounds": {"M": {4: (2, 5)}}},
            },
            "spec",
            "cannot honour correction.loss_hoss",
        ),
        ({"student": {"prior_terms": "quadratic"}}, "spec", "cannot honour student.prior_terms"),
        (
            {"student": {"engine": "residual_gain", "not_definite": "partial"}},
            "spec",
            "cannot honour student.not_definite",
        ),
        ({"measurement": {"csem": "table"}}, "measurement", "go together"),
        ({"measurement": {"tables": [TABLE]}}, "measurement", "go together"),
        ({"measurement": {"csem": "table", "tables": [TABLE, TABLE]}}, "measurement", "M grade 4"),
        ({"measurement": {"csem": "table", "tables": [TABLE], "program": "p"}}, "measurement", "program"),
        (
            {"measurement": {"csem": "table", "tables": [TABLE | {"scores": [2.0, 1.0]}]}},
            "measurement.tables.0",
            "must increase",
        ),
        (
            {"measurement": {"csem": "table", "tables": [TABLE | {"csem": [1.0]}]}},
            "measurement.tables.0",
            "as many CSEMs as scores",
        ),
        (
            {"measurement": {"csem": "table", "tables": [TABLE | {"csem": [1.0, -1.0]}]}},
            "measurement.tables.0.csem.1",
            "greater than or equal to 0",
        ),
        (
            {"basis": {"fixed": {"M": {4: {"knots": [1], "boundaries": [3, 0]}}}}},
            "basis.fixed.M.4",
            "within the boundaries",
        ),
    ],
)
def test_impossible_values_are_named(given_: dict[str, Any], where: str, why: str) -> None:
    with pytest.raises(SpecError) as caught:
        GrowthSpec.from_dict(given_)
    message = str(caught.value)
    assert f"  {where}" in message
    assert why in message
    assert "pydantic" not in message
    assert "Value error" not in message


def test_several_mistakes_are_all_listed() -> None:
    with pytest.raises(SpecError) as caught:
        GrowthSpec.from_dict({"cohort": {}, "school": {"min_n": 0}, "levels": {"rule": "fives"}})
    assert all(name in str(caught.value) for name in ("'cohort'", "school.min_n", "levels.rule"))


def test_a_file_that_cannot_be_read_is_a_spec_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        GrowthSpec.from_toml(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name =", "utf-8")
    with pytest.raises(SpecError, match="not valid TOML"):
        GrowthSpec.from_toml(broken)
    broken.write_bytes(b"name = '\xff'")
    with pytest.raises(SpecError, match="cannot be read"):
        GrowthSpec.from_toml(broken)


def test_unknown_preset_names_the_presets() -> None:
    with pytest.raises(SpecError, match=r"presets are core, .*; did you mean 'core'"):
        GrowthSpec.preset("cor")
    with pytest.raises(SpecError, match="neither a preset nor a file"):
        GrowthSpec.of("cor")


def test_whatever_stands_for_a_specification_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = GrowthSpec.preset("core")
    file = tmp_path / "mine"
    file.write_text(core.replace({"name": "mine"}).to_toml(), "utf-8")
    assert GrowthSpec.of(core) is core
    assert GrowthSpec.of("core") == core
    assert GrowthSpec.of({"name": "x"}).name == "x"
    assert GrowthSpec.of(core.to_toml()) == core
    assert GrowthSpec.of(file).name == GrowthSpec.of(str(file)).name == "mine"
    with pytest.raises(SpecError, match="cannot be read"):
        GrowthSpec.of("absent.toml")
    monkeypatch.chdir(tmp_path)
    file.rename("core")
    assert GrowthSpec.of("core") == core, "a file does not hide a preset"


def test_spec_is_frozen() -> None:
    spec = GrowthSpec.preset("core")
    with pytest.raises(ValidationError, match="frozen"):
        spec.school.min_n = 5  # type: ignore[misc]


def test_replace_changes_one_choice_and_validates() -> None:
    spec = GrowthSpec.preset("core")
    changed = spec.replace({"school.min_n": 10, "cohorts.progressions.11": (8, 7)})
    assert changed.school.min_n == 10
    assert changed.cohorts.progressions == {11: (8, 7)}
    assert spec.school.min_n == 20
    assert changed.replace({"school.min_n": 20, "cohorts.progressions.11": (8,)}) == spec


def test_replace_reaches_fixed_knots_by_subject_and_grade() -> None:
    spec = GrowthSpec.from_dict(FULL).replace({"basis.fixed.MATH.3.knots": (2350.0,)})
    assert spec.basis.fixed["MATH"][3].knots == (2350.0,)


@pytest.mark.parametrize("key", ["school.min_m", "skool.min_n", "school.min_n.deeper", "nothing"])
def test_replace_refuses_unknown_keys(key: str) -> None:
    with pytest.raises(SpecError, match=r"[Uu]nknown key"):
        GrowthSpec.preset("core").replace({key: 1})


def test_digest_follows_choices_and_not_their_order() -> None:
    first = GrowthSpec.from_dict({"cohorts": {"progressions": {11: (8,), 5: (4,)}}})
    second = GrowthSpec.from_dict({"cohorts": {"progressions": {5: (4,), 11: (8,)}}})
    assert first == second
    assert first.digest == second.digest
    assert first.digest != first.replace({"cohorts.min_cohort": 1}).digest


# The digest names a specification in manifests and freeze bundles: if this test fails, old digests no longer
# name the same choices, which the changelog must say.
DIGESTS = {
    "core": "ca007ee0eacfe34c0846c0736fd5b4ea24b0bb12c9e6d74f93a3b5672a8f1cfd",
    "core_vendor": "04fe0e646d4330ce54ae25dc77f38b7267ba9e449d4903daa55a5814330714e4",
    "sgp": "f261deee3ab55600e78724e557d9ae496f02edb9858035e7e53ba4905d320d7a",
    "georgia": "8561ce2aa3816af224bcf9ff106bf5e6cdbe2c5a77d9d926a34a3c9f628b5bc5",
    "california": "06cde569f9d5f0b2dc0cc0e28551da4ad1ea36212f09e29a2be7cd406332ce2a",
    "new_york": "9b215146e5d5835ff2d0d48bd54fd29db876573c4a0e97e8bb22b212b79774bf",
}


@pytest.mark.parametrize("preset", PRESETS)
def test_digest_is_stable(preset: str) -> None:
    assert GrowthSpec.preset(preset).digest == DIGESTS[preset]


_leaves = {
    "cohorts.own_priors": st.integers(1, 12),
    "cohorts.min_cohort": st.integers(0, 10_000),
    "cohorts.subjects": st.none() | st.lists(st.text(min_size=1), max_size=3).map(tuple),
    "cohorts.years": st.sampled_from(["latest", "all"]) | st.lists(st.integers(1990, 2100)).map(tuple),
    "peers.composition": st.sampled_from(["none", "one_step", "two_step"]),
    "peers.interactions": st.sampled_from([(), ("foster:prior",), ("homeless:foster", "disability:prior")]),
    "basis.round_digits": st.integers(0, 9) | st.just("none"),
    "basis.boundary_margin": st.floats(0, 10, allow_nan=False),
    "quantiles.taus": st.none()
    | st.sets(st.floats(0.01, 0.99), min_size=2, max_size=5).map(lambda taus: tuple(sorted(taus))),
    "groups.flags": st.dictionaries(st.text(min_size=1), st.text(min_size=1), max_size=3),
}


@given(st.fixed_dictionaries({}, optional=_leaves))
def test_any_replacement_survives_toml(changes: dict[str, Any]) -> None:
    spec = GrowthSpec.preset("core").replace(changes)
    again = GrowthSpec.from_toml(spec.to_toml())
    assert again == spec
    assert again.digest == spec.digest


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[1]] if reference else node


def _unknown_keys(schema: dict[str, Any], node: dict[str, Any], data: dict[str, Any]) -> list[str]:
    """Keys of `data` that the JSON Schema does not allow, following references and maps."""
    node = _resolve(schema, node)
    properties, extra = node.get("properties", {}), node.get("additionalProperties")
    bad = [key for key in data if key not in properties and not isinstance(extra, dict)]
    children = ((properties.get(key, extra), value) for key, value in data.items() if isinstance(value, dict))
    nested = (_unknown_keys(schema, child, value) for child, value in children if isinstance(child, dict))
    return bad + list(itertools.chain.from_iterable(nested))


def test_json_schema_allows_the_presets_and_nothing_else() -> None:
    schema = GrowthSpec.json_schema()
    assert schema["additionalProperties"] is False
    for preset in PRESETS:
        assert _unknown_keys(schema, schema, tomllib.loads(preset_text(preset))) == []
    assert _unknown_keys(schema, schema, tomllib.loads(GrowthSpec.from_dict(FULL).to_toml())) == []
    assert _unknown_keys(schema, schema, {"cohorts": {"own_prior": 1}}) == ["own_prior"]


def test_json_schema_explains_every_part_and_field() -> None:
    schema = GrowthSpec.json_schema()
    bare = [f"{part}.{name}" for part in schema["$defs"] for name in _undescribed(schema["$defs"][part])]
    assert not bare
    assert schema["properties"]["name"]["description"]


def _undescribed(part: dict[str, Any]) -> list[str]:
    assert part["description"]
    return [name for name, field in part["properties"].items() if not field.get("description")]


def test_every_field_has_a_default_and_a_part() -> None:
    for field in GrowthSpec.model_fields.values():
        assert not field.is_required()
        if isinstance(field.default, BaseModel):
            assert type(field.default)() == field.default


def test_spec_errors_are_growth_errors() -> None:
    with pytest.raises(GrowthError):
        GrowthSpec.from_dict({"x": 1})
