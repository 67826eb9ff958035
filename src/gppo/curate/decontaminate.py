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

#: A question that contains so much of an evaluation problem is a copy of it, however common its phrases are.
COPY = 0.3


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
    """

    ngram: int
    problems: tuple[tuple[str, str], ...]
    sizes: tuple[int, ...]
    grams: Mapping[str, tuple[int, ...]]
    short: Mapping[str, tuple[int, ...]]


def build_index(evaluation: Mapping[str, Iterable[Problem]], ngram: int = 9) -> OverlapIndex:
    """Index the problems of the evaluation sets, given by name."""
    grams: dict[str, list[int]] = defaultdict(list)
    short: dict[str, list[int]] = defaultdict(list)
    problems: list[tuple[str, str]] = []
    sizes: list[int] = []
    for name, members in evaluation.items():
        for problem in members:
            text = question(problem.prompt)
            found = _ngrams(words(text), ngram)
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
    )


def shared_grams(text: str, index: OverlapIndex) -> list[str]:
    """The distinct n-grams that the text of a training question shares with evaluation problems, in order; for a text
    of fewer than n words its whole, where a short problem reads so."""
    found = _ngrams(words(text), index.ngram)
    if not found:
        whole = _whole(text)
        return [whole] if whole in index.short else []
    grams = index.grams
    return list(dict.fromkeys(gram for gram in found if gram in grams))


def hits_of(shared: Iterable[str], index: OverlapIndex, stop: Container[str] = ()) -> list[Hit]:
    """Every evaluation problem that is met by a question with these shared grams, in the order of first meeting.

    Args:
        shared: of ``shared_grams``.
        index: the evaluation problems.
        stop: n-grams that are no evidence by themselves: a problem is met where another gram is shared too, or where
            the question contains at least ``COPY`` of its n-grams, whichever they are.
    """
    first: dict[int, str] = {}
    proof: dict[int, str] = {}
    count: Counter[int] = Counter()
    for gram in shared:
        for at in index.grams.get(gram) or index.short.get(gram, ()):
            first.setdefault(at, gram)
            if gram not in stop:
                proof.setdefault(at, gram)
            count[at] += 1
    overlaps = {at: count[at] / index.sizes[at] for at in first}
    return [
        Hit(*index.problems[at], gram=proof.get(at, gram), overlap=overlaps[at])
        for at, gram in first.items()
        if at in proof or overlaps[at] >= COPY
    ]


def _ngrams(tokens: list[str], n: int) -> list[str]:
    return [" ".join(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def _whole(text: str) -> str:
    return " ".join(words(text)) or normal_form(text)
