"""The local engine: batched decoding in plain torch with the training model's own weights."""

from gppo.rollout.local.sampler import LocalSampler

__all__ = ["LocalSampler"]
