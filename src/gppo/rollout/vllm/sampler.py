"""Rollouts by vLLM, which is sent the policy's weights before every one of them.

Whether weights have changed is not asked: torch's fused optimizers change them without counting it in the tensors'
versions, and reading all of them to find out costs what sending them costs.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import save_file

from gppo.config import VLLMConfig
from gppo.policy import Policy
from gppo.policy.lora import merged_state
from gppo.rollout.sampler import Request, seed_of
from gppo.rollout.vllm.process import VLLMProcess, exchange_folder
from gppo.types import GppoError, Rollout, SamplingSettings, UserError

#: Nats that a token's log-probability may differ between vLLM and the policy where both have the same weights.
_SAME_WEIGHTS = {torch.float32: 1e-2, torch.bfloat16: 0.5}


class VLLMSampler:
    """A ``Sampler`` whose engine is vLLM, in a process of its own. Use it as a context manager.

    Every response has a seed of its own, made from (run seed, step, problem, sample): the same requests in the same
    order give the same responses. Other than with the local sampler, a response may change with what is decoded beside
    it, because vLLM's kernels round differently in other batches.

    Args:
        policy: always sampled with its current weights.
        config: the recipe's.
        rows: responses decoded side by side.
        log: a file for what vLLM says.
    """

    def __init__(self, policy: Policy, config: VLLMConfig, rows: int, log: Path) -> None:
        self.policy = policy
        self.config = config
        self.rows = rows
        self.log = log
        self._compared = False
        self._asleep = False
        self._process: VLLMProcess | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def generate(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        *,
        seed: int,
        step: int,
        on_finished: Callable[[Rollout], None] | None = None,
    ) -> list[list[Rollout]]:
        """See ``Sampler.generate``.

        Raises:
            GppoError: vLLM failed, its process ended, or it does not compute what the policy does.
        """
        wanted = [(i, sample) for i, request in enumerate(requests) for sample in request.samples]
        if not wanted:
            return [[] for _ in requests]
        engine = self._engine()
        asked = [
            (i, seed_of(seed, step, requests[i].problem_id, sample), self._limit(requests[i], settings))
            for i, sample in wanted
        ]
        done: dict[tuple[int, int], Rollout] = {}
        try:
            self._send_weights(engine)
            prompts = [request.prompt_ids for request in requests]
            engine.tell("generate", prompts=prompts, wanted=asked, sampling=self._sampling(settings))
            while "all" not in (answer := engine.answer()):
                i, sample = wanted[answer["ended"]]
                rollout = done[i, sample] = self._rollout(requests[i], sample, answer)
                if on_finished is not None:
                    on_finished(rollout)
        except BaseException:
            self._abandon(engine)
            raise
        if self.config.sleep:
            engine.ask("sleep")
            self._asleep = True
        return [[done[i, sample] for sample in request.samples] for i, request in enumerate(requests)]

    def _engine(self) -> VLLMProcess:
        """vLLM, started at the first call."""
        if self._process is not None:
            return self._process
        config, policy = self.config, self.policy
        if policy.device.type == "cpu" and config.sleep:
            raise UserError("vllm.sleep: on a CPU vLLM cannot give its memory back; leave it out")
        process = self._stack.enter_context(
            VLLMProcess(
                config.python.expanduser().absolute(),  # not resolved: a virtual environment's python is a link
                self.log,
                on_cpu=policy.device.type == "cpu",
                threads=torch.get_num_threads(),
                cache_gb=config.cpu_cache_gb,
                devices=config.devices,
            )
        )
        with TemporaryDirectory(prefix="gppo-vllm-") as folder:
            described: Any = copy.deepcopy(policy.model.config)
            described.architectures = [type(policy.model).__name__]  # a model that was never saved does not say it
            described.save_pretrained(folder)
            policy.tokenizer.save_pretrained(folder)
            self._write_weights(Path(folder))
            arguments: dict[str, Any] = {
                "model": folder,
                "dtype": str(policy.compute_dtype).removeprefix("torch."),
                "max_model_len": policy.max_context,
                "max_num_seqs": self.rows,
                "enforce_eager": config.eager or policy.device.type == "cpu",
                "enable_sleep_mode": config.sleep,
                "tensor_parallel_size": config.tensor_parallel,
            }
            if policy.device.type != "cpu":
                arguments["gpu_memory_utilization"] = config.memory_share
            process.ask("start", **arguments)
        self._process = process
        return process

    def _send_weights(self, engine: VLLMProcess) -> None:
        if self._asleep:
            engine.ask("wake")
            self._asleep = False
        size = sum(tensor.numel() for tensor in self.policy.model.state_dict().values())
        with exchange_folder(size * self.policy.compute_dtype.itemsize) as folder:
            self._write_weights(folder)
            engine.ask("reload", folder=str(folder))
        if not self._compared:
            self._compare(engine)
            self._compared = True

    def _write_weights(self, folder: Path) -> None:
        """The whole model, adapters merged, in the precision of products."""
        state = merged_state(self.policy.model)
        # Copies, so that a tied head is written under its own name too: vLLM does not tie it again by itself.
        dtype = self.policy.compute_dtype
        copies = {name: tensor.to("cpu", dtype, copy=True).contiguous() for name, tensor in state.items()}
        save_file(copies, folder / "model.safetensors", {"format": "pt"})

    def _compare(self, engine: VLLMProcess) -> None:
        """Whether vLLM, after its first weights, says what the policy says; a wrong engine trains without an error."""
        prompt = np.arange(8, dtype=np.int64) % self.policy.config.vocab_size
        engine.tell("generate", prompts=[prompt], wanted=[(0, 0, 4)], sampling={"temperature": 1.0, "ignore_eos": True})
        answer = engine.answer()
        assert "all" in engine.answer()
        said = np.array(answer["ids"], dtype=np.int64)
        with torch.no_grad():
            logprobs_N, _ = self.policy.logprobs_N(self.policy.tokens([prompt], [said]))
        gap = float(np.abs(logprobs_N.float().cpu().numpy() - np.array(answer["logprobs"])).max())
        if not gap <= _SAME_WEIGHTS[self.policy.compute_dtype]:
            raise GppoError(
                f"vLLM computes other probabilities than the model that is trained ({gap:.2g} nats apart for one "
                f"token): it does not support this model, or its weights did not arrive; see {self.log}"
            )

    def _abandon(self, engine: VLLMProcess) -> None:
        """Have what is under way ended, its answers unread; without vLLM, nothing."""
        try:
            engine.tell("abort")
            while "aborted" not in engine.answer():
                pass
        except GppoError:
            self._process, self._compared = None, False  # the next call starts another

    def _limit(self, request: Request, settings: SamplingSettings) -> int:
        room = self.policy.max_context - len(request.prompt_ids)
        if room < 1:
            raise UserError(
                f"problem {request.problem_id}: its prompt has {len(request.prompt_ids)} tokens and the model's "
                f"context holds {self.policy.max_context}; leave it out or raise model.max_context"
            )
        return min(settings.max_tokens, room)

    def _sampling(self, settings: SamplingSettings) -> dict[str, Any]:
        return {
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "top_k": settings.top_k,
            "repetition_penalty": settings.repetition_penalty,
            "stop_token_ids": list(self.policy.stop_ids),
        }

    def _rollout(self, request: Request, sample: int, answer: dict[str, Any]) -> Rollout:
        stopped = answer["why"] == "stop"
        ids = np.array(answer["ids"], dtype=np.int64)
        return Rollout(
            problem_id=request.problem_id,
            sample=sample,
            prompt_ids=request.prompt_ids,
            response_ids=ids,
            sampled_logprobs=np.array(answer["logprobs"], dtype=np.float32),
            text=self.policy.tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=True),
            finish_reason="stop" if stopped else "length",
        )
