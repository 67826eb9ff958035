import gzip
import json
import logging
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gppo.records import Quarantine, iter_rows, problem_from_row, read_conversations, read_problems
from gppo.types import GppoError, UserError
from gppo.types.files import plain

GOOD = {
    "data_source": "aime",
    "prompt": [{"role": "user", "content": "1+1?"}],
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "2"},
    "extra_info": {"index": 7, "difficulty": "easy"},
}
CHAT = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}


def write_lines(path: Path, *rows: dict | bytes) -> Path:
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    return path


def reasons(path: Path) -> list[tuple[int, str]]:
    return [(item["line"], item["reason"]) for item in map(json.loads, path.read_text("utf-8").splitlines())]


def test_a_good_row(tmp_path: Path) -> None:
    (problem,) = read_problems(write_lines(tmp_path / "a.jsonl", GOOD | {"level": 3}))
    assert problem.id == "7"
    assert problem.prompt == ({"role": "user", "content": "1+1?"},)
    assert (problem.ability, problem.ground_truth, problem.data_source) == ("math", "2", "aime")
    assert problem.extra == {"level": 3, "index": 7, "difficulty": "easy"}
    assert problem.difficulty == "easy"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.jsonl"], "no quarantine where nothing is bad"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"extra_info": {"id": "x", "index": 7}}, "x"),
        ({"extra_info": {"id": 0}}, "0"),
        ({"extra_info": {"id": "", "index": 0}}, "0"),
        ({"extra_info": {"id": True}}, "train-1"),
        ({"extra_info": {"id": {}}, "id": 5}, "5"),
        ({"extra_info": None}, "train-1"),
    ],
)
def test_where_ids_come_from(tmp_path: Path, change: dict, expected: str) -> None:
    assert read_problems(write_lines(tmp_path / "train.jsonl", GOOD | change))[0].id == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [("2", "2"), (2, "2"), (0.5, "0.5"), (27.0, "27.0"), (True, "true"), (["a", "é"], '["a", "é"]'), (0, "0")],
)
def test_ground_truths_that_are_no_text(tmp_path: Path, value: object, text: str) -> None:
    row = GOOD | {"reward_model": {"ground_truth": value}}
    assert read_problems(write_lines(tmp_path / "a.jsonl", row))[0].ground_truth == text


def test_a_prompt_given_as_text_is_one_user_turn(tmp_path: Path) -> None:
    (problem,) = read_problems(write_lines(tmp_path / "a.jsonl", GOOD | {"prompt": "1+1?"}))
    assert problem.prompt == ({"role": "user", "content": "1+1?"},)


def test_ability_and_style(tmp_path: Path) -> None:
    row = GOOD | {"ability": " MATH", "reward_model": {"ground_truth": "2", "style": "model"}}
    (problem,) = read_problems(write_lines(tmp_path / "a.jsonl", row))
    assert problem.ability == "math"
    assert problem.extra["reward_style"] == "model"


