"""Everything that a person can get wrong in a recipe or its data: status 2, one sentence that says what to do."""

import shutil

import pytest
import yaml
from cli_runs import RL_ONLY, recipe, write_lines, write_sums, write_traces

MODEL_64 = {
    "tiny": {"hidden_size": 64, "layers": 2, "heads": 2, "kv_heads": 1},
    "tokenizer": "bytes",
    "max_context": 64,
}


@pytest.fixture
def path(tmp_path):
    return recipe(tmp_path)


def test_a_misspelt_key_names_the_nearest(gppo, path):
    content = yaml.safe_load(path.read_text())
    content["rl"]["grop_size"] = 4
    path.write_text(yaml.safe_dump(content))
    assert gppo("rl", path, *RL_ONLY).refusal() == f"{path}: rl.grop_size: unknown key; did you mean 'group_size'?"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("nonsense", "--set nonsense: write KEY=VALUE with a dotted key, e.g. rl.learning_rate=1e-6"),
        ("rl.lerning_rate=1", "--set: rl.lerning_rate: unknown key; did you mean 'learning_rate'?"),
        ("rl.learning_rate=fast", "--set: rl.learning_rate: should be a valid number"),
        ("rl.group_size=1", "group_size 1 has no advantage (a group's mean is its only reward); use 2 or more"),
        ("rl.objective.name=gpo", "There is no objective 'gpo' (near: gspo, gppo, ppo): use one of"),
        ("rl.objective.params={epsilon_hi: 0.3}", "Objective 'gppo' has no parameter 'epsilon_hi' (near: epsilon_high"),
        ("rl.objective.params={epsilon_low: 2}", "Objective 'gppo' got epsilon_low = 2: give a value from 0 to 1"),
        ("rl.stages.0.data=nowhere.jsonl", "nowhere.jsonl: no such file; check the path"),
        ("rl.stages.0.data=recipe.yaml", "recipe.yaml: unknown kind of file; records are read from .jsonl"),
        ("evaluate.sets.0.data=nowhere.jsonl", "nowhere.jsonl: no such file; check the path"),
        ("rl.max_response_tokens=60", "max_prompt_tokens + max_response_tokens is 76 in stage 'math'"),
    ],
)
def test_what_a_recipe_can_say_wrong_is_found_before_there_is_a_run(gppo, path, tmp_path, override, words):
    """So that mending it needs no --fresh."""
    assert words in gppo("rl", path, *RL_ONLY, "--set", override).refusal()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "steps", [[], [{"step": "decontaminate", "against": [{"name": "exam", "data": "nowhere.jsonl"}]}]]
)
def test_what_curation_reads_is_looked_for_before_there_is_a_run(gppo, path, tmp_path, steps):
    content = yaml.safe_load(path.read_text())
    data = str(tmp_path / "train.jsonl") if steps else "nowhere.jsonl"
    write_sums(tmp_path / "train.jsonl")
    set_ = {"name": "s", "sources": [{"name": "a", "data": data}], "steps": steps, "output": str(tmp_path / "o.jsonl")}
    path.write_text(yaml.safe_dump({**content, "curate": [set_]}))
    assert "nowhere.jsonl: no such file; check the path" in gppo("curate", path).refusal()
    assert not (tmp_path / "run").exists()


def test_a_section_that_is_missing(gppo, path):
    content = yaml.safe_load(path.read_text())
    del content["sft"]
    path.write_text(yaml.safe_dump(content))
    assert "recipe 'tiny' has no section 'sft', which this command needs" in gppo("sft", path).refusal()


def test_data_that_cannot_be_used(gppo, path, tmp_path):
    train = tmp_path / "train.jsonl"

    def refused(words, command="rl"):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        message = gppo(command, path, *(RL_ONLY if command == "rl" else ())).refusal()
        assert words in message

    train.write_text("")
    refused("train.jsonl: the file has no rows; write at least one")
    write_lines(train, ["{", "[1]", "nonsense"])
    refused("train.jsonl: none of its 3 rows can be used, the first because of line 1: not JSON")
    write_lines(train, [{"question": "1+1", "answer": "2"}])
    refused("line 1: 'prompt' is missing (the row has question, answer)")
    write_sums(train)
    write_lines(tmp_path / "sft.jsonl", [{"text": "hello"}])
    refused("'messages' is missing", command="sft")
    (tmp_path / "sft.jsonl").unlink()
    refused("sft.jsonl: no such file", command="sft")
    write_lines(train, [{"prompt": "Sort", "ability": "poetry", "reward_model": {"ground_truth": "{}"}, "id": "sort"}])
    refused("line 1: ability is 'poetry', which has no judge; set it to math or code")


