"""Ready mappings: the columns of well-known data sets, turned into ours. docs/curation.md says what each schema is."""

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gppo.config.sources import Format
from gppo.curate.suites import suite_of
from gppo.records import BadRowError

Row = dict[str, Any]

_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_NO_ANSWER = ("proof", "notfound", "not found", "")


def problem_row(prompt: str, answer: Any, ability: str = "math", id: Any = None, **extra: Any) -> Row:
    """A row of our RL schema; what is None in ``extra`` is left out."""
    kept = {key: value for key, value in extra.items() if value is not None}
    truth = json.dumps(answer, ensure_ascii=False) if isinstance(answer, dict) else answer
    row = {"prompt": prompt, "ability": ability, "reward_model": {"ground_truth": truth}, "extra_info": kept}
    return row if id is None else row | {"id": str(id)}


def conversation_row(prompt: str, response: str, id: Any = None, **extra: Any) -> Row:
    """A row of our SFT schema."""
    kept = {key: value for key, value in extra.items() if value is not None}
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    row = {"messages": turns, "extra_info": kept}
    return row if id is None else row | {"id": str(id)}


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        found = (
            "is missing" if value is None else "is empty" if isinstance(value, str) else f"is a {type(value).__name__}"
        )
        raise BadRowError(f"'{name}' {found} (the row has {', '.join(row)}); give it text, or choose another format")
    return value


def _answer(row: Row, name: str = "answer") -> str:
    value = row.get(name)
    answer = str(value).strip() if isinstance(value, str | int | float) else ""
    if answer.lower() in _NO_ANSWER:
        raise BadRowError(f"'{name}' is {value!r}, which cannot be judged; remove the row or write the answer")
    return answer


def _plain_math(row: Row) -> Iterator[Row]:
    yield problem_row(_text(row, "problem"), _answer(row), id=row.get("uuid"), difficulty=row.get("difficulty"))


def _numinamath(row: Row) -> Iterator[Row]:
    source, kind = row.get("source"), row.get("problem_type")
    yield problem_row(_text(row, "problem"), _answer(row), origin=source, subject=kind)


def _math(row: Row) -> Iterator[Row]:
    level = row.get("level", row.get("difficulty"))
    name = row.get("unique_id")
    difficulty = None if level is None else f"level {str(level).removeprefix('Level ').removesuffix('.0')}"
    subject = row.get("subject", row.get("type"))
    yield problem_row(_text(row, "problem"), _answer(row), id=name, difficulty=difficulty, subject=subject)


def _gsm8k(row: Row) -> Iterator[Row]:
    _, mark, answer = _text(row, "answer").rpartition("####")
    if not mark:
        raise BadRowError("the answer has no line '#### number'; add it")
    yield problem_row(_text(row, "question"), answer.strip().replace(",", ""))


def _aime(row: Row) -> Iterator[Row]:
    answer = row.get("answer", row.get("expected_answer", row.get("solution")))
    if "messages" in row and "problem" not in row:
        row = row | {"problem": row["messages"][0]["content"]}
    parts = [row.get(key) for key in ("year", "aime_number", "problem_number")]
    name = "aime-" + "-".join(map(str, parts)) if all(part is not None for part in parts) else row.get("id")
    yield problem_row(_text(row, "problem"), _answer({"answer": answer}), id=name)


def _verl(row: Row) -> Iterator[Row]:
    """verl's schema, as ours; a math answer that is a JSON list of texts becomes its first entry."""
    reward = row.get("reward_model")
    truth = reward.get("ground_truth") if isinstance(reward, Mapping) else None
    kept = {key: value for key, value in row.items() if key not in ("__index_level_0__", "hash")}
    if row.get("ability") == "code":
        yield kept | {"reward_model": {"ground_truth": suite_of(truth)}}
        return
    if isinstance(truth, str) and truth.startswith("["):
        try:
            answers = json.loads(truth)
        except ValueError:
            answers = None  # an interval, e.g. [0, 1)
        if isinstance(answers, list) and answers and all(isinstance(answer, str) for answer in answers):
            kept["reward_model"] = {"ground_truth": answers[0]}
    yield kept


def _sharegpt(row: Row) -> Iterator[Row]:
    turns = row.get("conversations")
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise BadRowError("'conversations' is no list of turns with from and value; choose another format")
    messages = [
        {"role": _ROLES.get(turn.get("from"), turn.get("from")), "content": turn.get("value")} for turn in turns
    ]
    extra = {key: str(row[key]) for key in ("difficulty", "domain") if row.get(key) is not None}
    source = {"source": row["source"]} if isinstance(row.get("source"), str) else {}
    yield {"messages": messages, "extra_info": extra, **source}


