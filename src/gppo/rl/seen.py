"""What is known about the tokens of an update: cut to a micro-batch before, kept for the diagnostics after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gppo.objectives import TokenFields


@dataclass(slots=True)
class Seen:
    """What the mini-batches of a step showed, for its diagnostics."""

    log_ratio: list[Tensor] = field(default_factory=list)
    advantages: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    entropy: list[Tensor] = field(default_factory=list)
    kl_ref: list[Tensor] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)

    @classmethod
    def of_all(cls, ranks: Sequence["Seen"]) -> "Seen":
        """What several ranks saw, whose gradients are the same."""
        everything = cls(grad_norms=ranks[0].grad_norms)
        for one in ranks:
            everything.add(one)
        return everything

    def flat(self, name: str) -> Tensor:
        """The values of all tokens seen, [N]; empty where there were none."""
        return torch.cat([torch.zeros(0), *getattr(self, name)])

    def add(self, other: "Seen") -> None:
        """Take what another mini-batch showed."""
        for name in ("log_ratio", "advantages", "weights", "entropy", "kl_ref"):
            getattr(self, name).extend(getattr(other, name))


def cut_fields(fields: TokenFields, take: Callable[[Tensor], Tensor]) -> TokenFields:
    """The same cut of every field."""

    def cut(values: Tensor | None) -> Tensor | None:
        return None if values is None else take(values)

    return TokenFields(
        log_ratio=take(fields.log_ratio),
        advantages=take(fields.advantages),
        mask=take(fields.mask),
        norm=take(fields.norm),
        old_logprobs=cut(fields.old_logprobs),
        lm_weight=cut(fields.lm_weight),
        correction=cut(fields.correction),
        ref_logprobs=cut(fields.ref_logprobs),
    )


def with_ratio(fields: TokenFields, logprobs: Tensor) -> TokenFields:
    """The fields of the current policy."""
    assert fields.old_logprobs is not None
    return replace(fields, log_ratio=logprobs - fields.old_logprobs)
