"""The cluster that a recipe runs on with ``--engine verl``."""

from pydantic import Field, field_validator

from gppo.config.base import Strict


class VerlConfig(Strict):
    """Size and settings of a run by verl on Ray. What is trained stays in ``sft`` and ``rl``."""

    address: str | None = Field(
        default=None, description="Of a Ray cluster, e.g. 'auto' on one of its nodes; a local one is started otherwise."
    )
    nodes: int = Field(default=1, description="Machines.", ge=1)
    gpus_per_node: int = Field(default=8, description="GPUs of a machine; with device cpu, worker processes.", ge=1)
    sequence_parallel: int = Field(
        default=1, description="GPUs that share the tokens of one sequence (Ulysses); for long responses.", ge=1
    )
    rollout: str = Field(default="vllm", description="What samples: vllm or sglang, as verl names them.", min_length=1)
    rollout_parallel: int = Field(default=1, description="GPUs that share the weights of one sampler.", ge=1)
    rollout_memory: float = Field(default=0.6, description="Share of a GPU's memory that a sampler takes.", gt=0, lt=1)
    rollout_rows: int = Field(default=256, description="Responses that a sampler decodes side by side.", ge=1)
    offload: bool = Field(
        default=False, description="Keep weights and optimizer state in main memory while responses are sampled."
    )
    restarts: int = Field(
        default=1, description="How often a run that broke off is started again from its newest checkpoint.", ge=0
    )
    options: list[str] = Field(
        default_factory=list, description="verl's own options, KEY=VALUE each; they come last and win."
    )

    @field_validator("options")
    @classmethod
    def _keys_and_values(cls, options: list[str]) -> list[str]:
        for option in options:
            if not option.partition("=")[0].strip() or "=" not in option:
                raise ValueError(f"'{option}' is no KEY=VALUE")
        return options
