"""Whole commands: train, stop, go on, score, report; and a disk that fills up."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
import yaml
from cli_runs import COMMAND, ENVIRONMENT, RL_ONLY, cold, recipe, write_sums

from gppo.evaluate import load_evaluations
from gppo.run import RunFolder


def lines(run, kind="rl"):
    times = ("time", "seconds", "seconds_generate", "seconds_judge", "seconds_update")
    return [{k: v for k, v in line.items() if k not in times} for line in RunFolder(run).read_metrics(kind)]


def weights(run, stage="rl"):
    newest = sorted((run / "checkpoints" / stage).glob("step-*"))[-1]
    return (newest / "model.safetensors").read_bytes()


def started(*arguments, folder):
    """The command in a process group of its own, not waited for."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_run_from_a_cold_start(tmp_path):
    """The real command in a real process: sampling, judging, evaluation, checkpoint, report."""
    path = recipe(tmp_path)
    done = cold("rl", path, *RL_ONLY, folder=tmp_path)
    assert done.status == 0, done.stderr
    assert done.stdout == "Report: run/report.html\n"
    assert "RL: 2 of 2" in done.stderr
    run = tmp_path / "run"
    assert [line["step"] for line in lines(run)] == [1, 2]
    assert sorted(p.name for p in (run / "evaluations").iterdir()) == [
        "step-000000--T-1-top-p-0.95.json",
        "step-000000--T-1-top-p-0.95.results.jsonl",
        "step-000002--T-1-top-p-0.95.json",
        "step-000002--T-1-top-p-0.95.results.jsonl",
    ]
    assert [p.name for p in sorted((run / "rollouts").iterdir())] == ["step-000001.parquet", "step-000002.parquet"]
    page = (run / "report.html").read_text()
    assert "tiny" in page
    assert "https://" not in page.split("<body")[1].split("<script")[0]


def test_one_update_a_batch_is_pointed_out(gppo, tmp_path):
    path = recipe(tmp_path, rl={"mini_batch_prompts": 2})
    done = gppo("rl", path, *RL_ONLY)
    assert done.status == 0
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert notes[0].startswith("note: stage 'math': one update per batch, so every importance ratio is 1")


def test_sft_then_eval_then_report_in_one_run(gppo, tmp_path):
    path = recipe(tmp_path)
    assert gppo("sft", path).status == 0
    assert len(lines(tmp_path / "run", "sft")) == 2
    scored = gppo("eval", path)
    assert scored.status == 0, scored.stderr
    assert "Accuracy" in scored.stdout
    assert "T=1 top-p 0.95" in scored.stdout
    (tmp_path / "run" / "report.html").unlink()
    reported = gppo("report", "run")
    assert (reported.status, reported.stdout) == (0, "run/report.html\n")
    assert (tmp_path / "run" / "report.html").is_file()


def test_rl_goes_on_from_the_sft_of_its_recipe_and_eval_scores_the_newest(gppo, tmp_path):
    steep = {"learning_rate": 0.03, "min_learning_rate": 0.03, "schedule": "constant"}
    path = recipe(tmp_path, sft={"data": "sft.jsonl", "steps": 4, "batch_size": 4, "optimizer": steep})
    run = tmp_path / "run"
    assert "SFT has not been run here; run `gppo sft` with it first" in gppo("rl", path).refusal()
    assert gppo("sft", path).status == 0
    assert gppo("eval", path).status == 0
    [tuned] = load_evaluations(run / "evaluations")
    assert gppo("rl", path).status == 0
    started = next(e for e in load_evaluations(run / "evaluations") if e.step == 0)
    assert (started.lengths_PK == tuned.lengths_PK).all(), "RL starts from the fine-tuned model"
    assert gppo("rl", path, *RL_ONLY, "--set", "run_dir=plain").status == 0
    plain = next(e for e in load_evaluations(tmp_path / "plain" / "evaluations") if e.step == 0)
    assert (started.lengths_PK != plain.lengths_PK).any(), "not from the recipe's random one"
    scored = gppo("eval", path)
    assert "scoring the checkpoint run/checkpoints/rl/step-000002" in scored.stderr


def test_the_same_command_again_does_nothing_and_fresh_starts_anew(gppo, tmp_path):
    path = recipe(tmp_path)
    assert gppo("rl", path, *RL_ONLY).status == 0
    before = weights(tmp_path / "run")
    metrics = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    assert gppo("rl", path, *RL_ONLY).status == 0
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == metrics
    assert gppo("rl", path, *RL_ONLY, "--fresh", "--set", "seed=1").status == 0
    assert weights(tmp_path / "run.old-1") == before
    assert weights(tmp_path / "run") != before


