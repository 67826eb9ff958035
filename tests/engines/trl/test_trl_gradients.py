"""The gradient inside the real GRPOTrainer is the local engine's."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl", reason="TRL is not installed here; `make test-trl` runs this in an environment that has it")

from trl_runs import batch_of, far_apart, through_ours, through_trl, tiny_policy

from gppo.objectives import OBJECTIVES

CASES: dict[str, dict[str, float]] = {name: {} for name in OBJECTIVES} | {
    "ce_gppo": {"beta_low": 0.5, "epsilon_high": 0.25},
    "sapo": {"tau_positive": 0.7},
    "aspo": {"ratio_cap": 2.0},
}
_HERE = {"epsilon_low": "epsilon"}


@pytest.mark.parametrize("name", CASES)
def test_every_objective_has_the_gradient_of_the_local_engine(name: str, tmp_path: Path):
    params = CASES[name]
    theirs = through_trl(tmp_path, tiny_policy(), objective=name, **{_HERE.get(k, k): v for k, v in params.items()})
    ours, metrics = through_ours(theirs, objective={"name": name, "params": params})
    assert metrics["clip_positive_high"] > 0.02
    assert metrics["clip_negative_low"] > 0.02
    assert far_apart(theirs.gradient, ours) < 1e-5


def test_objectives_can_be_told_apart_on_this_batch(tmp_path: Path):
    theirs = through_trl(tmp_path, tiny_policy(), objective="gppo")
    for other in set(OBJECTIVES) - {"gppo"}:
        assert far_apart(theirs.gradient, through_ours(theirs, objective={"name": other})[0]) > 1e-3


@pytest.mark.parametrize("passes", [1, 4])
def test_micro_batches_make_no_difference(passes: int, tmp_path: Path):
    theirs = through_trl(tmp_path, tiny_policy(), passes)
    assert far_apart(theirs.gradient, through_ours(theirs)[0]) < 1e-5


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ({"lm_alpha": 0.1}, {"lm_loss": {"alpha": 0.1}}),
        ({"delta": 1.3}, {"objective": {"dual_clip": 1.3}}),
        ({"delta": 1.3, "dual_clip_keep": True}, {"objective": {"dual_clip": 1.3, "dual_clip_keep": True}}),
        (
            {"loss_type": "dr_grpo"},
            {"objective": {"normalisation": "constant", "constant_length": 12}},
        ),
        ({"loss_type": "grpo"}, {"objective": {"normalisation": "sequence_mean"}}),
    ],
    ids=lambda value: next(iter(value)) if "objective" not in value else "",
)
def test_options_mean_what_they_mean_in_a_recipe(here: dict[str, Any], there: dict[str, Any], tmp_path: Path):
    theirs = through_trl(tmp_path, tiny_policy(), **here)
    assert far_apart(theirs.gradient, through_ours(theirs, **there)[0]) < 1e-5
    assert far_apart(theirs.gradient, through_ours(theirs)[0]) > 1e-3  # and the option does something


def test_kl_penalty(tmp_path: Path):
    policy = tiny_policy()
    policy.save(tmp_path / "model")
    policy.model.config._name_or_path = str(tmp_path / "model")  # where TRL finds its reference
    theirs = through_trl(tmp_path, policy, beta=0.2)
    ours, _ = through_ours(theirs, reference=tiny_policy(), kl={"beta": 0.2})
    assert far_apart(theirs.gradient, ours) < 1e-5


def test_the_lm_loss_is_shown_as_a_mean_over_correct_tokens(tmp_path: Path):
    theirs = through_trl(tmp_path, tiny_policy(), lm_alpha=0.1)
    policy, batch = tiny_policy(), batch_of(theirs)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            parameter.copy_(theirs.weights[name])
        logprobs_BT = policy.logprobs(batch)[0]
    correct_BT = torch.from_numpy(batch.mask_BT & batch.correct_B[:, None])
    shown = theirs.trainer.state.log_history[1]["gppo/lm_loss"]
    assert shown == pytest.approx(-0.1 * float(logprobs_BT[correct_BT].mean()), rel=1e-4)


def test_two_processes_have_the_gradient_and_metrics_of_one_and_draw_apart(tmp_path: Path):
    script = Path(__file__).with_name("two_ranks.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script, tmp_path]
    run = subprocess.run(launch, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    one = through_trl(tmp_path / "one", tiny_policy(), passes=1, lm_alpha=0.1)
    halves = [json.loads((tmp_path / f"drawn-{rank}.json").read_text()) for rank in range(2)]
    for rank, half in enumerate(halves):
        two = {
            name.removeprefix("module."): value for name, value in torch.load(tmp_path / f"gradient-{rank}.pt").items()
        }
        assert far_apart(two, one.gradient) < 1e-5
        for name, value in one.trainer.state.log_history[1].items():
            if name.startswith(("clip_ratio/", "gppo/ratio", "gppo/lm_loss", "gppo/kl_old")):
                assert half["metrics"][name] == pytest.approx(value, rel=1e-4), name
    drawn = [tuple(ids) for half in halves for ids in half["drawn"]]
    assert len(set(drawn)) == len(drawn) == 4
