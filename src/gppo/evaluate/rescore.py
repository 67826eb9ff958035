"""Existing outputs scored again: no model, and torch is never loaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gppo.evaluate.kept import Kept
from gppo.evaluate.outputs import Output
from gppo.evaluate.results import evaluation_of, result_of, without_text
from gppo.run.fingerprint import fingerprint
from gppo.types import Evaluation, Problem, Rollout, SamplingSettings, Verdict

#: Responses that are judged and put on disk together.
BATCH = 512
#: Judges (problem, rollout, whether the prompt opened the thinking) in order.
Judge = Callable[[Sequence[tuple[Problem, Rollout, bool]]], list[Verdict]]


@dataclass(frozen=True, slots=True)
class Rescored:
    """Outputs scored again.

    Args:
        evaluation: the scores. Where a problem has fewer responses than another, the rest count as not judged.
        labelled: responses that the file itself calls right or wrong.
        agreed: those of them on which the judge agrees.
    """

    evaluation: Evaluation
    labelled: int
    agreed: int


def rescore(
    outputs: Sequence[Output],
    judge: Judge,
    folder: Path,
    *,
    name: str,
    how: str = "",
    on_judged: Callable[[int], None] = lambda count: None,
) -> Rescored:
    """Judge outputs and save them as an evaluation; goes on where an earlier call with the same outputs stopped.

    Args:
        outputs: responses; a truncated one is never correct.
        judge: says which are right.
        folder: where ``*.results.jsonl`` and the evaluation are written.
        name: the evaluation's.
        how: what else verdicts depend on, e.g. "lenient".
        on_judged: told how many are judged so far.
    """
    parts = (
        part
        for output in outputs
        for part in (output.problem.id, output.problem.ground_truth, output.text, str(output.truncated))
    )
    kept = Kept(folder, name, 0, fingerprint([how, *parts]))
    results = kept.results(BATCH, len(outputs))
    on_judged(len(results))
    for begin in range(len(results), len(outputs), BATCH):
        batch = _judged(outputs[begin : begin + BATCH], judge)
        kept.add(batch)
        results += map(without_text, batch)
        on_judged(len(results))
    evaluation = _evaluation(name, outputs, results)
    kept.finish(evaluation)
    labelled = [result for result in results if result["label"] is not None and result["verdict"] != "infra"]
    return Rescored(evaluation, len(labelled), sum(result["label"] == result["correct"] for result in labelled))


def _judged(outputs: Sequence[Output], judge: Judge) -> list[dict[str, Any]]:
    rollouts = [_rollout(output) for output in outputs]
    verdicts = judge([(output.problem, rollout, False) for output, rollout in zip(outputs, rollouts, strict=True)])
    return [
        result_of(output.problem, rollout, verdict) | {"label": output.label}
        for output, rollout, verdict in zip(outputs, rollouts, verdicts, strict=True)
    ]


def _rollout(output: Output) -> Rollout:
    nothing = np.zeros(0)
    return Rollout(
        output.problem.id,
        output.sample,
        nothing,
        np.zeros(output.tokens, dtype=np.int64),
        nothing,
        output.text,
        "length" if output.truncated else "stop",
    )


def _evaluation(name: str, outputs: Sequence[Output], results: Sequence[dict[str, Any]]) -> Evaluation:
    """Problems in the order in which they first appear, each with as many samples as the one with most."""
    problems = list({output.problem.id: output.problem for output in outputs}.values())
    found = {(result["id"], result["sample"]): result for result in results}
    nothing = {"correct": False, "verdict": "infra", "extracted": None, "tokens": 0, "truncated": False}
    samples = 1 + max(output.sample for output in outputs)
    padded = [found.get((problem.id, sample), nothing) for problem in problems for sample in range(samples)]
    return evaluation_of(name, 0, SamplingSettings(), problems, padded)
