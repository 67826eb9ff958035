"""Results that cost time to get, written down one by one, so that a killed step goes on after the last of them."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gppo.curate.step import Item
from gppo.types.files import full_disk_as_error, json_line


def journalled(
    path: Path, items: Iterable[Item], work: Callable[[Iterator[Item]], Iterator[Any]]
) -> Iterator[tuple[Item, Any]]:
    """Each item with its result, in order; what an earlier start wrote to ``path`` is not made again.

    Args:
        path: JSONL of [row, result]; its folder is made. A line cut short by a kill is dropped.
        items: by ascending row, the same as in the earlier start.
        work: gives a result for each item, in order; it may read ahead. Results are plain JSON values.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = iter(items)
    waiting: deque[Item] = deque()

    def ahead() -> Iterator[Item]:
        for item in stream:
            waiting.append(item)
            yield item

    with path.open("a+b") as file:
        file.seek(0)
        for row, result in _whole_lines(file):
            item = next(stream)
            if item.row != row:
                raise ValueError(f"{path}: row {row} where {item.row} is due; it belongs to other rows")
            yield item, result
        for result in work(ahead()):
            item = waiting.popleft()
            with full_disk_as_error(path):
                file.write(json_line([item.row, result]))
                file.flush()
            yield item, result


def _whole_lines(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """The whole lines; what comes after them is cut off."""
    end = 0
    for line in file:
        if not line.endswith(b"\n"):
            break
        end += len(line)
        row, result = json.loads(line)
        yield row, result
    file.truncate(end)
    file.seek(end)
