"""GPPO in TRL (extra ``trl``): a GRPOTrainer with every objective of this project, its rewards and its decoder.

from gppo.bridges.trl import GPPOConfig, GPPOTrainer, math_reward

args = GPPOConfig(output_dir="out", steps_per_generation=4, learning_rate=1e-6)
GPPOTrainer("Qwen/Qwen3-0.6B", math_reward, args, train_dataset).train()
"""

from gppo.bridges.trl.config import GPPOConfig
from gppo.bridges.trl.rollouts import LocalRollouts
from gppo.bridges.trl.trainer import GPPOTrainer
from gppo.verify import math_reward
from gppo.verify.code import code_reward

__all__ = ["GPPOConfig", "GPPOTrainer", "LocalRollouts", "code_reward", "math_reward"]
