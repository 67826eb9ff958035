"""A verdict: what a judge says about one response."""

from dataclasses import dataclass

STATUSES = ("correct", "wrong", "unparsable", "timeout", "infra")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says about one response.

    Args:
        status: one of ``STATUSES``. ``infra`` means that the judge itself failed: the response was not judged.
        score: share passed, in [0, 1]; math answers score 0 or 1.
        extracted: the answer as found in the response, or None.
        rule: what decided, in a few words.
        seconds: wall time of the judgement.
        cases: code: what became of each test, e.g. "PASS" or "TLE"; empty for math.
    """

    status: str
    score: float
    extracted: str | None = None
    rule: str = ""
    seconds: float = 0.0
    cases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"verdict status {self.status!r} is not one of {', '.join(STATUSES)}")

    @property
    def correct(self) -> bool:
        """Whether the response is right in full."""
        return self.status == "correct"
