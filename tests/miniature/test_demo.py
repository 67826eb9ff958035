"""The whole pipeline, shortened: real parts, few steps."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from gppo.miniature.demo import before_and_after, demo_recipe, run_demo
from gppo.miniature.seeds import seeds_table
from gppo.records import read_conversations, read_problems
from gppo.run import RunFolder, read_rollouts, rollout_steps

SHORT = [
    "model.tiny={hidden_size: 32, layers: 2, heads: 4, kv_heads: 2}",
    "sft.steps=4",
    "sft.batch_size=32",
    "rl.stages.0.steps=3",
    "rl.prompts_per_step=8",
    "rl.group_size=4",
    "rl.mini_batch_prompts=4",
    "rl.save_every=1",
    "rl.zero_advantage=keep",
    "evaluate.sets.0.limit=8",
    "rl.evaluate_every=0",
    "threads=1",
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[RunFolder, str]:
    folder = tmp_path_factory.mktemp("demo") / "run"
    console = Console(record=True, width=100)
    return run_demo(folder, 0, console, overrides=SHORT), console.export_text()


def test_it_leaves_everything_a_run_leaves(demo) -> None:
    run, said = demo
    assert [line["step"] for line in run.read_metrics("sft")] == [1, 2, 3, 4]
    assert [line["step"] for line in run.read_metrics("rl")] == [1, 2, 3]
    assert rollout_steps(run.rollouts) == [1, 2, 3]
    assert len(read_rollouts(run.rollouts, 3)) == 8 * 4
    assert {path.name.split("--")[0] for path in run.evaluations.iterdir()} == {"step-000000", "step-000003"}
    assert run.report.stat().st_size > 1_000_000
    assert str(run.report) in said.replace("\n", "")
    assert "5 steps" in said


def test_curation_leaves_nothing_of_the_exam(demo) -> None:
    run, _ = demo
    exam = {p.prompt[0]["content"] for p in read_problems(run.path / "world" / "heldout.jsonl")}
    taught = {c.messages[0]["content"] for c in read_conversations(run.path / "data" / "sft.jsonl")}
    trained = {p.prompt[0]["content"] for p in read_problems(run.path / "data" / "rl.jsonl")}
    assert exam.isdisjoint(taught | trained)
    funnel = run.read_metrics("funnel")
    assert {line["set"] for line in funnel} == {"SFT set", "RL set"}
    assert all(line["rows_in"] > line["rows_out"] for line in funnel if line["step"] in ("exact duplicates",))


def test_run_again_it_does_nothing_twice(demo) -> None:
    run, _ = demo
    before = run.metrics.read_bytes()
    again = run_demo(run.path, 0, Console(quiet=True), overrides=SHORT)
    assert again.metrics.read_bytes() == before


def test_the_table_over_seeds_by_hand(demo) -> None:
    run, _ = demo
    before, after = before_and_after(run)
    table = seeds_table([run, run])
    console = Console(record=True, width=120)
    console.print(table)
    text = console.export_text()
    greedy = next(e for e in after if e.name == "greedy")
    assert f"{100 * greedy.correct_PK.mean():.1f} ± 0.0" in text
    assert len(before) == len(after) == 3


def test_the_recipe_reads_its_own_folder() -> None:
    recipe = demo_recipe(Path("some where/run"), 5)
    assert recipe.seed == 5
    assert recipe.sft is not None
    assert recipe.sft.data == Path("some where/run/data/sft.jsonl")


def test_the_trained_model_can_be_loaded_by_transformers(demo) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run, _ = demo
    folder = run.checkpoints / "rl" / "step-000003"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "1+2=?"}], return_tensors="pt", return_dict=True)
    with torch.no_grad():
        assert model(ids["input_ids"]).logits.isfinite().all()
    assert json.loads((folder / "state.json").read_text())["step"] == 3
