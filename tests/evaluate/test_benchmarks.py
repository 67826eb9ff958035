"""Benchmarks: rows become the problems that the table promises, from the files as they are published."""

import base64
import gzip
import json
import os
import pickle
import re
import zlib
from datetime import date
from pathlib import Path

import pytest

from gppo.config import EvaluateConfig
from gppo.config.benchmarks import BENCHMARKS, BOXED
from gppo.evaluate.benchmarks import load_benchmark
from gppo.evaluate.benchmarks.livecodebench import pickled_text, private_tests
from gppo.records.quarantine import BadRowError
from gppo.types import UserError

DATA = Path(os.environ.get("GPPO_DATA") or Path(__file__).parents[3] / "shared" / "data")
real_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}; set GPPO_DATA")


def lines(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def contest(number=1, day="2025-01-05", private=None, starter="", name=None, **more):
    """A row as LiveCodeBench publishes it."""
    return {
        "question_title": "Add",
        "question_content": "Print the sum of two numbers.",
        "platform": "atcoder",
        "question_id": f"abc{number}_a",
        "contest_id": f"abc{number}",
        "contest_date": f"{day}T00:00:00",
        "starter_code": starter,
        "difficulty": "easy",
        "public_test_cases": json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]),
        "private_test_cases": packed([{"input": "5 6\n", "output": "11\n", "testtype": "stdin"}])
        if private is None
        else private,
        "metadata": json.dumps({} if name is None else {"func_name": name}),
    } | more


def packed(cases, protocol=4) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases), protocol))).decode()


def squeezed(payload: bytes) -> str:
    return base64.b64encode(zlib.compress(payload)).decode()


class TestTable:
    def test_a_row_names_one_state_of_its_data(self):
        assert len(BENCHMARKS) == 11
        for name, row in BENCHMARKS.items():
            assert row.hub.count("/") == 1, name
            assert re.fullmatch("[0-9a-f]{40}|main", row.revision), name
            assert row.k in (8, 64), name

    def test_the_papers_benchmarks_are_sampled_as_the_paper_says(self):
        sets = [{"benchmark": name} for name in ("aime24", "aime25", "hmmt25", "livecodebench-v5", "livecodebench-v6")]
        asked = EvaluateConfig.model_validate({"sets": sets})
        ways = [asked.ways(item.name) for item in asked.sets]
        assert [way.k for [way] in ways] == [64, 64, 64, 8, 8]
        for [way] in ways:
            assert (way.temperature, way.top_p, way.top_k, way.repetition_penalty) == (0.6, 0.95, 0, 1.0)
        released = EvaluateConfig.model_validate({"sets": sets, "preset": "released"})
        [way] = released.ways("aime24")
        assert (way.temperature, way.top_p, way.top_k, way.repetition_penalty) == (0.6, 0.95, 20, 1.05)
        assert way.label == "T=0.6 top-p 0.95 top-k 20 penalty 1.05"

    def test_what_a_recipe_says_of_sampling_counts_for_every_set(self):
        asked = EvaluateConfig.model_validate(
            {"sets": [{"benchmark": "aime24"}, {"name": "own", "data": "x.jsonl"}], "sampling": [{"k": 2}]}
        )
        assert [way.k for name in ("aime24", "own") for way in asked.ways(name)] == [2, 2]
        asked = EvaluateConfig.model_validate({"sets": [{"name": "own", "data": "x.jsonl"}]})
        assert [way.k for way in asked.ways("own")] == [8]

    @pytest.mark.parametrize(
        ("one", "words"),
        [
            ({"benchmark": "aime42"}, "no benchmark is called 'aime42'; did you mean 'aime"),
            ({"benchmark": "zzz"}, "there are aime24, "),
            ({"name": "own"}, r"give benchmark \(a public one\), data \(a file of problems\), or both"),
        ],
    )
    def test_mistakes_in_a_set(self, one, words):
        with pytest.raises(ValueError, match=words):
            EvaluateConfig.model_validate({"sets": [one]})

    def test_windows_meet_and_do_not_overlap(self):
        five, six = BENCHMARKS["livecodebench-v5"], BENCHMARKS["livecodebench-v6"]
        assert (five.since, five.before) == (date(2024, 8, 1), date(2025, 2, 1))
        assert (six.since, six.before) == (date(2025, 2, 1), date(2025, 5, 1))


