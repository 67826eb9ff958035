import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.records import (
    Conversation,
    read_conversations,
    read_problems,
    write_conversations,
    write_problems,
)
from gppo.types import GppoError, Problem, UserError

# Every text a Problem may hold: NUL and lone surrogates are refused on reading.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
FILLED = TEXT.filter(lambda text: text.strip())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
EXTRAS = st.dictionaries(TEXT.filter(lambda key: key not in ("id", "reward_style")), VALUES, max_size=4)
ROLES = st.sampled_from(["system", "user", "tool"])
KINDS = pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])


def turns(*roles: str) -> st.SearchStrategy:
    turn = st.fixed_dictionaries({"role": ROLES, "content": TEXT})
    last = st.fixed_dictionaries({"role": st.sampled_from(roles), "content": FILLED})
    return st.tuples(st.lists(turn, max_size=2), last).map(lambda pair: (*pair[0], pair[1]))


def by_id(record: Problem | Conversation) -> str:
    return record.id


PROBLEMS = st.lists(
    st.builds(
        Problem,
        id=TEXT.filter(bool),
        prompt=turns("user", "assistant"),
        ability=st.sampled_from(["math", "code"]),
        ground_truth=FILLED,
        data_source=TEXT,
        extra=EXTRAS,
    ),
    min_size=1,
    max_size=4,
    unique_by=by_id,
)
CONVERSATIONS = st.lists(
    st.builds(Conversation, id=TEXT.filter(bool), messages=turns("assistant"), source=TEXT, extra=EXTRAS),
    min_size=1,
    max_size=4,
    unique_by=by_id,
)


@KINDS
@given(problems=PROBLEMS)
def test_problems_come_back_equal(suffix: str, problems: list[Problem]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        assert write_problems(path, problems) == len(problems)
        assert read_problems(path) == problems


@KINDS
@given(conversations=CONVERSATIONS)
def test_conversations_come_back_equal(suffix: str, conversations: list[Conversation]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        assert write_conversations(path, iter(conversations)) == len(conversations)
        assert read_conversations(path) == conversations


def problem(name: str = "p", **extra: object) -> Problem:
    return Problem(name, ({"role": "user", "content": "1+1?"},), "math", "2", "src", extra)


def test_jsonl_is_the_schema_of_verl(tmp_path: Path) -> None:
    write_problems(tmp_path / "a.jsonl", [problem(difficulty="é", reward_style="model", score=math.nan, n=np.int64(3))])
    text = (tmp_path / "a.jsonl").read_text("utf-8")
    assert json.loads(text) == {
        "data_source": "src",
        "prompt": [{"role": "user", "content": "1+1?"}],
        "ability": "math",
        "reward_model": {"style": "model", "ground_truth": "2"},
        "extra_info": {"difficulty": "é", "score": None, "n": 3, "id": "p"},
    }
    assert "é" in text
    assert text.endswith("\n")


def test_parquet_keeps_simple_extras_as_columns_others_as_json(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    problems = [problem("p", level=1, mixed=1, deep={"a": []}), problem("q", level=2, mixed="x"), problem("r")]
    write_problems(path, problems)
    extra = pq.read_table(path)["extra_info"].to_pylist()
    assert extra[0] == {"level": 1, "mixed": "1", "deep": '{"a": []}', "id": "p"}
    assert extra[1] == {"level": 2, "mixed": '"x"', "deep": None, "id": "q"}
    assert read_problems(path) == problems


def test_integers_beyond_64_bits_survive_parquet(tmp_path: Path) -> None:
    problems = [problem(big=2**80)]
    write_problems(tmp_path / "a.parquet", problems)
    assert read_problems(tmp_path / "a.parquet") == problems


@KINDS
def test_an_empty_set_is_written_and_refused_on_reading(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    assert write_problems(path, []) == 0
    with pytest.raises(UserError, match="the file has no rows"):
        read_problems(path)


@KINDS
def test_a_failing_source_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_problems(path, [problem()])

    def broken() -> object:
        yield problem("q")
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        write_problems(path, broken())
    assert [item.id for item in read_problems(path)] == ["p"]
    assert list(tmp_path.iterdir()) == [path], "no temporary file stays"


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.txt"])
def test_names_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"\.parquet"):
        write_problems(tmp_path / name, [problem()])


@KINDS
def test_a_full_disk(full_disk: Path, suffix: str) -> None:
    path = full_disk / f"a{suffix}"
    write_problems(path, [problem()])
    many = [problem(f"{i}", noise=np.random.default_rng(i).bytes(300).hex()) for i in range(2000)]
    with pytest.raises(GppoError, match="no space left on the device; free some and run the same command again"):
        write_problems(path, many)
    assert [item.id for item in read_problems(path)] == ["p"]
    assert list(full_disk.iterdir()) == [path]


def test_parquet_is_written_in_parts_with_types_known_after_the_last_row(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("gppo.records.write._ROWS_AT_ONCE", 3)
    extras = [{"level": i} for i in range(7)] + [{"level": "high", "big": 2**70}, {}]
    prompt = ({"role": "user", "content": "1 + 1?"},)
    problems = [Problem(str(i), prompt, "math", "2", extra=extra) for i, extra in enumerate(extras)]
    assert write_problems(tmp_path / "a.parquet", (problem for problem in problems)) == 9
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3
    assert read_problems(tmp_path / "a.parquet") == problems
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]
