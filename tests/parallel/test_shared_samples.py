"""Which responses each rank draws."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gppo.rollout import Request
from gppo.rollout.shared import shares


def requests(sizes):
    return [Request(f"p{i}", np.array([i]), tuple(range(3, 3 + size))) for i, size in enumerate(sizes)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 5))
def test_every_response_is_drawn_once_and_ranks_draw_as_many(sizes, ranks):
    asked = requests(sizes)
    parts = shares(asked, ranks)
    drawn = sorted((i, sample) for part in parts for i, request in part for sample in request.samples)
    assert drawn == [(i, sample) for i, request in enumerate(asked) for sample in request.samples]
    counts = [sum(len(request.samples) for _, request in part) for part in parts]
    assert max(counts) - min(counts) <= 1
    assert all(request.problem_id == f"p{i}" for part in parts for i, request in part)


def test_groups_stay_whole_where_there_are_enough():
    parts = shares(requests([4] * 6), 3)
    assert [[i for i, _ in part] for part in parts] == [[0, 3], [1, 4], [2, 5]]
    assert {len(request.samples) for part in parts for _, request in part} == {4}


def test_one_prompt_is_split():
    assert [[request.samples for _, request in part] for part in shares(requests([5]), 2)] == [[(3, 4)], [(5, 6, 7)]]
