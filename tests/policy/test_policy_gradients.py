"""The gradient of every objective, through whole models, against naive autograd."""

import numpy as np
import pytest
import torch
from tiny_models import gradients, naive_logprobs, random_batch, tiny_policy, worst_relative

from gppo.objectives import (
    DEFAULT_NORMALISATION,
    OBJECTIVES,
    TOKEN_LOCAL,
    TokenFields,
    get_objective,
    lm_weights,
    token_coefficients,
    token_norms,
)
from gppo.policy import Policy
from gppo.sizes import chunks, micro_batches
from gppo.types import Batch

ROWS = np.arange(6)
SPLITS = {
    "whole": [ROWS],
    "halves": [ROWS[:3], ROWS[3:]],
    "one by one": [ROWS[i : i + 1] for i in (4, 0, 5, 2, 1, 3)],
    "by length": [np.array([5, 0]), np.array([3, 1, 4, 2])],
}


def _fields(batch: Batch, name: str) -> dict[str, torch.Tensor]:
    """What is fixed in an update, normalised over the whole mini-batch; old logprobs spread around the clip range."""
    mask_BT = torch.from_numpy(batch.mask_BT)
    learns_BT = mask_BT & torch.from_numpy(batch.policy_row_B)[:, None]
    return {
        "advantages": torch.from_numpy(batch.advantages_B)[:, None].expand(mask_BT.shape).float(),
        "mask": mask_BT,
        "norm": token_norms(learns_BT, DEFAULT_NORMALISATION[name]),
        "lm_weight": lm_weights(mask_BT, torch.from_numpy(batch.correct_B), 0.1),
    }