BAD_PROBLEMS = [
    (b"{", "not JSON (Expecting property name enclosed in double quotes at character 2); put one object on each line"),
    (b'{"a": "\t"}', "not JSON (Invalid control character at at character 8); put one object on each line"),
    (b"[" * 100_000, "not JSON that can be read (maximum recursion depth exceeded"),
    (b'{"a": 1' + b"0" * 5000 + b"}", "not JSON that can be read (Exceeds the limit (4300 digits)"),
    (b"[1]", "a list, not an object; put one object in braces on each line"),
    (b"null", "a NoneType, not an object"),
    (b'{"a": "\xff"}', "not UTF-8 (byte 8 of the line); save the file as UTF-8"),
    (b'{"a": 1}\0\0', "holds NUL bytes, as a crash while writing leaves them; write the file again"),
    ({}, "'prompt' is missing (the row has no keys); add a list of turns with role and content"),
    ({"question": "x", "answer": "y"}, "'prompt' is missing (the row has question, answer); add a list"),
    (GOOD | {"prompt": None}, "'prompt' is null; add a list of turns"),
    (GOOD | {"prompt": 3}, "'prompt' is a int; write a list of turns with role and content"),
    (GOOD | {"prompt": []}, "'prompt' is an empty list; add at least one turn"),
    (GOOD | {"prompt": " \n"}, "the prompt is empty; write what is asked"),
    (GOOD | {"prompt": [{"role": "user", "content": ""}]}, "the prompt is empty"),
    (GOOD | {"prompt": ["hi"]}, "turn 1 of 'prompt' is a str; write {role: ..., content: ...}"),
    (GOOD | {"prompt": [{"content": "x"}]}, "turn 1 of 'prompt' has no role"),
    (GOOD | {"prompt": [{"role": "user", "content": None}]}, "turn 1 of 'prompt' has no content"),
    (GOOD | {"prompt": [{"role": "user", "content": [1]}]}, "the content of turn 1 of 'prompt' is a list; write it as"),
    (
        GOOD | {"prompt": [{"role": "human", "content": "x"}]},
        "the role of turn 1 of 'prompt' is 'human'; use one of system",
    ),
    (
        GOOD | {"prompt": [{"role": "user", "content": "x", "weight": 0}]},
        "turn 1 of 'prompt' has 'weight' besides role",
    ),
    (GOOD | {"prompt": "a\0b"}, "a text holds the NUL character; remove it"),
    (GOOD | {"extra_info": {"a\0": 1}}, "a text holds the NUL character; remove it"),
    (GOOD | {"prompt": "\ud800"}, "a text holds half of a surrogate pair, which is no character; remove it"),
    (GOOD | {"ability": None}, "'ability' is null; set it to math or code"),
    (GOOD | {"ability": "poetry"}, "ability is 'poetry', which has no judge; set it to math or code"),
    (
        {k: v for k, v in GOOD.items() if k != "reward_model"},
        "'reward_model' is missing (the row has data_source, prompt,",
    ),
    (GOOD | {"reward_model": "2"}, "reward_model is a str, not an object"),
    (GOOD | {"reward_model": {"style": "rule"}}, "reward_model has no ground_truth; add the reference answer"),
    (GOOD | {"reward_model": {"ground_truth": None}}, "reward_model.ground_truth is null"),
    (GOOD | {"reward_model": {"ground_truth": float("nan")}}, "reward_model.ground_truth is null"),
    (GOOD | {"reward_model": {"ground_truth": " "}}, "reward_model.ground_truth is empty"),
    (GOOD | {"extra_info": [1]}, "extra_info is a list, not an object"),
    (GOOD, "id '7' was given on line 1; make ids differ"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_PROBLEMS, ids=[reason[:40] for _, reason in BAD_PROBLEMS])
def test_bad_problems_are_set_aside_with_a_reason(tmp_path: Path, bad: dict | bytes, reason: str) -> None:
    path = write_lines(tmp_path / "a.jsonl", GOOD, bad, GOOD | {"extra_info": {"id": "last"}})
    quarantine = Quarantine.beside(path)
    assert [problem.id for problem in read_problems(path, quarantine=quarantine)] == ["7", "last"]
    assert quarantine.count == 1
    ((line, found),) = reasons(tmp_path / "a.jsonl.quarantine.jsonl")
    assert line == 2
    assert found.startswith(reason)


def test_what_is_set_aside_is_kept_as_it_was(tmp_path: Path) -> None:
    bad_row = GOOD | {"prompt": "half \ud800", "é": 1}
    path = write_lines(tmp_path / "a.jsonl", GOOD, b'{"\xff"', bad_row)
    read_problems(path)
    raw, row = map(json.loads, (tmp_path / "a.jsonl.quarantine.jsonl").read_text("utf-8").splitlines())
    assert raw["raw"] == '{"\\xff"'
    assert row["row"] == bad_row


def test_a_whole_stale_quarantine_goes_when_the_data_is_mended(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", GOOD, b"{")
    read_problems(path)
    aside = tmp_path / "a.jsonl.quarantine.jsonl"
    assert aside.exists()
    write_lines(path, GOOD)
    read_problems(path)
    assert not aside.exists()


def test_other_files_named_as_quarantine_are_not_removed(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("precious")
    read_problems(write_lines(tmp_path / "a.jsonl", GOOD), quarantine=mine)
    assert mine.read_text() == "precious"


def test_rows_set_aside_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_lines(tmp_path / "a.jsonl", GOOD, b"{")
    with caplog.at_level(logging.WARNING):
        read_problems(path, quarantine=tmp_path / "bad.jsonl")
    assert f"{path}: 1 of 2 rows set aside in {tmp_path / 'bad.jsonl'}" in caplog.text


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"messages": [{"role": "user", "content": "hi"}]},
            "messages has no assistant turn; there is nothing to learn",
        ),
        ({"messages": [{"role": "assistant", "content": " "}]}, "messages has only empty assistant turns"),
        ({"messages": "hi"}, "'messages' is a str; write a list of turns"),
        ({"text": "hi"}, "'messages' is missing (the row has text)"),
        (CHAT | {"extra_info": [1]}, "extra_info is a list"),
        (
            {"messages": [{"role": "assistant", "content": "4", "reasoning_content": "2+2"}]},
            "turn 1 of 'messages' has 'reasoning_content' besides role and content; move it into content or remove it",
        ),
    ],
)
def test_bad_conversations(tmp_path: Path, row: dict, reason: str) -> None:
    path = write_lines(tmp_path / "sft.jsonl", CHAT, row)
    (kept,) = read_conversations(path)
    assert kept.id == "sft-1"
    ((line, found),) = reasons(tmp_path / "sft.jsonl.quarantine.jsonl")
    assert line == 2
    assert found.startswith(reason)


