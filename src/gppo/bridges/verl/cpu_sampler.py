"""The sampler and the engine of ``cpu``: FSDP2 on gloo, and transformers in an actor beside each worker."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import ray
import torch
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead
from verl.workers.rollout.base import _ROLLOUT_REGISTRY, BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

NAME = "gppo_cpu"


class CpuEngine(FSDPEngineWithLMHead):
    """verl's FSDP engine under the name of another device."""


class Server:
    """A model in float32 that draws one response at a time."""

    def __init__(self, path: str, rank: int, longest: int) -> None:
        from transformers import AutoModelForCausalLM

        torch.manual_seed(rank)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.longest = longest
        self.step: int | None = None
        self.lock = asyncio.Lock()

    async def generate(
        self, request_id: str, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any
    ) -> TokenOutput:
        """Tokens and their log-probabilities, nats, until the stop token or the limit."""
        async with self.lock:
            tokens, logprobs = self._draw(list(prompt_ids), sampling_params)
        return TokenOutput(
            token_ids=tokens, log_probs=logprobs, stop_reason="completed", extra_fields={"global_steps": self.step or 0}
        )

    @torch.no_grad()
    def _draw(self, prompt_ids: list[int], sampling: dict[str, Any]) -> tuple[list[int], list[float]]:
        temperature, limit = float(sampling.get("temperature", 1.0)), int(sampling.get("max_tokens") or self.longest)
        tokens: list[int] = []
        logprobs: list[float] = []
        cache, current = None, torch.tensor([prompt_ids])
        while len(tokens) < limit:
            out = self.model(input_ids=current, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            logprobs_V = torch.log_softmax(out.logits[0, -1].float() / (temperature or 1.0), dim=-1)
            token = int(torch.multinomial(logprobs_V.exp(), 1)) if temperature else int(logprobs_V.argmax())
            tokens.append(token)
            logprobs.append(float(logprobs_V[token]))
            if token == self.model.config.eos_token_id:
                break
            current = torch.tensor([[token]])
        return tokens, logprobs

    async def load(self, weights: dict[str, torch.Tensor], step: int | None) -> None:
        """Take the trainer's weights. Whatever does not fit is an error."""
        missing, unexpected = self.model.load_state_dict(weights, strict=False)
        tied = set(self.model._tied_weights_keys or {}) if self.model.config.tie_word_embeddings else set()
        if unexpected or set(missing) - tied:
            raise RuntimeError(f"weights do not fit: missing {missing[:3]}, unexpected {unexpected[:3]}")
        self.step = step

    async def pid(self) -> int:
        """Of the process."""
        return os.getpid()

    async def nothing(self, *_: Any, **__: Any) -> None:
        """There is no cache to drop and no memory to give back."""

    wake_up = sleep = clear_kv_cache = release_kv_cache = resume_kv_cache = nothing
    abort_all_requests = resume_generation = start_profile = stop_profile = set_global_steps = nothing
    wait_for_requests_to_drain = nothing


class CpuReplica(RolloutReplica):
    """One server for each replica."""

    async def launch_servers(self) -> None:
        """Start it."""
        server = (
            ray.remote(num_cpus=0)(Server)
            .options(name=f"{NAME}_{self.replica_rank}")
            .remote(self.model_config.path, self.replica_rank, self.config.response_length)
        )
        self.servers, self._server_handle = [server], server
        self._server_address = f"{NAME}:{self.replica_rank}"


class CpuAdapter(BaseRollout):
    """A worker's side: hands the weights over."""

    async def resume(self, tags: list[str]) -> None:
        """Nothing sleeps."""

    async def release(self) -> None:
        """Nothing is held."""

    async def update_weights(
        self, weights: Iterator[tuple[str, torch.Tensor]], global_steps: int | None = None, **_: Any
    ) -> None:
        """Collective: every rank must go through all weights, each for its own server."""
        copied = {name: tensor.detach().float().cpu().clone() for name, tensor in weights}
        server = ray.get_actor(f"{NAME}_{os.environ['RANK']}")
        await server.load.remote(copied, global_steps)


EngineRegistry.register(model_type="language_model", backend=["fsdp2"], device="cpu")(CpuEngine)
_ROLLOUT_REGISTRY[(NAME, "async")] = f"{__name__}.CpuAdapter"
RolloutReplicaRegistry.register(NAME, lambda: CpuReplica)
