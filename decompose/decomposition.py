"""A decomposition, what makes one, and how one is read from text and written as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..lm.types import NO_USAGE, Usage
from ..tasks.question import Question
from .control_tokens import drop_control_tokens

Kind = Literal["asked", "not needed", "unreadable", "failed", "given", "not tried", "direct", "empty"]
"""What came of decomposing. Of a request that `failed` for good nobody knows. For the last four nobody was asked, and
they cost nothing: the data set has the sub-questions, the solver thinks for itself, is to answer at once, or is asked
for sub-answers to no sub-question."""
Stage = Literal["solve", "single_stage", "direct"]
"""Which of a solver's prompts a question is asked with."""

FAILURE: Kind = "failed"
NOT_NEEDED = "No decomposition."
"""What a decomposer says when the question can be answered at once."""

_MARKER = re.compile(r"^(?:\(?\d{1,2}[.):]|[-*•]|[Qq]uestion\s*\d{1,2}\s*[.):]|[Qq]\d{1,2}\s*[.):])\s*")


@dataclass(frozen=True)
class Decomposition:
    """The sub-questions of one question."""

    subquestions: tuple[str, ...]
    """Empty when none are needed or none could be read; a solver then answers in a single stage."""
    kind: Kind
    text: str = ""
    """What the decomposer wrote."""
    usage: Usage = NO_USAGE
    reasoning: str | None = None
    """What it thought before; no sub-question is ever read from it. None where there was nothing."""

    @property
    def was_tried(self) -> bool:
        """Whether anybody was asked for it."""
        return self.kind not in ("given", "not tried", "direct", "empty")

    @property
    def stage(self) -> Stage:
        """What the solver is asked with."""
        if self.subquestions or self.kind == "empty":
            return "solve"
        return "direct" if self.kind == "direct" else "single_stage"

    @property
    def listing(self) -> str:
        """The sub-questions as a solver reads them and as a student learns to write them."""
        return listing(self.subquestions)


class Decomposer(Protocol):
    """Anything that decomposes: a distilled student, a base model, an API, or ten lines of your own."""

    def __call__(self, questions: Sequence[Question]) -> list[Decomposition]:
        """One decomposition a question, in order."""
        ...


def none(questions: Sequence[Question]) -> list[Decomposition]:
    """The decomposer that asks nothing and costs nothing: every question goes to the solver whole."""
    return [Decomposition((), "not tried", "", Usage()) for _ in questions]


def listing(subquestions: Sequence[str]) -> str:
    """Numbered lines, or the sentence that none are needed."""
    return "\n".join(f"{i}. {s}" for i, s in enumerate(subquestions, 1)) or NOT_NEEDED


def harmless(text: str) -> str:
    """A model's text without control tokens, to be put into another's prompt; also without those that dropping one
    would leave."""
    return drop_control_tokens(text)


def parse(text: str, limit: int) -> tuple[tuple[str, ...], Kind]:
    """At most `limit` sub-questions from numbered, bulleted or plain lines that hold a question.

    A line without a question mark is commentary, and one about the "main question" repeats the task
    (Divide-or-Conquer, official code). A repeated sub-question counts once.
    """
    text = harmless(text)
    lines = [_MARKER.sub("", line.strip().strip("*_").strip()).strip("*_ ") for line in text.splitlines()]
    asked = dict.fromkeys(line for line in lines if "?" in line and "main question" not in line.lower())
    if asked:
        return tuple(asked)[:limit], "asked"
    return (), "not needed" if "no decomposition" in text.lower() else "unreadable"
