"""One run of verl: what is started, with which options, in which environment."""

import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PLAIN = re.compile(r"[\w./@%-]+")
_READ_AS_OTHER = re.compile(r"(?i)true|false|null|nan|inf|[-+.\d_e]+")

REASON = "reason.txt"


@dataclass(frozen=True, slots=True)
class Job:
    """One run of verl.

    Args:
        kind: "sft" or "rl".
        stage: of RL its stage's name, else "sft".
        module: what Python runs.
        options: hydra's overrides, KEY=VALUE.
        source: the records that are converted.
        data: the Parquet file that verl reads.
        folder: where it leaves its own checkpoints and metrics.
        first: steps of the stages before this one.
        steps: of this one; None where they follow from the number of samples.
        environment: variables that are set for it.
    """

    kind: str
    stage: str
    module: str
    options: tuple[str, ...]
    source: Path
    data: Path
    folder: Path
    first: int
    steps: int | None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> Path:
        """What verl measured, a JSON object a line."""
        return self.folder / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """All that it and Ray's processes print."""
        return self.folder / "verl.log"

    @property
    def reason(self) -> Path:
        """What broke it, in one line; not there while it works, nor where it could not say."""
        return self.folder / REASON

    @property
    def checkpoints(self) -> Path:
        """verl's own checkpoints, ``global_step_N`` each."""
        return self.folder / "checkpoints"

    def arguments(self) -> list[str]:
        """The command, for ``subprocess``."""
        return [sys.executable, "-m", self.module, *self.options]

    def shown(self) -> str:
        """The command as one would type it, an option a line."""
        settings = [f"{key}={shlex.quote(value)}" for key, value in self.environment.items()]
        lines = [" ".join([*settings, "python", "-m", self.module]), *map(shlex.quote, self.options)]
        return " \\\n    ".join(lines)


def option(key: str, value: Any) -> str:
    """KEY=VALUE as hydra's grammar reads it back, of text, numbers, lists and mappings."""
    return f"{key}={_written(value)}"


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    text = str(value)
    if _PLAIN.fullmatch(text) and not _READ_AS_OTHER.fullmatch(text):
        return text
    # Inside single quotes only a quote, and backslashes before one, must be escaped.
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"
