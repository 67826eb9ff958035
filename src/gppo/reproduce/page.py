"""The page of an experiment: what was asked, what was run, what came out, and what that does and does not say."""

from collections.abc import Iterator, Sequence
from math import isnan
from typing import Any

from gppo.reproduce.experiment import Experiment, Regime
from gppo.reproduce.tokens import REGIONS, SUMS
from gppo.reproduce.verdict import Difference, Results, arm_value, compare, in_words
from gppo.run.progress import duration


def write_markdown(experiment: Experiment, results: Results, ran: Sequence[dict[str, Any]], digest: str) -> str:
    """The page as Markdown; the figure beside it is ``<name>.svg``.

    Args:
        experiment: as it was stated.
        results: of the units that have ended.
        ran: a line for each time that the command worked: commit, cores, seconds, ...
        digest: of the experiment's file.
    """
    parts = [f"# {experiment.title}", f"`gppo reproduce {experiment.name}`"]
    parts += [f"**Verdict.** {_verdicts(experiment, results)}"]
    parts += [f"![{experiment.title}]({experiment.name}.svg)"]
    parts += ["## Stated before", f"*Question.* {experiment.question.strip()}"]
    parts += [f"*The paper.* {experiment.paper.strip()}", f"*What would count.* {experiment.hypothesis.strip()}"]
    parts += [f"*Metric.* {experiment.metric.what.strip()}", f"*Calibration.* {experiment.calibration.strip()}"]
    parts += ["## What came out"]
    for regime in experiment.regimes:
        parts += _regime(experiment, regime, results)
    parts += ["## How it was run", _provenance(experiment, results, ran, digest)]
    parts += ["## What this says about large models", experiment.transfers.strip()]
    return "\n\n".join(parts) + "\n"


def _verdicts(experiment: Experiment, results: Results) -> str:
    said = []
    for regime in experiment.regimes:
        first = experiment.comparisons_in(regime)[:1]
        said += [f"{regime.name}: {in_words(compare(experiment, regime, one, results))}" for one in first]
    return ". ".join(said) + "."


def _regime(experiment: Experiment, regime: Regime, results: Results) -> Iterator[str]:
    yield f"### {regime.name}"
    yield regime.about.strip()
    arms = experiment.arms_of(regime)
    rows = []
    for arm in arms:
        mean, error = arm_value(results, regime.name, arm.name, experiment.metric)
        units = results.get((regime.name, arm.name), {}).values()
        diverged = sum(unit["diverged"] is not None for unit in units)
        rows.append([arm.name, arm.about, f"{_percent(mean)} ± {_percent(error)}", len(units), diverged or "–"])
    yield table(["arm", "what it is", "metric, % (± SE over seeds)", "seeds", "diverged"], rows)
    found = [compare(experiment, regime, one, results) for one in experiment.comparisons_in(regime)]
    if found:
        yield table(
            ["comparison", "by", "difference, points (95 % interval)", "pairs ahead", "verdict"], map(_row, found)
        )
    compared = {arm for one in experiment.comparisons_in(regime)[:1] for arm in (one.of, one.against)}
    if tokens := _tokens([arm.name for arm in arms if arm.name in compared], regime, results):
        yield "Tokens by the side of the clip range on which the last update of their step saw them, all seeds:"
        yield tokens


def _row(found: Difference) -> list[Any]:
    metric, one = found.metric, found.comparison
    by = " ".join([metric.sampling, *([metric.difficulty] if metric.difficulty else [])])
    steps = f", steps {', '.join(map(str, metric.steps))}" if metric.steps != [0] else ""
    ends = "no interval" if isnan(found.low) else f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"
    interval = f"{100 * found.mean:+.1f} ({ends})"
    return [f"{one.of} − {one.against}", by + steps, interval, f"{found.wins} of {found.seeds}", found.verdict]


def _tokens(arms: Sequence[str], regime: Regime, results: Results) -> str:
    rows = []
    for arm in arms:
        units = [unit["tokens"] for unit in results.get((regime.name, arm), {}).values() if unit["tokens"]]
        sums = {
            region: {key: sum(line[key] for unit in units for line in unit if line["region"] == region) for key in SUMS}
            for region in REGIONS
        }
        everything = {key: sum(line[key] for line in sums.values()) for key in ("tokens", "pull")}
        if not everything["tokens"]:
            continue
        for region, found in sums.items():
            many = found["tokens"]
            rows.append(
                [
                    arm,
                    region,
                    f"{100 * many / everything['tokens']:.3g} %",
                    f"{100 * found['pull'] / everything['pull']:.3g} %",
                    f"{found['entropy'] / many:.2f}" if many else "–",
                    f"{found['probability'] / many:.2f}" if many else "–",
                    f"{found['uncertain'] / many:.0%}" if many else "–",
                ]
            )
    head = [
        "arm",
        "where",
        "share of tokens",
        "share of the pull",
        "entropy, nats",
        "sampled with p",
        "uncertain fifth",
    ]
    return table(head, rows) if rows else ""


def _provenance(experiment: Experiment, results: Results, ran: Sequence[dict[str, Any]], digest: str) -> str:
    units = [unit for found in results.values() for unit in found.values()]
    seeds = sorted({unit["seed"] for unit in units})
    used, took = (sum(each) for each in ((u["cpu_seconds"] for u in units), (line["seconds"] for line in ran)))
    lines = [
        f"- {len(units)} units, seeds {', '.join(map(str, seeds))}; {duration(used)} of CPU time in their processes, "
        f"without the sandbox's; {duration(took)} from start to end",
        f"- every unit's numbers: {experiment.name}.jsonl, beside this page",
        f"- experiment file: recipes/reproduce/{experiment.name}.yaml, sha256 {digest[:16]}",
    ]
    for line in ran:
        lines.append(
            f"- {line['started']}: commit {str(line['git_commit'])[:10]}, scale {line['scale']}, {line['at_once']} at "
            f"a time on {line['cpu_count']} CPUs ({line['machine']}), torch {line['torch']}"
        )
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "–" if isnan(value) else f"{100 * value:.1f}"


def table(head: Sequence[str], rows: Any) -> str:
    """A Markdown table; bars in a cell are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).strip().replace("|", "\\|") for cell in line) + " |" for line in lines)
