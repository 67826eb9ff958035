import pytest

from gppo.verify import format_kept, split_thinking


@pytest.mark.parametrize(
    ("response", "prompt_opened", "status", "thought", "answer"),
    [
        ("The answer is 4.", False, "none", "", "The answer is 4."),
        ("", False, "none", "", ""),
        ("<think>a</think>b", False, "closed", "a", "b"),
        (" \n<think>\na\n</think>\nb", False, "closed", "a", "\nb"),
        ("a</think>b", True, "closed", "a", "b"),
        ("a</think>b", False, "closed", "a", "b"),  # the opening tag was in a prompt that the caller did not see
        ("<think>a</think>b<think>c</think>d", False, "closed", "a</think>b<think>c", "d"),
        ("<think>a", False, "open", "a", ""),
        ("a", True, "open", "a", ""),
        ("<think>a</think>b<think>c", False, "open", "a</think>b<think>c", ""),
        ("b <think>", False, "open", "b <think>", ""),
        ("<think>\\boxed{4}", False, "open", "\\boxed{4}", ""),
    ],
)
def test_split(response, prompt_opened, status, thought, answer):
    thinking = split_thinking(response, prompt_opened)
    assert (thinking.status, thinking.thought, thinking.answer) == (status, thought, answer)


@pytest.mark.parametrize(
    ("response", "prompt_opened", "kept"),
    [
        ("<think>a</think>b", False, True),
        ("\n <think>a</think>b", False, True),
        ("a</think>b", True, True),
        ("<think></think>b", False, True),
        ("b", False, False),
        ("<think>a</think>", False, False),
        ("<think>a</think> \n", False, False),
        ("<think>a", False, False),
        ("x<think>a</think>b", False, False),
        ("a</think>b", False, False),
        ("<think>a</think>b", True, False),  # opened twice
        ("<think>a</think>b</think>c", False, False),
        ("<think>a<think>b</think>c", False, False),
        ("<think>a</think>b<think>", False, False),
        ("</think>b<think>", False, False),
    ],
)
def test_format(response, prompt_opened, kept):
    assert format_kept(response, prompt_opened) is kept
