import pytest
from step_rows import bench, changes, conversation, problem, removed, rows

from gppo.config import FormatConfig, LanguageConfig
from gppo.curate.form import scripts
from gppo.types import UserError

RESPONSES = {
    "box": "<think>a</think>So \\boxed{1}.",
    "fence": "<think>a</think>```python\nprint(1)\n```",
    "bare": "<think>a</think>It is 1.",
    "no tags": "So \\boxed{1}.",
    "open": "<think>So \\boxed{1}.",
    "twice": "<think>a</think><think>b</think>\\boxed{1}",
    "boxed in thought": "<think>\\boxed{1}</think>It is 1.",
    "open fence": "<think>a</think>```python\nprint(1)\n",
}


@pytest.mark.parametrize(
    ("options", "stay"),
    [
        ({}, {"box", "fence", "bare", "boxed in thought", "open fence"}),
        ({"box": True}, {"box"}),
        ({"fence": True}, {"fence"}),
        ({"box": True, "fence": True}, {"box", "fence"}),
        ({"think": False, "box": True}, {"box", "no tags", "twice"}),
    ],
)
def test_the_form_that_is_taught(tmp_path, options, stay):
    records = [conversation(name, "?", text) for name, text in RESPONSES.items()]
    found = changes(FormatConfig(step="format", **options), rows(records), bench(tmp_path, "conversations"))
    assert set(RESPONSES) - set(removed(found)) == stay


def test_problems_have_no_form(tmp_path):
    with pytest.raises(UserError, match="is for conversations"):
        changes(FormatConfig(step="format"), rows([problem("1", "a")]), bench(tmp_path))


def test_scripts_by_hand():
    assert scripts("Let 𝑥 be ½ of π, ok?") == {"latin": 10, "greek": 1}  # Let, 𝑥 (one Latin letter), be, of, ok
    assert scripts("解 x=2") == {"cjk": 1, "latin": 1}
    assert scripts("Да, 정답 2!") == {"cyrillic": 2, "hangul": 2}
    assert scripts("1+1=2 {}") == {}


def test_other_scripts_go(tmp_path):
    records = [
        conversation("english", "What is α?", "It is 1."),
        conversation("mixed", "What is it?", "我们 have 2 answers"),
        conversation("chinese", "求和", "答案是二"),
        conversation("signs", "1+1=?", "2"),
    ]
    at = bench(tmp_path, "conversations")
    found = changes(LanguageConfig(step="language"), rows(records), at)
    assert removed(found) == {"mixed": "another script", "chinese": "another script"}
    assert found[0].reason == "90% of its letters are wanted ones (cjk 2)"  # 19 of 21
    assert set(removed(changes(LanguageConfig(step="language", at_least=0.9), rows(records), at))) == {"chinese"}
    asked = changes(LanguageConfig(step="language", text="question"), rows(records), at)
    assert set(removed(asked)) == {"chinese"}
    wanted = changes(LanguageConfig(step="language", scripts=["CJK"], text="response"), rows(records), at)
    assert set(removed(wanted)) == {"english", "mixed"}
