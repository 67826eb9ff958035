"""The funnel: how many rows went in and came out of every step, and why the others went."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.table import Table


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One narrowing of the funnel.

    Args:
        step: what was done.
        rows_in: rows that came in.
        rows_out: rows that were left.
        why: why the others went, and from which sources.
        rules: rule -> source -> rows that went by it.
    """

    step: str
    rows_in: int
    rows_out: int
    why: str
    rules: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def in_words(rules: Mapping[str, Mapping[str, int]], changed: int, notes: list[str]) -> str:
    """Why rows went: "exact duplicate 12 (web 10, forum 2); 5 changed; <notes>"."""
    parts = []
    for rule, sources in sorted(rules.items(), key=lambda pair: -sum(pair[1].values())):
        of_each = ", ".join(f"{name} {count}" for name, count in Counter(sources).most_common())
        parts.append(f"{rule} {sum(sources.values())} ({of_each})")
    if changed:
        parts.append(f"{changed} changed")
    return "; ".join([*parts, *notes])


def funnel_table(title: str, funnel: tuple[FunnelStep, ...]) -> Table:
    """The funnel for the terminal."""
    table = Table(title=title)
    table.add_column("step")
    for heading in ("in", "out", "dropped"):
        table.add_column(heading, justify="right")
    table.add_column("why")
    for step in funnel:
        dropped = step.rows_in - step.rows_out
        share = f"{dropped} ({dropped / step.rows_in:.1%})" if dropped else "0"
        table.add_row(step.step, str(step.rows_in), str(step.rows_out), share, step.why)
    return table
