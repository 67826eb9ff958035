"""From the steps of a recipe to the steps that work."""

from typing import assert_never

from gppo import config as recipe
from gppo.curate.correctness import Correctness
from gppo.curate.dedup import ExactDedup
from gppo.curate.difficulty import Difficulty
from gppo.curate.diverse import KCenter
from gppo.curate.faulty_tests import FaultyTests
from gppo.curate.form import Format, Language
from gppo.curate.leaks import Decontaminate
from gppo.curate.near import NearDedup
from gppo.curate.rl_filters import MinTests, PassShare
from gppo.curate.step import Step
from gppo.curate.top_sources import TopSources


def step_of(config: recipe.StepConfig) -> Step:
    """The step that a part of the recipe describes. Nothing is read yet."""
    match config:
        case recipe.ExactDedupConfig():
            return ExactDedup()
        case recipe.NearDedupConfig():
            return NearDedup(config)
        case recipe.DecontaminateConfig():
            return Decontaminate(config)
        case recipe.TopSourcesConfig():
            return TopSources(config)
        case recipe.DifficultyConfig():
            return Difficulty(config)
        case recipe.CorrectnessConfig():
            return Correctness(config)
        case recipe.FormatConfig():
            return Format(config)
        case recipe.LanguageConfig():
            return Language(config)
        case recipe.MinTestsConfig():
            return MinTests(config)
        case recipe.FaultyTestsConfig():
            return FaultyTests(config)
        case recipe.PassShareConfig():
            return PassShare(config)
        case recipe.KCenterConfig():
            return KCenter(config)
        case _:
            assert_never(config)
