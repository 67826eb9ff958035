"""Which rows share a forward pass, and how they lie in it: packed end to end, or padded side by side.

A pack is one sequence without padding. Responses to one prompt share it: the prompt stands once, as a *trunk*, and the
responses are its *branches*. A token attends to its own segment up to itself, and in a branch to the whole trunk
before; its position goes on from the trunk's. So every hidden state is the one that the row has by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Pack:
    """L tokens in segments that lie end to end: trunks with branches, trunks without, branches ordered by trunk.

    Args:
        ids_L: int64 [L].
        positions_L: int64 [L], each token's place in its row.
        predicts_N: int64 [N], places in the pack whose hidden state predicts a learned token, row by row.
        targets_N: int64 [N], those tokens.
        trunk_lengths: int64 [trunks].
        branch_lengths: int64 [branches].
        branches_of: int64 [trunks], branches of each trunk; the first trunks have some, the others none.
    """

    ids_L: np.ndarray
    positions_L: np.ndarray
    predicts_N: np.ndarray
    targets_N: np.ndarray
    trunk_lengths: np.ndarray
    branch_lengths: np.ndarray
    branches_of: np.ndarray


def pack_responses(prompts: Sequence[np.ndarray], responses: Sequence[np.ndarray]) -> Pack:
    """Pack B rows so that equal prompts stand once; every response token is a target.

    Last tokens of responses are left out: nothing is predicted from them.
    """
    rows_of = _rows_by_prompt(prompts)
    shared = [rows for rows in rows_of if sum(len(responses[row]) > 1 for row in rows) > 1]
    alone = [rows for rows in rows_of if sum(len(responses[row]) > 1 for row in rows) <= 1]
    trunks: list[np.ndarray] = [prompts[rows[0]] for rows in shared]
    # A single response goes on in its prompt's segment; rows of one token are predicted from the prompt's end.
    trunks += [np.concatenate([prompts[rows[0]], *(responses[row][:-1] for row in rows)]) for rows in alone]
    branch_rows = [row for rows in shared for row in rows if len(responses[row]) > 1]
    trunk_ends = np.cumsum([len(trunk) for trunk in trunks])
    first_predicts = dict[int, int]()  # row -> place of its prompt's last token
    goes_on_at = dict[int, int]()  # row -> place of its first token
    for rows, end, trunk in zip([*shared, *alone], trunk_ends, trunks, strict=True):
        prompt_end = int(end) - len(trunk) + len(prompts[rows[0]])
        for row in rows:
            first_predicts[row], goes_on_at[row] = prompt_end - 1, prompt_end
    place = int(trunk_ends[-1])
    for row in branch_rows:
        goes_on_at[row] = place
        place += len(responses[row]) - 1
    predicts = [
        np.concatenate([[first_predicts[row]], goes_on_at[row] + np.arange(len(response) - 1)])
        for row, response in enumerate(responses)
    ]
    branches = [responses[row][:-1] for row in branch_rows]
    starts = [np.arange(len(trunk)) for trunk in trunks]
    starts += [len(prompts[row]) + np.arange(len(responses[row]) - 1) for row in branch_rows]
    return Pack(
        ids_L=np.concatenate([*trunks, *branches]),
        positions_L=np.concatenate(starts),
        predicts_N=np.concatenate(predicts).astype(np.int64),
        targets_N=np.concatenate(responses),
        trunk_lengths=np.array([len(trunk) for trunk in trunks]),
        branch_lengths=np.array([len(branch) for branch in branches], dtype=np.int64),
        branches_of=np.array([sum(len(responses[r]) > 1 for r in rows) for rows in shared] + [0] * len(alone)),
    )


def pack_masked(rows: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Pack:
    """Pack B rows that share nothing; the targets are the tokens under each row's mask (the first cannot be)."""
    targets = [np.flatnonzero(mask[1:]) + 1 for mask in masks]
    # From the last target on nothing is predicted; a row without any target keeps one token, so that no pack is empty.
    lengths = [int(places.max(initial=1)) for places in targets]
    starts = np.cumsum([0, *lengths])[:-1]
    return Pack(
        ids_L=np.concatenate([row[:length] for row, length in zip(rows, lengths, strict=True)]),
        positions_L=np.concatenate([np.arange(length) for length in lengths]),
        predicts_N=np.concatenate([start + places - 1 for start, places in zip(starts, targets, strict=True)]),
        targets_N=np.concatenate([row[places] for row, places in zip(rows, targets, strict=True)]),
        trunk_lengths=np.array(lengths),
        branch_lengths=np.array([], dtype=np.int64),
        branches_of=np.zeros(len(rows), dtype=np.int64),
    )


def packed_micro_batches(
    prompts: Sequence[np.ndarray], response_lengths_B: np.ndarray, token_budget: int
) -> list[np.ndarray]:
    """Rows grouped so that a pack of them stays within the budget, and rows with one prompt stay together.

    Largest groups first: if memory runs out, it does so at once. A group above the budget is cut, and each part of it
    computes the prompt; a row above the budget is by itself.

    Args:
        prompts: B arrays int64.
        response_lengths_B: tokens of each response.
        token_budget: tokens of one forward pass.

    Returns:
        Index arrays that together hold every row once.
    """
    pieces: list[tuple[int, list[int]]] = []  # (tokens, rows)
    for rows in _rows_by_prompt(prompts):
        prompt_tokens = len(prompts[rows[0]])
        tokens, piece = prompt_tokens, list[int]()
        for row in sorted(rows, key=lambda row: -response_lengths_B[row]):
            more = int(response_lengths_B[row]) - 1
            if piece and tokens + more > token_budget:
                pieces.append((tokens, piece))
                tokens, piece = prompt_tokens, []
            tokens, piece = tokens + more, [*piece, row]
        pieces.append((tokens, piece))
    pieces.sort(key=lambda piece: -piece[0])
    parts: list[tuple[int, list[int]]] = []
    for tokens, rows in pieces:
        if parts and parts[-1][0] + tokens <= token_budget:
            parts[-1] = (parts[-1][0] + tokens, parts[-1][1] + rows)
        else:
            parts.append((tokens, rows))
    return [np.asarray(rows) for _, rows in parts]


def micro_batches(lengths_B: np.ndarray, token_budget: int) -> list[np.ndarray]:
    """Rows grouped by similar length so that rows x longest stays within the budget.

    Longest first: if memory runs out, it does so at once. A row longer than the budget gets a micro-batch of its own.

    Args:
        lengths_B: tokens of each row, prompt included.
        token_budget: tokens of one forward pass, padding included.

    Returns:
        Index arrays that together hold every row once.
    """
    order_B = np.argsort(-lengths_B, kind="stable")
    parts: list[list[int]] = []
    for row in order_B:
        if parts and (len(parts[-1]) + 1) * lengths_B[parts[-1][0]] <= token_budget:
            parts[-1].append(int(row))
        else:
            parts.append([int(row)])
    return [np.asarray(part) for part in parts]


def _rows_by_prompt(prompts: Sequence[np.ndarray]) -> list[list[int]]:
    """Rows with equal prompts, in the order in which prompts come first."""
    rows_of = dict[bytes, list[int]]()
    for row, prompt in enumerate(prompts):
        rows_of.setdefault(prompt.tobytes(), []).append(row)
    return list(rows_of.values())
