"""Who counts as demographically similar."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from growth.spec.part import PART

__all__ = ["Peers"]


class Peers(BaseModel):
    """Demographic similarity: what joins the prior scores in the model."""

    model_config = PART

    flags: tuple[str, ...] = ()
    """Yes/no student columns."""
    categories: tuple[str, ...] = ()
    """Categorical student columns: a column of the model per level but the reference."""
    reference: dict[str, str] = {}
    """Category -> its reference level; the cohort's most frequent level if not given."""
    interactions: tuple[str, ...] = ()
    """Pairs "a:b" that act on each other: a and b are flags, categories, or "prior", the most recent score in
    the same subject, e.g. "english_learner:disability", "disability:prior"."""
    missing: Literal["error", "exclude", "indicator"] = "error"
    """Students with a missing flag or category: refused, counted out, or kept as "no" and reference level
    with a column of the model that says so."""
    composition: Literal["none", "one_step", "two_step"] = "none"
    """School means of the most recent own prior and of every flag: columns of the model, or taken out of the
    scores before it is fitted (slopes within schools first, then the schools' effects on their means: Ehlert,
    Koedel, Parsons & Podgursky 2016), where scores of students without a school stay as they are."""
    schools_per_trait: int = Field(5, ge=1)
    """Two steps: fewest schools per school mean in a subject and year; each mean takes one school's worth of
    the true differences with it. With fewer, composition is left out, and the run says so."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        names = (*self.flags, *self.categories)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or "prior" in names:
            raise ValueError(f"{twice or ['prior']}: a flag or category is named once, and not 'prior'")
        if loose := sorted(set(self.reference) - set(self.categories)):
            raise ValueError(f"peers.reference names {loose}, not in peers.categories")
        pairs = self.pairs
        for term, pair in zip(self.interactions, pairs, strict=True):
            if len(pair) != 2 or not pair <= {*names, "prior"} or pairs.count(pair) > 1:
                raise ValueError(
                    f"interaction {term!r} must be a pair 'a:b' of two different names among "
                    f"{', '.join((*names, 'prior'))}, given once"
                )
        return self

    @property
    def pairs(self) -> list[frozenset[str]]:
        """The names in each interaction."""
        return [frozenset(term.split(":")) for term in self.interactions]
