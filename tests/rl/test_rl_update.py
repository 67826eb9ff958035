"""The update against a naive one: whole logits, plain autograd, the equation of DESIGN written out."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from rl_builders import copy_of, random_batch, rl_config, same_weights, tiny_policy, with_sampled

from gppo.config import OptimizerConfig
from gppo.objectives import DEFAULT_NORMALISATION, OBJECTIVES, get_objective
from gppo.policy import Optimizer
from gppo.rl import Updater
from gppo.types import GppoError, UserError


class Recorder(Optimizer):
    """An optimizer that keeps each gradient as it was before clipping."""

    def __init__(self, model, config, steps):
        super().__init__(model, config, steps)
        self.seen = []

    def step(self, at):
        grads = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self.parameters]
        self.seen.append(torch.cat([g.reshape(-1) for g in grads]))
        return super().step(at)


@pytest.fixture(scope="module")
def policy():
    return tiny_policy()


@pytest.fixture(scope="module")
def other():
    return tiny_policy(seed=1)


def updated(policy, batch, config, reference=None, optimizer: OptimizerConfig | None = None):
    """Update a copy of the policy; returns the update, the recorder and the copy."""
    own = copy_of(policy)
    recorder = Recorder(own.model, optimizer or config.optimizer, 10)
    recorder.peak = 1e-3
    update = Updater(own, recorder, config, reference).update(batch, config.resolved_stages()[0], seed=0, step=0, at=0)
    return update, recorder, own


def one_update(**over):
    """A configuration whose step is a single mini-batch of all four groups."""
    return rl_config(**({"mini_batch_prompts": 4, "old_logprobs": "sampled"} | over))


def naive_logprobs(model, batch, temperature=1.0):
    """[B, T] by whole logits, one row at a time, zero where padded."""
    rows = []
    for prompt, response, mask in zip(batch.prompt_ids, batch.response_ids_BT, batch.mask_BT, strict=True):
        ids = torch.from_numpy(np.concatenate([prompt, response[mask]]))
        logits = model(input_ids=ids[None], use_cache=False).logits[0, len(prompt) - 1 : -1]
        found = (logits / temperature).log_softmax(-1).gather(1, ids[len(prompt) :, None])[:, 0]
        rows.append(torch.nn.functional.pad(found, (0, len(mask) - len(found))))
    return torch.stack(rows)


def naive_gradient(policy, batch, config, reference=None, old_BT=None, correction_BT=1.0):
    """The gradient of the loss of the whole batch as one mini-batch, in float64."""
    model = copy.deepcopy(policy.model).double()
    name, temperature = config.objective.name, config.temperature
    mask_BT = torch.from_numpy(batch.mask_BT)
    learns_BT = mask_BT & torch.from_numpy(batch.policy_row_B)[:, None]
    logp_BT = naive_logprobs(model, batch, temperature)
    old_BT = torch.from_numpy(batch.sampled_logprobs_BT).double() if old_BT is None else old_BT
    A_B1 = torch.from_numpy(batch.advantages_B)[:, None]
    w_BT = get_objective(name, config.objective.params)(
        logp_BT.detach() - old_BT, A_B1.expand(mask_BT.shape), mask=mask_BT, old_logprobs_BT=old_BT
    )
    if (config.objective.normalisation or DEFAULT_NORMALISATION[name]) == "token_mean":
        norm_BT = learns_BT / learns_BT.sum()
    else:
        rows = learns_BT.any(dim=1).sum()
        norm_BT = learns_BT / (rows * learns_BT.sum(dim=1, keepdim=True).clamp(min=1))
    loss = -(norm_BT * correction_BT * w_BT * A_B1 * logp_BT).sum()
    if config.lm_loss.alpha:
        correct_BT = mask_BT & torch.from_numpy(batch.correct_B)[:, None]
        loss = loss - config.lm_loss.alpha * logp_BT[correct_BT].mean()
    if config.kl.beta:
        with torch.no_grad():
            ref_BT = naive_logprobs(copy.deepcopy(reference.model).double(), batch, temperature)
        k3_BT = (ref_BT - logp_BT).exp() - 1 - (ref_BT - logp_BT)
        loss = loss + config.kl.beta * (norm_BT * k3_BT).sum()
    loss.backward()
    return torch.cat([p.grad.reshape(-1) for p in model.parameters()])


def assert_close(found, expected, relative=1e-5):
    assert expected.norm() > 1e-3
    assert float((found.double() - expected).norm() / expected.norm()) < relative


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("extras", ["plain", "everything"])
def test_the_gradient_is_the_naive_one(policy, other, name, extras):
    over = {"lm_loss": {"alpha": 0.0}}
    if extras == "everything":
        over = {"lm_loss": {"alpha": 0.3}, "kl": {"beta": 0.2}, "temperature": 0.7}
    config = one_update(objective={"name": name}, **over)
    batch = random_batch(policy, noise=0.3, temperature=config.temperature)
    batch = replace(batch, policy_row_B=np.arange(len(batch)) % 5 != 2)
    reference = other if config.kl.beta else None
    _, recorder, _ = updated(policy, batch, config, reference)
    assert len(recorder.seen) == 1
    assert_close(recorder.seen[0], naive_gradient(policy, batch, config, reference))


@pytest.mark.parametrize("name", ["gppo", "gspo"])
@pytest.mark.parametrize("budget", [1, 20, 64])
def test_how_a_mini_batch_is_cut_does_not_matter(policy, other, name, budget):
    batch = random_batch(policy, noise=0.3)
    over = {"objective": {"name": name}, "kl": {"beta": 0.1}}
    whole = updated(policy, batch, one_update(micro_batch_tokens=100_000, **over), other)
    cut = updated(policy, batch, one_update(micro_batch_tokens=budget, **over), other)
    assert_close(cut[1].seen[0], whole[1].seen[0].double())
    for field in ("logprobs_BT", "entropy_BT", "coefficients_BT"):
        np.testing.assert_allclose(getattr(cut[0], field), getattr(whole[0], field), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["sequence_mean", "constant"])
def test_another_normalisation(policy, kind):
    batch = random_batch(policy, noise=0.3)
    config = one_update(objective={"name": "gppo", "normalisation": kind, "constant_length": 10}, lm_loss={"alpha": 0})
    found = updated(policy, batch, config)[1].seen[0]
    if kind == "sequence_mean":
        assert_close(found, naive_gradient(policy, batch, config))
    else:
        by_token = naive_gradient(policy, batch, one_update(lm_loss={"alpha": 0}))
        assert_close(found, by_token * batch.mask_BT.sum() / (len(batch) * 10))


def test_rows_without_advantage_or_lm_weight_change_nothing_but_the_mean(policy):
    batch = random_batch(policy, noise=0.3)
    config = one_update()
    silent_B = (np.arange(len(batch)) % 3 == 0) & ~batch.correct_B
    batch = replace(batch, advantages_B=np.where(silent_B, 0.0, batch.advantages_B))
    rest = batch.rows(np.flatnonzero(~silent_B))
    share = rest.mask_BT.sum() / batch.mask_BT.sum()
    no_lm = one_update(lm_loss={"alpha": 0})
    assert 0 < silent_B.sum() < len(batch)
    assert_close(updated(policy, batch, no_lm)[1].seen[0], naive_gradient(policy, rest, no_lm) * share)
    update, _, _ = updated(policy, batch, config)
    assert not update.coefficients_BT[silent_B].any()


def test_rows_left_out_of_the_policy_gradient_change_nothing_at_all(policy):
    batch = random_batch(policy, noise=0.3)
    out_B = (np.arange(len(batch)) % 3 == 0) & ~batch.correct_B
    batch = replace(batch, policy_row_B=~out_B)
    found, recorder, _ = updated(policy, batch, one_update())
    assert_close(recorder.seen[0], naive_gradient(policy, batch.rows(np.flatnonzero(~out_B)), one_update()))
    assert not found.coefficients_BT[out_B].any()
    assert found.learned_B.tolist() == (~out_B).tolist()


def test_a_batch_that_teaches_nothing_takes_no_step(policy):
    batch = replace(random_batch(policy), policy_row_B=np.zeros(12, dtype=bool), correct_B=np.zeros(12, dtype=bool))
    update, recorder, own = updated(policy, batch, rl_config())
    assert update.metrics["updates"] == 0
    assert recorder.seen == []
    assert not update.learned_B.any()
    assert same_weights(own, policy)


def test_correct_rows_alone_learn_by_the_lm_loss(policy):
    batch = replace(random_batch(policy), policy_row_B=np.zeros(12, dtype=bool))
    config = one_update()
    update, recorder, _ = updated(policy, batch, config)
    model = copy.deepcopy(policy.model).double()
    loss = -0.1 * naive_logprobs(model, batch)[torch.from_numpy(batch.mask_BT & batch.correct_B[:, None])].mean()
    loss.backward()
    assert_close(recorder.seen[0], torch.cat([p.grad.reshape(-1) for p in model.parameters()]))
    assert update.metrics["lm_tokens"] == batch.mask_BT[batch.correct_B].sum()


def test_mini_batches_and_epochs_each_take_a_step(policy):
    batch = random_batch(policy, groups=5)
    update, recorder, _ = updated(policy, batch, rl_config(mini_batch_prompts=2, epochs=2))
    assert update.metrics["updates"] == len(recorder.seen) == 6  # 2 + 2 + 1 groups, twice
    assert update.metrics["ratio_max"] > 1


class TestOldLogprobs:
    def ratios(self, policy, noise, **over):
        batch = random_batch(policy, noise=noise)
        config = one_update(lm_loss={"alpha": 0}, **over)
        update, recorder, _ = updated(policy, batch, config)
        return update.metrics, recorder.seen[0], batch, config

    def test_sampled_takes_the_samplers(self, policy):
        metrics, gradient, batch, config = self.ratios(policy, 0.3, old_logprobs="sampled")
        assert metrics["ratio_max"] > 1.3
        assert_close(gradient, naive_gradient(policy, batch, config))

    @pytest.mark.parametrize("mode", ["recompute", "auto"])
    def test_a_sampler_that_is_far_off_is_not_used(self, policy, mode):
        metrics, gradient, batch, config = self.ratios(policy, 0.3, old_logprobs=mode)
        assert metrics["ratio_max"] == pytest.approx(1, abs=1e-5)
        exact = with_sampled(policy, batch, np.zeros(batch.mask_BT.shape))
        assert_close(gradient, naive_gradient(policy, exact, config))
        assert 0.1 < metrics["mismatch_mean"] < 0.5
        assert metrics["mismatch_max"] > metrics["mismatch_mean"]

    def test_a_sampler_that_gives_no_numbers_is_not_trusted(self, policy):
        batch = random_batch(policy)
        broken = np.where(batch.mask_BT, np.nan, 0).astype(np.float32)
        update, _, _ = updated(policy, replace(batch, sampled_logprobs_BT=broken), one_update(old_logprobs="auto"))
        assert np.isnan(update.metrics["mismatch_mean"])
        assert update.metrics["ratio_max"] == pytest.approx(1, abs=1e-5)
        assert update.coefficients_BT[batch.mask_BT].all()

    def test_auto_trusts_a_sampler_that_is_close(self, policy):
        metrics, *_ = self.ratios(policy, 3e-4, old_logprobs="auto")
        assert metrics["ratio_max"] > 1 + 2e-4  # the sampler's own, not recomputed ones
        assert 1e-5 < metrics["mismatch_mean"] < 1e-3


@pytest.mark.parametrize("name", ["gppo", "gspo"])
@pytest.mark.parametrize("kind", ["tis", "icepop", "mis"])
def test_corrections_multiply_the_policy_term(policy, kind, name):
    batch = random_batch(policy, noise=0.6)
    config = one_update(objective={"name": name}, correction={"kind": kind}, old_logprobs="auto")
    exact = with_sampled(policy, batch, np.zeros(batch.mask_BT.shape))
    rho_BT = np.exp((exact.sampled_logprobs_BT - batch.sampled_logprobs_BT).astype(np.float64))
    if kind == "tis":
        f_BT = np.minimum(rho_BT, 2)
    elif kind == "icepop":
        f_BT = np.where((rho_BT >= 0.5) & (rho_BT <= 5), rho_BT, 0)
    else:
        rho_B = np.where(batch.mask_BT, rho_BT, 1).prod(axis=1)
        f_BT = np.broadcast_to(np.where(rho_B > 2, 0, rho_B)[:, None], rho_BT.shape)
    assert not np.allclose(f_BT[batch.mask_BT], 1)
    gradient = updated(policy, batch, config)[1].seen[0]
    assert_close(gradient, naive_gradient(policy, exact, config, correction_BT=torch.from_numpy(f_BT.copy())))


def test_a_correction_over_the_samplers_own_logprobs_would_count_twice(policy):
    config = one_update(correction={"kind": "tis"}, old_logprobs="sampled")
    with pytest.raises(UserError, match="old_logprobs"):
        updated(policy, random_batch(policy), config)


@pytest.mark.parametrize("objective", [{"name": "gpo"}, {"name": "gppo", "params": {"epsilon_hihg": 0.3}}])
def test_an_objective_that_does_not_exist(policy, objective):
    with pytest.raises(UserError, match=r"near: .*(gppo|epsilon_high)"):
        updated(policy, random_batch(policy), one_update(objective=objective))


def test_on_policy_every_objective_is_the_same(policy):
    """One update per batch: every ratio is 1, so all weights are, and so is what comes out."""
    batch = random_batch(policy)  # sampled logprobs are the policy's own
    ends = {}
    for name in OBJECTIVES:
        config = one_update(objective={"name": name, "normalisation": "token_mean"})
        update, _, own = updated(policy, batch, config)
        assert update.metrics["ratio_max"] == pytest.approx(1, abs=1e-5), name
        assert update.metrics["clip_fraction"] == 0, name
        ends[name] = torch.cat([p.detach().reshape(-1) for p in own.model.parameters()])
    start = torch.cat([p.detach().reshape(-1) for p in policy.model.parameters()])
    for name, weights in ends.items():
        # Adam's first step is sign-like: compare the step, not the weights
        assert (weights - ends["ppo"]).norm() < 1e-3 * (ends["ppo"] - start).norm(), name


def test_a_row_of_the_batch_gets_its_own_fields_back(policy):
    batch = random_batch(policy, noise=0.2)
    update, _, _ = updated(policy, batch, one_update(micro_batch_tokens=30))
    with torch.no_grad():
        expected_BT = naive_logprobs(policy.model, batch).numpy()
    np.testing.assert_allclose(update.logprobs_BT[batch.mask_BT], expected_BT[batch.mask_BT], atol=1e-5)
    assert (update.entropy_BT[batch.mask_BT] > 0).all()
    assert not update.coefficients_BT[~batch.mask_BT].any()
    assert update.learned_B.all()


class TestGuard:
    @pytest.mark.parametrize(
        ("groups", "bad", "why"), [(4, 3, "not finite in 3 updates in a row"), (2, 2, "weights that are not finite")]
    )
    def test_a_poisoned_weight_is_skipped_counted_and_stops_the_run(self, policy, groups, bad, why):
        sick = copy_of(policy)
        batch = random_batch(policy, groups=groups)
        with torch.no_grad():
            sick.model.model.layers[0].mlp.down_proj.weight[0, 0] = float("nan")
        before = copy.deepcopy(sick.model.state_dict())
        config = rl_config(mini_batch_prompts=1, optimizer={"warmup_steps": 0, "max_bad_updates": 3})
        optimizer = Optimizer(sick.model, config.optimizer, 10)
        updater = Updater(sick, optimizer, config)
        with pytest.raises(GppoError, match=why) as caught:
            updater.update(batch, config.resolved_stages()[0], seed=0, step=0, at=0)
        assert caught.value.exit_status == 1
        assert optimizer.bad == bad
        for key, value in sick.model.state_dict().items():
            assert torch.equal(value.nan_to_num(7), before[key].nan_to_num(7)), key

    def test_a_broken_advantage_or_logprob_leaves_its_tokens_out(self, policy):
        batch = random_batch(policy, noise=0.2)
        advantages = batch.advantages_B.copy()
        advantages[0] = np.nan
        sampled = batch.sampled_logprobs_BT.copy()
        sampled[1, 0] = np.nan
        config = one_update()
        update, recorder, _ = updated(
            policy, replace(batch, advantages_B=advantages, sampled_logprobs_BT=sampled), config
        )
        assert recorder.seen[0].isfinite().all()
        assert recorder.bad == 0
        c_BT = update.coefficients_BT
        assert np.isfinite(c_BT).all()
        assert (c_BT[0] == 0).all() == (not batch.correct_B[0])


@pytest.mark.parametrize(
    ("objective", "low", "high"),
    [
        ({"name": "ppo"}, 0.2, 0.2),
        ({"name": "gppo", "params": {"epsilon_high": 0.4}}, 0.2, 0.4),
        ({"name": "sapo"}, 0.2, 0.28),
        ({"name": "gspo"}, 0.2, 0.28),  # its own 3e-4 is for whole sequences: nearly every token would count as clipped
    ],
)
def test_tokens_are_counted_against_the_clip_range_of_tokens(policy, objective, low, high):
    config = rl_config(objective=objective)
    updater = Updater(policy, Optimizer(policy.model, config.optimizer, 1), config)
    assert updater.epsilons == {"epsilon_low": low, "epsilon_high": high}
