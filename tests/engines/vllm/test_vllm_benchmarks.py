"""Every benchmark through vLLM's server: the local engine's prompts and judge, and the same end after kills."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from chaos_kills import said
from evaluation_files import DATA, RECIPE, lay_out, lines, results
from vllm_server import SHAPE, VLLMServer

from gppo.config import ModelConfig
from gppo.config.benchmarks import BENCHMARKS
from gppo.policy import load_policy

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}; set GPPO_DATA")]
CONTEXT = 8192


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing that was taught: what it says does not matter here, and its context holds every prompt."""
    folder = tmp_path_factory.mktemp("model")
    load_policy(ModelConfig(tiny=SHAPE, tokenizer="bytes", max_context=CONTEXT), seed=0).save(folder)
    return folder


@pytest.fixture(scope="module")
def vllm(vllm_python: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMServer]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with VLLMServer(vllm_python, model, port, tmp_path_factory.mktemp("vllm") / "log.txt", CONTEXT) as server:
        yield server


def _recipe(folder: Path, model: Path, files: Path, server: VLLMServer | None) -> None:
    """recipes/eval-tiny.yaml with another model, in a folder of its own; through the server where one is given."""
    folder.mkdir()
    (folder / "data").symlink_to(files)
    recipe = yaml.safe_load(RECIPE.read_text())
    recipe["model"] = {"path": str(model), "max_context": CONTEXT}
    if server is not None:
        at = {"url": server.url, "model": "tiny", "concurrency": 4}
        recipe["evaluate"] |= {"engine": "openai", "endpoint": at}
    (folder / "r.yaml").write_text(yaml.safe_dump(recipe))


def _asked(folder: Path) -> set[tuple[str, str, int]]:
    """(results file, problem, sample) of every response."""
    found = results(folder)
    rows = {name: content.splitlines() for name, content in found.items() if name.endswith(".results.jsonl")}
    return {(name, row["id"], row["sample"]) for name, kept in rows.items() for row in map(json.loads, kept)}


def test_all_benchmarks_through_the_server_killed_and_gone_on_with(vllm, commands, model, tmp_path):
    lay_out(tmp_path / "files")
    folders = {name: tmp_path / name for name in ("local", "whole", "killed")}
    for name, folder in folders.items():
        _recipe(folder, model, tmp_path / "files", None if name == "local" else vllm)
    for name in ("local", "whole"):
        assert commands.run(folders[name], "eval", "r.yaml") == 0, said(folders[name])
    for at in (4, 30, 60):
        command = commands.start(folders["killed"], "eval", "r.yaml")
        assert command.wait_until(lambda at=at: lines(folders["killed"]) >= at)
        assert command.kill() == -9
    assert commands.run(folders["killed"], "eval", "r.yaml") == 0, said(folders["killed"])
    whole = results(folders["whole"])
    assert len([name for name in whole if name.endswith(".results.jsonl")]) == len(BENCHMARKS)
    assert results(folders["killed"]) == whole
    assert _asked(folders["local"]) == _asked(folders["whole"])
