"""The microscope in a real browser: its weights are Python's, its marks are right, it is readable and loads nothing."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_run import HOSTILE, make_run

from gppo.objectives import OBJECTIVES, apply_dual_clip, default_params, get_objective
from gppo.report import write_report
from gppo.report.tokens import log_ratio_of, old_logprobs_of
from gppo.run import read_rollouts

GOLDEN = Path(__file__).parents[1] / "objectives" / "data" / "objective_weights.jsonl"
CONTRAST = (Path(__file__).parent / "page_checks.js").read_text()
STEP = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("scope") / "run", rl_steps=STEP)
    write_report(run.path)
    return run


@pytest.fixture
def page(browser, run):
    """The page, opened anew on a wide light screen."""
    browser.errors.clear()
    browser.requests.clear()
    browser.open(f"{(run.path / 'microscope.html').as_uri()}?theme=light", 1280, 900, 1, settle=0)
    assert browser.value("document.documentElement.dataset.ready") == "yes"
    return browser


def js(value) -> str:
    """A value as JavaScript: unlike in JSON, NaN and Infinity are words of it."""
    return json.dumps(value)


def page_weights(page, name, params, log_ratio, old, advantages, dual_clip=0, keep=False) -> list[float]:
    """What the page gives each token by itself, or a whole row where one advantage is given."""
    rows = "for (let i = 0; i < x.length; i++) microscope.weights.fill(s, x, q, A[i], i, i + 1, w);"
    whole = "microscope.weights.fill(s, x, q, A, 0, x.length, w);"
    settings = {"name": name, "params": params, "dualClip": dual_clip, "keep": keep}
    return page.value(
        f"(() => {{ const s = {js(settings)}, x = {js(log_ratio)}, q = {js(old)}, A = {js(advantages)}, w = [];"
        f"{rows if isinstance(advantages, list) else whole} return w; }})()"
    )


def python_weights(name, params, log_ratio, old, advantages, dual_clip=0, keep=False) -> np.ndarray:
    x, q = (torch.tensor([values], dtype=torch.float64) for values in (log_ratio, old))
    a = torch.tensor(advantages, dtype=torch.float64).expand(x.shape)
    mask = torch.ones_like(x, dtype=torch.bool)
    w = get_objective(name, params)(x, a, mask=mask, old_logprobs_BT=q)
    return (apply_dual_clip(w, x, a, dual_clip, keep) if dual_clip else w)[0].numpy()


def test_golden_weights(page):
    cases = [json.loads(line) for line in GOLDEN.open()]
    assert len(cases) > 8
    for case in cases:
        params = dict(case["params"])
        dual_clip = params.pop("dual_clip", 0)
        old = [-1.0] * len(case["log_ratio"])
        found = page_weights(page, case["objective"], params, case["log_ratio"], old, case["advantage"], dual_clip)
        np.testing.assert_allclose(found, case["weight"], rtol=1e-6, atol=1e-6, err_msg=case["objective"])


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_weights_are_pythons_for_any_input(page, name):
    rng = np.random.default_rng(5)
    log_ratio = [
        *rng.normal(0, 0.8, 60),
        0.0,
        30.0,
        -30.0,
        float("inf"),
        float("-inf"),
        float("nan"),
        *rng.normal(0, 1e-4, 20),
    ]
    old = [*(-rng.exponential(2.0, 70)), *(-rng.exponential(40.0, len(log_ratio) - 71)), -200.0]
    changed = {key: value * 1.7 if value * 1.7 < 1 else value for key, value in default_params(name).items()}
    for params in ({}, changed):
        for advantage in (1.3, -0.7, 0.0, float("nan")):
            for dual_clip, keep in ((0, False), (3, False), (3, True)):
                asked = (params, log_ratio, old, advantage, dual_clip, keep)
                found, expected = page_weights(page, name, *asked), python_weights(name, *asked)
                np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9, err_msg=f"{asked[0]} {advantage}")


def test_parameters_and_ranges_are_pythons(page):
    from gppo.objectives.catalogue import _RANGES

    assert page.value("microscope.weights.DEFAULTS") == {name: default_params(name) for name in OBJECTIVES}
    assert {key: tuple(found) for key, found in page.value("microscope.weights.RANGES").items()} == _RANGES


def rows_of(run, page) -> list:
    """The page's rollouts as they were saved, in its order."""
    saved = {(row.problem_id, row.sample): row for row in read_rollouts(run.rollouts, STEP)}
    return [saved[one["problem"], one["sample"]] for one in page.value("microscope.data.rollouts.map(r => ({...r}))")]


def weights_of(row, name, params) -> np.ndarray:
    return python_weights(name, params, log_ratio_of(row).tolist(), old_logprobs_of(row).tolist(), row.advantage)


