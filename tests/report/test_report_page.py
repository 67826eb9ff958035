import json
import re
from html.parser import HTMLParser

import pytest
import yaml
from synthetic_run import HOSTILE, evaluation, make_run, recipe

from gppo.evaluate import save_evaluation
from gppo.report import write_report
from gppo.run import RunFolder
from gppo.types import GppoError, UserError

ALL_SECTIONS = ["accuracy", "learning", "clipping", "health", "time", "samples", "setup"]


class Page(HTMLParser):
    """What a browser's parser sees: elements with their attributes, text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside == "style":
            self.styles.append(data)
        else:
            self.text += data

    def ids(self, tag: str) -> list[str]:
        return [attrs["id"] for name, attrs in self.elements if name == tag and attrs.get("id")]

    @property
    def figures(self) -> dict:
        return json.loads(next(script for script in self.scripts if script.startswith("{")))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(path of the page, its HTML, the parsed page) of a finished run with hostile responses."""
    path = write_report(make_run(tmp_path_factory.mktemp("finished") / "run").path)
    html = path.read_text(encoding="utf-8")
    return path, html, Page(html)


def page_of(path) -> Page:
    return Page(write_report(path).read_text(encoding="utf-8"))


def test_a_finished_run_has_every_section(finished):
    path, _, page = finished
    assert path.name == "report.html"
    assert page.ids("section") == ALL_SECTIONS
    assert "Not finished" not in page.text


def test_headline_shows_both_ends_and_the_paired_difference(finished):
    path, _, page = finished
    files = sorted((path.parent / "evaluations").glob("*T-1.json"))
    first, last = (json.loads(file.read_text()) for file in (files[0], files[-1]))
    for one in (first, last):
        assert f"{100 * one['summary']['avg']:.1f} %" in page.text
        assert f"± {100 * one['summary']['se_question']:.1f}" in page.text
    assert f"+{100 * last['since_first']['mean']:.1f} points" in page.text
    assert "Step 0 to 12; 240 problems, 8 samples each" in page.text


def test_unseen_difficulties_are_marked_and_every_dot_has_its_error(finished):
    figure = finished[2].figures["accuracy-0"]
    assert figure["layout"]["yaxis"]["categoryarray"] == ["9 steps · unseen", "6 steps", "4 steps", "all problems"]
    dots = [trace for trace in figure["data"] if "error_x" in trace]
    assert [trace["name"] for trace in dots] == ["before (step 0)", "after (step 12)"]
    assert all(len(trace["error_x"]["array"]) == 4 for trace in dots)


def test_every_figure_has_its_place_and_words(finished):
    page = finished[2]
    places = {attrs["id"]: attrs for _, attrs in page.elements if (attrs.get("id") or "").startswith("plot-")}
    assert {f"plot-{name}" for name in page.figures} == set(places)
    assert all(attrs["role"] == "img" and len(attrs["aria-label"]) > 30 for attrs in places.values())


def test_curves_hold_the_metrics(finished):
    path, _, page = finished
    metrics = RunFolder.open(path.parent).read_metrics("rl")
    (trace,) = page.figures["reward"]["data"]
    assert trace["x"] == [line["step"] for line in metrics]
    assert trace["y"] == [line["reward_mean"] for line in metrics]
    quadrants = {trace["name"]: trace["y"] for trace in page.figures["quadrants"]["data"]}
    assert quadrants["A &gt; 0, ratio high"] == [line["clip_positive_high"] for line in metrics]
    assert quadrants["A &lt; 0, ratio low"] == [line["clip_negative_low"] for line in metrics]
    largest = next(trace for trace in page.figures["mismatch"]["data"] if trace["name"] == "largest")
    assert 2 not in largest["x"]  # it was NaN at step 2


def test_samples_show_the_ends(finished):
    text = " ".join(finished[2].text.split())
    beside, best = text.index("Worst and best of one group"), text.index(" Best ")
    assert beside < text.index("reward −1.5 unparsable") < text.index("reward 1 correct") < best
    worst = text.index(" Worst ", best)
    assert best < text.index("reward 1 correct", best) < worst < text.index("reward −1.5 unparsable", worst)
    assert "Reasoning, never closed" in text
    assert "never judged" not in text


def test_hostile_text_stays_text(finished):
    _, html, page = finished
    assert HOSTILE in page.text
    assert "<script>document.title" not in html
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert not [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)]
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 4


def test_hostile_names_stay_text_inside_scripts(tmp_path):
    run = RunFolder.create(tmp_path / "run", yaml.safe_dump(recipe(HOSTILE, 2)))
    run.log("info", unseen_difficulties=[HOSTILE])
    run.log("funnel", step=HOSTILE, rows_in=2, rows_out=1, why=HOSTILE)
    for step in (1, 2):
        run.log("rl", step=step, stage=f"{step}{HOSTILE}", reward_mean=0.0, correct_share=0.5)
    made = evaluation("x", 0, 2, k=2, problems=3)
    save_evaluation(
        run.evaluations, type(made)(HOSTILE, 0, made.sampling, made.problem_ids, (HOSTILE,) * 3, *_arrays(made))
    )
    page = page_of(run.path)
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 4
    assert not [tag for tag, _ in page.elements if tag == "img"]
    # Plotly reads tags in its labels, so there they are entities.
    assert "<script>" not in json.dumps(page.figures)
    assert "&lt;script&gt;" in json.dumps(page.figures)


