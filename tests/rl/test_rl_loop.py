"""The loop: what a run leaves behind, and that stopping it changes nothing."""

import json
import os
import signal
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from rl_builders import copy_of, problem, rl_config, same_weights, sums, taught_policy, verdict

from gppo.policy import Checkpoints, Optimizer
from gppo.rl import Watch, train_rl
from gppo.rollout import LocalSampler
from gppo.run import RunFolder, read_rollouts, rollout_steps
from gppo.run.interrupt import Interrupted
from gppo.types import GppoError, UserError
from gppo.verify.cases import CaseJudge

TIMES = ("time", "seconds", "seconds_generate", "seconds_judge", "seconds_update")


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    return taught_policy(tmp_path_factory.mktemp("sft") / "run")


@pytest.fixture(scope="module")
def judge():
    with CaseJudge() as judge:
        yield judge


@pytest.fixture
def start(taught, judge, tmp_path):
    """Train a copy of the taught policy in a run folder: start(folder, config) -> (policy, run)."""

    def start(folder, config=None, *, policy=None, problems=None, interrupt_at=None, judge=judge, **more):
        policy = policy or copy_of(taught)
        run = RunFolder.create(tmp_path / folder, "name: loop\n")
        config = config or loop_config()
        if problems is None:
            problems = {stage.name: sums(1 + i, 12) for i, stage in enumerate(config.stages)}
        watch = more.pop("watch", None) or Watch(on_step=lambda step, *_: step == interrupt_at and interrupt())
        start.policy = policy
        train_rl(policy, LocalSampler(policy), judge, problems, config, run, seed=0, watch=watch, **more)
        return policy, run

    return start


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def loop_config(stages=({"name": "math", "data": "unused.jsonl", "steps": 4},), **over):
    return rl_config(stages, **({"max_response_tokens": 32, "save_every": 2} | over))


def timeless(run):
    return [{key: value for key, value in line.items() if key not in TIMES} for line in run.read_metrics()]


def assert_same_run(one, two):
    (policy, run), (other, other_run) = one, two
    assert timeless(run) == timeless(other_run)
    assert same_weights(policy, other)
    for step in rollout_steps(run.rollouts):
        for row, other_row in zip(
            read_rollouts(run.rollouts, step), read_rollouts(other_run.rollouts, step), strict=True
        ):
            assert row.response_text == other_row.response_text
            np.testing.assert_array_equal(row.sampled_logprobs, other_row.sampled_logprobs)
            assert (row.coefficient is None) == (other_row.coefficient is None)
            if row.coefficient is not None:
                np.testing.assert_array_equal(row.coefficient, other_row.coefficient)


