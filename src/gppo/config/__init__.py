"""Recipes: one YAML file checked by strict models. The field descriptions are the reference."""

from gppo.config.data import CurateConfig, SourceConfig
from gppo.config.distill import DistillConfig
from gppo.config.endpoint import BudgetConfig, EndpointConfig
from gppo.config.evaluation import EvaluateConfig, EvaluationSet, SamplingConfig
from gppo.config.load import dump_recipe, load_recipe, require
from gppo.config.model import LoRAConfig, ModelConfig, TinyConfig
from gppo.config.optimizer import OptimizerConfig
from gppo.config.recipe import Recipe
from gppo.config.rl import (
    CorrectionConfig,
    KLConfig,
    LMLossConfig,
    ObjectiveConfig,
    OverlongConfig,
    ResolvedStage,
    RewardConfig,
    RLConfig,
    StageConfig,
    StageSettings,
)
from gppo.config.sft import SFTConfig
from gppo.config.vllm import VLLMConfig

__all__ = [
    "BudgetConfig",
    "CorrectionConfig",
    "CurateConfig",
    "DistillConfig",
    "EndpointConfig",
    "EvaluateConfig",
    "EvaluationSet",
    "KLConfig",
    "LMLossConfig",
    "LoRAConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "OverlongConfig",
    "RLConfig",
    "Recipe",
    "ResolvedStage",
    "RewardConfig",
    "SFTConfig",
    "SamplingConfig",
    "SourceConfig",
    "StageConfig",
    "StageSettings",
    "TinyConfig",
    "VLLMConfig",
    "dump_recipe",
    "load_recipe",
    "require",
]
