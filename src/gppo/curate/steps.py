"""From the steps of a recipe to the steps that work."""

from typing import assert_never

from gppo.config import DecontaminateConfig, ExactDedupConfig, NearDedupConfig, StepConfig
from gppo.curate.dedup import ExactDedup
from gppo.curate.leaks import Decontaminate
from gppo.curate.near import NearDedup
from gppo.curate.step import Step


def step_of(config: StepConfig) -> Step:
    """The step that a part of the recipe describes. Nothing is read yet."""
    match config:
        case ExactDedupConfig():
            return ExactDedup()
        case NearDedupConfig():
            return NearDedup(config)
        case DecontaminateConfig():
            return Decontaminate(config)
        case _:
            assert_never(config)
