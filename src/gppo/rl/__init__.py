"""Reinforcement learning: problems -> rollouts -> verdicts -> rewards -> advantages -> coefficients -> update."""

from gppo.rl.loop import Watch, train_rl
from gppo.rl.update import Update, Updater

__all__ = ["Update", "Updater", "Watch", "train_rl"]
