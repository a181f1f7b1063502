"""A question with its gold answer: what every data set is a sequence of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Literal

GraderName = Literal["math", "number", "hendrycks", "choice", "yes-no", "phrase", "drop"]
"""Ways to compare answers (`divcon.solve.grading.grade`): mathematics by what it means; one number, else words; the
string rule for MATH; a letter; yes or no; a short phrase; DROP's spans."""
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
    choices: tuple[str, ...] = ()
    """What there is to choose from, A first; empty for questions that are not multiple choice."""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What the data set says about the question: a level, a type, a split."""
    cluster: str = field(default="", hash=False)
    """The family of questions that this one belongs to, which are right or wrong together: those of one structure, or
    on one passage. Intervals and tests are over families. Empty for a question of its own."""
    place: str = field(default="", compare=False, repr=False)
    """The file and the line that it was read from, for errors; empty where it was not read from a file."""

    @property
    def prompt(self) -> str:
        """The question as a model reads it: the context, where there is one, the text, then the choices."""
        return "\n\n".join(part for part in (self._with_context, self.listed_choices) if part)

    @property
    def listed_choices(self) -> str:
        """The choices a line each, `A) ...`; empty where there are none."""
        return "\n".join(f"{letter}) {each}" for letter, each in zip(ascii_uppercase, self.choices, strict=False))

    def values(self, template: str) -> dict[str, str]:
        """What fills the places of a prompt template: `{question}`, and `{choices}` where the template has that place;
        elsewhere the choices stand behind the question."""
        if "{choices}" in template:
            return {"question": self._with_context, "choices": self.listed_choices}
        return {"question": self.prompt}

    @property
    def _with_context(self) -> str:
        return f"{self.context}\n\n{self.text}" if self.context else self.text
