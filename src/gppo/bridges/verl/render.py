"""A recipe as verl's options. Pure: reads no file and needs no verl.

Whatever a recipe can say and verl cannot do is refused with the key's name, never left out in silence.
"""

from gppo.bridges.verl.jobs import Job, option
from gppo.bridges.verl.options import (
    CONTENTS,
    ENDLESS,
    actor_options,
    algorithm_options,
    data_options,
    engine_options,
    environment,
    model_options,
    reward_options,
    rollout_options,
    tokens_per_gpu,
    trainer_options,
    where_options,
)
from gppo.config import Recipe, ResolvedStage, RLConfig, VerlConfig, require
from gppo.objectives import get_objective
from gppo.types import UserError


def render_rl(recipe: Recipe, start: str | None = None) -> list[Job]:
    """One job for each stage of RL, in order; each starts from what the one before left in the run folder.

    Args:
        recipe: with its ``rl`` section; ``verl`` may be absent, its defaults are one machine of eight GPUs.
        start: model folder or hub id that the first stage starts from, ``model.path`` where not given.

    Raises:
        UserError: something that verl cannot do; the sentence names the key.
    """
    config, cluster = require(recipe, "rl"), recipe.verl or VerlConfig()
    _refuse_model(recipe)
    _refuse_rl(config)
    get_objective(config.objective.name, config.objective.params)
    jobs, first, model = [], 0, start or str(require(recipe, "model").path)
    for index, stage in enumerate(config.resolved_stages()):
        _check_sizes(stage, cluster)
        folder = recipe.folder.absolute() / "verl" / f"rl-{index + 1}"
        options = [
            *data_options(recipe, stage, folder),
            *model_options("actor_rollout_ref.model", recipe, model),
            *actor_options(recipe, config, stage, cluster),
            *rollout_options(recipe, stage, cluster),
            *algorithm_options(config),
            *reward_options(config, cluster),
            *trainer_options(recipe, config, stage, cluster, folder, first),
            *cluster.options,
        ]
        jobs.append(
            Job(
                "rl",
                stage.name,
                "gppo.bridges.verl.main_rl",
                tuple(options),
                stage.data,
                folder / "train.parquet",
                folder,
                first,
                stage.steps,
                environment(recipe, cluster),
            )
        )
        first += stage.steps
        model = str(recipe.folder.absolute() / "checkpoints" / "rl" / f"step-{first:06d}")
    return jobs


def render_sft(recipe: Recipe) -> Job:
    """The job of supervised fine-tuning. Errors as ``render_rl``."""
    config, cluster = require(recipe, "sft"), recipe.verl or VerlConfig()
    _refuse_model(recipe)
    if config.epochs is not None and config.epochs != int(config.epochs):
        raise UserError(f"sft.epochs {config.epochs:g}: verl takes whole epochs; give sft.steps instead")
    ranks = _ranks(cluster)
    if config.batch_size % ranks:
        raise UserError(f"sft.batch_size {config.batch_size} does not divide over {_ranks_shown(cluster)}")
    folder = recipe.folder.absolute() / "verl" / "sft"
    optimizer = config.optimizer
    options = [
        option("data.train_files", folder / "train.parquet"),
        option("data.train_batch_size", config.batch_size),
        option("data.max_length", config.max_length),
        option("data.use_dynamic_bsz", True),
        option("data.max_token_len_per_gpu", tokens_per_gpu(config.micro_batch_tokens, config.max_length, cluster)),
        option("data.custom_cls.path", "pkg://gppo.bridges.verl.conversations"),
        option("data.custom_cls.name", "Conversations"),
        *model_options("model", recipe, str(require(recipe, "model").path)),
        *engine_options("engine", require(recipe, "model"), cluster),
        option("optim.lr", optimizer.learning_rate),
        option("optim.lr_scheduler_type", optimizer.schedule),
        option("optim.min_lr_ratio", optimizer.min_learning_rate / optimizer.learning_rate),
        option("optim.lr_warmup_steps", optimizer.warmup_steps),
        option("optim.weight_decay", optimizer.weight_decay),
        option("optim.betas", list(optimizer.betas)),
        option("optim.clip_grad", optimizer.max_grad_norm),
        option("trainer.total_epochs", int(config.epochs) if config.epochs else ENDLESS),
        option("trainer.total_training_steps", config.steps),
        option("trainer.save_freq", config.save_every or -1),
        option("trainer.max_ckpt_to_keep", config.keep_checkpoints),
        option("trainer.seed", recipe.seed),
        *where_options(recipe, cluster, folder),
        option("checkpoint.save_contents", CONTENTS),
        *cluster.options,
    ]
    return Job(
        "sft",
        "sft",
        "gppo.bridges.verl.main_sft",
        tuple(options),
        config.data,
        folder / "train.parquet",
        folder,
        0,
        config.steps,
        environment(recipe, cluster),
    )


def _refuse_model(recipe: Recipe) -> None:
    model = require(recipe, "model")
    if model.tiny is not None:
        raise UserError("model.tiny: verl loads models from a folder or the hub; give model.path")
    if model.tokenizer == "bytes":
        raise UserError("model.tokenizer 'bytes': verl loads tokenizers from a folder or the hub; name one")
    if model.lora is not None:
        raise UserError("model.lora: adapters are trained by the local engine only; take it out, or use --engine local")
    if model.yarn is not None:
        raise UserError("model.yarn: verl's samplers take a longer context from config.json only; write it there")
    if recipe.threads is not None:
        raise UserError("threads: verl's workers choose their own; remove it, or set OMP_NUM_THREADS")


def _refuse_rl(config: RLConfig) -> None:
    if config.evaluate_every:
        raise UserError(
            "rl.evaluate_every: verl does not evaluate by our judges while it trains; set it to 0 and run `gppo eval` "
            "afterwards"
        )
    if config.lm_loss.include_dropped_groups:
        raise UserError(
            "rl.lm_loss.include_dropped_groups: groups that are dropped never reach verl's workers; unset it"
        )
    if config.overlong.filter:
        raise UserError(
            "rl.overlong.filter: verl counts truncated responses in its mean over tokens; use overlong.soft_buffer"
        )
    if config.kl.beta and len(config.stages) > 1:
        raise UserError(
            "rl.kl.beta: with verl the reference of a stage is the model that the stage starts from, and this recipe "
            "has several stages; give each stage a recipe of its own"
        )


def _check_sizes(stage: ResolvedStage, cluster: VerlConfig) -> None:
    gpus = cluster.nodes * cluster.gpus_per_node
    if gpus % cluster.rollout_parallel:
        raise UserError(f"verl.rollout_parallel {cluster.rollout_parallel} does not divide {gpus} GPUs")
    rows = stage.mini_batch_prompts * stage.group_size
    if rows % _ranks(cluster):
        raise UserError(
            f"stage '{stage.name}': mini_batch_prompts x group_size is {rows} responses, which do not divide over "
            f"{_ranks_shown(cluster)}; raise verl.sequence_parallel, or take fewer GPUs"
        )


def _ranks(cluster: VerlConfig) -> int:
    gpus = cluster.nodes * cluster.gpus_per_node
    if gpus % cluster.sequence_parallel:
        raise UserError(f"verl.sequence_parallel {cluster.sequence_parallel} does not divide {gpus} GPUs")
    return gpus // cluster.sequence_parallel


def _ranks_shown(cluster: VerlConfig) -> str:
    return (
        f"{_ranks(cluster)} data-parallel ranks (verl.nodes {cluster.nodes} x gpus_per_node {cluster.gpus_per_node} / "
        f"sequence_parallel {cluster.sequence_parallel})"
    )
