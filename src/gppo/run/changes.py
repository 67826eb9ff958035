"""Which keys of a recipe may change between two starts of one run."""

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

#: Changing these leaves what the model learns as it is, so a run goes on with them. ``*`` stands for any text.
SAFE_KEYS = (
    "run_dir",  # the folder was moved
    "trackers",  # look on
    "trackers.*",
    "evaluate",  # measures, never trains
    "evaluate.*",
    "distill",  # asks a teacher: what is asked for decides which kept answers fit
    "distill.*",
    "sft.save_every",
    "sft.keep_checkpoints",
    "sft.optimizer.max_bad_updates",
    "rl.save_every",
    "rl.keep_checkpoints",
    "rl.keep_best",
    "rl.evaluate_every",
    "rl.save_rollouts",
    "rl.optimizer.max_bad_updates",
    "rl.reward.judge_workers",
    "rl.reward.max_infra_share",
    "parallel",
    "parallel.reshard_after_forward",
    "vllm",  # where vLLM is and what it may use
    "vllm.*",
    "verl",  # the cluster: where the work is done
    "verl.*",
)

#: Changing these changes in which order numbers are added up: the run goes on, equal to the uninterrupted one but for
#: the last digits.
ROUNDING_KEYS = (
    "threads",
    "device",
    "parallel.offload",
    "model.gradient_checkpointing",
    "model.compile",
    "sft.micro_batch_tokens",
    "rl.micro_batch_tokens",
    "rl.sampler_rows",
)


def unsafe_changes(there: Any, new: Any, begun: Callable[[str], bool]) -> list[str]:
    """Dotted keys at which two recipes differ and which would make it another run.

    Safe are ``SAFE_KEYS`` and ``ROUNDING_KEYS``, everything in the sections ``sft`` and ``rl`` as long as that stage
    has not begun, everything in ``curate`` as long as neither has, and more steps for the last stage of RL while its
    learning rate does not depend on their number.

    Args:
        there: the recipe of the run, as YAML reads it.
        new: the recipe asked for.
        begun: whether the stage of a section has left anything.
    """

    def safe(key: str) -> bool:
        section = key.partition(".")[0]
        if section in ("sft", "rl") and not begun(section):
            return True
        if section == "curate" and not (begun("sft") or begun("rl")):
            return True  # its steps know by their keys what must be made again
        return _matches(key, SAFE_KEYS + ROUNDING_KEYS) or _longer(key, there, new)

    return [key for key in differing_keys(there, new) if not safe(key)]


def rounding_changes(keys: Iterable[str]) -> list[str]:
    """Those of the keys that are among ``ROUNDING_KEYS``."""
    return [key for key in keys if _matches(key, ROUNDING_KEYS)]


def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _longer(key: str, there: Any, new: Any) -> bool:
    try:
        stages, asked = there["rl"]["stages"], new["rl"]["stages"]
        if key != f"rl.stages.{len(stages) - 1}.steps" or new["rl"]["optimizer"]["schedule"] != "constant":
            return False
        return bool(asked[-1]["steps"] > stages[-1]["steps"])
    except (LookupError, TypeError):
        return False


def differing_keys(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Dotted keys at which two nested values differ: lists by number, a section that only one has by its name."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            inner = f"{place}.{key}" if place else str(key)
            if (key in one) != (key in other):
                yield inner
            else:
                yield from differing_keys(one[key], other[key], inner)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for i, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differing_keys(left, right, f"{place}.{i}")
    elif type(one) is not type(other) or one != other:
        yield place