def _old_logprobs(policy: Policy, batch: Batch, temperature: float, spread: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        now_BT = naive_logprobs(policy, batch, temperature)
    return (now_BT - spread * torch.randn(now_BT.shape, generator=generator)) * torch.from_numpy(batch.mask_BT)


def _naive_gradient(policy: Policy, batch: Batch, name: str, old_BT: torch.Tensor, temperature: float):
    logprobs_BT = naive_logprobs(policy, batch, temperature)
    fields = TokenFields(log_ratio=logprobs_BT.detach() - old_BT, old_logprobs=old_BT, **_fields(batch, name))
    c_BT = token_coefficients(fields, get_objective(name))
    (-(c_BT * logprobs_BT).sum()).backward()
    return gradients(policy), c_BT


def _our_gradient(policy: Policy, batch: Batch, name: str, old_BT: torch.Tensor, temperature: float, split):
    whole = _fields(batch, name) | {"old_logprobs": old_BT}
    for part in split:
        small = batch.rows(part)
        fields = {k: v[torch.from_numpy(part), : small.mask_BT.shape[1]] for k, v in whole.items()}
        if name in TOKEN_LOCAL:
            flat = {k: v[fields["mask"]] for k, v in fields.items()}

            def coefficients(logprobs_n, cut, flat=flat):
                at = {k: v[cut] for k, v in flat.items()}
                return token_coefficients(
                    TokenFields(log_ratio=logprobs_n - at["old_logprobs"], **at), get_objective(name)
                )

            responses = [row[mask] for row, mask in zip(small.response_ids_BT, small.mask_BT, strict=True)]
            policy.backward_N(policy.tokens(small.prompt_ids, responses), coefficients, temperature)
        else:
            logprobs_BT, _ = policy.logprobs(small, temperature)
            log_ratio = logprobs_BT.detach() - fields["old_logprobs"]
            c_BT = token_coefficients(TokenFields(log_ratio=log_ratio, **fields), get_objective(name))
            torch.autograd.backward(logprobs_BT, -c_BT)
    return gradients(policy)


def _assert_exact(policy: Policy, batch: Batch, name: str, got, old_BT: torch.Tensor, temperature: float) -> None:
    """float64 to 1e-12. float32 to 1e-6 of the norm, beyond what naive float32 itself loses against float64."""
    naive, _ = _naive_gradient(policy, batch, name, old_BT, temperature)
    assert got.keys() == naive.keys()
    if policy.model.dtype == torch.float64:
        assert worst_relative(got, naive) < 1e-12
        return
    policy.model.double()
    exact, _ = _naive_gradient(policy, batch, name, old_BT.double(), temperature)
    policy.model.float()
    for key in got:
        own_loss = worst_relative({key: naive[key]}, {key: exact[key]})
        assert worst_relative({key: got[key]}, {key: exact[key]}) < 1e-6 + own_loss, key


# gspo's clip range is 3e-4 wide; the others' about 0.2.
def _spread(name: str) -> float:
    return 1e-3 if name == "gspo" else 0.4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_equals_naive_autograd(monkeypatch, name, tied, dtype):
    policy, batch = tiny_policy(tie_word_embeddings=tied, dtype=dtype), random_batch()
    assert policy.unfused_reason is None
    old_BT = _old_logprobs(policy, batch, 1.0, _spread(name))
    for elements, split in [(1 << 23, "whole"), (1, "by length")]:
        monkeypatch.setattr(chunks, "CHUNK_ELEMENTS", elements)
        got = _our_gradient(policy, batch, name, old_BT, 1.0, SPLITS[split])
        _assert_exact(policy, batch, name, got, old_BT, 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", ["gppo", "gspo"])
def test_any_split_of_a_mini_batch_gives_its_gradient_with_bias_and_temperature(name, split, dtype):
    policy, batch = tiny_policy(tie_word_embeddings=False, head_bias=True, dtype=dtype), random_batch(seed=3)
    assert policy.unfused_reason is None
    old_BT = _old_logprobs(policy, batch, 0.7, _spread(name))
    got = _our_gradient(policy, batch, name, old_BT, 0.7, SPLITS[split])
    assert "lm_head.bias" in got
    _assert_exact(policy, batch, name, got, old_BT, 0.7)


def test_splits_by_token_budget_give_the_same_gradient():
    policy, batch = tiny_policy(dtype=torch.float64), random_batch(seed=5)
    old_BT = _old_logprobs(policy, batch, 1.0, 0.4)
    lengths = batch.lengths_B + np.array([len(p) for p in batch.prompt_ids])
    sizes = set()
    for budget in (1, 20, 45, 1000):
        split = micro_batches(lengths, budget)
        sizes.add(len(split))
        got = _our_gradient(policy, batch, "gppo", old_BT, 1.0, split)
        _assert_exact(policy, batch, "gppo", got, old_BT, 1.0)
    assert len(sizes) >= 3


def test_rows_without_coefficients_change_nothing():
    policy, batch = tiny_policy(dtype=torch.float64), random_batch()
    old_BT = _old_logprobs(policy, batch, 1.0, 0.4)
    _, c_BT = _naive_gradient(policy, batch, "gppo", old_BT, 1.0)
    assert not c_BT[1].any()
    with_row = _our_gradient(policy, batch, "gppo", old_BT, 1.0, [ROWS])
    without = _our_gradient(policy, batch, "gppo", old_BT, 1.0, [ROWS[ROWS != 1]])
    assert worst_relative(without, with_row) < 1e-12


def test_bfloat16_is_finite_and_close_to_float32():
    batch = random_batch()
    reference = tiny_policy(dtype=torch.bfloat16)
    reference.model.float()
    old_BT = _old_logprobs(reference, batch, 1.0, 0.4)
    expected, _ = _naive_gradient(reference, batch, "cispo", old_BT, 1.0)
    policy = tiny_policy(dtype=torch.bfloat16)
    got = _our_gradient(policy, batch, "cispo", old_BT, 1.0, SPLITS["halves"])
    assert all(g.dtype == torch.bfloat16 and g.isfinite().all() for g in got.values())
    assert worst_relative(got, expected) < 0.1


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_and_entropy_of_a_padded_batch(temperature):
    policy, batch = tiny_policy(), random_batch(seed=2)
    with torch.no_grad():
        logprobs_BT, entropy_BT = policy.logprobs(batch, temperature)
        expected_BT = naive_logprobs(policy, batch, temperature)
        ids = torch.from_numpy(np.concatenate([batch.prompt_ids[0], batch.response_ids_BT[0]]))
        start = len(batch.prompt_ids[0]) - 1
        law_TV = (policy.model(input_ids=ids[None]).logits[0, start:-1] / temperature).softmax(-1)
    torch.testing.assert_close(logprobs_BT, expected_BT, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(entropy_BT[0], -(law_TV * law_TV.log()).sum(-1), rtol=1e-5, atol=1e-6)
    padding = torch.from_numpy(~batch.mask_BT)
    assert not logprobs_BT[padding].any()
    assert not entropy_BT[padding].any()


def test_only_tokens_under_the_mask_are_targets_and_the_first_never_is():
    policy = tiny_policy()
    rows = [np.array([5, 6, 7, 8]), np.array([9, 10])]
    masks = [np.array([True, False, True, True]), np.array([True, True])]
    tokens = policy.tokens_from_masks(rows, masks)
    assert tokens.ids_BL.tolist() == [[5, 6, 7, 9]]  # nothing is predicted from the last tokens
    assert tokens.targets_N.tolist() == [7, 8, 10]
    assert tokens.predicts_N.tolist() == [1, 2, 3]
    policy.unpacked_reason = "for once"
    tokens = policy.tokens_from_masks(rows, masks)
    assert tokens.ids_BL.tolist() == [[5, 6, 7, 8], [9, 10, 0, 0]]
    assert tokens.targets_N.tolist() == [7, 8, 10]
    assert tokens.predicts_N.tolist() == [1, 2, 4]
