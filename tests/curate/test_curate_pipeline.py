import os
import random

import pytest
from curate_builders import EXACT, config, conversation, decontaminate, lines, problem
from rich.console import Console

from gppo.curate import curate, funnel_table
from gppo.records import read_conversations, read_problems, write_conversations, write_problems
from gppo.types import UserError

EXAM = "A train leaves town at noon and rides for three hours at forty miles an hour"


def test_problems_from_two_sources(tmp_path, run):
    write_problems(tmp_path / "a.jsonl", [problem("1", "Find x."), problem("2", "FIND  x."), problem("3", EXAM)])
    write_problems(tmp_path / "b.parquet", [problem("1", "Find y.", "web"), problem("4", "find x.")])
    write_problems(tmp_path / "exam.jsonl", [problem("e1", f"{EXAM}. How far does it ride?")])
    cfg = config(
        tmp_path, [tmp_path / "a.jsonl", tmp_path / "b.parquet"], EXACT, decontaminate(tmp_path / "exam.jsonl")
    )
    result = curate(cfg, run)

    kept = read_problems(cfg.output)
    assert [(p.id, p.prompt[0]["content"], p.data_source) for p in kept] == [
        ("1", "Find x.", "a"),
        ("1@b-1", "Find y.", "web"),
    ]
    assert (result.kind, result.rows) == ("problems", 2)
    steps = [(line["step"], line["rows_in"], line["rows_out"], line["why"]) for line in run.read_metrics("funnel")]
    assert steps == [
        ("read a", 3, 3, ""),
        ("read b", 2, 2, ""),
        ("exact duplicates", 5, 3, "exact duplicate 2 (a 1, b 1)"),
        (
            "9-gram overlap",
            3,
            2,
            "meets an evaluation problem 1 (a 1); against 1 problems of 1 evaluation sets",
        ),
    ]
    duplicates = lines(result.folder / "01-exact_dedup.jsonl")
    assert [(line["id"], line["source"], line["reason"]) for line in duplicates] == [
        ("2", "a", "asks the same as 1 of a"),
        ("4", "b", "asks the same as 1 of a"),
    ]
    (leak,) = lines(result.folder / "02-decontaminate.jsonl")
    assert (leak["row"], leak["id"], leak["source"]) == (2, "3", "a")
    assert leak["met"]["hits"] == [
        {
            "evaluation_set": "exam",
            "problem_id": "e1",
            "gram": "a train leaves town at noon and rides for",
            "overlap": pytest.approx(8 / 13),  # sixteen words and twenty-one
        }
    ]


def test_conversations_keep_several_answers_to_one_prompt(tmp_path, run):
    rows = [
        conversation("1", "Find x.", "4"),
        conversation("2", "find x.", "4"),
        conversation("3", "Find x.", "It is 4"),
        conversation("4", "Tell me.", EXAM),
        conversation("5", EXAM, "120"),
    ]
    write_conversations(tmp_path / "a.jsonl", rows)
    write_problems(tmp_path / "exam.jsonl", [problem("e1", EXAM)])
    cfg = config(
        tmp_path, [tmp_path / "a.jsonl"], EXACT, decontaminate(tmp_path / "exam.jsonl"), output=tmp_path / "out.parquet"
    )
    result = curate(cfg, run)
    assert result.kind == "conversations"
    assert [c.id for c in read_conversations(cfg.output)] == ["1", "3", "4"]  # an answer may say what an exam asks


@pytest.mark.parametrize("seed", range(3))
def test_everything_planted_is_found_and_nothing_else(tmp_path, run, seed):
    rng = random.Random(seed)
    vocabulary = [f"{a}{b}" for a in "bcdfghjklm" for b in "aeiou"]

    def sentence(length):
        return " ".join(rng.choice(vocabulary) for _ in range(length))

    exam = [sentence(20) for _ in range(20)] + [sentence(5) for _ in range(5)]
    clean = [sentence(rng.randint(4, 30)) for _ in range(200)]
    copies = [text.upper() if rng.random() < 0.5 else f" {text}\n" for text in rng.sample(clean, 30)]
    near = [f"start {' '.join(text.split()[3:11])} end" for text in exam[:20]]  # eight words
    leaked = [f"start {' '.join(text.split()[3:12])} end" for text in exam[:20]] + exam[20:]
    rest = [*copies, *near, *leaked]
    rng.shuffle(rest)
    texts = [*clean, *rest]
    write_problems(tmp_path / "a.jsonl", [problem(str(i), text) for i, text in enumerate(texts)])
    write_problems(tmp_path / "exam.jsonl", [problem(str(i), text) for i, text in enumerate(exam)])
    cfg = config(tmp_path, [tmp_path / "a.jsonl"], EXACT, decontaminate(tmp_path / "exam.jsonl"))
    result = curate(cfg, run)
    assert sorted(p.prompt[0]["content"] for p in read_problems(cfg.output)) == sorted(clean + near)
    assert {texts[int(line["id"])] for line in lines(result.folder / "02-decontaminate.jsonl")} == set(leaked)
    assert [(s.rows_in, s.rows_out) for s in result.funnel] == [(275, 275), (275, 245), (245, 220)]


