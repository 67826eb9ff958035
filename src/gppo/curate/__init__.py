"""Training sets from sources: exact duplicates and overlaps with evaluation problems out, every loss counted."""

from gppo.curate.decontaminate import Hit, OverlapIndex, build_index, find_hits
from gppo.curate.dedup import conversation_key, problem_key, question, unique
from gppo.curate.normalise import normal_form, words
from gppo.curate.pipeline import CurateResult, FunnelStep, curate, funnel_table

__all__ = [
    "CurateResult",
    "FunnelStep",
    "Hit",
    "OverlapIndex",
    "build_index",
    "conversation_key",
    "curate",
    "find_hits",
    "funnel_table",
    "normal_form",
    "problem_key",
    "question",
    "unique",
    "words",
]
