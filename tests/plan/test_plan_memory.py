"""Parts of a plan against numbers computed by hand, and the whole against a real process."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gppo.config import Recipe
from gppo.plan import here, plan
from gppo.plan.load import SampleLoad, UpdateLoad
from gppo.plan.memory import (
    RECORD_BYTES,
    Setup,
    activation_bytes,
    decoding,
    gathered_bytes,
    head_bytes,
    host_parts,
    layer_bytes,
    updating,
)
from gppo.plan.shape import ModelShape

#: Two layers, two query heads and one key head of width 4.
SMALL = ModelShape(vocabulary=10, hidden=8, intermediate=24, layers=2, heads=2, kv_heads=1, head_dim=4)
LOAD = UpdateLoad(tokens=100, learned=90, passes=1, total=100, over=False)


def test_parameters_by_hand():
    # q 8*8, k and v 8*4 each, o 8*8, MLP 3*8*24, two norms of 8, two head norms of 4.
    assert SMALL.layer_parameters == 64 + 32 + 32 + 64 + 576 + 16 + 8
    assert SMALL.parameters == 80 + 2 * 792 + 8
    assert replace(SMALL, tied=False).parameters == SMALL.parameters + 80
    assert replace(SMALL, head_norms=False, kv_bias=True).layer_parameters == 792 - 8 + 16


def test_what_a_layer_keeps_by_hand():
    # float32: norms 2*3*8, head norms 2*(8+4), q 8, k 4, v 4, out 8, MLP 4*24; and two log-normalisers.
    assert layer_bytes(Setup(SMALL, 4, 4)) == 4 * (48 + 24 + 24 + 96) + 8
    # bfloat16: norms 2*8 bytes a channel, head norms 6, the rest 2.
    assert layer_bytes(Setup(SMALL, 2, 2)) == 16 * 8 + 6 * 12 + 2 * 24 + 2 * 96 + 8


def test_mixed_precision_keeps_wide_norms_and_a_low_copy_of_the_weights():
    mixed, low = Setup(SMALL, 4, 2), Setup(SMALL, 2, 2)
    assert layer_bytes(mixed) == layer_bytes(low) + 10 * 8
    assert updating(mixed, LOAD)["weights"] == (4 + 2) * SMALL.parameters
    assert updating(mixed, LOAD)["optimizer"] == 2 * 4 * SMALL.parameters
    load = SampleLoad(rows=3, slots=9, columns=21, prompts=1, prompt_tokens=4, responses=3)
    assert decoding(mixed, load)["KV cache"] == decoding(low, load)["KV cache"]


def test_checkpointing_keeps_inputs_and_one_layer():
    whole = Setup(SMALL, 4, 4)
    again = replace(whole, checkpointing=True)
    layer, last, backward = layer_bytes(whole), 96, 4 * (48 + 16)
    assert activation_bytes(whole, 100) == 100 * (2 * layer + last)
    assert activation_bytes(again, 100) == 100 * (2 * 32 + last + layer + backward)


def test_the_head_by_hand():
    # One chunk: three float32 of 90 x 10; the weight's gradient; hidden states and theirs.
    assert head_bytes(Setup(SMALL, 4, 4), LOAD) == 90 * 10 * 12 + 80 * 4 + 2 * 90 * 8 * 4
    # 2^24 // 2^20 rows make a chunk, so there are several: four float32 of 16 rows.
    wide = Setup(replace(SMALL, vocabulary=1 << 20), 4, 4)
    assert head_bytes(wide, LOAD) == 16 * (1 << 20) * 16 + (8 << 20) * 4 + 2 * 90 * 8 * 4


def test_gradients_are_there_during_later_passes_only():
    setup = Setup(SMALL, 4, 4)
    one, two = updating(setup, LOAD), updating(setup, replace(LOAD, passes=2))
    assert two["gradients"] >= setup.weights > one["gradients"]
    assert one["optimizer"] == 2 * one["weights"] == 2 * 4 * SMALL.parameters


def test_the_cache_by_hand():
    load = SampleLoad(rows=3, slots=9, columns=21, prompts=1, prompt_tokens=4, responses=3)
    # Two layers, keys and values, one head of 4, float32; and half of one layer's keys while it grows.
    assert decoding(Setup(SMALL, 4, 4), load)["KV cache"] == 9 * 21 * (2 * 2 * 4 * 4) + 9 * 21 * 4 * 4 // 2


def test_sharding_divides_what_is_held():
    held = updating(replace(Setup(SMALL, 2, 2, device="cuda"), ranks=4), LOAD)
    assert held["weights"] == SMALL.parameters * 2 // 4
    assert held["optimizer"] == SMALL.parameters * 2 * 2 // 4


def test_what_ranks_gather_by_hand():
    deep = replace(SMALL, layers=6)
    mixed = Setup(deep, 4, 2, checkpointing=True, device="cuda", ranks=4)
    # A layer, the next one twice, a gradient twice, in float32; one layer's bfloat16 copies; embedding and head.
    assert gathered_bytes(mixed) == 5 * 792 * 4 + 792 * 2 + 80 * 4
    assert gathered_bytes(replace(mixed, keeps_layers=True)) == 9 * 792 * 4 + 792 * 2 + 80 * 4
    assert gathered_bytes(replace(mixed, shape=replace(deep, tied=False))) == gathered_bytes(mixed) + 80 * 4
    # Without recomputation the backward keeps every layer's copies.
    assert updating(mixed, LOAD)["weights"] == deep.parameters * 4 // 4
    assert updating(replace(mixed, checkpointing=False), LOAD)["weights"] == deep.parameters * (4 // 4 + 2)


def test_ranks_sample_from_a_whole_copy():
    load = SampleLoad(rows=3, slots=9, columns=21, prompts=1, prompt_tokens=4, responses=3)
    mixed, whole = Setup(SMALL, 4, 2, device="cuda", ranks=4), SMALL.parameters
    # A quarter; matrices in bfloat16, the tied head among them; the embedding in float32.
    assert decoding(mixed, load)["weights"] == whole + 2 * whole + 80 * 4
    untied = replace(SMALL, tied=False)
    assert decoding(replace(mixed, shape=untied), load)["weights"] == 3 * untied.parameters + 80 * 2
    assert decoding(replace(mixed, product=4), load)["weights"] == whole + 4 * whole
    host = host_parts(mixed, 1000)
    assert host == {"checkpoint copy": 12 * whole, "records": 4 * RECORD_BYTES * 1000, "loading": 16 * whole}


def recipe(**rl: object) -> Recipe:
    stages = [{"name": "math", "data": "none", "steps": 3}]
    sizes = {"prompts_per_step": 8, "group_size": 4, "mini_batch_prompts": 4, "max_prompt_tokens": 100}
    return Recipe.model_validate(
        {
            "name": "r",
            "model": {"path": "Qwen/Qwen3-0.6B", "dtype": "bfloat16"},
            "rl": {"stages": stages, "max_response_tokens": 400, **sizes, **rl},
        }
    )


@pytest.mark.parametrize("key", ["max_response_tokens", "sampler_rows", "mini_batch_prompts"])
def test_more_of_anything_never_takes_less(key):
    machine = replace(here("cpu"), device="cuda")
    stages = [plan(recipe(**{key: value}), machine).stages[0] for value in (2, 4, 8)]
    peaks = [sum(phase.total for phase in stage.phases) for stage in stages]
    assert peaks == sorted(peaks)
    assert peaks[-1] > peaks[0]


BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "plan.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deep", "SFT"])
def test_a_real_process_takes_what_is_predicted(tmp_path, monkeypatch, name):
    # Every larger tensor in pages of its own: what is resident is then what is alive.
    monkeypatch.syspath_prepend(BENCHMARK.parent)
    spec = importlib.util.spec_from_file_location("benchmark_plan", BENCHMARK)
    assert spec is not None
    benchmark = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(benchmark)
    path = benchmark.recipe_of(name, tmp_path)
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(1 << 18))
    done = subprocess.run(
        [sys.executable, BENCHMARK, "--measure", path], capture_output=True, text=True, check=True, timeout=200
    )
    measured = max(json.loads(done.stdout.splitlines()[-1]).values())
    [stage] = benchmark.plan(benchmark.load_recipe(path), here("cpu")).stages
    predicted = stage.peak.total - stage.peak.parts["allocator"]
    assert abs(predicted / measured - 1) < 0.25
