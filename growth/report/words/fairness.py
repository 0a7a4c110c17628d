"""How the fairness ledger is read."""

from __future__ import annotations

from growth.report.labels import listed
from growth.report.words.text import Note, flow, traits_in_words
from growth.spec import GrowthSpec

__all__ = ["about_fairness"]


def about_fairness(spec: GrowthSpec) -> list[Note]:
    """Return how the two tables of the fairness ledger are read."""
    traits = traits_in_words(spec)
    peers = listed([*traits, *(["the make-up of the school"] if spec.peers.composition != "none" else [])])
    between = (
        f"Unadjusted results compare students with the same earlier scores and nothing else; adjusted "
        f"results, those of this page, with {peers} as well. Groups in the model, marked *, average "
        "close to 50 by construction once adjusted: read the unadjusted number to see how they fare."
        if peers
        else "Students are compared on earlier scores and nothing else: groups differ as their growth does."
    )
    intake = flow(
        """A correlation near zero means that results do not go with the students a school gets. Each school
        counts once; intervals are by Fisher's z. The correlation between students is near zero for everything
        in the model by construction, and no evidence that schools are treated alike."""
    )
    price = (
        " "
        + flow(
            """The make-up of schools is in the model, so schools are compared with schools like them: whether
            schools of one kind are more effective than those of another cannot be seen here."""
        )
        if spec.peers.composition != "none"
        else ""
    )
    return [Note("Groups of students", between), Note("Schools and their intake", intake + price)]
