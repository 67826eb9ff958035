"""Distillation as a recipe asks for it: problems read, asked, judged, written."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from gppo.config.distill import DistillConfig
from gppo.curate.distill.result import DistillResult
from gppo.curate.distill.teacher import Teacher
from gppo.curate.distill.work import Work
from gppo.curate.judging import share_correct
from gppo.records import Conversation, read_problems, write_conversations
from gppo.rollout.openai import Answer, Answers, Ask, Outcome
from gppo.run import RunFolder, progress
from gppo.run.interrupt import Interrupted, stop_requests
from gppo.run.journal import Journal
from gppo.types import GppoError, Problem, UserError, Verdict
from gppo.types.files import atomic_file, json_line
from gppo.verify.cases import CaseJudge


def distill(config: DistillConfig, run: RunFolder, *, seed: int, tokenizer: Any = None) -> DistillResult:
    """Ask, judge, write; goes on where it was stopped.

    Answers are in ``<run>/distill/answers.jsonl``, verdicts in ``verdicts.jsonl`` beside it. A response that is there
    for the same request is not asked for again; another model, way of sampling or seed makes another request. The
    output is written when everything was asked or the budget is spent: a row for each response that is there, problems
    in their order, a problem's samples in theirs; ``pass_rates.jsonl`` beside the answers has a line for each problem.
    A response for which the judge had no verdict is "infra", and is judged again by the next start.

    Args:
        config: the recipe's section.
        run: takes answers, verdicts and a "distill" line of metrics.
        seed: the recipe's.
        tokenizer: makes prompts where ``endpoint.api`` is completions.

    Raises:
        Interrupted: a signal asked to stop.
        UserError: the problems cannot be read, or the server refuses for good.
        GppoError: the server is gone, or nothing was answered.
    """
    if config.output.resolve() == config.problems.resolve():
        raise UserError(f"distill.output: {config.output} is also read; write to another file")
    problems = read_problems(config.problems, quarantine=run.path / "quarantine" / "distill.quarantine.jsonl")
    teacher = Teacher(config, problems[: config.limit], seed, tokenizer)
    folder = run.path / "distill"
    with (
        CaseJudge(config.judge_workers, config.judge_timeout, tests_per_problem=config.code_tests, seed=seed) as judge,
        Answers(folder / "answers.jsonl", config.endpoint) as answers,
        Journal(folder / "verdicts.jsonl") as verdicts,
        stop_requests() as stop,
    ):
        judge.prepare(teacher.problems)
        kept, unjudged = _what_is_there(teacher, answers, verdicts)
        with progress("Distilling", teacher.wanted, done=kept) as bar:
            work = Work(teacher, answers, verdicts, judge, bar, stop)
            outcome = asyncio.run(work.run(unjudged))
            if outcome.ended == "stopped":
                raise Interrupted(
                    f"stopped while distilling, {bar.done} of {teacher.wanted} responses are kept; run the same "
                    "command again to go on",
                    stop.signum or 2,
                )
        found = _write(teacher, answers, verdicts, outcome, folder / "pass_rates.jsonl")
    run.log("distill", **asdict(found), responses=found.responses)
    return found


def _what_is_there(teacher: Teacher, answers: Answers, verdicts: Journal) -> tuple[int, list[tuple[Problem, Ask]]]:
    """How many answers earlier starts left, and those of them that have no verdict."""
    kept, unjudged = 0, []
    for problem, ask in teacher.asks():
        if ask in answers:
            kept += 1
            if ask.key not in verdicts:
                unjudged.append((problem, ask))
    return kept, unjudged


def _write(teacher: Teacher, answers: Answers, verdicts: Journal, outcome: Outcome, rates: Path) -> DistillResult:
    """The output and the pass rates from what is on disk, and what there is to say about it."""
    counts: Counter[str] = Counter()
    truncated = 0

    def rows(rates_file: BinaryIO) -> Iterator[Conversation]:
        nonlocal truncated
        for problem, responses in _judged(teacher, answers, verdicts):
            rate = share_correct(verdict.status for _, _, verdict in responses)
            rates_file.write(json_line({"id": problem.id, "pass_rate": rate, "responses": len(responses)}))
            for ask, answer, verdict in responses:
                counts[verdict.status] += 1
                truncated += answer.finish_reason == "length"
                yield teacher.conversation(problem, ask, answer, verdict, rate)
        if not counts:
            _refuse_nothing(outcome, answers)

    with atomic_file(rates) as rates_file:
        write_conversations(teacher.config.output, rows(rates_file))
    return DistillResult(
        output=teacher.config.output,
        problems=len(teacher.problems),
        wanted=teacher.wanted,
        verdicts=dict(counts),
        truncated=truncated,
        prompt_tokens=answers.budget.spent.prompt,
        response_tokens=answers.budget.spent.response,
        money=answers.budget.money,
        left=answers.budget.left(),
        ended=outcome.ended,
        refused=outcome.refused,
        given_up=outcome.given_up,
    )


def _judged(
    teacher: Teacher, answers: Answers, verdicts: Journal
) -> Iterator[tuple[Problem, list[tuple[Ask, Answer, Verdict]]]]:
    """Every problem that has a response, with its responses in order."""
    for problem, asks in groupby(teacher.asks(), key=itemgetter(0)):
        responses = []
        for _, ask in asks:
            if answer := answers.get(ask):
                line = verdicts.get(ask.key)
                verdict = Verdict(line["verdict"], line["score"]) if line else Verdict("infra", 0.0)
                responses.append((ask, answer, verdict))
        if responses:
            yield problem, responses


def _refuse_nothing(outcome: Outcome, answers: Answers) -> None:
    """Raise where there is no answer at all; an older output stays as it was."""
    if outcome.ended == "budget":
        raise UserError(
            f"endpoint.budget: the worst case of one request does not fit, {answers.budget.left()} are left; raise it "
            "or lower max_response_tokens"
        )
    raise GppoError(f"nothing was answered: {next(iter([*outcome.refused.values(), *outcome.given_up]))}")
