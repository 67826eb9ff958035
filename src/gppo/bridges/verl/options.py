"""verl's options, group by group: where each key of a recipe goes. Pure, like ``render``."""

from pathlib import Path

from gppo.bridges.verl.jobs import option
from gppo.config import ModelConfig, Recipe, ResolvedStage, RLConfig, VerlConfig, require
from gppo.objectives import DEFAULT_NORMALISATION

#: With a number of steps given, epochs only have to be enough.
ENDLESS = 100_000
_LIBRARY = "gppo.bridges.verl.plugin"
_AGGREGATION = {
    "token_mean": "token-mean",
    "sequence_mean": "seq-mean-token-mean",
    "constant": "seq-mean-token-sum-norm",
}
#: Shards and optimizer to go on from, and the whole model in full precision, which verl's own merger would round.
CONTENTS = ["model", "optimizer", "extra", "hf_model"]
#: A rehearsal needs no eight loaders and eight stores.
_FEWER_PROCESSES = [
    option("data.dataloader_num_workers", 0),
    option("transfer_queue.backend.SimpleStorage.num_data_storage_units", 1),
]
_KL = {"k1": "kl", "k2": "mse", "k3": "low_var_kl"}


def tokens_per_gpu(budget: int, longest: int, cluster: VerlConfig) -> int:
    """A forward pass, which must hold the longest sequence, is shared by ``sequence_parallel`` GPUs."""
    return -(-max(budget, longest) // cluster.sequence_parallel)


#: The entry point of gppo is found by itself, but an error in it is swallowed; this way it is not.
PLATFORM = {"VERL_PLATFORM": "cpu", "VERL_USE_EXTERNAL_MODULES": "gppo.bridges.verl.cpu"}


def environment(recipe: Recipe, cluster: VerlConfig) -> dict[str, str]:
    """Variables of verl's first process; a local Ray has them from it."""
    found = {"RAY_ADDRESS": cluster.address or "local"}  # without it Ray joins whatever cluster it finds
    if recipe.device == "cpu":
        found |= PLATFORM
        if not cluster.address:
            # Ray would start an idle process for each CPU that it is told of; none of them could be used.
            found["RAY_prestart_worker_first_driver"] = "0"
    return found


def data_options(recipe: Recipe, stage: ResolvedStage, folder: Path) -> list[str]:
    """What is read, and how much of it a step takes."""
    file = folder / "train.parquet"
    return [
        option("data.train_files", file),
        option("data.val_files", file),  # must be there; it is never used
        option("data.val_max_samples", 1),
        option("data.train_batch_size", stage.prompts_per_step),
        option("data.max_prompt_length", stage.max_prompt_tokens),
        option("data.max_response_length", stage.max_response_tokens),
        option("data.seed", recipe.seed),
        *(_FEWER_PROCESSES if recipe.device == "cpu" else []),
    ]


def model_options(place: str, recipe: Recipe, path: str) -> list[str]:
    """Which model; ``place`` is where verl wants it."""
    model, cpu = require(recipe, "model"), recipe.device == "cpu"
    return [
        option(f"{place}.path", path),
        option(f"{place}.tokenizer_path", model.tokenizer),
        option(f"{place}.external_lib", _LIBRARY),
        option(f"{place}.enable_gradient_checkpointing", model.gradient_checkpointing),
        option(f"{place}.use_remove_padding", not cpu),
        *([option(f"+{place}.override_config.attn_implementation", "eager")] if cpu else []),
    ]


def engine_options(place: str, model: ModelConfig, cluster: VerlConfig) -> list[str]:
    """FSDP2: precision, sharding, offload."""
    products = "fp32" if model.dtype == "float32" else "bf16"
    precision = {"param_dtype": products, "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
    return [
        option(f"{place}.strategy", "fsdp2"),
        option(f"{place}.model_dtype", "bf16" if model.dtype == "bfloat16" else "fp32"),
        option(f"{place}.dtype", "float32" if model.dtype == "float32" else "bfloat16"),
        option(f"+{place}.mixed_precision", precision),
        option(f"{place}.ulysses_sequence_parallel_size", cluster.sequence_parallel),
        option(f"{place}.param_offload", cluster.offload),
        option(f"{place}.optimizer_offload", cluster.offload),
    ]


def actor_options(recipe: Recipe, config: RLConfig, stage: ResolvedStage, cluster: VerlConfig) -> list[str]:
    """The update: objective, mini-batches, optimizer."""
    actor, objective, optimizer = "actor_rollout_ref.actor", config.objective, config.optimizer
    name = objective.name
    longest = stage.max_prompt_tokens + stage.max_response_tokens
    loss = f"{actor}.policy_loss"
    return [
        option(f"{actor}.strategy", "fsdp2"),
        *engine_options(f"{actor}.fsdp_config", require(recipe, "model"), cluster),
        option(f"{actor}.ppo_mini_batch_size", stage.mini_batch_prompts),
        option(f"{actor}.ppo_epochs", stage.epochs),
        option(f"{actor}.use_dynamic_bsz", True),
        option(f"{actor}.ppo_max_token_len_per_gpu", tokens_per_gpu(config.micro_batch_tokens, longest, cluster)),
        option(f"{actor}.use_torch_compile", recipe.device != "cpu"),
        option(f"{loss}._target_", "gppo.bridges.verl.losses.GppoLossConfig"),
        option(f"{loss}.loss_mode", f"gppo_{name}" if name != "gppo" else "gppo"),
        option(f"+{loss}.params", dict(objective.params)),
        option(f"+{loss}.dual_clip", objective.dual_clip),
        option(f"+{loss}.dual_clip_keep", objective.dual_clip_keep),
        option(f"+{loss}.lm_alpha", config.lm_loss.alpha),
        option(f"{actor}.loss_agg_mode", _AGGREGATION[objective.normalisation or DEFAULT_NORMALISATION[name]]),
        option(f"{actor}.loss_scale_factor", objective.constant_length),
        option(f"{actor}.entropy_coeff", 0),
        option(f"{actor}.use_kl_loss", config.kl.beta > 0),
        option(f"{actor}.kl_loss_coef", config.kl.beta),
        option(f"{actor}.kl_loss_type", _KL[config.kl.estimator]),
        option(f"{actor}.optim.lr", stage.learning_rate),
        option(f"{actor}.optim.lr_scheduler_type", optimizer.schedule),
        option(f"{actor}.optim.min_lr_ratio", optimizer.min_learning_rate / stage.learning_rate),
        option(f"{actor}.optim.lr_warmup_steps", optimizer.warmup_steps),
        option(f"{actor}.optim.weight_decay", optimizer.weight_decay),
        option(f"{actor}.optim.betas", list(optimizer.betas)),
        option(f"{actor}.optim.clip_grad", optimizer.max_grad_norm),
    ]


def rollout_options(recipe: Recipe, stage: ResolvedStage, cluster: VerlConfig) -> list[str]:
    """Sampling, never truncated."""
    rollout, cpu = "actor_rollout_ref.rollout", recipe.device == "cpu"
    return [
        option(f"{rollout}.name", "gppo_cpu" if cpu else cluster.rollout),
        option(f"{rollout}.n", stage.group_size),
        option(f"{rollout}.temperature", stage.temperature),
        option(f"{rollout}.top_p", 1.0),
        option(f"{rollout}.top_k", -1),
        option(f"{rollout}.seed", recipe.seed),
        option(f"{rollout}.dtype", "float32" if require(recipe, "model").dtype == "float32" else "bfloat16"),
        option(f"{rollout}.tensor_model_parallel_size", cluster.rollout_parallel),
        option(f"{rollout}.gpu_memory_utilization", cluster.rollout_memory),
        option(f"{rollout}.max_num_seqs", cluster.rollout_rows),
        option(f"{rollout}.max_model_len", require(recipe, "model").max_context),
        option(f"{rollout}.agent.num_workers", min(8, 1 if cpu else cluster.nodes * 4)),
    ]


def algorithm_options(config: RLConfig) -> list[str]:
    """Groups and advantages; the keys of ``gppo`` are read by our trainer."""
    return [
        option("algorithm.adv_estimator", "grpo"),  # our trainer divides as gppo.advantage_std says
        option("critic.enable", False),
        option("algorithm.filter_groups.enable", config.zero_advantage == "resample"),
        option("algorithm.filter_groups.metric", "reward"),
        option("algorithm.rollout_correction.bypass_mode", config.old_logprobs == "sampled"),
        option("+gppo.advantage_std", config.advantage_std),
        option("+gppo.zero_advantage", config.zero_advantage),
        option("+gppo.correction", config.correction.model_dump()),
    ]


def reward_options(config: RLConfig, cluster: VerlConfig) -> list[str]:
    """Our judges in verl's reward workers."""
    return [
        option("reward.num_workers", cluster.nodes),  # each has reward.judge_workers processes
        option("reward.reward_manager.source", "importlib"),
        option("reward.reward_manager.module.path", "pkg://gppo.bridges.verl.rewards"),
        option("reward.reward_manager.name", "GppoRewardManager"),
        option("+gppo.reward", config.reward.model_dump()),
        option("+gppo.overlong", config.overlong.model_dump()),
    ]


def trainer_options(
    recipe: Recipe, config: RLConfig, stage: ResolvedStage, cluster: VerlConfig, folder: Path, first: int
) -> list[str]:
    """Our trainer, how long it runs and what it leaves in the run folder."""
    return [
        option("trainer.v1.trainer_mode", "gppo"),
        option("trainer.total_epochs", ENDLESS),
        option("trainer.total_training_steps", stage.steps),
        option("trainer.save_freq", config.save_every),
        option("trainer.max_actor_ckpt_to_keep", config.keep_checkpoints),
        option("trainer.val_before_train", False),
        option("trainer.test_freq", -1),
        *where_options(recipe, cluster, folder),
        option("actor_rollout_ref.actor.checkpoint.save_contents", CONTENTS),
        option("+gppo.seed", recipe.seed),
        option("+gppo.stage", stage.name),
        option("+gppo.first", first),
        option("+gppo.rollouts", recipe.folder.absolute() / "rollouts" if config.save_rollouts else None),
        *ray_options(recipe, cluster),
    ]


def where_options(recipe: Recipe, cluster: VerlConfig, folder: Path) -> list[str]:
    """Machines, and the folder of this job."""
    return [
        option("trainer.nnodes", cluster.nodes),
        option("trainer.n_gpus_per_node", cluster.gpus_per_node),
        option("trainer.device", "cpu" if recipe.device == "cpu" else "cuda"),
        option("trainer.project_name", "gppo"),
        option("trainer.experiment_name", recipe.name),
        option("trainer.default_local_dir", folder / "checkpoints"),
        option("trainer.resume_mode", "auto"),
        option("trainer.logger", ["console", *recipe.trackers]),
        option("+gppo.metrics", folder / "metrics.jsonl"),
        option("hydra.run.dir", folder / "hydra"),  # not in the working directory
    ]


def ray_options(recipe: Recipe, cluster: VerlConfig) -> list[str]:
    """A local Ray without GPUs is told of as many as there are to be workers: verl places workers by GPUs."""
    if recipe.device != "cpu":
        return []
    if cluster.address:  # its processes have the environment that Ray was started in
        return [option("+ray_kwargs.ray_init.runtime_env.env_vars", PLATFORM)]
    workers = cluster.nodes * cluster.gpus_per_node
    return [
        option("ray_kwargs.ray_init.num_cpus", 4 * workers + 8),
        option("+ray_kwargs.ray_init.num_gpus", workers),
        option("+ray_kwargs.ray_init.include_dashboard", False),
    ]
