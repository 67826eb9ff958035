"""What fits: the largest micro-batch, the longest response, and which keys to change where a recipe does not fit."""

from collections.abc import Iterator
from dataclasses import dataclass

from gppo.config import Recipe, require
from gppo.plan.machine import Machine
from gppo.plan.planner import Plan, largest, on, plan, with_model, with_rl, with_sft

#: The largest token budget that is looked at.
_MOST_TOKENS = 1 << 20
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Room:
    """What would fit with everything else as it is; 0 where nothing does, None where the recipe has no such key.

    Args:
        micro_batch_tokens: the largest token budget, in every stage that has one.
        max_response_tokens: the longest responses, in every stage of RL.
    """

    micro_batch_tokens: int
    max_response_tokens: int | None


def room(found: Plan) -> Room:
    """The largest micro-batch and the longest response that fit."""
    recipe, machine = found.recipe, found.machine
    context = require(recipe, "model").max_context or found.shape.context

    def fits(changed: Recipe) -> bool:
        return plan(changed, machine).fits

    budget = largest(recipe, fits, _with_budget, _MOST_TOKENS)
    if recipe.rl is None:
        return Room(budget, None)
    prompt = max(stage.max_prompt_tokens for stage in recipe.rl.resolved_stages())
    longest = largest(recipe, fits, _with_response, max(context - prompt, 0))
    return Room(budget, longest)


def advice(found: Plan) -> list[str]:
    """One sentence for each change that makes the recipe fit, or that helps most where no change alone does."""
    if found.fits:
        return []
    machine = found.machine
    enough: list[str] = []
    helps: list[str] = []
    for sentence, changed in _changes(found):
        peak = plan(changed, machine).peak
        if peak <= machine.usable:
            enough.append(f"{sentence}: the peak is then {peak / _GIB:.1f} GiB, which fits")
        elif peak < 0.98 * found.peak:
            helps.append(f"{sentence}: the peak falls from {found.peak / _GIB:.1f} to {peak / _GIB:.1f} GiB")
    if enough:
        return enough
    return helps + _together(found)


def _changes(found: Plan) -> Iterator[tuple[str, Recipe]]:
    """Changes of one key each, from those that cost least."""
    recipe, machine = found.recipe, found.machine

    def fits(changed: Recipe) -> bool:
        return plan(changed, machine).fits

    if require(recipe, "model").dtype == "float32":
        yield "set model.dtype: mixed", with_model(recipe, dtype="mixed")
    if require(recipe, "model").dtype != "bfloat16":
        lost = "updates below a 256th of a weight are lost"
        yield f"set model.dtype: bfloat16 ({lost})", with_model(recipe, dtype="bfloat16")
    if not require(recipe, "model").gradient_checkpointing:
        again = "layers then compute their activations again, about a third longer"
        yield f"set model.gradient_checkpointing: true ({again})", with_model(recipe, gradient_checkpointing=True)
    if recipe.rl is not None:
        rows = largest(recipe, fits, _with_rows, recipe.rl.sampler_rows - 1) or 8
        if rows < recipe.rl.sampler_rows:
            yield (
                f"set rl.sampler_rows: {rows} (fewer responses are decoded side by side)",
                with_rl(recipe, sampler_rows=rows),
            )
        if recipe.rl.kl.beta > 0:
            without = recipe.rl.kl.model_copy(update={"beta": 0.0})
            yield "set rl.kl.beta: 0 (no reference model is kept)", with_rl(recipe, kl=without)
    for section in ("rl", "sft"):
        config = getattr(recipe, section)
        if config is None:
            continue
        tokens = largest(recipe, fits, _WITH[section], config.micro_batch_tokens - 1)
        if tokens:
            yield f"set {section}.micro_batch_tokens: {tokens}", _WITH[section](recipe, tokens)
    if recipe.rl is not None:
        longest = max(stage.max_response_tokens for stage in recipe.rl.resolved_stages())
        shorter = largest(recipe, fits, _with_response, longest - 1)
        if shorter:
            yield f"set rl.max_response_tokens: {shorter}", _with_response(recipe, shorter)


def _together(found: Plan) -> list[str]:
    """Where no single key is enough: all that lose nothing but time, then fewer rows, then more devices."""
    recipe, keys = found.recipe, list[str]()
    if require(recipe, "model").dtype == "float32":
        recipe, keys = with_model(recipe, dtype="mixed"), [*keys, "model.dtype: mixed"]
    if not require(recipe, "model").gradient_checkpointing:
        recipe = with_model(recipe, gradient_checkpointing=True)
        keys.append("model.gradient_checkpointing: true")
    machine = found.machine
    for count in _counts(machine):
        wider = on(machine, count)

        def fits(changed: Recipe, wider: Machine = wider) -> bool:
            return plan(changed, wider).fits

        changed, more = recipe, list(keys)
        if recipe.rl is not None and not fits(changed):
            rows = largest(recipe, fits, _with_rows, recipe.rl.sampler_rows)
            changed = with_rl(recipe, sampler_rows=max(rows, 1))
            more.append(f"rl.sampler_rows: {max(rows, 1)}")
        if fits(changed):
            devices = "" if count == machine.count else f"take {count} such devices" + (" and " if more else "")
            keys_said = f"set {', '.join(more)}" if more else ""
            estimate = " (an estimate)" if count > 1 else ""
            return [f"{devices}{keys_said}: together they fit{estimate}"]
    return ["nothing that is planned here makes it fit: take a smaller model, or shorter responses"]


def _counts(machine: Machine) -> list[int]:
    return [machine.count] if machine.device == "cpu" else [n for n in (1, 2, 4, 8, 16, 32, 64) if n >= machine.count]


def _with_budget(recipe: Recipe, tokens: int) -> Recipe:
    for section in ("rl", "sft"):
        if getattr(recipe, section) is not None:
            recipe = _WITH[section](recipe, tokens)
    return recipe


def _with_response(recipe: Recipe, tokens: int) -> Recipe:
    return with_rl(recipe, max_response_tokens=max(tokens, 1))


def _with_rows(recipe: Recipe, rows: int) -> Recipe:
    return with_rl(recipe, sampler_rows=max(rows, 1))


def _rl_budget(recipe: Recipe, tokens: int) -> Recipe:
    return with_rl(recipe, micro_batch_tokens=max(tokens, 1))


def _sft_budget(recipe: Recipe, tokens: int) -> Recipe:
    return with_sft(recipe, micro_batch_tokens=max(tokens, 1))


_WITH = {"rl": _rl_budget, "sft": _sft_budget}
