"""A teacher's responses from a real server, then curation of them: two commands, joined by nothing but files."""

import json

import pytest
import yaml
from chaos_kills import said
from endpoint_server import body
from endpoint_world import LIMIT, PROBLEMS

from gppo.records import read_conversations

SAMPLES = 4
RATES = "{run}/distill/pass_rates.jsonl"


def sets(**policies):
    """A set for each name, by its policy."""
    source = {"name": "teacher", "data": "{run}/responses.jsonl"}
    difficulty = {"step": "difficulty", "file": RATES}
    return [
        {
            "name": name,
            "sources": [source],
            "steps": [difficulty, {"step": "correctness", "policy": policy}],
            "output": f"{{run}}/{name}.jsonl",
        }
        for name, policy in policies.items()
    ]


@pytest.fixture
def run_both(endpoint, data, commands, tmp_path):
    """run_both(sets) is a function that reads an output by its name, after ``gppo distill`` and ``gppo curate``."""

    def run(curate):
        at = {"url": endpoint.url, "model": "tiny", "concurrency": 1}
        distill = {"problems": str(data), "output": "{run}/responses.jsonl", "samples": SAMPLES, "temperature": 0.7}
        distill |= {"max_response_tokens": LIMIT, "endpoint": at}
        recipe = {"name": "d", "seed": 3, "run_dir": "run", "distill": distill, "curate": curate}
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
        for command in ("distill", "curate"):
            assert commands.run(tmp_path, command, "r.yaml") == 0, said(tmp_path)
        return lambda name: {c.id: c for c in read_conversations(tmp_path / "run" / f"{name}.jsonl")}

    return run


def saying(text, finish_reason="stop"):
    return body({"choices": [{"message": {"content": text}, "finish_reason": finish_reason}]})


def boxed(total):
    return f"<think>I count.</think>\\boxed{{{total}}}"


def test_wrong_answers_stay_on_hard_problems_only(run_both, endpoint, tmp_path):
    script = {
        "1+1": [saying(boxed(2)), saying(boxed(2)), saying(boxed(3)), saying(boxed(2), "length")],
        "1+2": [saying(boxed(4)), saying("Who knows?"), saying(boxed(3)), saying(boxed(3), "length")],
        "2+2": [saying(boxed(4))] * SAMPLES,
        "3+2": [saying(boxed(6))] * SAMPLES,
    }
    endpoint.fail(*(answer for problem in PROBLEMS for answer in script[problem.id]))
    read = run_both(sets(paper="paper", truth="only_true", mixed="mixed"))
    assert endpoint.asked[0].body["messages"] == [{"role": "user", "content": "1+1?"}]
    distilled = read("responses")
    rates = {row["id"]: row["pass_rate"] for row in map(json.loads, (tmp_path / "run/distill/pass_rates.jsonl").open())}
    assert rates == {"1+1": 0.5, "1+2": 0.25, "2+2": 1.0, "3+2": 0.0}  # what was cut is not right
    paper = read("paper")
    assert distilled.keys() - paper.keys() == {"1+1#2", "1+1#3"}  # the wrong one and the cut one, of an easy problem
    for name, kept in paper.items():
        problem = name.partition("#")[0]
        assert kept.messages == distilled[name].messages
        assert kept.extra["pass_rate"] == rates[problem]
        assert kept.extra["hardness"] == {"1+1": "easy", "1+2": "hard", "2+2": "easy", "3+2": "hard"}[problem]
    assert read("truth").keys() == {"1+1#0", "1+1#1", "1+2#2", "2+2#0", "2+2#1", "2+2#2", "2+2#3"}
    verdicts = {name: c.extra["verdict"] for name, c in read("mixed").items()}
    assert verdicts == {name: c.extra["verdict"] for name, c in distilled.items()}
    assert (verdicts["1+2#1"], verdicts["1+2#3"]) == ("unparsable", "unparsable")


def test_both_judge_a_real_model_alike(run_both):
    read = run_both(sets(truth="only_true", mixed="mixed"))
    distilled = read("responses")
    verdicts = {name: c.extra["verdict"] for name, c in distilled.items()}
    assert {"correct", "wrong"} <= set(verdicts.values())
    assert {name: c.extra["verdict"] for name, c in read("mixed").items()} == verdicts
    assert read("truth").keys() == {name for name, verdict in verdicts.items() if verdict == "correct"}
    for c in read("mixed").values():
        mine = [verdict for name, verdict in verdicts.items() if name.startswith(c.extra["problem_id"] + "#")]
        assert c.extra["hardness"] == ("easy" if mine.count("correct") >= SAMPLES / 2 else "hard")
