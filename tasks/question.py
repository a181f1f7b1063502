"""A question with its gold answer: what every data set is a sequence of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

GraderName = Literal["number", "hendrycks"]
"""Ways to compare answers (`divcon.solve.grade`): numbers by value and else words; the string rule for MATH."""


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
    grader: GraderName = "number"
    """How answers to it are compared."""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What the data set says about the question: a level, a type, a split."""

    @property
    def prompt(self) -> str:
        """The question as a model reads it: the context, where there is one, then the text."""
        return f"{self.context}\n\n{self.text}" if self.context else self.text