@real_data
class TestPublishedFiles:
    @pytest.mark.parametrize(
        ("name", "file", "count"),
        [
            ("aime24", "aime24/test.jsonl", 30),
            ("aime24", "aime24/nemo_aime24.jsonl", 30),
            ("aime24", "klear_benchmarks/aime24.qs.jsonl", 30),
            ("aime25", "aime25/nemo_aime25.jsonl", 30),
            ("aime25", "klear_benchmarks/aime25.qs.jsonl", 30),
            ("hmmt25", "klear_benchmarks/HMMT-202502.jsonl", 30),
            ("math500", "math500/test.jsonl", 500),
            ("gsm8k", "gsm8k/test.jsonl", 1319),
            ("amc23", "amc23/test.jsonl", 40),
            ("humaneval", "humaneval/HumanEval.jsonl.gz", 164),
            ("mbpp", "mbpp/new_mbpp.json", 399),
            ("mbpp", "mbpp/MbppPlus.jsonl.gz", 378),
        ],
    )
    def test_every_row_is_a_problem(self, name, file, count):
        found = load_benchmark(name, DATA / file)
        assert len(found) == len({problem.id for problem in found}) == count
        suffix = BENCHMARKS[name].suffix
        for problem in found:
            [turn] = problem.prompt
            assert turn["role"] == "user"
            assert turn["content"].endswith(suffix)
            assert problem.id.startswith(f"{name}/")
            assert problem.ground_truth.strip()

    def test_the_same_contest_from_three_publishers_has_the_same_answers(self):
        files = ("aime24/test.jsonl", "aime24/nemo_aime24.jsonl", "klear_benchmarks/aime24.qs.jsonl")
        answers = [
            sorted(int(re.sub(r"\D", "", p.ground_truth)) for p in load_benchmark("aime24", DATA / f)) for f in files
        ]
        assert answers[0] == answers[1] == answers[2]

    def test_prompts_of_the_paper(self):
        aime = load_benchmark("aime24", DATA / "klear_benchmarks" / "aime24.qs.jsonl")[0]
        assert aime.prompt[0]["content"].startswith("Among the $900$ residents of Aimeville")
        assert aime.prompt[0]["content"].endswith("who own all four of these things.")  # the bare problem
        hmmt = load_benchmark("hmmt25", DATA / "klear_benchmarks" / "HMMT-202502.jsonl")[0]
        assert hmmt.prompt[0]["content"] == (
            "Compute the sum of the positive divisors (including $1$) of $9!$ that have units digit $1$."
            "\nPut your final answer within \\boxed{}."
        )
        assert hmmt.ground_truth == "103"

    def test_answers_as_the_files_hide_them(self):
        assert load_benchmark("gsm8k", DATA / "gsm8k" / "test.jsonl")[0].ground_truth == "18"
        assert load_benchmark("amc23", DATA / "amc23" / "test.jsonl")[0].ground_truth == "27"
        math = load_benchmark("math500", DATA / "math500" / "test.jsonl", limit=1)
        assert (math[0].ground_truth, math[0].difficulty) == (r"\left( 3, \frac{\pi}{2} \right)", "2")


