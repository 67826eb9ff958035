"""Rollouts: problems in, sampled responses out. One protocol, several engines."""

from gppo.rollout.local import LocalSampler
from gppo.rollout.sampler import Request, Sampler, requests_for, seed_of
from gppo.rollout.shared import SharedSampler

__all__ = ["LocalSampler", "Request", "Sampler", "SharedSampler", "requests_for", "seed_of"]
