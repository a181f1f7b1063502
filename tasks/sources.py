"""Where a study's questions come from: one small class a source, told apart by `source:` in the config."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ..core.errors import ConfigError
from ..core.settings import Settings
from . import miniature, own, registry
from .question import GraderName, Question


class BaseSource(Settings):
    """What all sources share."""

    source: str
    """Its name in a config."""
    grader: GraderName | None = None
    """How answers are compared; None is the data set's own way."""

    cluster: str | None = None
    """What makes a family of questions, over which intervals and tests are taken: `tags.NAME`, `context` (questions on
    one passage), or `none`. None is the data set's own: the chain of the miniature world, a passage where there is
    one."""

    @field_validator("cluster")
    @classmethod
    def _is_a_cluster(cls, value: str | None) -> str | None:
        if value not in (None, "none", "context") and not (value and value.startswith("tags.") and value[5:]):
            raise ValueError(f"cluster {value!r} is none of tags.NAME, context and none")
        return value

    def cluster_of(self, question: Question) -> str:
        """The family of a question; empty where it is one of its own. Raises ConfigError for a tag that it lacks."""
        kind = self.cluster or self._families
        if kind.startswith("tags."):
            if kind[5:] not in question.tags:
                raise ConfigError(f"cluster {kind}: {question.id} of {self.source} has {_said(question.tags)}")
            return f"{self.source}: {question.tags[kind[5:]]}"
        if kind == "context" and question.context:
            return f"passage {sha256(question.context.encode()).hexdigest()[:16]}"
        return ""

    @property
    def _families(self) -> str:
        """What makes a family of the data set's questions, where the config does not say."""
        return "context"

    @abstractmethod
    def load(self) -> list[Question]:
        """The questions, in a fixed order."""

    def judge(self, question: Question, subquestions: Sequence[str]) -> bool | None:
        """Whether these are the right sub-questions; None where nobody can say by looking at them."""
        return None

    def origin(self) -> dict[str, str]:
        """Where on the hub the questions came from, and of which revision; empty for others."""
        return {}


class MiniatureSource(BaseSource):
    """Word problems of the miniature world."""

    source: Literal["miniature"]
    split: str
    """`train`, or facts-structure: `known-known`, `new-known`, `known-new`, `new-new`."""
    max_questions: int = Field(gt=0)
    """How many questions."""
    seed: int = 0
    """Another seed is another draw of questions."""

    def load(self) -> list[Question]:
        return miniature.questions(self.split, self.max_questions, self.seed)

    def judge(self, question: Question, subquestions: Sequence[str]) -> bool | None:
        return miniature.decomposition_is_right(question, subquestions)

    @property
    def _families(self) -> str:
        return "tags.chain"


class PublishedSource(BaseSource):
    """A data set that others have published."""

    source: registry.Name
    path: Path | None = None
    """A file of the published shape; None loads the data set from the hub, at a pinned revision."""
    split: Literal["train", "test"] = "test"
    """Which part of the hub's data set; a file is taken as it is."""
    only: dict[str, str] = Field(default_factory=dict)
    """Only the questions that the data set says this of, `{level: Level 1}` say; an empty one asks for nothing."""
    max_questions: int | None = Field(default=None, gt=0)
    """The first of them only; None is all of them."""

    def load(self) -> list[Question]:
        data_set = registry.DATA_SETS[self.source]
        questions = data_set.read(self.path) if self.path else data_set.download(self.split)
        found = [q for q in questions if self.only.items() <= q.tags.items()][: self.max_questions]
        if questions and not found:
            raise ConfigError(
                f"no question of {self.source} has {_said(self.only)}; the first has {_said(questions[0].tags)}"
            )
        return found

    def origin(self) -> dict[str, str]:
        hub = registry.DATA_SETS[self.source].hub
        return {} if self.path else {"hub": hub.repository, "revision": hub.revision}


class JsonlSource(BaseSource):
    """Questions of your own, one JSON object a line."""

    source: Literal["jsonl"]
    path: Path
    """Keys: `question`, `answer`, optionally `id`, `context`, `solution`, and the lists `subquestions`, `aliases`."""
    max_questions: int | None = Field(default=None, gt=0)
    """The first questions only; None is all of them."""

    def load(self) -> list[Question]:
        return own.read(self.path)[: self.max_questions]


AnySource = MiniatureSource | PublishedSource | JsonlSource
Source = Annotated[AnySource, Field(discriminator="source")]


CATALOGUE: dict[str, str] = {
    "miniature": "word problems with facts and structures that are held out; made on the spot",
    **{name: data_set.about for name, data_set in registry.DATA_SETS.items()},
    "jsonl": "questions of your own, from a file",
}
"""Every source by its name in a config."""


def named(name: str, path: Path | None, max_questions: int) -> AnySource:
    """The source of a name, for a first look. Raises ConfigError for an unknown name, or one that needs a path."""
    if name not in CATALOGUE:
        raise ConfigError(f"no data set {name!r}; there are {', '.join(CATALOGUE)}")
    if name == "miniature":
        return MiniatureSource(source="miniature", split=str(path or "train"), max_questions=max_questions)
    if name != "jsonl":
        return PublishedSource.model_validate({"source": name, "path": path, "max_questions": max_questions})
    if path is None:
        raise ConfigError("questions of your own need the path of a file")
    return JsonlSource(source="jsonl", path=path, max_questions=max_questions)


def _said(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in tags.items()) or "no tags"


def load(source: BaseSource) -> list[Question]:
    """The questions of a source. Raises ConfigError when there are none, or two share an id."""
    questions = source.load()
    if source.grader:
        questions = [replace(question, grader=source.grader) for question in questions]
    questions = [replace(question, cluster=source.cluster_of(question)) for question in questions]
    if not questions:
        raise ConfigError(f"no questions in {getattr(source, 'path', None) or source.source}")
    if len({question.id for question in questions}) < len(questions):
        raise ConfigError(f"two questions in {getattr(source, 'path', None) or source.source} have the same id")
    return questions
