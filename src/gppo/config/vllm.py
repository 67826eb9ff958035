"""vLLM as the sampler."""

from pathlib import Path

from pydantic import Field

from gppo.config.base import Strict


class VLLMConfig(Strict):
    """vLLM runs in its own process and environment; it is sent the weights before every rollout."""

    python: Path = Field(description="The interpreter of an environment with vLLM, e.g. .venv-vllm/bin/python.")
    memory_share: float = Field(default=0.45, description="Share of a GPU's memory that vLLM takes.", gt=0, lt=1)
    sleep: bool = Field(
        default=False, description="Give the GPU's memory back between rollouts; for a GPU that also trains."
    )
    devices: str | None = Field(
        default=None, description="GPUs of its own, as in CUDA_VISIBLE_DEVICES; those of the trainer where not given."
    )
    tensor_parallel: int = Field(default=1, description="GPUs that share one copy of the model.", ge=1)
    eager: bool = Field(default=False, description="Without CUDA graphs: starts sooner, decodes slower.")
    cpu_cache_gb: int = Field(default=1, description="Memory for keys and values where vLLM runs on a CPU, GB.", ge=1)
