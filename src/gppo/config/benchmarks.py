r"""Public benchmarks as a table: where the data is, what is asked, how often, and how answers are judged.

A recipe names one: ``sets: [{benchmark: aime24}]``. docs/evaluation.md says where each row comes from. Revisions are
commits, so that a name means the same problems next year; ``main`` stands where no commit could be confirmed.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

#: What the paper's evaluation appends for HMMT; here also for the sets that the paper does not evaluate.
BOXED = "\nPut your final answer within \\boxed{}."

_PROBLEM = ("problem", "question", "messages")
_ANSWER = ("answer", "expected_answer", "final_answer", "solution", "meta.solution")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark.

    Args:
        hub: id of the data set on the Hugging Face hub.
        revision: its commit.
        files: patterns of the files there.
        k: samples a problem.
        kind: how rows become problems: "math" by the columns below, the others by functions of their names. "math" is
            judged by the last box, "livecodebench" by standard output or returned values as that benchmark compares
            them, "humaneval" and "mbpp" by asserts.
        suffix: text after the bare problem (math).
        problem: columns of the problem, the first that a row has; ``a.b`` is b inside a; ``messages`` is a chat, whose
            last turn counts.
        answer: columns of the reference answer, likewise.
        difficulty: the column results are grouped by, "" for none.
        since, before: dates of contests, from the first and up to but without the second.
    """

    hub: str
    revision: str
    files: tuple[str, ...]
    k: int
    kind: Literal["math", "livecodebench", "humaneval", "mbpp"] = "math"
    suffix: str = ""
    problem: tuple[str, ...] = _PROBLEM
    answer: tuple[str, ...] = _ANSWER
    difficulty: str = ""
    since: date | None = None
    before: date | None = None


_LCB_FILES = ("test3.jsonl", "test4.jsonl", "test5.jsonl", "test6.jsonl")  # releases v3 to v6: May 2024 and later
_LCB = "livecodebench/code_generation_lite"
_LCB_COMMIT = "0fe84c3912ea0c4d4a78037083943e8f0c4dd505"

BENCHMARKS: dict[str, Benchmark] = {
    "aime24": Benchmark("math-ai/aime24", "83a7f387baaa524a8bda0022eac0541582297103", ("*test-*.parquet",), 64),
    "aime25": Benchmark("math-ai/aime25", "563bb8404243c5f09de6ec262f2db674fe5bce9b", ("test.jsonl",), 64),
    "hmmt25": Benchmark("MathArena/hmmt_feb_2025", "main", ("*.parquet",), 64, suffix=BOXED),
    "math500": Benchmark(
        "HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", ("test.jsonl",), 8, difficulty="level"
    ),
    "gsm8k": Benchmark(
        "openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866", ("main/test-*.parquet",), 8, suffix=BOXED
    ),
    "amc23": Benchmark(
        "math-ai/amc23", "80815d37005feb82cd7f8fbc6901d5d3eff43057", ("*test-*.parquet",), 64, suffix=BOXED
    ),
    "olympiadbench": Benchmark(
        "Hothan/OlympiadBench",
        "91184b52131e7fc9455fef848035173aea8cc01a",
        ("OlympiadBench/OE_TO_maths_en_COMP/*.parquet",),
        8,
        suffix=BOXED,
        answer=("final_answer",),
    ),
    "livecodebench-v5": Benchmark(
        _LCB,
        _LCB_COMMIT,
        _LCB_FILES,
        8,
        kind="livecodebench",
        difficulty="difficulty",
        since=date(2024, 8, 1),
        before=date(2025, 2, 1),
    ),
    "livecodebench-v6": Benchmark(
        _LCB,
        _LCB_COMMIT,
        _LCB_FILES,
        8,
        kind="livecodebench",
        difficulty="difficulty",
        since=date(2025, 2, 1),
        before=date(2025, 5, 1),
    ),
    "humaneval": Benchmark(
        "openai/openai_humaneval", "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544", ("*/test-*.parquet",), 8, "humaneval"
    ),
    "mbpp": Benchmark(
        "google-research-datasets/mbpp",
        "4bb6404fdc6cacfda99d4ac4205087b89d32030c",
        ("sanitized/test-*.parquet",),
        8,
        "mbpp",
    ),
}

#: How tokens are drawn. "paper" is what the paper states; "released" what its released script passes to the sampler.
PRESETS: dict[str, dict[str, float]] = {
    "paper": {"temperature": 0.6, "top_p": 0.95},
    "released": {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "repetition_penalty": 1.05},
}
