"""What breaks off in a step, or asks it to stop, costs that step and nothing else."""

import multiprocessing
import os
import signal
from concurrent.futures import Future

import pytest
import torch
from rl_builders import copy_of, rl_config, same_weights, sums, taught_policy

from gppo.policy import Checkpoints
from gppo.rl import Watch, train_rl
from gppo.rollout import LocalSampler
from gppo.run import RunFolder, rollout_steps
from gppo.run.interrupt import Interrupted
from gppo.types import GppoError, UserError, Verdict
from gppo.verify.cases import CaseJudge

STAGE = {"name": "math", "data": "unused.jsonl", "steps": 4}


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    return taught_policy(tmp_path_factory.mktemp("sft") / "run")


@pytest.fixture
def train(taught, tmp_path):
    """train(folder, ...) -> (policy, run)."""

    def train(folder, *, policy=None, sampler=None, watch=None, problems=None, judge=None, **over):
        policy = policy or copy_of(taught)
        run = RunFolder.create(tmp_path / folder, "name: lost\n")
        # One checkpoint, at the end: what is saved before was saved for a reason.
        config = rl_config([STAGE], **({"max_response_tokens": 32, "save_every": 100} | over))
        sampler = sampler(policy) if sampler else LocalSampler(policy)
        with CaseJudge() as own:
            problems = problems or {"math": sums(1, 12)}
            train_rl(policy, sampler, judge or own, problems, config, run, seed=0, watch=watch)
        return policy, run

    return train


def steps_saved(tmp_path, folder):
    return [int(p.name[5:]) for p in Checkpoints(tmp_path / folder / "checkpoints" / "rl").all()]


def logged(tmp_path, folder):
    return [line["step"] for line in RunFolder(tmp_path / folder).read_metrics("rl")]


def stop_in(phase, step):
    """Ask to stop in a phase of the given step (from 1)."""
    done = [0]

    def on_step(finished, *_):
        done[0] = finished

    def on_phase(what, count, total):
        if what == phase and done[0] == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough

    return Watch(on_step=on_step, on_phase=on_phase)


@pytest.mark.parametrize(
    ("phase", "step", "saved"),
    [("sampling", 3, [2]), ("judging", 3, [2]), ("updating", 3, [3]), ("sampling", 1, [])],
)
def test_a_stop_within_a_step(train, tmp_path, phase, step, saved):
    """Before an update the step is left at once; an update is made to its end."""
    policy, _ = train("whole")
    with pytest.raises(Interrupted, match=f"stopped after RL step {saved[-1] if saved else 0} of 4") as caught:
        train("parts", watch=stop_in(phase, step))
    assert caught.value.exit_status == 143
    assert steps_saved(tmp_path, "parts") == saved
    assert logged(tmp_path, "parts") == list(range(1, (saved or [0])[-1] + 1))
    again, run = train("parts")
    assert same_weights(policy, again)
    assert rollout_steps(run.rollouts) == [1, 2, 3, 4]


def serve(connection, policy):
    torch.set_num_threads(1)
    sampler = LocalSampler(policy)
    while True:
        requests, settings, seed, step, weights = connection.recv()
        policy.model.load_state_dict(weights)
        connection.send(sampler.generate(requests, settings, seed=seed, step=step))


class ElsewhereSampler:
    """Samples in a process of its own, as engines do."""

    def __init__(self, policy, dies_at):
        self.policy, self.dies_at = policy, dies_at
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, policy), daemon=True)
        self.process.start()
        theirs.close()

    def generate(self, requests, settings, *, seed, step, on_finished=None):
        self.connection.send((requests, settings, seed, step, self.policy.model.state_dict()))
        if step == self.dies_at:
            self.process.kill()
        rollouts = self.connection.recv()
        for row in rollouts:
            for rollout in row:
                on_finished(rollout)
        return rollouts


@pytest.fixture
def elsewhere():
    """elsewhere(policy, dies_at) -> a sampler whose process is gone after the test."""
    made = []

    def make(policy, dies_at=None):
        made.append(ElsewhereSampler(policy, dies_at))
        return made[-1]

    yield make
    for sampler in made:
        sampler.process.kill()  # not terminate: it has the signal handlers of this process
        sampler.process.join()


