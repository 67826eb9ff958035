"""Sources in, one training set out, by the recipe's steps in their order.

Rows stream from disk through each step, so that memory does not grow with what they say. In
``<run>/curation/<set>`` are the rows as they were read, and for each step its ledger: what it removed or changed, and
why. Everything there has a key made from the step, the files it reads and everything before it. A second start takes
what has the right key and makes the rest, so a killed run ends with the same bytes as one that was left alone.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gppo.config import CurateConfig, StepConfig, files_of
from gppo.curate.funnel import FunnelStep, in_words
from gppo.curate.ledger import Ledger, finished_ledger, write_ledger
from gppo.curate.sources import Source, file_name, kind_of, open_sources, read_sources
from gppo.curate.spool import Spool, plain_record, write_spool
from gppo.curate.step import Bench, Item, Kind, Training
from gppo.curate.steps import step_of
from gppo.curate.tally import Tally
from gppo.records import Conversation, write_conversations, write_problems
from gppo.run import Bar, RunFolder, progress
from gppo.run.fingerprint import fingerprint
from gppo.types import Problem, UserError
from gppo.types.files import atomic_file, json_line

_FORM = "1"  # of spool and ledgers; another one makes everything anew


@dataclass(frozen=True, slots=True)
class Read:
    """The sources as they were read.

    Args:
        key: of the sources.
        kind: of the records.
        rows: records in the spool.
        size: bytes of the spool.
        counts: for each source its name, usable records, rows set aside, and where they are.
    """

    key: str
    kind: Kind
    rows: int
    size: int
    counts: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CurateResult:
    """What curation made.

    Args:
        name: of the set.
        kind: "problems" or "conversations".
        output: the training set.
        folder: the rows as read, and the ledger of every step.
        funnel: the steps, in order.
        spool: the rows that are left.
        read: what the sources held.
        tally: counts of the rows that are left.
    """

    name: str
    kind: Kind
    output: Path
    folder: Path
    funnel: tuple[FunnelStep, ...]
    spool: Spool
    read: Read
    tally: Tally

    @property
    def title(self) -> str:
        """What was made and where it is."""
        return f"{self.name}: {self.rows} {self.kind} in {self.output}"

    @property
    def rows(self) -> int:
        """Records in the output."""
        return len(self.spool)


def curate(config: CurateConfig, run: RunFolder, *, seed: int = 0, device: str = "auto") -> CurateResult:
    """Make a training set and write it; go on where an earlier start stopped.

    The run gets the funnel as "funnel" lines. Rows that cannot be used are kept in ``<run>/quarantine/<name>``.

    Args:
        config: the set.
        run: where ledgers and quarantine go.
        seed: for steps that draw.
        device: for steps that run a model.

    Raises:
        UserError: a source or an evaluation set cannot be read, the sources are of two kinds, the output is one of the
            inputs, or nothing is left.
    """
    _refuse_to_overwrite(config)
    folder = run.path / "curation" / file_name(config.name)
    folder.mkdir(parents=True, exist_ok=True)
    for unfinished in folder.glob(".*.tmp"):  # by a process that was killed
        unfinished.unlink()
    quarantine = run.path / "quarantine" / file_name(config.name)
    read = _read(config, folder, quarantine)
    spool = Spool(folder / "00-read.jsonl", bytearray(read.rows), read.rows)
    funnel = [_reading_step(counts) for counts in read.counts]
    key = read.key
    for number, step in enumerate(config.steps, start=1):
        path = folder / f"{number:02d}-{step.step}.jsonl"
        key = fingerprint([key, step.model_dump_json(), str(seed), *map(_identity, files_of(step))])
        quality = {source.name: source.quality for source in config.sources}
        work = path.with_suffix(".work")
        bench = Bench(
            kind=read.kind,
            sources=list(quality),
            quality=quality,
            folder=work / key,
            ledger=path,
            quarantine=quarantine / path.stem,
            answers=folder.parent,
            seed=seed,
            device=device,
        )
        ledger = finished_ledger(path, key) or _take(step, spool, bench, key)
        shutil.rmtree(work, ignore_errors=True)
        funnel.append(
            FunnelStep(
                ledger.title,
                len(spool),
                len(spool) - ledger.removed,
                in_words(ledger.rules, ledger.replaced, ledger.notes),
                ledger.rules,
            )
        )
        spool = spool.after(ledger)
    if not len(spool):
        left = ", ".join(source.name for source in config.sources)
        raise UserError(f"curate: nothing is left of {left}; add a source or leave out a step (why: {folder})")
    with progress(f"{config.name}: write", len(spool)) as bar:
        tally = Tally()
        _write(config.output, read.kind, tally.watch(spool.shown_by(bar)))
    # A second start of the same run replaces the lines of the first.
    run.truncate_metrics(lambda line: line["kind"] != "funnel" or line.get("set") != config.name)
    for line in funnel:
        run.log("funnel", set=config.name, **asdict(line))
    return CurateResult(config.name, read.kind, config.output, folder, tuple(funnel), spool, read, tally)


def _refuse_to_overwrite(config: CurateConfig) -> None:
    files = [source.data for source in config.sources] + [path for step in config.steps for path in files_of(step)]
    if config.output.resolve() in {path.resolve() for path in files if path is not None}:
        raise UserError(f"curate.output: {config.output} is also read; write to another file")


def _read(config: CurateConfig, folder: Path, quarantine: Path) -> Read:
    """The sources in the spool, from an earlier start where they are the same."""
    told = [source.model_dump_json() for source in config.sources]
    key = fingerprint([_FORM, *told, *(_identity(source.data) for source in config.sources if source.data)])
    path, summary = folder / "00-read.jsonl", folder / "00-read.json"
    try:
        read = Read(**json.loads(summary.read_bytes()))
        if read.key == key and path.stat().st_size == read.size:
            return read
    except (OSError, ValueError, TypeError):
        pass  # not there, or not ours: it is made again
    sources = open_sources(config.sources, quarantine)
    kind = kind_of(sources)
    with progress(f"{config.name}: read", None) as bar:
        rows = write_spool(path, _shown(read_sources(sources, kind), bar))
    read = Read(key, kind, rows, path.stat().st_size, [_counts(source) for source in sources])
    with atomic_file(summary) as file:
        file.write(json_line(asdict(read)))
    return read


def _take(config: StepConfig, spool: Spool, bench: Bench, key: str) -> Ledger:
    step = step_of(config)
    with progress(step.title, step.passes * len(spool)) as bar:
        return write_ledger(
            bench.ledger, key, step.title, step.changes(spool.shown_by(bar), bench), plain_record, bench.notes
        )


def _identity(path: Path) -> str:
    """Changes when the file does."""
    try:
        found = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def _shown(rows: Iterable[tuple[str, Training]], bar: Bar) -> Iterator[tuple[str, Training]]:
    for number, row in enumerate(rows, start=1):
        yield row
        if not number % 256:
            bar.advance(256, row[0])


def _counts(source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "usable": source.usable,
        "bad": source.quarantine.count,
        "quarantine": str(source.quarantine.path),
        "licence": source.config.licence,
        "quality": source.config.quality,
    }


def _reading_step(counts: dict[str, Any]) -> FunnelStep:
    bad = counts["bad"]
    why = f"cannot be used; kept with the reason in {counts['quarantine']}" if bad else ""
    rules = {"cannot be used": {counts["name"]: bad}} if bad else {}
    return FunnelStep(f"read {counts['name']}", counts["usable"] + bad, counts["usable"], why, rules)


def _write(path: Path, kind: Kind, items: Iterable[Item]) -> None:
    records: Iterator[Training] = (item.record for item in items)
    if kind == "problems":
        write_problems(path, (record for record in records if isinstance(record, Problem)))
    else:
        write_conversations(path, (record for record in records if isinstance(record, Conversation)))
