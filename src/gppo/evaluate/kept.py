"""What an evaluation has on disk while it is being made: it goes on after its last whole batch."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gppo.config.evaluation import EvaluateConfig
from gppo.evaluate.results import without_text
from gppo.evaluate.store import finished_evaluation, results_path, save_evaluation
from gppo.run.fingerprint import fingerprint
from gppo.types import Evaluation, Problem, SamplingSettings
from gppo.types.files import full_disk_as_error, json_line

if TYPE_CHECKING:
    from gppo.rollout import Request  # which loads torch, and judging existing outputs must not


@dataclass(frozen=True, slots=True)
class Kept:
    """The judged responses of one evaluation, one line each, in the order of problems and samples.

    Args:
        folder: a run's ``evaluations``.
        name: the evaluation's.
        step: the evaluation's.
        key: of everything that its result depends on; see ``evaluation_key``.
    """

    folder: Path
    name: str
    step: int
    key: str

    @property
    def path(self) -> Path:
        """Where the responses are."""
        return results_path(self.folder, self.name, self.step)

    def finished(self) -> Evaluation | None:
        """The evaluation, where it was made to its end before and every response could be judged.

        One that could not be judged in full is made anew: its responses are removed.
        """
        found = finished_evaluation(self.folder, self.name, self.step, self.key)
        if found is None or found.valid_PK.all():
            return found
        self.path.unlink(missing_ok=True)
        return None

    def results(self, batch: int, total: int) -> list[dict[str, Any]]:
        """The responses of the whole batches that are there, in order, without their texts.

        The rest, half a line for one, is cut off; what another model or recipe left is removed.

        Args:
            batch: responses that were added together; a resumed evaluation makes the same ones as it would have.
            total: all of them.
        """
        found: list[dict[str, Any]] = []
        ends = [0]
        for line, end in self._lines():
            if line.pop("key", None) != self.key:
                self.path.unlink()
                return []
            found.append(without_text(line))
            ends.append(end)
        whole = len(found) if len(found) >= total else len(found) // batch * batch
        if self.path.exists():
            os.truncate(self.path, ends[whole])
        return found[:whole]

    def _lines(self) -> Iterator[tuple[dict[str, Any], int]]:
        """(line, where it ends) of each whole line that can be read."""
        if not self.path.is_file():
            return
        end = 0
        with self.path.open("rb") as file:
            for raw in file:
                try:
                    line = json.loads(raw) if raw.endswith(b"\n") else None
                except ValueError:
                    line = None
                if not isinstance(line, dict) or "response" not in line:
                    return  # cut short, as by SIGKILL or a power cut
                end += len(raw)
                yield line, end

    def add(self, results: Sequence[dict[str, Any]]) -> None:
        """Put the responses of a batch on disk, and wait until they are there.

        Raises:
            GppoError: the disk is full; what was there before still is.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = b"".join(json_line({"key": self.key, **result}) for result in results)
        with full_disk_as_error(self.path), FileIO(self.path, "a") as file:
            size = os.fstat(file.fileno()).st_size
            try:
                rest = memoryview(lines)
                while rest:  # a disk that is nearly full takes a part first
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise

    def finish(self, evaluation: Evaluation) -> None:
        """Save the evaluation beside its responses."""
        save_evaluation(self.folder, evaluation, self.key)


def evaluation_key(
    weights: str,
    problems: Sequence[Problem],
    requests: "Sequence[Request]",
    settings: SamplingSettings,
    config: EvaluateConfig,
    seed: int,
) -> str:
    """Two evaluations of the same key have the same result.

    Args:
        weights: the model's fingerprint.
        problems: with their ids and reference answers.
        requests: with the prompts' tokens and the samples asked for.
        settings: how tokens are drawn.
        config: what counts as right, and which responses are decoded side by side.
        seed: the run's.
    """
    told = {**asdict(settings), "thinking": config.require_thinking, "batch": config.batch_responses, "seed": seed}
    parts = (
        part
        for problem, request in zip(problems, requests, strict=True)
        for part in (
            problem.id,
            problem.ability,
            problem.ground_truth,
            request.prompt_ids.tobytes(),
            str(request.samples),
            repr(request.messages),
        )
    )
    return fingerprint([weights, repr(sorted(told.items())), *parts])
