"""vLLM as a sampler: in its own process and environment, with the weights that are trained."""

from gppo.rollout.vllm.sampler import VLLMSampler

__all__ = ["VLLMSampler"]