def test_bad_rows_are_kept_with_the_reason_and_counted(tmp_path, run):
    write_problems(tmp_path / "a.jsonl", [problem("1", "Find x.")])
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('not json\n{"prompt": "no answer", "ability": "math"}\n')
    result = curate(config(tmp_path, [tmp_path / "a.jsonl"]), run)
    first = result.funnel[0]
    assert (first.rows_in, first.rows_out) == (3, 1)
    quarantine = run.path / "quarantine" / "the-set" / "1-a.quarantine.jsonl"
    assert str(quarantine) in first.why
    assert [line["line"] for line in lines(quarantine)] == [2, 3]
    assert not list(tmp_path.glob("*.quarantine.jsonl"))


def test_evaluation_rows_that_cannot_be_read_are_said(tmp_path, run):
    write_problems(tmp_path / "a.jsonl", [problem("1", "Find x.")])
    write_problems(tmp_path / "exam.jsonl", [problem("1", EXAM)])
    with (tmp_path / "exam.jsonl").open("a") as file:
        file.write("{}\n")
    result = curate(config(tmp_path, [tmp_path / "a.jsonl"], EXACT, decontaminate(tmp_path / "exam.jsonl")), run)
    assert "1 evaluation rows could not be read and are not guarded" in result.funnel[-1].why


def test_the_same_run_started_again_has_one_funnel(tmp_path, run):
    write_problems(tmp_path / "a.jsonl", [problem("1", "Find x.")])
    run.log("other", value=1)
    cfg = config(tmp_path, [tmp_path / "a.jsonl"])
    first, second = curate(cfg, run), curate(cfg, run)
    assert first.funnel == second.funnel
    assert len(run.read_metrics("funnel")) == 1
    assert len(run.read_metrics("other")) == 1


def test_two_sets_of_one_run_keep_their_lines_and_files_apart(tmp_path, run):
    write_problems(tmp_path / "a.jsonl", [problem("1", "Find x.")])
    (tmp_path / "more").mkdir()
    write_conversations(tmp_path / "more" / "a.jsonl", [conversation("1", "Find x.", "4")])
    for file in (tmp_path / "a.jsonl", tmp_path / "more" / "a.jsonl"):
        file.write_text(file.read_text() + "{}\n" * (file.parent == tmp_path))
    for _ in range(2):
        curate(config(tmp_path, [tmp_path / "a.jsonl"], name="RL set"), run)
        curate(config(tmp_path, [tmp_path / "more" / "a.jsonl"], name="SFT 集", output=tmp_path / "sft.jsonl"), run)
    assert [line["set"] for line in run.read_metrics("funnel")] == ["RL set", "SFT 集"]
    assert sorted(folder.name for folder in run.path.glob("curation/*")) == ["rl-set", "sft-集"]
    assert [file.parent.name for file in run.path.glob("quarantine/*/*")] == ["rl-set"]


def test_funnel_table_shows_what_went_where(tmp_path, run):
    write_problems(tmp_path / "a.jsonl", [problem("1", "Find x."), problem("2", "find x."), problem("3", "Find y.")])
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    result = curate(config(tmp_path, [tmp_path / "a.jsonl"], EXACT), run)
    console.print(funnel_table(result.title, result.funnel))
    text = console.export_text()
    assert "2 problems in" in text
    assert "1 (33.3%)" in text
    assert "exact duplicate 1 (a 1)" in text


def test_two_kinds_of_sources_are_refused(tmp_path, run):
    write_problems(tmp_path / "a.jsonl", [problem("1", "Find x.")])
    write_conversations(tmp_path / "b.jsonl", [conversation("1", "Find x.", "4")])
    with pytest.raises(UserError, match="'a' holds problems and 'b' holds conversations"):
        curate(config(tmp_path, [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]), run)


def test_columns_of_neither_kind_are_refused(tmp_path, run):
    (tmp_path / "a.jsonl").write_text('{"question": "x", "answer": "1"}\n')
    with pytest.raises(UserError, match="the first has question, answer; name its columns"):
        curate(config(tmp_path, [tmp_path / "a.jsonl"]), run)


def test_the_output_is_never_an_input(tmp_path, run):
    write_problems(tmp_path / "a.jsonl", [problem("1", "Find x.")])
    with pytest.raises(UserError, match="is also read"):
        curate(config(tmp_path, [tmp_path / "a.jsonl"], output=tmp_path / "run" / ".." / "a.jsonl"), run)
    assert len(read_problems(tmp_path / "a.jsonl")) == 1


def test_nothing_left_is_an_error_and_writes_nothing(tmp_path, run):
    write_problems(tmp_path / "a.jsonl", [problem("1", EXAM)])
    write_problems(tmp_path / "exam.jsonl", [problem("1", EXAM)])
    cfg = config(tmp_path, [tmp_path / "a.jsonl"], EXACT, decontaminate(tmp_path / "exam.jsonl"))
    with pytest.raises(UserError, match="nothing is left of a"):
        curate(cfg, run)
    assert not cfg.output.exists()
