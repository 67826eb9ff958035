"""Whether something is still what it was: a short text that changes with every byte of it."""

import hashlib
from collections.abc import Iterable


def fingerprint(parts: Iterable[str | bytes | memoryview]) -> str:
    """32 hexadecimal digits of SHA-256 over the parts, each with its length so that their borders count too."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()[:32]
