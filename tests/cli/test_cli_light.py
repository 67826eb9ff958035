"""What must work without a GPU stack: help, judging, reports; and the words for a wrong command line."""

import json
import subprocess
import sys

import pytest
from cli_runs import ENVIRONMENT, cold, write_lines

NO_TORCH = """
import sys
{code}
found = sorted(set(sys.modules) & {{"torch", "transformers", "tokenizers", "safetensors"}})
print("loaded:", found)
"""
COMMAND = """
from gppo.cli.main import main
sys.argv = ["gppo", *{arguments}]
try:
    main()
except SystemExit as stop:
    print("status:", stop.code)
"""


def loaded_by(code: str, folder) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", NO_TORCH.format(code=code)],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["rl", "--help"], ["verify", "math", "--help"], ["--version"]])
def test_help_needs_no_torch(tmp_path, arguments):
    done = loaded_by(COMMAND.format(arguments=arguments), tmp_path)
    assert "status: 0" in done.stdout
    assert "loaded: []" in done.stdout
    if arguments == ["--help"]:
        for command in ("demo", "curate", "sft", "rl", "eval", "doctor", "report", "watch", "verify", "export"):
            assert command in done.stdout


@pytest.mark.parametrize("module", ["verify", "verify.cases", "records", "config", "run", "types", "report", "curate"])
def test_what_judges_reads_and_shows_needs_no_torch(tmp_path, module):
    assert "loaded: []" in loaded_by(f"import gppo.{module}", tmp_path).stdout


def test_verify_math_round_trip_needs_no_torch(tmp_path):
    boxed = "<think>x</think>\\boxed{%s}"
    rows = [
        {"id": "a", "gold": "7", "response": boxed % "7"},
        {"id": "b", "gold": "7", "response": boxed % "8"},
        "{broken",
        {"id": 3, "gold": "7", "response": "<think>\\boxed{7}"},
        {"id": "d", "gold": "\\frac{1}{2}", "response": boxed % "0.5"},
        {"id": "e", "gold": "7"},
    ]
    write_lines(tmp_path / "in.jsonl", rows)
    done = loaded_by(COMMAND.format(arguments=["verify", "math", "in.jsonl", "out.jsonl"]), tmp_path)
    assert "2 correct, 1 wrong, 1 unparsable, 2 quarantined\nstatus: 0\nloaded: []" in done.stdout
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["id"], row["verdict"], row["extracted"]) for row in found] == [
        ("a", "correct", "7"),
        ("b", "wrong", "8"),
        (3, "unparsable", None),
        ("d", "correct", "0.5"),
    ]
    bad = [json.loads(line) for line in (tmp_path / "out.jsonl.quarantine.jsonl").read_text().splitlines()]
    assert [(row["line"], row["reason"].split(":")[0]) for row in bad] == [(3, "not JSON"), (6, "no 'response'")]


def test_verify_code_needs_no_torch(tmp_path):
    tests = {"inputs": ["3\n", "4\n"], "outputs": ["6\n", "9\n"], "fn_name": None}
    write_lines(tmp_path / "in.jsonl", [{"id": "a", "code": "print(2 * int(input()))", "tests": tests}])
    done = loaded_by(COMMAND.format(arguments=["verify", "code", "in.jsonl", "out.jsonl"]), tmp_path)
    assert "status: 0\nloaded: []" in done.stdout
    (found,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert (found["passed"], found["total"], found["cases"]) == (1, 2, ["PASS", "WA"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lr"], "No such command 'lr'"),
        (["rl"], "Missing argument 'RECIPE'"),
        (["rl", "a.yaml", "b.yaml"], "Got unexpected extra argument(s) (b.yaml)"),
        (["rl", "a.yaml", "--sett", "x=1"], "No such option: --sett"),
        (["demo", "--seed", "-1"], "--seed"),
        (["verify", "math", "in.jsonl"], "Missing argument 'OUT.jsonl'"),
        (
            ["verify", "math", "in.jsonl", "out.jsonl"],
            "Cannot open in.jsonl: No such file or directory; check the path",
        ),
        (["rl", "nowhere.yaml"], "nowhere.yaml: the recipe cannot be read (No such file or directory); check the path"),
        (["report", "."], ".: not a run folder (it has no recipe.yaml); name the folder of a run"),
        (["report", "nowhere"], "nowhere: not a run folder"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(tmp_path, arguments, words):
    done = cold(*arguments, folder=tmp_path)
    message = done.refusal()
    assert words in message
    assert len(done.stderr.splitlines()) == 1
    if words.startswith(("No such", "Missing", "Got")):
        assert "--help`" in message


def test_without_a_command_there_is_help(tmp_path):
    done = cold(folder=tmp_path)
    assert done.status == 2
    assert "Usage: gppo" in done.stdout
    assert done.stderr == ""
