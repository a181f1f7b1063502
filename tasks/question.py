"""A question with its gold answer: what every data set is a sequence of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

GraderName = Literal["math", "number", "hendrycks", "choice", "yes-no", "phrase", "drop"]
"""Ways to compare answers (`divcon.solve.grading.grade`): mathematics by what it means; one number, else words; the
string rule for MATH; a letter A to E; yes or no; a short phrase; DROP's spans."""
MeasureName = Literal["any-token", "substring", "f1"]
"""Softer scores than a verdict (`divcon.solve.grading.lenient`)."""


@dataclass(frozen=True)
class Question:
    """One question of a data set."""

    id: str
    """Unique within its data set and stable across runs."""
    text: str
    answer: str
    """The gold answer, as the data set writes it."""
    context: str = ""
    """A passage to read first; empty for most data sets."""
    subquestions: tuple[str, ...] = ()
    """The gold decomposition; empty where the data set has none, or where no decomposition is needed."""
    solution: str = ""
    """The gold worked solution; empty where the data set has none."""
    aliases: tuple[str, ...] = ()
    """Other answers that are as good as the gold one."""
    grader: GraderName = "number"
    """How answers to it are compared."""
    measure: MeasureName | None = None
    """A softer score that papers report for the data set, shown beside the verdicts; None where there is none."""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What the data set says about the question: a level, a type, a split."""
    cluster: str = field(default="", hash=False)
    """The family of questions that this one belongs to, which are right or wrong together: those of one structure, or
    on one passage. Intervals and tests are over families. Empty for a question of its own."""

    @property
    def prompt(self) -> str:
        """The question as a model reads it: the context, where there is one, then the text."""
        return f"{self.context}\n\n{self.text}" if self.context else self.text
