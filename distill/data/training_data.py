"""From traces to what methods are taught with, for either track: replies with their labels, as students are asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...decompose.decomposition import Stage, listing, parse
from ...decompose.prompted import PromptedDecomposer
from ...solve.prompted import PromptedSolver
from ..recipes import DecomposerRecipe, SolverRecipe
from ..traces.trace import Trace
from .examples import (
    Example,
    distinct_decompositions,
    for_decomposer,
    for_solver,
    taught_decomposition,
    with_reasoning,
)
from .groups import LabelledReply, TrainingData


def solving(
    traces: Sequence[Trace], solver: PromptedSolver, recipe: SolverRecipe, stage: Stage | None = None
) -> TrainingData:
    """A solution is right when its answer is. A verdict that timed out is no label.

    `stage` is the prompt that the student is asked with; None chooses it for each trace by its sub-questions.
    Prompts of a single stage show no gold sub-questions either.
    """
    replies = [
        LabelledReply(
            trace.question.id,
            Example(solver.request(trace.question, trace.subquestions, stage).messages, _solution(trace, recipe)),
            right=trace.verdict == "right",
            readable=trace.answer is not None,
        )
        for trace in traces
        if trace.verdict != "timed out" and (trace.answer is not None or recipe.target == "sub-answers")
    ]
    own = [
        LabelledReply(
            question.id,
            Example(solver.request(question, question.subquestions, stage).messages, question.solution),
            True,
        )
        for question in dict.fromkeys(trace.question for trace in traces)
        if question.solution
    ]
    selected = (
        for_solver(traces, solver, recipe.data, recipe.target, stage, recipe.reasoning) if recipe.method == "kd" else []
    )
    return TrainingData(_distinct(replies), tuple(selected), _distinct(own), tags=recipe.tags)


def decomposing(traces: Sequence[Trace], decomposer: PromptedDecomposer, recipe: DecomposerRecipe) -> TrainingData:
    """A decomposition is right when one of the solutions that followed it reached the gold answer."""
    reached = {(t.question, t.subquestions) for t in traces if t.verdict == "right"}
    read = [t for t in traces if t.subquestions or parse(t.decomposition, decomposer.limit)[1] == "not needed"]
    replies = [
        LabelledReply(
            trace.question.id,
            Example(decomposer.request(trace.question).messages, taught_decomposition(trace, recipe.reasoning)),
            right=(trace.question, trace.subquestions) in reached,
        )
        for trace in distinct_decompositions(read)
    ]
    own = [
        LabelledReply(question.id, Example(decomposer.request(question).messages, listing(question.subquestions)), True)
        for question in dict.fromkeys(trace.question for trace in traces)
        if question.subquestions
    ]
    selected = for_decomposer(traces, decomposer, recipe.data, recipe.reasoning) if recipe.method == "kd" else []
    return TrainingData(_distinct(replies), tuple(selected), _distinct(own), tags=recipe.tags)


def _solution(trace: Trace, recipe: SolverRecipe) -> str:
    reply = trace.solution if recipe.target == "sub-answers" else f"The answer is {trace.answer}."
    return with_reasoning(trace.reasoning, reply, recipe.reasoning)


def _distinct(replies: Iterable[LabelledReply]) -> tuple[LabelledReply, ...]:
    return tuple(dict.fromkeys(replies))
