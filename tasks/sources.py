"""Where a study's questions come from: one small class a source, told apart by `source:` in the config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from . import gsm8k, jsonl, math, miniature
from .errors import ConfigError
from .question import GraderName, Question
from .settings import Settings


class _Source(Settings):
    """What all sources share."""

    grader: GraderName | None = None
    """How answers are compared; None is the data set's own way."""

    def judge(self, question: Question, subquestions: Sequence[str]) -> bool | None:
        """Whether these are the right sub-questions; None where nobody can say by looking at them."""
        return None


class MiniatureSource(_Source):
    """Word problems of the miniature world."""

    source: Literal["miniature"]
    split: str
    """`train`, or facts-structure: `known-known`, `new-known`, `known-new`, `new-new`."""
    take: int = Field(gt=0)
    """How many questions."""
    seed: int = 0
    """Another seed is another draw of questions."""

    def load(self) -> list[Question]:
        return miniature.questions(self.split, self.take, self.seed)

    grader: GraderName | None = None
    """How answers are compared; None is the data set's own way."""

    def judge(self, question: Question, subquestions: Sequence[str]) -> bool | None:
        return miniature.decomposition_is_right(question, subquestions)


class Gsm8kSource(_Source):
    """Grade-school word problems (Cobbe et al., 2021)."""

    source: Literal["gsm8k"]
    path: Path | None = None
    """A `.jsonl` file of the published shape; None loads `openai/gsm8k` from the hub."""
    split: Literal["train", "test"] = "test"
    """Which part of the hub's data set; a file is taken as it is."""
    take: int | None = Field(default=None, gt=0)
    """The first questions only; None is all of them."""

    def load(self) -> list[Question]:
        return _some(gsm8k.read(self.path) if self.path else gsm8k.download(self.split), self.take)


class JsonlSource(_Source):
    """Questions of your own, one JSON object a line."""

    source: Literal["jsonl"]
    path: Path
    """Keys: `question`, `answer`, optionally `id`, `context`, `subquestions` (a list), `solution`."""
    take: int | None = Field(default=None, gt=0)
    """The first questions only; None is all of them."""

    def load(self) -> list[Question]:
        return _some(jsonl.read(self.path), self.take)


class FileSource(_Source):
    """A published data set, from a `.jsonl` file of the shape in which it is commonly passed on."""

    source: Literal["math", "svamp", "asdiv", "multiarith"]
    path: Path
    """The file."""
    take: int | None = Field(default=None, gt=0)
    """The first questions only; None is all of them."""

    def load(self) -> list[Question]:
        return _some(READERS[self.source](self.path), self.take)


READERS = {
    "math": math.read_math,
    "svamp": math.read_svamp,
    "asdiv": math.read_asdiv,
    "multiarith": math.read_multiarith,
}

AnySource = MiniatureSource | Gsm8kSource | JsonlSource | FileSource
Source = Annotated[AnySource, Field(discriminator="source")]


CATALOGUE = {
    "miniature": "word problems with facts and structures that are held out; made on the spot",
    "gsm8k": "GSM8K, grade-school word problems; from the hub or a file, main or Socratic",
    "math": "MATH, competition problems with level and type; a file",
    "svamp": "SVAMP, word problems with changed wording; a file",
    "asdiv": "ASDiv, diverse word problems; a file",
    "multiarith": "MultiArith, word problems of several steps; a file",
    "jsonl": "questions of your own; a file",
}
"""Every source by its name in a config."""


def named(name: str, path: Path | None, take: int) -> AnySource:
    """The source of a name, for a first look. Raises ConfigError for an unknown name, or one that needs a path."""
    if name not in CATALOGUE:
        raise ConfigError(f"no data set {name!r}; there are {', '.join(CATALOGUE)}")
    if name == "miniature":
        return MiniatureSource(source="miniature", split=str(path or "train"), take=take)
    if name == "gsm8k":
        return Gsm8kSource(source="gsm8k", path=path, take=take)
    if path is None:
        raise ConfigError(f"the data set {name!r} needs the path of a file")
    values = {"source": name, "path": path, "take": take}
    return JsonlSource.model_validate(values) if name == "jsonl" else FileSource.model_validate(values)


def load(source: AnySource) -> list[Question]:
    """The questions of a source. Raises ConfigError when there are none, or two share an id."""
    questions = source.load()
    if source.grader:
        questions = [replace(question, grader=source.grader) for question in questions]
    if not questions:
        raise ConfigError(f"no questions in {getattr(source, 'path', None) or source.source}")
    if len({question.id for question in questions}) < len(questions):
        raise ConfigError(f"two questions in {getattr(source, 'path', None) or source.source} have the same id")
    return questions


def _some(questions: Sequence[Question], take: int | None) -> list[Question]:
    return list(questions[:take])
