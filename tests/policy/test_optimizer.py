"""Steps by hand: schedule, clipping, decay, and gradients that are not numbers."""

import math

import pytest
import torch
from torch import nn

from gppo.config.optimizer import OptimizerConfig
from gppo.policy import Optimizer
from gppo.types import GppoError


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.full((2, 2), 2.0))
        self.vector = nn.Parameter(torch.full((2,), 2.0))
        self.frozen = nn.Parameter(torch.full((2, 2), 2.0), requires_grad=False)


def _optimizer(model: nn.Module | None = None, total: int = 10, **config) -> Optimizer:
    return Optimizer(model or _Model(), OptimizerConfig(**config), total)


def _give(model: nn.Module, value: float) -> None:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, value)


def test_warm_up_then_constant():
    optimizer = _optimizer(learning_rate=0.8, warmup_steps=4)
    assert [optimizer.learning_rate(step) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


def test_no_warm_up_starts_at_the_peak():
    assert _optimizer(learning_rate=0.8).learning_rate(0) == 0.8
    assert _optimizer(learning_rate=0.8, schedule="cosine").learning_rate(0) == 0.8


def test_warm_up_then_cosine_down_to_the_minimum():
    optimizer = _optimizer(learning_rate=1.0, min_learning_rate=0.2, schedule="cosine", warmup_steps=2, total=10)
    rates = [optimizer.learning_rate(step) for step in (0, 1, 2, 4, 6, 8, 10, 99)]
    half = math.sqrt(0.5)
    expected = [0.5, 1.0, 1.0, 0.6 + 0.4 * half, 0.6, 0.6 - 0.4 * half, 0.2, 0.2]
    assert rates == pytest.approx(expected)


def test_a_warm_up_longer_than_the_run_still_has_a_rate():
    optimizer = _optimizer(learning_rate=1.0, schedule="cosine", warmup_steps=20, total=10)
    assert optimizer.learning_rate(9) == 0.5
    assert optimizer.learning_rate(20) == 1.0


def test_a_stage_begins_without_moments_and_warms_up_again():
    """A small second moment from other data would turn the first gradients of a stage into huge steps."""
    model = _Model()
    optimizer = _optimizer(model, learning_rate=0.8, warmup_steps=4, max_grad_norm=100.0, weight_decay=0.0)
    for at in range(5):
        _give(model, 1e-3)
        optimizer.step(at)
    optimizer.begin_stage(5)
    assert [optimizer.learning_rate(step) for step in range(5, 10)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
    before = model.matrix.detach().clone()
    _give(model, 1.0)
    optimizer.step(5)
    assert torch.allclose(before - model.matrix, torch.full((2, 2), 0.2), atol=1e-5)  # as a first step of AdamW is
    resumed = _optimizer(_Model(), learning_rate=0.8, warmup_steps=4)
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.learning_rate(6) == pytest.approx(0.4)


def test_the_first_step_by_hand():
    model = _Model()
    optimizer = _optimizer(model, learning_rate=0.1, weight_decay=0.5, warmup_steps=2, max_grad_norm=100.0)
    _give(model, 3.0)
    # Six elements of 3; AdamW's first step is the sign of the gradient.
    assert optimizer.step(at=0) == pytest.approx(3 * math.sqrt(6))
    assert torch.allclose(model.vector, torch.tensor(2 - 0.05))
    assert torch.allclose(model.matrix, torch.tensor(2 * (1 - 0.05 * 0.5) - 0.05))
    assert torch.equal(model.frozen, torch.full((2, 2), 2.0))
    assert model.matrix.grad is None
    assert optimizer.steps == 1


def test_decay_is_for_matrices_only():
    model = _Model()
    optimizer = _optimizer(model, learning_rate=0.1, weight_decay=0.5)
    _give(model, 0.0)
    optimizer.step(at=0)
    assert torch.equal(model.vector, torch.full((2,), 2.0))
    assert torch.allclose(model.matrix, torch.tensor(2 * 0.95))


@pytest.mark.parametrize(("given", "left"), [(8.0, 0.5), (0.1, 0.1)])
def test_gradients_are_scaled_down_to_the_norm_but_never_up(given, left):
    # (matrix 4 + vector 2 elements) of ``given``; clipped to sqrt(6)/2 that is 0.5 each.
    model = _Model()
    optimizer = _optimizer(model, betas=(0.9, 0.9), max_grad_norm=math.sqrt(6) / 2)
    _give(model, given)
    assert optimizer.step(at=0) == pytest.approx(given * math.sqrt(6))
    moment = optimizer.adamw.state[model.vector]["exp_avg"]
    assert torch.allclose(moment, torch.full((2,), 0.1 * left), rtol=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_a_number_changes_nothing(bad):
    model = _Model()
    optimizer = _optimizer(model, learning_rate=0.1)
    _give(model, 1.0)
    optimizer.step(at=0)
    before = [p.detach().clone() for p in model.parameters()]
    moments = {k: v.clone() for k, v in optimizer.adamw.state[model.matrix].items()}
    _give(model, 1.0)
    model.vector.grad[0] = bad
    assert not math.isfinite(optimizer.step(at=1))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(torch.equal(moments[k], v) for k, v in optimizer.adamw.state[model.matrix].items())
    assert model.vector.grad is None
    assert (optimizer.steps, optimizer.bad, optimizer.bad_in_a_row) == (1, 1, 1)


def test_it_stops_after_bad_gradients_in_a_row_only():
    model = _Model()
    optimizer = _optimizer(model, max_bad_updates=3)
    for value in (math.nan, math.nan, 1.0, math.nan, math.nan):
        _give(model, value)
        optimizer.step(at=0)
    assert (optimizer.bad, optimizer.bad_in_a_row) == (4, 2)
    _give(model, math.nan)
    with pytest.raises(GppoError, match="3 updates in a row"):
        optimizer.step(at=0)


def test_no_gradient_at_all_is_a_step_that_changes_nothing():
    model = _Model()
    optimizer = _optimizer(model, learning_rate=0.1)
    assert optimizer.step(at=0) == 0
    assert torch.equal(model.matrix, torch.full((2, 2), 2.0))


def test_tied_weights_are_trained_once():
    model = _Model()
    model.again = model.matrix
    optimizer = _optimizer(model)
    assert [len(group["params"]) for group in optimizer.adamw.param_groups] == [1, 1]


def _run(optimizer: Optimizer, model: nn.Module, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in (model.matrix, model.vector):
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        if step == 1:
            model.vector.grad[0] = math.nan
        optimizer.step(at=step)


def test_a_restored_state_continues_identically(tmp_path):
    config = {"learning_rate": 0.05, "schedule": "cosine", "warmup_steps": 2}
    whole = _Model()
    _run(_optimizer(whole, **config), whole, range(8))

    first = _Model()
    stopped = _optimizer(first, **config)
    _run(stopped, first, range(4))
    torch.save(stopped.state_dict(), tmp_path / "state.pt")

    second = _Model()
    second.load_state_dict(first.state_dict())
    restored = _optimizer(second, **config)
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (restored.steps, restored.bad, restored.bad_in_a_row) == (3, 1, 0)
    _run(restored, second, range(4, 8))
    assert torch.equal(second.matrix, whole.matrix)
    assert torch.equal(second.vector, whole.vector)


def test_weights_that_are_no_numbers_are_refused():
    model = _Model()
    optimizer = _optimizer(model, learning_rate=0.1)
    optimizer.refuse_infinite_weights()
    with torch.no_grad():
        model.vector[1] = math.inf
    with pytest.raises(GppoError, match="diverged"):
        optimizer.refuse_infinite_weights()
    with torch.no_grad():
        model.vector[1] = math.nan
    with pytest.raises(GppoError, match="diverged"):
        optimizer.refuse_infinite_weights()