def test_a_sampler_that_dies(train, tmp_path, elsewhere):
    policy, _ = train("whole")
    with pytest.raises(
        GppoError, match=r"step 3: sampling or judging broke off \((EOF|ConnectionReset)Error.*"
    ) as caught:
        train("parts", sampler=lambda policy: elsewhere(policy, dies_at=2))
    assert str(caught.value).endswith(
        "/parts/failure.txt), the 2 steps before it are saved: mend that and run the same command again"
    )
    assert "Traceback" in (tmp_path / "parts" / "failure.txt").read_text()
    assert steps_saved(tmp_path, "parts") == [2]
    again, _ = train("parts", sampler=elsewhere)
    assert same_weights(policy, again)


def test_an_update_that_runs_out_of_memory(train, tmp_path, taught):
    """The allocation is real, and as large as no machine."""
    greedy = copy_of(taught)
    backward, calls = greedy.backward_N, []

    def backward_N(batch, *more):
        calls.append(batch)
        if len(calls) > 5:
            torch.empty(1 << 55)
        return backward(batch, *more)

    greedy.backward_N = backward_N
    with pytest.raises(GppoError, match=r"the update ran out of memory \(more in .*failure.txt\); lower") as caught:
        train("parts", policy=greedy, save_every=1)
    saved = steps_saved(tmp_path, "parts")
    assert str(caught.value).endswith(
        f"rl.micro_batch_tokens and run the same command again: the run goes on from step-{saved[-1]:06d}"
    )
    assert "allocate" in (tmp_path / "parts" / "failure.txt").read_text()
    policy, _ = train("whole", save_every=1)
    again, _ = train("parts", save_every=1)
    assert same_weights(policy, again)


def test_a_mistake_in_the_code_stays_a_traceback_and_costs_no_step(train, tmp_path):
    class Wrong(LocalSampler):
        def generate(self, requests, settings, *, step, **more):
            return super().generate(requests, settings, step=step, **more) if step < 2 else None + 1

    with pytest.raises(TypeError):
        train("parts", sampler=Wrong)
    assert steps_saved(tmp_path, "parts") == [2]


def test_too_much_lost_to_the_machine(train, tmp_path):
    """The responses of step 3 cannot be judged; when the judge is well again, the run is as if nothing had been."""

    class Ill(CaseJudge):
        def submit(self, problem, rollout, prompt_opened):
            future = super().submit(problem, rollout, prompt_opened)
            self.seen = getattr(self, "seen", 0) + 1
            if self.seen > 2 * 16:
                future = Future()
                future.set_result(Verdict("infra", 0.0))
            return future

    policy, _ = train("whole")
    with Ill() as judge, pytest.raises(GppoError, match=r"step 3: 100% of the responses could not be judged"):
        train("parts", judge=judge)
    assert steps_saved(tmp_path, "parts") == [2]
    again, run = train("parts")
    assert same_weights(policy, again)
    assert [line["responses_lost"] for line in run.read_metrics("rl")] == [0] * 4


def test_problems_that_changed(train):
    with pytest.raises(Interrupted):
        train("run", watch=stop_in("sampling", 3))
    with pytest.raises(UserError, match="the problems of stage 'math' are not those that the run began with"):
        train("run", problems={"math": sums(2, 12)})
    train("run")


def test_dropout_draws_the_same_after_a_stop(train, taught):
    def dropping():
        policy = copy_of(taught)
        for layer in policy.model.model.layers:
            layer.mlp.register_forward_hook(lambda mlp, _, out: torch.dropout(out, 0.3, mlp.training))
        policy.model.train()
        return policy

    policy, _ = train("whole", policy=dropping())
    plain, _ = train("plain")
    assert not same_weights(policy, plain), "there is dropout"
    with pytest.raises(Interrupted):
        train("parts", policy=dropping(), watch=stop_in("sampling", 3))
    again, _ = train("parts", policy=dropping())
    assert same_weights(policy, again)


def test_the_best_checkpoint_stays(train, tmp_path):
    scores = {0: 0.9, 1: 0.2, 2: 0.7, 3: 0.1, 4: 0.3}
    watch = Watch(evaluate=lambda step, stop: scores[step])
    train("run", watch=watch, evaluate_every=1, keep_checkpoints=1)
    assert steps_saved(tmp_path, "run") == [2, 4]


def test_a_stop_before_the_last_evaluation(train, tmp_path):
    """The steps are done and their evaluation is not: that is no end."""
    evaluated = []
    watch = stop_in("updating", 4)
    watch = Watch(watch.on_step, watch.on_phase, lambda step, stop: evaluated.append(step))
    with pytest.raises(Interrupted, match="stopped after RL step 4 of 4"):
        train("run", watch=watch)
    assert evaluated == [0]
    train("run", watch=Watch(evaluate=lambda step, stop: evaluated.append(step)))
    assert evaluated == [0, 4]
