"""Frozen models as plain values and arrays, and back: whatever comes from a file is checked here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from growth._types import FloatArray
from growth.errors import SpecError, problem
from growth.quantile import SplineBasis
from growth.student.models import (
    CohortModel,
    FrozenLine,
    LinearModel,
    Makeup,
    NormalModel,
    QuantileModel,
)

__all__ = ["line_of", "makeup_of", "model_of", "plain", "require", "unreadable"]

_AGAIN = "freeze the base year again; a bundle is not to be edited"


def plain(part: CohortModel | Makeup | FrozenLine) -> dict[str, Any]:
    """Return the fields of a part, with arrays as they are."""
    fields = {name: getattr(part, name) for name in part.__slots__}
    if "bases" in fields:
        fields["bases"] = [
            {"knots": list(b.knots), "boundaries": list(b.boundaries), "degree": b.degree}
            for b in fields["bases"]
        ]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def _quantile(data: Mapping[str, Any]) -> QuantileModel:
    taus, names = _vector(data["taus"]), tuple(map(str, data["names"]))
    coef = _finite(data["coef"], 2)
    dropped, fallback = (tuple(int(j) for j in data[name]) for name in ("dropped", "fallback"))
    model = QuantileModel(
        _bases(data["bases"]),
        names,
        taus,
        coef,
        dropped,
        _vector(data["objective"]),
        _vector(data["relative_gap"]),
        fallback,
    )
    require(coef.shape == (len(taus), len(names)), "one coefficient per tau and column")
    require(len(taus) > 1 and bool(np.all(np.diff([0.0, *taus, 1.0]) > 0)), "increasing taus in (0, 1)")
    require(len(model.objective) == len(model.relative_gap) == len(taus), "a certificate per tau")
    require(all(0 <= j < len(names) for j in dropped), "dropped columns among the columns")
    return model


def _normal(data: Mapping[str, Any]) -> NormalModel:
    knots, log_variance = _vector(data["knots"]), _vector(data["log_variance"])
    require(len(knots) == len(log_variance) != 1 and bool(np.all(np.diff(knots) > 0)), "increasing knots")
    names, coef = tuple(map(str, data["names"])), _vector(data["coef"])
    require(len(names) == len(coef), "one coefficient per column")
    return NormalModel(
        _bases(data["bases"]),
        names,
        coef,
        tuple(map(str, data["dropped"])),
        _positive(data["residual_sd"]),
        _number(data["r2"]),
        knots,
        log_variance,
    )


def _linear(data: Mapping[str, Any]) -> LinearModel:
    names, coef, residuals = tuple(map(str, data["names"])), _vector(data["coef"]), _vector(data["residuals"])
    require(len(names) == len(coef), "one coefficient per column")
    require(len(residuals) > 1 and bool(np.all(np.diff(residuals) >= 0)), "ascending residuals")
    return LinearModel(
        names,
        coef,
        _vector(data["centres"]),
        tuple(map(str, data["dropped"])),
        _positive(data["residual_sd"]),
        _number(data["r2"]),
        _number(data["least_reliability"]),
        int(data["capped"]),
        residuals,
    )


_MODELS: dict[str, Callable[[Mapping[str, Any]], CohortModel]] = {
    "quantile": _quantile,
    "normal": _normal,
    "eiv": _linear,
    "residual_gain": _linear,
}


def model_of(engine: str, data: Mapping[str, Any]) -> CohortModel:
    """Restore the model of a cohort."""
    return _MODELS[engine](data)


def makeup_of(data: Mapping[str, Any]) -> Makeup:
    """Restore what composition needs of a cohort."""
    spread = _number(data["spread"])
    require(spread >= 0, "spread of 0 or more")
    return Makeup(_positive(data["prior_sd"]), _vector(data["means"]), spread)


def line_of(data: Mapping[str, Any]) -> FrozenLine:
    """Restore the line of a subject."""
    traits, slopes = tuple(map(str, data["traits"])), _vector(data["slopes"])
    error = np.asarray(data["standard_error"], dtype=np.float64)
    status = tuple(map(str, data["status"]))
    require(len(traits) == len(slopes) == len(status) and error.shape == slopes.shape, "a slope per trait")
    covariance = data.get("covariance")
    if covariance is not None:
        covariance = np.asarray(covariance, dtype=np.float64).reshape(len(slopes), -1)
        require(covariance.shape == (len(slopes), len(slopes)), "a square of covariances")
    year, subject, schools = int(data["year"]), str(data["subject"]), int(data["schools"])
    return FrozenLine(year, subject, traits, slopes, error, status, schools, covariance)


def _bases(data: Any) -> tuple[SplineBasis, ...]:  # noqa: ANN401
    return tuple(
        SplineBasis(tuple(map(float, b["knots"])), _pair(b["boundaries"]), int(b["degree"])) for b in data
    )


def _pair(values: Any) -> tuple[float, float]:  # noqa: ANN401
    low, high = values
    return float(low), float(high)


def _vector(values: Any) -> FloatArray:  # noqa: ANN401
    return _finite(values, 1)


def _finite(values: Any, ndim: int) -> FloatArray:  # noqa: ANN401
    array = np.asarray(values, dtype=np.float64)
    require(array.ndim == ndim and bool(np.isfinite(array).all()), "finite numbers in the right shape")
    return array


def _number(value: Any) -> float:  # noqa: ANN401
    number = float(value)
    require(bool(np.isfinite(number)), "finite numbers")
    return number


def _positive(value: Any) -> float:  # noqa: ANN401
    number = _number(value)
    require(number > 0, "positive spreads")
    return number


def unreadable(error: Exception) -> SpecError:
    """Return what is raised where a part is missing or of another kind."""
    what = f"Frozen curves cannot be read: {type(error).__name__} {error}"
    return SpecError(problem(what, fix=_AGAIN))


def require(holds: bool, rule: str) -> None:
    """Refuse values that cannot have been frozen.

    Raises
    ------
    SpecError
        If the rule is broken.
    """
    if not holds:
        raise SpecError(problem("Frozen curves are not usable", rule=rule, fix=_AGAIN))
