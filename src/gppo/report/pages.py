"""What the pages share: templates that escape, scripts that a browser may run by their hash, inert JSON."""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gppo.report.numbers import compact, count, percent

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True, slots=True)
class Script:
    """A script of the page and the hash that lets the browser run it."""

    text: str
    hash: str


def templates() -> "Environment":
    """The templates, which escape whatever is put into them."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("gppo.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"percent": percent, "compact": compact, "count": count}
    return found


def own_text(name: str) -> str:
    """A file of this package: a script or a style."""
    return (files("gppo.report") / name).read_text(encoding="utf-8")


def page_scripts(texts: Mapping[str, str]) -> dict[str, Script]:
    """Scripts with the hashes that the page's content security policy names."""
    from markupsafe import Markup

    return {
        name: Script(Markup(text), f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}")
        for name, text in texts.items()
    }


def embedded_json(value: Any) -> str:
    """JSON that stays inert inside a script element: ``<``, ``>`` and ``&`` cannot end it or open another."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
