"""How a teacher's responses are collected."""

from pathlib import Path

from pydantic import Field

from gppo.config.base import Strict
from gppo.config.endpoint import EndpointConfig


class DistillConfig(Strict):
    """Every problem is put to the teacher, its responses are judged and written as conversations."""

    problems: Path = Field(description="JSONL or Parquet of problems.")
    limit: int | None = Field(default=None, description="Only the first so many problems.", ge=1)
    output: Path = Field(description="JSONL or Parquet of conversations that is written.")
    endpoint: EndpointConfig = Field(description="The teacher.")
    samples: int = Field(default=1, description="Responses a problem; the paper takes up to 16.", ge=1, le=256)
    temperature: float = Field(default=0.6, description="0 is greedy.", ge=0)
    top_p: float = Field(default=0.95, description="1 keeps the whole distribution.", gt=0, le=1)
    top_k: int = Field(default=0, description="0 keeps the whole distribution; few providers know more.", ge=0)
    max_response_tokens: int = Field(
        default=32768, description="Responses are cut here, and are then never correct.", ge=1
    )
    judge_workers: int = Field(default=1, description="Processes that judge.", ge=1)
    judge_timeout: float = Field(default=5.0, description="Seconds for one math answer.", gt=0)
    code_tests: int | None = Field(
        default=None, description="Tests of a code problem that are run; all where not given.", ge=1
    )
