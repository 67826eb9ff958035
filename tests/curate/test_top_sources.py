from collections import Counter

import pytest
from step_rows import bench, changes, problem, removed, rows

from gppo.config import TopSourcesConfig
from gppo.types import UserError

QUALITY = {"forum": 3, "olympiad": 1, "web": 3, "textbook": 2}
SOURCES = ["forum"] * 5 + ["olympiad"] * 6 + ["web"] * 3 + ["textbook"] * 2


def kept(tmp_path, seed=0, **options):
    items = rows([problem(str(i), f"question {i}") for i in range(len(SOURCES))], SOURCES)
    found = removed(
        changes(TopSourcesConfig(step="top_sources", **options), items, bench(tmp_path, quality=QUALITY, seed=seed))
    )
    return found, [item for item in items if item.record.id not in found]


@pytest.mark.parametrize(
    ("keep", "left"),
    [(1, {"olympiad"}), (2, {"olympiad", "textbook"}), (3, {"olympiad", "textbook", "forum"}), (9, set(QUALITY))],
)
def test_the_best_ranks_stay_and_of_equal_ones_the_first(tmp_path, keep, left):
    found, stay = kept(tmp_path, keep=keep)
    assert {item.source for item in stay} == left
    assert len(stay) == sum(source in left for source in SOURCES)
    assert set(found.values()) <= {"not among the best sources"}


def test_a_budget_is_drawn_from_each_source_by_the_seed(tmp_path):
    found, stay = kept(tmp_path, keep=2, rows_per_source=3)
    assert Counter(item.source for item in stay) == {"olympiad": 3, "textbook": 2}
    assert Counter(found.values()) == {"not among the best sources": 8, "over the source's budget": 3}
    draws = {tuple(item.row for item in kept(tmp_path, seed, keep=1, rows_per_source=3)[1]) for seed in range(30)}
    assert len(draws) > 5
    assert {row for draw in draws for row in draw} == set(range(5, 11))  # every row has its chance
    assert tuple(item.row for item in stay if item.source == "olympiad") in draws


def test_a_source_without_a_rank_is_named(tmp_path):
    items = rows([problem("1", "a")])
    with pytest.raises(UserError, match="'here' has none"):
        changes(TopSourcesConfig(step="top_sources", keep=1), items, bench(tmp_path))
