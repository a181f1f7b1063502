"""From traces to training examples: what the student is asked, and the reply it should learn.

A student is asked exactly what it will be asked later: the requests come from the decomposer and the solver that the
study evaluates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ...core.errors import ConfigError
from ...decompose.decomposition import Stage, listing, parse
from ...decompose.prompted import PromptedDecomposer
from ...lm.types import Message
from ...solve.grading.extract import splice
from ...solve.grading.grade import GRADERS
from ...solve.prompted import PromptedSolver
from ..recipes import DecomposerData, SolverData
from ..traces.trace import Trace


class Example(NamedTuple):
    """A conversation up to the reply, and the reply."""

    messages: tuple[Message, ...]
    reply: str
    right: bool = True
    """False for a reply that an objective is to keep the student from."""


def for_decomposer(traces: Sequence[Trace], decomposer: PromptedDecomposer, data: DecomposerData) -> list[Example]:
    """Each distinct decomposition of a question once. Raises ConfigError when nothing is left."""
    selected = dict.fromkeys((t.question, t.subquestions) for t in decompositions(traces, decomposer.limit, data))
    examples = [Example(decomposer.request(question).messages, listing(asked)) for question, asked in selected]
    return _some(examples, f"a decomposer with data {data!r}", traces)


def for_solver(
    traces: Sequence[Trace],
    solver: PromptedSolver,
    data: SolverData,
    target: Literal["sub-answers", "direct"],
    stage: Stage | None = None,
) -> list[Example]:
    """Each distinct solution once. With target `direct` the reply is the final answer's sentence alone.

    `stage` is the prompt that the student is asked with; None chooses it for each trace by its sub-questions.

    Raises ConfigError when nothing is left.
    """
    examples = []
    for trace in solutions(traces, data):
        answer, worked = trace.answer or "", trace.solution
        if data == "gold-spliced":
            answer = trace.question.answer
            worked = splice(worked, answer, GRADERS[trace.question.grader].pattern)
        reply = worked if target == "sub-answers" else f"The answer is {answer}."
        examples.append(Example(solver.request(trace.question, trace.subquestions, stage).messages, reply))
    return _some(list(dict.fromkeys(examples)), f"a solver with data {data!r}", traces)


def decompositions(traces: Sequence[Trace], limit: int, data: DecomposerData) -> list[Trace]:
    """The traces whose decomposition is taught; an unreadable one teaches nothing."""
    said = [t for t in traces if t.subquestions or parse(t.decomposition, limit)[1] == "not needed"]
    return [trace for trace in said if data == "all" or trace.verdict == "right"]


def solutions(traces: Sequence[Trace], data: SolverData) -> list[Trace]:
    """The traces whose solution is taught; an unreadable one teaches nothing."""
    return [t for t in traces if t.verdict == "right" or (data != "right" and t.verdict != "unreadable")]


def _some(examples: list[Example], what: str, traces: Sequence[Trace]) -> list[Example]:
    if not examples:
        right = sum(t.verdict == "right" for t in traces)
        raise ConfigError(f"nothing to teach {what}: of {len(traces)} traces {right} are right")
    return examples
