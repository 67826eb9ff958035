"""Recipes as verl's options, against what a person would type."""

import json
import re
from pathlib import Path

import pytest

from gppo.bridges.verl.jobs import option
from gppo.bridges.verl.render import render_rl, render_sft
from gppo.config import Recipe, load_recipe
from gppo.types import UserError

RECIPES = Path(__file__).parents[2] / "recipes"
CLUSTER = Path(__file__).parents[2] / "docs" / "cluster.md"
ACTOR = "actor_rollout_ref.actor"


def options_of(job):
    pairs = [text.lstrip("+").split("=", 1) for text in job.options]
    found = dict(pairs)
    assert len(found) == len(pairs), "an option is given twice"
    return found


def recipe(**changed):
    base = {
        "name": "r",
        "run_dir": "/runs/r",
        "model": {"path": "some/model", "dtype": "mixed"},
        "rl": {"stages": [{"name": "math", "data": "m.jsonl", "steps": 10}]},
    }
    return Recipe.model_validate({**base, **changed})


def rl(**changed):
    return {"stages": [{"name": "math", "data": "m.jsonl", "steps": 10}], **changed}


PAPER = {
    "data.train_batch_size": "128",
    "data.max_prompt_length": "4096",
    "data.max_response_length": "28672",
    "actor_rollout_ref.rollout.n": "8",
    "actor_rollout_ref.rollout.temperature": "1.0",
    "actor_rollout_ref.rollout.top_p": "1.0",
    "actor_rollout_ref.rollout.top_k": "-1",
    f"{ACTOR}.policy_loss.loss_mode": "gppo",
    f"{ACTOR}.policy_loss.params": "{epsilon_low:0.2,epsilon_high:0.28}",
    f"{ACTOR}.policy_loss.dual_clip": "null",
    f"{ACTOR}.policy_loss.lm_alpha": "0.1",
    f"{ACTOR}.loss_agg_mode": "token-mean",
    f"{ACTOR}.use_kl_loss": "false",
    f"{ACTOR}.entropy_coeff": "0",
    f"{ACTOR}.ppo_epochs": "1",
    f"{ACTOR}.optim.lr_scheduler_type": "constant",
    f"{ACTOR}.optim.lr_warmup_steps": "10",
    f"{ACTOR}.optim.weight_decay": "0.1",
    f"{ACTOR}.optim.clip_grad": "1.0",
    f"{ACTOR}.fsdp_config.model_dtype": "fp32",
    "gppo.zero_advantage": "drop",
    "gppo.advantage_std": "population",
    "algorithm.filter_groups.enable": "false",
}


def test_the_papers_rl_has_the_papers_numbers():
    math, code = map(options_of, render_rl(load_recipe(RECIPES / "klear-8b.yaml")))
    assert (PAPER | {f"{ACTOR}.ppo_mini_batch_size": "16", f"{ACTOR}.optim.lr": "1e-06"}).items() <= math.items()
    assert (PAPER | {f"{ACTOR}.ppo_mini_batch_size": "32", f"{ACTOR}.optim.lr": "5e-07"}).items() <= code.items()


def test_the_papers_sft_has_the_papers_numbers():
    found = options_of(render_sft(load_recipe(RECIPES / "klear-8b-sft.yaml")))
    expected = {
        "optim.lr": "8e-05",
        "optim.lr_scheduler_type": "cosine",
        "optim.min_lr_ratio": "0.5",  # to 4e-5
        "trainer.total_epochs": "4",
        "trainer.total_training_steps": "null",
        "data.max_length": "32768",
        "data.train_batch_size": "128",
        "data.max_token_len_per_gpu": "8192",  # 32768 on four GPUs
    }
    assert expected.items() <= found.items()


