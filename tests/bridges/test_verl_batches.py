"""What our trainer decides about rows, by hand."""

import json

import numpy as np
import pytest

from gppo.bridges.verl.batches import Rows, lm_row_weights, row_advantages, rows_metrics, without_advantage
from gppo.bridges.verl.guard import refuse_few_cpus
from gppo.bridges.verl.metrics import MetricsFile, as_ours, new_lines
from gppo.types import GppoError


def rows(uids, rewards, correct=None, lengths=None):
    count = len(uids)
    return Rows(
        uids=list(uids),
        rewards=np.array(rewards, dtype=float),
        correct=np.array(correct if correct is not None else [False] * count),
        lengths=np.array(lengths if lengths is not None else [1] * count),
        judged=[{"verdict": "correct"}] * count,
    )


def test_groups_are_found_by_name_whatever_their_order_and_size():
    mixed = rows("abacb", [1, 0, -1, 5, 0])  # a: 1, -1; b: 0, 0; c: one response that was not lost
    assert without_advantage(mixed).tolist() == [False, True, False, True, True]
    assert row_advantages(mixed, "population").tolist() == [1, 0, -1, 0, 0]
    assert row_advantages(mixed, "sample") == pytest.approx([2**-0.5, 0, -(2**-0.5), 0, 0])
    assert row_advantages(mixed, "none").tolist() == [1, 0, -1, 0, 0]


def test_lm_weights_are_normalised_over_the_mini_batch_of_all_ranks():
    # Two ranks of four rows, mini-batches of four: rows 0, 1, 4, 5 are the first and 2, 3, 6, 7 the second.
    correct = np.array([1, 0, 0, 0, 1, 0, 0, 0], dtype=bool)
    tokens = np.array([10, 9, 9, 9, 30, 9, 9, 9])
    weights, has = lm_row_weights(correct, tokens, ranks=2, mini_batch=4, alpha=0.1)
    assert weights == pytest.approx([0.1 / 40, 0, 0, 0, 0.1 / 40, 0, 0, 0])
    assert has.tolist() == [True, False]
    assert (weights * tokens).sum() == pytest.approx(0.1)


def test_metrics_are_over_all_responses():
    found = rows_metrics(rows("aabb", [1, -1, 1, 1], [True, False, True, True], [2, 4, 6, 8]), expected=5)
    assert found["reward_mean"] == 0.5
    assert found["correct_share"] == 0.75
    assert found["infra_share"] == pytest.approx(0.2)
    assert (found["groups_mixed"], found["groups_all_correct"], found["groups_all_wrong"]) == (1, 1, 0)
    assert (found["length_mean"], found["response_tokens"]) == (5, 20)


def test_verls_numbers_get_our_names():
    data = {"actor/grad_norm": 1.5, "gppo/reward_mean": 0.25, "actor/clip_fraction": 0.1, "perf/mfu/actor": 3.0}
    assert as_ours(data) == {"grad_norm": 1.5, "reward_mean": 0.25, "clip_fraction": 0.1}


def test_only_whole_lines_are_followed(tmp_path):
    path = tmp_path / "deep" / "metrics.jsonl"
    assert list(new_lines(path, 0)) == []
    MetricsFile(path).log({"a": np.float32(0.5), "text": "no number"}, step=1)
    MetricsFile(path).log({"a": 2}, step=2)
    with path.open("a") as file:
        file.write(json.dumps({"step": 3})[:5])
    found = list(new_lines(path, 0))
    assert [(step, data) for _, step, data in found] == [(1, {"a": 0.5}), (2, {"a": 2.0})]
    assert list(new_lines(path, found[0][0])) == found[1:]
    assert list(new_lines(path, found[1][0])) == []


def test_a_ray_with_too_few_cpus_is_refused_instead_of_waited_for():
    refuse_few_cpus({"CPU": 34.0, "GPU": 8.0}, gpus=8, beside=3, more=10)
    with pytest.raises(GppoError, match=r"has 33 CPUs, and verl reserves 34: 3 beside each of 8 GPUs and 10 more"):
        refuse_few_cpus({"CPU": 33.0, "GPU": 8.0}, gpus=8, beside=3, more=10)
    with pytest.raises(GppoError, match="has 0 CPUs"):
        refuse_few_cpus({"GPU": 8.0}, gpus=8, beside=10, more=0)
