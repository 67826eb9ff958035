"""Ready mappings of columns."""

from collections.abc import Callable, Iterable
from typing import Any

Row = dict[str, Any]
FORMATS: dict[str, Callable[[Row], Iterable[Row]]] = {}