def test_where_and_how_it_runs():
    cluster = {"nodes": 4, "gpus_per_node": 8, "sequence_parallel": 2, "rollout_parallel": 2, "address": "auto"}
    (job,) = render_rl(recipe(verl={**cluster, "options": ["trainer.balance_batch=true"]}))
    found = options_of(job)
    expected = {
        "trainer.nnodes": "4",
        "trainer.n_gpus_per_node": "8",
        "trainer.device": "cuda",
        "trainer.default_local_dir": "/runs/r/verl/rl-1/checkpoints",
        "actor_rollout_ref.rollout.name": "vllm",
        "actor_rollout_ref.rollout.tensor_model_parallel_size": "2",
        f"{ACTOR}.fsdp_config.ulysses_sequence_parallel_size": "2",
        f"{ACTOR}.fsdp_config.mixed_precision": "{param_dtype:bf16,reduce_dtype:fp32,buffer_dtype:fp32}",
        # 4096 + 28672 tokens are more than the budget of 16384, and two GPUs share them
        f"{ACTOR}.ppo_max_token_len_per_gpu": "16384",
        "reward.num_workers": "4",
        "reward.reward_manager.name": "GppoRewardManager",
    }
    assert expected.items() <= found.items()
    assert job.environment == {"RAY_ADDRESS": "auto"}
    assert job.options[-1] == "trainer.balance_batch=true"  # the user's own come last


def test_the_clusters_of_the_documentation_are_taken():
    rows = re.findall(r"^\| (\d+) \| (\d+) \| 128 \| (\d+) \| (\d+) \| (\d+) \|$", CLUSTER.read_text(), re.MULTILINE)
    assert len(rows) == 4
    for nodes, gpus, sharing, ranks, responses in rows:
        overrides = [f"verl.nodes={nodes}", f"verl.sequence_parallel={sharing}"]
        math = options_of(render_rl(load_recipe(RECIPES / "klear-8b.yaml", overrides))[0])
        assert int(gpus) == int(math["trainer.nnodes"]) * int(math["trainer.n_gpus_per_node"])
        assert int(ranks) * int(sharing) == int(gpus)
        mini_batch = int(math[f"{ACTOR}.ppo_mini_batch_size"]) * int(math["actor_rollout_ref.rollout.n"])
        assert int(responses) * int(ranks) == mini_batch


def test_a_ray_that_runs_already_hears_of_the_platform_from_the_job():
    cluster = {"gpus_per_node": 2, "address": "auto"}
    (there,), (here,) = (
        render_rl(recipe(device="cpu", verl=settings)) for settings in (cluster, cluster | {"address": None})
    )
    key = "ray_kwargs.ray_init.runtime_env.env_vars"
    assert options_of(there)[key] == "{VERL_PLATFORM:cpu,VERL_USE_EXTERNAL_MODULES:gppo.bridges.verl.cpu}"
    assert not any("num_gpus" in option for option in there.options), "its size is its own"
    assert here.environment.items() >= {"RAY_ADDRESS": "local", "VERL_PLATFORM": "cpu"}.items()
    assert options_of(here)["ray_kwargs.ray_init.num_gpus"] == "2"


def test_rewards_go_to_our_judges_and_never_to_verls():
    found = options_of(render_rl(recipe())[0])
    assert found["reward.reward_manager.source"] == "importlib"
    assert found["reward.reward_manager.module.path"] == "'pkg://gppo.bridges.verl.rewards'"
    assert "prime" not in " ".join(render_rl(recipe())[0].options)


