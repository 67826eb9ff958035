"""The nouns of the project: frozen, numpy only, shapes in their fields.

Axes: P problems, G responses in a group, B rows, T tokens, V vocabulary, H hidden.
"""

from gppo.types.batch import Batch
from gppo.types.errors import Diverged, GppoError, UserError
from gppo.types.evaluation import Evaluation
from gppo.types.problem import Message, Problem
from gppo.types.rollout import Group, Rollout, SamplingSettings
from gppo.types.verdict import Verdict

__all__ = [
    "Batch",
    "Diverged",
    "Evaluation",
    "GppoError",
    "Group",
    "Message",
    "Problem",
    "Rollout",
    "SamplingSettings",
    "UserError",
    "Verdict",
]
