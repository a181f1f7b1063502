"""From traces to training examples: what the student is asked, and the reply it should learn.

A student is asked exactly what it will be asked later: the requests come from the decomposer and the solver that the
study evaluates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from ...core.errors import ConfigError
from ...decompose.decomposition import Stage, listing, parse
from ...decompose.prompted import PromptedDecomposer
from ...lm.reasoning import render
from ...lm.types import Message
from ...solve.grading.extract import splice
from ...solve.grading.grade import grader_of
from ...solve.prompted import PromptedSolver
from ...tasks.question import Question
from ..recipes import DecomposerData, SolverData
from ..traces.trace import Trace

Reasoning = Literal["drop", "keep"]


class Example(NamedTuple):
    """A conversation up to the reply, and the reply."""

    messages: tuple[Message, ...]
    reply: str
    """With reasoning before it, in the marks of `lm.reasoning`, where that is taught."""
    right: bool = True
    """False for a reply that an objective is to keep the student from."""


def for_decomposer(
    traces: Sequence[Trace], decomposer: PromptedDecomposer, data: DecomposerData, reasoning: Reasoning = "drop"
) -> list[Example]:
    """Each distinct decomposition of a question once. Raises ConfigError when nothing is left."""
    examples = [
        Example(decomposer.request(trace.question).messages, taught_decomposition(trace, reasoning))
        for trace in distinct_decompositions(decompositions(traces, decomposer.limit, data))
    ]
    return _some(examples, f"a decomposer with data {data!r}", traces)


def for_solver(
    traces: Sequence[Trace],
    solver: PromptedSolver,
    data: SolverData,
    target: Literal["sub-answers", "direct"],
    stage: Stage | None = None,
    reasoning: Reasoning = "drop",
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
            worked = splice(worked, answer, grader_of(trace.question).pattern)
        reply = worked if target == "sub-answers" else f"The answer is {answer}."
        reply = with_reasoning(trace.reasoning, reply, reasoning)
        examples.append(Example(solver.request(trace.question, trace.subquestions, stage).messages, reply))
    return _some(list(dict.fromkeys(examples)), f"a solver with data {data!r}", traces)


def distinct_decompositions(traces: Iterable[Trace]) -> list[Trace]:
    """The first trace of each decomposition of a question."""
    first: dict[tuple[Question, tuple[str, ...]], Trace] = {}
    for trace in traces:
        first.setdefault((trace.question, trace.subquestions), trace)
    return list(first.values())


def taught_decomposition(trace: Trace, reasoning: Reasoning) -> str:
    """What a decomposer learns to write."""
    return with_reasoning(trace.decomposition_reasoning, listing(trace.subquestions), reasoning)


def with_reasoning(thought: str | None, reply: str, reasoning: Reasoning) -> str:
    """A reply as it is taught: behind what the teacher thought before it, or alone."""
    return render(thought, reply) if reasoning == "keep" else reply


def decompositions(traces: Sequence[Trace], limit: int, data: DecomposerData) -> list[Trace]:
    """The traces whose decomposition is taught; an unreadable one teaches nothing."""
    said = [t for t in traces if t.subquestions or parse(t.decomposition, limit)[1] == "not needed"]
    return [trace for trace in said if data == "all" or trace.verdict == "right"]


def solutions(traces: Sequence[Trace], data: SolverData) -> list[Trace]:
    """The traces whose solution is taught; an unreadable one teaches nothing."""
    return [t for t in traces if t.verdict == "right" or (data != "right" and t.verdict != "unreadable")]


def _some(examples: list[Example], what: str, traces: Sequence[Trace]) -> list[Example]:
    if not examples:
        raise ConfigError(f"nothing to teach {what}: {_missing(what, traces)}")
    return examples


def _missing(what: str, traces: Sequence[Trace]) -> str:
    """The part that the traces lack."""
    if "decomposer" in what and not any(trace.subquestions for trace in traces):
        return "there are no sub-questions in these traces"
    if not any(trace.solution for trace in traces):
        remedy = "; take data: all" if "decomposer" in what else ""
        return f"there are no solutions in these traces, which say what is right{remedy}"
    return f"of {len(traces)} traces {sum(trace.verdict == 'right' for trace in traces)} are right"
