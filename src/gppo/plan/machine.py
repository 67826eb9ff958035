"""The machine that a plan is for: given, or the one it is made on. What is not measured is an assumption, and named."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from gppo.types import UserError

GIB = 1 << 30
#: Share of a GPU's memory that a plan may fill: the rest goes to fragments of the allocator. Assumed.
USABLE = 0.92


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a run is to compute.

    Args:
        name: of the device.
        device: "cpu" or "cuda".
        count: devices that share the work.
        memory: bytes of one device.
        flops: bfloat16 products a second of one device, at best.
        bandwidth: bytes a second between its memory and its processors, at best.
        mfu: lower and upper share of ``flops`` that training reaches.
        reach: lower and upper share of ``bandwidth`` that decoding reaches.
        assumed: what the two shares rest on.
    """

    name: str
    device: str
    count: int
    memory: int
    flops: float
    bandwidth: float
    mfu: tuple[float, float]
    reach: tuple[float, float]
    assumed: str

    @property
    def usable(self) -> int:
        """Bytes of one device that a plan may fill."""
        return int(self.memory * USABLE)


#: Dense bfloat16 products a second and bytes a second, from the makers' data sheets.
_GPUS: dict[str, tuple[float, float, int]] = {
    "H200": (989e12, 4.8e12, 141),
    "H100": (989e12, 3.35e12, 80),
    "A100": (312e12, 2.0e12, 80),
    "L40S": (362e12, 0.86e12, 48),
    "A10": (125e12, 0.6e12, 24),
    "L4": (121e12, 0.3e12, 24),
    "4090": (165e12, 1.0e12, 24),
    "3090": (71e12, 0.94e12, 24),
}
_WRITTEN = re.compile(r"(?:(\d+)x)?([A-Za-z0-9]+?)(?:-(\d+))?")
#: A core with AVX-512, and a memory channel's share of it: this machine's rate of products was 70e9 a core.
_CPU_FLOPS, _CPU_BANDWIDTH = 70e9, 10e9
_CPU_SHARES = ((0.15, 0.6), (0.2, 0.6))
_GPU_SHARES = ((0.2, 0.4), (0.3, 0.6))


def gpus(text: str) -> Machine:
    """From e.g. "8xH100-80": eight GPUs with 80 GiB each; the count and the memory may be left out.

    Raises:
        UserError: it cannot be read, or the GPU is not known.
    """
    found = _WRITTEN.fullmatch(text.strip())
    kind = found[2].upper() if found else ""
    if found is None or kind not in _GPUS or int(found[1] or 1) < 1:
        raise UserError(f"--gpus {text}: write COUNTxKIND-GIB, e.g. 8xH100-80; known are {', '.join(_GPUS)}")
    flops, bandwidth, usual = _GPUS[kind]
    memory = int(found[3] or usual)
    return _gpu(kind, int(found[1] or 1), memory * GIB, flops, bandwidth)


def here(device: str) -> Machine:
    """This machine: its GPUs where nvidia-smi names some and the recipe may use them, else its CPU."""
    if device != "cpu" and (found := nvidia_gpus()):
        name, memory = found[0]
        kind = next((kind for kind in _GPUS if kind in name), "A10")
        return _gpu(name, 1, memory, *_GPUS[kind][:2])
    cores = os.cpu_count() or 1
    mfu, reach = _CPU_SHARES
    return Machine(
        f"CPU, {cores} cores", "cpu", 1, main_memory(), cores * _CPU_FLOPS, cores * _CPU_BANDWIDTH, mfu, reach,
        "assumed: 70 GFLOP/s and 10 GB/s a core at best",
    )  # fmt: skip


def nvidia_gpus() -> list[tuple[str, int]]:
    """(name, bytes of memory) of each GPU that the driver knows; [] where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = (line.rsplit(",", 1) for line in said.splitlines() if "," in line)
    return [(name.strip(), int(memory) << 20) for name, memory in rows if memory.strip().isdigit()]


def main_memory() -> int:
    """Bytes of main memory, or of the control group's limit where that is smaller."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else ""
    return min(whole, int(text)) if text.isdigit() else whole


def _gpu(name: str, count: int, memory: int, flops: float, bandwidth: float) -> Machine:
    mfu, reach = _GPU_SHARES
    return Machine(name, "cuda", count, memory, flops, bandwidth, mfu, reach, "assumed: the data sheet's rates at best")