def _arrays(made):
    return made.correct_PK, made.valid_PK, made.lengths_PK, made.truncated_PK


def test_nothing_is_loaded_from_anywhere(finished):
    _, html, page = finished
    for tag, attrs in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert "src" not in attrs
        assert (attrs.get("href") or "#").startswith("#") or attrs["href"] == "microscope.html"
    styles = "".join(page.styles)
    assert not re.search(r"@import|url\(", styles)
    own = [script for script in page.scripts if "plotly.js v" not in script]
    assert len(own) == len(page.scripts) - 1  # the library is there once
    assert not re.search(r"fetch\(|XMLHttpRequest|https?://", "".join(script for script in own if script[0] != "{"))
    policy = next(attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy.split("script-src")[1]
    assert len(html) < 6_000_000


def test_a_run_that_was_stopped_half_way(tmp_path):
    run = make_run(tmp_path / "run", rl_steps=5, planned=12)
    with run.metrics.open("a") as file:
        file.write('{"kind": "rl", "step": 6, "rew')
    page = page_of(run.path)
    assert page.ids("section") == ALL_SECTIONS
    assert "Not finished: 5 of 12 steps" in page.text
    assert page.figures["reward"]["data"][0]["x"] == [1, 2, 3, 4, 5]


def test_a_resumed_run_counts_a_step_once(tmp_path):
    run = RunFolder.create(tmp_path / "run", yaml.safe_dump(recipe("x", 2)))
    for step, reward in [(1, 0.1), (2, 0.2), (2, 0.7)]:
        run.log("rl", step=step, stage="sums", reward_mean=reward)
    (trace,) = page_of(run.path).figures["reward"]["data"]
    assert (trace["x"], trace["y"]) == ([1, 2], [0.1, 0.7])


def test_only_sft(tmp_path):
    run = RunFolder.create(tmp_path / "run", "name: tuned\n")
    run.log("sft", step=1, loss=2.0, seconds=1.0)
    run.log("sft", step=2, loss=1.0, seconds=1.0)
    page = page_of(run.path)
    assert page.ids("section") == ["learning", "setup"]
    assert list(page.figures) == ["sft-loss"]


def test_only_an_evaluation(tmp_path):
    run = RunFolder.create(tmp_path / "run", "name: scored\n")
    save_evaluation(run.evaluations, evaluation("aime greedy", 0, 10, k=1))
    page = page_of(run.path)
    assert page.ids("section") == ["accuracy", "setup"]
    dots = [trace for trace in page.figures["accuracy-0"]["data"] if "error_x" in trace]
    assert [trace["name"] for trace in dots] == ["step 0"]
    assert "→" not in page.text


def test_a_run_that_has_just_begun(tmp_path):
    page = page_of(RunFolder.create(tmp_path / "run", "name: new\n").path)
    assert page.ids("section") == ["setup"]
    assert page.figures == {}


def test_stages_are_marked(tmp_path):
    run = RunFolder.create(tmp_path / "run", "name: two\n")
    for step, stage in [(1, "math"), (2, "math"), (3, "code")]:
        run.log("rl", step=step, stage=stage, reward_mean=0.0)
    layout = page_of(run.path).figures["reward"]["layout"]
    assert [(mark["x"], mark["text"]) for mark in layout["annotations"]] == [(2.5, " code")]


def test_title_can_be_given(tmp_path):
    run = RunFolder.create(tmp_path / "run", "name: named\n")
    assert "<h1>A better name</h1>" in write_report(run.path, "A better name").read_text()
    assert "<h1>named</h1>" in write_report(run.path).read_text()


def test_what_is_no_run_is_said_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        write_report(tmp_path / "missing")
    with pytest.raises(UserError, match="not a run folder"):
        write_report(tmp_path)


def test_damaged_files_are_named(tmp_path):
    run = RunFolder.create(tmp_path / "run", "name: x\n")
    bad = run.evaluations / "step-000000--x.json"
    for content in ("{", "{}"):
        bad.write_text(content)
        with pytest.raises(GppoError, match=r"step-000000--x\.json"):
            write_report(run.path)


def test_a_browser_draws_every_chart_and_runs_nothing_else(finished, browser):
    browser.open(finished[0].as_uri(), 1280, 900, 1)
    assert browser.value("document.documentElement.dataset.ready") == "yes"
    assert browser.value("document.title") == "synthetic · gppo report"
    assert browser.value("document.querySelectorAll('.plot.js-plotly-plot').length") == len(finished[2].figures)
