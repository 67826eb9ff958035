"""Each ready mapping on a small file of the data set's own schema, through the same path as a real one."""

import json

import pytest
from curate_builders import DATA, config, lines
from curate_builders import source as source_of

from gppo.curate import curate
from gppo.records import read_conversations, read_problems
from gppo.verify.code import read_suite

STDIN = {"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"]}
TURNS = [{"role": "user", "content": "What is 1 + 1?"}]

PROBLEMS = {
    "numinamath": (
        {
            "problem": "What is 1 + 1?", "solution": "Two.", "answer": "2", "problem_type": "Algebra",
            "question_type": "math-word-problem", "problem_is_valid": "Yes", "solution_is_valid": "Yes",
            "source": "olympiads", "synthetic": False,
        },
        ("2", {"origin": "olympiads", "subject": "Algebra"}),
    ),
    "acereason": ({"problem": "What is 1 + 1?", "answer": "2"}, ("2", {})),
    "deepscaler": ({"problem": "What is 1 + 1?", "answer": "2", "solution": "Two."}, ("2", {})),
    "openr1_math_problems": (
        {
            "problem": "What is 1 + 1?", "solution": "Two.", "answer": "2", "problem_type": "Algebra",
            "question_type": "MCQ", "source": "aops", "uuid": "u1", "is_reasoning_complete": [True],
            "generations": ["x"], "correctness_math_verify": [True], "correctness_llama": None,
            "finish_reasons": None, "correctness_count": 1, "messages": TURNS,
        },
        ("2", {}),
    ),
    "skywork_or1": (
        {
            "data_source": "train-math-numinamath1.5_olympiads", "prompt": TURNS, "ability": "math",
            "reward_model": {"ground_truth": '["2", "2.0"]', "style": "rule"},
            "extra_info": {"index": 7, "model_difficulty": {"DeepSeek-R1-Distill-Qwen-7B": 3}},
        },
        ("2", {"index": 7, "model_difficulty": {"DeepSeek-R1-Distill-Qwen-7B": 3}}),
    ),
    "klear_math": (
        {
            "data_source": "math_longcot_math_verify", "prompt": TURNS, "ability": "math",
            "reward_model": {"ground_truth": "2", "style": "rule"}, "__index_level_0__": "29999",
        },
        ("2", {}),
    ),
    "math": (
        {"problem": "What is 1 + 1?", "answer": "2", "difficulty": 5.0, "type": "Algebra"},
        ("2", {"difficulty": "level 5", "subject": "Algebra"}),
    ),
    "gsm8k": ({"question": "What is 1 + 1?", "answer": "1 + 999 = <<1+999=1000>>1000\n#### 1,000"}, ("1000", {})),
    "aime": (
        {
            "problem": "What is 1 + 1?", "solution": "Two.", "answer": 2, "year": 1983, "aime_number": 1,
            "problem_number": 1, "difficulty": 4.0,
        },
        ("2", {}),
    ),
}  # fmt: skip

