"""Charts as plain plotly dictionaries, coloured by role.

A string that starts with ``--`` is the name of a CSS variable: the page puts that variable's colour in its place, anew
when the theme changes. Shares stay in [0, 1] and are formatted as percent by the axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

from gppo.report.numbers import compact, number, percent

Rows = Sequence[dict[str, Any]]
Figure = dict[str, Any]

SMOOTH_FROM = 40  # fewer points are shown as they are


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart of the page: ``figure`` is {"data", "layout"} for plotly, ``alt`` says in words what it shows."""

    id: str
    title: str
    note: str
    figure: Figure
    alt: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: the metric's key, its name in the legend, the role of its colour."""

    key: str
    name: str
    color: str
    dash: str = "solid"


def curves(
    id: str,
    title: str,
    note: str,
    rows: Rows,
    series: Sequence[Series],
    *,
    share: bool = False,
    stacked: bool = False,
    from_zero: bool = True,
    wide: bool = False,
) -> Chart | None:
    """Curves over training steps, or None where no row has a number for any of them.

    Args:
        id: unique on the page.
        title: what the chart shows.
        note: how to read it, one sentence.
        rows: metrics lines with "step".
        series: the curves.
        share: whether values are shares, shown as percent.
        stacked: whether the curves are areas on top of each other.
        from_zero: whether the axis must show zero.
        wide: whether the chart takes the page's full width.
    """
    data: list[Figure] = []
    words = []
    for one in series:
        points = [(row["step"], value) for row in rows if (value := number(row.get(one.key))) is not None]
        if not points:
            continue
        steps, values = [step for step, _ in points], [value for _, value in points]
        data += _stack(one, steps, values) if stacked else _line(one, steps, values, share)
        say = (lambda value: f"{percent(value, 2)} %") if share else compact
        words.append(f"{one.name}: {say(values[0])} at step {steps[0]}, {say(values[-1])} at step {steps[-1]}")
    if not data:
        return None
    # Shares here may be 40 % or 0.002 %: three significant digits fit both.
    axis = {"rangemode": "tozero" if from_zero else "normal"}
    axis |= {"tickformat": ".3~p", "hoverformat": ".3~p"} if share else {}
    layout = {
        "height": 280,
        "showlegend": len(words) > 1,
        "xaxis": {"title": {"text": "step"}},
        "yaxis": axis,
        **_stages(rows),
    }
    if stacked:
        layout |= {"barmode": "stack", "bargap": 0.12}
    return Chart(id, title, note, {"data": data, "layout": layout}, f"{title}. {'; '.join(words)}.", wide)


def bars(
    id: str, title: str, note: str, values: Sequence[tuple[str, float]], color: str = "--accent", *, wide: bool = False
) -> Chart | None:
    """A bar for each (name, number), the names as categories in their order; None without any."""
    if not values:
        return None
    names = [label(name) for name, _ in values]
    trace = {"type": "bar", "x": names, "y": [value for _, value in values], "marker": {"color": color}}
    layout = {
        "height": 280,
        "showlegend": False,
        "bargap": 0.12,
        "xaxis": {"type": "category"},
        "yaxis": {"rangemode": "tozero"},
    }
    words = ", ".join(f"{name}: {value:g}" for name, value in values[:40])
    return Chart(id, title, note, {"data": [trace], "layout": layout}, f"{title}. {words}.", wide)


def label(text: str) -> str:
    """Text for plotly, which reads some HTML in its labels."""
    return escape(text, quote=False)


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """Mean over the ``window`` values around each one, fewer at both ends."""
    half = window // 2
    return [sum(near) / len(near) for i in range(len(values)) for near in [values[max(0, i - half) : i + half + 1]]]


def _line(one: Series, steps: list[int], values: list[float], share: bool) -> list[Figure]:
    line: Figure = {
        "type": "scatter",
        "mode": "lines" if len(values) > 1 else "markers",
        "name": label(one.name),
        "x": steps,
        "y": values,
        "line": {"color": one.color, "width": 2, "dash": one.dash},
        "marker": {"color": one.color, "size": 7},
    }
    if len(values) < SMOOTH_FROM:
        return [line]
    raw = line | {"line": line["line"] | {"width": 1}, "opacity": 0.35, "showlegend": False}
    window = max(3, len(values) // 15) | 1
    return [raw, line | {"y": moving_average(values, window), "hoverinfo": "skip"}]


def _stack(one: Series, steps: list[int], values: list[float]) -> list[Figure]:
    return [
        {
            "type": "bar",
            "name": label(one.name),
            "x": steps,
            "y": values,
            "marker": {"color": one.color, "line": {"width": 0}},
        }
    ]


def _stages(rows: Rows) -> Figure:
    """A dotted line with a name where one stage follows another."""
    starts = [
        (row["step"], row["stage"])
        for before, row in pairwise(rows)
        if "stage" in row and row["stage"] != before.get("stage")
    ]
    line = {"color": "--ink-3", "width": 1, "dash": "dot"}
    return {
        "shapes": [
            {"type": "line", "x0": step - 0.5, "x1": step - 0.5, "y0": 0, "y1": 1, "yref": "paper", "line": line}
            for step, _ in starts
        ],
        "annotations": [
            {
                "x": step - 0.5,
                "y": 1,
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "top",
                "text": label(f" {stage}"),
                "showarrow": False,
            }
            for step, stage in starts
        ],
    }
