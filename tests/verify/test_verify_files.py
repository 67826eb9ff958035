import json

import pytest

from gppo.types import UserError
from gppo.verify import verify_math_file


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_verdicts_in_order_and_bad_lines_in_quarantine(tmp_path):
    lines = [
        json.dumps({"id": "a", "gold": "x+1", "response": r"\boxed{1+x}", "more": 1}),
        "{not json",
        "",
        json.dumps({"id": "b", "gold": 4, "response": r"\boxed{5}"}),
        json.dumps(["a", "list"]),
        json.dumps({"id": "c", "gold": "4"}),
        json.dumps({"id": "d", "gold": " ", "response": ""}),
        json.dumps({"id": None, "gold": "4", "response": ""}),
        json.dumps({"id": 5, "gold": "1", "response": "\ud800 no box"}),
        json.dumps({"id": 6, "gold": "1", "response": r"\boxed{9^{9^{9^{9}}}}"}),
        json.dumps({"id": 7, "gold": "1", "response": 1}),
    ]
    source, out = tmp_path / "in.jsonl", tmp_path / "new" / "out.jsonl"
    source.write_bytes("\n".join(lines).encode() + b"\n\xff\xfe\n")
    counts = verify_math_file(source, out, workers=2, timeout=1.0, progress=False)

    records = read(out)
    assert [(r["id"], r["verdict"], r["extracted"]) for r in records] == [
        ("a", "correct", "1+x"),
        ("b", "wrong", "5"),
        (5, "unparsable", None),
        (6, "timeout", "9^{9^{9^{9}}}"),
    ]
    assert all(set(r) == {"id", "verdict", "extracted", "seconds", "rule"} for r in records)
    assert [r["rule"] for r in records] == ["identity", "exact value", "no boxed answer", "time limit"]
    assert records[3]["seconds"] >= 1.0
    assert counts == {"correct": 1, "wrong": 1, "unparsable": 1, "timeout": 1, "infra": 0, "quarantined": 7, "kept": 0}
    quarantine = read(tmp_path / "new" / "out.jsonl.quarantine.jsonl")
    assert [(q["line"], q["reason"].split(":")[0]) for q in quarantine] == [
        (2, "not JSON"),
        (5, "not a JSON object"),
        (6, "no 'response'"),
        (7, "'gold' is not a text or a number"),
        (8, "'id' is neither a string nor a whole number"),
        (11, "'response' is not a text"),
        (12, "not UTF-8"),
    ]
    assert quarantine[0]["text"] == "{not json"


def test_a_clean_file_leaves_no_quarantine(tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    stale = tmp_path / "out.jsonl.quarantine.jsonl"
    stale.write_text("of an earlier run")
    source.write_text("".join(json.dumps({"id": i, "gold": "1", "response": r"\boxed{1}"}) + "\n" for i in range(300)))
    assert verify_math_file(source, out, progress=True)["correct"] == 300
    assert [record["id"] for record in read(out)] == list(range(300))
    assert not stale.exists()


def test_lenient_reads_answers_without_a_box(tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps({"id": 1, "gold": "7", "response": "So the answer is 7."}) + "\n")
    assert verify_math_file(source, out, progress=False)["unparsable"] == 1
    assert verify_math_file(source, out, progress=False, lenient=True, fresh=True)["correct"] == 1


def test_an_empty_file(tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.touch()
    assert sum(verify_math_file(source, out, progress=False).values()) == 0
    assert out.read_text() == ""


def test_mistakes_are_one_sentence(tmp_path):
    source = tmp_path / "in.jsonl"
    with pytest.raises(UserError, match=r"Cannot open .*in\.jsonl: No such file"):
        verify_math_file(source, tmp_path / "out.jsonl")
    source.touch()
    with pytest.raises(UserError, match="would overwrite the input"):
        verify_math_file(source, source)
    with pytest.raises(UserError, match="Cannot open"):
        verify_math_file(source, tmp_path)


def test_a_call_that_was_cut_short_goes_on_without_judging_twice(tmp_path):
    source, out, whole = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    rows = [{"id": i, "gold": str(i % 3), "response": rf"\boxed{{{i % 2}}}"} for i in range(40)]
    lines = [json.dumps(row) + "\n" for row in rows]
    lines.insert(2, "{broken\n")
    source.write_text("".join(lines))
    counts = verify_math_file(source, whole, progress=False)
    written = whole.read_bytes().splitlines(keepends=True)
    marked = [line.replace(b'"seconds": ', b'"seconds": 9') for line in written[:17]]  # to be known again
    for half in (b"", b'{"id": 17, "verd'):
        out.write_bytes(b"".join(marked) + half)
        again = verify_math_file(source, out, progress=False)
        assert again == counts | {"kept": 17}
        assert out.read_bytes().startswith(b"".join(marked))
        assert [(r["id"], r["verdict"], r["extracted"]) for r in read(out)] == [
            (r["id"], r["verdict"], r["extracted"]) for r in read(whole)
        ]
        assert [q["line"] for q in read(tmp_path / "out.jsonl.quarantine.jsonl")] == [3]
    assert verify_math_file(source, out, progress=False) == counts | {"kept": 40}
    assert verify_math_file(source, out, progress=False, fresh=True) == counts


def test_an_output_of_another_input_is_not_continued(tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps({"id": 1, "gold": "1", "response": ""}) + "\n")
    result = {"id": 2, "verdict": "wrong", "extracted": None, "seconds": 0.0, "rule": "same text"}
    for other in (result, result | {"id": 1, "more": 1}, [1]):
        out.write_text(json.dumps(other) + "\n")
        with pytest.raises(UserError, match=r"out.jsonl line 1 is no result for the input's record 1, .*--fresh"):
            verify_math_file(source, out, progress=False)
    out.write_text((json.dumps(result | {"id": 1}) + "\n") * 2)
    with pytest.raises(UserError, match="line 2 is no result"):
        verify_math_file(source, out, progress=False)
