"""The Ray actor that drives a run: verl's own, with our trainer registered in its process."""

from typing import Any

import ray
from verl.trainer.main_ppo import TaskRunnerV1

from gppo.bridges.verl.guard import refuse_few_cpus

_CPUS = 3  # verl's RL reserves so many beside each GPU
_Runner: Any = TaskRunnerV1.__ray_actor_class__


@ray.remote(num_cpus=1)
class GppoTaskRunner(_Runner):
    """verl looks trainers up by name in this process, so ours must be imported here."""

    def run(self, config: Any) -> None:
        """Train."""
        from gppo.bridges.verl import trainer  # noqa: F401

        stores = config.transfer_queue.backend.SimpleStorage.num_data_storage_units
        gpus = config.trainer.nnodes * config.trainer.n_gpus_per_node
        refuse_few_cpus(ray.cluster_resources(), gpus, _CPUS, stores + 2)  # and a controller, and this actor
        super().run(config)
