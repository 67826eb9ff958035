"""The plan of a recipe: for each stage memory at its peaks, work, time; for the run disk and price; what would fit."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gppo.config import Recipe, ResolvedStage, require
from gppo.plan.load import UpdateLoad, rl_update, sampling, sft_update
from gppo.plan.machine import Machine
from gppo.plan.memory import (
    CPU_PROCESS,
    GPU_PROCESS,
    Setup,
    decoding,
    holes,
    host_parts,
    ordered,
    updating,
)
from gppo.plan.shape import BYTES, ModelShape, shape_of
from gppo.plan.work import Work, checkpoint_bytes, rl_work, rollout_bytes, sft_work
from gppo.types import UserError


@dataclass(frozen=True, slots=True)
class Phase:
    """Memory of one device at the peak of a phase.

    Args:
        name: "sampling" or "updating".
        parts: bytes of each part.
    """

    name: str
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Of all parts."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage.

    Args:
        name: "SFT", or the stage's.
        steps: training steps; None where they depend on data that was not read.
        phases: memory of one device.
        host: main memory beside the GPUs, of all of them together; empty on a CPU, where it is part of the phases.
        update: the largest forward pass, and how many there are.
        work: of one step.
    """

    name: str
    steps: int | None
    phases: tuple[Phase, ...]
    host: dict[str, int]
    update: UpdateLoad
    work: Work

    @property
    def peak(self) -> Phase:
        """The phase that needs most."""
        return max(self.phases, key=lambda phase: phase.total)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will need.

    Args:
        recipe: what is planned.
        machine: for which machine.
        shape: of the model.
        stages: in order.
        disk: bytes at the end, by what takes them.
        mean_length: share of the longest that responses and samples have on average, as assumed for time and disk.
        price: of one device for an hour, where it was given.
    """

    recipe: Recipe
    machine: Machine
    shape: ModelShape
    stages: tuple[StagePlan, ...]
    disk: dict[str, int]
    mean_length: float
    price: float | None

    @property
    def peak(self) -> int:
        """Bytes of one device at the highest peak of all stages."""
        return max(stage.peak.total for stage in self.stages)

    @property
    def fits(self) -> bool:
        """Whether every stage fits."""
        return self.peak <= self.machine.usable

    @property
    def seconds(self) -> tuple[float, float] | None:
        """All steps, at best and at worst; None where their number is not known."""
        known = [(stage.steps, stage.work.seconds) for stage in self.stages if stage.steps is not None]
        if len(known) < len(self.stages):
            return None
        return sum(n * s[0] for n, s in known), sum(n * s[1] for n, s in known)

    @property
    def cost(self) -> tuple[float, float] | None:
        """Price of all steps."""
        if self.price is None or self.seconds is None:
            return None
        rate = self.price * self.machine.count / 3600
        return self.seconds[0] * rate, self.seconds[1] * rate


def plan(recipe: Recipe, machine: Machine, *, mean_length: float = 0.5, price: float | None = None) -> Plan:
    """What a recipe's SFT and RL will need.

    Args:
        recipe: with an sft or an rl section.
        machine: where it is to run.
        mean_length: share of the longest length that responses and samples have on average; for time and disk only.
        price: of one device for an hour.

    Raises:
        UserError: there is nothing to plan, or the model's shape is not known.
    """
    if recipe.sft is None and recipe.rl is None:
        raise UserError(f"recipe '{recipe.name}' has neither an sft nor an rl section: there is nothing to plan")
    shape = shape_of(require(recipe, "model"))
    stages: list[StagePlan] = []
    disk: dict[str, int] = {}
    checkpoint = checkpoint_bytes(shape, BYTES[require(recipe, "model").dtype][0])
    if recipe.sft is not None:
        stages.append(_sft(recipe, shape, machine, mean_length))
        disk["SFT checkpoints"] = checkpoint * (recipe.sft.keep_checkpoints + 1)
    if recipe.rl is not None:
        found = [_rl(recipe, stage, shape, machine, mean_length) for stage in recipe.rl.resolved_stages()]
        stages += found
        best = recipe.rl.keep_best if recipe.evaluate else 0
        disk["RL checkpoints"] = checkpoint * (recipe.rl.keep_checkpoints + best + 1)
        if recipe.rl.save_rollouts:
            disk["rollouts"] = sum(rollout_bytes(one.work.sampled) * (one.steps or 0) for one in found)
    return Plan(recipe, machine, shape, tuple(stages), disk, mean_length, price)


def _setup(recipe: Recipe, shape: ModelShape, machine: Machine, *, reference: bool) -> Setup:
    model = require(recipe, "model")
    return Setup(
        shape,
        *BYTES[model.dtype],
        model.gradient_checkpointing,
        machine.device,
        machine.count,
        reference=reference,
        keeps_layers=not recipe.parallel.reshard_after_forward,
    )


def _packed(recipe: Recipe, machine: Machine) -> bool:
    """A GPU's packed attention needs half precision; else rows are padded."""
    return machine.device == "cpu" or require(recipe, "model").dtype != "float32"


