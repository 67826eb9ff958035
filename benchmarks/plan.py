"""Peak memory as `gppo plan` predicts it beside what the engine takes, for six shapes of model and work on a CPU.

    python benchmarks/plan.py [--case NAME ...] [--limit 0.15]

Each case is a fresh process: two RL steps of the real loop (sampler, judge, update, checkpoints) or two steps of SFT,
at the lengths that the plan reckons with: every response reaches its limit. Measured is the peak of the resident memory
(VmHWM), less what is resident once everything is imported. Each case runs twice: as it is, and with every larger tensor
in pages of its own (MALLOC_MMAP_THRESHOLD_), where what is resident is what is alive: holes in glibc's heap are the
difference. Prints a table and one line of JSON.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from gppo.config import load_recipe, require
from gppo.plan import here, plan

RL = {
    "prompts_per_step": 8,
    "group_size": 4,
    "mini_batch_prompts": 4,
    "learning_rate": 1e-5,
    "sampler_rows": 32,
    "zero_advantage": "keep",
    "reward": {"require_thinking": False},
}
#: name -> (vocabulary, model, rl or sft); every number that the prediction depends on is here.
CASES: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "deep": (
        24,
        {"tiny": {"hidden_size": 128, "layers": 12, "heads": 8, "kv_heads": 4}},
        {**RL, "max_prompt_tokens": 16, "max_response_tokens": 128, "micro_batch_tokens": 4096},
    ),
    "wide, checkpointing": (
        512,
        {"tiny": {"hidden_size": 512, "layers": 3, "heads": 8, "kv_heads": 2}, "gradient_checkpointing": True},
        {**RL, "max_prompt_tokens": 32, "max_response_tokens": 128, "micro_batch_tokens": 1620},
    ),
    "large vocabulary, tied": (
        32_768,
        {"tiny": {"hidden_size": 256, "layers": 3, "heads": 4, "kv_heads": 2}},
        {**RL, "max_prompt_tokens": 32, "max_response_tokens": 48, "micro_batch_tokens": 440},
    ),
    "bfloat16, untied": (
        16_384,
        {
            "tiny": {"hidden_size": 256, "layers": 6, "heads": 4, "kv_heads": 4, "tie_embeddings": False},
            "dtype": "bfloat16",
        },
        {**RL, "max_prompt_tokens": 32, "max_response_tokens": 64, "micro_batch_tokens": 568},
    ),
    "mixed precision": (
        512,
        {"tiny": {"hidden_size": 256, "layers": 8, "heads": 4, "kv_heads": 4}, "dtype": "mixed"},
        {**RL, "max_prompt_tokens": 32, "max_response_tokens": 64, "micro_batch_tokens": 568},
    ),
    "long responses in pairs": (
        24,
        {"tiny": {"hidden_size": 192, "layers": 6, "heads": 6, "kv_heads": 6}},
        {
            **RL,
            "prompts_per_step": 4,
            "group_size": 2,
            "mini_batch_prompts": 2,
            "max_prompt_tokens": 16,
            "max_response_tokens": 600,
            "micro_batch_tokens": 1300,
        },
    ),
    "SFT": (
        8192,
        {"tiny": {"hidden_size": 256, "layers": 4, "heads": 8, "kv_heads": 2}},
        {"batch_size": 8, "max_length": 512, "micro_batch_tokens": 2048},
    ),
}


def recipe_of(name: str, folder: Path) -> Path:
    """The case as a recipe, with a tokenizer of its vocabulary beside it."""
    import yaml

    from world import characters

    vocabulary, model, work = CASES[name]
    characters().save_pretrained(folder)
    tokens = json.loads((folder / "tokenizer.json").read_text())
    words = tokens["model"]["vocab"]
    words |= {f"<{i}>": i for i in range(len(words), vocabulary)}
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    content: dict[str, Any] = {"name": "plan", "run_dir": str(folder / "run"), "device": "cpu", "threads": 1}
    if "batch_size" in work:
        context = work["max_length"]
        content["sft"] = {"data": "none", "steps": 2, "save_every": 1, **work}
    else:
        context = work["max_prompt_tokens"] + work["max_response_tokens"]
        content["rl"] = {"stages": [{"name": "math", "data": "none", "steps": 2}], "save_every": 1, **work}
    content["model"] = {"tokenizer": str(folder), "max_context": context, **model}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def resident(mark: str) -> int:
    """Bytes: VmRSS is what there is now, VmHWM the most there was since the mark was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(mark))


class Peaks:
    """The peak of each phase, above what was there at the beginning."""

    def __init__(self) -> None:
        self.base = resident("VmRSS")
        self.phase = "sampling"
        self.found: dict[str, int] = {}

    def enter(self, phase: str) -> None:
        """Note the peak of the phase before, and begin another."""
        self.found[self.phase] = max(self.found.get(self.phase, 0), resident("VmHWM") - self.base)
        self.phase = phase
        Path("/proc/self/clear_refs").write_text("5")