def _opencodereasoning(row: Row) -> Iterator[Row]:
    if row.get("input") == "-":
        raise BadRowError(
            "its question is '-': split_1 names it by dataset, split and index; put the text into 'input'"
        )
    # The same id stands at every response to one question.
    yield conversation_row(
        _text(row, "input"), _text(row, "output"), question=row.get("id"), difficulty=row.get("difficulty")
    )


def _tested(row: Row) -> Iterator[Row]:
    """APPS and TACO."""
    question, starter = _text(row, "question"), row.get("starter_code")
    if starter:
        question += f"\n\nComplete this code:\n```python\n{starter}\n```"
    tests = suite_of(row.get("input_output"))
    yield problem_row(question, tests, "code", id=row.get("problem_id"), difficulty=row.get("difficulty"))


def _codeforces(row: Row) -> Iterator[Row]:
    if "description" not in row:  # rLLM's: problem, tests
        yield problem_row(_text(row, "problem"), suite_of(row.get("tests")), "code")
        return
    if row.get("generated_checker") or row.get("interaction_format"):
        raise BadRowError("several outputs are right and a checker decides, which our judge has not; remove the row")
    titles = {"input_format": "Input", "output_format": "Output", "note": "Note"}
    parts = [_text(row, "description"), *(f"{title}\n{row[key]}" for key, title in titles.items() if row.get(key))]
    examples = row.get("examples") or []
    parts += [f"Example input\n{each['input']}\nExample output\n{each['output']}" for each in examples]
    rating = row.get("rating")
    yield problem_row(
        "\n\n".join(parts),
        suite_of(row.get("official_tests") or examples),
        "code",
        id=row.get("id"),
        difficulty=None if rating is None else f"rated {rating}",
    )


def _openr1_traces(row: Row) -> Iterator[Row]:
    """One conversation for each whole trace, with what math-verify said of it."""
    problem, traces = _text(row, "problem"), row.get("generations") or []
    whole = row.get("is_reasoning_complete") or [True] * len(traces)
    right = row.get("correctness_math_verify") or [None] * len(traces)
    found = [(trace, ok) for trace, complete, ok in zip(traces, whole, right, strict=False) if complete]
    if not found:
        raise BadRowError("none of its generations is complete; remove the row")
    for trace, ok in found:
        yield conversation_row(problem, trace, correct=ok, question=row.get("uuid"))


def _leetcode(row: Row) -> Iterator[Row]:
    yield problem_row(_text(row, "problem"), suite_of(row.get("tests")), "code")


def _taco_generation(row: Row) -> Iterator[Row]:
    """The question, and a program that solves it: the first of those given."""
    programs = row.get("output")
    if isinstance(programs, str):
        try:
            programs = ast.literal_eval(programs)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            programs = [programs]
    if not programs or not isinstance(programs[0], str):
        raise BadRowError("there is no program in 'output'; remove the row")
    question = re.sub(r"^\s*QUESTION:\s*|\s*ANSWER:\s*$", "", _text(row, "prompt"))
    yield conversation_row(question, f"```python\n{programs[0].strip()}\n```", id=f"taco-{row.get('task_id')}")


def _prompt_only(row: Row) -> Iterator[Row]:
    """MBPP and HumanEval, as evaluation sets: only their questions are read."""
    yield {"prompt": _text(row, "prompt"), "ability": "code", "id": str(row.get("task_id", ""))}


FORMATS: dict[Format, Callable[[Row], Iterable[Row]]] = {
    "openthoughts3": _sharegpt,
    "numinamath": _numinamath,
    "acereason": _plain_math,
    "opencodereasoning": _opencodereasoning,
    "taco": _tested,
    "apps": _tested,
    "codeforces": _codeforces,
    "skywork_or1": _verl,
    "deepscaler": _plain_math,
    "klear_math": _verl,
    "klear_code": _verl,
    "openr1_math": _openr1_traces,
    "openr1_math_problems": _plain_math,
    "math": _math,
    "gsm8k": _gsm8k,
    "aime": _aime,
    "leetcode": _leetcode,
    "taco_generation": _taco_generation,
    "humaneval": _prompt_only,
    "mbpp": _prompt_only,
}