CODE = {
    "apps": (
        {
            "problem_id": 12, "question": "Add two numbers.", "solutions": '["print(1)"]',
            "input_output": json.dumps(STDIN), "difficulty": "interview", "url": "", "starter_code": "",
        },
        STDIN | {"fn_name": None},
    ),
    "taco": (
        {
            "question": "Add two numbers.", "solutions": "[]", "starter_code": "def add(a, b):",
            "input_output": json.dumps({"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [[3], [7]]}),
            "difficulty": "EASY", "raw_tags": "[]", "name": None, "source": "codewars", "tags": "[]",
            "skill_types": "[]", "url": None, "Expected Auxiliary Space": None, "time_limit": None, "date": None,
            "picture_num": None, "memory_limit": None, "Expected Time Complexity": None,
        },
        {"inputs": ["1\n2", "3\n4"], "outputs": ["3", "7"], "fn_name": "add"},
    ),
    "codeforces": (
        {
            "id": "1/A", "aliases": None, "contest_id": "1", "index": "A", "time_limit": 1.0, "memory_limit": 256.0,
            "title": "Sum", "description": "Add two numbers.", "input_format": "Two numbers.",
            "output_format": "Their sum.", "interaction_format": None, "note": None,
            "examples": [{"input": "1 2", "output": "3"}], "rating": 800, "testset_size": 1,
            "official_tests": [{"input": "1 2", "output": "3"}, {"input": "3 4", "output": "7"}],
            "official_tests_complete": True, "input_mode": "stdio", "generated_checker": None, "executable": True,
        },
        {"inputs": ["1 2", "3 4"], "outputs": ["3", "7"], "fn_name": None},
    ),
    "klear_code": (
        {
            "hash": "47c4", "ability": "code", "data_source": "coder1_longcot",
            "prompt": [{"role": "user", "content": "Add two numbers."}],
            "reward_model": {"ground_truth": json.dumps(STDIN), "style": "rule"},
        },
        STDIN | {"fn_name": None},
    ),
    "skywork_or1": (
        {
            "data_source": "train-code-taco-easy", "prompt": [{"role": "user", "content": "Add."}], "ability": "code",
            "reward_model": {"ground_truth": json.dumps(STDIN), "style": "rule"}, "extra_info": {"index": 3},
        },
        STDIN | {"fn_name": None},
    ),
}  # fmt: skip


def curated(tmp_path, run, format, row):
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    cfg = config(tmp_path, [source_of(tmp_path / "a.jsonl", format=format)])
    result = curate(cfg, run)
    return cfg.output, result


@pytest.mark.parametrize("format", PROBLEMS)
def test_math_problems(tmp_path, run, format):
    row, (answer, extra) = PROBLEMS[format]
    output, result = curated(tmp_path, run, format, row)
    (problem,) = read_problems(output)
    assert result.kind == "problems"
    assert [turn["content"] for turn in problem.prompt] == ["What is 1 + 1?"]
    assert (problem.ability, problem.ground_truth, dict(problem.extra)) == ("math", answer, extra)


@pytest.mark.parametrize("format", CODE)
def test_code_problems(tmp_path, run, format):
    row, tests = CODE[format]
    output, _ = curated(tmp_path, run, format, row)
    (problem,) = read_problems(output)
    assert problem.ability == "code"
    assert problem.prompt[0]["content"].startswith("Add")
    assert json.loads(problem.ground_truth) == tests
    assert len(read_suite(problem.ground_truth)) == 2


def test_a_code_prompt_shows_the_starter_code_and_the_examples(tmp_path, run):
    output, _ = curated(tmp_path, run, "taco", CODE["taco"][0])
    assert "```python\ndef add(a, b):\n```" in read_problems(output)[0].prompt[0]["content"]
    output, _ = curated(tmp_path, run, "codeforces", CODE["codeforces"][0])
    assert read_problems(output)[0].prompt[0]["content"].endswith("Example input\n1 2\nExample output\n3")


def test_openthoughts3(tmp_path, run):
    row = {
        "difficulty": 7, "source": "ai2-adapt-dev/openmath-2-math", "domain": "math",
        "conversations": [{"from": "human", "value": "1 + 1?"}, {"from": "gpt", "value": "<think>x</think>2"}],
    }  # fmt: skip
    output, result = curated(tmp_path, run, "openthoughts3", row)
    (one,) = read_conversations(output)
    assert result.kind == "conversations"
    assert one.messages == (
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "<think>x</think>2"},
    )
    assert (one.source, dict(one.extra)) == ("ai2-adapt-dev/openmath-2-math", {"difficulty": "7", "domain": "math"})


def test_opencodereasoning(tmp_path, run):
    row = {
        "id": "q1", "input": "Add.", "output": "<think>x</think>y", "source": "codeforces", "license": "cc-by-4.0",
        "dataset": "taco", "split": "train", "difficulty": "EASY", "solution": "y",
    }  # fmt: skip
    output, _ = curated(tmp_path, run, "opencodereasoning", row)
    (one,) = read_conversations(output)
    assert [turn["content"] for turn in one.messages] == ["Add.", "<think>x</think>y"]
    assert dict(one.extra) == {"question": "q1", "difficulty": "EASY"}


def test_openr1_traces_are_a_conversation_each_and_cut_ones_are_left_out(tmp_path, run):
    row = PROBLEMS["openr1_math_problems"][0] | {
        "generations": ["one", "cut", "two"],
        "is_reasoning_complete": [True, False, True],
        "correctness_math_verify": [True, False, False],
    }
    output, _ = curated(tmp_path, run, "openr1_math", row)
    found = [(c.id, c.messages[1]["content"], c.extra["correct"]) for c in read_conversations(output)]
    assert found == [("a-1", "one", True), ("a-1.1", "two", False)]


def test_columns_of_ones_own(tmp_path, run):
    row = {"q": {"text": "1 + 1?"}, "gold": "2", "n": 5, "level": 3}
    columns = {"prompt": "q.text", "answer": "gold", "id": "n", "difficulty": "level"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    cfg = config(tmp_path, [source_of(tmp_path / "a.jsonl", columns=columns)])
    curate(cfg, run)
    (problem,) = read_problems(cfg.output)
    assert (problem.id, problem.prompt[0]["content"], problem.ground_truth) == ("5", "1 + 1?", "2")
    assert problem.difficulty == "3"


def test_columns_with_a_response_make_conversations(tmp_path, run):
    (tmp_path / "a.jsonl").write_text(json.dumps({"q": "1 + 1?", "r": ["no", "2"]}) + "\n")
    cfg = config(tmp_path, [source_of(tmp_path / "a.jsonl", columns={"prompt": "q", "response": "r.1"})])
    curate(cfg, run)
    assert lines(cfg.output)[0]["messages"] == [
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "2"},
    ]


REAL = [
    ("math", "math_train/math.json", 7474, "problems"),
    ("gsm8k", "gsm8k/train.jsonl", 7473, "problems"),
    ("aime", "aime_1983_2023/aime.json", 975, "problems"),
    ("leetcode", "leetcode/rllm_leetcode_train.json", 1889, "problems"),
    ("codeforces", "codeforces/codeforces.json", 408, "problems"),
    ("taco_generation", "taco/taco_generation_example.json", 1000, "conversations"),
]


@pytest.mark.skipif(not (DATA / "taco").is_dir(), reason=f"no data at {DATA}; set GPPO_DATA")
@pytest.mark.parametrize(("format", "path", "rows", "kind"), REAL)
def test_real_files_load_whole(tmp_path, run, format, path, rows, kind):
    result = curate(config(tmp_path, [source_of(DATA / path, format=format)]), run)
    read = result.funnel[0]
    assert (result.kind, read.rows_in) == (kind, rows)
    assert read.rows_out >= 0.99 * rows
