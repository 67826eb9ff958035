import pytest
import torch

from gppo.objectives import lm_weights, token_norms
from gppo.types import UserError

MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).bool()


@pytest.mark.parametrize(
    ("kind", "length", "first", "second"),
    [
        ("token_mean", None, 1 / 4, 1 / 4),
        ("sequence_mean", None, 1 / (2 * 3), 1 / 2),
        ("constant", 10, 1 / (2 * 10), 1 / (2 * 10)),
    ],
)
def test_hand_computed(kind, length, first, second):
    norms = token_norms(MASK, kind, constant_length=length, dtype=torch.float64)
    expected = torch.tensor([[first] * 3 + [0], [second, 0, 0, 0], [0] * 4], dtype=torch.float64)
    torch.testing.assert_close(norms, expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("kind", ["token_mean", "sequence_mean"])
def test_means_add_up_to_one(kind):
    assert token_norms(MASK, kind).sum().item() == pytest.approx(1)


@pytest.mark.parametrize("kind", ["token_mean", "sequence_mean", "constant"])
def test_empty_mini_batch_gives_zeros(kind):
    norms = token_norms(torch.zeros(2, 3, dtype=torch.bool), kind, constant_length=5)
    assert torch.equal(norms, torch.zeros(2, 3))


@pytest.mark.parametrize("length", [None, 0])
def test_constant_needs_a_length(length):
    with pytest.raises(UserError, match="constant_length"):
        token_norms(MASK, "constant", constant_length=length)


def test_unknown_kind():
    with pytest.raises(UserError, match="token_mean, sequence_mean, constant"):
        token_norms(MASK, "batch_mean")


def test_lm_weights_share_alpha_over_correct_tokens():
    weights = lm_weights(MASK, torch.tensor([True, False, True]), 0.1, dtype=torch.float64)
    expected = torch.tensor([[0.1 / 3] * 3 + [0], [0] * 4, [0] * 4], dtype=torch.float64)
    torch.testing.assert_close(weights, expected, rtol=1e-15, atol=0)


def test_lm_weights_without_correct_rows_are_zero():
    assert torch.equal(lm_weights(MASK, torch.zeros(3, dtype=torch.bool), 0.1), torch.zeros(3, 4))
