"""A teacher's responses: problems put to an endpoint, responses kept at once, judged, and written in order."""

from gppo.curate.distill.result import DistillResult, distill_table
from gppo.curate.distill.stage import distill

__all__ = ["DistillResult", "distill", "distill_table"]
