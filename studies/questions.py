"""A study's questions: what is learned from, what is tested on, and what the two share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from ..core.errors import ConfigError
from ..distill.traces.source import TracesSource
from ..distill.traces.trace import Trace
from ..eval.config import Study
from ..eval.grid.gold_coverage import with_gold
from ..eval.grid.rows import QuestionKey
from ..solve.grading.grade import refuse_unreadable_gold
from ..tasks import sources
from ..tasks.contamination import Overlap, overlaps
from ..tasks.question import Question
from ..tasks.shard import Shard
from ..tasks.sources import BaseSource, FileSource, HubSource
from .origins import Origins


class StudyQuestions:
    """Each loaded when it is first asked for, and then kept."""

    def __init__(self, study: Study, origins: Origins | None = None, shard: Shard | None = None) -> None:
        """`origins` know what files were called when the run began, since ids of questions have their names.

        `shard` is the part of them that is asked here; None is all of them.
        """
        self._study = study
        self._origins = origins
        self._shard = shard

    @cached_property
    def train(self) -> list[Question]:
        """Those that are learned from and asked here."""
        return self._in_shard(self._all_train)

    @cached_property
    def tests(self) -> dict[str, list[Question]]:
        """Those of each test that are asked here."""
        return {name: self._in_shard(questions) for name, questions in self._all_tests.items()}

    def _in_shard(self, questions: list[Question]) -> list[Question]:
        return questions if self._shard is None else self._shard.part(questions)

    @cached_property
    def _all_train(self) -> list[Question]:
        return self._load("train", self._study.train)

    @cached_property
    def _all_tests(self) -> dict[str, list[Question]]:
        return {name: questions for _, tests in self._tested for name, questions in tests.items()}

    def source(self, test: str) -> BaseSource:
        """Where a test's questions come from."""
        return next(source for source, tests in self._tested if test in tests)

    @cached_property
    def _tested(self) -> list[tuple[BaseSource, dict[str, list[Question]]]]:
        """Each source of tests, and the tests that it comes to."""
        tested = self._study.tests.items()
        return [(source, source.tests(name, self._load(f"tests.{name}", source))) for name, source in tested]

    @cached_property
    def imported_traces(self) -> list[Trace]:
        """The traces that the study is given instead of a teacher; none where there is a teacher to ask."""
        return self._study.train.traces() if isinstance(self._study.train, TracesSource) else []

    @cached_property
    def with_gold(self) -> frozenset[str]:
        """The tests that have gold sub-questions. Raises ConfigError where the grid needs some and none has them."""
        return with_gold(self._all_tests, self._study.grid.decomposer_specs)

    def _load(self, key: str, source: BaseSource) -> list[Question]:
        questions, first = _load(source), self._origins.file_name(key) if self._origins else None
        path = getattr(source, "path", None)
        if first is None or path is None or first == Path(path).name:
            return questions
        for old, new in ((Path(first).stem, Path(path).stem), (first.split(".")[0], Path(path).name.split(".")[0])):
            if all(question.id.startswith(f"{new}/") for question in questions):
                return [replace(question, id=old + question.id.removeprefix(new)) for question in questions]
        return questions

    def shared_with(self, train: Sequence[Question]) -> dict[QuestionKey, Overlap]:
        """What each test question shares with questions that are learned from."""
        return self._overlaps(train, self.tests)

    @staticmethod
    def _overlaps(train: Sequence[Question], tests: Mapping[str, Sequence[Question]]) -> dict[QuestionKey, Overlap]:
        return {
            (test, question.id): overlap
            for test, questions in tests.items()
            for question, overlap in zip(questions, overlaps(train, questions), strict=True)
        }

    def refuse_overlap(self) -> None:
        """Raise ConfigError when a test question is a training question, unless that is allowed."""
        found = self._overlaps(self._all_train, self._all_tests)
        same = [f"{name} of {test}" for (test, name), overlap in found.items() if overlap == "exact"]
        if same and not self._study.allow_overlap:
            raise ConfigError(
                f"{len(same)} test questions are training questions too, such as {same[0]}; "
                "take other questions, or set allow_overlap=true"
            )


def _load(source: BaseSource) -> list[Question]:
    """The questions of a source. Raises ConfigError for a gold answer that no answer can match.

    Of published data sets and of traces all questions stay: the few golds that nobody can read (two of MATH are empty)
    are part of what others report on, and answers to them count as unreadable.
    """
    questions = sources.load(source)
    if isinstance(source, FileSource | HubSource) or source.grader:
        refuse_unreadable_gold(questions)
    return questions
