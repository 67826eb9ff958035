"""The journal: whole lines or none, found by key, and what a cut or a full disk leaves."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.run.journal import Journal
from gppo.types import GppoError


def write(path, *keys, **values):
    with Journal(path) as journal:
        for key in keys:
            journal.add(key, {"n": key * 2, **values})


def test_lines_come_back_by_key_also_after_opening_again(tmp_path):
    path, seen = tmp_path / "deep" / "j.jsonl", []
    write(path, "a", "b")
    with Journal(path, seen.append) as journal:
        assert [line["key"] for line in seen] == ["a", "b"]
        journal.add("c", {"n": "é\n"}, flush=False)
        assert journal.get("c") == {"key": "c", "n": "é\n"}
        assert journal.get("a") == {"key": "a", "n": "aa"}
        assert (journal.get("d"), "b" in journal, "d" in journal, len(journal)) == (None, True, False, 3)


def test_of_two_lines_with_one_key_the_first_counts(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.add("a", {"n": 1})
        journal.add("a", {"n": 2})
        assert journal.get("a")["n"] == 1
    with Journal(tmp_path / "j") as journal:
        assert journal.get("a")["n"] == 1


@given(
    lines=st.dictionaries(st.text(max_size=5), st.text(max_size=200), max_size=6),
    long=st.integers(0, 200_000),
    cut=st.integers(0, 300_000),
)
def test_cut_anywhere_the_whole_lines_before_are_left(tmp_path_factory, lines, long, cut):
    path = tmp_path_factory.mktemp("j") / "j.jsonl"
    with Journal(path) as journal:
        for key, text in lines.items():
            journal.add(key, {"text": text}, flush=False)
        journal.add("the long one", {"text": "x" * long}, flush=False)
    raw = path.read_bytes()
    path.write_bytes(raw[: max(0, len(raw) - cut)])
    whole = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    with Journal(path) as journal:
        assert path.read_bytes() == b"".join(
            line + b"\n" for line in raw[: len(raw) - min(cut, len(raw))].split(b"\n")[:-1]
        )
        journal.add("afterwards", {"text": "y"}, flush=False)
        assert journal.get("afterwards") == {"key": "afterwards", "text": "y"}
        assert all(journal.get(line["key"]) == line for line in whole)


@pytest.mark.parametrize("line", [b"\0\0\n", b"[1]\n", b'{"n": 1}\n', b'{"key": 1}\n', b"\n"])
def test_a_damaged_line_is_named(tmp_path, line):
    write(tmp_path / "j", "a")
    (tmp_path / "j").write_bytes((tmp_path / "j").read_bytes() + line + b'{"key": "b"}\n')
    with pytest.raises(GppoError, match="line 2 is damaged; remove it and run the same command again"):
        Journal(tmp_path / "j")


def test_a_full_disk_leaves_whole_lines(full_disk):
    with Journal(full_disk / "j") as journal:
        journal.add("small", {"text": "x"})
        with pytest.raises(GppoError, match="no space left on the device"):
            journal.add("large", {"text": "x" * 100_000})
        assert "large" not in journal
        journal.add("other", {"text": "y"})
    with Journal(full_disk / "j") as journal:
        assert journal.get("small")["text"] == "x"
        assert journal.get("other")["text"] == "y"
        assert len(journal) == 2
