"""Three kinds of percentile, three types."""

from __future__ import annotations

import numpy as np
import pytest

from growth.errors import GrowthError, MeasureError
from growth.measures import SchoolGrowthPercentile, SchoolMeanPercentile, StudentPercentile, require

KINDS = [StudentPercentile, SchoolMeanPercentile, SchoolGrowthPercentile]


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_a_frozen_copy(kind: type[SchoolGrowthPercentile]) -> None:
    given = np.array([0.2, np.nan, 1.0])
    measure = kind(given)
    given[0] = 0.9
    assert measure.values[0] == 0.2
    assert len(measure) == 3
    with pytest.raises(ValueError, match="read-only"):
        measure.values[0] = 0.5
    with pytest.raises(AttributeError):
        measure.values = given  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (StudentPercentile, [0.5, 50.0]),
        (StudentPercentile, [-0.1]),
        (SchoolMeanPercentile, [100.1]),
        (SchoolGrowthPercentile, [-0.1, 50.0]),
    ],
)
def test_values_outside_the_range_are_refused_and_counted(
    kind: type[SchoolGrowthPercentile], values: list[float]
) -> None:
    with pytest.raises(MeasureError, match=rf"{kind.__name__}: 1 value\(s\) outside"):
        kind(np.array(values))


@pytest.mark.parametrize("given", KINDS)
@pytest.mark.parametrize("wanted", KINDS)
def test_only_the_required_kind_passes(
    wanted: type[SchoolGrowthPercentile], given: type[SchoolGrowthPercentile]
) -> None:
    measure = given(np.array([0.5]))
    if wanted is given:
        assert require(wanted, measure, "A rule") is measure
        return
    with pytest.raises(
        MeasureError, match=f"A rule is defined for a {wanted.__name__}, not for {given.__name__}"
    ):
        require(wanted, measure, "A rule")


@pytest.mark.parametrize("bare", [np.array([50.0]), 50.0, [50.0], None])
def test_numbers_without_a_kind_are_refused(bare: object) -> None:
    with pytest.raises(MeasureError, match="Wrap the array"):
        require(SchoolGrowthPercentile, bare, "A level")


def test_the_error_is_a_type_error_and_a_growth_error() -> None:
    assert issubclass(MeasureError, TypeError)
    assert issubclass(MeasureError, GrowthError)


def test_repr_shows_the_kind_and_no_values() -> None:
    assert repr(StudentPercentile(np.array([0.123]))) == "StudentPercentile(n=1)"
