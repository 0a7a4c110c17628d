"""What a study varies: factors, their levels, and the combinations of levels that are its variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

from growth.errors import SpecError, problem
from growth.spec import GrowthSpec

__all__ = ["BASE", "Factor", "Factors", "Level", "Range", "Refusal", "Variant", "as_factors", "variant_of"]

BASE = "base"
"""Name of the variant that the others are compared with, and of levels that change nothing."""
_LONGEST = 40
"""Characters of a level's name that is made from its value."""

Factors: TypeAlias = "Mapping[str, Sequence[Any] | Mapping[str, Any] | Range]"


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included, from which a random design draws."""

    low: float
    high: float
    whole: bool = False
    """Whole numbers only."""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise SpecError(problem(f"The range {self.low:g} to {self.high:g} is empty", rule="low < high"))

    def at(self, share: float) -> float | int:
        """Return the number that lies so far in the range, 0 <= share < 1."""
        if self.whole:
            return int(self.low + int(share * (self.high - self.low + 1)))
        return float(f"{self.low + share * (self.high - self.low):.6g}")


@dataclass(frozen=True, slots=True)
class Level:
    """One choice of a factor."""

    name: str
    changes: tuple[tuple[str, Any], ...]
    """Dotted keys of the specification with their values."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A decision: the key or keys that are changed together, and the choices there are."""

    name: str
    levels: tuple[Level, ...]
    range: Range | None = None
    """Instead of levels."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The dotted keys that its levels change."""
        return tuple(dict.fromkeys(key for level in self.levels for key, _ in level.changes)) or (self.name,)

    def level_at(self, share: float) -> Level:
        """Return the level that lies so far among the levels or in the range, 0 <= share < 1."""
        if self.range is None:
            return self.levels[int(share * len(self.levels))]
        value = self.range.at(share)
        return Level(_named(value), ((self.name, value),))


@dataclass(frozen=True, slots=True)
class Variant:
    """One combination of levels, and the specification that it makes of the base."""

    levels: tuple[str, ...]
    """Name of the level of each factor, in the order of the factors."""
    spec: GrowthSpec


@dataclass(frozen=True, slots=True)
class Refusal:
    """A combination without results."""

    levels: tuple[str, ...]
    stage: str
    """``specification``: the choices contradict each other; ``run``: the data do not allow them."""
    reason: str


def as_factors(given: Factors, base: GrowthSpec) -> tuple[Factor, ...]:
    """Read factors.

    Parameters
    ----------
    given : mapping
        Dotted key -> its values, or `Range`; or name -> {level: {dotted key: value, ...}} for keys that are
        changed together.
    base : GrowthSpec
        Levels that are what it already says are named as given.

    Raises
    ------
    SpecError
        If there is no factor, a factor has fewer than two choices (the base's among them), two of its levels
        have one name, or two factors change the same key.
    """
    if not given:
        raise SpecError(
            problem("A study needs a factor", fix='e.g. {"school.aggregate": ["mean", "median"]}')
        )
    factors = tuple(_factor(name, choices) for name, choices in given.items())
    for factor in factors:
        names = [level.name for level in factor.levels]
        if len(set(names)) < len(names):
            raise SpecError(problem(f"Factor {factor.name!r} has two levels of one name: {', '.join(names)}"))
        if factor.range is None and not _varies(factor, base):
            what = f"Factor {factor.name!r} does not vary"
            raise SpecError(problem(what, rule="at least one level that differs from the base"))
    keys = list(chain.from_iterable(factor.keys for factor in factors))
    if shared := sorted({key for key in keys if keys.count(key) > 1}):
        what = f"More than one factor changes {', '.join(shared)}"
        raise SpecError(problem(what, fix="change the keys together, in one factor with named levels"))
    return factors


def variant_of(
    base: GrowthSpec, factors: Sequence[Factor], levels: Sequence[Level | None]
) -> Variant | Refusal:
    """Return the variant of one level per factor, None for what the base says; or why there is none."""
    names = tuple(
        base_level(base, factor) if level is None else level.name
        for factor, level in zip(factors, levels, strict=True)
    )
    changes = dict(chain.from_iterable(level.changes for level in levels if level is not None))
    try:
        return Variant(names, base.replace(changes))
    except SpecError as error:
        return Refusal(names, "specification", str(error))


def base_level(base: GrowthSpec, factor: Factor) -> str:
    """Return the name of the factor's level that is the base's own, `BASE` if it is not among them."""
    return next((level.name for level in factor.levels if _is_base(base, level)), BASE)


def _is_base(base: GrowthSpec, level: Level) -> bool:
    try:
        return base.replace(dict(level.changes)) == base
    except SpecError:
        return False


def _varies(factor: Factor, base: GrowthSpec) -> bool:
    return any(not _is_base(base, level) for level in factor.levels)


def _factor(name: str, choices: Sequence[Any] | Mapping[str, Any] | Range) -> Factor:
    if isinstance(choices, Range):
        return Factor(name, (), choices)
    if isinstance(choices, Mapping):
        if set(choices) <= {"low", "high", "whole"} and {"low", "high"} <= set(choices):
            return Factor(name, (), Range(**choices))
        loose = [level for level, changes in choices.items() if not isinstance(changes, Mapping)]
        if loose:
            what = f"Levels {', '.join(map(repr, loose))} of factor {name!r} are not tables"
            raise SpecError(problem(what, rule="level = { dotted key = value, ... }, or low and high"))
        return Factor(name, tuple(Level(level, tuple(changes.items())) for level, changes in choices.items()))
    if isinstance(choices, str) or not choices:
        raise SpecError(problem(f"Factor {name!r} has no list of values", fix="give a list"))
    return Factor(name, tuple(Level(_named(value), ((name, value),)) for value in choices))


def _named(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    text = ", ".join(map(_named, value)) or "none" if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
