"""Sources in, one clean training set out: read -> exact duplicates -> overlap with evaluation problems -> written.

Records stream through; what stays in memory is a digest and an id for each of them, and the evaluation problems. (A
Parquet output is held whole until it is written.)
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from rich.table import Table

from gppo.config import CurateConfig
from gppo.curate.decontaminate import OverlapIndex, build_index, find_hits
from gppo.curate.dedup import conversation_key, problem_key, question, unique
from gppo.curate.sources import Kind, Source, Training, file_name, kind_of, open_sources, read_sources
from gppo.records import Conversation, Quarantine, read_problems, write_conversations, write_problems
from gppo.run import RunFolder
from gppo.types import Problem, UserError
from gppo.types.files import atomic_file, json_line

Item = tuple[str, Training]


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One narrowing of the funnel.

    Args:
        step: what was done.
        rows_in: rows that came in.
        rows_out: rows that were left.
        why: why the others went, and from which sources.
    """

    step: str
    rows_in: int
    rows_out: int
    why: str


@dataclass(frozen=True, slots=True)
class CurateResult:
    """What curation made.

    Args:
        name: of the set.
        kind: "problems" or "conversations".
        output: the training set.
        hits: decontamination-<name>.jsonl, a line for each training record and evaluation problem that it meets.
        funnel: the steps, in order.
    """

    name: str
    kind: Kind
    output: Path
    hits: Path
    funnel: tuple[FunnelStep, ...]

    @property
    def rows(self) -> int:
        """Records in the output."""
        return self.funnel[-1].rows_out


def curate(config: CurateConfig, run: RunFolder) -> CurateResult:
    """Make a training set and write it.

    The run gets the funnel as "funnel" lines and the hits in ``decontamination-<name>.jsonl``. Rows that cannot be
    used, of sources and of evaluation sets, are kept in ``<run>/quarantine/<name>``.

    Raises:
        UserError: a source or an evaluation set cannot be read, the sources are of two kinds, the output is one of the
            inputs, or nothing is left.
    """
    _refuse_to_overwrite(config)
    quarantine = run.path / "quarantine" / file_name(config.name)
    sources = open_sources(config.sources, quarantine)
    kind = kind_of(sources)
    index, against = _evaluation_index(config, quarantine)
    distinct: Counter[str] = Counter()
    clean: Counter[str] = Counter()
    hits = run.path / f"decontamination-{file_name(config.name)}.jsonl"
    with atomic_file(hits) as hits_file:
        items = _counted(unique(read_sources(sources, kind), _key), distinct)
        items = _counted(_without_hits(items, index, hits_file), clean)
        _write(config.output, kind, _at_least_one(items, config))
    funnel = (
        *(_reading_step(source) for source in sources),
        _step("exact duplicates", Counter({s.name: s.usable for s in sources}), distinct, _DUPLICATES[kind]),
        _step(f"{config.ngram}-gram overlap", distinct, clean, against),
    )
    # A second start of the same run replaces the lines of the first.
    run.truncate_metrics(lambda line: line["kind"] != "funnel" or line.get("set") != config.name)
    for step in funnel:
        run.log("funnel", set=config.name, **asdict(step))
    return CurateResult(config.name, kind, config.output, hits, funnel)


def funnel_table(result: CurateResult) -> Table:
    """The funnel for the terminal."""
    table = Table(title=f"{result.name}: {result.rows} {result.kind} in {result.output}")
    table.add_column("step")
    for heading in ("in", "out", "dropped"):
        table.add_column(heading, justify="right")
    table.add_column("why")
    for step in result.funnel:
        dropped = step.rows_in - step.rows_out
        share = f"{dropped} ({dropped / step.rows_in:.1%})" if dropped else "0"
        table.add_row(step.step, str(step.rows_in), str(step.rows_out), share, step.why)
    return table


_DUPLICATES: dict[Kind, str] = {
    "problems": "asks the same as an earlier one",
    "conversations": "asks the same and answers to the letter as an earlier one",
}


def _refuse_to_overwrite(config: CurateConfig) -> None:
    inputs = {path.resolve() for path in (*(source.data for source in config.sources), *config.against)}
    if config.output.resolve() in inputs:
        raise UserError(f"curate.output: {config.output} is also read; write to another file")


def _evaluation_index(config: CurateConfig, folder: Path) -> tuple[OverlapIndex, str]:
    """The index, and in words what it was made from."""
    sets: dict[str, list[Problem]] = {}
    unusable = 0
    for position, path in enumerate(config.against, start=1):
        quarantine = Quarantine(folder / f"against-{position}.quarantine.jsonl")
        sets[path.as_posix()] = read_problems(path, quarantine=quarantine)
        unusable += quarantine.count
    if not sets:
        return build_index({}, config.ngram), "no evaluation set was given"
    words = f"meets one of {sum(map(len, sets.values()))} problems of {len(sets)} evaluation sets"
    unguarded = f"; {unusable} evaluation rows could not be read and are not guarded" if unusable else ""
    return build_index(sets, config.ngram), words + unguarded


def _key(item: Item) -> bytes:
    _, record = item
    return problem_key(record.prompt) if isinstance(record, Problem) else conversation_key(record.messages)


def _without_hits(items: Iterable[Item], index: OverlapIndex, file: BinaryIO) -> Iterator[Item]:
    for source, record in items:
        messages = record.prompt if isinstance(record, Problem) else record.messages
        hits = find_hits(record.id, question(messages), index)
        for hit in hits:
            file.write(json_line({"source": source, **asdict(hit)}))
        if not hits:
            yield source, record


def _counted(items: Iterable[Item], counts: Counter[str]) -> Iterator[Item]:
    for item in items:
        counts[item[0]] += 1
        yield item


def _at_least_one(items: Iterable[Item], config: CurateConfig) -> Iterator[Training]:
    record = None
    for _, record in items:
        yield record
    if record is None:
        names = ", ".join(source.name for source in config.sources)
        raise UserError(f"curate: nothing is left of {names}; add a source or leave out an evaluation set")


def _write(path: Path, kind: Kind, records: Iterator[Training]) -> None:
    if kind == "problems":
        write_problems(path, (record for record in records if isinstance(record, Problem)))
    else:
        write_conversations(path, (record for record in records if isinstance(record, Conversation)))


def _reading_step(source: Source) -> FunnelStep:
    bad = source.quarantine.count
    why = f"cannot be used; kept with the reason in {source.quarantine.path}" if bad else ""
    return FunnelStep(f"read {source.name}", source.usable + bad, source.usable, why)


def _step(step: str, before: Counter[str], after: Counter[str], why: str) -> FunnelStep:
    lost = before - after
    of_each = ", ".join(f"{name} {count}" for name, count in lost.most_common())
    if of_each:
        why = f"{why} ({of_each})"
    return FunnelStep(step, before.total(), after.total(), why)
