"""An evaluation that is stopped goes on after its last whole batch, and one that is finished is not made again."""

import json
import os
import signal

import pytest
import torch

from gppo.config import EvaluateConfig, ModelConfig, TinyConfig
from gppo.evaluate import load_evaluation
from gppo.evaluate.runner import evaluate
from gppo.policy import load_policy, weights_fingerprint
from gppo.rollout import LocalSampler
from gppo.run.interrupt import Interrupted, stop_requests
from gppo.types import Problem, Verdict

SHAPE = TinyConfig(hidden_size=32, layers=2, heads=2, kv_heads=1)
NAME = "step-000003--T-1"


def tiny_policy(seed=0):
    torch.set_num_threads(1)  # quicker for so small a model
    return load_policy(ModelConfig(tiny=SHAPE, tokenizer="bytes", max_context=64), seed=seed)


def problems(count=6):
    return [Problem(f"p{i}", ({"role": "user", "content": f"{i}+1=?"},), "math", str(i + 1)) for i in range(count)]


def config(**over):
    way = {"temperature": 1.0, "top_p": 1.0, "k": 2}
    base = {"sets": [{"name": "x", "data": "unused.jsonl"}], "sampling": [way], "max_response_tokens": 8}
    return EvaluateConfig.model_validate(base | {"batch_responses": 4} | over)


class Judge:
    """Right where a response has an even number of characters; notes which problems it saw."""

    def __init__(self):
        self.seen = []

    def __call__(self, cases):
        self.seen += [problem.id for problem, _, _ in cases]
        return [Verdict("wrong" if len(rollout.text) % 2 else "correct", 0.0) for _, rollout, _ in cases]


def score(folder, policy=None, asked=None, judge=None, sets=None, **more):
    policy = policy or tiny_policy()
    judge = judge or Judge()
    [found] = evaluate(
        policy,
        LocalSampler(policy),
        judge,
        {"x": sets or problems()},
        asked or config(),
        **({"seed": 0, "step": 3} | more),
        folder=folder,
    )
    return found, judge.seen


def stopped_after(folder, count, **more):
    """Score, and ask to stop at a response."""
    with stop_requests() as stop:

        def on_phase(what, done, total):
            if done == count:
                os.kill(os.getpid(), signal.SIGTERM)

        score(folder, stop=stop, on_phase=on_phase, **more)


@pytest.mark.parametrize("responses", [1, 4, 5, 11])
def test_a_stopped_evaluation_goes_on(tmp_path, responses):
    whole, everything = score(tmp_path / "whole")
    assert len(everything) == 12
    judge = Judge()
    with pytest.raises(Interrupted, match=r"stopped while evaluating 'T=1' at step 3, \d of 12 responses") as caught:
        stopped_after(tmp_path / "parts", responses, judge=judge)
    assert caught.value.exit_status == 143
    assert len(lines(tmp_path / "parts")) == (responses - 1) // 4 * 4
    assert load_whole(tmp_path / "parts") is None
    again, rest = score(tmp_path / "parts")
    assert judge.seen + rest == everything, "nothing twice, nothing lost"
    assert (again.correct_PK == whole.correct_PK).all()
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    assert load_whole(tmp_path / "parts") == load_whole(tmp_path / "whole")


def lines(folder):
    path = folder / f"{NAME}.results.jsonl"
    return path.read_bytes().splitlines() if path.exists() else []


def load_whole(folder):
    path = folder / f"{NAME}.json"
    return path.read_bytes() if path.exists() else None


def test_half_a_line_is_a_batch_that_is_made_again(tmp_path):
    _, everything = score(tmp_path / "whole")
    with pytest.raises(Interrupted):
        stopped_after(tmp_path / "parts", 9)
    results = tmp_path / "parts" / f"{NAME}.results.jsonl"
    results.write_bytes(results.read_bytes()[:-7])
    _, rest = score(tmp_path / "parts")
    assert rest == everything[4:]
    assert load_whole(tmp_path / "parts") == load_whole(tmp_path / "whole")


