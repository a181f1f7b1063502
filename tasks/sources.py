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
from .hub import Hub
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

    breakdown: str | None = None
    """`tags.NAME`: each value of this tag is a test of its own, in every table and figure. Of tests alone."""

    @field_validator("breakdown")
    @classmethod
    def _is_a_tag(cls, value: str | None) -> str | None:
        if value is not None and not (value.startswith("tags.") and value[5:]):
            raise ValueError(f"breakdown {value!r} is not of the form tags.NAME")
        return value

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

    def tests(self, name: str, questions: Sequence[Question]) -> dict[str, list[Question]]:
        """The tests that a test of this source comes to: one, or one for each value of the tag that breaks it down.

        Raises ConfigError for a question that lacks the tag.
        """
        if self.breakdown is None:
            return {name: list(questions)}
        tag, found = self.breakdown.removeprefix("tags."), dict[str, list[Question]]()
        for question in questions:
            if tag not in question.tags:
                raise ConfigError(f"breakdown {self.breakdown}: {question.id} of {name} has {_said(question.tags)}")
            found.setdefault(f"{name}, {tag}: {question.tags[tag]}", []).append(question)
        return found

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
    skip: int = Field(default=0, ge=0)
    """Questions at the beginning that are left out: so one file can be learned from and tested on."""

    def load(self) -> list[Question]:
        data_set = registry.DATA_SETS[self.source]
        questions = data_set.read(self.path) if self.path else data_set.download(self.split)
        found = [q for q in questions if self.only.items() <= q.tags.items()]
        if questions and not found:
            raise ConfigError(
                f"no question of {self.source} has {_said(self.only)}; the first has {_said(questions[0].tags)}"
            )
        return _some(found, self.skip, self.max_questions)

    def origin(self) -> dict[str, str]:
        hub = registry.DATA_SETS[self.source].hub
        return {} if self.path else {"hub": hub.repository, "revision": hub.revision}


class FileSource(BaseSource):
    """Questions of your own, from a file or a folder."""

    source: Literal["file", "jsonl"]
    """`jsonl` is an older name of `file`."""
    path: Path
    """CSV, TSV, JSON, JSON Lines, Parquet or Arrow, perhaps as .gz or .zst, or a folder that `save_to_disk` wrote."""
    columns: dict[own.Part, str] = Field(default_factory=dict)
    """The columns of `question`, `answer`, `id`, `context`, `choices`, `solution`, and of the lists `subquestions` and
    `aliases`, where they have other names: `{question: problem, answer: target.value}`. Others become tags."""
    split: str | None = None
    """Which part of a folder that holds several."""
    max_questions: int | None = Field(default=None, gt=0)
    """The first questions only; None is all of them."""
    skip: int = Field(default=0, ge=0)
    """Questions at the beginning that are left out: so one file can be learned from and tested on."""

    def load(self) -> list[Question]:
        return own.read(self.path, self.columns, self.split, self.skip, self.max_questions)


class HubSource(BaseSource):
    """Questions of any data set on the Hugging Face hub."""

    source: Literal["hub"]
    name: str
    """`owner/name`."""
    revision: str
    """A commit, a tag or a branch; only a commit gives the same questions tomorrow."""
    split: str = "test"
    """Which of its splits."""
    config: str | None = None
    """Which of its configurations, where it has several."""
    columns: dict[own.Part, str] = Field(default_factory=dict)
    """As of files."""
    max_questions: int | None = Field(default=None, gt=0)
    """The first questions only; None is all of them."""
    skip: int = Field(default=0, ge=0)
    """Questions at the beginning that are left out: so one file can be learned from and tested on."""

    def load(self) -> list[Question]:
        hub = Hub(self.name, self.revision, {self.split: self.split}, (self.config,))
        rows = ((f"{self.name} {name}", name, row) for name, row in hub.rows(self.split))
        return _some(list(own.questions(rows, self.columns)), self.skip, self.max_questions)

    def origin(self) -> dict[str, str]:
        return {"hub": self.name, "revision": self.revision}


AnySource = MiniatureSource | PublishedSource | FileSource | HubSource
Source = Annotated[AnySource, Field(discriminator="source")]


CATALOGUE: dict[str, str] = {
    "miniature": "word problems with facts and structures that are held out; made on the spot",
    **{name: data_set.about for name, data_set in registry.DATA_SETS.items()},
    "file": "questions of your own: CSV, TSV, JSON, JSON Lines, Parquet, Arrow",
    "hub": "any data set on the Hugging Face hub, by its name and revision",
}
"""Every source by its name in a config."""


def named(name: str, path: Path | None, max_questions: int) -> AnySource:
    """The source of a name, for a first look. Raises ConfigError for an unknown name, or one that needs a path."""
    if name == "hub":
        raise ConfigError("a data set of the hub needs a config: {source: hub, name: OWNER/NAME, revision: COMMIT}")
    if name not in (*CATALOGUE, "jsonl"):
        raise ConfigError(f"no data set {name!r}; there are {', '.join(CATALOGUE)}")
    if name == "miniature":
        return MiniatureSource(source="miniature", split=str(path or "train"), max_questions=max_questions)
    if name not in ("file", "jsonl"):
        return PublishedSource.model_validate({"source": name, "path": path, "max_questions": max_questions})
    if path is None:
        raise ConfigError("questions of your own need the path of a file")
    return FileSource(source="file", path=path, max_questions=max_questions)


def _some(questions: list[Question], skip: int, most: int | None) -> list[Question]:
    return questions[skip:][:most]


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
    _refuse_twins(questions, str(getattr(source, "path", None) or source.source))
    return questions


def _refuse_twins(questions: Sequence[Question], where: str) -> None:
    first: dict[str, Question] = {}
    for question in questions:
        other = first.setdefault(question.id, question)
        if other is not question:
            places = f": {other.place} and {question.place}" if question.place else ""
            raise ConfigError(f"two questions in {where} have the same id {question.id!r}{places}")
