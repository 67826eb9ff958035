"""The steps of curation that choose: by source, difficulty, correctness, tests, form and coverage."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from gppo.config.base import Strict
from gppo.config.endpoint import EndpointConfig
from gppo.config.model import ModelConfig

_REFERENCE = "Key of extra_info with the reference answer or the tests of a conversation; problems have their own."


class JudgeConfig(Strict):
    """How answers are judged while data are made."""

    workers: int = Field(default=1, description="Processes that judge math, and as many that run programs.", ge=1)
    timeout: float = Field(default=5.0, description="Seconds for one math answer.", gt=0)
    test_seconds: float = Field(default=6.0, description="Seconds for one test of a program.", gt=0)
    tests_per_problem: int | None = Field(
        default=None, description="At most so many tests of a code problem are run; all where not given.", ge=1
    )


class TopSourcesConfig(Strict):
    """Only the best sources stay, by the ``quality`` of each; 1 is the best."""

    step: Literal["top_sources"] = Field(description="Which step it is.")
    keep: int = Field(description="How many sources stay.", ge=1)
    rows_per_source: int | None = Field(
        default=None, description="At most so many rows of each, drawn by the seed; all where not given.", ge=1
    )


class DifficultyConfig(Strict):
    """How often a model solves each problem: measured, or read from a column or a file. Rows get labels, none goes."""

    step: Literal["difficulty"] = Field(description="Which step it is.")
    column: str | None = Field(default=None, description="Key of extra_info with the pass rate, 0 to 1.")
    file: Path | None = Field(
        default=None, description='JSONL of {"id": ..., "pass_rate": ...}; id is a row\'s, or its problem_id.'
    )
    model: ModelConfig | None = Field(default=None, description="The model that answers, in this process.")
    endpoint: EndpointConfig | None = Field(default=None, description="The server whose model answers; asked by chat.")
    k: int = Field(default=8, description="Responses to each problem.", ge=1)
    temperature: float = Field(default=1.0, description="Of the responses.", ge=0)
    max_response_tokens: int = Field(default=1024, description="Longer responses are cut and count as wrong.", ge=1)
    problems_at_once: int = Field(default=64, description="Problems that are sampled together, then judged.", ge=1)
    easy_from: float = Field(default=0.5, description="Pass rate from which a problem is easy.", ge=0, le=1)
    reference: str = Field(default="ground_truth", description=_REFERENCE)
    judge: JudgeConfig = Field(default_factory=JudgeConfig, description="Of the model's responses.")

    @model_validator(mode="after")
    def _one_origin(self) -> "DifficultyConfig":
        if sum(each is not None for each in (self.column, self.file, self.model, self.endpoint)) != 1:
            raise ValueError("give exactly one of column, file, model and endpoint")
        if self.endpoint and self.endpoint.api == "completions":
            raise ValueError("endpoint.api: completions needs a tokenizer, which this step has not; write chat")
        return self


class CorrectnessConfig(Strict):
    """Which wrong answers stay in an SFT set."""

    step: Literal["correctness"] = Field(description="Which step it is.")
    policy: Literal["paper", "only_true", "mixed"] = Field(
        default="paper",
        description="paper: wrong answers stay on hard problems only. only_true: none stays. mixed: all, labelled.",
    )
    reference: str = Field(default="ground_truth", description=_REFERENCE)
    judge: JudgeConfig = Field(default_factory=JudgeConfig, description="Of the answers.")


class MinTestsConfig(Strict):
    """Code problems with few tests go: a program that is wrong would pass them."""

    step: Literal["min_tests"] = Field(description="Which step it is.")
    at_least: int = Field(default=16, description="Tests that a problem needs.", ge=1)


class FaultyTestsConfig(Strict):
    """Tests that solutions known to be right contradict, in agreement with each other."""

    step: Literal["faulty_tests"] = Field(description="Which step it is.")
    solutions: str = Field(default="solutions", description="Key of extra_info with a program, or a list of them.")
    agree: int = Field(default=2, description="Solutions that must give one and the same other answer.", ge=1)
    remove: Literal["tests", "problems"] = Field(default="tests", description="What goes where a test is faulty.")
    judge: JudgeConfig = Field(default_factory=JudgeConfig, description="Of the solutions.")


class PassShareConfig(Strict):
    """Problems of which a strong model solves too small a share: too hard, or not what their answer says."""

    step: Literal["pass_share"] = Field(description="Which step it is.")
    responses: str | None = Field(default=None, description="Key of extra_info with a list of responses to judge.")
    column: str | None = Field(default=None, description="Key of extra_info with the share itself, 0 to 1.")
    above: float = Field(default=0.5, description="Problems with this share or less go.", ge=0, lt=1)
    judge: JudgeConfig = Field(default_factory=JudgeConfig, description="Of the responses.")

    @model_validator(mode="after")
    def _one_origin(self) -> "PassShareConfig":
        if (self.responses is None) == (self.column is None):
            raise ValueError("give exactly one of responses and column")
        return self


class FormatConfig(Strict):
    """Responses of an SFT set that are not in the form that is taught."""

    step: Literal["format"] = Field(description="Which step it is.")
    think: bool = Field(default=True, description="One <think>...</think> first, then an answer.")
    box: bool = Field(default=False, description="The answer to a math problem stands in a box.")
    fence: bool = Field(default=False, description="The answer to a code problem has a closed fenced block.")


class LanguageConfig(Strict):
    """Texts whose letters are not of the scripts that are wanted. Scripts are no languages: French passes as Latin."""

    step: Literal["language"] = Field(description="Which step it is.")
    scripts: list[str] = Field(
        default=["latin", "greek"],
        description="As Unicode names them: latin, greek, cyrillic, cjk, arabic.",
        min_length=1,
    )
    at_least: float = Field(default=0.95, description="Share of the letters that must be of these scripts.", gt=0, le=1)
    text: Literal["question", "response", "all"] = Field(default="all", description="What is looked at.")


class EmbeddingConfig(Strict):
    """Where questions get their place in space."""

    encoder: str | None = Field(
        default=None,
        description="Folder or hub id of an encoder; hashed TF-IDF reduced by SVD, offline, where not given.",
    )
    pooling: Literal["mean", "cls", "last"] = Field(
        default="mean", description="From tokens to a text, as it was trained."
    )
    max_tokens: int = Field(default=512, description="Tokens of a text that the encoder reads.", ge=1)
    batch_size: int = Field(default=32, description="Texts that the encoder reads together.", ge=1)
    dimensions: int = Field(default=384, description="Of TF-IDF after SVD.", ge=2)
    sample: int = Field(default=50_000, description="Texts that TF-IDF and SVD are fitted on.", ge=2)


class KCenterConfig(Strict):
    """As many rows as fit a budget, so that no question is far from all that are kept."""

    step: Literal["k_center"] = Field(description="Which step it is.")
    budget: int = Field(description="Rows that stay.", ge=1)
    embedding: EmbeddingConfig = Field(default_factory=EmbeddingConfig, description="Of the questions.")