class TestRows:
    def test_columns_of_the_hub(self, tmp_path):
        rows = [{"id": 3, "problem": "1+1?", "solution": "\\boxed{2}", "url": "u"}]
        [found] = load_benchmark("aime24", lines(tmp_path / "a.jsonl", rows))
        assert (found.id, found.prompt[0]["content"], found.ground_truth) == ("aime24/3", "1+1?", "\\boxed{2}")
        rows = [{"problem_idx": 7, "problem": "1+1?", "answer": "2", "problem_type": ["Algebra"]}]
        [found] = load_benchmark("hmmt25", lines(tmp_path / "a.jsonl", rows))
        assert (found.id, found.prompt[0]["content"]) == ("hmmt25/7", "1+1?" + BOXED)

    def test_olympiadbench(self, tmp_path):
        rows = [
            {"id": 1, "question": "x?", "final_answer": ["$2$"], "is_multiple_answer": False, "solution": ["long"]},
            {"id": 2, "question": "y?", "final_answer": ["1", "2"], "is_multiple_answer": True, "solution": ["long"]},
        ]
        found = load_benchmark("olympiadbench", lines(tmp_path / "o.jsonl", rows))
        assert [p.ground_truth for p in found] == ["$2$", "1, 2"]

    def test_a_folder_a_json_list_and_gzip(self, tmp_path):
        row = {"problem": "1+1?", "answer": "2"}
        (tmp_path / "list.json").write_text(json.dumps([row, row | {"answer": "3"}]))
        assert [p.id for p in load_benchmark("aime24", tmp_path / "list.json")] == ["aime24/0", "aime24/1"]
        with gzip.open(tmp_path / "x.jsonl.gz", "wt") as file:
            file.write(json.dumps(row))
        assert len(load_benchmark("aime24", tmp_path / "x.jsonl.gz")) == 1
        folder = tmp_path / "deep" / "lcb"
        folder.mkdir(parents=True)
        lines(folder / "test5.jsonl", [contest(1)])
        lines(folder / "test6.jsonl", [contest(2)])
        assert len(load_benchmark("livecodebench-v5", tmp_path)) == 2

    @pytest.mark.parametrize(
        ("rows", "words"),
        [
            ([{"problem": "x?"}], r"row 1: no row of aime24: no answer in .* \(it has problem\)"),
            ([{"answer": "1"}], "row 1: no row of aime24: no question in problem or question"),
            ([{"problem": "x?", "answer": ""}], "no answer"),
            ([{"problem": " ", "answer": "1"}], "no question"),
            ([{"messages": [], "answer": "1"}], "no question"),
            ([{"id": 1, "problem": "x", "answer": "1"}] * 2, "row 2: a second problem 'aime24/1' of aime24"),
        ],
    )
    def test_a_row_that_is_no_problem_stops_the_benchmark(self, tmp_path, rows, words):
        with pytest.raises(UserError, match=words) as caught:
            load_benchmark("aime24", lines(tmp_path / "a.jsonl", rows))
        assert "\n" not in str(caught.value)

    def test_files_that_cannot_be_read(self, tmp_path):
        for name, content, words in (
            ("a.json", "{}", "not a list of objects"),
            ("b.json", "[1", "not JSON that can be read"),
            ("c.txt", "", "unknown kind of file"),
        ):
            (tmp_path / name).write_text(content)
            with pytest.raises(UserError, match=words):
                load_benchmark("aime24", tmp_path / name)
        with pytest.raises(UserError, match="no such file"):
            load_benchmark("aime24", tmp_path / "nothing.jsonl")
        (tmp_path / "empty").mkdir()
        with pytest.raises(UserError, match=r"no file here is called test\.jsonl"):
            load_benchmark("aime25", tmp_path / "empty")

    def test_an_unreachable_hub_names_the_file_to_give(self, monkeypatch, tmp_path):
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(UserError) as caught:
            load_benchmark("aime24")
        assert str(caught.value) == (
            "the data set math-ai/aime24 cannot be fetched: http://127.0.0.1:9 cannot be reached from here, and the "
            "local cache does not hold it; give its rows as a file: {benchmark: aime24, data: FILE}"
        )


