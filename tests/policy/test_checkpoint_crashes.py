"""A process that ends at any operation on files leaves a checkpoint that is whole: the old one or the new one."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from tiny_models import random_batch, tiny_policy

from gppo.config.optimizer import OptimizerConfig
from gppo.policy import Checkpoints, Optimizer

EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree", "os.scandir")
CRASHED = 9


def crash_at(number, folder):
    """End this process, without a word to anyone, at its so-manieth operation on files of a folder."""
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        seen += event in EVENTS and str(folder) in str(arguments[0])
        if seen == number:
            os._exit(CRASHED)

    sys.addaudithook(hook)


def in_a_fork(work, crash, folder) -> int:
    child = os.fork()
    if not child:
        status = 1
        try:
            crash_at(crash, folder)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def trained():
    policy = tiny_policy()
    optimizer = Optimizer(policy.model, OptimizerConfig(learning_rate=1e-2), total_steps=10)
    logprobs_BT, _ = policy.logprobs(random_batch(seed=0))
    logprobs_BT.sum().neg().backward()
    return policy, optimizer


def test_a_crash_at_every_operation(tmp_path: Path, trained):
    policy, optimizer = trained
    before, folder = tmp_path / "before", tmp_path / "checkpoints"
    old = Checkpoints(before).save(1, policy, optimizer, {}) / "model.safetensors"
    optimizer.step(at=0)
    new = Checkpoints(tmp_path / "after").save(2, policy, optimizer, {}) / "model.safetensors"
    expected = {1: old.read_bytes(), 2: new.read_bytes()}
    assert expected[1] != expected[2]
    found, status, crash = [], CRASHED, 0
    while status == CRASHED:
        crash += 1
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)
        status = in_a_fork(lambda: Checkpoints(folder, keep=1).save(2, policy, optimizer, {}), crash, folder)
        newest = Checkpoints(folder).newest_good()
        found.append(int(newest.name[5:]))
        assert (newest / "model.safetensors").read_bytes() == expected[found[-1]]
    assert status == 0
    assert crash > 15, "it was killed in many places"
    assert set(found) == {1, 2}
    assert found == sorted(found), "once the new one is there it stays there"
