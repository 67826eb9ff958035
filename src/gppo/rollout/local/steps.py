"""How the family's step is run: plainly, compiled, and on a GPU as a graph that is captured once and replayed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from gppo.policy.family import Shape
from gppo.rollout.local.bound import Bindable
from gppo.rollout.local.draw import draw
from gppo.rollout.local.family import Cache, Weights, advance, logits_after
from gppo.rollout.local.seen import Seen
from gppo.sizes import padded_rows
from gppo.types import SamplingSettings

logger = logging.getLogger(__name__)

#: Rows, slots, read columns and columns that a step is compiled with. All differ, so that none is taken for another,
#: and they are the same in every process: what is compiled does not depend on what is decoded first.
_CANONICAL = (64, 72, 104, 136)
#: Forms of a step that one process may hold: one for each model shape, dtype and kind of draw.
_FORMS = 256


class Steps:
    """Runs a model's steps.

    Args:
        shape: of the model.
        device: where it is.
        compiled: whether to compile. Where that fails (no C++ compiler), one warning says so and steps run plainly.
    """

    def __init__(self, shape: Shape, device: torch.device, *, compiled: bool) -> None:
        self.shape = shape
        self.device = device
        self.compiled = compiled
        self._ready: set[bool] = set()
        # By rows and columns that are read.
        self._bound: dict[tuple[int, int], _Step] = {}
        self._graphs: dict[tuple[int, int], _Graph] = {}
        # One for all graphs: they run one after another, and what they give is copied out of it.
        self._pool: Any = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    def padded_rows(self, rows: int) -> int:
        """Rows that are computed where so many are asked for: few sizes, so that graphs are few."""
        return padded_rows(rows, self.device.type)

    def padded_columns(self, columns: int) -> int:
        """Columns that are read where so many are needed: steps of 16, on a GPU of an eighth to a quarter."""
        unit = 16 if self.device.type == "cpu" else max(64, 2 ** (columns.bit_length() - 3))
        return -(-columns // unit) * unit

    def moved(self) -> None:
        """What steps were made for is no longer what is asked for: cache, weights or settings are others."""
        self._bound.clear()
        self._graphs.clear()

    def run(
        self,
        weights: Weights,
        cache: Cache,
        columns_C: Tensor,
        tokens_B: np.ndarray,
        position_B: np.ndarray,
        uniforms_BK: np.ndarray,
        settings: SamplingSettings,
        seen: Seen | None = None,
    ) -> tuple[Tensor, Tensor]:
        """K steps; see ``Decoder.run``. The cache has more columns than positions, and more slots than rows.

        Weights, cache, settings and ``seen`` are the same ones until ``moved``.
        """
        rows, count = uniforms_BK.shape
        more = self.padded_rows(rows) - rows
        columns = min(self.padded_columns(int(position_B.max()) + count), len(columns_C) - 1)
        if more:
            tokens_B, position_B = np.pad(tokens_B, (0, more)), np.pad(position_B, (0, more))
            uniforms_BK = np.pad(uniforms_BK, ((0, more), (0, 0)))
        tokens = torch.from_numpy(tokens_B).to(self.device, non_blocking=True)
        position = torch.from_numpy(position_B).to(self.device, non_blocking=True)
        uniforms_KB = torch.from_numpy(np.ascontiguousarray(uniforms_BK.T)).to(self.device, non_blocking=True)
        state = tokens, position, uniforms_KB[0]
        drawn, logprobs = [], []
        if self.device.type == "cuda":
            graph = self._graph(state, columns_C[:columns], weights, cache, settings, seen)
            graph.tokens_B.copy_(tokens)
            graph.position_B.copy_(position)
            for uniforms in uniforms_KB:
                graph.uniforms_B.copy_(uniforms)
                graph.replay()
                drawn.append(graph.tokens_B[:rows].clone())
                logprobs.append(graph.logprobs_B[:rows].clone())
        else:
            if (len(tokens), columns) not in self._bound:
                made = self._step(state, columns_C[:columns], weights, cache, settings, seen)
                self._bound[len(tokens), columns] = made
            step = self._bound[len(tokens), columns]
            for uniforms in uniforms_KB:
                tokens, logprob, position = step(tokens, position, uniforms)
                drawn.append(tokens[:rows])
                logprobs.append(logprob[:rows])
        return torch.stack(drawn, 1), torch.stack(logprobs, 1)

    def _step(
        self,
        state: tuple[Tensor, Tensor, Tensor],
        columns_L: Tensor,
        weights: Weights,
        cache: Cache,
        settings: SamplingSettings,
        seen: Seen | None,
    ) -> "_Step":
        """The step from states of this one's shapes."""
        plain = settings.temperature > 0 and settings.top_p == 1 and settings.top_k == 0 and seen is None
        if self.compiled and plain not in self._ready:
            self._compile(weights, cache, plain)
        # Matrix products of one query a head leave a CPU idle; sums melt into the passes over the cache.
        as_sums = self.compiled and self.device.type == "cpu"
        fixed = self.shape, weights, cache, columns_L
        if plain:
            temperature = torch.tensor(settings.temperature, device=self.device)
            return self._bind(advance, state, *fixed, temperature=temperature, as_sums=as_sums)
        logits = self._bind(logits_after, state[:2], *fixed, as_sums=as_sums)

        def apart(tokens_B: Tensor, position_B: Tensor, uniforms_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            logits_BV = logits(tokens_B, position_B)
            seen_BV = None if seen is None else seen.with_tokens(tokens_B)
            return *draw(logits_BV, uniforms_B, settings, seen_BV), position_B + 1

        return apart

    def _bind(
        self, function: Callable[..., Any], varying: tuple[Tensor, ...], *fixed: Any, **named: Any
    ) -> Callable[..., Any]:
        """The function of what varies."""
        if self.compiled:
            return _compiled(function, self.device.type).bind(varying, *fixed, **named)
        return partial(function, *fixed, **named)

    def _compile(self, weights: Weights, cache: Cache, plain: bool) -> None:
        """Make the compiled form on canonical sizes, or find out that it cannot be made."""
        rows, slots, read, columns = _CANONICAL
        blank = Cache(
            [k.new_zeros(slots, k.shape[1], columns, k.shape[3]) for k in cache.keys],
            [v.new_zeros(slots, v.shape[1], columns, v.shape[3]) for v in cache.values],
            cache.cos_CD.new_zeros(columns, cache.cos_CD.shape[1]),
            cache.sin_CD.new_zeros(columns, cache.sin_CD.shape[1]),
            cache.queries.new_zeros(slots, *cache.queries.shape[1:]),
        )
        for tensor in blank.keys + blank.values:
            torch._dynamo.mark_dynamic(tensor, (0, 2))
        columns_L, zero_B = (torch.arange(n, device=self.device) for n in (read, rows))
        state = zero_B.zero_(), zero_B.clone(), zero_B.double()
        for tensor in (blank.cos_CD, blank.sin_CD, blank.queries, columns_L, *state):
            torch._dynamo.mark_dynamic(tensor, 0)
        self._ready.add(plain)
        settings = SamplingSettings(temperature=1.0 if plain else 0.0)
        try:
            with torch._dynamo.config.patch(recompile_limit=_FORMS, accumulated_recompile_limit=_FORMS):
                self._step(state, columns_L, weights, blank, settings, None)
        except TorchDynamoException as error:
            self.compiled = False
            reason = str(error).strip().splitlines()[0]
            logger.warning(
                "decoding is not compiled and slower for it (%s); install a C++ compiler, or set CXX to the one there "
                "is",
                reason,
            )

    def _graph(self, state: tuple[Tensor, Tensor, Tensor], columns_L: Tensor, *of_step: Any) -> "_Graph":
        key = (len(state[0]), len(columns_L))
        if key not in self._graphs:
            self._graphs[key] = _capture(self._pool, self._step(state, columns_L, *of_step), *state)
        return self._graphs[key]


#: (tokens_B, position_B, uniforms_B) -> tokens_B, logprobs_B, position_B
_Step = Callable[..., tuple[Tensor, Tensor, Tensor]]


@cache
def _compiled(function: Callable[..., Any], device: str) -> Bindable:
    """The compiled form, which is made when it is bound first.

    A step is dozens of small calls, which cost less from C++ than from Python; on a GPU they are replayed anyway.
    Sizes are checked by the guards, so that the kernels need not check them again.
    """
    return Bindable(function, {"cpp_wrapper": device == "cpu", "size_asserts": False})


@dataclass(frozen=True, slots=True)
class _Graph:
    """One step of so many rows over so many columns, with the memory that it reads and writes.

    ``holds`` is what else a replay reads: it must live as long as the graph.
    """

    tokens_B: Tensor
    position_B: Tensor
    uniforms_B: Tensor
    logprobs_B: Tensor
    replay: Callable[[], None]
    holds: _Step


def _capture(pool: Any, step: _Step, tokens: Tensor, position: Tensor, uniforms: Tensor) -> _Graph:
    """Capture a step that turns its state into the next one's.

    The first run, which makes what a step needs once, writes to the cache what the replay will write again.
    """
    tokens_B, position_B, uniforms_B = tokens.clone(), position.clone(), uniforms.clone()
    logprobs_B = torch.zeros_like(uniforms_B, dtype=torch.float32)
    step(tokens_B, position_B, uniforms_B)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        next_B, logprob_B, next_position_B = step(tokens_B, position_B, uniforms_B)
        tokens_B.copy_(next_B)
        logprobs_B.copy_(logprob_B)
        position_B.copy_(next_position_B)
    return _Graph(tokens_B, position_B, uniforms_B, logprobs_B, graph.replay, step)
