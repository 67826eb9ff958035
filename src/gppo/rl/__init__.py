"""Reinforcement learning: problems -> rollouts -> verdicts -> rewards -> advantages -> coefficients -> update."""

from gppo.rl.loop import Watch, train_rl
from gppo.rl.update import Update, Updater, check_objective

__all__ = ["Update", "Updater", "Watch", "check_objective", "train_rl"]