def test_sources_of_conversations(tmp_path: Path) -> None:
    rows = [
        CHAT | {"data_source": "a", "source": "b"},
        CHAT | {"source": "b", "tool_calls": None},
        CHAT | {"extra_info": {"id": 4, "level": 1}},
    ]
    found = read_conversations(write_lines(tmp_path / "sft.jsonl", *rows))
    assert [item.source for item in found] == ["a", "b", ""]
    assert [item.extra for item in found] == [{"source": "b"}, {}, {"level": 1}]
    assert [item.id for item in found] == ["sft-1", "sft-2", "4"]


def test_gzip_blank_lines_bom_and_crlf(tmp_path: Path) -> None:
    line = json.dumps(GOOD).encode()
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + line + b"\r\n\r\n  \n" + line.replace(b"7", b"8")))
    assert [problem.id for problem in read_problems(path)] == ["7", "8"]
    assert [number for number, _ in iter_rows(path)] == [1, 4]


def test_iter_rows_without_quarantine_stops_at_a_bad_line(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", {"a": 1}, b"{")
    rows = iter_rows(path)
    assert next(rows) == (1, {"a": 1})
    with pytest.raises(UserError, match=r"a\.jsonl: line 2: not JSON"):
        next(rows)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl", b"", "the file has no rows"),
        ("a.jsonl", b"\n\n", "the file has no rows"),
        ("a.jsonl", b"{\n[]\n", "none of its 2 rows can be used, the first because of line 1: not JSON"),
        ("a.jsonl.gz", b"plain", "cannot be read after line 0 (Not a gzipped file"),
        ("a.jsonl.gz", gzip.compress(os.urandom(3000))[:-900], "cannot be read after line"),
        ("a.parquet", b"plain", "not a Parquet file that can be read ("),
        ("a.csv", b"a,b", "unknown kind of file; records are read from .jsonl, .jsonl.gz, .json, .parquet"),
    ],
)
def test_files_that_hold_nothing_of_use(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_problems(path)
    assert str(caught.value).startswith(f"{path}: {reason}")
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_problems(tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        read_conversations(tmp_path / "b.jsonl")


def test_a_quarantine_that_cannot_be_written(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", GOOD, b"{")
    with pytest.raises(UserError, match=r"set aside here \(Not a directory\).*line 2: not JSON"):
        read_problems(path, quarantine=path / "below" / "a.quarantine.jsonl")


def test_a_full_disk_under_the_quarantine(full_disk: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", GOOD, *[b"{" + b"x" * 20_000] * 10)
    with pytest.raises(GppoError, match="no space left on the device; free some and run the same command again"):
        read_problems(path, quarantine=full_disk / "a.quarantine.jsonl")
    assert list(full_disk.iterdir()) == []


def test_parquet_with_nulls_structs_and_bytes(tmp_path: Path) -> None:
    rows = [
        GOOD | {"extra_info": {"index": 0, "note": None, "scores": [0.5, None]}, "weird": b"text"},
        GOOD | {"extra_info": {"index": 1, "note": "n", "scores": None}, "weird": None},
        GOOD | {"prompt": None, "extra_info": {"index": 2, "note": "n", "scores": None}, "weird": None},
    ]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    first, second = read_problems(path)
    assert first.extra == {"weird": "text", "index": 0, "scores": [0.5, None]}
    assert second.extra == {"index": 1, "note": "n"}
    assert reasons(tmp_path / "a.parquet.quarantine.jsonl") == [
        (3, "'prompt' is null; add a list of turns with role and content")
    ]


def test_parquet_tests_of_a_program_become_json(tmp_path: Path) -> None:
    tests = {"inputs": ["1\n"], "outputs": ["2\n"], "fn_name": None}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([GOOD | {"ability": "code", "reward_model": {"ground_truth": tests}}]), path)
    assert json.loads(read_problems(path)[0].ground_truth) == tests


def test_durations_in_parquet_become_text(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"took": pa.array([1500], pa.duration("ms"))}), path)
    assert list(iter_rows(path)) == [(1, {"took": "0:00:01.500000"})]


def test_parquet_without_a_column_names_those_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"question": ["x"], "answer": ["y"]}), path)
    with pytest.raises(UserError, match="no column 'prompt'; the file has question, answer"):
        read_problems(path)
    with pytest.raises(UserError, match="no column 'messages'"):
        read_conversations(path)


