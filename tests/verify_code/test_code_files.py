import json
import os
import signal
import subprocess
import sys
import time

import pytest

from gppo.sandbox import Limits
from gppo.types import GppoError, UserError
from gppo.verify.code import verify_code_file

ADD = {"inputs": ["1 2", "3 4"], "outputs": ["3", "7"], "fn_name": None}
RIGHT = "print(sum(map(int, input().split())))"


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def programs(number, sleep=0.0):
    code = f"import time\ntime.sleep({sleep})\n" + "a, b = map(int, input().split())\nprint({})"
    return [{"id": i, "code": code.format("a + b" if i % 3 else "3"), "tests": ADD} for i in range(number)]


def test_records_in_order_and_bad_lines_in_quarantine(isolation, tmp_path):
    lines = [
        json.dumps({"id": "a", "code": RIGHT, "tests": ADD, "more": 1}),
        "{not json",
        "",
        json.dumps({"id": "b", "response": f"```\n{RIGHT}\n```\n<think>", "tests": ADD}),
        json.dumps({"id": 3, "response": f"<think>x</think>```\n{RIGHT}\n```", "tests": json.dumps(ADD)}),
        json.dumps({"id": 4, "code": "while True: pass", "tests": ADD, "limits": {"seconds": 0.3}}),
        json.dumps({"id": 5, "code": "print(3)", "tests": ADD}),
        json.dumps({"id": 6, "code": "x", "response": "x", "tests": ADD}),
        json.dumps({"id": 7, "code": "x"}),
        json.dumps({"id": 8, "code": "x", "tests": {"inputs": [], "outputs": []}}),
        json.dumps({"id": 9, "code": "x", "tests": ADD, "limits": {"second": 1}}),
        json.dumps({"id": 9, "code": "x", "tests": ADD, "limits": {"seconds": 0}}),
        json.dumps({"id": 9, "code": "x", "tests": ADD, "limits": {"memory_mb": 1.5}}),
        json.dumps({"code": "x", "tests": ADD}),
        json.dumps([1]),
        "[" * 100_000,
    ]
    source, out = tmp_path / "in.jsonl", tmp_path / "new" / "out.jsonl"
    source.write_bytes("\n".join(lines).encode() + b"\n\xff\xfe\n")
    counts = verify_code_file(source, out, 2, progress=False)

    assert read(out) == [
        {"id": "a", "passed": 2, "total": 2, "reward": 1.0, "cases": ["PASS", "PASS"]},
        {"id": "b", "passed": 0, "total": 2, "reward": 0.0, "cases": ["CE", "CE"]},
        {"id": 3, "passed": 2, "total": 2, "reward": 1.0, "cases": ["PASS", "PASS"]},
        {"id": 4, "passed": 0, "total": 2, "reward": 0.0, "cases": ["TLE", "TLE"]},
        {"id": 5, "passed": 1, "total": 2, "reward": 0.5, "cases": ["PASS", "WA"]},
    ]
    assert counts == {"passed": 2, "failed": 3, "infra": 0, "quarantined": 11, "kept": 0}
    quarantine = read(tmp_path / "new" / "out.jsonl.quarantine.jsonl")
    assert [(q["line"], q["reason"].partition(":")[0]) for q in quarantine] == [
        (2, "not JSON"),
        (8, "not exactly one of 'code' and 'response', as a text"),
        (9, "no 'tests'"),
        (10, "its tests are empty; a problem needs at least one test"),
        (11, "'limits' has other keys than seconds, memory_mb, output_kb, processes"),
        (12, "the limit 'seconds' is not a number above 0"),
        (13, "the limit 'memory_mb' is not a whole number above 0"),
        (14, "no 'id' that is a text or a whole number"),
        (15, "not a JSON object"),
        (16, "not JSON"),
        (17, "not UTF-8"),
    ]


def test_an_output_cut_anywhere_is_completed_to_the_same_file(isolation, tmp_path):
    source, whole, cut = tmp_path / "in.jsonl", tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    write(source, programs(8))
    verify_code_file(source, whole, 2, progress=False)
    text = whole.read_bytes()
    for end in (0, 1, len(text) // 2, text.rindex(b"\n", 0, -1) + 1, len(text) - 1, len(text)):
        cut.write_bytes(text[:end])
        counts = verify_code_file(source, cut, 1, progress=False)
        assert cut.read_bytes() == text
        assert counts["kept"] == text[:end].count(b"\n")
        assert (counts["passed"], counts["failed"]) == (5, 3)


def test_a_killed_run_is_continued(isolation, tmp_path):
    source, out, whole = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    write(source, programs(16, sleep=0.1))
    command = [sys.executable, "-m", "gppo.cli.main", "verify", "code", str(source), str(out), "--workers", "2"]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while run.poll() is None and not (out.exists() and out.read_bytes().count(b"\n") >= 4):
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    left = out.read_bytes()
    assert 4 <= left.count(b"\n") < 16
    assert left.endswith(b"\n")
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "judged before" in again.stdout
    verify_code_file(source, whole, 2, progress=False)
    assert out.read_bytes() == whole.read_bytes()
    assert out.read_bytes().startswith(left)


def test_another_input_or_a_finished_output(isolation, tmp_path, capsys):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write(source, programs(3))
    verify_code_file(source, out, progress=True)
    assert "verify code: 3 of 3" in capsys.readouterr().err
    text = out.read_bytes()
    assert verify_code_file(source, out, progress=False)["kept"] == 3
    write(source, [{"id": "else", "code": RIGHT, "tests": ADD}])
    with pytest.raises(UserError, match=r"line 1 is no result .* --fresh"):
        verify_code_file(source, out, progress=False)
    assert out.read_bytes() == text  # nothing was lost
    assert verify_code_file(source, out, progress=False, fresh=True)["passed"] == 1
    assert [record["id"] for record in read(out)] == ["else"]


def test_a_full_disk_leaves_whole_lines(isolation, tmp_path, full_disk):
    source, out = tmp_path / "in.jsonl", full_disk / "out.jsonl"
    write(source, [{"id": f"{i}-{'x' * 9000}", "code": RIGHT, "tests": ADD} for i in range(12)])
    with pytest.raises(GppoError, match="no space left"):
        verify_code_file(source, out, progress=False)
    text = out.read_bytes()
    assert text.endswith(b"\n")
    assert 0 < len(read(out)) < 12


def test_paths_that_cannot_work(tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text("")
    with pytest.raises(UserError, match="would overwrite the input"):
        verify_code_file(source, source)
    with pytest.raises(UserError, match="Cannot open"):
        verify_code_file(tmp_path / "none.jsonl", tmp_path / "out.jsonl")
    assert verify_code_file(source, tmp_path / "out.jsonl", limits=Limits(seconds=1), progress=False) == {
        "passed": 0, "failed": 0, "infra": 0, "quarantined": 0, "kept": 0,
    }  # fmt: skip


def test_lcb_mode_from_the_command_line(isolation, tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write(source, [{"id": 1, "code": "print('a  b')", "tests": {"inputs": [""], "outputs": ["a b"]}}])
    for mode, case in (("lcb", "WA"), ("reward", "PASS")):
        command = [sys.executable, "-m", "gppo.cli.main", "verify", "code", str(source), str(out), "--mode", mode]
        subprocess.run([*command, "--fresh"], check=True, capture_output=True)
        assert read(out)[0]["cases"] == [case]
