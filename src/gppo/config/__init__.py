"""Recipes: one YAML file checked by strict models. The field descriptions are the reference."""

from gppo.config.data import CurateConfig
from gppo.config.distill import DistillConfig
from gppo.config.endpoint import BudgetConfig, EndpointConfig
from gppo.config.evaluation import EvaluateConfig, EvaluationSet, SamplingConfig
from gppo.config.load import dump_recipe, load_recipe, require
from gppo.config.model import LoRAConfig, ModelConfig, TinyConfig, YarnConfig
from gppo.config.optimizer import OptimizerConfig
from gppo.config.parallel import ParallelConfig
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
from gppo.config.selection import (
    CorrectnessConfig,
    DifficultyConfig,
    EmbeddingConfig,
    FaultyTestsConfig,
    FormatConfig,
    JudgeConfig,
    KCenterConfig,
    LanguageConfig,
    MinTestsConfig,
    PassShareConfig,
    TopSourcesConfig,
)
from gppo.config.sft import SFTConfig
from gppo.config.sources import ColumnsConfig, Format, SourceConfig
from gppo.config.steps import (
    DecontaminateConfig,
    ExactDedupConfig,
    NearDedupConfig,
    StepConfig,
    endpoint_of,
    files_of,
)
from gppo.config.verl import VerlConfig
from gppo.config.vllm import VLLMConfig

__all__ = [
    "BudgetConfig",
    "ColumnsConfig",
    "CorrectionConfig",
    "CorrectnessConfig",
    "CurateConfig",
    "DecontaminateConfig",
    "DifficultyConfig",
    "DistillConfig",
    "EmbeddingConfig",
    "EndpointConfig",
    "EvaluateConfig",
    "EvaluationSet",
    "ExactDedupConfig",
    "FaultyTestsConfig",
    "Format",
    "FormatConfig",
    "JudgeConfig",
    "KCenterConfig",
    "KLConfig",
    "LMLossConfig",
    "LanguageConfig",
    "LoRAConfig",
    "MinTestsConfig",
    "ModelConfig",
    "NearDedupConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "OverlongConfig",
    "ParallelConfig",
    "PassShareConfig",
    "RLConfig",
    "Recipe",
    "ResolvedStage",
    "RewardConfig",
    "SFTConfig",
    "SamplingConfig",
    "SourceConfig",
    "StageConfig",
    "StageSettings",
    "StepConfig",
    "TinyConfig",
    "TopSourcesConfig",
    "VLLMConfig",
    "VerlConfig",
    "YarnConfig",
    "dump_recipe",
    "endpoint_of",
    "files_of",
    "load_recipe",
    "require",
]
