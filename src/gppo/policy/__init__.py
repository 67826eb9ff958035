"""The policy: a causal language model, its chat tokens, its log-probabilities and how they are learned from."""

from gppo.policy._restore import load_model
from gppo.policy.adopt import adopt_model
from gppo.policy.chat import encode_conversation, encode_prompt, opens_thinking
from gppo.policy.checkpoint import Checkpoints
from gppo.policy.device import place
from gppo.policy.export import export_model, newest_checkpoint
from gppo.policy.family import join_matrices
from gppo.policy.load import load_policy, load_tokenizer
from gppo.policy.logprobs import chunked_logprobs, single_pass_logprobs
from gppo.policy.memory import within_memory
from gppo.policy.model import Policy
from gppo.policy.optimizer import Optimizer
from gppo.policy.parallel import filled, give_back, shard, without_weights
from gppo.policy.passes import idle, passes
from gppo.policy.seeds import seed_step
from gppo.policy.tiny import byte_tokenizer, tiny_qwen3
from gppo.policy.weights import weights_fingerprint
from gppo.policy.world import ALONE, World, joined, raised_on_all

__all__ = [
    "ALONE",
    "Checkpoints",
    "Optimizer",
    "Policy",
    "World",
    "adopt_model",
    "byte_tokenizer",
    "chunked_logprobs",
    "encode_conversation",
    "encode_prompt",
    "export_model",
    "filled",
    "give_back",
    "idle",
    "join_matrices",
    "joined",
    "load_model",
    "load_policy",
    "load_tokenizer",
    "newest_checkpoint",
    "opens_thinking",
    "passes",
    "place",
    "raised_on_all",
    "seed_step",
    "shard",
    "single_pass_logprobs",
    "tiny_qwen3",
    "weights_fingerprint",
    "within_memory",
    "without_weights",
]