def test_every_response_is_a_line(tmp_path):
    found, _ = score(tmp_path)
    read = [json.loads(line) for line in lines(tmp_path)]
    assert [(line["id"], line["sample"]) for line in read] == [(f"p{i}", k) for i in range(6) for k in range(2)]
    assert [line["correct"] for line in read] == found.correct_PK.reshape(-1).tolist()
    assert [line["tokens"] for line in read] == found.lengths_PK.reshape(-1).tolist()
    assert [line["truncated"] for line in read] == found.truncated_PK.reshape(-1).tolist()
    assert [line["correct"] for line in read] == [
        len(line["response"]) % 2 == 0 and not line["truncated"] for line in read
    ]


def test_a_line_that_is_damaged_is_made_again_with_all_that_follow(tmp_path):
    _, everything = score(tmp_path / "whole")
    score(tmp_path / "parts")
    damaged = lines(tmp_path / "parts")
    damaged[5] = damaged[5].replace(b'"', b"'")
    (tmp_path / "parts" / f"{NAME}.results.jsonl").write_bytes(b"\n".join(damaged) + b"\n")
    (tmp_path / "parts" / f"{NAME}.json").unlink()
    _, rest = score(tmp_path / "parts")
    assert rest == everything[4:]
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    assert load_whole(tmp_path / "parts") == load_whole(tmp_path / "whole")


def test_a_finished_evaluation_is_not_made_again(tmp_path):
    told = []
    first, _ = score(tmp_path)
    again, seen = score(tmp_path, on_phase=lambda *what: told.append(what))
    assert seen == []
    assert told == [("evaluating T=1", 12, 12)]
    assert (again.correct_PK == first.correct_PK).all()


def test_an_evaluation_that_the_judge_failed_in_is_made_again(tmp_path):
    def ill(cases):
        return [Verdict("infra", 0.0) for _ in cases]

    policy = tiny_policy()
    evaluate(policy, LocalSampler(policy), ill, {"x": problems()}, config(), seed=0, step=3, folder=tmp_path)
    found, seen = score(tmp_path, policy=policy)
    assert len(seen) == 12
    assert found.valid_PK.all()
    assert score(tmp_path, policy=policy)[1] == []


@pytest.mark.parametrize(
    "change",
    [
        {"policy": tiny_policy(seed=1)},
        {"seed": 1},
        {"asked": config(max_response_tokens=7)},
        {"asked": config(require_thinking=True)},
        {"asked": config(batch_responses=8)},
        {"asked": config(sampling=[{"temperature": 1.0, "top_p": 1.0, "k": 3}])},
        {"sets": problems(5)},
        {"sets": [*problems(5), Problem("p5", ({"role": "user", "content": "5+1=?"},), "math", "7")]},
    ],
)
def test_whatever_the_result_depends_on_makes_it_another_evaluation(tmp_path, change):
    score(tmp_path / "finished")
    with pytest.raises(Interrupted):
        stopped_after(tmp_path / "parts", 9)
    _, fresh = score(tmp_path / "fresh", **change)
    for folder in ("finished", "parts"):
        found, seen = score(tmp_path / folder, **change)
        assert seen == fresh
        saved = load_evaluation(tmp_path / folder / f"{NAME}.json")
        assert (saved.correct_PK == found.correct_PK).all()
        assert load_whole(tmp_path / folder) == load_whole(tmp_path / "fresh")


def test_a_fingerprint_of_weights_sees_one_bit():
    policy = tiny_policy()
    before = weights_fingerprint(policy)
    assert before == weights_fingerprint(tiny_policy())
    weight = policy.model.model.layers[1].mlp.down_proj.weight.data
    weight.view(torch.int32)[0, 0] ^= 1
    assert weights_fingerprint(policy) != before
    weight.view(torch.int32)[0, 0] ^= 1
    assert weights_fingerprint(policy) == before
    assert json.dumps(before)
    bf16 = policy.model.to(torch.bfloat16)
    assert weights_fingerprint(policy) != before
    assert bf16 is policy.model
