from pathlib import Path

import pytest

from gppo.config import OptimizerConfig, Recipe, dump_recipe, load_recipe, require
from gppo.types import UserError

MINIMAL = "name: t\nmodel: {path: m}\n"
FULL = """\
name: t
seed: 3
model: {tiny: {hidden_size: 64, heads: 4}, tokenizer: bytes}
sft: {data: sft.jsonl, steps: 5}
rl:
  learning_rate: 1e-6
  stages:
    - {name: math, data: data/math.jsonl, steps: 10}
    - {name: code, data: data/code.parquet, steps: 5, learning_rate: 5E-7, prompts_per_step: 64}
evaluate: {sets: [{name: aime, data: aime.parquet}]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def complaints(folder: Path, text: str, *overrides: str) -> list[str]:
    """The lines of the error, the file's name in place of its path."""
    path = write(folder, text)
    with pytest.raises(UserError) as caught:
        load_recipe(path, overrides)
    return str(caught.value).replace(str(path), "recipe.yaml").splitlines()


def test_values_and_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, FULL))
    assert recipe.seed == 3
    assert recipe.rl is not None
    assert recipe.rl.stages[0].data == Path("data/math.jsonl"), "paths stay as written"
    math, code = recipe.rl.resolved_stages()
    assert (math.learning_rate, code.learning_rate) == (1e-6, 5e-7)
    assert (math.prompts_per_step, code.prompts_per_step) == (128, 64)
    assert recipe.folder == Path("runs/t")


@pytest.mark.parametrize("text", ["1e-6", "1E-6", "1.e-6", "1.0e-6", "+1e-6", "0.1e-5", ".1e-5"])
def test_exponents_are_numbers(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, FULL)
    value = load_recipe(path, [f"rl.objective.params.epsilon_low={text}"]).rl.objective.params["epsilon_low"]
    assert value == pytest.approx(1e-6, rel=1e-12)


@pytest.mark.parametrize("name", ["2025-01-01", "e5", "run-1e", "1.2.3"])
def test_names_that_look_like_something_stay_text(tmp_path: Path, name: str) -> None:
    assert load_recipe(write(tmp_path, f"name: {name}\nmodel: {{path: m}}")).name == name


def test_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    assert complaints(tmp_path, FULL.replace("learning_rate: 1e-6", "learning_rat: 1e-6")) == [
        "recipe.yaml: rl.learning_rat: unknown key; did you mean 'learning_rate'?"
    ]


def test_unknown_key_is_compared_with_what_is_valid_at_its_place(tmp_path: Path) -> None:
    inside_stage = FULL.replace("steps: 10}", "step: 10, steps: 10}")
    assert complaints(tmp_path, inside_stage) == ["recipe.yaml: rl.stages.0.step: unknown key; did you mean 'steps'?"]
    assert complaints(tmp_path, MINIMAL + "sampling: 3\n") == [
        "recipe.yaml: sampling: unknown key; valid keys here: "
        "name, seed, run_dir, device, threads, trackers, model, curate, distill, sft, rl, evaluate, parallel, verl, "
        "vllm"
    ]


def test_all_errors_are_listed(tmp_path: Path) -> None:
    text = "seed: -1\nmodel: {path: m, dtype: float16}\nrl: {stages: [{name: a, steps: 0}], group_size: many}\nsft: 3\n"
    assert complaints(tmp_path, text) == [
        "recipe.yaml: name: missing; give it a value (Names the run and its folder.)",
        "recipe.yaml: seed: should be greater than or equal to 0, got -1",
        "recipe.yaml: model.dtype: should be 'float32', 'bfloat16' or 'mixed', got 'float16'",
        "recipe.yaml: sft: should be a section with keys of its own, got 3",
        "recipe.yaml: rl.group_size: should be a valid integer, unable to parse string as an integer, got 'many'",
        "recipe.yaml: rl.stages.0.data: missing; give it a value (JSONL or Parquet of problems.)",
        "recipe.yaml: rl.stages.0.steps: should be greater than or equal to 1, got 0",
    ]


