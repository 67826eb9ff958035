"""``gppo doctor``: what this machine can do, each line ok or what to do."""

import importlib.metadata
import platform
from dataclasses import dataclass

from rich.table import Table

from gppo.sandbox import probe


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: its name.
        ok: whether it is as it should be.
        says: what was found; where not ok, what to do.
    """

    what: str
    ok: bool
    says: str


def examine() -> list[Finding]:
    """Look at Python, torch, the devices and the sandbox; the sandbox is started and attacked to find out."""
    return [
        Finding("python", True, platform.python_version()),
        *_libraries(),
        _device(),
        _sandbox(),
    ]


def findings_table(findings: list[Finding]) -> Table:
    """The findings for the terminal."""
    table = Table(title="gppo doctor")
    table.add_column("what")
    table.add_column("")
    table.add_column("found, or what to do", overflow="fold")
    for finding in findings:
        table.add_row(finding.what, "ok" if finding.ok else "to do", finding.says)
    return table


def _libraries() -> list[Finding]:
    names = ("torch", "transformers", "math-verify")
    return [Finding(name, True, importlib.metadata.version(name)) for name in names]


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding("device", True, ", ".join(names))
    return Finding("device", True, f"no GPU; the CPU with {torch.get_num_threads()} threads")


def _sandbox() -> Finding:
    found = probe()
    if found.level == "refused":
        return Finding("sandbox", False, f"programs cannot be judged: {found.reason}; {found.advice}")
    held = ", ".join(check.name for check in found.checks)
    return Finding("sandbox", True, f"{found.level} ({found.reason}); attacks that it held: {held}")
