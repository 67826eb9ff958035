import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gppo.run import SCHEMA, RolloutRow, read_rollouts, rollout_path, rollout_steps, write_rollouts
from gppo.run.rollouts import first_rollout
from gppo.types import GppoError, UserError

NAMES = [field.name for field in SCHEMA]


def row(step: int = 1, tokens: int = 3, **changes: object) -> RolloutRow:
    per_token = np.linspace(-1, 0, tokens, dtype=np.float32)
    values = {
        "step": step,
        "stage": "math",
        "problem_id": "p",
        "sample": 0,
        "prompt_text": "1+1?",
        "response_text": "2",
        "prompt_ids": np.array([1, 2], dtype=np.int64),
        "response_ids": np.arange(tokens, dtype=np.int64),
        "sampled_logprobs": per_token,
        "update_logprobs": per_token - 1,
        "entropy": -per_token,
        "advantage": 0.5,
        "coefficient": per_token * 2,
        "reward": 1.0,
        "reward_parts": '{"answer": 1.0}',
        "finish_reason": "stop",
        "verdict": "correct",
        "extracted": "2",
        "rule": "box",
        "ground_truth": "2",
        "difficulty": "",
    }
    return RolloutRow(**(values | changes))


def assert_same(found: RolloutRow, expected: RolloutRow) -> None:
    for name in NAMES:
        one, other = getattr(found, name), getattr(expected, name)
        if isinstance(other, np.ndarray):
            assert one.dtype == (np.float32 if other.dtype.kind == "f" else np.int32), name
            np.testing.assert_array_equal(one, other, err_msg=name)
        elif isinstance(other, float) and math.isnan(other):
            assert math.isnan(one), name
        else:
            assert one == other, name


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def rows(draw: st.DrawFn) -> RolloutRow:
    tokens = draw(st.integers(0, 4))
    floats = hnp.arrays(np.float32, tokens, elements=st.floats(width=32))
    ids = lambda size: hnp.arrays(np.int32, size, elements=st.integers(0, 2**31 - 1))  # noqa: E731
    return row(
        step=7,
        tokens=tokens,
        sample=draw(st.integers(0, 63)),
        prompt_ids=draw(ids(draw(st.integers(0, 4)))),
        response_ids=draw(ids(tokens)),
        sampled_logprobs=draw(floats),
        old_logprobs=draw(st.none() | floats),
        update_logprobs=draw(st.none() | floats),
        entropy=draw(st.none() | floats),
        coefficient=draw(st.none() | floats),
        advantage=draw(st.floats(allow_nan=False)),
        reward=draw(st.floats()),
        extracted=draw(st.none() | TEXT),
        response_text=draw(TEXT),
        problem_id=draw(TEXT),
    )


@given(st.lists(rows(), max_size=4))
def test_rollouts_come_back_equal(tmp_path_factory: pytest.TempPathFactory, expected: list[RolloutRow]) -> None:
    folder = tmp_path_factory.mktemp("rollouts")
    write_rollouts(folder, 7, expected)
    found = read_rollouts(folder, 7)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_the_file_is_what_the_schema_says(tmp_path: Path) -> None:
    path = write_rollouts(tmp_path / "rollouts", 12, [row(12), row(12, tokens=2, update_logprobs=None)])
    assert path == tmp_path / "rollouts" / "step-000012.parquet"
    assert pq.read_schema(path).equals(SCHEMA)
    assert [str(SCHEMA.field(name).type) for name in ("step", "prompt_ids", "entropy", "reward")] == [
        "int32",
        "list<item: int32>" if "item" in str(SCHEMA.field("prompt_ids").type) else "list<element: int32>",
        "list<item: float>" if "item" in str(SCHEMA.field("entropy").type) else "list<element: float>",
        "double",
    ]
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"
    assert len(NAMES) == 22


def test_a_file_without_old_logprobs_is_read(tmp_path: Path) -> None:
    path = write_rollouts(tmp_path, 1, [row(old_logprobs=np.zeros(3))])
    pq.write_table(pq.read_table(path).drop_columns("old_logprobs"), path)
    (found,) = read_rollouts(tmp_path, 1)
    assert found.old_logprobs is None
    assert found.problem_id == "p"


def test_the_first_response_is_looked_at_without_the_rest(tmp_path: Path) -> None:
    write_rollouts(tmp_path, 1, [row(response_text="first"), row(response_text="second")])
    assert first_rollout(tmp_path, 1) == {
        "step": 1,
        "problem_id": "p",
        "response_text": "first",
        "reward": 1.0,
        "verdict": "correct",
    }
    write_rollouts(tmp_path, 2, [])
    (tmp_path / "step-000003.parquet").write_bytes(b"PAR1")
    assert [first_rollout(tmp_path, step) for step in (2, 3, 4)] == [{}, {}, {}]


def test_float64_is_written_as_float32(tmp_path: Path) -> None:
    write_rollouts(tmp_path, 1, [row(entropy=np.array([0.1, 0.2, 0.3]))])
    np.testing.assert_array_equal(read_rollouts(tmp_path, 1)[0].entropy, np.array([0.1, 0.2, 0.3], np.float32))


def test_half_a_surrogate_pair_in_a_response_is_replaced(tmp_path: Path) -> None:
    write_rollouts(tmp_path, 1, [row(response_text="é\ud800")])
    assert read_rollouts(tmp_path, 1)[0].response_text == "é?"


def test_steps_are_listed_and_replaced(tmp_path: Path) -> None:
    assert rollout_steps(tmp_path / "absent") == []
    for step in (2, 1_000_000, 10):
        write_rollouts(tmp_path, step, [row(step)])
    write_rollouts(tmp_path, 10, [row(10, sample=0), row(10, sample=1)])
    (tmp_path / "step-x.parquet").write_bytes(b"")
    (tmp_path / ".step-000003.parquet.abc.tmp").write_bytes(b"")
    assert rollout_steps(tmp_path) == [2, 10, 1_000_000]
    assert [item.sample for item in read_rollouts(tmp_path, 10)] == [0, 1]


def test_mistakes_of_the_writer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows of other steps among those of step 2"):
        write_rollouts(tmp_path, 2, [row(2), row(1)])
    with pytest.raises(ValueError, match="entropy has 2 values for a response of 3 tokens"):
        row(entropy=np.zeros(2))
    with pytest.raises(ValueError, match="too large"):
        write_rollouts(tmp_path, 1, [row(prompt_ids=np.array([2**40]))])
    assert list(tmp_path.iterdir()) == []


def test_steps_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such rollouts; no step is saved there"):
        read_rollouts(tmp_path, 1)
    write_rollouts(tmp_path, 2, [row(2)])
    with pytest.raises(UserError, match=r"step-000001\.parquet: no such rollouts; saved steps: 2"):
        read_rollouts(tmp_path, 1)
    rollout_path(tmp_path, 2).write_bytes(b"half")
    with pytest.raises(GppoError, match="damaged"):
        read_rollouts(tmp_path, 2)


def test_a_full_disk_leaves_the_older_file(full_disk: Path) -> None:
    write_rollouts(full_disk, 1, [row()])
    noise = np.random.default_rng(0).normal(size=20_000)
    big = row(tokens=20_000, sampled_logprobs=noise, update_logprobs=noise, entropy=noise, coefficient=noise)
    with pytest.raises(GppoError, match="no space left on the device; free some and run the same command again"):
        write_rollouts(full_disk, 1, [big])
    assert len(read_rollouts(full_disk, 1)[0].response_ids) == 3
    assert list(full_disk.iterdir()) == [rollout_path(full_disk, 1)]
