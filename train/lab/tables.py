"""The tables: the paper's claims, and the questions that its authors leave open."""

from .ablations import ABLATIONS
from .questions import QUESTIONS
from .relations import RELATIONS

TABLES = {**ABLATIONS, **RELATIONS, **QUESTIONS}
"""By the name that `swiftsiam lab run` takes."""