def test_long_values_are_cut_in_messages(tmp_path: Path) -> None:
    (line,) = complaints(tmp_path, MINIMAL + f"threads: {'x' * 500}\n")
    assert line.endswith("xxx...")
    assert len(line) < 200


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("model: {path: m, tiny: {}, tokenizer: bytes}", "model: give exactly one of path"),
        ("model: {tiny: {}}", "model: tiny needs tokenizer"),
        ("model: {tiny: {hidden_size: 65}, tokenizer: bytes}", "model.tiny: hidden_size must be a multiple"),
        ("sft: {data: d}", "sft: give exactly one of epochs and steps"),
        (
            "sft: {data: d, steps: 1, optimizer: {learning_rate: 1e-5}}",
            "sft: optimizer.min_learning_rate 4e-05 is above",
        ),
        ("sft: {data: d, steps: 1, optimizer: {betas: [0.9, 1.0]}}", "sft.optimizer: betas [0.9, 1.0] must lie in"),
        ("sft: {data: d, steps: 1, optimizer: {weight_decay: .inf}}", "sft.optimizer.weight_decay: should be a finite"),
        ("rl: {stages: []}", "rl.stages: List should have at least 1 item"),
        ("rl: {stages: [{name: a, data: d, steps: 1}, {name: a, data: d, steps: 1}]}", "rl: the names of stages must"),
        ("rl: {stages: [{name: a, data: d, steps: 1, group_size: 1}]}", "rl: stage 'a': group_size 1 has no advantage"),
        (
            "rl: {stages: [{name: a, data: d, steps: 1}], prompts_per_step: 8}",
            "rl: stage 'a': mini_batch_prompts 16 is",
        ),
        (
            "rl: {stages: [{name: a, data: d, steps: 1}], optimizer: {learning_rate: 1e-4}}",
            "rl: optimizer.learning_rate has no effect here",
        ),
        (
            "rl: {stages: [{name: a, data: d, steps: 1}], optimizer: {schedule: cosine, min_learning_rate: 1e-5}}",
            "rl: optimizer.min_learning_rate 1e-05 is above the peak 1e-06",
        ),
        (
            "rl: {stages: [{name: a, data: d, steps: 1}], objective: {normalisation: constant}}",
            "rl: objective.normalisation 'constant' needs",
        ),
        (
            "rl: {stages: [{name: a, data: d, steps: 1}], correction: {low: 5}}",
            "rl.correction: low 5 must be below high 5",
        ),
        (
            "evaluate: {sets: [{name: a, data: d}], sampling: [{temperature: 0}]}",
            "evaluate.sampling.0: temperature 0 gives",
        ),
        ("evaluate: {sets: [{name: a, data: d}, {name: a, data: e}]}", "evaluate: the names of sets must differ"),
        (
            "evaluate: {sets: [{name: a, data: d}], sampling: [{}, {k: 4}]}",
            "evaluate: two ways of sampling are the same",
        ),
        (
            "curate: [{name: s, sources: [{name: a, data: d}, {name: a, data: e}], output: o}]",
            "curate.0: the names of sources must",
        ),
        (
            "curate: [{name: s, sources: [{name: a, data: d}], steps: [{step: near_dedup, treshold: 1}], output: o}]",
            "curate.0.steps.0.treshold: unknown key; did you mean 'threshold'?",
        ),
        (
            "curate: [{name: s, sources: [{name: a, data: d}], steps: [{step: decontaminate}], output: o}]",
            "curate.0.steps.0.against: missing; give it a value (Evaluation sets",
        ),
        (
            "curate: [{name: s, sources: [{name: a, data: d}], steps: [{step: exact_dedupe}], output: o}]",
            "curate.0.steps.0: step: there is no 'exact_dedupe'; did you mean 'exact_dedup'?",
        ),
        (
            "curate: [{name: s, sources: [{name: a, data: d}], steps: [{threshold: 1}], output: o}]",
            "curate.0.steps.0: missing the key 'step', which says what it is",
        ),
        (
            "curate: [{name: s, sources: [{name: a, data: d, hub: e}], output: o}]",
            "curate.0.sources.0: give exactly one of data and hub",
        ),
        (
            "curate: [{name: s, sources: [{name: a, data: d, format: math, columns: {prompt: p}}], output: o}]",
            "curate.0.sources.0: give a format or columns, not both",
        ),
        (
            "curate: [{name: s, sources: [{name: a, data: d, columns: {answer: p}}], output: o}]",
            "curate.0.sources.0.columns: name the column of exactly one of prompt and messages",
        ),
    ],
)
def test_contradictions(tmp_path: Path, section: str, reason: str) -> None:
    text = f"name: t\n{section}\n" + ("" if section.startswith("model") else "model: {path: m}\n")
    (line,) = complaints(tmp_path, text)
    assert line.startswith(f"recipe.yaml: {reason}")


