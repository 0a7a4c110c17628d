"""The freeze bundle: what a base year hands to later years, so that all of a system can improve.

Three parts, each of which may be left out:

* *curves*, the model of every cohort: knots, boundaries, coefficients, what goes with composition. Students
  of a later year are placed among similar students *of the base year*; no model is fitted.
* *norms*, the distributions of school effects. Schools are ranked among the base year's schools.
* *cuts*, the cut points of the levels.

Levels on kept cut points show progress of all schools only if norms are kept, and norms show progress of all
students only if curves are kept: percentiles refitted every year average 50 every year.

Bundles are numbered by `FORMAT`. A later version of this package reads every earlier format and ranks the
same students identically (`fixtures/bundles`); a format from the future is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, get_args

from growth.errors import GrowthError, SpecError, StoreError, problem
from growth.freeze.container import pack, unpack
from growth.index import LevelCuts
from growth.school import Norms
from growth.spec import PARTS, FrozenPart, GrowthSpec
from growth.student import FrozenCurves

__all__ = ["FreezeBundle", "checked_parts"]

FORMAT = 1
WHAT = "growth freeze bundle"

_PLACING = ("student", "peers", "quantiles", "basis", "correction", "simex")
"""Parts of the specification that decide what a student's percentile means, and with it a school's effect;
how effects are made of percentiles is checked by the norms themselves."""


@dataclass(frozen=True, slots=True, eq=False)
class FreezeBundle:
    """Curves, norms and cut points of a base year.

    Make it with `GrowthRun.freeze`, apply it with ``growth.run(table, freeze=bundle)``, keep it with
    `growth.store.save_bundle` and `load_bundle`.
    """

    base_year: int
    spec: GrowthSpec
    """Of the base year's run."""
    input_digest: str
    """SHA-256 of the base year's table."""
    curves: FrozenCurves | None = None
    norms: Norms | None = None
    cuts: LevelCuts | None = None
    written_by: str = ""
    """Version of the package that made the bundle."""
    spec_digest: str = ""
    """SHA-256 of `spec` as that version counted it."""

    def __post_init__(self) -> None:
        if not self.parts:
            raise SpecError(problem("A bundle without a part freezes nothing", fix=_CHOOSE))
        if not self.written_by:
            object.__setattr__(self, "written_by", version("growth"))
            object.__setattr__(self, "spec_digest", self.spec.digest)

    @property
    def parts(self) -> tuple[FrozenPart, ...]:
        """What it holds, of ``curves``, ``norms`` and ``cuts``."""
        held = {"curves": self.curves, "norms": self.norms, "cuts": self.cuts}
        return tuple(part for part in PARTS if held[part] is not None)

    @property
    def digest(self) -> str:
        """SHA-256 of the bundle as a file."""
        import hashlib

        return hashlib.sha256(self.to_bytes()).hexdigest()

    def __repr__(self) -> str:
        lines = [
            f"FreezeBundle(base year {self.base_year}, spec {self.spec.name!r}, growth {self.written_by}"
        ]
        if self.curves is not None:
            gaps = [
                float(cohort.model.relative_gap.max())
                for cohort in self.curves.cohorts
                if hasattr(cohort.model, "relative_gap")
            ]
            proof = f", largest optimality gap {max(gaps):.1e}" if gaps else ""
            lines.append(f"  curves of {len(self.curves)} cohorts{proof}")
        if self.norms is not None:
            lines += [f"  {norm!r}" for norm in self.norms]
        if self.cuts is not None:
            lines.append(f"  cut points ({self.cuts.rule}, digest {self.cuts.digest[:12]})")
        return "\n".join([*lines, ")"])

    def only(self, *parts: FrozenPart) -> FreezeBundle:
        """Return a bundle with some of the parts.

        Raises
        ------
        SpecError
            If one of them is not there.
        """
        chosen = checked_parts(parts)
        if absent := [part for part in chosen if part not in self.parts]:
            what = f"The bundle has no {' and no '.join(absent)}, only {', '.join(self.parts)}"
            raise SpecError(problem(what, fix=_CHOOSE))
        left_out: dict[str, Any] = {part: None for part in PARTS if part not in chosen}
        return replace(self, **left_out)

    def check(self, spec: GrowthSpec) -> None:
        """Refuse a specification under which the frozen numbers would mean something else.

        Raises
        ------
        SpecError
            Names the parts of the specification that differ.
        """
        if self.curves is None and self.norms is None:
            return
        differ = [part for part in _PLACING if getattr(spec, part) != getattr(self.spec, part)]
        if differ:
            raise SpecError(
                problem(
                    f"The specification differs from the bundle's in {', '.join(differ)}",
                    rule="frozen percentiles and ranks keep their meaning",
                    fix="give no specification, which takes the bundle's, or freeze a base year under it",
                )
            )

    def to_bytes(self) -> bytes:
        """Return the content of a bundle file; equal bundles have equal bytes."""
        return pack(
            {
                "what": WHAT,
                "format": FORMAT,
                "growth": self.written_by,
                "base_year": self.base_year,
                "spec": self.spec.model_dump(mode="json"),
                "spec_sha256": self.spec_digest,
                "input_sha256": self.input_digest,
                "curves": None if self.curves is None else self.curves.to_dict(),
                "norms": None if self.norms is None else self.norms.to_dict(),
                "cuts": None if self.cuts is None else self.cuts.to_dict(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> FreezeBundle:
        """Read a bundle file; nothing in it is executed, and everything is checked.

        Raises
        ------
        StoreError
            If it is not a bundle, was changed, or comes from a later version.
        SpecError
            If a part is missing or impossible.
        """
        document = unpack(data)
        _check_format(document)
        try:
            curves, norms, cuts = (document[part] for part in PARTS)
            return cls(
                base_year=int(document["base_year"]),
                spec=GrowthSpec.from_dict(document["spec"]),
                input_digest=str(document["input_sha256"]),
                curves=None if curves is None else FrozenCurves.from_dict(curves),
                norms=None if norms is None else Norms.from_dict(norms),
                cuts=None if cuts is None else LevelCuts.from_dict(cuts),
                written_by=str(document["growth"]),
                spec_digest=str(document["spec_sha256"]),
            )
        except GrowthError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            what = f"The bundle cannot be read: {type(error).__name__} {error}"
            raise StoreError(problem(what, fix="freeze the base year again")) from None


_CHOOSE = f"choose from {', '.join(PARTS)}"


def checked_parts(parts: Iterable[str]) -> tuple[FrozenPart, ...]:
    """Return the parts in their order, each once.

    Raises
    ------
    SpecError
        If one is not known, or there is none.
    """
    given = tuple(parts)
    known = get_args(FrozenPart)
    if unknown := [part for part in given if part not in known]:
        raise SpecError(problem(f"{unknown[0]!r} cannot be frozen", fix=_CHOOSE))
    if not given:
        raise SpecError(problem("Nothing is to be frozen", fix=_CHOOSE))
    return tuple(part for part in PARTS if part in given)


def _check_format(document: Mapping[str, Any]) -> None:
    found, by = document.get("format"), document.get("growth")
    if document.get("what") != WHAT or not isinstance(found, int):
        what = "The file is not a freeze bundle"
        raise StoreError(problem(what, fix="give a file that `growth freeze` or save_bundle wrote"))
    if found > FORMAT:
        raise StoreError(
            problem(
                f"The bundle has format {found}, written by growth {by}",
                rule=f"this version, {version('growth')}, reads formats up to {FORMAT}",
                fix=f"install growth {by} or later",
            )
        )
    if found < 1:
        raise StoreError(problem(f"The bundle has format {found}", rule=f"1 to {FORMAT}"))
