"""Overlap of training questions with evaluation problems, by n words in a row.

An evaluation problem of at least n words is met when a question shares one n-gram of its words. A shorter one has no
n-gram: it is met when the question has exactly its words, or, where it has no word at all, its normal form.

The filter errs on the side of dropping. Olympiad problems share phrases ("where m and n are relatively prime positive
integers"), so a hit is no proof of a leak: each hit carries the share of the evaluation problem's n-grams that the
question contains, 1.0 for a copy and near 0 for a phrase.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gppo.curate.dedup import question
from gppo.curate.normalise import normal_form, words
from gppo.types import Problem


@dataclass(frozen=True, slots=True)
class Hit:
    """A training record that meets an evaluation problem.

    Args:
        record_id: the training record.
        evaluation_set: name of the evaluation set.
        problem_id: the evaluation problem.
        gram: the first shared n-gram, or the whole text of a problem shorter than n words.
        overlap: share of the problem's distinct n-grams that the record contains, in (0, 1].
    """

    record_id: str
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


def find_hits(record_id: str, text: str, index: OverlapIndex) -> list[Hit]:
    """Every evaluation problem that the text of one training question meets, in the order of first meeting."""
    found = _ngrams(words(text), index.ngram)
    if not found:
        whole = _whole(text)
        return [Hit(record_id, *index.problems[at], gram=whole, overlap=1.0) for at in index.short.get(whole, ())]
    first: dict[int, str] = {}
    shared: Counter[int] = Counter()
    for gram in dict.fromkeys(gram for gram in found if gram in index.grams):
        for at in index.grams[gram]:
            first.setdefault(at, gram)
            shared[at] += 1
    return [
        Hit(record_id, *index.problems[at], gram=gram, overlap=shared[at] / index.sizes[at])
        for at, gram in first.items()
    ]


def _ngrams(tokens: list[str], n: int) -> list[str]:
    return [" ".join(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def _whole(text: str) -> str:
    return " ".join(words(text)) or normal_form(text)
