import re

from curate_builders import EXACT, config, conversation, decontaminate, lines, problem

from gppo.curate import curate, write_page
from gppo.curate.tally import examples_of
from gppo.records import write_conversations, write_problems

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7 * 7 }}"


def test_what_the_data_holds_stays_text(tmp_path, run):
    rows = [problem("1", HOSTILE), problem(HOSTILE, HOSTILE.upper()), problem("3", "What else is there?")]
    write_problems(tmp_path / "a.jsonl", rows)
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write(f'{{"prompt": "</pre><script>alert(3)</script>"}}\n<script>alert(4)</script>\n')  # noqa: F541
    html = write_page(
        run.path, [curate(config(tmp_path, [tmp_path / "a.jsonl"], EXACT, name=HOSTILE), run)]
    ).read_text()
    assert "alert(1)" in html
    assert "alert(4)" in html
    for tag in re.findall(
        r"<(?:script|img)[^>]*>", html.split("<script>")[0] + html.split("</header>")[1].split("<footer")[0]
    ):
        raise AssertionError(f"markup from the data: {tag}")
    assert "{{ 7 * 7 }}" in html
    assert re.search(r"(?:src|href)=[\"'](?!#|data:)", html.split("</header>")[1].split("<footer")[0]) is None
    assert "default-src 'none'" in html


def test_the_page_shows_funnel_mix_lengths_difficulty_and_what_went(tmp_path, run):
    rows = [conversation(str(i), f"question number {i} " + "word " * i, "an answer") for i in range(30)]
    write_conversations(tmp_path / "a.jsonl", [*rows, *(conversation(f"c{i}", *_texts(rows[i])) for i in range(25))])
    write_problems(tmp_path / "exam.jsonl", [problem("e", "question number 20 " + "word " * 20)])
    cfg = config(tmp_path, [tmp_path / "a.jsonl"], EXACT, decontaminate(tmp_path / "exam.jsonl", ngram=5))
    result = curate(cfg, run)
    html = write_page(run.path, [result]).read_text()
    assert dict(result.tally.sources) == {"a": result.rows}
    assert sum(result.tally.questions.values()) == sum(result.tally.answers.values()) == result.rows
    for chart in ("mix-0", "questions-0", "answers-0"):
        assert f'id="plot-{chart}"' in html
    assert "25 rows, 20 of them here" in html
    examples = examples_of(result.spool.path, result.spool.ledgers)
    removed = {line["id"]: line["reason"] for line in lines(result.folder / "01-exact_dedup.jsonl")}
    shown = examples["exact duplicate"]
    assert len(shown) == len({one.id for one in shown}) == 20
    assert all(removed[one.id] == one.reason and one.question.startswith("question number") for one in shown)
    assert all(one.answer == "an answer" for one in shown)
    assert examples == examples_of(result.spool.path, result.spool.ledgers)


def _texts(row):
    return [turn["content"] for turn in row.messages]
