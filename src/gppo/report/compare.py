"""Several runs on one page: curves side by side, seeds of one recipe as a band, paired differences of evaluations."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from gppo.report.charts import Chart, Figure, label
from gppo.report.headline import point_of
from gppo.report.numbers import NOTHING, count, number, percent, points
from gppo.report.page import page_of
from gppo.report.reading import RunData, read_run
from gppo.report.section import Section, section_of
from gppo.run.changes import differing_keys
from gppo.types.files import atomic_file

Line = dict[str, Any]
COLORS = ("--accent", "--q-positive-high", "--after", "--warn", "--before", "--ink-2")
#: What may differ between the seeds of one recipe.
_OWN = ("name", "seed", "run_dir", "threads", "device", "trackers")

#: Id, title, note, metric, whether it is a share.
CURVES = (
    ("reward", "Mean reward", "Of all responses sampled in a step.", "reward_mean", False),
    ("correct", "Share correct", "Of the training samples of a step.", "correct_share", True),
    ("entropy", "Entropy", "Nats a token.", "entropy", False),
    ("grad-norm", "Gradient norm", "Before it is scaled down.", "grad_norm", False),
    ("kl", "Distance from the sampling policy", "KL in nats a token.", "kl_old", False),
    ("length", "Response length", "Tokens.", "length_mean", False),
    ("truncated", "Truncated", "Responses cut at the limit.", "truncated_share", True),
    ("high", "A > 0, ratio above the range", "Share of tokens; PPO drops them.", "clip_positive_high", True),
    ("low", "A < 0, ratio below the range", "Share of tokens; PPO drops them.", "clip_negative_low", True),
    ("seconds", "Seconds a step", "Sampling, judging and update.", "seconds", False),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """One evaluation of two runs, paired by problem. Shares; None where undefined.

    Args:
        evaluation: its name.
        before: the run that is subtracted.
        after: the other run.
        mean: after - before.
        low: lower end of its 95 % interval.
        high: upper end.
        p: of no difference; None where it was not computed.
        problems: how many.
    """

    evaluation: str
    before: str
    after: str
    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    problems: int


@dataclass(frozen=True, slots=True)
class Family:
    """Runs of one recipe, which differ in their seed only."""

    name: str
    runs: list[RunData]


def write_comparison(folders: Sequence[Path], path: Path, differences: Sequence[Difference] = ()) -> Path:
    """Write a page that shows runs beside each other, and return its path.

    Args:
        folders: run folders, two or more.
        path: the page.
        differences: of their last evaluations, where the caller has computed them.

    Raises:
        UserError: there is no run in a folder.
        GppoError: a run is damaged, or the disk is full.
    """
    families = families_of([read_run(Path(folder)) for folder in folders])
    page = page_of(
        " · ".join(family.name for family in families),
        "gppo runs beside each other",
        sections(families, differences),
        facts=[("Runs", count(len(folders))), *((family.name, _seeds(family)) for family in families)],
    )
    with atomic_file(path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))
    return path


def families_of(runs: Sequence[RunData]) -> list[Family]:
    """Runs whose recipes agree but for seed, name and place together, named by what sets the families apart."""
    plain = [_comparable(run) for run in runs]
    kinds: list[Line] = []
    members: list[list[RunData]] = []
    for recipe, run in zip(plain, runs, strict=True):
        if recipe not in kinds:
            kinds.append(recipe)
            members.append([])
        members[kinds.index(recipe)].append(run)
    apart = sorted({key for other in kinds[1:] for key in differing_keys(kinds[0], other)})
    names = [_name(recipe, apart, found[0]) for recipe, found in zip(kinds, members, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} ({found[0].folder.name})" for name, found in zip(names, members, strict=True)]
    return [Family(name, found) for name, found in zip(names, members, strict=True)]


def sections(families: Sequence[Family], differences: Sequence[Difference]) -> list[Section]:
    """The sections of the page that there is something for."""
    found = [_accuracies(families, differences)]
    for id, title, kind, curves in (("learning", "Curves", "rl", CURVES), ("sft", "Fine-tuning", "sft", _SFT)):
        charts = [band(families, kind, *curve) for curve in curves]
        lead = "A line is the mean over seeds; the band around it is one standard error. A single run is a plain line."
        found.append(section_of(id, title, lead, charts))
    return [section for section in found if section is not None]


_SFT = (("sft-loss", "Fine-tuning loss", "Nats a token.", "loss", False),)


def band(families: Sequence[Family], kind: str, id: str, title: str, note: str, key: str, share: bool) -> Chart | None:
    """Mean and standard error over the seeds of each family, step by step, where all of its seeds have the step."""
    data: list[Figure] = []
    words = []
    for k, family in enumerate(families):
        table = [
            {row["step"]: value for row in getattr(run, kind) if (value := number(row.get(key))) is not None}
            for run in family.runs
        ]
        steps = sorted(set.intersection(*map(set, table)))
        if not steps:
            continue
        means, errors = zip(*(_mean_and_error([values[step] for values in table]) for step in steps), strict=True)
        data += _traces(family, COLORS[k % len(COLORS)], steps, means, errors)
        words.append(f"{family.name}: {means[0]:.4g} at step {steps[0]}, {means[-1]:.4g} at step {steps[-1]}")
    if not data:
        return None
    axis = {"rangemode": "normal"} | ({"tickformat": ".3~p", "hoverformat": ".3~p"} if share else {})
    layout = {"height": 280, "showlegend": True, "xaxis": {"title": {"text": "step"}}, "yaxis": axis}
    return Chart(id, title, note, {"data": data, "layout": layout}, f"{title}. {'; '.join(words)}.")


def _traces(
    family: Family, color: str, steps: list[int], means: Sequence[float], errors: Sequence[float]
) -> list[Figure]:
    line: Figure = {
        "type": "scatter",
        "mode": "lines" if len(steps) > 1 else "markers",
        "name": label(family.name),
        "x": steps,
        "y": list(means),
        "line": {"color": color, "width": 2},
        "marker": {"color": color, "size": 7},
    }
    if len(family.runs) == 1:
        return [line]
    edge = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    low = [mean - error for mean, error in zip(means, errors, strict=True)]
    high = [mean + error for mean, error in zip(means, errors, strict=True)]
    # Two edges without a line and the space between them; the opacity is that of the whole trace.
    return [
        {**edge, "x": steps, "y": low},
        {**edge, "x": steps, "y": high, "fill": "tonexty", "fillcolor": f"{color}-band"},
        line,
    ]


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, 0.0
    return mean, sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def _accuracies(families: Sequence[Family], differences: Sequence[Difference]) -> Section | None:
    names = list(dict.fromkeys(e["name"] for family in families for run in family.runs for e in run.evaluations))
    rows = []
    for name in names:
        for family in families:
            last = [found[-1] for run in family.runs if (found := [e for e in run.evaluations if e["name"] == name])]
            scores = [point.avg for one in last if (point := point_of(one)).avg is not None]
            if scores:
                rows.append(_row(name, family, scores, last))
    if not rows:
        return None
    lead = (
        "The last evaluation of each run. ± is one standard error: over seeds where a recipe has several, else over "
        "problems. Differences are paired problem by problem, with a 95 % interval."
    )
    shown = [
        {
            "evaluation": one.evaluation,
            "before": one.before,
            "after": one.after,
            "mean": points(one.mean),
            "interval": NOTHING if one.low is None else f"{points(one.low)} to {points(one.high)}",
            "p": NOTHING if one.p is None else f"{one.p:.2g}",
            "problems": count(one.problems),
        }
        for one in differences
    ]
    return Section("runs", "Accuracy", lead, extra={"rows": rows, "differences": shown})


def _row(name: str, family: Family, scores: Sequence[float], last: Sequence[Line]) -> Line:
    mean, error = _mean_and_error(scores)
    if len(scores) == 1:
        error = point_of(last[0]).se or 0.0
    return {
        "evaluation": name,
        "recipe": family.name,
        "runs": count(len(scores)),
        "avg": f"{percent(mean)} ± {percent(error)}",
        "each": ", ".join(percent(score) for score in scores),
        "step": ", ".join(str(step) for step in sorted({one["step"] for one in last})),
    }


def _comparable(run: RunData) -> Line:
    """The recipe without what seeds of it differ in, and without the run folder in its paths."""
    folder = str(run.recipe.get("run_dir") or f"runs/{run.recipe.get('name')}")

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        return value.replace(folder, "{run}") if isinstance(value, str) and value.startswith(folder) else value

    return {key: plain(value) for key, value in run.recipe.items() if key not in _OWN}


def _name(recipe: Line, apart: Sequence[str], run: RunData) -> str:
    """What sets a family apart, e.g. "gppo, learning_rate 1e-06"; the run's name where nothing short does."""
    parts = []
    for key in apart:
        value: Any = recipe
        for part in key.split("."):
            value = value[int(part)] if isinstance(value, list) else (value or {}).get(part)
        if not isinstance(value, dict | list):
            short = key.rpartition(".")[2]
            parts.append(str(value) if short == "name" else f"{short} {value}")
    said = ", ".join(parts)
    return said if said and len(said) <= 60 else str(run.recipe.get("name") or run.folder.name)


def _seeds(family: Family) -> str:
    seeds = ", ".join(str(run.recipe.get("seed", NOTHING)) for run in family.runs)
    return f"seed{'s' if len(family.runs) > 1 else ''} {seeds}"
