"""The step that keeps the best sources: few excellent ones beat many (Tab. 4 and 5 of the paper)."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from gppo.config.selection import TopSourcesConfig
from gppo.curate.step import Bench, Items, Removed
from gppo.types import UserError


@dataclass(frozen=True, slots=True)
class TopSources:
    """Keeps the sources of the best ``quality``, of equal ones the first in the recipe, and a budget of each."""

    config: TopSourcesConfig

    passes = 2

    @property
    def title(self) -> str:
        """How the funnel names it."""
        budget = f", {self.config.rows_per_source} rows of each" if self.config.rows_per_source else ""
        return f"best {self.config.keep} sources{budget}"

    def changes(self, items: Items, bench: Bench) -> Iterator[Removed]:
        """Rows of other sources ("not among the best sources"), and those beyond a budget ("over the budget")."""
        ranks = self._ranks(bench)
        best = {name for name, rank in ranks.items() if rank <= self.config.keep}
        drawn = self._drawn(items, bench, best) if self.config.rows_per_source else {}
        seen: Counter[str] = Counter()
        for item in items:
            number = seen[item.source]
            seen[item.source] += 1
            if item.source not in best:
                reason = f"{item.source} is number {ranks[item.source]} of {len(ranks)} sources"
                yield Removed(item, "not among the best sources", reason)
            elif item.source in drawn and number not in drawn[item.source]:
                reason = f"{len(drawn[item.source])} rows of {item.source} were drawn, and not this one"
                yield Removed(item, "over the source's budget", reason)

    def _ranks(self, bench: Bench) -> dict[str, int]:
        for name in bench.sources:
            if bench.quality.get(name) is None:
                raise UserError(f"curate: the step top_sources needs a quality of each source; '{name}' has none")
        ordered = sorted(bench.sources, key=lambda name: bench.quality[name] or 0)
        return {name: rank for rank, name in enumerate(ordered, start=1)}

    def _drawn(self, items: Items, bench: Bench, best: set[str]) -> dict[str, set[int]]:
        """For each source that is over its budget the numbers of its rows that stay."""
        budget = self.config.rows_per_source or 0
        sizes = Counter(item.source for item in items)
        return {
            name: set(random.Random(f"{bench.seed}/{name}").sample(range(sizes[name]), budget))
            for name in best
            if sizes[name] > budget
        }
