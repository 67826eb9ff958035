"""Whether a policy's weights are still what they were."""

import torch

from gppo.policy.model import Policy
from gppo.run.fingerprint import fingerprint


def weights_fingerprint(policy: Policy) -> str:
    """Changes with every bit of the weights, and with the names of the parameters. Reads all of them once."""

    def bits(tensor: torch.Tensor) -> memoryview:
        return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data

    state = policy.model.state_dict()
    return fingerprint(part for name, tensor in state.items() for part in (name, bits(tensor)))
