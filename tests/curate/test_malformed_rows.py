"""A malformed row of each kind goes to the quarantine with a reason that says what to fix; its neighbours stay."""

import json

import pytest
from curate_builders import config, lines
from curate_builders import source as source_of

from gppo.curate import curate
from gppo.records import read_conversations, read_problems

GOOD = {"prompt": "1 + 1?", "ability": "math", "reward_model": {"ground_truth": "2"}}
CHAT = {"messages": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]}

PROBLEMS = [
    (b"{broken", "put one object on each line"),
    (b"[1, 2]", "put one object in braces on each line"),
    (b'{"prompt": "\xff"}', "save the file as UTF-8"),
    (b'{"prompt": "x\x00"}', "write the file again"),
    ({**GOOD, "prompt": None}, "'prompt' is null; add a list of turns with role and content"),
    ({**GOOD, "prompt": "  "}, "write what is asked"),
    ({**GOOD, "prompt": [{"role": "robot", "content": "x"}]}, "use one of system, user, assistant, tool"),
    ({**GOOD, "prompt": [{"role": "user", "content": 5}]}, "write it as text"),
    ({**GOOD, "prompt": "x\u0000y"}, "NUL character; remove it"),
    (b'{"prompt": "x\\ud800", "ability": "math", "reward_model": {"ground_truth": "1"}}', "surrogate pair"),
    ({**GOOD, "ability": "poetry"}, "set it to math or code"),
    ({**GOOD, "reward_model": "2"}, "write {ground_truth: ...}"),
    ({**GOOD, "reward_model": {"ground_truth": None}}, "write the reference answer or remove the row"),
    ({**GOOD, "reward_model": {"ground_truth": " "}}, "write the reference answer or remove the row"),
    ({"prompt": "1 + 1?", "ability": "math"}, "'reward_model' is missing (the row has prompt, ability); add"),
    ({**GOOD, "extra_info": "x"}, "write {id: ...}"),
]
CHATS = [
    ({"messages": []}, "add at least one turn"),
    ({"messages": "1 + 1? 2"}, "write a list of turns with role and content"),
    ({"messages": [{"role": "user", "content": "1 + 1?"}]}, "there is nothing to learn from it"),
    ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": " "}]}, "nothing to learn from"),
    ({"messages": [{"role": "assistant", "content": "x", "weight": 0}]}, "move it into content or remove it"),
]
FORMATTED = [
    ("numinamath", {"problem": "Prove it.", "answer": "proof", "source": "aops"}, "remove the row or write the answer"),
    ("gsm8k", {"question": "1 + 1?", "answer": "two"}, "has no line '#### number'; add it"),
    ("apps", {"question": "Add.", "input_output": ""}, "write them as JSON"),
    ("apps", {"question": "Add.", "input_output": '{"inputs": ["1"], "outputs": []}'}, "give each input its output"),
    ("apps", {"question": " ", "input_output": "{}"}, "'question' is empty"),
    ("codeforces", {"description": "Any answer.", "generated_checker": "x"}, "remove the row"),
    ("leetcode", {"problem": "Add.", "tests": {"functional": "assert True"}}, "mend them"),
    ("openthoughts3", {"conversations": "x"}, "choose another format"),
    ("opencodereasoning", {"input": "-", "output": "x"}, "put the text into 'input'"),
    ("openr1_math", {"problem": "1 + 1?", "generations": []}, "none of its generations is complete"),
]
FINE = {
    "numinamath": {"problem": "1 + 1?", "answer": "2"},
    "gsm8k": {"question": "1 + 1?", "answer": "#### 2"},
    "apps": {"question": "Add.", "input_output": '{"inputs": ["1"], "outputs": ["1"]}'},
    "codeforces": {"description": "Add.", "official_tests": [{"input": "1", "output": "1"}]},
    "leetcode": {
        "problem": "Add.",
        "tests": {"functional": "def check(c):\n    assert c(1) == 1\ncheck(Solution().f)"},
    },
    "openthoughts3": {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    "opencodereasoning": {"input": "a", "output": "b"},
    "openr1_math": {"problem": "1 + 1?", "generations": ["2"]},
}


def as_line(row):
    return row if isinstance(row, bytes) else json.dumps(row).encode()


def quarantined(tmp_path, run, good, bad, read, **options):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([as_line({**good, "id": "1"}), as_line(bad), as_line({**good, "id": "3"})]) + b"\n")
    cfg = config(tmp_path, [source_of(path, **options)])
    result = curate(cfg, run)
    assert (result.funnel[0].rows_in, result.funnel[0].rows_out) == (3, 2)
    assert len(read(cfg.output)) == 2
    (line,) = lines(run.path / "quarantine" / "the-set" / "1-a.quarantine.jsonl")
    assert line["line"] == 2
    return line["reason"]


@pytest.mark.parametrize(("bad", "reason"), PROBLEMS)
def test_problems(tmp_path, run, bad, reason):
    assert reason in quarantined(tmp_path, run, GOOD, bad, read_problems)


@pytest.mark.parametrize(("bad", "reason"), CHATS)
def test_conversations(tmp_path, run, bad, reason):
    assert reason in quarantined(tmp_path, run, CHAT, bad, read_conversations)


@pytest.mark.parametrize(("format", "bad", "reason"), FORMATTED)
def test_rows_of_a_known_data_set(tmp_path, run, format, bad, reason):
    read = read_conversations if format in ("openthoughts3", "opencodereasoning", "openr1_math") else read_problems
    assert reason in quarantined(tmp_path, run, FINE[format], bad, read, format=format)


def test_a_column_that_is_not_there(tmp_path, run):
    columns = {"prompt": "q", "answer": "a"}
    reason = quarantined(tmp_path, run, {"q": "1 + 1?", "a": "2"}, {"q": "1 + 1?"}, read_problems, columns=columns)
    assert reason == "no 'a' (the row has q); name another column, or fill it"
