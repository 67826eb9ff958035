"""The sections about training: learning curves, clipping, health, time."""

from collections.abc import Sequence
from typing import Any

from gppo.report.charts import Chart, Series, curves, label
from gppo.report.numbers import count, duration, number, small_percent
from gppo.report.reading import RunData
from gppo.report.section import Section, section_of

Line = dict[str, Any]

QUADRANTS = (
    Series("clip_positive_low", "A > 0, ratio low", "--q-positive-low"),
    Series("clip_positive_high", "A > 0, ratio high", "--q-positive-high"),
    Series("clip_negative_low", "A < 0, ratio low", "--q-negative-low"),
    Series("clip_negative_high", "A < 0, ratio high", "--q-negative-high"),
)
MIX = (
    Series("correct", "correct", "--after"),
    Series("wrong", "wrong", "--before"),
    Series("unparsable", "no answer found", "--warn"),
    Series("timeout", "too slow to judge", "--q-positive-low"),
    Series("infra", "judge failed", "--q-positive-high"),
)
SECONDS = (
    Series("seconds_generate", "generate", "--accent"),
    Series("seconds_judge", "judge", "--warn"),
    Series("seconds_update", "update", "--after"),
    Series("other", "other", "--before"),
)
EVALUATION_COLORS = ("--after", "--warn", "--q-negative-low", "--before")


def learning(data: RunData) -> Section | None:
    """Loss of SFT, rewards of RL, evaluations on the way."""
    charts = [
        curves(
            "sft-loss",
            "Fine-tuning loss",
            "Nats a token on the worked examples; it should fall and flatten.",
            data.sft,
            [Series("loss", "loss", "--accent")],
        ),
        curves(
            "reward",
            "Mean reward",
            "Of all responses sampled in a step, before any update on them.",
            data.rl,
            [Series("reward_mean", "reward", "--accent")],
        ),
        _with_evaluations(
            curves(
                "correct",
                "Share correct",
                "The line is what training sampled; points with bars (one standard error) are held-out evaluations.",
                data.rl,
                [Series("correct_share", "training samples", "--accent")],
                share=True,
            ),
            data.evaluations,
        ),
        curves(
            "mix",
            "What became of the responses",
            "Shares of all responses of a step, by the judge's verdict.",
            [_mix(row) for row in data.rl],
            [one for one in MIX if any(_mix(row).get(one.key) for row in data.rl)],
            share=True,
            stacked=True,
        ),
        curves(
            "groups",
            "What the groups were worth",
            "Groups that are all right or all wrong have no advantage and teach nothing.",
            data.rl,
            [
                Series("groups_all_wrong", "all wrong", "--before"),
                Series("groups_mixed", "mixed", "--accent"),
                Series("groups_all_correct", "all correct", "--after"),
            ],
            stacked=True,
        ),
    ]
    return section_of(
        "learning", "Learning curves", "Is it learning, and does the gain hold on held-out problems?", charts
    )


def clipping(data: RunData) -> Section | None:
    """Which tokens leave the clip range, and what becomes of them."""
    charts = [
        curves(
            "quadrants",
            "Tokens outside the clip range",
            "Share of all tokens by the sign of A and the side of the ratio; PPO drops the strong colours.",
            data.rl,
            QUADRANTS,
            share=True,
            stacked=True,
            wide=True,
        ),
        curves(
            "clip-fraction",
            "Tokens that PPO and Clip-Higher drop",
            "The two marked quadrants together: these tokens would get no gradient at all.",
            data.rl,
            [Series("clip_fraction", "dropped by Clip-Higher", "--q-positive-high")],
            share=True,
        ),
        curves(
            "given-back",
            "Their part of the gradient",
            "Their share of Σ|weight · A| without any clipping, and under the objective of this run.",
            data.rl,
            [
                Series("would_drop", "without clipping", "--before", "dot"),
                Series("given_back", "in this run", "--accent"),
            ],
            share=True,
        ),
    ]
    means = {one.key: _mean(data.rl, one.key) for one in QUADRANTS}
    if all(value is None for value in means.values()):
        return None
    lead = (
        "The ratio is a token's probability now over its probability when it was sampled. PPO zeroes the gradient of "
        "tokens that already moved far in the direction their advantage asks for; gradient-preserving clipping bounds "
        "their pull instead."
    )
    shares = {key: small_percent(value) for key, value in means.items()}
    return section_of("clipping", "What clipping touches", lead, charts, {"shares": shares})


