"""Decompositions that no model makes: the data set's own, none at all, and those that tell what a good one is worth.

A solver that does as well with another question's sub-questions has no use for its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..core.errors import ConfigError
from ..lm.types import Usage
from ..tasks.question import Question
from .decomposition import Decomposition, listing

Change = Callable[[Sequence[Decomposition]], list[Decomposition]]
"""From the decompositions of a test's questions to others, in the same order."""


def gold(questions: Sequence[Question]) -> list[Decomposition]:
    """The data set's own sub-questions; none where it says that none are needed."""
    return [Decomposition(q.subquestions, "given", listing(q.subquestions), Usage()) for q in questions]


def direct(questions: Sequence[Question]) -> list[Decomposition]:
    """No sub-questions, and the solver is to answer at once."""
    return [Decomposition((), "direct", "", Usage()) for _ in questions]


def empty(questions: Sequence[Question]) -> list[Decomposition]:
    """The prompt that asks for sub-answers, with no sub-question in it."""
    return [Decomposition((), "empty", "", Usage()) for _ in questions]


def shuffled(seed: int) -> Change:
    """Another question's decomposition for each question. Raises ConfigError where there is no other."""

    def change(made: Sequence[Decomposition]) -> list[Decomposition]:
        if len(made) < 2:
            raise ConfigError("shuffled decompositions need two questions a test at least")
        cycle = random.Random(f"shuffled/{seed}").sample(range(len(made)), len(made))
        others = dict(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
        return [made[others[i]] for i in range(len(made))]

    return change


def truncated(most: int) -> Change:
    """The first sub-questions only."""

    def change(made: Sequence[Decomposition]) -> list[Decomposition]:
        return [replace(one, subquestions=one.subquestions[:most]) for one in made]

    return change
