"""What a stage of a recipe asks of the machine at its worst: longest prompts, and responses that reach their limit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gppo.config.model import ModelConfig
from gppo.config.rl import ResolvedStage, RLConfig
from gppo.config.sft import SFTConfig
from gppo.sizes import cache_slots, micro_batches, pack_masked, pack_responses, packed_micro_batches


@dataclass(frozen=True, slots=True)
class UpdateLoad:
    """One optimizer step of one process.

    Args:
        tokens: of the largest forward pass.
        learned: of them, tokens that are predicted and learned from.
        passes: forward and backward passes that share a gradient.
        total: tokens of all passes.
        over: whether one row alone is longer than the token budget.
    """

    tokens: int
    learned: int
    passes: int
    total: int
    over: bool


@dataclass(frozen=True, slots=True)
class SampleLoad:
    """The sampler of one process.

    Args:
        rows: responses decoded side by side.
        slots: rows of its cache.
        columns: of its cache, when a row reaches its limit.
        prompts: whose keys and values are held beside the cache.
        prompt_tokens: of one prompt.
        responses: of one training step.
    """

    rows: int
    slots: int
    columns: int
    prompts: int
    prompt_tokens: int
    responses: int


def rl_update(stage: ResolvedStage, config: RLConfig, *, packed: bool, ranks: int = 1) -> UpdateLoad:
    """The update of a stage whose responses all reach their limit.

    Args:
        stage: sizes.
        config: the token budget.
        packed: whether rows are packed; else padded.
        ranks: processes that share the rows.
    """
    prompts = [np.full(stage.max_prompt_tokens, i) for i in range(stage.mini_batch_prompts)]
    rows = [prompt for prompt in prompts for _ in range(stage.group_size)]
    response = np.zeros(stage.max_response_tokens, dtype=np.int64)
    lengths_B = np.full(len(rows), len(response))
    budget = config.micro_batch_tokens
    if not packed:
        return _padded(lengths_B + stage.max_prompt_tokens, lengths_B, budget, ranks)
    parts = packed_micro_batches(rows, lengths_B, budget)
    # Packs differ little: the first, which is the largest, stands for all.
    pack = pack_responses([rows[i] for i in parts[0]], [response] * len(parts[0]))
    total = sum(_pack_tokens(rows, part, len(response)) for part in parts)
    return _packed(len(pack.ids_L), len(pack.targets_N), len(parts), total, budget, ranks)


def sft_update(config: SFTConfig, longest: int, *, packed: bool, ranks: int = 1) -> UpdateLoad:
    """The update of SFT whose samples are all of the longest length.

    Args:
        config: batch and token budget.
        longest: ``max_length``, or the model's context where that is smaller.
        packed: whether rows are packed; else padded.
        ranks: processes that share the rows.
    """
    lengths_B, budget = np.full(config.batch_size, longest), config.micro_batch_tokens
    if not packed:
        return _padded(lengths_B, lengths_B, budget, ranks)
    none = np.array([], dtype=np.int64)
    parts = packed_micro_batches([none] * len(lengths_B), lengths_B, budget)
    row = np.zeros(longest, dtype=np.int64)
    pack = pack_masked([row] * len(parts[0]), [np.ones(longest, dtype=bool)] * len(parts[0]))
    return _packed(len(pack.ids_L), len(pack.targets_N), len(parts), int(lengths_B.sum()), budget, ranks)


def sampling(stage: ResolvedStage, config: RLConfig, model: ModelConfig, device: str, *, ranks: int = 1) -> SampleLoad:
    """The sampler of a stage whose responses all reach their limit."""
    responses = -(-stage.prompts_per_step * stage.group_size // ranks)
    rows = min(config.sampler_rows, responses)
    longest = stage.max_prompt_tokens + stage.max_response_tokens
    if model.max_context:
        longest = min(longest, model.max_context)
    # Prompts are computed for the rows that start together and for a quarter of the rows more, each once.
    ahead = min(responses, rows + config.sampler_rows // 4)
    return SampleLoad(
        rows=rows,
        slots=cache_slots(rows, device),
        columns=longest + 1,
        prompts=-(-ahead // stage.group_size),
        prompt_tokens=stage.max_prompt_tokens,
        responses=responses,
    )


def _pack_tokens(rows: Sequence[np.ndarray], part: np.ndarray, response: int) -> int:
    trunks = {int(rows[i][0]): len(rows[i]) for i in part}
    return sum(trunks.values()) + len(part) * (response - 1)


def _packed(tokens: int, learned: int, passes: int, total: int, budget: int, ranks: int) -> UpdateLoad:
    """Rows of other lengths may fill the budget where rows of the longest do not: the larger of the two counts."""
    mine, passes = -(-total // ranks), -(-passes // ranks)
    fullest = min(budget, mine)
    if fullest > tokens:
        tokens, learned = fullest, min(fullest, round(learned * fullest / tokens))
    return UpdateLoad(tokens, learned, passes, mine, tokens > budget)


def _padded(lengths_B: np.ndarray, learned_B: np.ndarray, budget: int, ranks: int) -> UpdateLoad:
    parts = micro_batches(lengths_B, budget)
    tokens = len(parts[0]) * int(lengths_B.max())
    learned = int(learned_B[parts[0]].sum())
    return UpdateLoad(tokens, learned, -(-len(parts) // ranks), -(-int(lengths_B.sum()) // ranks), tokens > budget)