def test_a_run_writes_metrics_rollouts_and_checkpoints_and_learns(start, taught):
    told = {"steps": [], "phases": set(), "evaluated": []}
    watch = Watch(
        on_step=lambda step, steps, metrics: told["steps"].append((step, steps, metrics["stage"])),
        on_phase=lambda what, done, total: told["phases"].add(what),
        evaluate=lambda step, _stop: told["evaluated"].append(step),
    )
    policy, run = start("run", loop_config(evaluate_every=3), watch=watch)
    lines = run.read_metrics("rl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert told["steps"] == [(step, 4, "math") for step in (1, 2, 3, 4)]
    assert told["phases"] == {"sampling", "judging", "updating"}
    assert told["evaluated"] == [0, 3, 4]
    assert sum(line["updates"] for line in lines) >= 4
    assert all(line["grad_norm"] > 0 and line["learning_rate"] == 1e-3 for line in lines if line.get("updates"))
    assert not same_weights(policy, taught)
    assert not policy.model.training
    assert [p.name for p in Checkpoints(run.checkpoints / "rl").all()] == ["step-000003", "step-000004"]
    assert rollout_steps(run.rollouts) == [1, 2, 3, 4]
    for line in lines:
        rows = read_rollouts(run.rollouts, line["step"])
        assert len(rows) == 16
        assert np.mean([row.reward for row in rows]) == pytest.approx(line["reward_mean"])
        assert sum(row.coefficient is not None for row in rows) == 4 * line["groups_kept"]
        assert np.mean([row.verdict == "correct" for row in rows]) >= line["correct_share"]


def test_an_interrupted_run_goes_on_bit_by_bit(start, taught):
    whole = start("whole")
    with pytest.raises(Interrupted) as caught:
        start("parts", interrupt_at=3)
    assert caught.value.exit_status == 130
    assert "step 3 of 4" in str(caught.value)
    assert not same_weights(start.policy, taught)
    again = start("parts")  # a fresh process would begin with the first weights too
    assert_same_run(whole, again)


def test_a_run_that_was_killed_repeats_the_steps_after_its_checkpoint(start):
    class Killed(BaseException):
        pass

    def die(step, *_):
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        start("killed", watch=Watch(on_step=die))
    assert_same_run(start("whole"), start("killed"))


def test_a_finished_run_does_nothing_more(start):
    _, run = start("run")
    before = run.metrics.read_bytes()
    evaluated = []
    policy, _ = start("run", watch=Watch(evaluate=lambda step, _stop: evaluated.append(step)))
    assert run.metrics.read_bytes() == before
    assert evaluated == [4]  # which finds what it saved
    finished, _ = start("other")
    assert same_weights(policy, finished)


def test_a_signal_in_the_last_step_is_no_interruption(start):
    _, run = start("run", interrupt_at=4)
    assert len(run.read_metrics("rl")) == 4


STAGES = (
    {"name": "first", "data": "a.jsonl", "steps": 2},
    {"name": "second", "data": "b.jsonl", "steps": 3, "learning_rate": 3e-4, "prompts_per_step": 6},
)


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_two_stages_run_in_order_and_resume_inside_either(start, at):
    config = loop_config(STAGES)
    _, run = whole = start("whole", config)
    lines = run.read_metrics("rl")
    assert [line["stage"] for line in lines] == ["first"] * 2 + ["second"] * 3
    assert [line["learning_rate"] for line in lines] == [1e-3] * 2 + [3e-4] * 3
    assert [len(read_rollouts(run.rollouts, step)) for step in (1, 2, 3, 4, 5)] == [16, 16, 24, 24, 24]
    ids = [{row.problem_id for row in read_rollouts(run.rollouts, step)} for step in (3, 4)]
    assert len(ids[0]) == len(ids[1]) == 6
    assert not ids[0] & ids[1]  # the second stage reads its own 12 problems in one permutation
    with pytest.raises(Interrupted):
        start("parts", config, interrupt_at=at)
    assert_same_run(whole, start("parts", config))


def test_the_reference_stays_the_first_model(start, taught):
    config = loop_config(kl={"beta": 0.5}, old_logprobs="recompute")
    whole = start("whole", config, reference=copy_of(taught))
    with pytest.raises(Interrupted):
        start("parts", config, interrupt_at=2, reference=copy_of(taught))
    assert_same_run(whole, start("parts", config, reference=copy_of(taught)))
    free, _ = start("free", loop_config(old_logprobs="recompute"))
    assert not same_weights(whole[0], free)
    with pytest.raises(UserError, match="ref_logprobs"):
        start("none", config)


def test_prompts_that_are_too_long_are_left_out_and_counted_once(start):
    long = problem("long", text="1+" * 40 + "1=?", answer="41")
    problems = {"math": [*sums(1, 6), long]}
    with pytest.raises(Interrupted):
        start("run", problems=problems, interrupt_at=2)
    _, run = start("run", problems=problems)
    notes = run.read_metrics("info")
    assert [(n["stage"], n["prompts_too_long"], n["first"]) for n in notes] == [("math", 1, "long")]
    seen = {row.problem_id for step in (1, 2, 3, 4) for row in read_rollouts(run.rollouts, step)}
    assert len(seen) == 6
    assert "long" not in seen


def test_bad_stages_are_found_before_anything_is_sampled(start):
    """Also in the second stage, which may begin days later."""
    told = []
    watch = Watch(on_phase=lambda *what: told.append(what), evaluate=lambda step, _stop: told.append(step))
    long = [problem("long", text="1+" * 40 + "1=?", answer="41")]
    problems = {"first": sums(1, 6), "second": long}
    with pytest.raises(
        UserError, match=r"stage 'second': all 1 prompts of b.jsonl are longer than max_prompt_tokens 32"
    ):
        start("long", loop_config(STAGES), problems=problems, watch=watch)
    with pytest.raises(UserError, match=r"stage 'math': max_prompt_tokens \+ max_response_tokens is 132, more than"):
        start("context", loop_config(max_response_tokens=100), watch=watch)
    with pytest.raises(UserError, match="There is no objective 'gpo'"):
        start("objective", loop_config(objective={"name": "gpo"}), watch=watch)
    assert told == []


class Deciding:
    """A judge that reads nothing but the sample's number."""

    def __init__(self, status):
        self.status = status

    def submit(self, problem, rollout, prompt_opened):
        future = Future()
        future.set_result(verdict(self.status(rollout.sample)))
        return future


HALF_INFRA = Deciding(lambda sample: "infra" if sample % 2 else "wrong")


def test_too_many_failures_of_the_judge_stop_the_run(start):
    with pytest.raises(GppoError, match=r"step 1: 50% of the responses could not be judged") as caught:
        start("run", judge=HALF_INFRA)
    assert caught.value.exit_status == 1


def test_a_share_of_failures_that_is_allowed_is_masked(start):
    _, run = start("run", loop_config(reward={"max_infra_share": 0.5}), judge=HALF_INFRA)
    lines = run.read_metrics("rl")
    assert [line["infra_share"] for line in lines] == [0.5] * 4
    assert all(-1.5 <= line["reward_mean"] <= -1 for line in lines)
    assert np.isnan([row.reward for row in read_rollouts(run.rollouts, 1)]).sum() == 8


def test_a_step_without_any_difference_updates_nothing(start, taught):
    """All wrong in the same way: nothing to learn, and the run goes on."""
    config = loop_config(reward={"require_thinking": False})
    policy, run = start("run", config, judge=Deciding(lambda sample: "wrong"))
    assert same_weights(policy, taught)
    lines = run.read_metrics("rl")
    assert [(line["groups_kept"], line["groups_all_wrong"]) for line in lines] == [(0, 4)] * 4
    assert all("updates" not in line for line in lines)
    assert read_rollouts(run.rollouts, 1)[0].coefficient is None


def test_everything_truncated_under_the_overlong_filter(start, taught):
    """Kept groups of which no row may be learned from: no update, no crash."""
    config = loop_config(zero_advantage="keep", overlong={"filter": True}, max_response_tokens=2, lm_loss={"alpha": 0})
    policy, run = start("run", config)
    assert [line["updates"] for line in run.read_metrics("rl")] == [0] * 4
    assert [line["truncated_share"] for line in run.read_metrics("rl")] == [1] * 4
    assert same_weights(policy, taught)


def test_rollouts_are_not_written_where_they_are_not_wanted(start):
    _, run = start("run", loop_config(save_rollouts=False))
    assert rollout_steps(run.rollouts) == []
    assert len(run.read_metrics("rl")) == 4


def test_the_checkpoint_is_a_model_that_others_can_load(start):
    from transformers import AutoModelForCausalLM

    policy, run = start("run")
    newest = Checkpoints(run.checkpoints / "rl").latest()
    assert json.loads((newest / "state.json").read_text())["cursor"] == 16
    loaded = AutoModelForCausalLM.from_pretrained(newest)
    for name, value in policy.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    optimizer = Optimizer(copy_of(policy).model, loop_config().optimizer, 4)
    assert Checkpoints.load(newest, policy, optimizer)["step"] == 4
