"""Where to compute."""

from typing import Any

import torch

from gppo.types import UserError


def choose_device(wanted: str, threads: int | None, rank: int | None = None) -> str:
    """The device of a recipe; also sets torch's CPU threads.

    Args:
        wanted: "auto", "cpu" or "cuda".
        threads: None leaves them.
        rank: this process's among those of one machine, each with a GPU of its own; None where it is alone.

    Raises:
        UserError: a GPU is asked for and there is none, or there are fewer than ranks.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UserError(
            "device: cuda is asked for and torch sees no GPU; set device to auto or cpu, or mend the driver"
        )
    if not available or wanted == "cpu":
        return "cpu"
    if rank is None:
        return "cuda"
    if rank >= (count := torch.cuda.device_count()):
        raise UserError(f"torchrun has started more ranks than there are GPUs ({count}); set --nproc-per-node {count}")
    torch.cuda.set_device(rank)
    return f"cuda:{rank}"


def place(device: torch.device) -> dict[str, Any]:
    """What the last bits of results depend on: the kind of device, threads on a CPU, torch's version."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    threads = {"threads": torch.get_num_threads()} if device.type == "cpu" else {}
    return {"device": kind, **threads, "torch": torch.__version__}
