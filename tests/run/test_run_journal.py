"""The journal: whole lines or none, found by key, and what a cut or a full disk leaves."""

import json
from dataclasses import dataclass
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.run.journal import Journal, journalled
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


@dataclass(frozen=True)
class Row:
    row: int


def doubled(made, at_once=1):
    """Work that notes what it makes and reads ``at_once`` rows ahead."""

    def work(stream):
        while batch := list(islice(stream, at_once)):
            for one in batch:
                made.append(one.row)
                yield {"twice": 2 * one.row}

    return work


@given(
    rows=st.lists(st.integers(0, 99), unique=True, max_size=8).map(sorted),
    taken=st.integers(0, 9),
    cut=st.integers(0, 30),
    at_once=st.integers(1, 4),
)
def test_results_in_order_and_after_a_cut_only_the_rest_is_made(tmp_path_factory, rows, taken, cut, at_once):
    path = tmp_path_factory.mktemp("j") / "deep" / "j.jsonl"
    items, wanted = [Row(n) for n in rows], [(Row(n), {"twice": 2 * n}) for n in rows]
    assert list(islice(journalled(path, iter(items), doubled([], at_once)), taken)) == wanted[:taken]
    raw = path.read_bytes() if path.exists() else b""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw[: max(0, len(raw) - cut)])
    there, made = path.read_bytes().count(b"\n"), []
    assert list(journalled(path, iter(items), doubled(made, at_once))) == wanted
    assert made == rows[there:]
    assert [json.loads(line) for line in path.read_bytes().splitlines()] == [[n, {"twice": 2 * n}] for n in rows]


@pytest.mark.parametrize(
    ("line", "what"),
    [("{", "damaged"), ("[1]", "damaged"), ('{"a": 1, "b": 2}', "damaged"), ("[3, 0]", "of another row")],
)
def test_a_line_that_is_no_result_of_these_rows_is_named(tmp_path, line, what):
    (tmp_path / "j").write_text(f"[1, 0]\n{line}\n")
    for rows in ([Row(1), Row(2)], [Row(1)]):
        with pytest.raises(GppoError, match=f"line 2 is {what}"):
            list(journalled(tmp_path / "j", rows, doubled([])))


def test_results_on_a_full_disk_are_whole(full_disk):
    def work(stream):
        return ("x" * (100_000 if one.row else 1) for one in stream)

    found = []
    with pytest.raises(GppoError, match="no space left on the device"):
        found.extend(journalled(full_disk / "j", [Row(0), Row(1)], work))
    assert (full_disk / "j").read_bytes() == b'[0, "x"]\n'
