import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.verify.code import extract_code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\nprint(1)\n```", "print(1)\n"),
        ("```\na\n```\nthen\n```python\nb\n```\ndone", "b\n"),
        ("```python\na\n```\n```text\noutput\n```", "output\n"),  # the last block, whatever it says it is
        ("```python\na\n```\n```python\nb", "a\n"),  # not closed: no block
        ("no fence", None),
        ("```python\n```", None),
        ("```python\n  \n```", None),
        ("```python\na", None),
        ("inline ```python a``` only", None),
        ("```python\r\na\r\n```\r\n", "a\n"),
        ("1. so:\n   ```python\n   def f():\n       return 1\n   ```", "def f():\n    return 1\n"),
        ("````\n```\ninner\n```\n````", "```\ninner\n```\n"),
        ("~~~python\na\n```\n~~~", "a\n```\n"),
        (
            '```python\ndef f():\n    """\n    ```\n    x\n    ```\n    """\n```',
            'def f():\n    """\n    ```\n    x\n    ```\n    """\n',
        ),
        ("```python\na = '```x'\n```", "a = '```x'\n"),
        ("```python\na\n``` \nb", "a\n"),
        ("```a `b` c\nx\n```\ny\n```", "y\n"),  # backticks after a fence: it is inline code; the next fence opens
    ],
)
def test_the_last_closed_block(text, code):
    assert extract_code(text) == code


@given(st.text(st.characters(exclude_characters="`~\r"), min_size=1).filter(str.strip), st.text())
def test_a_block_comes_back_as_it_was(code, before):
    before = before.replace("`", "").replace("~", "")
    found = extract_code(f"{before}\n```python\n{code}\n```\nbye")
    assert found == code + "\n"


def test_many_fences_take_linear_time():
    assert extract_code("```\n" * 400_001) is None
    assert extract_code("`" * 1_000_000) is None
