"""The loop over tokens: draw, append, let finished rows leave."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from gppo.policy import Policy
from gppo.rollout.local.decoders import decoder_for
from gppo.rollout.local.draw import draw
from gppo.rollout.local.prefill import prefill
from gppo.rollout.local.randomness import Uniforms, uniform_stream
from gppo.rollout.sampler import Request
from gppo.types import Rollout, SamplingSettings, UserError

#: Finished rows leave once this share of the batch is done: fewer, larger copies of the cache.
_LEAVE_SHARE = 0.25


class LocalSampler:
    """Decodes with the policy's own weights, in this process.

    Args:
        policy: the model; always sampled with its current weights.
        max_rows: responses decoded side by side.
    """

    def __init__(self, policy: Policy, max_rows: int = 256) -> None:
        self.policy = policy
        self.max_rows = max_rows

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
        for request in requests:
            if len(request.prompt_ids) >= self.policy.max_context:
                raise UserError(
                    f"problem {request.problem_id}: its prompt has {len(request.prompt_ids)} tokens and the model's "
                    f"context holds {self.policy.max_context}; leave it out or raise model.max_context"
                )
        done: dict[tuple[int, int], Rollout] = {}
        was_training = self.policy.model.training
        self.policy.model.eval()
        try:
            with torch.inference_mode():
                for wave in self._waves(requests):
                    for key, rollout in self._decode(requests, wave, settings, seed, step):
                        done[key] = rollout
                        if on_finished is not None:
                            on_finished(rollout)
        finally:
            self.policy.model.train(was_training)
        return [[done[i, j] for j in range(len(r.samples))] for i, r in enumerate(requests)]

    def _waves(self, requests: Sequence[Request]) -> list[list[tuple[int, int]]]:
        """(request, position in its samples) of the rows that decode together; a group stays together if it fits."""
        rows = [(i, j) for i, request in enumerate(requests) for j in range(len(request.samples))]
        waves: list[list[tuple[int, int]]] = []
        for i, request in enumerate(requests):
            group = [(i, j) for j in range(len(request.samples))]
            if waves and len(waves[-1]) + len(group) <= self.max_rows:
                waves[-1] += group
            else:
                waves += [group[k : k + self.max_rows] for k in range(0, len(group), self.max_rows)]
        assert sum(map(len, waves)) == len(rows)
        return waves

    def _decode(
        self,
        requests: Sequence[Request],
        wave: list[tuple[int, int]],
        settings: SamplingSettings,
        seed: int,
        step: int,
    ) -> Iterator[tuple[tuple[int, int], Rollout]]:
        """Decode one wave, giving each rollout as its row finishes."""
        used = sorted({i for i, _ in wave})
        start = prefill(
            self.policy, [requests[i].prompt_ids for i in used], [sum(i == other for i, _ in wave) for other in used]
        )
        decoder, logits_BV = decoder_for(self.policy, start), start.logits_BV
        device = logits_BV.device
        keys = np.array(wave)
        uniforms = Uniforms(
            [uniform_stream(seed, step, requests[i].problem_id, requests[i].samples[j]) for i, j in wave]
        )
        limit_B = np.array(
            [min(settings.max_tokens, self.policy.max_context - len(requests[i].prompt_ids)) for i, _ in wave]
        )
        tokens_Bt = np.zeros((len(wave), int(limit_B.max())), dtype=np.int64)
        logprobs_Bt = np.zeros(tokens_Bt.shape, dtype=np.float32)
        alive_B = np.ones(len(wave), dtype=bool)
        row_B = np.arange(len(wave))  # which of the wave's rows sits in each row of the shrinking batch
        for t in range(tokens_Bt.shape[1]):
            drawn_B, logprob_B = draw(logits_BV, torch.from_numpy(uniforms.next_B().copy()).to(device), settings)
            drawn = drawn_B.cpu().numpy()
            tokens_Bt[row_B, t], logprobs_Bt[row_B, t] = drawn, logprob_B.cpu().numpy()
            stopped_b = np.isin(drawn, self.policy.stop_ids)
            ending_b = alive_B[row_B] & (stopped_b | (t + 1 >= limit_B[row_B]))
            for b in np.flatnonzero(ending_b):
                row = row_B[b]
                i, j = keys[row]
                ids, logprobs = tokens_Bt[row, : t + 1].copy(), logprobs_Bt[row, : t + 1].copy()
                yield (i, j), self._rollout(requests[i], j, ids, logprobs, bool(stopped_b[b]))
            alive_B[row_B[ending_b]] = False
            alive_b = alive_B[row_B]
            if not alive_b.any():
                return
            if (~alive_b).mean() >= _LEAVE_SHARE:
                rows = np.flatnonzero(alive_b)
                row_B, kept = row_B[rows], torch.from_numpy(rows).to(device)
                decoder.keep(kept)
                uniforms.keep(rows)
                drawn_B = drawn_B[kept]
            logits_BV = decoder.step(drawn_B)

    def _rollout(self, request: Request, j: int, ids_T: np.ndarray, logprobs_T: np.ndarray, stopped: bool) -> Rollout:
        spoken = ids_T[:-1] if stopped else ids_T
        return Rollout(
            problem_id=request.problem_id,
            sample=request.samples[j],
            prompt_ids=request.prompt_ids,
            response_ids=ids_T,
            sampled_logprobs=logprobs_T,
            text=self.policy.tokenizer.decode(spoken, skip_special_tokens=True),
            finish_reason="stop" if stopped else "length",
        )
