"""A run is a folder: recipe, environment, metrics, rollouts; and the progress line of whatever is running."""

from gppo.run.environment import describe_environment
from gppo.run.folder import RunFolder
from gppo.run.progress import Bar, progress
from gppo.run.rollouts import SCHEMA, RolloutRow, read_rollouts, rollout_path, rollout_steps, write_rollouts
from gppo.run.trackers import Tracker, check_trackers, open_trackers

__all__ = [
    "SCHEMA",
    "Bar",
    "RolloutRow",
    "RunFolder",
    "Tracker",
    "check_trackers",
    "describe_environment",
    "open_trackers",
    "progress",
    "read_rollouts",
    "rollout_path",
    "rollout_steps",
    "write_rollouts",
]
