"""Continuous batching: rows take free slots, a few tokens are decoded for all of them, finished rows leave at once."""

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import torch

from gppo.policy import Policy
from gppo.policy.family import in_family, shape_of
from gppo.rollout.local.decoders import Decoder, FamilyDecoder, TransformersDecoder
from gppo.rollout.local.draw import draw
from gppo.rollout.local.family import Weights
from gppo.rollout.local.prefill import Source, first_logits, prefill
from gppo.rollout.local.randomness import stream_key
from gppo.rollout.local.slots import Ended, Row, Slots
from gppo.rollout.local.steps import Steps
from gppo.rollout.sampler import Request
from gppo.types import Rollout, SamplingSettings, UserError

#: Tokens that may be decoded, from which on the seconds of compiling come back.
COMPILE_TOKENS = 2**21
#: Tokens decoded between two looks at which rows have ended. On a GPU a look is a wait for the device.
_LOOK_CPU, _LOOK_GPU = 4, 16


class LocalSampler:
    """Decodes with the policy's own weights, in this process.

    Args:
        policy: the model; always sampled with its current weights.
        max_rows: responses decoded side by side.
        compiled: whether the decoding step is compiled; None compiles where many tokens may be decoded. What is
            decided does not depend on earlier calls, so that a run that goes on decides as before.
        calls: about how many calls like the first are to come.
    """

    def __init__(self, policy: Policy, max_rows: int = 256, compiled: bool | None = None, *, calls: int = 1) -> None:
        self.policy = policy
        self.max_rows = max_rows
        self.compiled = compiled
        self.calls = calls
        self._steps: dict[bool, Steps] = {}

    def generate(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        *,
        seed: int,
        step: int,
        on_finished: Callable[[Rollout], None] | None = None,
    ) -> list[list[Rollout]]:
        """See ``Sampler.generate``."""
        rows = self._rows(requests, settings)
        done: dict[tuple[int, int], Rollout] = {}

        def finish(ended: Ended) -> None:
            request = requests[ended.row.request]
            rollout = self._rollout(request, request.samples[ended.row.sample], ended)
            done[ended.row.request, ended.row.sample] = rollout
            if on_finished is not None:
                on_finished(rollout)

        was_training = self.policy.model.training
        self.policy.model.eval()
        try:
            with torch.inference_mode():
                self._decode(requests, rows, settings, (seed, step), finish)
        finally:
            self.policy.model.train(was_training)
            for steps in self._steps.values():
                steps.moved()  # a GPU's graphs would keep the cache alive while the policy is trained
        return [[done[i, j] for j in range(len(r.samples))] for i, r in enumerate(requests)]

    def _rows(self, requests: Sequence[Request], settings: SamplingSettings) -> list[Row]:
        """Every response to be sampled, in order."""
        for request in requests:
            if len(request.prompt_ids) >= self.policy.max_context:
                raise UserError(
                    f"problem {request.problem_id}: its prompt has {len(request.prompt_ids)} tokens and the model's "
                    f"context holds {self.policy.max_context}; leave it out or raise model.max_context"
                )
        return [
            Row(i, j, len(r.prompt_ids), self.limit(r, sample, settings))
            for i, r in enumerate(requests)
            for j, sample in enumerate(r.samples)
        ]

    def limit(self, request: Request, sample: int, settings: SamplingSettings) -> int:
        """The longest length of a response, in tokens."""
        return min(settings.max_tokens, self.policy.max_context - len(request.prompt_ids))

    def _decode(
        self,
        requests: Sequence[Request],
        rows: Sequence[Row],
        settings: SamplingSettings,
        key: tuple[int, int],
        finish: Callable[[Ended], None],
    ) -> None:
        """Decode all rows, telling ``finish`` of each as it ends."""
        if not rows:
            return
        slots = Slots(min(self.max_rows, len(rows)), self._stops())
        decoder = self._decoder(slots.size, rows, settings)
        waiting = _Waiting(self.policy, decoder.weights, requests, rows, ahead=self.max_rows // 4)
        look = _LOOK_CPU if self.policy.device.type == "cpu" else _LOOK_GPU
        while waiting.rows or slots.alive:
            if waiting.rows and (decoder.refills or not slots.alive):
                self._refill(slots, waiting, decoder, settings, requests, key, finish)
            elif decoder.worth_closing_up(slots.alive, slots.count):
                decoder.keep(slots.close_up())
            if not slots.alive:
                continue
            count, used = min(look, slots.remaining), np.arange(slots.count)
            tokens, logprobs = decoder.run(*slots.state(), slots.uniforms.take(used, count))
            for ended in slots.record(used, tokens.cpu().numpy(), logprobs.cpu().numpy()):
                finish(ended)

    def _refill(
        self,
        slots: Slots,
        waiting: "_Waiting",
        decoder: Decoder,
        settings: SamplingSettings,
        requests: Sequence[Request],
        key: tuple[int, int],
        finish: Callable[[Ended], None],
    ) -> None:
        """Put waiting rows into the free slots, and draw the first token of each."""
        if not slots.alive:
            slots.rows.clear()
        free = slots.free
        while len(free) and waiting.rows:
            rows, sources = waiting.take(len(free))
            chosen = free[: len(rows)]
            decoder.admit(chosen, sources)
            slots.place(chosen, rows)
            for slot, row in zip(chosen, rows, strict=True):
                request = requests[row.request]
                slots.uniforms.put(slot, stream_key(*key, request.problem_id, request.samples[row.sample]))
            uniforms_B = torch.from_numpy(slots.uniforms.take(chosen, 1)[:, 0]).to(self.policy.device)
            seen_BV = None
            if decoder.seen is not None:
                decoder.seen.start(chosen, [requests[row.request].prompt_ids for row in rows])
                seen_BV = decoder.seen.rows(chosen)
            tokens_B, logprobs_B = draw(first_logits(sources), uniforms_B, settings, seen_BV)
            ended = slots.record(chosen, tokens_B[:, None].cpu().numpy(), logprobs_B[:, None].cpu().numpy())
            for one in ended:
                finish(one)
            if not (ended and decoder.refills):
                return
            free = slots.free

    def _decoder(self, slots: int, rows: Sequence[Row], settings: SamplingSettings) -> Decoder:
        """The fastest decoder that fits the model."""
        if not in_family(self.policy):
            return TransformersDecoder(self.policy, slots, settings)
        many = self.calls * sum(row.limit for row in rows) >= COMPILE_TOKENS
        compiled = many if self.compiled is None else self.compiled
        if compiled not in self._steps:
            self._steps[compiled] = Steps(shape_of(self.policy), self.policy.device, compiled=compiled)
        longest = max(row.prompt_tokens + row.limit for row in rows)
        return FamilyDecoder(self.policy, slots, longest, settings, self._steps[compiled])

    def _stops(self) -> np.ndarray:
        vocabulary = max(self.policy.head.weight.shape[0], max(self.policy.stop_ids) + 1)
        return np.isin(np.arange(vocabulary), self.policy.stop_ids)

    def _rollout(self, request: Request, sample: int, ended: Ended) -> Rollout:
        spoken = ended.ids_T[:-1] if ended.stopped else ended.ids_T
        return Rollout(
            problem_id=request.problem_id,
            sample=sample,
            prompt_ids=request.prompt_ids,
            response_ids=ended.ids_T,
            sampled_logprobs=ended.logprobs_T,
            text=self.policy.tokenizer.decode(spoken, skip_special_tokens=True),
            finish_reason="stop" if ended.stopped else "length",
        )


class _Waiting:
    """Rows that have no slot yet, and the prompts that are computed ahead of them.

    Args:
        policy: the model.
        weights: of a model of the family, for ``prefill``.
        requests: all of them.
        rows: in the order in which they get slots.
        ahead: rows for which prompts are computed beyond those asked for, so that forward passes hold several.
    """

    def __init__(
        self,
        policy: Policy,
        weights: Weights | None,
        requests: Sequence[Request],
        rows: Sequence[Row],
        ahead: int,
    ) -> None:
        self.policy = policy
        self.weights = weights
        self.requests = requests
        self.rows = deque(rows)
        self.ahead = ahead
        self._sources: dict[int, Source] = {}

    def take(self, count: int) -> tuple[list[Row], list[Source]]:
        """The next rows, at most ``count``, and where their prompts are."""
        rows = [self.rows.popleft() for _ in range(min(count, len(self.rows)))]
        if any(row.request not in self._sources for row in rows):
            soon = [*rows, *(self.rows[i] for i in range(min(self.ahead, len(self.rows))))]
            missing = list(dict.fromkeys(row.request for row in soon if row.request not in self._sources))
            found = prefill(self.policy, [self.requests[i].prompt_ids for i in missing], self.weights)
            self._sources |= dict(zip(missing, found, strict=True))
        sources = [self._sources[row.request] for row in rows]
        still = {self.rows[0].request} if self.rows else set()
        for request in {row.request for row in rows} - still:
            del self._sources[request]
        return rows, sources
