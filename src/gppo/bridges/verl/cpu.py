"""verl without a GPU, to rehearse a recipe: ``device: cpu``. verl imports it first, by VERL_USE_EXTERNAL_MODULES.

It makes known a platform "cpu", FSDP2 on it over gloo, and a sampler in plain transformers. Slow and for tiny models:
what is rehearsed is everything around the model, not its speed.
"""

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import torch
import verl.utils.distributed as distributed
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry


class _Device(types.ModuleType):
    """``torch.cpu`` with what verl asks of ``torch.cuda``: memory that nobody measures, a name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if hasattr(torch.cpu, name):
            return getattr(torch.cpu, name)
        if name == "get_device_name":
            return lambda *_: "CPU"
        if name == "mem_get_info":
            return lambda *_: (8 << 30, 16 << 30)
        return lambda *_, **__: 0


_device = _Device("gppo_verl_cpu")


class CpuPlatform(PlatformBase):
    """What verl's platforms say about themselves, for a machine without an accelerator."""

    @property
    def device_name(self) -> str:
        """Of torch."""
        return "cpu"

    @property
    def vendor_name(self) -> str:
        """No vendor has engines of its own."""
        return "generic"

    @property
    def device_module(self) -> types.ModuleType:
        """In place of ``torch.cuda``."""
        return _device

    def is_available(self) -> bool:
        """Always."""
        return True

    def current_device(self) -> Any:
        """The only one."""
        return torch.device("cpu")

    def device_count(self) -> int:
        """For each process one."""
        return 1

    def set_device(self, device_index: int) -> None:
        """There is nothing to choose."""

    def synchronize(self, device_index: int | None = None) -> None:
        """Nothing runs behind one's back."""

    def manual_seed(self, seed: int) -> None:
        """Seed torch."""
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        """Seed torch."""
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        """There are none."""

    def empty_cache(self) -> None:
        """There is none."""

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        """Of no GPU."""
        return None, None

    def communication_backend_name(self) -> str:
        """Of torch.distributed."""
        return "gloo"

    def visible_devices_envvar(self) -> str:
        """A name that must exist; nobody reads it."""
        return "CUDA_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        """No marks."""
        yield

    def profiler_start(self) -> None:
        """No profiler."""

    def profiler_stop(self) -> None:
        """No profiler."""

    def ray_resource_name(self) -> str:
        """verl places workers by GPUs; Ray is told of as many as there are to be workers."""
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        """Ray sets nothing for them."""
        return []

    def is_ipc_supported(self) -> bool:
        """Weights go by Ray."""
        return False

    def cudart(self) -> Any:
        """There is none."""
        return


PlatformRegistry.register(platform="cpu")(CpuPlatform)

_init = distributed.initialize_global_process_group_ray


def _over_gloo(timeout_second: int | None = None, backend: str | None = None) -> None:
    # verl asks for "cpu:gloo,cpu:gloo", which torch refuses.
    _init(timeout_second, backend or "cpu:gloo")


distributed.initialize_global_process_group_ray = _over_gloo
