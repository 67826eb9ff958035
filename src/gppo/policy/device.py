"""Where to compute."""

from typing import Any

import torch

from gppo.types import UserError


def choose_device(wanted: str, threads: int | None) -> str:
    """The device of a recipe; also sets torch's CPU threads.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UserError(
            "device: cuda is asked for and torch sees no GPU; set device to auto or cpu, or mend the driver"
        )
    return "cuda" if available and wanted != "cpu" else "cpu"


def place(device: torch.device) -> dict[str, Any]:
    """What the last bits of results depend on: the kind of device, threads on a CPU, torch's version."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    threads = {"threads": torch.get_num_threads()} if device.type == "cpu" else {}
    return {"device": kind, **threads, "torch": torch.__version__}
