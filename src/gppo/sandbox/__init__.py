"""Run untrusted programs: what they may do is listed in docs/sandbox.md, and proved when a Sandbox starts."""

from gppo.sandbox._worker import SandboxError
from gppo.sandbox.api import Asserts, Execution, Function, Limits, Program, Script, Status
from gppo.sandbox.inside.values import ValueRefusedError
from gppo.sandbox.probe import Check, Probe, probe
from gppo.sandbox.sandbox import Sandbox

__all__ = [
    "Asserts",
    "Check",
    "Execution",
    "Function",
    "Limits",
    "Probe",
    "Program",
    "Sandbox",
    "SandboxError",
    "Script",
    "Status",
    "ValueRefusedError",
    "probe",
]
