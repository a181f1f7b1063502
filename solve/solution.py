"""A worked solution, and what makes one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..decompose.decomposition import Decomposition
from ..lm.types import NO_USAGE, Usage
from ..tasks.question import Question
from .grading.answer_text import NUMBER
from .grading.extract import extract


@dataclass(frozen=True)
class Solution:
    """One attempt at a question."""

    text: str
    answer: str | None
    """The final answer; None when none could be read out of the text."""
    usage: Usage = NO_USAGE
    logprob: float | None = None
    """The mean natural log-probability of its tokens; None where it was not asked for or not offered."""
    self_certainty: float | None = None
    """Self-certainty (Kang et al., 2025), None likewise."""
    reasoning: str | None = None
    """What the model thought before; no answer is ever read from it. None where there was nothing."""
    failed: bool = False
    """Whether its request failed permanently, so that nobody knows what the model would have said."""

    @classmethod
    def read(
        cls, text: str, usage: Usage = NO_USAGE, *, pattern: re.Pattern[str] | None = NUMBER, cut: bool = False
    ) -> Solution:
        """A solution from a model's text.

        `pattern` is what answers look like (`Grader.pattern`; default: numbers). `cut` says that the text ended at a
        length limit.
        """
        return cls(text, extract(text, pattern=pattern, cut=cut), usage)


UNKNOWN = Solution("", None, Usage(), failed=True)
"""Of a question that nobody could be asked, because a request before it failed permanently."""


class Solver(Protocol):
    """Anything that solves: a distilled student, a base model, an API, or ten lines of your own."""

    def __call__(self, questions: Sequence[Question], decompositions: Sequence[Decomposition]) -> list[list[Solution]]:
        """The samples for every question, in order; each question comes with its decomposition."""
        ...
