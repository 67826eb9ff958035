"""A plan for the eye: a bar of memory for each stage, tables, sentences; and as plain values for programs."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gppo.config import require
from gppo.plan.fit import Room
from gppo.plan.memory import PARTS
from gppo.plan.planner import Plan, StagePlan

_COLOURS = dict(
    zip(
        PARTS,
        (
            "blue",
            "cyan",
            "magenta",
            "bright_blue",
            "green",
            "yellow",
            "red",
            "bright_red",
            "bright_black",
            "white",
            "bright_yellow",
            "bright_white",
        ),
        strict=True,
    )
)
#: A letter for each part, so that the bar can be read without colours.
_LETTERS = dict(zip(PARTS, "WGORALKDCSHP", strict=True))
_WIDTH = 60


def rendered(plan: Plan, room: Room, advice: list[str]) -> Group:
    """The plan for the terminal."""
    lines: list[RenderableType] = [Text(sentence) for sentence in _head(plan)]
    for stage in plan.stages:
        lines += [Text(), Text(_title(stage), style="bold"), *_bars(plan, stage), _memory(stage)]
        lines += [Text(sentence) for sentence in _work(stage)]
    lines += [Text(), *(Text(sentence) for sentence in (*_totals(plan), *_room(plan, room)))]
    lines += [Text(f"- {sentence}") for sentence in advice]
    return Group(*lines, Text(), *(Text(sentence, style="dim") for sentence in _assumptions(plan)))


def as_json(plan: Plan, room: Room, advice: list[str]) -> dict[str, Any]:
    """The plan as plain values: bytes, seconds, the currency of the price."""
    machine = plan.machine
    return {
        "recipe": plan.recipe.name,
        "machine": {"name": machine.name, "count": machine.count, "memory": machine.memory, "usable": machine.usable},
        "parameters": plan.shape.parameters,
        "fits": plan.fits,
        "measured_model": machine.device == "cpu",
        "stages": [
            {
                "name": stage.name,
                "steps": stage.steps,
                "memory": {phase.name: phase.parts for phase in stage.phases},
                "peak": stage.peak.total,
                "host": stage.host,
                "pass_tokens": stage.update.tokens,
                "passes_an_update": stage.update.passes,
                "tokens_sampled": stage.work.sampled,
                "tokens_learned": stage.work.learned,
                "flops": stage.work.flops_sample + stage.work.flops_update,
                "seconds_a_step": stage.work.seconds,
            }
            for stage in plan.stages
        ],
        "disk": plan.disk,
        "seconds": plan.seconds,
        "price": plan.cost,
        "largest_micro_batch_tokens": room.micro_batch_tokens,
        "longest_response_tokens": room.max_response_tokens,
        "advice": advice,
        "assumptions": list(_assumptions(plan)),
    }


def size(count: float) -> str:
    """Bytes for people."""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count / 2**20:.0f} MiB"


def duration(seconds: float) -> str:
    """Seconds for people."""
    for unit, factor in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.1f} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def _head(plan: Plan) -> Iterator[str]:
    machine, shape = plan.machine, plan.shape
    yield (
        f"{plan.recipe.name}: {shape.parameters / 1e9:.2f}B parameters in {require(plan.recipe, 'model').dtype}, on "
        f"{machine.count} x {machine.name} with {size(machine.memory)} each"
    )
    if not shape.known:
        yield "The model's layers are none of Llama's, Qwen2's or Qwen3's: they are estimated as if they were."


def _title(stage: StagePlan) -> str:
    load = stage.update
    passes = "one pass" if load.passes == 1 else f"{load.passes} passes"
    return f"{stage.name}: {passes} an update, the largest of {load.tokens:,} tokens"


def _bars(plan: Plan, stage: StagePlan) -> Iterator[Text]:
    """One cell for a sixtieth of what is larger: the peak, or what a device holds."""
    whole = max(plan.machine.usable, stage.peak.total)
    for phase in stage.phases:
        bar, filled = Text(f"{phase.name:>9} "), 0.0
        for part, count in phase.parts.items():
            before, filled = filled, filled + _WIDTH * count / whole
            bar.append(_LETTERS[part] * (round(filled) - round(before)), style=f"black on {_COLOURS[part]}")
        bar.append("." * (_WIDTH - round(filled)))
        verdict = "fits" if phase.total <= plan.machine.usable else "does not fit"
        yield bar.append(f" {size(phase.total)}, {verdict}")


def _memory(stage: StagePlan) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="italic")
    table.add_column("memory of one device")
    for phase in stage.phases:
        table.add_column(phase.name, justify="right")
    for part in PARTS:
        counts = [phase.parts.get(part, 0) for phase in stage.phases]
        if any(counts):
            table.add_row(f"{_LETTERS[part]} {part}", *(size(count) if count else "" for count in counts))
    return table


def _work(stage: StagePlan) -> Iterator[str]:
    work = stage.work
    if stage.host:
        parts = ", ".join(f"{name} {size(count)}" for name, count in stage.host.items() if count)
        yield f"Main memory beside the GPUs: {parts}."
    sampled = f"{work.sampled:,} tokens sampled, " if work.sampled else ""
    flops = work.flops_sample + work.flops_update
    yield f"A step: {sampled}{work.learned:,} tokens learned from, {flops:.2g} FLOPs, {_range(work.seconds)}" + (
        f" (sampling {_range(work.seconds_sample)}, updating {_range(work.seconds_update)})." if work.sampled else "."
    )


def _totals(plan: Plan) -> Iterator[str]:
    parts = ", ".join(f"{name} {size(count)}" for name, count in plan.disk.items())
    yield f"Disk: {parts}."
    if plan.seconds is not None:
        steps = sum(stage.steps or 0 for stage in plan.stages)
        cost = ""
        if plan.cost is not None:
            cost = f", at {plan.price:g} a device and hour {plan.cost[0]:,.0f} to {plan.cost[1]:,.0f}"
        yield f"All {steps:,} steps: {_range(plan.seconds)}{cost}."
    else:
        yield "How long all of it takes depends on the number of samples: give sft.steps to have it."


def _room(plan: Plan, room: Room) -> Iterator[str]:
    budget = f"{room.micro_batch_tokens:,}" if room.micro_batch_tokens else "none"
    longest = ""
    if room.max_response_tokens is not None:
        longest = f"; the longest response: {room.max_response_tokens or 'none'}"
    yield f"With all else as it is, the largest micro_batch_tokens that fits: {budget}{longest}."
    yield "It fits." if plan.fits else "It does not fit. What to change:"


def _assumptions(plan: Plan) -> Iterator[str]:
    machine = plan.machine
    yield (
        f"Memory is the worst case: every response at its limit. Time and disk assume {plan.mean_length:.0%} of it on "
        "average, and that every row is learned from."
    )
    (low, high), (slow, fast) = machine.mfu, machine.reach
    yield (
        f"Time assumes {low:.0%} to {high:.0%} of {machine.flops / 1e12:.3g} TFLOP/s and, for decoding, {slow:.0%} to "
        f"{fast:.0%} of {machine.bandwidth / 1e12:.3g} TB/s a device ({machine.assumed})."
    )
    if require(plan.recipe, "model").lora is not None:
        yield "model.lora is not planned yet: this is what training every weight would need, which is more."
    if plan.recipe.rl is not None and plan.recipe.rl.sampler == "vllm":
        yield "vLLM is not planned: sampling is shown as this process would do it; vLLM takes vllm.memory_share."
    if machine.device == "cuda":
        yield "The model of memory was measured on CPUs; on GPUs it is an estimate."
    if machine.count > 1:
        yield (
            "Several GPUs: an estimate of torchrun's ranks (docs/parallel.md), of which each has a whole copy of the "
            "weights while it samples; nothing of it was measured. parallel.offload is not planned."
        )


def _range(seconds: tuple[float, float]) -> str:
    return f"{duration(seconds[0])} to {duration(seconds[1])}"
