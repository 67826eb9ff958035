"""The step that keeps evaluation problems out of training, and which phrases it may overlook."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from gppo.config import DecontaminateConfig
from gppo.curate.decontaminate import Meeting, OverlapIndex, build_index, hits_of, meeting_of
from gppo.curate.dedup import asked, question_key
from gppo.curate.sources import open_sources, read_questions
from gppo.curate.step import Bench, Items, Removed
from gppo.types.files import atomic_file, json_line


@dataclass(frozen=True, slots=True)
class Decontaminate:
    """Questions that meet an evaluation problem go; see ``gppo.curate.decontaminate`` for what meeting is."""

    config: DecontaminateConfig

    passes = 2

    @property
    def title(self) -> str:
        """How the funnel names it."""
        return f"{self.config.ngram}-gram overlap"

    def changes(self, items: Items, bench: Bench) -> Iterator[Removed]:
        """The rows with a hit; ``met.hits`` has every one: problem, benchmark, shared gram, overlap."""
        index, words = self._index(bench)
        bench.notes.append(words)
        shared = {}
        for item in items:
            text = asked(item.record)
            if meeting := meeting_of(text, index):
                shared[item.row] = (question_key(text), meeting)
        stop: Mapping[str, int] = {}
        if self.config.stop_grams is not None:
            stop = stop_grams(list(shared.values()), index, self.config.stop_grams)
            bench.notes.append(_keep_stop_grams(stop, bench))
        met = {row: hits for row, (_, meeting) in shared.items() if (hits := hits_of(meeting, index, stop))}
        for item in items.only(met) if met else ():
            hits = met[item.row]
            worst = max(hits, key=lambda hit: hit.overlap)
            reason = f"shares {worst.overlap:.0%} with {worst.problem_id} of {worst.evaluation_set}: “{worst.gram}”"
            yield Removed(item, "meets an evaluation problem", reason, {"hits": [asdict(hit) for hit in hits]})

    def _index(self, bench: Bench) -> tuple[OverlapIndex, str]:
        """The index, and in words what it was made from."""
        sets = open_sources(self.config.against, bench.quarantine)
        problems = {each.name: read_questions(each) for each in sets}
        unusable = sum(each.quarantine.count for each in sets)
        words = f"against {sum(map(len, problems.values()))} problems of {len(problems)} evaluation sets"
        unguarded = f"; {unusable} evaluation rows could not be read and are not guarded" if unusable else ""
        return build_index(problems, self.config.ngram), words + unguarded


def stop_grams(questions: Sequence[tuple[bytes, Meeting]], index: OverlapIndex, least: int) -> dict[str, int]:
    """n-grams of evaluation problems that at least so many different questions use as a phrase, with their number.

    A question that is a copy of a problem with the gram is no witness: otherwise a leak that stands in several sources
    would make itself boilerplate. Only n-grams count, never a whole short problem.

    Args:
        questions: the key of each question and what it shares; those with one key are one question.
        index: the evaluation problems.
        least: questions.
    """
    documents: Counter[str] = Counter()
    for meeting in dict(questions).values():
        documents.update(
            gram for gram in meeting.grams if gram in index.grams and meeting.copied.isdisjoint(index.grams[gram])
        )
    return {gram: number for gram, number in documents.most_common() if number >= least}


def _keep_stop_grams(stop: Mapping[str, int], bench: Bench) -> str:
    path = bench.ledger.with_suffix(".stop-grams.jsonl")
    with atomic_file(path) as file:
        for gram, questions in stop.items():
            file.write(json_line({"gram": gram, "questions": questions}))
    return f"{len(stop)} phrases did not count, listed in {path.name}"