def test_each_stage_is_a_run_that_starts_from_the_one_before():
    stages = [
        {"name": "math", "data": "m.jsonl", "steps": 30},
        {"name": "code", "data": "c.jsonl", "steps": 20, "learning_rate": 5e-7, "mini_batch_prompts": 32},
    ]
    first, second = render_rl(recipe(rl={"stages": stages}), start="/sft/step-000100")
    assert options_of(first)["actor_rollout_ref.model.path"] == "/sft/step-000100"
    assert options_of(second)["actor_rollout_ref.model.path"] == "/runs/r/checkpoints/rl/step-000030"
    assert (second.first, second.steps) == (30, 20)
    assert options_of(second)[f"{ACTOR}.optim.lr"] == "5e-07"
    assert first.folder != second.folder


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"objective": {"name": "cispo"}}, {f"{ACTOR}.policy_loss.loss_mode": "gppo_cispo"}),
        ({"objective": {"name": "gspo"}}, {f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean"}),
        (
            {"objective": {"normalisation": "constant", "constant_length": 900}},
            {f"{ACTOR}.loss_agg_mode": "seq-mean-token-sum-norm", f"{ACTOR}.loss_scale_factor": "900"},
        ),
        ({"objective": {"dual_clip": 10.0}}, {f"{ACTOR}.policy_loss.dual_clip": "10.0"}),
        (
            {"kl": {"beta": 0.01, "estimator": "k2"}},
            {f"{ACTOR}.use_kl_loss": "true", f"{ACTOR}.kl_loss_coef": "0.01", f"{ACTOR}.kl_loss_type": "mse"},
        ),
        ({"zero_advantage": "resample"}, {"algorithm.filter_groups.enable": "true"}),
        ({"old_logprobs": "sampled"}, {"algorithm.rollout_correction.bypass_mode": "true"}),
        ({"correction": {"kind": "tis"}}, {"gppo.correction": "{kind:tis,cap:2.0,low:0.5,high:5.0}"}),
    ],
)
def test_settings_of_the_objective(settings, expected):
    assert expected.items() <= options_of(render_rl(recipe(rl=rl(**settings)))[0]).items()


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"model": {"tiny": {}, "tokenizer": "bytes"}}, "model.tiny"),
        ({"model": {"path": "m", "tokenizer": "bytes"}}, "model.tokenizer"),
        ({"model": {"path": "m", "lora": {}}}, "model.lora"),
        ({"model": {"path": "m", "yarn": {"factor": 2.5}}}, "model.yarn"),
        ({"threads": 2}, "threads"),
        ({"rl": rl(evaluate_every=5)}, "rl.evaluate_every"),
        ({"rl": rl(lm_loss={"include_dropped_groups": True})}, "rl.lm_loss.include_dropped_groups"),
        ({"rl": rl(overlong={"filter": True})}, "rl.overlong.filter"),
        ({"verl": {"nodes": 32}}, "verl.sequence_parallel"),
        ({"verl": {"sequence_parallel": 3}}, "verl.sequence_parallel"),
        ({"verl": {"rollout_parallel": 3}}, "verl.rollout_parallel"),
        ({"rl": rl(objective={"name": "gpo"})}, "gpo"),
        (
            {
                "rl": {
                    "stages": [{"name": n, "data": "m.jsonl", "steps": 1} for n in ("a", "b")],
                    "kl": {"beta": 0.1},
                }
            },
            "rl.kl.beta",
        ),
    ],
)
def test_what_verl_cannot_do_is_refused_by_its_key(changed, key):
    with pytest.raises(UserError, match=key.replace(".", r"\.")):
        render_rl(recipe(**changed))


@pytest.mark.parametrize(
    ("sft", "key"),
    [
        ({"data": "s.jsonl", "epochs": 1.5}, "sft.epochs"),
        ({"data": "s.jsonl", "steps": 10, "batch_size": 12}, "sft.batch_size"),
    ],
)
def test_what_verls_sft_cannot_do_is_refused_by_its_key(sft, key):
    with pytest.raises(UserError, match=key.replace(".", r"\.")):
        render_sft(recipe(rl=None, sft=sft))


def test_adapters_are_refused_for_sft_too():
    with pytest.raises(UserError, match=r"model\.lora: .*--engine local"):
        render_sft(recipe(rl=None, sft={"data": "s.jsonl", "steps": 10}, model={"path": "m", "lora": {}}))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "true"),
        (None, "null"),
        (1e-6, "1e-06"),
        ("/a/b-c_1.x", "/a/b-c_1.x"),
        ("a b", "'a b'"),
        ("it's", r"'it\'s'"),
        ("1e-6", "'1e-6'"),
        ("null", "'null'"),
        ([0.9, 0.95], "[0.9,0.95]"),
        ({"a": 1, "b": "x=y"}, "{a:1,b:'x=y'}"),
        ({}, "{}"),
    ],
)
def test_values_in_hydras_grammar(value, written):
    assert option("key", value) == f"key={written}"


def test_dry_run_prints_the_command(tmp_path, capsys, monkeypatch):
    from gppo.cli.main import app

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps(recipe().model_dump(mode="json")))
    app(["rl", str(path), "--engine", "verl", "--dry-run"], standalone_mode=False)
    printed = capsys.readouterr().out
    command = printed.split("train.parquet\n", 1)[1].replace("\\\n", " ").split()
    assert command[:4] == ["RAY_ADDRESS=local", "python", "-m", "gppo.bridges.verl.main_rl"]
    (job,) = render_rl(load_recipe(path))
    assert len(command) == 4 + len(job.options)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(UserError, match="--engine verl"):
        app(["rl", str(path), "--dry-run"], standalone_mode=False)
