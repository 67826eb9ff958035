"""Records to the Parquet files that verl reads; what does not fit is left out and counted, as our own engine does."""

import dataclasses
from typing import Any

from gppo.bridges.verl.jobs import Job
from gppo.config import Recipe, require
from gppo.policy import encode_conversation, encode_prompt
from gppo.records import read_conversations, read_problems, write_conversations, write_problems
from gppo.run import RunFolder
from gppo.types import UserError
from gppo.verify.cases import CaseJudge


def convert(job: Job, recipe: Recipe, run: RunFolder, tokenizer: Any) -> dict[str, int]:
    """Write ``job.data``.

    Returns:
        how many records were written and how many are too long.

    Raises:
        UserError: the records cannot be read or judged, or too few are short enough for one step.
        SandboxError: programs cannot be isolated on this machine; verl's others are taken to be like it.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    quarantine = run.path / "quarantine" / f"{job.folder.name}.jsonl"
    if job.kind == "sft":
        config = require(recipe, "sft")
        conversations = read_conversations(job.source, quarantine=quarantine)
        fitting = [c for c in conversations if len(encode_conversation(tokenizer, c.messages)[0]) <= config.max_length]
        _enough(len(fitting), len(conversations), config.batch_size, "sft.batch_size", "sft.max_length")
        return {"written": write_conversations(job.data, fitting), "too_long": len(conversations) - len(fitting)}
    stage = next(stage for stage in require(recipe, "rl").resolved_stages() if stage.name == job.stage)
    problems = read_problems(job.source, quarantine=quarantine)
    short = [p for p in problems if len(encode_prompt(tokenizer, p.prompt)) <= stage.max_prompt_tokens]
    with CaseJudge() as judge:
        judge.prepare(short)
    _enough(len(short), len(problems), stage.prompts_per_step, "rl.prompts_per_step", "max_prompt_tokens")
    numbered = [dataclasses.replace(problem, extra={"index": i}) for i, problem in enumerate(short)]
    return {"written": write_problems(job.data, numbered), "too_long": len(problems) - len(short)}


def _enough(fitting: int, total: int, step: int, key: str, limit: str) -> None:
    if fitting < step:
        raise UserError(
            f"{fitting} of {total} records are within {limit}, fewer than one step takes ({key} {step}); verl does not "
            "draw a record twice in a step: lower the one or raise the other"
        )
