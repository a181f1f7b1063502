"""From traces to training examples: what the student is asked, and the reply it should learn.

A student is asked exactly what it will be asked later: the requests come from the decomposer and the solver that the
study evaluates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from ..decompose import PromptedDecomposer
from ..decompose.decomposition import listing, parse
from ..lm import Message
from ..solve import PromptedSolver
from ..solve.extract import splice
from ..tasks.errors import ConfigError
from .traces import Trace


class Example(NamedTuple):
    """A conversation up to the reply, and the reply."""

    messages: tuple[Message, ...]
    reply: str


def for_decomposer(
    traces: Sequence[Trace], decomposer: PromptedDecomposer, data: Literal["all", "reached"]
) -> list[Example]:
    """Each distinct decomposition of a question once; unreadable ones teach nothing and are left out.

    Raises ConfigError when nothing is left.
    """
    said = [t for t in traces if t.subquestions or parse(t.decomposition, decomposer.limit)[1] == "not needed"]
    ordered = dict.fromkeys((t.question, t.subquestions) for t in said if data == "all" or t.verdict == "right")
    examples = [Example(decomposer.request(question).messages, listing(asked)) for question, asked in ordered]
    return _some(examples, f"a decomposer with data {data!r}", traces)


def for_solver(
    traces: Sequence[Trace],
    solver: PromptedSolver,
    data: Literal["all", "right", "gold-spliced"],
    target: Literal["sub-answers", "direct"],
) -> list[Example]:
    """Each distinct solution once; unreadable ones are left out.

    With target `direct` the reply is the final answer's sentence alone. Raises ConfigError when nothing is left.
    """
    answers: dict[str, Callable[[Trace], str]] = {
        "all": lambda t: t.answer or "",
        "right": lambda t: t.answer or "",
        "gold-spliced": lambda t: t.question.answer,
    }
    examples = []
    for trace in traces:
        if trace.verdict == "unreadable" or (data == "right" and trace.verdict != "right"):
            continue
        answer = answers[data](trace)
        reply = splice(trace.solution, answer) if target == "sub-answers" else f"The answer is {answer}."
        examples.append(Example(solver.request(trace.question, trace.subquestions).messages, reply))
    return _some(list(dict.fromkeys(examples)), f"a solver with data {data!r}", traces)


def _some(examples: list[Example], what: str, traces: Sequence[Trace]) -> list[Example]:
    if not examples:
        right = sum(t.verdict == "right" for t in traces)
        raise ConfigError(f"nothing to teach {what}: of {len(traces)} traces {right} are right")
    return examples
