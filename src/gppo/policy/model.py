"""The policy: a causal language model with its tokenizer, and the log-probabilities of responses under it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gppo.policy.attention import packed_inputs, why_not_packed
from gppo.policy.fused import with_fused_layers
from gppo.policy.head import HeadFn, replaced_head, why_not_fused
from gppo.policy.layout import layout_of
from gppo.policy.logprobs import CoefficientFn, chunked_logprobs, single_pass_logprobs
from gppo.policy.lora import adapter_state, has_adapters
from gppo.policy.products import with_fast_products
from gppo.policy.segments import Layout
from gppo.policy.short import ShortRows
from gppo.sizes import Pack, micro_batches, pack_masked, pack_responses, packed_micro_batches
from gppo.types import Batch, UserError


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Rows as one forward pass sees them: one pack, or padded on the right, so that causal attention needs no mask.

    Args:
        ids_BL: int64 [1, L], the pack; or [B, L], prompt and response, then padding.
        predicts_N: int64 [N], flat positions in [B * L] whose hidden state predicts a learned token, row by row.
        targets_N: int64 [N], those tokens.
        positions_BL: int64 [1, L], each token's position in its row; None where padded.
        layout: how the pack attends; None where padded.
    """

    ids_BL: Tensor
    predicts_N: Tensor
    targets_N: Tensor
    positions_BL: Tensor | None = None
    layout: Layout | ShortRows | None = None


