"""Questions with one answer: rows of math benchmarks."""

from collections.abc import Mapping, Sequence
from typing import Any

from gppo.config.benchmarks import Benchmark
from gppo.records.quarantine import BadRowError
from gppo.types import Problem

_IDS = ("unique_id", "id", "problem_idx", "idx", "meta.unique_id", "task_id", "question_id")


def math_problem(row: Mapping[str, Any], benchmark: Benchmark, fallback_id: str) -> Problem:
    """A question and its reference answer, by the columns that the benchmark's row of the table names.

    Raises:
        BadRowError: there is no question or no answer.
    """
    question = first_of(row, benchmark.problem)
    if isinstance(question, list):
        question = question[-1].get("content") if question and isinstance(question[-1], dict) else None
    if not isinstance(question, str) or not question.strip():
        raise BadRowError(f"no question in {' or '.join(benchmark.problem)} (it has {', '.join(row)})")
    answer = answer_text(first_of(row, benchmark.answer))
    if not answer:
        raise BadRowError(f"no answer in {' or '.join(benchmark.answer)} (it has {', '.join(row)})")
    return as_problem(row, benchmark, fallback_id, question + benchmark.suffix, "math", answer)


def as_problem(
    row: Mapping[str, Any], benchmark: Benchmark, fallback_id: str, prompt: str, ability: str, ground_truth: str
) -> Problem:
    """The problem of a row, its id made of the row's own where it has one."""
    own = first_of(row, _IDS)
    label = first_of(row, (benchmark.difficulty,)) if benchmark.difficulty else None
    return Problem(
        id=fallback_id if own in (None, "") else f"{fallback_id.partition('/')[0]}/{own}",
        prompt=({"role": "user", "content": prompt},),
        ability=ability,
        ground_truth=ground_truth,
        data_source=benchmark.hub,
        extra={} if label is None else {"difficulty": str(label)},
    )


def first_of(row: Mapping[str, Any], columns: Sequence[str]) -> Any:
    """The value of the first of the columns that the row has; ``a.b`` is b inside a. None where there is none."""
    for column in columns:
        value: Any = row
        for part in column.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None


def answer_text(value: Any) -> str:
    """An answer as text: whole floats lose their point, lists become one text, "..." #### 18" is 18; "" for nothing."""
    if isinstance(value, list):
        return ", ".join(answer_text(item) for item in value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or isinstance(value, bool | dict):
        return ""
    text = str(value).strip()
    return text.rpartition("####")[2].strip().replace(",", "") if "####" in text else text
