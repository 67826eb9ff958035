import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gppo.records.arrays as arrays
from gppo.records import Quarantine, iter_rows
from gppo.types import UserError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    rows=st.lists(st.dictionaries(st.text(), values, max_size=3), max_size=5),
    indent=st.sampled_from([None, 1]),
    chunk=st.integers(1, 40),
)
def test_an_array_reads_back_whatever_the_chunks(tmp_path_factory, rows, indent, chunk):
    path = tmp_path_factory.mktemp("a") / "a.json"
    path.write_text(f" \n{json.dumps(rows, indent=indent, ensure_ascii=False)}\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "_CHUNK", chunk)
        found = list(iter_rows(path))
    assert found == list(enumerate(rows, start=1))


def test_lines_of_objects_under_the_name_json_are_jsonl(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}\n{"a": 2}\n')
    assert [row for _, row in iter_rows(tmp_path / "a.json")] == [{"a": 1}, {"a": 2}]


def test_an_entry_that_is_no_object_is_set_aside_with_its_number(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": 1}, 5, {"a": NaN}]')
    with Quarantine(tmp_path / "q.quarantine.jsonl") as quarantine:
        found = list(iter_rows(tmp_path / "a.json", quarantine))
    assert found == [(1, {"a": 1}), (3, {"a": None})]
    assert quarantine.first == "line 2: a int, not an object; make every entry of the array an object in braces"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"a": 1}, {"a": ', "damaged after entry 2: not JSON"),
        ('[{"a": 1}', "damaged after entry 1: the array does not end; fetch the file again"),
        ('[{"a": 1} {"a": 2}]', "damaged after entry 1: '{' stands where ',' should"),
        ("[" * 100_000, "damaged after entry 1: not JSON"),
    ],
)
def test_a_damaged_array_is_one_sentence(tmp_path, text, reason):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a\.json: " + reason.replace("{", r"\{")):
        list(iter_rows(tmp_path / "a.json"))
