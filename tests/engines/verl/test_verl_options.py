"""What is rendered, read by verl's own configuration."""

from pathlib import Path

import pytest

pytest.importorskip("verl", reason="verl is not installed here; make test-verl makes an environment for it")

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from verl import trainer as verl_trainer
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config

from gppo.bridges.verl.losses import GppoLossConfig
from gppo.bridges.verl.render import render_rl, render_sft
from gppo.config import Recipe, RewardConfig, load_recipe
from gppo.types import UserError

RECIPES = Path(__file__).parents[3] / "recipes"
FOLDER = str(Path(verl_trainer.__file__).parent / "config")


def composed(name, options):
    with initialize_config_dir(config_dir=FOLDER, version_base=None):
        return compose(config_name=name, overrides=list(options))


CLUSTER = ["verl.nodes=32", "verl.sequence_parallel=8", "verl.address=auto"]
SHIPPED = [
    (path.stem, kind, [])
    for path in sorted(RECIPES.glob("*.yaml"))
    for kind in ("sft", "rl")
    if getattr(load_recipe(path), kind) is not None
]
REFUSED = {"gsm8k-tiny": "model.tiny", "qwen3-0.6b-gsm8k-lora": "model.lora"}


@pytest.mark.parametrize(
    ("name", "kind", "overrides"), [*SHIPPED, ("klear-8b", "rl", CLUSTER), ("klear-8b-sft", "sft", CLUSTER)]
)
def test_every_shipped_recipe_is_taken_or_refused_by_its_key(name, kind, overrides):
    """No option is unknown to verl, and what its own classes check holds."""
    recipe = load_recipe(RECIPES / f"{name}.yaml", overrides)
    render = render_rl if kind == "rl" else lambda recipe: [render_sft(recipe)]
    if name in REFUSED:
        with pytest.raises(UserError, match=REFUSED[name]):
            render(recipe)
        return
    for job in render(recipe):
        config = composed("ppo_trainer" if kind == "rl" else "sft_trainer_engine", job.options)
        if kind == "sft":
            model, engine = config.model, omega_conf_to_dataclass(config.engine)
            omega_conf_to_dataclass(config.optim)
        else:
            validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
            actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
            model, engine = config.actor_rollout_ref.model, omega_conf_to_dataclass(actor).engine
            # every pass of the workers takes a whole response, and the sampler's context too
            longest = config.data.max_prompt_length + config.data.max_response_length
            sharing = engine.ulysses_sequence_parallel_size
            assert actor.ppo_max_token_len_per_gpu * sharing >= longest
            assert rollout.log_prob_max_token_len_per_gpu * sharing >= longest
            assert rollout.max_model_len >= longest
            omega_conf_to_dataclass(rollout)
        assert dict(engine.mixed_precision)["param_dtype"] == "bf16"
        assert model.external_lib == "gppo.bridges.verl.plugin"
        assert model.path == recipe.model.path or job.first > 0


def test_verl_takes_the_papers_rl():
    recipe = load_recipe(RECIPES / "klear-8b.yaml")
    for job, stage in zip(render_rl(recipe), recipe.rl.resolved_stages(), strict=True):
        config = composed("ppo_trainer", job.options)
        assert not need_critic(config)
        validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=False)
        actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
        assert isinstance(actor.policy_loss, GppoLossConfig)
        assert dict(actor.policy_loss.params) == {"epsilon_low": 0.2, "epsilon_high": 0.28}
        assert actor.policy_loss.lm_alpha == 0.1
        assert actor.optim.lr == stage.learning_rate
        assert actor.engine.strategy == "fsdp2"
        assert config.actor_rollout_ref.rollout.n == 8
        told = OmegaConf.to_container(config.gppo, resolve=True)
        assert RewardConfig.model_validate(told["reward"]) == recipe.rl.reward


def test_verl_takes_the_shipped_sft_recipe():
    config = composed("sft_trainer_engine", render_sft(load_recipe(RECIPES / "klear-8b-sft.yaml")).options)
    optimizer, engine = omega_conf_to_dataclass(config.optim), omega_conf_to_dataclass(config.engine)
    assert (optimizer.lr, optimizer.min_lr_ratio * optimizer.lr) == (8e-5, pytest.approx(4e-5))
    assert (engine.strategy, engine.ulysses_sequence_parallel_size) == ("fsdp2", 4)
    assert "hf_model" in omega_conf_to_dataclass(config.checkpoint).save_contents


def test_awkward_values_arrive_as_they_were():
    recipe = Recipe.model_validate(
        {
            "name": "it's, a = {test}",
            "run_dir": "/tmp/a b/'c'",
            "model": {"path": "/models/x=y, z"},
            "rl": {"stages": [{"name": "s", "data": "d.jsonl", "steps": 1}], "objective": {"name": "ce_gppo"}},
        }
    )
    config = composed("ppo_trainer", render_rl(recipe)[0].options)
    assert config.trainer.experiment_name == recipe.name
    assert config.actor_rollout_ref.model.path == recipe.model.path
    assert config.data.train_files == "/tmp/a b/'c'/verl/rl-1/train.parquet"
    assert config.actor_rollout_ref.actor.policy_loss.loss_mode == "gppo_ce_gppo"