class TestLiveCodeBench:
    def test_the_boundary_day_is_the_later_windows(self, tmp_path):
        days = ("2024-07-31", "2024-08-01", "2025-01-31", "2025-02-01", "2025-04-30", "2025-05-01")
        path = lines(tmp_path / "t.jsonl", [contest(i, day) for i, day in enumerate(days)])
        ids = {n: [p.id for p in load_benchmark(f"livecodebench-{n}", path)] for n in ("v5", "v6")}
        assert ids["v5"] == ["livecodebench-v5/abc1_a", "livecodebench-v5/abc2_a"]
        assert ids["v6"] == ["livecodebench-v6/abc3_a", "livecodebench-v6/abc4_a"]
        with pytest.raises(UserError, match="no problems of livecodebench-v6 in it: its contests are those from"):
            load_benchmark("livecodebench-v6", lines(tmp_path / "t.jsonl", [contest()]))
        with pytest.raises(UserError, match="its contest_date is 'soon', no date"):
            load_benchmark("livecodebench-v6", lines(tmp_path / "t.jsonl", [contest(contest_date="soon")]))

    def test_prompts_and_tests(self, tmp_path):
        starter = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        "
        called = contest(
            2,
            starter=starter,
            name="add",
            public_test_cases=json.dumps([{"input": "1\n2", "output": "3", "testtype": "functional"}]),
            private_test_cases=json.dumps([{"input": "4\n5", "output": "9", "testtype": "functional"}]),
        )
        path = lines(tmp_path / "t.jsonl", [contest(1), called])
        plain, method = load_benchmark("livecodebench-v5", path)
        assert plain.prompt[0]["content"] == (
            "### Question:\nPrint the sum of two numbers.\n\n"
            "### Format: Read the inputs from stdin solve the problem and write the answer to stdout (do not directly "
            "test on the sample inputs). Enclose your code within delimiters as follows.\n"
            "```python\n# YOUR CODE HERE\n```\n\n"
            "### Answer: (use the provided format with backticks)\n\n"
        )
        assert f"```python\n{starter}\n```" in method.prompt[0]["content"]
        assert "starter code" in method.prompt[0]["content"]
        assert json.loads(plain.ground_truth) == {
            "inputs": ["1 2\n", "5 6\n"],
            "outputs": ["3\n", "11\n"],
            "fn_name": None,
        }
        assert json.loads(method.ground_truth) == {"inputs": ["1\n2", "4\n5"], "outputs": ["3", "9"], "fn_name": "add"}
        assert (plain.ability, plain.difficulty, plain.extra["judge"]) == ("code", "easy", "lcb")

    @pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
    def test_private_tests_of_every_protocol(self, protocol):
        cases = [{"input": "ä\n" * 300, "output": "1"}]
        assert private_tests(packed(cases, protocol)) == cases
        assert private_tests(json.dumps(cases)) == cases

    @pytest.mark.parametrize("protocol", [0, 2, 4])
    @pytest.mark.parametrize("name", ["reduce", "object", "list", "number", "two", "external"])
    def test_a_pickle_that_is_more_than_a_text_is_refused(self, tmp_path, protocol, name):
        mark = tmp_path / "was-run"

        class Attack:
            def __reduce__(self):
                return os.system, (f"touch {mark}",)

        payload = {
            "reduce": Attack(),
            "object": date(2025, 1, 1),
            "list": ["[]"],
            "number": 7,
            "two": ("[]", "[]"),
            "external": os.system,
        }[name]
        with pytest.raises(BadRowError, match=r"more than a pickled text|no pickled text"):
            private_tests(squeezed(pickle.dumps(payload, protocol)))
        assert not mark.exists()

    @pytest.mark.parametrize(
        "payload",
        [
            b"\x80\x04]" + b"]" * 10_000_000 + b".",  # ten million lists
            b"\x80\x04" + b"\x8c\x02[]" + b"r\xff\xff\xff\x7f" * 100 + b".",  # memory cells far apart
            b"\x80\x04cos\nsystem\n.",
            b"\x80\x04\x8c\x02[]",  # no end
            b"\x80\x04.",
            b"\x80\x04\x8d" + (2**60).to_bytes(8, "little") + b"x.",  # says that it is an exabyte
            b"",
            b"\x00\x01\x02",
        ],
    )
    def test_pickles_that_fill_memory_or_are_broken_are_refused(self, payload):
        with pytest.raises(BadRowError):
            pickled_text(payload)

    def test_zip_bombs_and_what_is_cut_short(self):
        bomb = squeezed(b"\0" * 5_000_000)
        with pytest.raises(BadRowError, match="unpack to more than 100000 bytes"):
            private_tests(bomb, max_bytes=100_000)
        whole = packed([{"input": "1", "output": "1"}] * 50)
        with pytest.raises(BadRowError, match="cut short"):
            private_tests(base64.b64encode(base64.b64decode(whole)[:-8]).decode())
        for text in ("not base64!", "AAAA", None, 7, squeezed(pickle.dumps("{broken"))):
            with pytest.raises(BadRowError):
                private_tests(text)

    def test_a_bad_row_is_named(self, tmp_path):
        path = lines(tmp_path / "t.jsonl", [contest(), contest(2, private="AAAA")])
        with pytest.raises(UserError, match=r"t\.jsonl, row 2: no row of livecodebench-v5: its private_test_cases"):
            load_benchmark("livecodebench-v5", path)
        path = lines(tmp_path / "t.jsonl", [contest(private=json.dumps([{"input": 1, "output": "1"}]))])
        with pytest.raises(UserError, match="not a list of input and output texts"):
            load_benchmark("livecodebench-v5", path)
