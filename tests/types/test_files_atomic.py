import errno
import json
import resource
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.types import GppoError, UserError
from gppo.types.files import atomic_file, full_disk_as_error, json_line, plain


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    with atomic_file(path) as file:
        file.write(b"12")
        assert not path.exists()
    assert path.read_bytes() == b"12"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_inside_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as file:
        file.write(bytes([1, 2, 3 // 0]))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_caller_is_not_blamed_on_the_place(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "a.bin"):
        (tmp_path / "absent").read_bytes()


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot be written \(File exists\)"), atomic_file(tmp_path / "file" / "a"):
        pass
    with pytest.raises(UserError, match=r"cannot be written \(Is a directory\)"), atomic_file(tmp_path):
        pass


def test_full_disk(full_disk: Path) -> None:
    path = full_disk / "a.bin"
    with pytest.raises(GppoError) as caught, atomic_file(path) as file:
        file.write(bytes(10**6))
    assert str(caught.value) == f"{path}: no space left on the device; free some and run the same command again"
    assert not isinstance(caught.value, UserError)
    assert list(full_disk.iterdir()) == []


def test_no_inode_left(full_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=1", full_disk], check=True)
    with pytest.raises(GppoError, match="no space left"), atomic_file(full_disk / "a.bin"):
        pass


def test_size_limit(tmp_path: Path) -> None:
    code = (
        "import sys; from gppo.types.files import atomic_file\n"
        "with atomic_file(sys.argv[1]) as file: file.write(bytes(5000))"
    )
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # noqa: E731
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.bin"], preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert "a.bin: the limit on a file's size is reached; raise it (ulimit -f) and run the same command" in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output"), full_disk_as_error(tmp_path):
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (float("inf"), None),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([0.5, np.nan]), [0.5, None]),
        ((1, True, None), [1, True, None]),
        ({1: Path("a/b")}, {"1": "a/b"}),
        (date(2025, 1, 2), "2025-01-02"),
        (b"a\xff", "a\\xff"),
        (np.bool_(True), True),
    ],
)
def test_plain(value: object, expected: object) -> None:
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)


def test_what_json_does_not_know() -> None:
    with pytest.raises(TypeError, match="a set cannot be written as JSON"):
        plain({"a": {1}})
    assert plain([{1}], fallback=str) == ["{1}"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_a_line_is_one_line_of_strict_json(value: object) -> None:
    line = json_line(value)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line, parse_constant=lambda name: pytest.fail(name)) == plain(value)


def test_half_a_surrogate_pair_is_escaped() -> None:
    assert json_line("é\ud800") == '"é\\ud800"\n'.encode()