def _phases(
    setup: Setup, load: UpdateLoad, phases: dict[str, dict[str, int]], tokens: int
) -> tuple[tuple[Phase, ...], dict[str, int]]:
    host = host_parts(setup, tokens)
    if setup.device == "cpu":  # one memory for all
        phases["updating"]["allocator"] = holes(setup, load, phases["updating"])
        phases = {name: parts | host | {"process": CPU_PROCESS} for name, parts in phases.items()}
        host = {}
    else:
        phases = {name: parts | {"process": GPU_PROCESS} for name, parts in phases.items()}
    return tuple(Phase(name, ordered(parts)) for name, parts in phases.items()), host


def _sft(recipe: Recipe, shape: ModelShape, machine: Machine, mean_length: float) -> StagePlan:
    config, model = require(recipe, "sft"), require(recipe, "model")
    setup = _setup(recipe, shape, machine, reference=False)
    longest = min(config.max_length, model.max_context or shape.context)
    load = sft_update(config, longest, packed=_packed(recipe, machine), ranks=machine.count)
    phases, host = _phases(setup, load, {"updating": updating(setup, load)}, 0)
    work = sft_work(
        shape, config.batch_size, longest * mean_length, machine, checkpointing=model.gradient_checkpointing
    )
    return StagePlan("SFT", config.steps, phases, host, load, work)


def _rl(recipe: Recipe, stage: ResolvedStage, shape: ModelShape, machine: Machine, mean_length: float) -> StagePlan:
    config, model = require(recipe, "rl"), require(recipe, "model")
    setup = _setup(recipe, shape, machine, reference=config.kl.beta > 0)
    load = rl_update(stage, config, packed=_packed(recipe, machine), ranks=machine.count)
    sample = sampling(stage, config, model, machine.device, ranks=machine.count)
    tokens = sample.responses * stage.max_response_tokens
    needs = {"sampling": decoding(setup, sample), "updating": updating(setup, load)}
    phases, host = _phases(setup, load, needs, tokens)
    length = stage.max_response_tokens * mean_length
    work = rl_work(
        shape,
        setup.product,
        sample,
        length,
        stage.group_size,
        stage.epochs,
        machine,
        checkpointing=model.gradient_checkpointing,
    )
    return StagePlan(stage.name, stage.steps, phases, host, load, work)


def largest(recipe: Recipe, fits: Callable[[Recipe], bool], change: Callable[[Recipe, int], Recipe], most: int) -> int:
    """The largest value up to ``most`` with which the recipe fits, 0 where none does; fitting must be monotone."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(change(recipe, middle)):
            low = middle
        else:
            high = middle - 1
    return low


def with_rl(recipe: Recipe, **changed: object) -> Recipe:
    """The recipe with keys of rl changed, of its stages too where they set them; not checked again."""
    rl = recipe.rl
    assert rl is not None
    stages = [
        stage.model_copy(update={key: value for key, value in changed.items() if getattr(stage, key, None) is not None})
        for stage in rl.stages
    ]
    return recipe.model_copy(update={"rl": rl.model_copy(update={**changed, "stages": stages})})


def with_sft(recipe: Recipe, **changed: object) -> Recipe:
    """The recipe with keys of sft changed."""
    assert recipe.sft is not None
    return recipe.model_copy(update={"sft": recipe.sft.model_copy(update=changed)})


def with_model(recipe: Recipe, **changed: object) -> Recipe:
    """The recipe with keys of model changed."""
    return recipe.model_copy(update={"model": require(recipe, "model").model_copy(update=changed)})


def on(machine: Machine, count: int) -> Machine:
    """So many of the same devices."""
    return replace(machine, count=count)
