"""``gppo distill`` as a process: killed at any moment, stopped by a signal, and what it leaves on disk."""

import json
import os
import signal
import time

import pytest
import yaml
from chaos_kills import kill_as_it_grows, said
from endpoint_server import hang
from endpoint_world import LIMIT, PROBLEMS

SAMPLES = 6
WANTED = SAMPLES * len(PROBLEMS)
KEY = "sk-not-to-be-found-0"


@pytest.fixture
def recipe(endpoint, data, tmp_path):
    """recipe(folder, ...) is a recipe in a folder; keys replace those of the server's."""

    def make(name, **server):
        folder = tmp_path / name
        folder.mkdir()
        at = {"url": endpoint.url, "model": "tiny", "concurrency": 3} | server
        section = {"problems": str(data), "output": "out.jsonl", "samples": SAMPLES, "temperature": 1.0, "top_p": 1.0}
        section |= {"max_response_tokens": LIMIT, "endpoint": at}
        content = {"name": "d", "seed": 3, "run_dir": "run", "distill": section}
        (folder / "r.yaml").write_text(yaml.safe_dump(content))
        return folder

    return make


def lines(folder):
    path = folder / "run" / "distill" / "answers.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_killed_again_and_again_it_ends_as_if_nothing_had_been(recipe, endpoint, commands):
    whole = recipe("whole")
    assert commands.run(whole, "distill", "r.yaml") == 0, said(whole)
    endpoint.asked.clear()
    endpoint.seconds = 0.03
    folder = recipe("killed")
    kills = kill_as_it_grows(commands, folder, ["distill", "r.yaml"], "run/distill/answers.jsonl", 5)
    assert kills >= 4
    asked = len(endpoint.asked)
    assert asked <= WANTED + 3 * kills  # again only what was under way
    assert (folder / "out.jsonl").read_bytes() == (whole / "out.jsonl").read_bytes()
    assert commands.run(folder, "distill", "r.yaml") == 0
    assert len(endpoint.asked) == asked


def test_ctrl_c_waits_for_the_answers_under_way(recipe, endpoint, commands):
    endpoint.seconds = 0.05
    folder = recipe("stopped")
    command = commands.start(folder, "distill", "r.yaml")
    assert command.wait_until(lambda: lines(folder) >= 3)
    assert command.kill(signal.SIGINT) == 130
    kept = lines(folder)
    assert len(endpoint.asked) == kept < WANTED  # everything that was asked for is there
    assert f"gppo: stopped while distilling, {kept} of {WANTED} responses are kept" in said(folder)
    assert not (folder / "out.jsonl").exists()
    assert commands.run(folder, "distill", "r.yaml") == 0, said(folder)
    assert len(endpoint.asked) == WANTED


def test_sigterm_and_a_second_ctrl_c_wait_for_nothing(recipe, endpoint, commands):
    endpoint.always = hang
    for name, first, status in (("term", signal.SIGTERM, 143), ("twice", signal.SIGINT, 130)):
        folder = recipe(name)
        endpoint.asked.clear()
        command = commands.start(folder, "distill", "r.yaml")
        assert command.wait_until(lambda: len(endpoint.asked) >= 3)
        if first == signal.SIGINT:
            os.kill(command.pid, signal.SIGINT)
            time.sleep(0.3)
            assert not command.ended
        assert command.kill(first) == status, said(folder)
        assert "Traceback" not in said(folder)
        assert lines(folder) == 3  # each may cost its worst, and that is noted
        assert {json.loads(line)["key"] for line in (folder / "run/distill/answers.jsonl").open()} == {"lost"}


def test_the_key_is_nowhere_on_disk(recipe, endpoint, commands):
    endpoint.key = KEY
    folder = recipe("key", api_key_env="GPPO_TEST_KEY")
    assert commands.run(folder, "distill", "r.yaml") == 2
    assert "error: endpoint.api_key_env: the environment variable GPPO_TEST_KEY is not set" in said(folder)
    assert not (folder / "run").exists()  # found before anything was begun
    assert commands.run(folder, "distill", "r.yaml", GPPO_TEST_KEY=KEY) == 0, said(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 6
    assert not any(KEY.encode() in path.read_bytes() for path in files)


def test_what_is_said_in_a_terminal(recipe, endpoint, commands):
    folder = recipe("said", price_in=1.0, price_out=2.0, budget={"tokens": 10**6})
    assert commands.run(folder, "distill", "r.yaml") == 0
    words = " ".join(said(folder).split())
    assert f"Distilling: {WANTED} of {WANTED}" in words
    for part in ("in money", "right", f"{WANTED} of {WANTED}", "left of the budget", "of 1,000,000 tokens"):
        assert part in words, words
