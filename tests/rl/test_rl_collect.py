"""Sampling a step: filters, drawing again, and what a problem drawn twice gets."""

import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from rl_builders import problem, rl_config, tiny_policy, verdict

from gppo.rl.collect import Collector
from gppo.rollout import LocalSampler, requests_for

NAMES = [f"p{i}" for i in range(8)]


@pytest.fixture(scope="module")
def policy():
    policy = tiny_policy()
    policy.stop_ids = tuple(range(0, 256, 2))  # random weights would hardly ever stop by themselves
    return policy


class ByProblem:
    """Judges by the problem's id: 'right', 'wrong' or, for every other sample, 'mixed'. Notes what it was given."""

    def __init__(self, **what: str) -> None:
        self.what = what
        self.cases = []

    def submit(self, problem, rollout, prompt_opened):
        self.cases.append((problem, rollout, prompt_opened))
        future = Future()
        future.set_result(verdict(self._status(problem.id, rollout.sample)))
        return future

    def _status(self, name, sample):
        kind = self.what.get(name, "mixed")
        return {"right": "correct", "wrong": "wrong", "infra": "infra", "mixed": ("correct", "wrong")[sample % 2]}[kind]


def collect(policy, judge, *, cursor=0, step=0, names=NAMES, told=None, **over):
    config = rl_config(reward={"require_thinking": False}, **over)
    stage = config.resolved_stages()[0]
    problems = [problem(name, text=f"{i}+1=?") for i, name in enumerate(names)]
    requests, _ = requests_for(policy.tokenizer, problems, stage.group_size, 99)
    collector = Collector(LocalSampler(policy), judge, config, 0, policy.tokenizer)
    told = [] if told is None else told
    return collector.collect(
        list(zip(problems, requests, strict=True)), stage, 0, cursor, step, lambda *what: told.append(what)
    )


def ids(groups):
    return [g.problem.id for g in groups]


@pytest.fixture(scope="module")
def order(policy):
    """The first epoch's order of problems for this seed."""
    return ids(collect(policy, ByProblem(), prompts_per_step=8).groups)


def test_a_step_takes_its_prompts_from_one_permutation(policy, order):
    assert sorted(order) == NAMES
    assert order != NAMES
    first, second = collect(policy, ByProblem()), collect(policy, ByProblem(), cursor=4, step=1)
    assert ids(first.groups) + ids(second.groups) == order
    assert (first.cursor, second.cursor) == (4, 8)


def test_drop_and_keep(policy, order):
    judge = ByProblem(**{order[1]: "right", order[2]: "wrong"})
    dropped = collect(policy, judge)
    assert ids(dropped.groups) == order[:4]
    assert ids(dropped.kept) == [order[0], order[3]]
    kept = collect(policy, judge, zero_advantage="keep")
    assert ids(kept.kept) == order[:4]
    assert dropped.cursor == kept.cursor == 4


def test_resample_draws_until_there_are_enough(policy, order):
    judge = ByProblem(**{order[1]: "right", order[2]: "wrong"})
    found = collect(policy, judge, zero_advantage="resample", max_generation_batches=3)
    assert ids(found.kept) == [order[0], order[3], order[4], order[5]]  # as many as a step wants, in order
    assert ids(found.groups) == order
    assert found.cursor == 8
    assert len(found.parts) == 8


def test_resample_gives_up_after_its_batches(policy):
    everything = ByProblem(**dict.fromkeys(NAMES, "wrong"))
    found = collect(policy, everything, zero_advantage="resample", max_generation_batches=3)
    assert found.kept == []
    assert len(found.groups) == 12
    assert found.cursor == 12


def test_resample_stops_at_once_where_the_first_batch_is_enough(policy):
    found = collect(policy, ByProblem(), zero_advantage="resample", max_generation_batches=3)
    assert (len(found.groups), len(found.kept), found.cursor) == (4, 4, 4)


def test_a_problem_that_comes_twice_gets_other_samples(policy):
    found = collect(policy, ByProblem(), names=["a", "b"], prompts_per_step=4, mini_batch_prompts=4)
    assert Counter(ids(found.groups)) == {"a": 2, "b": 2}
    for name in "ab":
        first, second = (g for g in found.groups if g.problem.id == name)
        assert [r.sample for r in first.rollouts] == [0, 1, 2, 3]
        assert [r.sample for r in second.rollouts] == [4, 5, 6, 7]
        texts = {tuple(r.response_ids.tolist()) for g in (first, second) for r in g.rollouts}
        assert len(texts) == 8


def test_samples_depend_on_the_step_and_on_nothing_else(policy):
    def responses(found):
        return [r.response_ids.tolist() for g in found.groups for r in g.rollouts]

    assert responses(collect(policy, ByProblem())) == responses(collect(policy, ByProblem()))
    assert responses(collect(policy, ByProblem())) != responses(collect(policy, ByProblem(), step=1))


def test_the_judge_sees_every_rollout_and_progress_is_told(policy):
    judge, told = ByProblem(), []
    found = collect(policy, judge, told=told)
    seen = {(p.id, r.sample): r for p, r, _ in judge.cases}
    assert len(judge.cases) == 16
    assert all(seen[g.problem.id, r.sample] is r for g in found.groups for r in g.rollouts)
    assert {opened for _, _, opened in judge.cases} == {False}
    assert [what for what in told if what[0] == "sampling"] == [("sampling", i, 16) for i in range(1, 17)]
    assert [what for what in told if what[0] == "judging"] == [("judging", i, 16) for i in range(1, 17)]
    assert found.seconds_generate > 0


class Background(ByProblem):
    """Judges in another thread, the first response only once the last has been handed over."""

    def __init__(self, total, **what):
        super().__init__(**what)
        self.total, self.threads, self.everything = total, ThreadPoolExecutor(total), threading.Event()

    def submit(self, problem, rollout, prompt_opened):
        ready = super().submit(problem, rollout, prompt_opened)
        if len(self.cases) == self.total:
            self.everything.set()
        return self.threads.submit(lambda: (self.everything.wait(60), ready.result())[1])


def test_judging_overlaps_sampling(policy, order):
    """Sampling goes on although no verdict is there, and verdicts find their responses whenever they come."""
    what = {order[1]: "right", order[2]: "wrong"}
    told = []
    found = collect(policy, Background(16, **what), told=told)
    assert [kind for kind, *_ in told] == ["sampling"] * 16 + ["judging"] * 16
    for group, expected in zip(found.groups, collect(policy, ByProblem(**what)).groups, strict=True):
        assert group.verdicts == expected.verdicts
        assert group.rewards_G.tolist() == expected.rewards_G.tolist()


class Failing(ByProblem):
    def __init__(self):
        super().__init__()
        self.futures = []

    def submit(self, problem, rollout, prompt_opened):
        if len(self.futures) == 5:
            raise RuntimeError("no judge any more")
        self.futures.append(Future())
        return self.futures[-1]


def test_where_the_judge_fails_nobody_waits_for_the_rest(policy):
    judge = Failing()
    with pytest.raises(RuntimeError, match="no judge any more"):
        collect(policy, judge)
    assert [future.cancelled() for future in judge.futures] == [True] * 5


def test_a_failed_judge_leaves_nan(policy, order):
    found = collect(policy, ByProblem(**{order[0]: "infra"}))
    assert str(found.groups[0].rewards_G.tolist()) == "[nan, nan, nan, nan]"
    assert ids(found.kept) == order[1:4]
