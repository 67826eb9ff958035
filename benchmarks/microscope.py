"""How long the token microscope takes with responses of 32K tokens, in headless Chromium.

    python benchmarks/microscope.py

A page with 12 responses of 32,768 tokens (393,216 in all, what ``gppo report`` takes by default) is opened from disk.
Each time is from the event to the second animation frame after everything has followed, tables over all responses
included: the screen then shows the new state. The peer is the plain way: the same response as one span a token, all of
them in the document, each painted anew. Prints a table and one JSON line; milliseconds, medians.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from browser import Browser, find_browser
from gppo.report import write_report
from gppo.run import RolloutRow, RunFolder, write_rollouts

SHOWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
HELPERS = """
globalThis.timed = async (act) => {
  await %s;
  const began = performance.now();
  act();
  microscope.countNow();
  await %s;
  return performance.now() - began;
};
globalThis.pick = (place, name) => {
  const list = document.querySelector(`#${place} select`);
  list.value = name;
  list.dispatchEvent(new Event("change", { bubbles: true }));
};
globalThis.type = (value) => {
  const field = document.querySelector("#main input[name=epsilon_high]");
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
};
globalThis.plain = () => {
  document.getElementById("tokens").replaceChildren();
  const all = document.createElement("div");
  all.id = "plain";
  const { start, end } = microscope.data.rollouts[microscope.state.rollout];
  for (let i = start; i < end; i++) {
    const span = document.createElement("span");
    span.textContent = microscope.data.pieces[microscope.data.piece[i]];
    all.append(span);
  }
  all.style.whiteSpace = "pre-wrap";
  document.body.append(all);
};
globalThis.paintPlain = (name) => {
  pick("main", name);
  const { start } = microscope.data.rollouts[microscope.state.rollout];
  const { levels, flags } = microscope.tints();
  [...document.getElementById("plain").children].forEach((span, k) => {
    span.style.backgroundColor = `rgb(${200 + 6 * levels[k]}, 200, ${220 - 4 * levels[k]})`;
    span.className = flags[k] & 1 ? "t d" : "t";
  });
};
""" % (SHOWN, SHOWN)  # noqa: UP031  # JavaScript is full of braces


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=32768, help="of one response")
    parser.add_argument("--responses", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    program = find_browser()
    if program is None:
        print("No Chromium on PATH: install it, e.g. with `apt-get install chromium`.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = make_page(Path(folder) / "run", arguments.tokens, arguments.responses)
        browser = Browser(program, f"{folder}/profile")
        try:
            found = measure(browser, page, arguments.rounds)
        finally:
            browser.close()
    found["megabytes"] = round(page_size / 1e6, 1) if (page_size := found.pop("bytes")) else 0
    print(f"{arguments.responses} responses of {arguments.tokens:,} tokens, {found['megabytes']} MB")
    for name, value in found.items():
        if name != "megabytes":
            print(f"  {name:<34} {value:7.0f} ms")
    ours, peer = found["switch of the objective"], found["the same, one span a token"]
    print(
        json.dumps({"what": "switch of the objective, ms", "ours": ours, "peer": peer, "ratio": round(peer / ours, 2)})
    )
    return 0


def measure(browser: Browser, page: Path, rounds: int) -> dict[str, float]:
    """Medians over the rounds."""
    browser.open(page.as_uri(), 1280, 900, 1, settle=0)
    timing = "performance.timing.domComplete - performance.timing.navigationStart"
    found: dict[str, float] = {"bytes": page.stat().st_size, "open": browser.value(timing)}
    browser.value(HELPERS)
    objectives = ["gspo", "ppo", "cispo", "dcpo", "sapo", "aspo", "gppo", "ce_gppo", "clip_higher"]

    def median(expressions: list[str]) -> float:
        times = [browser.value(f"timed(() => {one})") for _ in range(rounds) for one in expressions]
        return round(statistics.median(times), 1)

    found["switch of the objective"] = median([f"pick('main', '{name}')" for name in objectives])
    browser.value("pick('main', 'clip_higher')")
    found["change of epsilon"] = median([f"type({value})" for value in (0.1, 0.2, 0.3, 0.5)])
    found["switch of the colour"] = median(
        [
            f"document.querySelector('input[value={mode}]').click()"
            for mode in ("ratio", "entropy", "difference", "weight")
        ]
    )
    found["another response"] = median([f"microscope.choose({k})" for k in (1, 2, 0)])
    found["jump to the last token"] = median(["microscope.keys(new KeyboardEvent('keydown', {key: 'End'}))"])
    browser.value("plain()")
    found["the same, one span a token"] = median([f"paintPlain('{name}')" for name in objectives[:3]])
    return found


def make_page(path: Path, tokens: int, responses: int) -> Path:
    """A run with long responses of made-up words, through the real writers."""
    rng = np.random.default_rng(0)
    run = RunFolder.create(path, "name: long\nrl: {objective: {name: gppo}}\n")
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = list(dict.fromkeys("".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(20000)))
    vocabulary = {"Ċ": 0, "Ġwait": 1, "Ġhowever": 2} | {f"Ġ{word}": i for i, word in enumerate(words, start=3)}
    folder = run.checkpoints / "rl" / "step-000001"
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(
        json.dumps({"model": {"vocab": vocabulary}, "decoder": {"type": "ByteLevel"}})
    )
    rows = []
    for k in range(responses):
        ids = rng.zipf(1.3, tokens) % len(vocabulary)
        ids[rng.random(tokens) < 0.02] = 0
        sampled = -rng.exponential(0.4, tokens).astype(np.float32)
        rows.append(
            RolloutRow(
                step=1,
                stage="math",
                problem_id=f"problem-{k // 4}",
                sample=k % 4,
                prompt_text="?",
                response_text="",
                prompt_ids=np.zeros(1, np.int32),
                response_ids=ids.astype(np.int32),
                sampled_logprobs=sampled,
                update_logprobs=sampled + rng.laplace(0, 0.04, tokens).astype(np.float32),
                entropy=rng.exponential(0.4, tokens).astype(np.float32),
                advantage=float(rng.normal()),
                coefficient=None,
                reward=1.0,
                reward_parts="{}",
                finish_reason="stop",
                verdict="correct",
                extracted=None,
                rule="",
                ground_truth="",
                difficulty="",
            )
        )
    write_rollouts(run.rollouts, 1, rows)
    write_report(path)
    return path / "microscope.html"


if __name__ == "__main__":
    sys.exit(main())
