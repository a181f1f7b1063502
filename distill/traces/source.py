"""Training on traces made elsewhere: a study's `train` may be a folder that `divcon traces import` wrote."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from ...tasks.question import Question
from ...tasks.sources import BaseSource
from . import trace as traces
from .trace import Trace


class TracesSource(BaseSource):
    """Traces that are there already; the teacher is not asked."""

    source: Literal["traces"]
    path: Path
    """The folder with `traces.jsonl`."""
    max_questions: int | None = Field(default=None, gt=0)
    """The traces of the first questions only; None is all of them."""
    grader: None = None
    """Traces carry their verdicts; `divcon traces import --grader` chooses how they are made."""

    def load(self) -> list[Question]:
        """The questions that there are traces of, in order."""
        return list({trace.question.id: trace.question for trace in self._all()}.values())[: self.max_questions]

    def traces(self) -> list[Trace]:
        """The traces. Raises ConfigError when there are none, or they cannot be read."""
        wanted = {question.id for question in self.load()}
        return [trace for trace in self._all() if trace.question.id in wanted]

    def fingerprint(self) -> str:
        """A hash of what a student is taught."""
        taught = [[t.question.id, t.solution, t.subquestions, t.verdict] for t in self.traces()]
        return hashlib.sha256(json.dumps(taught).encode()).hexdigest()

    def _all(self) -> list[Trace]:
        return traces.read(self.path / "traces.jsonl")
