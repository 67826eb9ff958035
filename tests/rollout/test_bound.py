"""A bound function computes what the function does, and nothing while it is bound."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from gppo.rollout.local.bound import Bindable


class _Held(NamedTuple):
    scale: Tensor
    written: Tensor


def _pair(held: _Held, x_B: Tensor, y_B: Tensor, *, shift: float) -> tuple[Tensor, Tensor]:
    held.written[:2] = x_B[:2]
    return y_B - x_B, (x_B + y_B) * held.scale + shift


def _one(held: _Held, x_B: Tensor) -> Tensor:
    return x_B * held.scale


def _held() -> _Held:
    return _Held(torch.tensor(3.0), torch.zeros(4))


@pytest.fixture(scope="module")
def pair() -> Bindable:
    return Bindable(_pair, {})


@pytest.mark.slow
@torch.inference_mode()
def test_results_follow_what_varies_and_what_is_held(pair):
    held, x_B, y_B = _held(), torch.arange(5.0), torch.ones(5)
    call = pair.bind((x_B, y_B), held, shift=0.5)
    assert held.written.tolist() == [0.0] * 4  # bound, not called
    for scale in (3.0, -2.0):
        held.scale.fill_(scale)
        first, second = torch.full((5,), scale), torch.arange(5.0)
        less, more = call(first, second)
        assert less.tolist() == (second - first).tolist()
        assert more.tolist() == ((first + second) * scale + 0.5).tolist()
        assert held.written.tolist() == [scale, scale, 0.0, 0.0]


@pytest.mark.slow
@torch.inference_mode()
def test_bindings_do_not_disturb_each_other(pair):
    calls = []
    for rows, shift in ((5, 0.5), (7, 0.5), (5, 0.25)):
        x_B, y_B = torch.randn(rows), torch.randn(rows)
        calls.append((pair.bind((x_B, y_B), _held(), shift=shift), x_B, y_B, shift))
    for call, x_B, y_B, shift in calls:
        torch.testing.assert_close(call(x_B, y_B), _pair(_held(), x_B, y_B, shift=shift))


@pytest.mark.slow
@torch.inference_mode()
def test_a_single_result_is_no_tuple():
    x_B = torch.arange(4.0)
    assert Bindable(_one, {}).bind((x_B,), _held())(x_B + 1).tolist() == [3.0, 6.0, 9.0, 12.0]
