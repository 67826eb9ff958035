"""The step that keeps a budget of rows which cover what is asked: K-Center-Greedy over embeddings."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gppo.config import KCenterConfig
from gppo.curate.dedup import asked
from gppo.curate.embed import Encoder, HashedTfidf, HubEncoder, embed
from gppo.curate.kcenter import k_center_greedy
from gppo.curate.step import Bench, Items, Removed

_STATE, _EMBEDDINGS = "k-center.npz", "embeddings"


@dataclass(frozen=True, slots=True)
class KCenter:
    """Keeps ``budget`` rows; of the others, each is at most the noted radius away from one that stays.

    Distances are those of questions of length 1: 0 is the same, 1.41 has nothing in common.
    """

    config: KCenterConfig

    passes = 3

    @property
    def title(self) -> str:
        """How the funnel names it."""
        return f"K-Center to {self.config.budget}"

    def changes(self, items: Items, bench: Bench) -> Iterator[Removed]:
        """The rows that are "covered by others"."""
        if len(items) <= self.config.budget:
            return
        from gppo.policy.device import choose_device

        device = choose_device(bench.device, None)
        bench.folder.mkdir(parents=True, exist_ok=True)
        encoder = self._encoder(items, bench, device)
        points_ND = embed((asked(item.record) for item in items), len(items), encoder, bench.folder / _EMBEDDINGS)
        found = k_center_greedy(points_ND, self.config.budget, device=device, checkpoint=bench.folder / _STATE)
        bench.notes.append(f"each of the others is within {found.radius:.3f} of one that stays")
        kept_N = np.zeros(len(items), dtype=bool)
        kept_N[found.indices_K] = True
        reason = f"{self.config.budget} rows that stay cover it within {found.radius:.3f}"
        for keep, item in zip(kept_N, items, strict=True):
            if not keep:
                yield Removed(item, "covered by others", reason)

    def _encoder(self, items: Items, bench: Bench, device: str) -> Encoder:
        embedding = self.config.embedding
        if embedding.encoder is not None:
            return HubEncoder(embedding, device)

        def sample() -> Iterator[str]:
            size = min(embedding.sample, len(items))
            drawn = set(random.Random(bench.seed).sample(range(len(items)), size))
            return (asked(item.record) for i, item in enumerate(items) if i in drawn)

        return HashedTfidf(sample, embedding.dimensions, bench.seed, bench.folder / "tf-idf.npz")
