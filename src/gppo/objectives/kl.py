"""Estimators of KL(pi || ref) from the log-probabilities of sampled tokens. http://joschu.net/blog/kl-approx.html.

With d = log pi - log ref for the sampled token:

    estimator   value               derivative with respect to log pi
    k1          d                   1
    k2          d^2 / 2             d
    k3          exp(-d) - 1 + d     1 - exp(-d)

d saturates at +-20 nats; both results are finite for any input, and 0 where d is NaN. As a penalty, k1 only adds noise
(its gradient has mean 0 on samples of pi); k2's gradient is the unbiased one; k3 is GRPO's.
"""

import torch

from gppo.objectives._tokens import saturated
from gppo.types import UserError

ESTIMATORS = ("k1", "k2", "k3")


def kl_value(logprobs: torch.Tensor, ref_logprobs: torch.Tensor, estimator: str = "k3") -> torch.Tensor:
    """The estimate per token, nats, of the inputs' shape; detached. UserError where ``estimator`` is unknown."""
    d, _ = _difference(logprobs, ref_logprobs, estimator)
    if estimator == "k1":
        return d
    if estimator == "k2":
        return d.square() / 2
    # expm1 keeps the digits that exp(-d) - 1 loses near d = 0, where k3 is of second order.
    return torch.expm1(-d) + d


def kl_derivative(logprobs: torch.Tensor, ref_logprobs: torch.Tensor, estimator: str = "k3") -> torch.Tensor:
    """d value / d log pi per token, of the inputs' shape; detached. UserError where ``estimator`` is unknown."""
    d, valid = _difference(logprobs, ref_logprobs, estimator)
    if estimator == "k1":
        return valid.to(d.dtype)
    if estimator == "k2":
        return d
    return -torch.expm1(-d)


def _difference(
    logprobs: torch.Tensor, ref_logprobs: torch.Tensor, estimator: str
) -> tuple[torch.Tensor, torch.Tensor]:
    if estimator not in ESTIMATORS:
        raise UserError(f"KL estimator '{estimator}' is not known: use one of {', '.join(ESTIMATORS)}.")
    d = (logprobs - ref_logprobs).detach()
    valid = ~d.isnan()
    return saturated(d, valid), valid
