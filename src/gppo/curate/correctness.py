"""The step that decides which wrong answers stay in an SFT set.

The paper's finding (Tab. 2 of https://arxiv.org/abs/2508.07629): wrong answers hurt where problems are easy and help
where they are hard. So its policy keeps every answer to a hard problem, and only right ones to an easy one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gppo.config import CorrectnessConfig
from gppo.curate.difficulty import HARDNESS
from gppo.curate.judging import judged, open_judge, problem_of, response_of
from gppo.curate.step import Bench, Change, Item, Items, Removed, Replaced, Training
from gppo.records import Conversation
from gppo.run.journal import journalled
from gppo.types import UserError, Verdict

_WHY = {
    "wrong": "is not the reference answer",
    "unparsable": "cannot be read as an answer",
    "timeout": "could not be judged in time",
    "unknown": "has no reference answer to be judged by",
}


@dataclass(frozen=True, slots=True)
class Correctness:
    """Judges the last answer of every conversation against its reference, and keeps what the policy wants."""

    config: CorrectnessConfig

    passes = 1

    @property
    def title(self) -> str:
        """How the funnel names it."""
        return f"correctness, {self.config.policy}"

    def changes(self, items: Items, bench: Bench) -> Iterator[Change]:
        """What is not right where it should be, under the rules "wrong answer" and "no reference answer".

        An answer that could not be judged because the judge failed stays, and is counted in a note.
        """
        if bench.kind != "conversations":
            raise UserError("curate: the step correctness is for conversations; problems teach no answers")
        failed = 0
        with open_judge(self.config.judge, bench.seed) as judge:

            def work(stream: Iterator[Item]) -> Iterator[list[str]]:
                cases = ((problem_of(it.record, self.config.reference), _whole(it.record)) for it in stream)
                for verdicts in judged(cases, judge):
                    yield _status(verdicts)

            for item, (status, extracted) in journalled(bench.folder / "verdicts.jsonl", items, work):
                failed += status == "infra"
                change = self._change(item, status, extracted)
                if change is not None:
                    yield change
        if failed:
            bench.notes.append(f"{failed} answers could not be judged and stay")

    def _change(self, item: Item, status: str, extracted: str) -> Change | None:
        record = item.record
        assert isinstance(record, Conversation)
        if self.config.policy == "mixed":
            return Replaced(item, replace(record, extra={**record.extra, "verdict": status}))
        hard = self.config.policy == "paper" and record.extra.get(HARDNESS) == "hard"
        if hard or status in ("correct", "infra"):
            return None
        reference = record.extra.get(self.config.reference)
        rule = "no reference answer" if status == "unknown" else "wrong answer"
        said = f"“{extracted[:80]}”" if extracted else "the answer"
        against = f" ({str(reference)[:80]})" if status == "wrong" and isinstance(reference, str | int | float) else ""
        met = {"verdict": status, "answer": extracted[:200]}
        return Removed(item, rule, f"{said} {_WHY[status]}{against}", met)


def _whole(record: Training) -> list[str]:
    """The response, or none where it was cut at its limit, as distillation says: that is right to no judge."""
    return [] if record.extra.get("finish_reason") == "length" else [response_of(record)]


def _status(verdicts: list[Verdict | None]) -> list[str]:
    if not verdicts:
        return ["unparsable", ""]
    return [verdicts[0].status, verdicts[0].extracted or ""] if verdicts[0] else ["unknown", ""]