def drop_all(page) -> None:
    """Put the whole response into the document, as scrolling does piece by piece."""
    page.value("document.getElementById('text').style.maxHeight = 'none'")
    page.value("new Promise(done => setTimeout(done, 100))")


def marked(page, kind: str) -> list[int]:
    """Places of the tokens that are shown with a class."""
    start = "microscope.data.rollouts[microscope.state.rollout].start"
    return page.value(f"[...document.querySelectorAll('#tokens .t.{kind}')].map(t => +t.id.slice(1) - {start})")


def choose(page, place: str, name: str, **params: float) -> None:
    """As a person does: choose in the select, then type into the fields."""
    page.value(
        f"(() => {{ const box = document.getElementById('{place}'), list = box.querySelector('select');"
        f"list.value = '{name}'; list.dispatchEvent(new Event('change', {{bubbles: true}}));"
        f"for (const [key, value] of Object.entries({js(params)})) {{"
        "const field = box.querySelector(`input[name=${key}]`);"
        "field.value = value; field.dispatchEvent(new Event('input', {bubbles: true})); } })()"
    )


SETTINGS = [
    ("ppo", {}),
    ("clip_higher", {"epsilon_low": 0.1, "epsilon_high": 0.5}),
    ("gppo", {}),
    ("ce_gppo", {"beta_low": 0.0}),
    ("cispo", {}),
    ("gspo", {}),
    ("gspo", {"epsilon_low": 0.3, "epsilon_high": 0.3}),
    ("sapo", {"tau_positive": 3.0}),
    ("aspo", {}),
    ("dcpo", {"epsilon_low": 0.02, "epsilon_high": 0.05}),
]


@pytest.mark.parametrize(("name", "params"), SETTINGS)
def test_a_switch_marks_the_tokens_that_python_drops(page, run, name, params):
    drop_all(page)
    choose(page, "main", name, **params)
    choose(page, "other", "cispo")
    for k, row in enumerate(rows_of(run, page)):
        page.value(f"microscope.choose({k})")
        if row.update_logprobs is None:
            assert marked(page, "n") == list(range(len(row.response_ids)))
            continue
        w = weights_of(row, name, params)
        dropped = np.flatnonzero(w == 0).tolist()
        assert marked(page, "d") == dropped
        assert marked(page, "g") == dropped  # CISPO gives every one of them a weight
        assert marked(page, "n") == []


def test_the_difference_is_what_comes_back(page, run):
    choose(page, "main", "clip_higher")
    choose(page, "other", "gppo")
    page.value("document.querySelector('input[value=difference]').click()")
    for k, row in enumerate(rows_of(run, page)):
        page.value(f"microscope.choose({k})")
        levels = np.array(page.value("[...microscope.tints().levels]"))
        if row.update_logprobs is None:
            assert not levels.any()
            continue
        difference = weights_of(row, "gppo", {}) - weights_of(row, "clip_higher", {})
        np.testing.assert_array_equal(np.sign(levels), np.sign(difference))


def table(page, name: str) -> list[list[str]]:
    page.value("microscope.countNow()")
    return page.value(f"[...document.querySelectorAll('#{name} tr')].map(r => [...r.children].map(c => c.textContent))")


def test_words_and_quadrants_are_counted(page, run):
    choose(page, "main", "clip_higher")
    rows = [row for row in rows_of(run, page) if row.update_logprobs is not None]
    masks = {"A > 0, ratio above": 0, "A > 0, ratio below": 0, "A < 0, ratio above": 0, "A < 0, ratio below": 0}
    for row in rows:
        r = np.exp(log_ratio_of(row).astype(np.float64))
        side = "A > 0" if row.advantage > 0 else "A < 0"
        masks[f"{side}, ratio above"] += int((r > 1.28).sum())
        masks[f"{side}, ratio below"] += int((r < 0.8).sum())
    found = {line[0]: int(line[1]) for line in table(page, "quadrants")}
    assert {key: found[key] for key in masks} == masks
    dropped = sum(int((weights_of(row, "clip_higher", {}) == 0).sum()) for row in rows)
    assert f"drops {dropped} of" in page.value("document.getElementById('verdict').textContent")
    assert sum(int(line[1]) for line in table(page, "words")) == dropped
    wait = sum(
        int(w == 0)
        for row in rows
        for w, text in zip(weights_of(row, "clip_higher", {}), pieces_of_row(page, row), strict=True)
        if text.strip().lower() == "wait"
    )
    assert {line[0]: int(line[1]) for line in table(page, "words")}.get("wait", 0) == wait


def pieces_of_row(page, row) -> list[str]:
    return page.value(
        "(() => { const r = microscope.data.rollouts.find("
        f"r => r.problem === {js(row.problem_id)} && r.sample === {row.sample});"
        "return [...microscope.data.piece.slice(r.start, r.end)].map(k => microscope.data.pieces[k]); })()"
    )


