"""Rows, recipes and files for the tests of curation."""

import json
import os
from pathlib import Path

from gppo.config import CurateConfig
from gppo.records import Conversation
from gppo.types import Problem

DATA = Path(os.environ.get("GPPO_DATA", Path(__file__).parents[3] / "shared" / "data"))


def problem(id, text, source=""):
    prompt = ({"role": "user", "content": text},)
    return Problem(id=id, prompt=prompt, ability="math", ground_truth="1", data_source=source)


def conversation(id, text, answer):
    messages = ({"role": "user", "content": text}, {"role": "assistant", "content": answer})
    return Conversation(id=id, messages=messages)


def source(path, **options):
    return {"name": Path(path).stem, "data": path, **options}


def config(tmp_path, sources, *steps, name="the set", output=None):
    return CurateConfig(
        name=name,
        sources=[each if isinstance(each, dict) else source(each) for each in sources],
        steps=list(steps),
        output=output or tmp_path / "out.jsonl",
    )


EXACT = {"step": "exact_dedup"}


def decontaminate(*paths, **options):
    return {"step": "decontaminate", "against": [source(path) for path in paths], **options}


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]
