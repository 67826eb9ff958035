"""A run in the terminal, live: drawn anew from the run folder, which another process writes, as often as it grows."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gppo.report.numbers import compact, number
from gppo.report.reading import by_step
from gppo.report.visible import visible
from gppo.run import RunFolder
from gppo.run.lock import holder
from gppo.run.progress import duration
from gppo.run.rollouts import first_rollout, rollout_steps

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Line = dict[str, Any]
_BLOCKS = "▁▂▃▄▅▆▇█"
_WINDOW = 16  # steps by which the pace is measured

#: Label, metric, style; in the order of what a person looks at first.
RL_ROWS = (
    ("reward", "reward_mean", "cyan"),
    ("correct", "correct_share", "green"),
    ("entropy", "entropy", "cyan"),
    ("gradient norm", "grad_norm", "yellow"),
    ("KL to sampler", "kl_old", "cyan"),
    ("length", "length_mean", "cyan"),
    ("truncated", "truncated_share", "yellow"),
    ("A>0 r above ✂", "clip_positive_high", "red"),
    ("A<0 r below ✂", "clip_negative_low", "blue"),
    ("A>0 r below", "clip_positive_low", "dim"),
    ("A<0 r above", "clip_negative_high", "dim"),
    ("step seconds", "seconds", "magenta"),
)
SFT_ROWS = (
    ("loss", "loss", "cyan"),
    ("gradient norm", "grad_norm", "yellow"),
    ("learning rate", "learning_rate", "dim"),
    ("step seconds", "seconds", "magenta"),
)


@dataclass(frozen=True, slots=True)
class State:
    """What a frame is drawn from.

    Args:
        path: the run folder.
        recipe: as resolved; empty where the run has not begun.
        stage: "sft" or "rl", whichever wrote last; "" before the first line.
        lines: the metrics of that stage, one a step.
        steps: how many it will have, None where nobody knows.
        sample: the first response of the last saved step, {} where there is none.
        process: the number of the process that works in the folder, None where there is none on this machine.
    """

    path: Path
    recipe: Line
    stage: str
    lines: list[Line]
    steps: int | None
    sample: Line
    process: int | None


def read_state(path: Path) -> State:
    """Look at the folder. Whatever is missing yet is empty.

    Raises:
        GppoError: the metrics are damaged.
    """
    run = RunFolder(path)
    recipe = yaml.safe_load(run.recipe.read_text(encoding="utf-8")) if run.recipe.is_file() else {}
    lines = [line for line in run.read_metrics() if line.get("kind") in ("sft", "rl")]
    stage = lines[-1]["kind"] if lines else ""
    shown = by_step([line for line in lines if line["kind"] == stage])
    saved = rollout_steps(run.rollouts)
    sample = first_rollout(run.rollouts, saved[-1]) if stage == "rl" and saved else {}
    return State(path, recipe or {}, stage, shown, _planned(recipe or {}, stage), sample, holder(path))


def watch(path: Path, console: "Console", *, once: bool = False, every: float = 2.0) -> None:
    """Show the run until Ctrl-C; with ``once``, print one frame and return.

    Args:
        path: the run folder, which need not exist yet.
        console: where to draw.
        once: for scripts and logs.
        every: seconds between two looks.
    """
    from rich.live import Live

    if once:
        console.print(frame(read_state(path), console.width, console.height))
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        state, seen = read_state(path), _stamp(path)
        while True:
            live.update(frame(state, console.width, console.height), refresh=True)
            time.sleep(every)
            now = _stamp(path)  # metrics of a long run are megabytes: they are read when they have changed
            state = read_state(path) if now != seen or now is None else replace(state, process=holder(path))
            seen = now


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever the metrics do; None while there are none."""
    metrics = RunFolder(path).metrics
    if not metrics.exists():
        return None
    found = metrics.stat()
    return found.st_mtime_ns, found.st_size


def frame(state: State, width: int, height: int, clock: Callable[[], float] = time.time) -> "RenderableType":
    """One picture of the run, at most ``width`` columns wide and ``height`` lines high."""
    from rich.console import Group
    from rich.text import Text

    head = [Text(_title(state), style="bold", no_wrap=True, overflow="ellipsis"), _progress(state, width, clock())]
    if not state.lines:
        return Group(*head)
    rows = RL_ROWS if state.stage == "rl" else SFT_ROWS
    table = [
        _row(state.lines, width, *row)
        for row in rows
        if any(number(line.get(row[1])) is not None for line in state.lines)
    ]
    room = height - len(head) - len(table) - 2
    return Group(*head, *table, *(_sample(state.sample, width, room) if state.sample and room > 1 else ()))