def test_context_must_hold_prompt_and_response(tmp_path: Path) -> None:
    text = FULL.replace("tokenizer: bytes}", "tokenizer: bytes, max_context: 1000}")
    (line,) = complaints(tmp_path, text)
    assert line.startswith("recipe.yaml: rl: max_prompt_tokens + max_response_tokens is 32768 in stage 'math'")


def test_part_of_an_optimizer_keeps_the_sections_other_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, FULL), ["sft.optimizer.weight_decay=0", "rl.optimizer.weight_decay=0"])
    assert recipe.sft.optimizer == OptimizerConfig(
        learning_rate=8e-5, min_learning_rate=4e-5, schedule="cosine", weight_decay=0.0
    )
    assert recipe.rl.optimizer == OptimizerConfig(warmup_steps=10, weight_decay=0.0)
    with pytest.raises(ValueError, match="valid dictionary"):
        Recipe.model_validate({"name": "t", "model": {"path": "m"}, "sft": {"data": "d", "steps": 1, "optimizer": 3}})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "recipe.yaml: a recipe is a mapping of keys such as 'name' and 'model', this file is empty"),
        ("- a\n", "recipe.yaml: a recipe is a mapping of keys such as 'name' and 'model', this file is a list"),
        ("name: [1\nmodel: 3\n", "recipe.yaml, line 2: not YAML (expected ',' or ']', but got ':')"),
        ("name: t\nname: u\n", "recipe.yaml: name: given twice (lines 1 and 2); remove one"),
        ("name: t\nrl: {a: 1, a: 2}\n", "recipe.yaml: rl.a: given twice (lines 2 and 2); remove one"),
        ("rl:\n  stages:\n  - x: 1\n    x: 2\n", "recipe.yaml: rl.stages.0.x: given twice (lines 3 and 4); remove one"),
        ("? [a]\n: 1\n", "recipe.yaml: line 1: a key must be a word, not"),
        ("name: *nowhere\n", "recipe.yaml, line 1: not YAML (found undefined alias 'nowhere')"),
        (
            "name: \x07\n",
            "recipe.yaml: not YAML (unacceptable character #x0007: special characters are not allowed in ",
        ),
        ("a: &a\n  b: *a\n", "recipe.yaml: an alias contains itself, or lists are nested without end; write it out"),
        ("name: !!python/object:os.system x\n", "recipe.yaml, line 1: not YAML (could not determine a constructor for"),
    ],
)
def test_not_a_recipe(tmp_path: Path, text: str, line: str) -> None:
    (found,) = complaints(tmp_path, text)
    assert found.startswith(line)


