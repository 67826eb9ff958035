"""Several GPUs on one machine: what FSDP2 is told."""

from pydantic import Field

from gppo.config.base import Strict


class ParallelConfig(Strict):
    """How torchrun's ranks share the model; see docs/parallel.md. A process that is alone reads none of it."""

    reshard_after_forward: bool = Field(
        default=True,
        description="Give back a layer's gathered weights after its forward and gather them again for its backward. "
        "false: a third less traffic, and the whole model's weights in memory during an update.",
    )
    offload: bool = Field(
        default=False, description="Keep weights, gradients and moments in main memory between uses; slow. For GPUs."
    )
