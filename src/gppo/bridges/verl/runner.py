"""The Ray actor that drives a run: verl's own, with our trainer registered in its process."""

from typing import Any

import ray
from verl.trainer.main_ppo import TaskRunnerV1

_Runner: Any = TaskRunnerV1.__ray_actor_class__


@ray.remote(num_cpus=1)
class GppoTaskRunner(_Runner):
    """verl looks trainers up by name in this process, so ours must be imported here."""

    def run(self, config: Any) -> None:
        """Train."""
        from gppo.bridges.verl import trainer  # noqa: F401

        super().run(config)
