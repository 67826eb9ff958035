"""verl's SFT on Ray with our metrics file; run as a module, its arguments are verl's options KEY=VALUE."""

import os
from pathlib import Path
from typing import Any

import hydra
import ray
import verl.trainer
from verl.trainer import sft_trainer_ray
from verl.utils.tracking import Tracking

from gppo.bridges.verl.guard import end_with_parent, refuse_few_cpus, told_reason
from gppo.bridges.verl.jobs import REASON
from gppo.bridges.verl.metrics import MetricsFile
from gppo.bridges.verl.options import PLATFORM

_CPUS = 10  # verl's SFT reserves so many beside each GPU


class _Tracking(Tracking):
    def __init__(self, *args: Any, config: Any = None, **named: Any) -> None:
        super().__init__(*args, config=config, **named)
        self.logger["gppo"] = MetricsFile(Path(config["gppo"]["metrics"]))


def _rehearsal(trainer: Any) -> dict[str, Any]:
    """What Ray is told where there is no GPU."""
    if os.environ.get("RAY_ADDRESS", "local") != "local":
        return {"runtime_env": {"env_vars": PLATFORM}}
    workers = trainer.nnodes * trainer.n_gpus_per_node
    return {"num_cpus": _CPUS * workers + 4, "num_gpus": workers, "include_dashboard": False}


@hydra.main(
    config_path=str(Path(verl.trainer.__file__).parent / "config"),
    config_name="sft_trainer_engine",
    version_base=None,
)
def main(config: Any) -> None:
    """Start Ray, or join the cluster of RAY_ADDRESS, and train."""
    end_with_parent()
    with told_reason(Path(config.gppo.metrics).parent / REASON):
        ray.init(**_rehearsal(config.trainer) if os.environ.get("VERL_PLATFORM") == "cpu" else {})
        refuse_few_cpus(ray.cluster_resources(), config.trainer.nnodes * config.trainer.n_gpus_per_node, _CPUS, 0)
        sft_trainer_ray.Tracking = _Tracking
        sft_trainer_ray.SFTTrainer(config=config).fit()


if __name__ == "__main__":
    main()
