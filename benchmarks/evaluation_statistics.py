"""What the numbers of an evaluation cost, and how often its intervals hold the truth.

    python benchmarks/evaluation_statistics.py [--trials 2000]

Times summarising 500 questions x 64 samples and comparing two such evaluations, and simulates evaluations of questions
as benchmarks have them, many hopeless and many sure (p ~ Beta(0.8, 0.4), mean 2/3). For each size it prints how often a
95 % interval holds the mean over all questions of the kind: ours; the plain percentile interval; and the one that also
draws samples again within each question drawn. Ends with one JSON line.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from gppo.evaluate import bootstrap_interval, paired_comparison, summarise
from gppo.types import Evaluation, SamplingSettings

SIZES = ((30, 1), (30, 8), (30, 64), (100, 4), (279, 8), (500, 8))
RESAMPLES = 1000


def evaluation(seed: int, questions: int = 500, samples: int = 64) -> Evaluation:
    rng = np.random.default_rng(seed)
    p_P = np.random.default_rng(0).beta(0.8, 0.4, questions)
    shape = (questions, samples)
    return Evaluation(
        name="simulated",
        step=0,
        sampling=SamplingSettings(),
        problem_ids=tuple(map(str, range(questions))),
        difficulty=("",) * questions,
        correct_PK=rng.random(shape) < p_P[:, None],
        valid_PK=np.ones(shape, dtype=bool),
        lengths_PK=rng.integers(100, 32768, shape),
        truncated_PK=np.zeros(shape, dtype=bool),
        votes_PK=rng.integers(0, 4, shape),
    )


def plain(right_P: np.ndarray, samples: int, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    index = rng.integers(len(right_P), size=(RESAMPLES, len(right_P)))
    low, high = np.quantile((right_P[index] / samples).mean(1), (0.025, 0.975))
    return float(low), float(high)


def twice(right_P: np.ndarray, samples: int, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    index = rng.integers(len(right_P), size=(RESAMPLES, len(right_P)))
    again = rng.binomial(samples, right_P[index] / samples) / samples
    low, high = np.quantile(again.mean(1), (0.025, 0.975))
    return float(low), float(high)


def ours(right_P: np.ndarray, samples: int, seed: int) -> tuple[float, float]:
    return bootstrap_interval(right_P / samples, resamples=RESAMPLES, seed=seed)


WAYS: dict[str, Callable[[np.ndarray, int, int], tuple[float, float]]] = {"ours": ours, "plain": plain, "twice": twice}


def coverage(questions: int, samples: int, trials: int) -> dict[str, float]:
    rng = np.random.default_rng(questions * 1000 + samples)
    held = dict.fromkeys(WAYS, 0)
    for trial in range(trials):
        right_P = rng.binomial(samples, rng.beta(0.8, 0.4, questions))
        for name, way in WAYS.items():
            low, high = way(right_P, samples, trial)
            held[name] += low <= 2 / 3 <= high
    return {name: count / trials for name, count in held.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    args = parser.parse_args()
    first, second = evaluation(1), evaluation(2)
    seconds = {}
    for name, call in (("summarise", lambda: summarise(first)), ("compare", lambda: paired_comparison(first, second))):
        start = time.perf_counter()
        call()
        seconds[name] = round(time.perf_counter() - start, 3)
    table = Table("questions", "samples", *(f"{name}, %" for name in WAYS))
    found = {}
    for questions, samples in SIZES:
        found[f"{questions}x{samples}"] = shares = coverage(questions, samples, args.trials)
        table.add_row(str(questions), str(samples), *(f"{100 * share:.1f}" for share in shares.values()))
    Console().print(table)
    print(json.dumps({"seconds_500x64": seconds, "coverage": found}))


if __name__ == "__main__":
    main()
