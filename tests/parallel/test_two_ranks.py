"""Two processes that share a model by FSDP2 over gloo learn what one learns, and go on where one stopped."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rank_scenarios as scenarios
import torch
from safetensors.torch import load_file

from gppo.policy.world import _portable
from gppo.run import read_rollouts
from gppo.run.interrupt import Interrupted

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Sums depend on the number of threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one process makes of everything."""
    folder = tmp_path_factory.mktemp("one")
    scenarios.model_that_ends(folder / "model")
    for name, train in (scenarios.WHOLE_RUNS | scenarios.STOPPED_RUNS).items():
        train(folder / name)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two make, where one has begun some of it."""
    folder = tmp_path_factory.mktemp("two")
    scenarios.model_that_ends(folder / "model")
    for name, train in scenarios.CONTINUED_RUNS.items():
        with pytest.raises(Interrupted, match="step 2 of 4"):
            train(folder / f"{name}-begun", stop_at=2)
        shutil.copytree(folder / f"{name}-begun", folder / name)  # this process holds the other's lock
    script = Path(scenarios.__file__)
    done = subprocess.run(
        [*TORCHRUN, script, folder], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def metrics(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: v for key, v in line.items() if key != "time" and not key.startswith("seconds")} for line in lines]


def assert_same_metrics(one: Path, two: Path, tolerance: float = 1e-5) -> None:
    first, second = metrics(one), metrics(two)
    assert len(first) == len(second) == scenarios.STEPS
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        numbers = {key: value for key, value in a.items() if isinstance(value, float)}
        assert {key: b[key] for key in a.keys() - numbers.keys()} == {key: a[key] for key in a.keys() - numbers.keys()}
        assert {key: b[key] for key in numbers} == pytest.approx(numbers, rel=tolerance, abs=tolerance, nan_ok=True)


def assert_same_checkpoints(one: Path, two: Path, tolerance: float = 1e-5, steps=range(1, scenarios.STEPS + 1)) -> None:
    """The same files, of the same tensors, which differ in the last digits."""
    [stage] = [path.name for path in (one / "checkpoints").iterdir()]
    for step in steps:
        a, b = (run / "checkpoints" / stage / f"step-{step:06d}" for run in (one, two))
        assert {p.name for p in a.iterdir()} == {p.name for p in b.iterdir()}
        assert (a / "config.json").read_bytes() == (b / "config.json").read_bytes()
        for name in ("model.safetensors", "optimizer.safetensors"):
            first, second = load_file(a / name), load_file(b / name)
            assert first.keys() == second.keys()
            assert max(float((first[k] - second[k]).abs().max()) for k in first) < tolerance


def learned(run: Path) -> float:
    """How far the weights went, so that equal runs are not two that stood still."""
    [stage] = [path.name for path in (run / "checkpoints").iterdir()]
    first, last = (
        load_file(run / "checkpoints" / stage / f"step-{step:06d}" / "model.safetensors")
        for step in (1, scenarios.STEPS)
    )
    return max(float((first[name] - last[name]).abs().max()) for name in first)


@pytest.mark.parametrize("name", ["sft", "sft-one-sample", "rl-gppo", "rl-solo"])
def test_two_ranks_learn_what_one_learns(one, two, name):
    assert_same_metrics(one / name, two / name)
    assert_same_checkpoints(one / name, two / name)
    assert learned(one / name) > 1e-3


def test_two_ranks_draw_the_responses_that_one_draws(one, two):
    for step in range(1, scenarios.STEPS + 1):
        first, second = (read_rollouts(folder / "rl-gppo" / "rollouts", step) for folder in (one, two))
        assert [(r.problem_id, r.sample, r.reward, r.verdict) for r in first] == [
            (r.problem_id, r.sample, r.reward, r.verdict) for r in second
        ]
        for a, b in zip(first, second, strict=True):
            assert np.array_equal(a.response_ids, b.response_ids)
            for name in ("sampled_logprobs", "update_logprobs", "entropy", "coefficient"):
                x, y = getattr(a, name), getattr(b, name)
                assert (x is None) == (y is None)  # of dropped groups nothing is known
                if x is not None:
                    np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_what_fails_on_one_rank_ends_both_with_what_was_done_saved(two):
    """Both have raised the same sentence, which the ranks themselves assert; rank 0 has written it all."""
    run = two / "rl-broken"
    assert [path.name for path in (run / "checkpoints" / "rl").iterdir()] == ["step-000002"]
    assert [line["step"] for line in metrics(run)] == [1, 2]
    assert "in submit" in (run / "failure.txt").read_text(), "where it failed on the other rank"


def test_an_error_that_cannot_be_sent_is_told_by_its_name():
    class OddError(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    sent = _portable(OddError("this", "that"))
    assert type(sent) is RuntimeError
    assert str(sent) == "OddError: this and that"


@pytest.mark.parametrize("name", ["sft-mixed", "rl-mixed"])
def test_mixed_precision_is_that_of_one_process(one, two, name):
    """Weights stay float32; gradients are those of bfloat16 products, whose rounding depends on what is packed
    together."""
    first, second = (next((run / name / "checkpoints").glob("*/step-000001")) for run in (one, two))
    assert {tensor.dtype for tensor in load_file(second / "model.safetensors").values()} == {torch.float32}
    a, b = (load_file(step / "optimizer.safetensors") for step in (first, second))
    gradients = [key for key in a if key.endswith("exp_avg")]
    assert gradients
    for key in gradients:
        assert float((a[key] - b[key]).norm() / a[key].norm()) < 0.02


@pytest.mark.parametrize("objective", scenarios.OBJECTIVES)
def test_a_mini_batch_of_fewer_rows_than_ranks(two, objective):
    expected, found = scenarios.update(objective), torch.load(two / f"{objective}.pt")
    assert found.pop("metrics") == pytest.approx(expected.pop("metrics"), rel=1e-5, abs=1e-6, nan_ok=True)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-5)
    assert expected["c"].count_nonzero() > 0


@pytest.mark.parametrize("name", scenarios.CONTINUED_RUNS)
def test_two_ranks_go_on_where_one_stopped(one, two, name):
    whole = one / ("sft" if name.startswith("sft") else "rl-gppo")
    assert_same_metrics(whole, two / name)
    assert_same_checkpoints(whole, two / name)


@pytest.mark.parametrize("name", scenarios.STOPPED_RUNS)
def test_one_goes_on_where_two_stopped_at_a_signal_to_one_of_them(one, two, name):
    scenarios.STOPPED_RUNS[name](two / name)
    assert_same_metrics(one / name, two / name, 1e-4)
    assert_same_checkpoints(one / name, two / name)