def test_every_duplicate_is_listed(tmp_path: Path) -> None:
    assert len(complaints(tmp_path, "a: 1\na: 2\nb: {c: 1, c: 2}\n")) == 2


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.yaml: the recipe cannot be read \(No such file"):
        load_recipe(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="Is a directory"):
        load_recipe(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: é".encode("latin-1"))
    with pytest.raises(UserError, match=r"not UTF-8 text \(byte 6\)"):
        load_recipe(latin)


def test_overrides_reach_sections_lists_and_what_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    recipe = load_recipe(
        path,
        [
            "rl.stages=[{name: a, data: d, steps: 9}]",
            "rl.stages.0.steps=3",
            "rl.lm_loss.alpha=0",
            "run_dir=out/x=y",
            "threads=",
            " seed =7",
        ],
    )
    assert recipe.rl.stages[0].steps == 3
    assert recipe.rl.lm_loss.alpha == 0
    assert recipe.run_dir == Path("out/x=y")
    assert recipe.threads is None
    assert recipe.seed == 7


@pytest.mark.parametrize(("head", "folder"), [("name: t", "runs/t"), ("name: t\nrun_dir: out", "out")])
def test_run_stands_for_the_run_folder(tmp_path: Path, head: str, folder: str) -> None:
    text = (
        f"{head}\nmodel: {{path: '{{run}}/sft'}}\nevaluate: {{sets: [{{name: 'a{{run}}', data: '{{run}}/a.jsonl'}}]}}\n"
    )
    recipe = load_recipe(write(tmp_path, text))
    assert recipe.model.path == f"{folder}/sft"
    assert recipe.evaluate.sets[0].data == Path(folder) / "a.jsonl"
    assert recipe.evaluate.sets[0].name == "a{run}", "only at the start"


def test_an_empty_section_can_be_filled(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL + "sft:\n"), ["sft.data=d", "sft.steps=2"])
    assert recipe.sft.steps == 2


def test_an_override_changes_one_of_two_anchored_places(tmp_path: Path) -> None:
    text = MINIMAL + (
        "rl:\n  stages:\n  - &s {name: a, data: d, steps: 1, epochs: 2}\n  - {<<: *s, name: b}\n"
        "  optimizer: &o {weight_decay: 0.2}\nsft: {data: d, steps: 1, optimizer: *o}\n"
    )
    recipe = load_recipe(write(tmp_path, text), ["rl.optimizer.weight_decay=0.3", "rl.stages.0.epochs=5"])
    assert (recipe.rl.optimizer.weight_decay, recipe.sft.optimizer.weight_decay) == (0.3, 0.2)
    assert [stage.epochs for stage in recipe.rl.stages] == [5, 2]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("rl.steps", "--set rl.steps: write KEY=VALUE with a dotted key"),
        ("=3", "--set =3: write KEY=VALUE"),
        ("rl..steps=3", "--set rl..steps=3: write KEY=VALUE"),
        ("name=[1", "--set name=[1: the value is not YAML"),
        ("name={a: 1, a: 2}", "--set name: a: given twice (lines 1 and 1)"),
        ("name.first=3", "--set name.first: 'name' is 't', not a section; it has no 'first'"),
        ("rl.stages.2.steps=3", "--set rl.stages.2.steps: 'rl.stages' is a list of 2; number its entries from 0"),
        ("rl.stages.-1.steps=3", "--set rl.stages.-1.steps: 'rl.stages' is a list of 2"),
        ("rl.stages.math.steps=3", "--set rl.stages.math.steps: 'rl.stages' is a list of 2"),
        ("rl.learning_rat=1e-6", "--set: rl.learning_rat: unknown key; did you mean 'learning_rate'?"),
        ("rl.objective={nam: ppo}", "--set: rl.objective.nam: unknown key; did you mean 'name'?"),
    ],
)
def test_wrong_overrides(tmp_path: Path, override: str, line: str) -> None:
    (found,) = complaints(tmp_path, FULL, override)
    assert found.startswith(line)


def test_require(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL + "sft: {data: d, steps: 1}\n"))
    assert require(recipe, "sft") is recipe.sft
    with pytest.raises(UserError, match="recipe 't' has no section 'rl'"):
        require(recipe, "rl")


def test_dump_shows_defaults(tmp_path: Path) -> None:
    text = dump_recipe(load_recipe(write(tmp_path, FULL)))
    assert "  group_size: 8\n" in text
    assert "null" not in text


def test_sampling_labels() -> None:
    from gppo.config import SamplingConfig

    assert SamplingConfig(temperature=0, k=1).label == "greedy"
    assert SamplingConfig(temperature=1, top_p=1, top_k=20).label == "T=1 top-k 20"
    assert SamplingConfig().label == "T=0.6 top-p 0.95"


def test_one_update_a_step_is_on_policy(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, FULL), ["rl.stages.1.mini_batch_prompts=64"])
    assert [stage.on_policy for stage in recipe.rl.resolved_stages()] == [False, True]


#: recipes/reproduce/ holds experiments, whose recipes tests/reproduce plans one by one.
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipes_of_the_repository(path: Path) -> None:
    load_recipe(path)


def test_every_field_is_described() -> None:
    models, seen = [Recipe], set()
    while models:
        model = models.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            models += [m for m in _models_in(field.annotation) if m not in seen]
    assert len(seen) > 15


def _models_in(annotation: object) -> list[type]:
    from typing import get_args

    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def test_a_section_that_an_override_misspells_is_blamed_on_the_override(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(write(tmp_path, FULL), ["rl.objektive.name=gppo"])
    assert str(caught.value) == "--set: rl.objektive: unknown key; did you mean 'objective'?"
