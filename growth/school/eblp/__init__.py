"""Best linear prediction of school growth over years, grades and subjects (EBLP)."""

from growth.school.eblp.data import StudentBlocks
from growth.school.eblp.fit import Eblp, EblpOptions, Known, eblp
from growth.school.eblp.target import Target

__all__ = ["Eblp", "EblpOptions", "Known", "StudentBlocks", "Target", "eblp"]
