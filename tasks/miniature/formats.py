"""The four chats that the study holds about a problem, worded by the very prompts that it sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ... import prompts
from .problem import Problem
from .splits import solution

NO_DECOMPOSITION = "No decomposition."


class ChatExample(NamedTuple):
    """One message and its reply."""

    user: str
    reply: str


def numbered(lines: Sequence[str]) -> str:
    """The lines as a numbered list."""
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def decompose(problem: Problem) -> ChatExample:
    """Which questions to ask first."""
    prompt = prompts.load("miniature/decompose").fill(question=problem.text)
    return ChatExample(prompt, numbered(problem.subquestions) or NO_DECOMPOSITION)


def solve(problem: Problem) -> ChatExample:
    """Sub-questions in hand, the solution; without any, the study falls back to the chain of thought."""
    if not problem.subquestions:
        return cot(problem)
    asked = numbered(problem.subquestions)
    return ChatExample(
        prompts.load("miniature/solve").fill(question=problem.text, subquestions=asked), solution(problem)
    )


def cot(problem: Problem) -> ChatExample:
    """The steps as sentences, then the answer."""
    steps = [step.text for step in problem.steps]
    reply = " ".join([*steps, f"The answer is {problem.answer}."])
    return ChatExample(prompts.load("miniature/cot").fill(question=problem.text), reply)


def direct(problem: Problem) -> ChatExample:
    """Only the answer."""
    return ChatExample(prompts.load("miniature/direct").fill(question=problem.text), f"The answer is {problem.answer}.")


FORMATS: dict[str, Callable[[Problem], ChatExample]] = {
    "decompose": decompose,
    "solve": solve,
    "cot": cot,
    "direct": direct,
}
