"""How much is computed at a time: packs, micro-batches, chunks of the head, the sampler's cache. numpy only."""

from gppo.sizes.chunks import PREFILL_TOKENS, cache_columns, cache_slots, chunk_rows, padded_rows
from gppo.sizes.packing import Pack, micro_batches, pack_masked, pack_responses, packed_micro_batches
from gppo.sizes.shares import shared_passes

__all__ = [
    "PREFILL_TOKENS",
    "Pack",
    "cache_columns",
    "cache_slots",
    "chunk_rows",
    "micro_batches",
    "pack_masked",
    "pack_responses",
    "packed_micro_batches",
    "padded_rows",
    "shared_passes",
]
