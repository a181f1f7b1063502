"""How a question is worked in turns: a policy says what is asked next, and hears what came of it. It waits for nothing.

A policy is a generator of steps. The study drives it for many questions in lock-step (`lockstep`), the endpoint and the
Python client for one request (`serve.pipeline`): what was measured is what is served. Another policy is another
generator.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from ..decompose.decomposition import harmless
from .solution import Solution

_LONGEST = 200
"""Characters of an answer that could not be read, which the next turn is shown instead."""


class Answered(NamedTuple):
    """A sub-question and what the solver made of it."""

    subquestion: str
    answer: str


History = tuple[Answered, ...]


@dataclass(frozen=True)
class NextSubquestion:
    """Ask the decomposer for one more sub-question; to be sent it, or None where there is none."""

    history: History


@dataclass(frozen=True)
class AnswerSubquestion:
    """Ask the solver for the answer to one sub-question; to be sent its `Solution`."""

    history: History
    subquestion: str


@dataclass(frozen=True)
class AnswerQuestion:
    """Ask the solver for the answer to the question; to be sent its `Solution`."""

    history: History


PolicyStep = NextSubquestion | AnswerSubquestion | AnswerQuestion
Walk = Generator[PolicyStep, Any, Solution]
"""One question on its way; the last solution is its result."""
Policy = Callable[[int], Walk]
"""A way to work a question, with so many sub-questions at most."""


def self_ask(limit: int) -> Walk:
    """Each sub-question is answered before the next is asked (Press et al., 2023).

    The "dynamic" mode that Divide-or-Conquer compares with in its Table 6.
    """
    history: History = ()
    while len(history) < limit and (subquestion := (yield NextSubquestion(history))):
        solution = yield AnswerSubquestion(history, subquestion)
        history = (*history, Answered(subquestion, short_answer(solution)))
    answer: Solution = yield AnswerQuestion(history)
    return answer


def replay(policy: Policy, limit: int, heard: tuple[object, ...]) -> PolicyStep | Solution:
    """The step that a walk is at after it has heard this, or its result: a walk cannot be copied, but repeated."""
    walk = policy(limit)
    try:
        step = next(walk)
        for one in heard:
            step = walk.send(one)
    except StopIteration as end:
        assert isinstance(end.value, Solution)
        return end.value
    return step


def listing(history: History) -> str:
    """Numbered lines of sub-questions with their answers, each line ended; empty where nothing is known."""
    return "".join(f"{i}. {subquestion} {answer}\n" for i, (subquestion, answer) in enumerate(history, 1))


def short_answer(solution: Solution) -> str:
    """What the next turn is told."""
    return _shortened(solution.answer or solution.text)


@lru_cache(maxsize=4096)  # walks are repeated
def _shortened(text: str) -> str:
    return " ".join(harmless(text).split())[:_LONGEST]
