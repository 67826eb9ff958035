"""Log-probabilities of given tokens without ever holding [tokens, vocabulary] logits.

The head's output is computed in chunks of rows. ``chunked_logprobs`` keeps one log-normaliser a token and computes
each chunk again in the backward; ``single_pass_logprobs`` is told the coefficients while a chunk is at hand and
computes it once.

With logits l = (h W^T + b) / temperature and p = softmax(l):

    log pi(y) = l_y - logsumexp(l),    d log pi(y) / d l = onehot(y) - p,    entropy = -sum_v p_v log p_v
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gppo.sizes import chunk_rows

#: (logprobs of the slice [n], slice of the flat tokens) -> coefficients [n]
CoefficientFn = Callable[[Tensor, slice], Tensor]


def _logits(hidden_nH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, temperature: float) -> Tensor:
    bias_V = None if bias_V is None else bias_V.to(hidden_nH.dtype)
    logits_nV = torch.nn.functional.linear(hidden_nH, weight_VH, bias_V).to(_wide(weight_VH.dtype))
    return logits_nV if temperature == 1.0 else logits_nV.div_(temperature)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


class _Sums:
    """Gradients of the head, summed over chunks in at least float32."""

    def __init__(self, weight_VH: Tensor, bias_V: Tensor | None, needs_weight: bool, needs_bias: bool) -> None:
        wide = _wide(weight_VH.dtype)
        self.weight_VH = torch.zeros_like(weight_VH, dtype=wide) if needs_weight else None
        self.bias_V = torch.zeros_like(bias_V, dtype=wide) if needs_bias and bias_V is not None else None

    def add(self, grad_logits_nV: Tensor, hidden_nH: Tensor) -> None:
        if self.weight_VH is not None:
            if self.weight_VH.dtype == hidden_nH.dtype:
                self.weight_VH.addmm_(grad_logits_nV.t(), hidden_nH)
            else:
                self.weight_VH += grad_logits_nV.t() @ hidden_nH
        if self.bias_V is not None:
            self.bias_V += grad_logits_nV.sum(0)

    def like(self, weight_VH: Tensor, bias_V: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        return (
            None if self.weight_VH is None else self.weight_VH.to(weight_VH.dtype),
            None if self.bias_V is None or bias_V is None else self.bias_V.to(bias_V.dtype),
        )


@dataclass(frozen=True, slots=True)
class _Law:
    """Of each row: exp(l - max l) [n, V], the sum of that, the log-normaliser, log pi(y) and the entropy."""

    exp_nV: Tensor
    sum_n: Tensor
    lse_n: Tensor
    logprobs_n: Tensor
    entropy_n: Tensor


def _law(logits_nV: Tensor, targets_n: Tensor) -> _Law:
    """From logits, which it overwrites, with one exponential an element.

    entropy = log sum_v e_v + sum_v p_v (max l - l_v): no term is negative, so nothing cancels.
    """
    max_n1 = logits_nV.amax(1, keepdim=True)
    exp_nV = logits_nV.sub_(max_n1).exp()
    sum_n = exp_nV.sum(1)
    log_sum_n = sum_n.log()
    entropy_n = log_sum_n - torch.linalg.vecdot(exp_nV, logits_nV) / sum_n
    logprobs_n = logits_nV.gather(1, targets_n[:, None]).squeeze(1) - log_sum_n
    return _Law(exp_nV, sum_n, max_n1.squeeze(1) + log_sum_n, logprobs_n, entropy_n)


def _grad_logits_(exp_nV: Tensor, sum_n: Tensor, targets_n: Tensor, grad_n: Tensor, temperature: float) -> Tensor:
    """d(sum grad * logprob)/d(raw logits) = grad * (onehot - exp / sum) / temperature, in place of exp."""
    scale_n = grad_n / temperature
    out_nV = exp_nV.mul_((-scale_n / sum_n)[:, None])
    return out_nV.scatter_add_(1, targets_n[:, None], scale_n[:, None])


class _ChunkedLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_N: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        wide, low_VH = _wide(weight_VH.dtype), weight_VH.to(hidden_NH.dtype)
        logprobs_N, entropy_N, lse_N = (hidden_NH.new_empty(len(targets_N), dtype=wide) for _ in range(3))
        for i in range(0, len(targets_N), step := chunk_rows(len(weight_VH))):
            part = slice(i, i + step)
            logits_nV = _logits(hidden_NH[part], low_VH, bias_V, temperature)
            law = _law(logits_nV, targets_N[part])
            logprobs_N[part], entropy_N[part], lse_N[part] = law.logprobs_n, law.entropy_n, law.lse_n
        ctx.save_for_backward(hidden_NH, weight_VH, bias_V, targets_N, lse_N)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropy_N)
        return logprobs_N, entropy_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor, _entropy_grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden_NH, weight_VH, bias_V, targets_N, lse_N = ctx.saved_tensors
        grad_hidden_NH = torch.zeros_like(hidden_NH)
        low_VH = weight_VH.to(hidden_NH.dtype)
        sums = _Sums(weight_VH, bias_V, ctx.needs_input_grad[1], ctx.needs_input_grad[2])
        live_N = grad_N.nonzero().squeeze(1)  # tokens without a gradient cost nothing
        for i in range(0, len(live_N), step := chunk_rows(len(weight_VH))):
            rows = live_N[i : i + step]
            hidden_nH = hidden_NH[rows]
            logits_nV = _logits(hidden_nH, low_VH, bias_V, ctx.temperature)
            probs_nV = logits_nV.sub_(lse_N[rows, None]).exp_()
            one_n = torch.ones_like(lse_N[rows])
            grad_nV = _grad_logits_(probs_nV, one_n, targets_N[rows], grad_N[rows], ctx.temperature)
            grad_nV = grad_nV.to(hidden_NH.dtype)
            grad_hidden_NH[rows] = grad_nV @ low_VH
            sums.add(grad_nV, hidden_nH)
        return grad_hidden_NH, *sums.like(weight_VH, bias_V), None, None


class _SinglePass(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        temperature: float,
        coefficients: CoefficientFn,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wide, low_VH = _wide(weight_VH.dtype), weight_VH.to(hidden_NH.dtype)
        logprobs_N, entropy_N, coefficients_N = (hidden_NH.new_empty(len(targets_N), dtype=wide) for _ in range(3))
        grad_hidden_NH = torch.empty_like(hidden_NH)
        sums = _Sums(weight_VH, bias_V, ctx.needs_input_grad[1], ctx.needs_input_grad[2])
        for i in range(0, len(targets_N), step := chunk_rows(len(weight_VH))):
            part = slice(i, min(i + step, len(targets_N)))
            logits_nV = _logits(hidden_NH[part], low_VH, bias_V, temperature)
            law = _law(logits_nV, targets_N[part])
            logprobs_N[part], entropy_N[part] = law.logprobs_n, law.entropy_n
            coefficients_N[part] = coefficients(logprobs_N[part], part).to(wide)
            grad_nV = _grad_logits_(law.exp_nV, law.sum_n, targets_N[part], -coefficients_N[part], temperature)
            grad_nV = grad_nV.to(hidden_NH.dtype)
            grad_hidden_NH[part] = grad_nV @ low_VH
            sums.add(grad_nV, hidden_NH[part])
        ctx.grads = (grad_hidden_NH, *sums.like(weight_VH, bias_V))
        ctx.mark_non_differentiable(logprobs_N, entropy_N, coefficients_N)
        return -(coefficients_N * logprobs_N).sum(), logprobs_N, entropy_N, coefficients_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_unused: Tensor) -> tuple[Tensor | None, ...]:
        grads = ctx.grads
        del ctx.grads  # a second backward must fail, not reuse what is scaled in place below
        return *(g if g is None else g.mul_(grad.to(g.dtype)) for g in grads), None, None, None


def chunked_logprobs(
    hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_N: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy of each row's token, nats, float32 (float64 for float64 weights).

    Only the log-probabilities carry a gradient. The entropy is for logs: an entropy bonus is not a weight on sampled
    tokens, so this project does not offer one.

    Args:
        hidden_NH: last hidden states, one row for each token that is predicted; products are made in their dtype.
        weight_VH: the head's weight.
        bias_V: the head's bias, or None.
        targets_N: int64, the tokens.
        temperature: logits are divided by it, as they were when the tokens were drawn.

    Returns:
        logprobs_N, entropy_N.
    """
    return _ChunkedLogprobs.apply(hidden_NH, weight_VH, bias_V, targets_N, temperature)


def single_pass_logprobs(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    coefficients: CoefficientFn,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As ``chunked_logprobs``, with the coefficients computed while each chunk's logits are at hand.

    Args:
        coefficients: called once for each chunk with its log-probabilities and its slice of the N tokens. It must not
            need tokens outside the slice.

    Returns:
        loss (scalar, -sum c * logprob; call ``backward`` once on it, possibly scaled), logprobs_N, entropy_N and
        coefficients_N, those three without gradient.
    """
    return _SinglePass.apply(hidden_NH, weight_VH, bias_V, targets_N, temperature, coefficients)
