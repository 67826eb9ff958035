"""Steps that keep problems fit for RL: enough tests, and solved often enough by a strong model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gppo.config import MinTestsConfig, PassShareConfig
from gppo.curate.judging import judged, open_judge, share_correct, unit_share
from gppo.curate.step import Bench, Item, Items, Removed
from gppo.run.journal import journalled
from gppo.types import Problem, UserError
from gppo.verify.code.suite import BadTestsError, read_suite


@dataclass(frozen=True, slots=True)
class MinTests:
    """Code problems with fewer tests than asked for go, and those whose tests cannot be read."""

    config: MinTestsConfig

    passes = 1

    @property
    def title(self) -> str:
        """How the funnel names it."""
        return f"at least {self.config.at_least} tests"

    def changes(self, items: Items, bench: Bench) -> Iterator[Removed]:
        """The problems with "too few tests" or "unusable tests"."""
        for item in items:
            problem = item.record
            if not isinstance(problem, Problem) or problem.ability != "code":
                continue
            try:
                count = len(read_suite(problem.ground_truth))
            except BadTestsError as error:
                yield Removed(item, "unusable tests", f"its tests {error}")
                continue
            if count < self.config.at_least:
                yield Removed(item, "too few tests", f"{count} tests", {"tests": count})


@dataclass(frozen=True, slots=True)
class PassShare:
    """Problems that a strong model solves in a small share of its responses only go.

    The responses come with the problems: the math judge or the sandbox says which are right. What the judge fails on
    does not count; where it fails on all, the problem stays and is counted in a note.
    """

    config: PassShareConfig

    passes = 1

    @property
    def title(self) -> str:
        """How the funnel names it."""
        return f"solved in more than {self.config.above:.0%}"

    def changes(self, items: Items, bench: Bench) -> Iterator[Removed]:
        """The problems "solved too seldom", and those with "no responses" to tell by."""
        if bench.kind != "problems":
            raise UserError("curate: the step pass_share is for problems; for conversations there is correctness")
        failed = 0
        for item, statuses in self._statuses(items, bench):
            share = statuses if isinstance(statuses, float) else share_correct(statuses or ())
            if statuses is None or statuses == []:
                key = self.config.responses or self.config.column
                yield Removed(item, "no responses", f"nothing in '{key}' to tell how often it is solved")
            elif share is None:
                failed += 1
            elif share <= self.config.above:
                told = ""
                if not isinstance(statuses, float):
                    told = f" ({statuses.count('correct')} right, {statuses.count('infra')} not judged)"
                yield Removed(
                    item, "solved too seldom", f"{share:.0%} of its responses are right{told}", {"share": share}
                )
        if failed:
            bench.notes.append(f"{failed} could not be judged and stay")

    def _statuses(self, items: Items, bench: Bench) -> Iterator[tuple[Item, list[str] | float | None]]:
        """For each item the verdicts on its responses, or the share itself."""
        if self.config.column is not None:
            for item in items:
                value = item.record.extra.get(self.config.column)
                where = f"record {item.record.id}: '{self.config.column}'"
                yield item, None if value is None else unit_share(value, where)
            return
        with open_judge(self.config.judge, bench.seed) as judge:

            def work(stream: Iterator[Item]) -> Iterator[list[str]]:
                cases = ((item.record, _texts(item, str(self.config.responses))) for item in stream)
                problems = ((record, texts) for record, texts in cases if isinstance(record, Problem))
                for verdicts in judged(problems, judge):
                    yield [verdict.status for verdict in verdicts if verdict]

            yield from journalled(bench.folder / "verdicts.jsonl", items, work)


def _texts(item: Item, key: str) -> Sequence[str]:
    texts = item.record.extra.get(key) or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UserError(f"record {item.record.id}: '{key}' is not a list of responses")
    return texts
