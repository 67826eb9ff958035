"""What distillation made, and how the terminal shows it."""

from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from gppo.types.verdict import STATUSES


@dataclass(frozen=True, slots=True)
class DistillResult:
    """What distillation made.

    Args:
        output: the conversations.
        problems: that were read.
        wanted: responses that were asked for.
        verdicts: how many of the responses that are there have each status.
        truncated: responses cut at their limit.
        prompt_tokens: spent over every start of the run, on what was lost too.
        response_tokens: likewise.
        money: spent likewise, in the currency of the prices.
        left: of the budget, in words; "" without one.
        ended: "done", or "budget" where the next request might have passed it.
        refused: why the server refuses a problem, by its id.
        given_up: why requests were given up, the last few.
    """

    output: Path
    problems: int
    wanted: int
    verdicts: dict[str, int]
    truncated: int
    prompt_tokens: int
    response_tokens: int
    money: float
    left: str
    ended: str
    refused: dict[str, str]
    given_up: list[str]

    @property
    def responses(self) -> int:
        """Responses that are there."""
        return sum(self.verdicts.values())

    @property
    def missing(self) -> int:
        """Responses that were asked for and are not there."""
        return self.wanted - self.responses

    def complaint(self) -> str:
        """Why responses are missing that a second start may bring, in a sentence; "" where none are."""
        if not self.missing or self.ended == "budget":
            return ""
        reason = self.given_up[-1] if self.given_up else next(iter(self.refused.values()), "")
        return (
            f"{self.missing} of {self.wanted} responses are missing from {self.output}: {reason}; run the same command "
            "again to ask for them"
        )


def distill_table(result: DistillResult) -> Table:
    """The result for the terminal."""
    table = Table(title=f"{result.responses} conversations in {result.output}")
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_row("problems", f"{result.problems:,}")
    table.add_row("responses", f"{result.responses:,} of {result.wanted:,}")
    for status in STATUSES:
        if count := result.verdicts.get(status):
            table.add_row(f"  {status}", f"{count:,} ({count / result.responses:.1%})")
    table.add_row("cut at the limit", f"{result.truncated:,}")
    table.add_row("prompt tokens", f"{result.prompt_tokens:,}")
    table.add_row("response tokens", f"{result.response_tokens:,}")
    if result.money:
        table.add_row("money", f"{result.money:,.4f}")
    if result.left:
        table.add_row("left of the budget", result.left)
    if result.ended == "budget":
        table.add_row("ended", "the next request might pass the budget; raise it and run the same command again")
    if result.refused:
        table.add_row("problems refused by the server", f"{len(result.refused):,}")
    return table