def test_stopping_by_ctrl_c_and_going_on(gppo, tmp_path):
    """SIGINT to the process group, as a terminal sends it: exit status 130, and the end is that of a whole run."""
    long = {"stages": [{"name": "math", "data": "train.jsonl", "steps": 40}], "save_every": 100, "save_rollouts": False}
    path = recipe(tmp_path, rl=long)
    metrics = tmp_path / "run" / "metrics.jsonl"
    with started("rl", path, *RL_ONLY, folder=tmp_path) as process:
        while not (metrics.exists() and '"step": 2,' in metrics.read_text()):
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    last = stderr.splitlines()[-1]
    assert last.startswith("gppo: stopped after RL step ")
    assert last.endswith(" of 40; run the same command again to go on")
    stopped_at = int(last.split()[5])
    assert [line["step"] for line in lines(tmp_path / "run")] == list(range(1, stopped_at + 1))
    assert gppo("rl", path, *RL_ONLY).status == 0
    assert gppo("rl", path, *RL_ONLY, "--set", "run_dir=whole").status == 0
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_ctrl_c_before_training_begins(tmp_path):
    with started("rl", recipe(tmp_path), folder=tmp_path) as process:
        while not (tmp_path / "run" / "recipe.yaml").exists():  # it now loads the model
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.strip() == "gppo: stopped"


def test_a_disk_that_fills_up(gppo, tmp_path, full_disk):
    """Wherever it happens, status 1 and one sentence."""
    path = recipe(tmp_path, run_dir=str(full_disk / "run"))
    found = set()
    for kilobytes in (60, 52, 40, 0):  # of the 64 are taken
        (full_disk / "ballast").write_bytes(b"x" * 1024 * kilobytes)
        message = gppo("rl", path, *RL_ONLY).refusal(status=1)
        assert "free" in message or "space" in message
        found.add(message.split(":")[0].removeprefix(str(full_disk)))
        shutil.rmtree(full_disk / "run", ignore_errors=True)
    assert len(found) > 1, found


def test_verify_on_a_full_disk(gppo, tmp_path, full_disk):
    write = [{"id": i, "gold": "7", "response": "\\boxed{7}" + "x" * 50} for i in range(3000)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in write))
    message = gppo("verify", "math", "in.jsonl", full_disk / "out.jsonl").refusal(status=1)
    assert "space" in message


def test_real_text_through_every_part(gppo, tmp_path, gsm8k):
    """GSM8K's prompts, records as verl has them, a random model of one token a byte."""
    write_sums(tmp_path / "test.jsonl")
    rows = [json.loads(line) for line in gsm8k.read_text().splitlines()[:40]]
    with (tmp_path / "gsm8k.jsonl").open("w") as file:
        for i, row in enumerate(rows):
            record = {
                "data_source": "openai/gsm8k",
                "prompt": [{"role": "user", "content": row["question"] + "\nPut your answer within \\boxed{}."}],
                "ability": "math",
                "reward_model": {"style": "rule", "ground_truth": row["answer"].rpartition("####")[2].strip()},
                "extra_info": {"split": "train", "index": i},
            }
            file.write(json.dumps(record) + "\n")
    content = {
        "name": "gsm8k",
        "run_dir": "run",
        "model": {
            "tiny": {"hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 1},
            "tokenizer": "bytes",
            "max_context": 512,
        },
        "rl": {
            "stages": [{"name": "math", "data": "gsm8k.jsonl", "steps": 5}],
            "prompts_per_step": 2,
            "group_size": 2,
            "mini_batch_prompts": 1,
            "max_prompt_tokens": 400,
            "max_response_tokens": 32,
            "zero_advantage": "keep",
        },
    }
    (tmp_path / "gsm8k.yaml").write_text(yaml.safe_dump(content))
    done = gppo("rl", "gsm8k.yaml")
    assert done.status == 0, done.stderr
    run = tmp_path / "run"
    found = lines(run)
    assert [line["step"] for line in found] == [1, 2, 3, 4, 5]
    assert all(line["infra_share"] == 0 and line["updates"] == 2 for line in found)
    assert (run / "report.html").is_file()
    [note] = lines(run, "info")
    assert note["prompts_too_long"] > 0


def test_trackers_are_told_and_runs_are_shown_beside_each_other(gppo, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'gppo[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = recipe(tmp_path)
    asked = (*RL_ONLY, "--set", "trackers=[tensorboard]", "--set", "rl.optimizer.schedule=constant")
    assert gppo("rl", path, *asked).status == 0
    assert gppo("rl", path, *asked, "--set", "rl.stages.0.steps=3").status == 0
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    written = [(event.step, event.value) for event in events.Scalars("rl/entropy")]
    assert written == [(line["step"], pytest.approx(line["entropy"])) for line in lines(tmp_path / "run")]
    assert [step for step, _ in written] == [1, 2, 3]

    assert gppo("rl", path, *RL_ONLY, "--set", "run_dir=other", "--set", "seed=1").status == 0
    done = gppo("report", "run", "other", "--out", "both.html", "--step", 2)
    assert (done.status, done.stdout.splitlines()) == (0, ["run/report.html", "other/report.html", "both.html"])
    assert "Paired differences" in (tmp_path / "both.html").read_text()
    assert "rollouts of step 2." in (tmp_path / "run" / "microscope.html").read_text()
    assert "RL 3 of 3" in gppo("watch", "run", "--once").stdout
    assert "no such rollouts" in gppo("report", "run", "--step", 9).refusal()
