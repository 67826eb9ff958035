"""Data sets of the Hugging Face hub, streamed row by row."""

from collections.abc import Iterator
from typing import Any

from gppo.config.sources import SourceConfig
from gppo.types import UserError
from gppo.types.files import plain


def iter_hub(config: SourceConfig) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream (number, row) of a data set without fetching it whole; numbers start at 1.

    Raises:
        UserError: `datasets` is not installed, or the data set cannot be opened or read further.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise UserError(
            f"source '{config.name}': reading from the hub needs the package datasets; pip install 'gppo[hub]'"
        ) from error
    number = 0
    try:
        rows = load_dataset(config.hub, config.subset, split=config.split, revision=config.revision, streaming=True)
        for number, row in enumerate(rows, start=1):
            yield number, plain(row, fallback=str)
    except Exception as error:  # it raises what its many readers raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"source '{config.name}': {config.hub} cannot be read after row {number} ({reason}); check the name, the "
            "split and the network"
        ) from error
