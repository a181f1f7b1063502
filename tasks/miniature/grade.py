"""Whether a decomposition is right: it asks for the quantities of the gold chain, in an order that can be worked."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache

from ..question import Question
from .problem import draw


def decomposition_is_right(question: Question, subquestions: Sequence[str]) -> bool:
    """Whether the sub-questions are the gold ones, each after those whose results it needs.

    Case, punctuation and space do not count; a one-step question is rightly left whole.
    """
    gold = [canonical(asked) for asked in question.subquestions]
    asked = [canonical(asked) for asked in subquestions]
    if sorted(asked) != sorted(gold):
        return False
    places = [asked.index(quantity) for quantity in gold]
    needs = graph(question.tags["chain"])[: len(gold)]
    return all(places[need] < place for place, uses in zip(places, needs, strict=True) for need in uses)


def canonical(subquestion: str) -> str:
    """The words and numbers of a sub-question, in lower case."""
    return " ".join(re.findall(r"[a-z]+|\d+", subquestion.lower()))


@cache
def graph(chain: str) -> tuple[tuple[int, ...], ...]:
    """For each step of a chain, the earlier steps that it reads."""
    return tuple(step.uses for step in draw(random.Random(chain), chain).steps)
