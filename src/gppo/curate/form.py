"""Steps that look at texts alone: the form of responses, and the scripts they are written in."""

import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from gppo.config import FormatConfig, LanguageConfig
from gppo.curate.dedup import asked
from gppo.curate.judging import response_of
from gppo.curate.step import Bench, Items, Removed, Training
from gppo.types import Problem, UserError
from gppo.verify.code.extract import extract_code
from gppo.verify.extract import last_box
from gppo.verify.thinking import format_kept, split_thinking


@dataclass(frozen=True, slots=True)
class Format:
    """Conversations whose last answer has another form than the one that is taught go."""

    config: FormatConfig

    passes = 1
    title = "format"

    def changes(self, items: Items, bench: Bench) -> Iterator[Removed]:
        """The rows with a "bad format"."""
        if bench.kind != "conversations":
            raise UserError("curate: the step format is for conversations; problems have no responses")
        for item in items:
            if reason := self._fault(response_of(item.record)):
                yield Removed(item, "bad format", reason)

    def _fault(self, response: str) -> str:
        if self.config.think and not format_kept(response):
            return "is not one <think>...</think> followed by an answer"
        answer = split_thinking(response).answer
        box = self.config.box and last_box(answer) is not None
        fence = self.config.fence and extract_code(answer) is not None
        if (self.config.box or self.config.fence) and not (box or fence):
            wanted = [name for name, on in (("box", self.config.box), ("fenced block", self.config.fence)) if on]
            return f"its answer has no {' and no '.join(wanted)}"
        return ""


@dataclass(frozen=True, slots=True)
class Language:
    """Rows whose letters are too often of scripts that are not wanted go.

    Only letters count, after NFKC, so that 𝑥 is a Latin letter; signs, digits and white space belong to every language.
    A text without letters stays.
    """

    config: LanguageConfig

    passes = 1

    @property
    def title(self) -> str:
        """How the funnel names it."""
        return f"written in {' or '.join(self.config.scripts)}"

    def changes(self, items: Items, bench: Bench) -> Iterator[Removed]:
        """The rows in "another script"."""
        wanted = {script.lower() for script in self.config.scripts}
        for item in items:
            letters = scripts(self._text(item.record))
            share = sum(letters[script] for script in wanted) / letters.total() if letters else 1.0
            if share < self.config.at_least:
                others = [f"{script} {count}" for script, count in letters.most_common() if script not in wanted]
                yield Removed(
                    item, "another script", f"{share:.0%} of its letters are wanted ones ({', '.join(others[:3])})"
                )

    def _text(self, record: Training) -> str:
        match self.config.text:
            case "question":
                return asked(record)
            case "response":
                return response_of(record)
        turns = record.prompt if isinstance(record, Problem) else record.messages
        return "\n".join(turn["content"] for turn in turns)


def scripts(text: str) -> Counter[str]:
    """Letters of each script in a text, by the first word of their Unicode names: "latin", "cjk", "hangul"."""
    found: Counter[str] = Counter()
    for sign, count in Counter(unicodedata.normalize("NFKC", text)).items():
        if sign.isalpha():
            found[_script(sign)] += count
    return found


@lru_cache(maxsize=65536)
def _script(letter: str) -> str:
    return unicodedata.name(letter, "unknown").split()[0].lower()
