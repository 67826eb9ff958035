"""A model on a server, as evaluation sees it."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from gppo.config import Recipe, require
from gppo.policy import Policy, load_tokenizer
from gppo.rollout import LocalSampler, Sampler
from gppo.rollout.openai import OpenAISampler
from gppo.rollout.vllm import VLLMSampler
from gppo.run import RunFolder
from gppo.run.fingerprint import fingerprint
from gppo.types import UserError

_ONLY_THE_SERVER_KNOWS = 2**31
_VLLM_ROWS = 256


@dataclass(frozen=True, slots=True)
class Served:
    """What evaluation must know of a model that is not here.

    Args:
        tokenizer: makes the prompts; None where the server makes them from turns.
        max_context: the longest prompt and response together, in tokens.
        fingerprint: of the server's address and the model's name. What weights the server has, nobody sees.
    """

    tokenizer: Any
    max_context: int
    fingerprint: str


def served_model(recipe: Recipe) -> Served:
    """The model of ``evaluate.endpoint``.

    Prompts are token ids of the recipe's tokenizer where it has a model section and ``api`` does not say chat.

    Raises:
        UserError: ``api`` says completions and the recipe has no model section, or its tokenizer cannot be read.
    """
    endpoint = require(recipe, "evaluate").endpoint
    if endpoint is None:
        raise UserError("evaluate.endpoint: missing; name the server, or take engine local")
    as_tokens = endpoint.api == "completions" or (endpoint.api is None and recipe.model is not None)
    name = fingerprint(["endpoint", endpoint.url, endpoint.model, repr(sorted(endpoint.extra.items()))])
    context = recipe.model.max_context if recipe.model else None
    tokenizer = load_tokenizer(require(recipe, "model")) if as_tokens else None
    return Served(tokenizer, context or _ONLY_THE_SERVER_KNOWS, name)


def sampler_for(policy: Policy | Served, recipe: Recipe, run: RunFolder) -> AbstractContextManager[Sampler]:
    """What draws the responses: the policy itself, vLLM with its weights, or a server with answers kept in the run."""
    config = require(recipe, "evaluate")
    if not isinstance(policy, Served):
        if config.engine == "vllm":
            return VLLMSampler(policy, require(recipe, "vllm"), _VLLM_ROWS, run.path / "vllm.log")
        return nullcontext(LocalSampler(policy))
    assert config.endpoint is not None
    context = policy.max_context if policy.max_context < _ONLY_THE_SERVER_KNOWS else None
    return OpenAISampler(config.endpoint, run.evaluations / "answers.jsonl", context)
