import json

import pytest
import torch
from step_rows import bench, changes, conversation, problem, replaced, rows

from gppo.config import DifficultyConfig
from gppo.policy.tiny import byte_tokenizer
from gppo.types import UserError


def step(records, at, **options):
    return replaced(changes(DifficultyConfig(step="difficulty", **options), rows(records), at))


def labels(found):
    return {name: (record.extra["pass_rate"], record.extra["hardness"]) for name, record in found.items()}


def test_from_a_column(tmp_path):
    at = bench(tmp_path)
    records = [problem(name, "?", rate=rate) for name, rate in {"a": 0.5, "b": 0.49, "c": 1, "d": 0}.items()]
    found = step([*records, problem("e", "?", other=3)], at, column="rate")
    assert labels(found) == {"a": (0.5, "easy"), "b": (0.49, "hard"), "c": (1.0, "easy"), "d": (0.0, "hard")}
    assert found["a"].extra["rate"] == 0.5  # the rest of the record stays
    assert at.notes == ["2 easy (a pass rate of 0.5 or more), 2 hard", "1 without a pass rate"]
    assert labels(step(records, at, column="rate", easy_from=0.6))["a"] == (0.5, "hard")
    with pytest.raises(UserError, match="record z: its pass rate is '1/2'"):
        step([problem("z", "?", rate="1/2")], at, column="rate")


def test_from_a_file(tmp_path):
    told = tmp_path / "rates.jsonl"
    told.write_text('{"id": "a", "pass_rate": 0.25}\n{"id": 7, "pass_rate": 0.75}\n')
    records = [conversation("a", "?", "1"), conversation("7", "?", "1"), conversation("x", "?", "1")]
    found = step(records, bench(tmp_path, "conversations"), file=told)
    assert labels(found) == {"a": (0.25, "hard"), "7": (0.75, "easy")}
    # A distilled response has the rate of the problem that it answers; a rate of its own goes first.
    answers = [conversation(f"a#{k}", "?", "1", problem_id="a") for k in range(2)]
    found = step([*answers, conversation("7", "?", "1", problem_id="a")], bench(tmp_path, "conversations"), file=told)
    assert labels(found) == {"a#0": (0.25, "hard"), "a#1": (0.25, "hard"), "7": (0.75, "easy")}
    told.write_text('{"id": "a", "rate": 0.25}\n')
    with pytest.raises(UserError, match="line 1 has id, rate; give id and pass_rate"):
        step(records, bench(tmp_path, "conversations"), file=told)


def test_a_place_without_a_single_rate_is_an_error(tmp_path):
    told = tmp_path / "rates.jsonl"
    told.write_text('{"id": "of another set", "pass_rate": 0.25}\n{"id": "a", "pass_rate": null}\n')
    for origin in ({"file": told}, {"column": "rating"}):
        with pytest.raises(UserError, match="no row has a pass rate there; check the name and the ids"):
            step([problem("a", "?", rate=0.5)], bench(tmp_path), **origin)
        assert step([], bench(tmp_path), **origin) == {}


@pytest.fixture(scope="module")
def always_two(tmp_path_factory):
    """A small Qwen3 that was taught to box a two, whatever is asked."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            num_key_value_heads=1,
            max_position_embeddings=96,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **shape,
        )
    )
    turns = [{"role": "user", "content": "1+1=?"}, {"role": "assistant", "content": "<think>x</think>\\boxed{2}"}]
    ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)["input_ids"]
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        model(ids, labels=ids).loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_measured_by_a_model(tmp_path, always_two):
    tests = {"inputs": ["1"], "outputs": ["2"], "fn_name": "f"}
    records = [
        problem("right", "1+1=?", "2"),
        problem("wrong", "1+1=? ", "3"),  # the same question: one pass rate for both
        conversation("other", "1+1 =?", "never read", ground_truth="3"),
        conversation("code", "1+1=??", "never read", ground_truth=json.dumps(tests)),
        conversation("no reference", "1+1=???", "never read"),
        problem("too long", "1+1" * 40, "2"),
    ]
    at = bench(tmp_path)
    model = {"path": str(always_two)}
    options = {"model": model, "k": 3, "temperature": 0.0, "max_response_tokens": 40, "problems_at_once": 2}
    found = labels(step(records, at, **options))
    assert found == {
        "right": (1.0, "easy"),
        "wrong": (1.0, "easy"),
        "other": (0.0, "hard"),
        "code": (0.0, "hard"),
    }
    assert at.notes[1] == "2 without a pass rate"
    # An earlier start that was killed after two rows: its results are taken, the rest is measured.
    again = bench(tmp_path / "again")
    again.folder.mkdir(parents=True)
    (again.folder / "pass-rates.jsonl").write_text("[0, 0.25]\n[1, 0.25]\n[2, 0.")
    resumed = labels(step(records, again, **options))
    assert resumed == {**found, "right": (0.25, "hard"), "wrong": (0.25, "hard")}
    cut = labels(step(records[:1], bench(tmp_path / "cut"), **{**options, "max_response_tokens": 10}))
    assert cut == {"right": (0.0, "hard")}  # cut before the box is closed