def test_a_quadrant_is_filtered_and_tokens_are_sorted(page, run):
    choose(page, "main", "clip_higher")
    page.value("(q => { q.value = 4; q.dispatchEvent(new Event('change')); })(document.getElementById('quadrant'))")
    rows = table(page, "outside")
    assert rows
    taken = [float(line[1]) * abs(float(line[2].replace("−", "-"))) for line in rows]
    assert all(float(line[1]) < 0.8 and line[2].startswith("−") and line[3] == "0" for line in rows)
    assert all(a > b - 1e-3 for a, b in pairwise(taken))  # the table shows four digits


def test_hostile_text_stays_text(page, run):
    k = next(k for k, row in enumerate(rows_of(run, page)) if HOSTILE in row.response_text)
    page.value(f"microscope.choose({k})")
    drop_all(page)
    assert page.value("document.getElementById('tokens').textContent").startswith(HOSTILE)
    assert page.value("document.title") == "synthetic · token microscope"
    assert page.value("document.images.length") == 0
    k = next(k for k, row in enumerate(rows_of(run, page)) if "שלום" in row.response_text)
    page.value(f"microscope.choose({k})")
    shown = page.value("document.getElementById('tokens').textContent")
    assert "‹U+202E›⋯⋯evil‹U+202C›⋯⋯" in shown
    assert "\u202e" not in shown
    assert shown.startswith("数⋯⋯学⋯⋯ ✅⋯⋯ ")  # a character of three bytes is three tokens here
    assert page.errors == []


PAGES = [("report", "light", 1280), ("report", "dark", 390)]  # its charts take seconds to draw
PAGES += [("microscope", theme, width) for theme in ("light", "dark") for width in (1280, 390)]


@pytest.mark.parametrize(("name", "theme", "width"), PAGES)
def test_pages_are_readable_and_load_nothing(browser, run, name, theme, width):
    address = f"{(run.path / name).as_uri()}.html?theme={theme}"
    browser.errors.clear()
    browser.requests.clear()
    browser.open(address, width, 900, 1, settle=0.6 if name == "report" else 0)
    assert browser.value("document.documentElement.dataset.ready") == "yes"
    assert browser.value("document.documentElement.scrollWidth") == width
    assert [url for url in browser.requests if url != "about:blank"] == [address]
    assert browser.errors == []
    modes = ("weight", "difference", "ratio", "advantage", "entropy") if name == "microscope" else ("",)
    for mode in modes:
        if mode:
            browser.value(f"document.querySelector('input[value={mode}]').click()")
        lowest = browser.value(CONTRAST)
        assert lowest[0][0] >= 4.5, (mode, lowest)


def test_the_page_can_be_used_from_the_keyboard(page, run):
    seen = []
    for _ in range(40):
        page.press("Tab")
        focus = page.value(
            "(e => { const s = getComputedStyle(e), n = getComputedStyle(e.nextElementSibling || e);"
            "return [e.id || e.name || e.textContent, s.outlineStyle !== 'none' || n.outlineStyle !== 'none']; })"
            "(document.activeElement)"
        )
        seen.append(focus[0])
        assert focus[1], f"{focus[0]} does not show that it has the focus"
        if focus[0] == "text":
            break
    stops = ["search", "rollout", "mode", "text"]
    assert [name for name in seen if name in stops] == stops
    row = rows_of(run, page)[page.value("microscope.state.rollout")]
    dropped = np.flatnonzero(weights_of(row, "clip_higher", {}) == 0)
    place = "microscope.state.token - microscope.data.rollouts[microscope.state.rollout].start"
    assert page.value(place) == dropped[0]  # the first one is chosen from the start
    for expected in dropped[1:3]:
        page.press("n")
        assert page.value(place) == expected
    page.press("p")
    assert page.value(place) == dropped[1]
    page.press("ArrowRight")
    assert page.value(place) == dropped[1] + 1
    page.press("End")
    assert page.value(place) == len(row.response_ids) - 1
    assert page.value("document.getElementById('text').getAttribute('aria-activedescendant')") == page.value(
        "document.querySelector('#tokens .s').id"
    )
    names = page.value("[...document.querySelectorAll('#nine th')].map(c => c.textContent.replace(/ [●○]/, ''))")
    assert len(names) == 9


def test_rollouts_are_found_by_words(page, run):
    page.value(
        "(s => { s.value = 'sums-00004 sample 1'; s.dispatchEvent(new Event('input')); })"
        "(document.getElementById('search'))"
    )
    assert page.value("document.getElementById('rollout').options.length") == 1
    row = rows_of(run, page)[page.value("microscope.state.rollout")]
    assert (row.problem_id, row.sample) == ("sums-00004", 1)
