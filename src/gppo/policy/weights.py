"""Whether a policy's weights are still what they were."""

import torch

from gppo.policy.model import Policy
from gppo.policy.parallel import whole
from gppo.run.fingerprint import fingerprint


def weights_fingerprint(policy: Policy) -> str:
    """Changes with every bit of the weights, the parameters' names and the precision of products. Reads all once.

    Where the weights are sharded it is collective, and the same as that of one process.
    """

    def bits(tensor: torch.Tensor) -> memoryview:
        return whole(tensor).detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data

    state = policy.model.state_dict()
    parts = (part for name, tensor in state.items() for part in (name, bits(tensor)))
    return fingerprint(["mixed", *parts] if policy.mixed else parts)
