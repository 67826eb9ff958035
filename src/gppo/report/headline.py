"""Before against after: the cards at the top, the charts and the table of accuracies."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gppo.report.charts import Chart, Figure, label
from gppo.report.numbers import count, number, percent, points

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """One accuracy in [0, 1] with its question-level standard error; None where undefined."""

    step: int
    avg: float | None
    se: float | None

    @property
    def low(self) -> float:
        """Left end of the error bar, in [0, 1]."""
        return max(0.0, (self.avg or 0.0) - (self.se or 0.0))

    @property
    def high(self) -> float:
        """Right end of the error bar, in [0, 1]."""
        return min(1.0, (self.avg or 0.0) + (self.se or 0.0))


@dataclass(frozen=True, slots=True)
class Card:
    """The headline of one evaluation name. ``before`` is None where it was evaluated at one step only."""

    name: str
    before: Point | None
    after: Point
    difference: str
    interval: str
    facts: str


@dataclass(frozen=True, slots=True)
class Pair:
    """The first and the last evaluation of one name; the same file twice where there is one step only."""

    name: str
    first: Line
    last: Line

    @property
    def moved(self) -> bool:
        """Whether there are two steps to compare."""
        return bool(self.first["step"] != self.last["step"])

    def labels(self) -> list[str]:
        """Difficulty labels, in natural order."""
        found = set(self.first["summary"]["by_difficulty"]) | set(self.last["summary"]["by_difficulty"])
        return sorted(found, key=_natural)


def pairs_of(evaluations: Sequence[Line]) -> list[Pair]:
    """One pair for each name, in the order in which names first appear (evaluations are sorted by step)."""
    by_name: dict[str, list[Line]] = {}
    for one in evaluations:
        by_name.setdefault(one["name"], []).append(one)
    return [Pair(name, found[0], found[-1]) for name, found in by_name.items()]


def point_of(evaluation: Line, difficulty: str = "") -> Point:
    """The accuracy of one evaluation over all problems, or over one difficulty."""
    summary = evaluation["summary"]
    found = summary["by_difficulty"].get(difficulty, {}) if difficulty else summary
    return Point(evaluation["step"], number(found.get("avg")), number(found.get("se_question")))


def card_of(pair: Pair) -> Card:
    """The headline numbers of one pair."""
    summary = pair.last["summary"]
    after = point_of(pair.last)
    before = point_of(pair.first) if pair.moved else None
    difference, interval = "", ""
    if before is not None and before.avg is not None and after.avg is not None:
        difference = points(after.avg - before.avg)
        paired = pair.last.get("since_first") or {}
        if number(paired.get("low")) is not None:
            difference = points(paired["mean"])
            interval = f"{points(paired['low'])} to {points(paired['high'])}"
    facts = [f"{count(summary.get('problems'))} problems"]
    if summary.get("problems"):
        each = summary.get("samples", 0) / summary["problems"]
        facts.append("1 sample each" if each == 1 else f"{each:.3g} samples each")
    if number(summary.get("mean_length")) is not None:
        facts.append(f"{summary['mean_length']:,.0f} tokens on average")
    return Card(pair.name, before, after, difference, interval, ", ".join(facts))


def accuracy_charts(pairs: Sequence[Pair], unseen: Sequence[str]) -> list[Chart]:
    """One dot plot for each name that has difficulties; names without any share one plot."""
    charts = []
    plain = [pair for pair in pairs if not pair.labels()]
    if plain:
        charts.append(_dots("accuracy", "Accuracy", [(pair.name, pair, "") for pair in plain]))
    for index, pair in enumerate(pair for pair in pairs if pair.labels()):
        rows = [("all problems", pair, "")]
        rows += [(f"{name} · unseen" if name in unseen else name, pair, name) for name in pair.labels()]
        charts.append(_dots(f"accuracy-{index}", pair.name, rows))
    return charts


def pass_at_charts(pairs: Sequence[Pair]) -> list[Chart]:
    """pass@k against k, first and last step, for names with several k."""
    charts = []
    for index, pair in enumerate(pairs):
        data: list[Figure] = []
        words = []
        for one, color, name in _sides(pair):
            curve = {int(k): value for k, value in (one["summary"].get("pass_at") or {}).items()}
            if len(curve) < 2:
                continue
            ks = sorted(curve)
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": name,
                    "x": ks,
                    "y": [curve[k] for k in ks],
                    "line": {"color": color, "width": 2},
                    "marker": {"color": color, "size": 7},
                }
            )
            words.append(f"{name}: {percent(curve[ks[0]])} % at k = {ks[0]}, {percent(curve[ks[-1]])} % at {ks[-1]}")
        if not data:
            continue
        ks = sorted({k for trace in data for k in trace["x"]})
        layout = {
            "height": 300,
            "showlegend": True,
            "xaxis": {"type": "log", "title": {"text": "k"}, "tickvals": ks, "ticktext": [str(k) for k in ks]},
            "yaxis": {"range": [0, 1.03], "tickformat": ".0%", "hoverformat": ".1%"},
        }
        title = f"pass@k · {pair.name}"
        note = (
            "How often at least one of k samples is right. Curves that lift at k = 1 and meet at large k mean that "
            "training sharpened what the model could already do; a lift at large k is something new."
        )
        charts.append(
            Chart(f"pass-{index}", title, note, {"data": data, "layout": layout}, f"{title}. {'; '.join(words)}.")
        )
    return charts


def table_of(pairs: Sequence[Pair], unseen: Sequence[str]) -> list[dict[str, str]]:
    """The numbers behind the charts, one row for each name and difficulty."""
    rows = []
    for pair in pairs:
        since = pair.last.get("since_first") or {}
        for name in ["", *pair.labels()]:
            before, after = point_of(pair.first, name), point_of(pair.last, name)
            summary = pair.last["summary"]["by_difficulty"].get(name, {}) if name else pair.last["summary"]
            paired = since.get("by_difficulty", {}).get(name, {}) if name else since
            rows.append(
                {
                    "name": pair.name if not name else "",
                    "group": f"{name} (unseen)" if name in unseen else name or "all",
                    "before": _with_se(before.avg, before.se) if pair.moved else "",
                    "after": _with_se(after.avg, after.se),
                    "difference": f"{points(paired.get('mean'))} ± {percent(paired.get('se'))}" if paired else "",
                    "sampling_se": percent(summary.get("se_sampling"), 2),
                    "problems": count(summary.get("problems")),
                }
            )
    return rows


def side_names(pair: Pair) -> tuple[str, str]:
    """How the two sides are called."""
    return f"before (step {pair.first['step']})", f"after (step {pair.last['step']})"


def _sides(pair: Pair) -> list[tuple[Line, str, str]]:
    before, after = side_names(pair)
    if not pair.moved:
        return [(pair.last, "--after", f"step {pair.last['step']}")]
    return [(pair.first, "--before", before), (pair.last, "--after", after)]


def _dots(id: str, title: str, rows: list[tuple[str, Pair, str]]) -> Chart:
    """Horizontal dots with error bars, the first row on top."""
    marks: dict[str, list[tuple[str, Point]]] = {}
    colors = {}
    links: list[Figure] = []
    for text, pair, difficulty in rows:
        ends = []
        for one, color, name in _sides(pair):
            found = point_of(one, difficulty)
            if found.avg is None:
                continue
            marks.setdefault(name, []).append((text, found))
            colors[name] = color
            ends.append(found.avg)
        if len(ends) == 2:
            links.append(_link(text, ends))
    data = links + [_marks(name, found, colors[name]) for name, found in marks.items()]
    layout = {
        "height": 96 + 42 * len(rows),
        "showlegend": True,
        "xaxis": {"range": [-0.02, 1.02], "tickformat": ".0%", "hoverformat": ".1%", "dtick": 0.2},
        "yaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [label(text) for text, _, _ in reversed(rows)],
            "showgrid": False,
        },
    }
    words = [
        f"{text}, {name}: {percent(found.avg)} % ± {percent(found.se)}"
        for name, points_found in marks.items()
        for text, found in points_found
    ]
    return Chart(id, title, "", {"data": data, "layout": layout}, f"{title}. {'; '.join(words)}.")


def _link(text: str, ends: list[float]) -> Figure:
    line = {"color": "--path", "width": 4}
    return {
        "type": "scatter",
        "mode": "lines",
        "x": ends,
        "y": [label(text)] * 2,
        "line": line,
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _marks(name: str, found: list[tuple[str, Point]], color: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label(name),
        "x": [one.avg for _, one in found],
        "y": [label(text) for text, _ in found],
        "marker": {"color": color, "size": 11},
        "error_x": {
            "type": "data",
            "array": [one.se or 0 for _, one in found],
            "color": color,
            "thickness": 2,
            "width": 5,
        },
        "hovertemplate": "%{y}: %{x:.1%} ± %{error_x.array:.1%}",
    }


def _with_se(avg: float | None, se: float | None) -> str:
    return percent(avg) if se is None else f"{percent(avg)} ± {percent(se)}"


def _natural(text: str) -> tuple[list[Any], str]:
    """Sorts "step 10" after "step 9"."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", text))], text
