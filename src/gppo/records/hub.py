"""Files of data sets on the Hugging Face hub, and whether there is a hub to ask at all."""

import urllib.error
import urllib.request
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from gppo.types import UserError

_PATIENCE = 5.0  # seconds; the hub's own client tries for most of a minute


def hub_answers() -> bool:
    """Whether the hub can be reached from here; False where HF_HUB_OFFLINE says not to try. At most 5 seconds."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD", headers={"User-Agent": "gppo"})
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE):
            return True
    except urllib.error.HTTPError:
        return True  # it answers
    except (OSError, ValueError):
        return False


def hub_files(repo: str, revision: str, patterns: Sequence[str], advice: str) -> list[Path]:
    """The files of a data set that match, fetched or from the local cache, by name.

    Args:
        repo: hub id of the data set.
        revision: commit or branch.
        patterns: of their paths there.
        advice: what to do where they cannot be had; ends the error's sentence.

    Raises:
        UserError: the hub cannot be reached and the cache does not hold them, or it does not give them.
    """
    from huggingface_hub import constants, snapshot_download

    there = hub_answers()
    try:
        folder = Path(
            snapshot_download(
                repo, repo_type="dataset", revision=revision, allow_patterns=list(patterns), local_files_only=not there
            )
        )
    except Exception as error:  # the client raises its own kinds, those of its transport and OSError
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        if not there:
            reason = f"{constants.ENDPOINT} cannot be reached from here, and the local cache does not hold it"
        raise UserError(f"the data set {repo} cannot be fetched: {reason}; {advice}") from error
    found = sorted(path for path in folder.rglob("*") if _matches(path.relative_to(folder).as_posix(), patterns))
    if not found:
        raise UserError(f"the data set {repo} at {revision} has no file {' or '.join(patterns)} here; {advice}")
    return found


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)
