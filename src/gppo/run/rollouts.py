"""Saved rollouts: Parquet, one file a step, one row a response. Written by RL, read by report, evaluate and verify."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gppo.types import GppoError, UserError
from gppo.types.files import atomic_file

SCHEMA = pa.schema(
    [
        pa.field("step", pa.int32(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("prompt_text", pa.string(), nullable=False),
        pa.field("response_text", pa.string(), nullable=False),
        pa.field("prompt_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("response_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("sampled_logprobs", pa.list_(pa.float32()), nullable=False),
        pa.field("old_logprobs", pa.list_(pa.float32())),
        pa.field("update_logprobs", pa.list_(pa.float32())),
        pa.field("entropy", pa.list_(pa.float32())),
        pa.field("advantage", pa.float64(), nullable=False),
        pa.field("coefficient", pa.list_(pa.float32())),
        pa.field("reward", pa.float64(), nullable=False),
        pa.field("reward_parts", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("extracted", pa.string()),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("ground_truth", pa.string(), nullable=False),
        pa.field("difficulty", pa.string(), nullable=False),
    ]
)
_LISTS = tuple(field.name for field in SCHEMA if pa.types.is_list(field.type))
_PER_TOKEN = ("sampled_logprobs", "old_logprobs", "update_logprobs", "entropy", "coefficient")
_NAME = re.compile(r"step-(\d{6,})\.parquet")


@dataclass(frozen=True, slots=True, eq=False)
class RolloutRow:
    """One response with everything that was known about it. T is its length in tokens, S the prompt's.

    Args:
        step: the training step it was made for.
        stage: the stage's name.
        problem_id: what it answers.
        sample: its index in the group.
        prompt_text: the prompt as the model saw it.
        response_text: the response, without the stop token.
        prompt_ids: int32 [S].
        response_ids: int32 [T], the stop token included.
        sampled_logprobs: float32 [T], nats, of the distribution that was sampled from.
        update_logprobs: float32 [T], nats, under the weights just before the last update that saw this response: of its
            mini-batch in the last epoch. What earlier epochs saw is not kept. None for a dropped group.
        entropy: float32 [T], nats, at the same time; None for a dropped group.
        advantage: 0 for a dropped group.
        coefficient: float32 [T], what multiplied the gradient of each log-probability; None for a dropped group.
        reward: NaN where the judge itself failed.
        reward_parts: JSON, e.g. ``{"answer": 1.0, "format": 0.0}``.
        finish_reason: "stop" or "length".
        verdict: a verdict's status.
        extracted: the answer that was found, or None.
        rule: what decided.
        ground_truth: the reference answer.
        difficulty: the problem's label, "" where unknown.
        old_logprobs: float32 [T], nats, what ratios were against where the trainer computed them anew; None where that
            were ``sampled_logprobs``.
    """

    step: int
    stage: str
    problem_id: str
    sample: int
    prompt_text: str
    response_text: str
    prompt_ids: np.ndarray
    response_ids: np.ndarray
    sampled_logprobs: np.ndarray
    update_logprobs: np.ndarray | None
    entropy: np.ndarray | None
    advantage: float
    coefficient: np.ndarray | None
    reward: float
    reward_parts: str
    finish_reason: str
    verdict: str
    extracted: str | None
    rule: str
    ground_truth: str
    difficulty: str
    old_logprobs: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in _PER_TOKEN:
            values = getattr(self, name)
            if values is not None and len(values) != len(self.response_ids):
                raise ValueError(f"{name} has {len(values)} values for a response of {len(self.response_ids)} tokens")


def rollout_path(folder: Path, step: int) -> Path:
    """Where a step's rollouts are."""
    return folder / f"step-{step:06d}.parquet"


def write_rollouts(folder: Path, step: int, rows: Sequence[RolloutRow]) -> Path:
    """Write one step's rollouts as a whole, in place of an older file of the step.

    Args:
        folder: the run's ``rollouts``.
        step: which step; every row must belong to it.
        rows: all responses of the step.

    Raises:
        GppoError: the disk is full.
        ValueError: a row belongs to another step, or does not fit the schema.
    """
    if any(row.step != step for row in rows):
        raise ValueError(f"rows of other steps among those of step {step}")
    columns = [pa.array([_cell(row, field) for row in rows], type=field.type) for field in SCHEMA]
    path = rollout_path(folder, step)
    with atomic_file(path) as file:
        pq.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), file, compression="zstd")
    return path


def _cell(row: RolloutRow, field: pa.Field) -> object:
    value = getattr(row, field.name)
    if isinstance(value, np.ndarray) and pa.types.is_floating(field.type.value_type):
        return value.astype(np.float32)
    if isinstance(value, str) and not value.isascii():
        # A model may emit half of a surrogate pair; Parquet text is UTF-8.
        return value.encode("utf-8", "replace").decode("utf-8")
    return value


def read_rollouts(folder: Path, step: int) -> list[RolloutRow]:
    """One step's rollouts, in the order they were written.

    Raises:
        UserError: the step was not saved.
        GppoError: the file is damaged.
    """
    path = rollout_path(folder, step)
    if not path.is_file():
        steps = rollout_steps(folder)
        there = f"saved steps: {', '.join(map(str, steps))}" if steps else "no step is saved there"
        raise UserError(f"{path}: no such rollouts; {there}")
    try:
        table = pq.read_table(path, schema=SCHEMA)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    columns: dict[str, list[Any]] = {
        field.name: _arrays(table[field.name]) if field.name in _LISTS else table[field.name].to_pylist()
        for field in SCHEMA
    }
    names = [field.name for field in fields(RolloutRow)]
    return [RolloutRow(**{name: columns[name][i] for name in names}) for i in range(table.num_rows)]


def first_rollout(folder: Path, step: int) -> dict[str, Any]:
    """What can be read of a step's first response: step, problem_id, response_text, reward, verdict. Cheap.

    {} where the file went away meanwhile, as a run that goes on from an earlier step removes it.
    """
    columns = ["step", "problem_id", "response_text", "reward", "verdict"]
    try:
        with pq.ParquetFile(rollout_path(folder, step)) as file:
            first = next(file.iter_batches(batch_size=1, columns=columns), None)
    except (pa.ArrowException, OSError):
        return {}
    return first.to_pylist()[0] if first is not None and first.num_rows else {}


def problems_of(folder: Path, step: int) -> list[str]:
    """The problems of a step's groups, in their order. Reads nothing else of the file.

    Raises:
        GppoError: the file is damaged.
    """
    path = rollout_path(folder, step)
    try:
        found = pq.read_table(path, columns=["problem_id"])["problem_id"]
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    return found.unique().to_pylist()


def _damaged(path: Path, error: Exception) -> GppoError:
    reason = str(error).partition("\n")[0]
    return GppoError(f"{path}: damaged ({reason}); remove it and run the same command again")


def _arrays(column: pa.ChunkedArray) -> list[np.ndarray | None]:
    """Every list as an array of the column's type, without a detour over Python numbers."""
    return [item.values.to_numpy(zero_copy_only=False) if item.is_valid else None for item in column]


def rollout_steps(folder: Path) -> list[int]:
    """The steps whose rollouts are saved, ascending; [] where the folder does not exist."""
    if not folder.is_dir():
        return []
    names = (_NAME.fullmatch(item.name) for item in folder.iterdir())
    return sorted(int(name[1]) for name in names if name)


def remove_rollouts_after(folder: Path, step: int) -> None:
    """Remove the rollouts of later steps: a run that goes on from ``step`` makes them again."""
    for later in rollout_steps(folder):
        if later > step:
            rollout_path(folder, later).unlink()