def test_damaged_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": os.urandom(20_000).hex().split("0")}), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[100:8000] = b"\xaa" * 7900
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged after row 0"):
        list(iter_rows(path))


def test_rows_of_numpy_values_are_taken_after_plain(tmp_path: Path) -> None:
    row = GOOD | {
        "prompt": np.array([{"role": "user", "content": "x"}], dtype=object),
        "extra_info": {"id": np.int64(3)},
    }
    assert problem_from_row(plain(row), "f").id == "3"


DATA = Path(os.environ.get("GPPO_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not here (set GPPO_DATA)")
@pytest.mark.parametrize(
    ("name", "kept", "bad", "first_answer"),
    [
        ("aime25/aime25.parquet", 30, 0, "70"),
        ("aime24/skywork_aime24.parquet", 30, 0, "204"),
        # Every problem is there 32 times under one index, for avg@32.
        ("aime24/dapo_aime24.parquet", 30, 930, "540"),
    ],
)
def test_published_sets(tmp_path: Path, name: str, kept: int, bad: int, first_answer: str) -> None:
    quarantine = Quarantine(tmp_path / "bad.quarantine.jsonl")
    problems = read_problems(DATA / name, quarantine=quarantine)
    assert (len(problems), quarantine.count) == (kept, bad)
    assert {problem.ability for problem in problems} == {"math"}
    assert problems[0].ground_truth == first_answer
