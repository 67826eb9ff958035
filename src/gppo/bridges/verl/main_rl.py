"""verl's ``main_ppo`` with our trainer; run as a module, its arguments are verl's options KEY=VALUE."""

from pathlib import Path
from typing import Any

import hydra
import verl.trainer
from verl.trainer.main_ppo import run_ppo
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

from gppo.bridges.verl.guard import end_with_parent, told_reason
from gppo.bridges.verl.jobs import REASON
from gppo.bridges.verl.runner import GppoTaskRunner


@hydra.main(
    config_path=str(Path(verl.trainer.__file__).parent / "config"), config_name="ppo_trainer", version_base=None
)
def main(config: Any) -> None:
    """Check the options and run."""
    end_with_parent()
    with told_reason(Path(config.gppo.metrics).parent / REASON):
        validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
        run_ppo(config, task_runner_class=GppoTaskRunner)


if __name__ == "__main__":
    main()