def test_a_missing_column_of_a_table(gppo, path, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"question": ["1+1"], "answer": ["2"]}), tmp_path / "train.parquet")
    message = gppo("rl", path, *RL_ONLY, "--set", "rl.stages.0.data=train.parquet").refusal()
    assert message.endswith("no column 'prompt'; the file has question, answer; rename or add the column")


def test_prompts_that_do_not_fit(gppo, path, tmp_path):
    long = {"prompt": "1" * 70, "ability": "math", "reward_model": {"ground_truth": "1"}, "id": "long"}
    write_lines(tmp_path / "train.jsonl", [long])
    message = gppo("rl", path, *RL_ONLY).refusal()
    assert "stage 'math': all 1 prompts of train.jsonl are longer than max_prompt_tokens 16; raise it" in message
    write_sums(tmp_path / "train.jsonl")
    write_lines(tmp_path / "test.jsonl", [long])
    message = gppo("eval", path, "--fresh").refusal()
    assert "the prompt of problem long does not fit the model's context of 64 tokens" in message
    turns = [{"role": "user", "content": "1" * 70}, {"role": "assistant", "content": "1"}]
    write_lines(tmp_path / "sft.jsonl", [{"messages": turns}])
    assert "all 1 samples are longer than 64 tokens" in gppo("sft", path, "--fresh").refusal()
    # The model's own context counts where the recipe names none, and a saved model knows its own.
    write_traces(tmp_path / "sft.jsonl")
    write_sums(tmp_path / "test.jsonl")
    assert gppo("sft", path, "--fresh").status == 0
    saved = tmp_path / "run" / "checkpoints" / "sft" / "step-000002"
    path = recipe(tmp_path, model={"path": str(saved)}, run_dir="other", rl={"max_response_tokens": 60})
    message = gppo("rl", path, *RL_ONLY).refusal()
    assert "stage 'math': max_prompt_tokens + max_response_tokens is 76, more than the model's context of 64" in message


def test_another_model_in_the_same_run(gppo, path, tmp_path):
    assert gppo("sft", path).status == 0
    wider = recipe(tmp_path, model=MODEL_64)
    message = gppo("sft", wider).refusal()
    assert "run: holds a run with another recipe (different: model.tiny.hidden_size)" in message
    assert "--fresh" in message
    # A checkpoint that somebody copied by hand into a run with another model.
    other = recipe(tmp_path, model=MODEL_64, run_dir="other")
    shutil.copytree(tmp_path / "run" / "checkpoints", tmp_path / "kept")
    (tmp_path / "other").mkdir()
    assert gppo("sft", other, "--set", "sft.steps=1", "--fresh").status == 0
    shutil.rmtree(tmp_path / "other" / "checkpoints")
    shutil.move(tmp_path / "kept", tmp_path / "other" / "checkpoints")
    message = gppo("sft", other, "--set", "sft.steps=1").refusal()
    assert "step-000002: the checkpoint's weights do not fit the model of the recipe" in message


def test_a_model_that_is_not_there(gppo, tmp_path):
    path = recipe(tmp_path, model={"path": "./nowhere"})
    message = gppo("rl", path, *RL_ONLY).refusal()
    assert "nowhere" in message
    assert "folder" in message


def test_a_gpu_that_is_not_there(gppo, path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert gppo("rl", path, *RL_ONLY, "--set", "device=cuda").refusal().startswith("device: cuda is asked for")


def test_a_folder_that_is_no_run(gppo, path, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    assert (
        "run: holds thesis.tex and no recipe.yaml, so it is no run; choose another run_dir"
        in gppo("rl", path, *RL_ONLY).refusal()
    )
