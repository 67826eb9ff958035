"""Where a run computes, as far as the last bits of its numbers depend on it."""

import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)


def note_another_place(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Say in one line where a resumed run computes elsewhere than before: it then goes on, but not bit by bit."""
    changed = [f"{key} {before[key]} before, {now[key]} now" for key in now if before.get(key, now[key]) != now[key]]
    if changed:
        logger.warning(
            "this run goes on in another place (%s): its numbers may differ from an uninterrupted run's in the last "
            "digits",
            "; ".join(changed),
        )
