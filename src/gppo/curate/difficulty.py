"""The step that says how hard each problem is: the share of k responses of a model that are right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gppo.config import DifficultyConfig
from gppo.curate.dedup import asked, question_key
from gppo.curate.journal import journalled
from gppo.curate.judging import open_judge, problem_of, share_correct, unit_share
from gppo.curate.step import Bench, Item, Items, Replaced, Training
from gppo.records import iter_rows
from gppo.types import Problem, SamplingSettings, UserError

if TYPE_CHECKING:
    from gppo.policy import Policy
    from gppo.rollout import Sampler
    from gppo.verify.cases import CaseJudge

#: Keys of ``extra`` that the step writes.
PASS_RATE, HARDNESS = "pass_rate", "hardness"


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Labels rows with ``extra["pass_rate"]`` and ``extra["hardness"]``, "easy" or "hard"; none goes.

    A row without a pass rate (not in the file, no reference answer, the judge failed on every response) gets no label
    and is counted in a note.
    """

    config: DifficultyConfig

    passes = 1

    @property
    def title(self) -> str:
        """How the funnel names it."""
        return f"difficulty, {self._origin}"

    def changes(self, items: Items, bench: Bench) -> Iterator[Replaced]:
        """Every row with a label."""
        easy = labelled = total = 0
        for item, rate in self._rates(items, bench):
            total += 1
            if rate is None:
                continue
            labelled += 1
            easy += rate >= self.config.easy_from
            label = "easy" if rate >= self.config.easy_from else "hard"
            record = item.record
            yield Replaced(item, replace(record, extra={**record.extra, PASS_RATE: rate, HARDNESS: label}))
        bench.notes.append(f"{easy} easy (a pass rate of {self.config.easy_from:g} or more), {labelled - easy} hard")
        if labelled < total:
            bench.notes.append(f"{total - labelled} without a pass rate")

    @property
    def _origin(self) -> str:
        config = self.config
        if config.model is None:
            return f"from '{config.column}'" if config.column else f"from {config.file}"
        return f"{config.k} responses of {config.model.path or 'a tiny model'}"

    def _rates(self, items: Items, bench: Bench) -> Iterator[tuple[Item, float | None]]:
        if self.config.model is not None:
            yield from _Measured(self.config, bench).rates(items)
            return
        told = _told(self.config.file) if self.config.file else None
        for item in items:
            value = told.get(item.record.id) if told is not None else item.record.extra.get(str(self.config.column))
            where = f"record {item.record.id}: its pass rate"
            yield item, None if value is None else unit_share(value, where)


def _told(path: Path) -> dict[str, Any]:
    rates = {}
    for line, row in iter_rows(path):
        if "id" not in row or "pass_rate" not in row:
            raise UserError(f"{path}: line {line} has {', '.join(row)}; give id and pass_rate")
        rates[str(row["id"])] = row["pass_rate"]
    return rates


class _Measured:
    """Pass rates that the model of a recipe is asked for. One question has one pass rate, however often it comes."""

    def __init__(self, config: DifficultyConfig, bench: Bench) -> None:
        from gppo.policy import load_policy
        from gppo.policy.device import choose_device
        from gppo.rollout import LocalSampler

        assert config.model is not None
        self._config, self._bench = config, bench
        self._policy: Policy = load_policy(config.model, seed=bench.seed, device=choose_device(bench.device, None))
        self._sampler: Sampler = LocalSampler(self._policy)
        self._known: dict[str, float | None] = {}

    def rates(self, items: Items) -> Iterator[tuple[Item, float | None]]:
        with open_judge(self._config.judge, self._bench.seed) as judge:

            def work(stream: Iterator[Item]) -> Iterator[float | None]:
                while batch := list(islice(stream, self._config.problems_at_once)):
                    yield from self._batch([item.record for item in batch], judge)

            for item, rate in journalled(self._bench.folder / "pass-rates.jsonl", items, work):
                self._known.setdefault(_key(item.record), rate)  # also what an earlier start measured
                yield item, rate

    def _batch(self, records: Sequence[Training], judge: "CaseJudge") -> list[float | None]:
        keys = [_key(record) for record in records]
        new = {}
        for key, record in zip(keys, records, strict=True):
            problem = problem_of(record, self._config.reference)
            if problem is not None and key not in self._known and key not in new:
                new[key] = replace(problem, id=key)  # names its random numbers, so that a question has its own
        self._known |= self._ask(list(new.values()), judge)
        return [self._known.get(key) for key in keys]

    def _ask(self, problems: Sequence[Problem], judge: "CaseJudge") -> dict[str, float | None]:
        from gppo.policy import opens_thinking
        from gppo.rollout import requests_for

        config, tokenizer = self._config, self._policy.tokenizer
        requests, _ = requests_for(tokenizer, problems, config.k, self._policy.max_context - 1)
        settings = SamplingSettings(config.temperature, max_tokens=config.max_response_tokens)
        rollouts_PK = self._sampler.generate(requests, settings, seed=self._bench.seed, step=-1)
        opened = {r.problem_id: opens_thinking(tokenizer, r.prompt_ids) for r in requests}
        by_id = {problem.id: problem for problem in problems}
        verdicts = iter(
            judge([(by_id[one.problem_id], one, opened[one.problem_id]) for row in rollouts_PK for one in row])
        )
        rates: dict[str, float | None] = dict.fromkeys(by_id)  # a prompt that does not fit the context has none
        for row in rollouts_PK:
            statuses = [(one, next(verdicts).status) for one in row]
            rates[row[0].problem_id] = share_correct(
                "wrong" if one.truncated and status != "infra" else status for one, status in statuses
            )
        return rates


def _key(record: Training) -> str:
    return question_key(asked(record)).hex()
