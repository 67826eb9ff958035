"""``curation.html``: what happened to the data, on one self-contained page."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from gppo.curate.pipeline import CurateResult
from gppo.curate.tally import Example, examples_of
from gppo.report.charts import Chart, bars
from gppo.report.numbers import count
from gppo.report.page import page_of
from gppo.report.section import Section, paired
from gppo.report.sections import funnel_bars
from gppo.types.files import atomic_file

_EXAMPLES, _MOST_LABELS, _LONGEST = 20, 24, 3000
_UNREADABLE = "cannot be used"


def write_page(run: Path, results: Sequence[CurateResult]) -> Path:
    """Write the page of a run's sets and return where it is.

    What stands in the data is escaped, and nothing on the page may load or run but its own scripts.

    Raises:
        GppoError: the disk is full.
    """
    sections = [section for i, result in enumerate(results) for section in _sections(result, i, len(results) > 1)]
    read = sum(sum(step.rows_in for step in result.funnel if step.step.startswith("read ")) for result in results)
    facts = [
        ("Sets", count(len(results))),
        ("Rows read", count(read)),
        ("Rows kept", count(sum(result.rows for result in results))),
    ]
    html = page_of(run.name, "gppo curation", sections, made_by="gppo curate", facts=facts)
    path = run / "curation.html"
    with atomic_file(path) as file:
        file.write(html.encode("utf-8", "backslashreplace"))
    return path


def _sections(result: CurateResult, i: int, several: bool) -> Iterator[Section]:
    name = f"{result.name}: " if several else ""
    kept = f"{count(result.rows)} {result.kind} are left, in {result.output.name}."
    funnel = {"funnel": funnel_bars([{"step": s.step, **_rows(s), "why": s.why} for s in result.funnel])}
    yield Section(f"funnel-{i}", f"{name}funnel" if name else "Funnel", kept, extra=funnel, body="funnel")
    charts = [chart for chart in _charts(result, i) if chart is not None]
    lead = "Rows by source, by length and by difficulty, after the last step."
    yield Section(f"left-{i}", f"{name}what is left" if name else "What is left", lead, paired(charts))
    examples = dict(_unreadable(result.read.counts)) | examples_of(result.spool.path, result.spool.ledgers)
    if examples:
        went: Counter[str] = Counter()
        for step in result.funnel:
            went.update({rule: sum(sources.values()) for rule, sources in step.rules.items()})
        lead = f"Up to {_EXAMPLES} rows that went by each rule, from all over the set. Every one is in {result.folder}."
        extra: dict[str, Any] = {"examples": examples, "counts": went}
        yield Section(f"went-{i}", f"{name}what went" if name else "What went", lead, extra=extra, body="removed")


def _rows(step: Any) -> dict[str, int]:
    return {"rows_in": step.rows_in, "rows_out": step.rows_out}


def _charts(result: CurateResult, i: int) -> Iterator[Chart | None]:
    tally = result.tally
    licences = {counts["name"]: counts["licence"] for counts in result.read.counts}
    mix = [
        (f"{name} ({licences[name]})" if licences.get(name) else name, number)
        for name, number in tally.sources.most_common(_MOST_LABELS)
    ]
    yield bars(f"mix-{i}", "Sources", "Rows of each source, its licence in brackets where the recipe names it.", mix)
    yield bars(f"questions-{i}", "Length of questions", "Rows by characters.", _by_length(tally.questions), "--after")
    yield bars(f"answers-{i}", "Length of responses", "Rows by characters.", _by_length(tally.answers), "--after")
    labels = sorted(tally.difficulty.most_common(_MOST_LABELS), key=lambda pair: pair[0])
    yield bars(f"difficulty-{i}", "Difficulty", "Rows by the label that they carry.", labels, "--warn")


def _by_length(found: Counter[int]) -> list[tuple[str, float]]:
    """Bins in order, the empty ones between them too."""
    if not found:
        return []
    return [(count(round(2 ** (k / 2))), found[k]) for k in range(min(found), max(found) + 1)]


def _unreadable(sources: Iterable[dict[str, Any]]) -> Iterator[tuple[str, list[Example]]]:
    examples = []
    for counts in sources:
        if counts["bad"]:
            with Path(counts["quarantine"]).open("rb") as file:
                for line in map(json.loads, islice(file, _EXAMPLES)):
                    shown = line["raw"] if "raw" in line else json.dumps(line["row"], ensure_ascii=False, indent=1)
                    where = f"line {line['line']}"
                    examples.append(Example(where, counts["name"], line["reason"], shown[:_LONGEST], ""))
    if examples:
        yield _UNREADABLE, examples[:_EXAMPLES]