class Policy:
    """A causal language model, its tokenizer, and log-probabilities whose backward never holds whole logits.

    Attributes:
        model: any transformers causal LM, possibly wrapped by peft or FSDP2.
        tokenizer: with a chat template.
        config: the model's, of its text part where it has others.
        max_context: longest prompt + response, in tokens.
        stop_ids: tokens that end a response.
        blank: of sharded weights, the model without any (``gppo.policy.parallel``); else None.
        unfused_reason: None, or why whole logits are computed for this model.
        unpacked_reason: None, or why this model's rows are padded instead of packed.
        uncompiled_reason: None, or why its layers are not compiled though that was asked for.

    Args:
        model: see above.
        tokenizer: see above.
        max_context: None takes the positions the model is made for; more than those is a UserError.
        mixed: float32 weights whose products are computed in bfloat16.
        compiled: whether its layers compute packs in compiled halves (``gppo.policy.fused``).
        blank: see above.
        device: where it computes; None where the weights are.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        max_context: int | None = None,
        *,
        mixed: bool = False,
        compiled: bool = False,
        blank: nn.Module | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.model = model
        self.blank = blank
        self._device = device
        self.mixed = mixed
        self.tokenizer = tokenizer
        self.config = model.config.get_text_config(decoder=True)  # type: ignore[union-attr, operator]
        self.max_context = _context(self.config, max_context)
        self.stop_ids = _stop_ids(model, tokenizer)
        with_fast_products(model)
        self.head: Any = model.get_output_embeddings()  # type: ignore[operator]
        self.unfused_reason = why_not_fused(model, self.head, self.config.vocab_size)
        with self.computing():
            self.unpacked_reason = why_not_packed(model, self.config, self.device)
        self.uncompiled_reason = with_fused_layers(self) if compiled else None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device or next(self.model.parameters()).device

    @property
    def compute_dtype(self) -> torch.dtype:
        """What products are computed in."""
        return torch.bfloat16 if self.mixed else self.head.weight.dtype

    def computing(self) -> torch.autocast:
        """Where the model's forward runs: torch's autocast for a mixed policy, else nothing."""
        # Its cache would keep a copy of every layer's weights that were gathered; each is used once.
        kept = self.blank is None
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed, cache_enabled=kept)

    def tokens(self, prompts: Sequence[np.ndarray], responses: Sequence[np.ndarray]) -> TokenBatch:
        """Put B prompts and responses into one forward pass; every response token is a target."""
        if self.unpacked_reason is None:
            return self._packed(pack_responses(prompts, responses))
        rows = [np.concatenate(pair) for pair in zip(prompts, responses, strict=True)]
        masks = [np.arange(len(row)) >= len(prompt) for row, prompt in zip(rows, prompts, strict=True)]
        return self._padded(rows, masks)

    def tokens_from_masks(self, rows: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> TokenBatch:
        """Put B token rows into one forward pass; the targets are the tokens under each row's mask (the first cannot
        be)."""
        return self._packed(pack_masked(rows, masks)) if self.unpacked_reason is None else self._padded(rows, masks)

    def micro_batches(
        self, prompts: Sequence[np.ndarray], response_lengths_B: np.ndarray, token_budget: int
    ) -> list[np.ndarray]:
        """B rows cut into index arrays, each for one ``tokens``, of at most ``token_budget`` tokens where possible.

        Rows that share a prompt are kept together, so that it is computed once. Padding counts where there is any.
        """
        if self.unpacked_reason is None:
            return packed_micro_batches(prompts, response_lengths_B, token_budget)
        return micro_batches(response_lengths_B + np.array([len(p) for p in prompts]), token_budget)

    def _packed(self, pack: Pack) -> TokenBatch:
        ids_L, positions_L, predicts_N, targets_N = (
            torch.from_numpy(x).to(self.device) for x in (pack.ids_L, pack.positions_L, pack.predicts_N, pack.targets_N)
        )
        return TokenBatch(ids_L[None], predicts_N, targets_N, positions_L[None], layout_of(pack, self.device))

    def _padded(self, rows: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> TokenBatch:
        longest = max(len(row) for row in rows)
        ids_BL = np.zeros((len(rows), longest), dtype=np.int64)
        target_BL = np.zeros((len(rows), longest), dtype=bool)
        for i, (row, mask) in enumerate(zip(rows, masks, strict=True)):
            ids_BL[i, : len(row)] = row
            target_BL[i, : len(row)] = mask
        target_BL[:, 0] = False
        position_N = np.flatnonzero(target_BL)
        return TokenBatch(
            ids_BL=torch.from_numpy(ids_BL).to(self.device),
            predicts_N=torch.from_numpy(position_N - 1).to(self.device),
            targets_N=torch.from_numpy(ids_BL.reshape(-1)[position_N]).to(self.device),
        )

    def _logits(self, batch: TokenBatch) -> Tensor:
        """What the model's forward returns as its logits, [B, L, V] unless the head is replaced."""
        packed: dict[str, Any] = {}
        if batch.layout is not None:
            packed = {"position_ids": batch.positions_BL, **packed_inputs(batch.layout)}
        with self.computing():
            return self.model(input_ids=batch.ids_BL, use_cache=False, **packed).logits

    def _through_head(self, batch: TokenBatch, compute: HeadFn) -> Tensor:
        """The model's forward, with ``compute(hidden_NH, head)`` instead of the logits of the predicting positions."""

        def on_targets(hidden_bLH: Tensor, head: nn.Linear) -> Tensor:
            hidden_NH = hidden_bLH.flatten(0, 1).index_select(0, batch.predicts_N)
            with torch.autocast(self.device.type, enabled=False):  # the head says itself what is computed in what
                return compute(hidden_NH.to(self.compute_dtype), head)

        with replaced_head(self.head, on_targets):
            return self._logits(batch)

    def _whole_logits(self, batch: TokenBatch, temperature: float) -> tuple[Tensor, Tensor]:
        logits_NV = self._logits(batch).flatten(0, 1).index_select(0, batch.predicts_N)
        wide = torch.promote_types(logits_NV.dtype, torch.float32)
        logprobs_NV = (logits_NV.to(wide) / temperature).log_softmax(-1)
        entropy_N = -(logprobs_NV.detach().exp() * logprobs_NV.detach()).sum(-1)
        return logprobs_NV.gather(1, batch.targets_N[:, None]).squeeze(1), entropy_N

    def logprobs_N(self, batch: TokenBatch, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """Log-probability (with gradient) and entropy (without) of the batch's N target tokens, nats."""
        if self.unfused_reason is not None:
            return self._whole_logits(batch, temperature)
        entropies: list[Tensor] = []

        def fused(hidden_NH: Tensor, head: nn.Linear) -> Tensor:
            logprobs_N, entropy_N = chunked_logprobs(hidden_NH, head.weight, head.bias, batch.targets_N, temperature)
            entropies.append(entropy_N)
            return logprobs_N

        return self._through_head(batch, fused), entropies[0]

    def backward_N(
        self, batch: TokenBatch, coefficients: CoefficientFn, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Add the gradient of -sum c * logprob to the weights, the head computed once (``single_pass_logprobs``).

        Args:
            coefficients: (logprobs of a slice, the slice of the N tokens) -> coefficients; token-local.

        Returns:
            logprobs_N, entropy_N, coefficients_N, detached.
        """
        if self.unfused_reason is not None:
            logprobs_N, entropy_N = self._whole_logits(batch, temperature)
            c_N = coefficients(logprobs_N.detach(), slice(0, len(logprobs_N)))
            torch.autograd.backward(logprobs_N, -c_N.to(logprobs_N.dtype))
            return logprobs_N.detach(), entropy_N, c_N
        kept: list[tuple[Tensor, Tensor, Tensor]] = []

        def fused(hidden_NH: Tensor, head: nn.Linear) -> Tensor:
            loss, logprobs_N, entropy_N, c_N = single_pass_logprobs(
                hidden_NH, head.weight, head.bias, batch.targets_N, coefficients, temperature
            )
            kept.append((logprobs_N, entropy_N, c_N))
            return loss

        self._through_head(batch, fused).backward()
        return kept[0]

    def logprobs(self, batch: Batch, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """Log-probability (with gradient) and entropy (without) of every response token.

        Returns:
            logprobs_BT, entropy_BT: nats, 0 where the batch is padded.
        """
        responses = [row[mask] for row, mask in zip(batch.response_ids_BT, batch.mask_BT, strict=True)]
        logprobs_N, entropy_N = self.logprobs_N(self.tokens(batch.prompt_ids, responses), temperature)
        mask_BT = torch.from_numpy(batch.mask_BT).to(logprobs_N.device)
        padded = torch.zeros(mask_BT.shape, dtype=logprobs_N.dtype, device=logprobs_N.device)
        return padded.masked_scatter(mask_BT, logprobs_N), padded.masked_scatter(mask_BT, entropy_N)

    def trained(self) -> dict[str, Tensor]:
        """What training changes, of the model's ``state_dict``: all of it, or the adapters where it has some.

        Sharded weights are the parameters themselves, so that one with two names is known for one.
        """
        if has_adapters(self.model):
            return adapter_state(self.model)
        return self.model.state_dict(keep_vars=self.blank is not None)

    def save(self, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
        """Write weights (safetensors), configuration, tokenizer and chat template in the Hugging Face layout.

        Of a model with adapters those alone are written, as peft writes them.

        Args:
            folder: where to.
            weights: a copy of what ``trained`` gave, to write instead of what the model holds now; whole, and not to be
                left out, where those are sharded.
        """
        model = self.blank or self.model
        model.save_pretrained(folder, state_dict=weights and dict(weights))  # type: ignore[operator]
        self.tokenizer.save_pretrained(folder)


def _context(config: Any, asked: int | None) -> int:
    own = getattr(config, "max_position_embeddings", None)
    context = own if asked is None else asked
    if context is None:
        raise UserError("the model does not say how many positions it is made for; set model.max_context")
    if own is not None and context > own:
        raise UserError(f"model.max_context {context} is more than the {own} positions the model is made for; lower it")
    return int(context)


def _stop_ids(model: nn.Module, tokenizer: Any) -> tuple[int, ...]:
    generation = getattr(model, "generation_config", None)
    declared = getattr(generation, "eos_token_id", None)
    ids = set(declared if isinstance(declared, list) else [] if declared is None else [declared])
    if tokenizer.eos_token_id is not None:
        ids.add(tokenizer.eos_token_id)
    if not ids:
        raise UserError(
            "neither the model nor its tokenizer names an end-of-text token; set eos_token in the tokenizer"
        )
    return tuple(sorted(ids))