def health(data: RunData) -> Section | None:
    """Signs of trouble."""
    rl = data.rl
    charts = [
        curves(
            "grad-norm",
            "Gradient norm",
            "Before it is scaled down; spikes come before collapse.",
            rl,
            [Series("grad_norm", "gradient norm", "--accent")],
        ),
        curves(
            "entropy",
            "Entropy",
            "Nats a token; near zero the model has stopped exploring.",
            rl,
            [Series("entropy", "entropy", "--accent")],
        ),
        curves(
            "length",
            "Response length",
            "Tokens; a sudden climb towards the limit is a warning.",
            rl,
            [Series("length_mean", "mean", "--accent"), Series("length_p95", "95th percentile", "--before", "dot")],
        ),
        curves(
            "broken",
            "Responses that could not count",
            "Cut at the limit, without a readable answer, or not judged because the judge failed.",
            rl,
            [
                Series("truncated_share", "truncated", "--accent"),
                Series("unparsable_share", "no answer found", "--warn"),
                Series("infra_share", "judge failed", "--before", "dot"),
            ],
            share=True,
        ),
        curves(
            "kl",
            "Distance from the sampling policy",
            "KL in nats a token: how far the updates of one step move the model.",
            rl,
            [Series("kl_old", "KL", "--accent")],
        ),
        curves(
            "kl-ref",
            "Distance from the reference model",
            "KL in nats a token to the model that the KL penalty holds on to.",
            rl,
            [Series("kl_ref", "KL", "--accent")],
        ),
        curves(
            "ratio",
            "Probability ratio",
            "Percentiles over tokens; 1 is unchanged, a wide band means stale samples.",
            rl,
            [
                Series("ratio_p99", "99th", "--q-positive-high"),
                Series("ratio_p50", "median", "--accent"),
                Series("ratio_p01", "1st", "--before"),
            ],
            from_zero=False,
        ),
        curves(
            "mismatch",
            "Sampler against trainer",
            "Difference of a token's log-probability in nats under the same weights; it should be noise.",
            rl,
            [Series("mismatch_max", "largest", "--before", "dot"), Series("mismatch_mean", "mean", "--accent")],
        ),
    ]
    bad = sum(number(row.get("bad_updates")) or 0 for row in rl)
    updates = sum(number(row.get("updates")) or 0 for row in rl)
    if bad:
        bars = [Series("bad_updates", "skipped", "--warn")]
        charts.append(curves("bad", "Skipped updates", "Their gradient was not finite.", rl, bars, stacked=True))
    lead = "Early signs of trouble, one number a step."
    if updates:
        lead += f" {count(bad)} of {count(updates)} updates were skipped because their gradient was not finite."
    return section_of("health", "Health", lead, charts)


def time(data: RunData) -> Section | None:
    """Where the seconds of a step went."""
    rows = [row | {"other": _rest(row)} for row in data.rl]
    chart = curves(
        "time",
        "Seconds a step",
        "Generating samples, judging them, updating the model, and whatever else a step does.",
        rows,
        SECONDS,
        stacked=True,
        wide=True,
    )
    totals = {one.name: sum(number(row.get(one.key)) or 0 for row in rows) for one in SECONDS}
    whole = sum(totals.values())
    if not whole:
        return None
    shares = [f"{name} {100 * seconds / whole:.0f} %" for name, seconds in totals.items() if seconds / whole >= 0.005]
    lead = f"{duration(whole)} of reinforcement learning: {', '.join(shares)}."
    return section_of("time", "Where the time went", lead, [chart])


def _with_evaluations(chart: Chart | None, evaluations: Sequence[Line]) -> Chart | None:
    """Adds the accuracy of every evaluation as points with error bars."""
    names = list(dict.fromkeys(one["name"] for one in evaluations))
    if chart is None or not names:
        return chart
    for index, name in enumerate(names):
        found = [one for one in evaluations if one["name"] == name and number(one["summary"].get("avg")) is not None]
        color = EVALUATION_COLORS[index % len(EVALUATION_COLORS)]
        chart.figure["data"].append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": label(name),
                "x": [one["step"] for one in found],
                "y": [one["summary"]["avg"] for one in found],
                "error_y": {
                    "type": "data",
                    "array": [number(one["summary"].get("se_question")) or 0 for one in found],
                    "color": color,
                    "thickness": 1.5,
                    "width": 4,
                },
                "line": {"color": color, "width": 1, "dash": "dot"},
                "marker": {"color": color, "size": 8},
            }
        )
    chart.figure["layout"]["showlegend"] = True
    return chart


def _mean(rows: Sequence[Line], key: str) -> float | None:
    values = [value for row in rows if (value := number(row.get(key))) is not None]
    return sum(values) / len(values) if values else None


def _mix(row: Line) -> Line:
    """Shares of all responses by verdict; correct_share is of the judged ones."""
    names = ("unparsable", "timeout", "infra")
    others = {name: number(row.get(f"{name}_share")) or 0.0 for name in names}
    right = number(row.get("correct_share"))
    if right is None:
        return {"step": row["step"]}
    correct = right * (1 - others["infra"])
    wrong = max(0.0, 1 - correct - sum(others.values()))
    return {"step": row["step"], "stage": row.get("stage"), "correct": correct, "wrong": wrong, **others}


def _rest(row: Line) -> float | None:
    """Seconds of a step that no part accounts for."""
    whole = number(row.get("seconds"))
    parts = [number(row.get(f"seconds_{name}")) or 0 for name in ("generate", "judge", "update")]
    return None if whole is None else max(0.0, whole - sum(parts))
