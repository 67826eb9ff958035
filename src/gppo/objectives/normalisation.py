"""Factors per token: what one token of a mini-batch counts.

All functions take the mask of the whole mini-batch, over every rank and micro-batch, so that how the mini-batch is
cut has no influence on its gradient. Rows whose mask is empty (leave out rows by clearing their mask) get 0 and do not
count as rows.
"""

import torch

from gppo.types import UserError

NORMALISATIONS = ("token_mean", "sequence_mean", "constant")


def token_norms(
    mask_BT: torch.Tensor,
    kind: str = "token_mean",
    *,
    constant_length: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The factor of every token in the policy gradient; the loss is a plain sum once it is applied.

    ``token_mean``     1 / N, N tokens in the mini-batch (DAPO, https://arxiv.org/abs/2503.14476)
    ``sequence_mean``  1 / (B T_b), T_b tokens in the row (GRPO, https://arxiv.org/abs/2402.03300)
    ``constant``       1 / (B constant_length) (Dr. GRPO, https://arxiv.org/abs/2503.20783)

    Args:
        mask_BT: bool [B, T], the tokens that take part.
        kind: one of ``NORMALISATIONS``.
        constant_length: tokens, for ``constant``; e.g. the longest response allowed.
        dtype: of the result.

    Returns:
        [B, T], 0 outside the mask.

    Raises:
        UserError: unknown ``kind``, or ``constant`` without a length.
    """
    mask_BT = mask_BT.bool()
    lengths_B1 = mask_BT.sum(dim=1, keepdim=True).double()
    rows = (lengths_B1 > 0).sum()
    if kind == "token_mean":
        count = lengths_B1.sum()
    elif kind == "sequence_mean":
        count = rows * lengths_B1
    elif kind == "constant":
        if constant_length is None or constant_length < 1:
            raise UserError("Normalisation 'constant' needs constant_length, a number of tokens: give it, 1 or more.")
        count = rows.double() * constant_length
    else:
        raise UserError(f"Normalisation '{kind}' is not known: use one of {', '.join(NORMALISATIONS)}.")
    return (mask_BT.double() / count.clamp(min=1.0)).to(dtype)


def lm_weights(
    mask_BT: torch.Tensor, correct_B: torch.Tensor, alpha: float, *, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """alpha / N_correct on the tokens of fully correct responses, N_correct of them in the mini-batch; else 0.

    The next-token loss on correct responses, https://arxiv.org/abs/2508.07629, section on RL.

    Args:
        mask_BT: bool [B, T].
        correct_B: bool [B], rows that the term learns from.
        alpha: its weight; the paper's is 0.1.
        dtype: of the result.

    Returns:
        [B, T].
    """
    correct_BT = mask_BT.bool() & correct_B.bool()[:, None]
    return (alpha * correct_BT.double() / correct_BT.sum().clamp(min=1)).to(dtype)