class AlternateJudge:
    """Responses that reach their limit are never right; that every second has no answer gives groups an advantage."""

    def submit(self, problem: Any, rollout: Any, prompt_opened: bool) -> Future:
        from gppo.types import Verdict

        verdict: Future = Future()
        verdict.set_result(Verdict("unparsable" if rollout.sample % 2 else "wrong", 0.0))
        return verdict


def measure(path: Path) -> dict[str, int]:
    """Run the recipe in this process; bytes at the peak of each phase."""
    import logging

    import numpy as np

    from gppo.policy import load_policy
    from gppo.policy.chat import encode_prompt
    from gppo.policy.device import choose_device
    from gppo.rl.loop import Watch, train_rl
    from gppo.rollout import LocalSampler
    from gppo.run import RunFolder
    from gppo.sft import Sample, train_sft
    from gppo.types import Problem

    logging.disable(logging.WARNING)
    recipe = load_recipe(path)
    choose_device("cpu", recipe.threads)
    import gppo.rl.stage  # what the command imports  # noqa: F401

    peaks = Peaks()
    policy = load_policy(require(recipe, "model"), seed=0)
    policy.stop_ids = (len(policy.tokenizer),)  # never said: every response reaches its limit
    run = RunFolder.create(recipe.folder, path.read_text())
    peaks.enter("sampling")
    if recipe.rl is not None:
        stage = recipe.rl.resolved_stages()[0]
        around = len(encode_prompt(policy.tokenizer, ({"role": "user", "content": ""},)))
        texts = [str(10 + i) + "." * (stage.max_prompt_tokens - around - 2) for i in range(stage.prompts_per_step)]
        problems = [Problem(str(i), ({"role": "user", "content": text},), "math", "0") for i, text in enumerate(texts)]

        def on_phase(what: str, _done: int, _total: int) -> None:
            peaks.enter(what)

        def on_step(*_: Any) -> None:
            peaks.enter("sampling")

        sampler = LocalSampler(policy, recipe.rl.sampler_rows, calls=2)
        train_rl(
            policy,
            sampler,
            AlternateJudge(),
            {stage.name: problems},
            recipe.rl,
            run,
            seed=0,
            watch=Watch(on_step, on_phase),
        )
    else:
        config, rng = recipe.sft, np.random.default_rng(0)
        assert config is not None
        peaks.enter("updating")
        rows = [rng.integers(24, size=config.max_length) for _ in range(2 * config.batch_size)]
        samples = [Sample(row, np.ones(len(row), dtype=bool)) for row in rows]
        train_sft(policy, samples, config, run, seed=0)
    peaks.enter("end")
    return peaks.found


def run(path: Path, *, live: bool) -> dict[str, int]:
    """The case in a fresh process; ``live``: with every larger tensor in pages of its own, so that no hole is kept."""
    shutil.rmtree(path.parent / "run", ignore_errors=True)  # a run that is there would only go on
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({"MALLOC_MMAP_THRESHOLD_": str(1 << 18)} if live else {})
    command = [sys.executable, __file__, "--measure", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def compare(name: str) -> dict[str, Any]:
    """Predicted and measured MiB of a case: resident, and alive."""
    with tempfile.TemporaryDirectory() as folder:
        path = recipe_of(name, Path(folder))
        [stage] = plan(load_recipe(path), here("cpu")).stages
        resident_peak = max(run(path, live=False).values())
        alive_peak = max(run(path, live=True).values())
    predicted, holes = stage.peak.total, stage.peak.parts.get("allocator", 0)
    return {
        "case": name,
        "predicted": predicted / 2**20,
        "measured": resident_peak / 2**20,
        "error": predicted / resident_peak - 1,
        "alive predicted": (predicted - holes) / 2**20,
        "alive measured": alive_peak / 2**20,
        "alive error": (predicted - holes) / alive_peak - 1,
        "parts": {part: round(size / 2**20, 1) for part, size in stage.peak.parts.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--limit", type=float, default=0.15, help="exit status 1 where an error is larger")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    heads = ("predicted", "measured", "error", "alive predicted", "alive measured", "alive error")
    print(f"{'MiB at the peak':26}" + "".join(f"{head:>17}" for head in heads))
    found = []
    for name in options.case or CASES:
        found.append(compare(name))
        cells = [f"{found[-1][head]:17.1%}" if "error" in head else f"{found[-1][head]:17.0f}" for head in heads]
        print(f"{name:26}" + "".join(cells), flush=True)
    from world import machine

    line = {"benchmark": "plan", "unit": "MiB", "results": found, "machine": machine()}
    print(json.dumps(line))
    if max(abs(one["error"]) for one in found) > options.limit:
        sys.exit(1)


if __name__ == "__main__":
    main()
