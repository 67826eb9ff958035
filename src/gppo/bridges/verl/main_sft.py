"""verl's SFT on Ray with our metrics file; run as a module, its arguments are verl's options KEY=VALUE."""

import os
from pathlib import Path
from typing import Any

import hydra
import ray
import verl.trainer
from verl.trainer import sft_trainer_ray
from verl.utils.tracking import Tracking

from gppo.bridges.verl.guard import end_with_parent
from gppo.bridges.verl.metrics import MetricsFile


class _Tracking(Tracking):
    def __init__(self, *args: Any, config: Any = None, **named: Any) -> None:
        super().__init__(*args, config=config, **named)
        self.logger["gppo"] = MetricsFile(Path(config["gppo"]["metrics"]))


@hydra.main(
    config_path=str(Path(verl.trainer.__file__).parent / "config"),
    config_name="sft_trainer_engine",
    version_base=None,
)
def main(config: Any) -> None:
    """Start Ray, or join the cluster of RAY_ADDRESS, and train."""
    end_with_parent()
    started: dict[str, Any] = {}
    if os.environ.get("VERL_PLATFORM") == "cpu" and os.environ.get("RAY_ADDRESS", "local") == "local":
        workers = config.trainer.nnodes * config.trainer.n_gpus_per_node
        # verl's SFT reserves ten CPUs beside each GPU, and waits for them without end.
        started = {"num_cpus": 10 * workers + 4, "num_gpus": workers, "include_dashboard": False}
    ray.init(**started)
    sft_trainer_ray.Tracking = _Tracking
    sft_trainer_ray.SFTTrainer(config=config).fit()


if __name__ == "__main__":
    main()
