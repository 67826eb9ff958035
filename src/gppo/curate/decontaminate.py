"""Overlap of training questions with evaluation problems, by n words in a row.

An evaluation problem of at least n words is met when a question shares one n-gram of its words. A shorter one has no
n-gram: it is met when the question has exactly its words, or, where it has no word at all, its normal form.

The filter errs on the side of dropping. Olympiad problems share phrases ("where m and n are relatively prime positive
integers"), so a hit is no proof of a leak: each hit carries the share of the evaluation problem's n-grams that the
question contains, 1.0 for a copy and near 0 for a phrase.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from gppo.curate.dedup import question
from gppo.curate.normalise import normal_form, words
from gppo.types import Problem

#: A question with so much of an evaluation problem's pairs of neighbouring words is a copy of it, however common its
#: phrases are. Of 975 older AIME problems none has more than 0.42 of one of AIME 2024; of 1,000 rewordings of AIME 2024
#: with a quarter of the words changed none has less than 0.62.
COPY = 0.5


@dataclass(frozen=True, slots=True)
class Hit:
    """An evaluation problem that a training question meets.

    Args:
        evaluation_set: name of the evaluation set.
        problem_id: the evaluation problem.
        gram: the first shared n-gram that counts, or the whole text of a problem shorter than n words.
        overlap: share of the problem's distinct n-grams that the question contains, in (0, 1].
    """

    evaluation_set: str
    problem_id: str
    gram: str
    overlap: float


@dataclass(frozen=True, slots=True)
class OverlapIndex:
    """What is looked up for each training question; made by ``build_index``.

    Args:
        ngram: n, words in a row.
        problems: (evaluation set, problem id) of each problem, in order.
        sizes: distinct n-grams of each problem; 1 for a short one.
        grams: n-gram -> positions of the problems that contain it.
        short: whole text of a short problem -> positions of the problems that read so.
        pairs: distinct pairs of neighbouring words of each problem.
    """

    ngram: int
    problems: tuple[tuple[str, str], ...]
    sizes: tuple[int, ...]
    grams: Mapping[str, tuple[int, ...]]
    short: Mapping[str, tuple[int, ...]]
    pairs: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True)
class Meeting:
    """What a training question shares with evaluation problems.

    Args:
        grams: the distinct shared n-grams, in order; of a question shorter than n words its whole.
        copied: positions of the problems that it contains ``COPY`` of.
    """

    grams: tuple[str, ...]
    copied: frozenset[int]


def build_index(evaluation: Mapping[str, Iterable[Problem]], ngram: int = 9) -> OverlapIndex:
    """Index the problems of the evaluation sets, given by name."""
    grams: dict[str, list[int]] = defaultdict(list)
    short: dict[str, list[int]] = defaultdict(list)
    problems: list[tuple[str, str]] = []
    sizes: list[int] = []
    pairs: list[frozenset[str]] = []
    for name, members in evaluation.items():
        for problem in members:
            text = question(problem.prompt)
            tokens = words(text)
            found = _ngrams(tokens, ngram)
            pairs.append(frozenset(_ngrams(tokens, 2)))
            for gram in set(found):
                grams[gram].append(len(problems))
            if not found:
                short[_whole(text)].append(len(problems))
            problems.append((name, problem.id))
            sizes.append(len(set(found)) or 1)
    return OverlapIndex(
        ngram=ngram,
        problems=tuple(problems),
        sizes=tuple(sizes),
        grams={gram: tuple(where) for gram, where in grams.items()},
        short={text: tuple(where) for text, where in short.items()},
        pairs=tuple(pairs),
    )


def meeting_of(text: str, index: OverlapIndex) -> Meeting | None:
    """What the text of a training question shares with evaluation problems, None for nothing."""
    tokens = words(text)
    found = _ngrams(tokens, index.ngram)
    if not found:
        whole = _whole(text)
        return Meeting((whole,), frozenset(index.short[whole])) if whole in index.short else None
    grams = index.grams
    shared = dict.fromkeys(gram for gram in found if gram in grams)
    if not shared:
        return None
    pairs = frozenset(_ngrams(tokens, 2))
    met = {at for gram in shared for at in grams[gram]}
    copied = (at for at in met if len(pairs & index.pairs[at]) >= COPY * len(index.pairs[at]))
    return Meeting(tuple(shared), frozenset(copied))


def hits_of(meeting: Meeting, index: OverlapIndex, stop: Container[str] = ()) -> list[Hit]:
    """Every evaluation problem that is met, in the order of first meeting.

    Args:
        meeting: of the question.
        index: the evaluation problems.
        stop: n-grams that are no evidence by themselves: a problem is met where another gram is shared too, or where
            the question is a copy of it.
    """
    first: dict[int, str] = {}
    proof: dict[int, str] = {}
    count: Counter[int] = Counter()
    for gram in meeting.grams:
        for at in index.grams.get(gram) or index.short.get(gram, ()):
            first.setdefault(at, gram)
            if gram not in stop:
                proof.setdefault(at, gram)
            count[at] += 1
    return [
        Hit(*index.problems[at], gram=proof.get(at, gram), overlap=count[at] / index.sizes[at])
        for at, gram in first.items()
        if at in proof or at in meeting.copied
    ]


def _ngrams(tokens: list[str], n: int) -> list[str]:
    return [" ".join(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def _whole(text: str) -> str:
    return " ".join(words(text)) or normal_form(text)
