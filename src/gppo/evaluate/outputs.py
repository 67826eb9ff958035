"""Files of model outputs: which column says what."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gppo.evaluate.benchmarks import load_benchmark, rows_of
from gppo.evaluate.benchmarks.questions import answer_text, first_of
from gppo.types import Problem, UserError

#: What is looked for under which names, where nobody says otherwise; the first that a row has counts.
COLUMNS: dict[str, tuple[str, ...]] = {
    "response": ("response", "responses", "output", "outputs", "completion", "completions", "generation", "code"),
    "gold": ("gold", "gt", "ground_truth", "expected_answer", "reward_model.ground_truth", "answer"),
    "id": ("id", "problem_id", "unique_id", "task_id", "question_id", "idx"),
    "problem": ("problem", "question", "prompt"),
    "label": ("label", "score", "correct", "is_correct"),
    "tokens": ("tokens", "num_tokens", "length"),
    "truncated": ("truncated", "finish_reason"),
}


@dataclass(frozen=True, slots=True)
class Output:
    """One response that was written elsewhere.

    Args:
        problem: what it answers.
        sample: which of the problem's responses, from 0.
        text: the response.
        tokens: its length, 0 where the file does not say.
        truncated: whether the file says that it was cut.
        label: whether the file calls it right; None where it does not say.
    """

    problem: Problem
    sample: int
    text: str
    tokens: int
    truncated: bool
    label: bool | None


def read_outputs(
    source: Path,
    *,
    benchmark: str | None = None,
    data: Path | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[Output]:
    """Every response of a file, in its order. A row holds one response or a list of them.

    Without a benchmark the reference answers are the rows' own (math). With one its problems count: a row belongs to
    the problem of its id, with or without the benchmark's name before it, else to that of its question.

    Args:
        source: .jsonl, .jsonl.gz, .json with a list, or .parquet.
        benchmark: a public benchmark.
        data: a file of the benchmark's rows, instead of the hub's.
        columns: other names for the keys of ``COLUMNS``; ``a.b`` is b inside a.

    Raises:
        UserError: a row has no response, no reference answer, or belongs to no problem of the benchmark.
    """
    names = COLUMNS | {key: (name,) for key, name in (columns or {}).items()}
    known = _Known(load_benchmark(benchmark, data)) if benchmark else None
    outputs: list[Output] = []
    seen: dict[str, int] = {}
    for number, row in rows_of(source):
        place = f"{source}, row {number}"
        responses = _listed(first_of(row, names["response"]))
        if not responses or not all(isinstance(text, str) for text in responses):
            raise _missing(place, "response", "response, a text or a list of texts,", names, row)
        problem = _own_problem(row, names, place, number) if known is None else known.of(row, names, place)
        labels, lengths, cuts = (_listed(first_of(row, names[key])) for key in ("label", "tokens", "truncated"))
        for i, text in enumerate(responses):
            label, length, cut = (_at(values, i, len(responses)) for values in (labels, lengths, cuts))
            outputs.append(
                Output(
                    problem,
                    seen.get(problem.id, 0),
                    text,
                    length if isinstance(length, int) and not isinstance(length, bool) else 0,
                    cut is True or cut == "length",
                    bool(label) if isinstance(label, bool | int | float) and label in (0, 1) else None,
                )
            )
            seen[problem.id] = seen.get(problem.id, 0) + 1
    if not outputs:
        raise UserError(f"{source}: the file has no rows; write at least one")
    return outputs


class _Known:
    """A benchmark's problems, by id and by question."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self._by_id: dict[str, Problem] = {}
        self._by_question: dict[str, Problem] = {}
        for problem in problems:
            self._by_id[problem.id] = self._by_id[problem.id.partition("/")[2]] = problem
            self._by_question[_squeezed(problem.prompt[-1]["content"])] = problem

    def of(self, row: Mapping[str, Any], names: Mapping[str, tuple[str, ...]], place: str) -> Problem:
        own, question = first_of(row, names["id"]), first_of(row, names["problem"])
        if own is not None and str(own) in self._by_id:
            return self._by_id[str(own)]
        if isinstance(question, str):
            asked = _squeezed(question)
            found = [problem for text, problem in self._by_question.items() if text.startswith(asked)]
            if len(found) == 1:
                return found[0]
        raise UserError(
            f"{place}: no problem of the benchmark has the id {own!r} or this question; name the column of ids with "
            "--column id=NAME, or the benchmark's file with --data"
        )


def _own_problem(row: Mapping[str, Any], names: Mapping[str, tuple[str, ...]], place: str, number: int) -> Problem:
    gold = answer_text(first_of(row, names["gold"]))
    if not gold:
        raise _missing(place, "gold", "reference answer", names, row)
    own, question = first_of(row, names["id"]), first_of(row, names["problem"])
    asked = question if isinstance(question, str) else ""
    return Problem(str(number if own is None else own), ({"role": "user", "content": asked},), "math", gold)


def _missing(
    place: str, key: str, what: str, names: Mapping[str, tuple[str, ...]], row: Mapping[str, Any]
) -> UserError:
    return UserError(
        f"{place}: no {what} under {' or '.join(names[key])} (it has {', '.join(row)}); name the column with "
        f"--column {key}=NAME"
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _at(values: list[Any], index: int, count: int) -> Any:
    """The value of one response; what a row says once holds for all of its responses."""
    return values[index] if len(values) == count else values[0] if len(values) == 1 else None


def _squeezed(text: str) -> str:
    return " ".join(text.split())
