"""How much is computed at a time: rows of the head's product, rows and columns of the sampler's cache.

Everything that engine and plan must agree on, so that what a run will need can be told without torch.
"""

#: Elements of one chunk of logits: 64 MiB in float32, small beside any model and large enough for fast products.
CHUNK_ELEMENTS = 1 << 24
#: Prompt tokens of one forward pass of the sampler.
PREFILL_TOKENS = 16384
#: Columns by which a cache grows at least.
ROOM = 64


def chunk_rows(vocabulary: int) -> int:
    """Rows of hidden states that are sent through the head at a time."""
    return max(16, CHUNK_ELEMENTS // vocabulary)


def padded_rows(rows: int, device: str) -> int:
    """Rows that a decoding step computes where so many are asked for: few sizes, so that graphs are few.

    Args:
        rows: asked for.
        device: "cpu" or "cuda".
    """
    return -(-rows // 8) * 8 if device == "cpu" or rows <= 64 else -(-rows // 64) * 64


def cache_slots(rows: int, device: str) -> int:
    """Slots of the sampler's cache for so many rows side by side.

    One more than are computed: a compiled step must never see all slots at once, or it would be made anew for that.
    """
    return padded_rows(rows, device) + 1


def cache_columns(before: int, columns: int, longest: int) -> int:
    """Columns of the cache after room was made for ``columns``; it doubles, and stops at its longest row.

    Args:
        before: columns that it has.
        columns: that are needed.
        longest: that the longest row may come to need.
    """
    if columns < before:
        return before
    return max(columns + 1, min(max(columns + ROOM, 2 * before), longest + 1))
