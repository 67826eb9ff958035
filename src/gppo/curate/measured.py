"""Pass rates that a model is asked for: in this process, or on a server."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from gppo.config import DifficultyConfig
from gppo.curate.dedup import asked, question_key
from gppo.curate.judging import open_judge, problem_of, share_correct
from gppo.curate.step import Bench, Item, Items, Training
from gppo.policy import load_policy, opens_thinking
from gppo.policy.device import choose_device
from gppo.rollout import LocalSampler, Request, Sampler, requests_for
from gppo.rollout.openai import OpenAISampler
from gppo.run.fingerprint import fingerprint
from gppo.run.journal import journalled
from gppo.types import Problem, SamplingSettings, UserError
from gppo.verify.cases import CaseJudge

#: So many problems, one and all refused before any had a pass rate, say that the recipe or the server is wrong.
_ALL_REFUSED = 5

#: A pass rate, why the server refuses the question, or None where nobody can say.
Found = float | str | None


def measured_rates(config: DifficultyConfig, items: Items, bench: Bench) -> Iterator[tuple[Item, float | None]]:
    """Every row with its pass rate: one for each question, however often it comes.

    Verdicts are kept in the step's folder, a server's answers in ``bench.answers``. How many questions the server
    refuses is said in a note.

    Raises:
        UserError: the server refuses everything, or a problem cannot be judged.
        GppoError: the server is gone, or the next request might pass its budget; what was answered is kept.
    """
    refused: dict[str, str] = {}
    with _model(config, bench) as model, open_judge(config.judge, bench.seed) as judge:
        measured = _Measured(config, bench.seed, model, judge)
        for item, found in journalled(bench.folder / "pass-rates.jsonl", items, measured.work):
            key = _key(item.record)
            measured.known.setdefault(key, found)  # also what an earlier start measured
            if isinstance(found, str):
                refused.setdefault(key, found)
            yield item, None if isinstance(found, str) else found
    if refused:
        first = next(iter(refused.values()))
        bench.notes.append(f"{len(refused)} questions are refused by the server, at first: {first}")


@dataclass(frozen=True, slots=True)
class _Model:
    """What answers.

    Args:
        sampler: draws the responses.
        tokenizer: of the prompts; None where the server makes them.
        most: tokens of the longest prompt.
        refused: why the server refuses a question; grows.
    """

    sampler: Sampler
    tokenizer: Any = None
    most: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def _model(config: DifficultyConfig, bench: Bench) -> Iterator[_Model]:
    if config.endpoint is not None:
        name = fingerprint([config.endpoint.url, config.endpoint.model])[:12]
        with OpenAISampler(config.endpoint, bench.answers / f"answers-{name}.jsonl", skip_refused=True) as sampler:
            yield _Model(sampler, refused=sampler.refused)
    else:
        assert config.model is not None
        policy = load_policy(config.model, seed=bench.seed, device=choose_device(bench.device, None))
        yield _Model(LocalSampler(policy), policy.tokenizer, policy.max_context - 1)


@dataclass(slots=True)
class _Measured:
    """Asks and judges, a batch of rows at a time.

    Args:
        config: the step's.
        seed: the run's.
        model: answers.
        judge: judges.
        known: what was found, by question.
    """

    config: DifficultyConfig
    seed: int
    model: _Model
    judge: CaseJudge
    known: dict[str, Found] = field(default_factory=dict)

    def work(self, stream: Iterator[Item]) -> Iterator[Found]:
        """What is found for each row."""
        while batch := list(islice(stream, self.config.problems_at_once)):
            yield from self._batch([item.record for item in batch])

    def _batch(self, records: Sequence[Training]) -> list[Found]:
        keys = [_key(record) for record in records]
        new = {}
        for key, record in zip(keys, records, strict=True):
            problem = problem_of(record, self.config.reference)
            if problem is not None and key not in self.known and key not in new:
                new[key] = replace(problem, id=key)  # names its random numbers, so that a question has its own
        self.known |= self._ask(new)
        return [self.known.get(key) for key in keys]

    def _ask(self, problems: Mapping[str, Problem]) -> dict[str, Found]:
        config, model = self.config, self.model
        requests, _ = requests_for(model.tokenizer, list(problems.values()), config.k, model.most)
        settings = SamplingSettings(config.temperature, max_tokens=config.max_response_tokens)
        rollouts_PK = model.sampler.generate(requests, settings, seed=self.seed, step=-1)
        found: dict[str, Found] = {key: model.refused.get(key) for key in problems}  # None: it does not fit the context
        if len(found) >= _ALL_REFUSED and all(isinstance(each, str) for each in found.values()):
            self._refuse_if_nothing_worked(str(next(iter(found.values()))))
        opened = {r.problem_id: self._opened(r) for r in requests}
        answered = [row for row in rollouts_PK if row]
        cases = [(problems[one.problem_id], one, opened[one.problem_id]) for row in answered for one in row]
        verdicts = iter(self.judge(cases))
        for row in answered:
            statuses = [(one, next(verdicts).status) for one in row]
            found[row[0].problem_id] = share_correct(
                "wrong" if one.truncated and status != "infra" else status for one, status in statuses
            )
        return found

    def _opened(self, request: Request) -> bool:
        """Whether the prompt has begun the thinking. What a server's template did is seen in the response."""
        return not request.messages and opens_thinking(self.model.tokenizer, request.prompt_ids)

    def _refuse_if_nothing_worked(self, reason: str) -> None:
        if not any(isinstance(rate, float) for rate in self.known.values()):
            raise UserError(f"difficulty: the server refuses every question: {reason}")


def _key(record: Training) -> str:
    return question_key(asked(record)).hex()