def sparkline(values: list[float | None], width: int) -> str:
    """The values as blocks from the lowest to the highest; several values that share a column are averaged.

    A column without a number is a space; values that are all equal are drawn low.
    """
    columns = []
    count = min(width, len(values))
    for k in range(count):
        part = values[k * len(values) // count : (k + 1) * len(values) // count]
        there = [value for value in part if value is not None]
        columns.append(sum(there) / len(there) if there else None)
    known = [value for value in columns if value is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    top = len(_BLOCKS) - 1
    return "".join(" " if v is None else _BLOCKS[round(top * (v - low) / span) if span else 0] for v in columns)


def seconds_left(lines: list[Line], steps: int | None) -> float | None:
    """Until the last step, at the pace of the last 16, evaluations and checkpoints included; None if nobody knows."""
    marks = [(line["time"], line["step"]) for line in lines[-_WINDOW - 1 :] if number(line.get("time")) is not None]
    if steps is None or len(marks) < 2 or marks[-1][1] <= marks[0][1]:
        return None
    pace = (marks[-1][0] - marks[0][0]) / (marks[-1][1] - marks[0][1])
    return float(max(0.0, pace * (steps - marks[-1][1])))


def _title(state: State) -> str:
    rl = state.recipe.get("rl") or {}
    objective = (rl.get("objective") or {}).get("name", "")
    return visible(
        " · ".join(filter(None, [str(state.recipe.get("name") or state.path.name), objective, str(state.path)]))
    )


def _progress(state: State, width: int, now: float) -> "RenderableType":
    from rich.text import Text

    alive = f"process {state.process}" if state.process else "no process works on it here"
    if not state.recipe:
        return Text("Not begun: there is no run in this folder yet.", style="yellow")
    if not state.lines:
        return Text(f"No step yet; {alive}.", style="yellow")
    last = state.lines[-1]
    done, total = last["step"], state.steps
    share = min(1.0, done / total) if total else 0.0
    bar = "━" * round(share * 16) + "╌" * (16 - round(share * 16))
    words = [f"{state.stage.upper()} {done}{f' of {total}' if total else ''}", str(last.get("stage") or "")]
    left = seconds_left(state.lines, total)
    if total and done >= total:
        words.append("done" if not state.process else f"last step done, {alive}")
    else:
        words += [f"{duration(left)} left" if left is not None and state.process else "", alive]
    age = now - (number(last.get("time")) or now)
    words.append(f"{duration(max(0.0, age))} ago")
    text = f"{bar} " + " · ".join(filter(None, words))
    return Text(text[:width], style="green" if state.process or share == 1 else "yellow", no_wrap=True)


def _row(lines: list[Line], width: int, label: str, key: str, style: str) -> "RenderableType":
    from rich.text import Text

    values = [number(line.get(key)) for line in lines]
    last = next((value for value in reversed(values) if value is not None), None)
    said = (
        f"{100 * last:.3g} %"
        if last is not None and (key.endswith("_share") or key.startswith("clip_"))
        else compact(last)
    )
    space = max(8, width - 16 - 12)
    text = Text(f"{label:<15} ", no_wrap=True)
    text.append(f"{said:>10} ", style="bold")
    text.append(sparkline(values, space), style=style)
    return text


def _sample(sample: Line, width: int, room: int) -> "list[RenderableType]":
    """The head of a response, as far as there is room."""
    from rich.text import Text

    said = (
        f"step {sample['step']}, {sample['problem_id']}: {sample['verdict'] or '–'}, reward {compact(sample['reward'])}"
    )
    text = " ".join(visible(sample["response_text"]).split())
    lines = [text[k : k + width - 2] for k in range(0, min(len(text), (width - 2) * (room - 1)), width - 2)]
    return [
        Text(visible(said)[:width], style="bold dim", no_wrap=True),
        *(Text(f"  {line}", no_wrap=True) for line in lines),
    ]


def _planned(recipe: Line, stage: str) -> int | None:
    if stage == "rl":
        stages = (recipe.get("rl") or {}).get("stages") or []
        return sum(int(one.get("steps") or 0) for one in stages) or None
    steps = (recipe.get("sft") or {}).get("steps")
    return int(steps) if steps else None
