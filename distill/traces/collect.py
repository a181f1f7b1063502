"""Collecting: the teacher decomposes and solves the training questions, and every solution is labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from ...core.settings import Settings
from ...decompose.decomposition import FAILURE, Decomposition, Kind, Stage, none
from ...decompose.prompted import PromptedDecomposer
from ...lm.cost.flops import ModelSize, total
from ...lm.types import Sampling, Usage, shared_prompt
from ...solve.grading.grade import grade
from ...solve.prompted import PromptedSolver
from ...solve.solution import Solution
from ...tasks.question import Question
from .trace import Trace


class CollectSettings(Settings):
    """How much of the teacher is sampled."""

    decompositions: int = Field(default=1, gt=0)
    """Decompositions a question."""
    solutions: int = Field(default=2, gt=0)
    """Solutions a decomposition. Divide-or-Conquer accepts a decomposition when one of two solutions is right."""
    temperature: float = Field(default=0.7, ge=0)
    """Of both phases. At 0 every sample of a prompt is the same, so ask for one."""
    logprobs: bool = False
    """Ask how probable each solution is: a ranker can look at it."""


def collect(
    questions: Sequence[Question], decomposer: PromptedDecomposer, solver: PromptedSolver, settings: CollectSettings
) -> list[Trace]:
    """One trace for every question, decomposition and solution, in that order."""
    asker = replace(decomposer, sampling=_at(decomposer.sampling, settings.temperature))
    solves = _sampling(solver, settings)
    decompositions = asker.sample(questions, settings.decompositions)
    asked = [
        (q, attempt, made)
        for q, sampled in zip(questions, decompositions, strict=True)
        for attempt, made in enumerate(sampled)
        if made.kind != FAILURE
    ]
    solutions = solves([question for question, _, _ in asked], [made for _, _, made in asked])
    made_of = [(*of, solution) for of, sampled in zip(asked, solutions, strict=True) for solution in sampled]
    return _labelled(made_of)


def collect_single(questions: Sequence[Question], solver: PromptedSolver, settings: CollectSettings) -> list[Trace]:
    """Single-stage solutions, as many for each question as `collect` samples over all of its decompositions."""
    samples = settings.decompositions * settings.solutions
    solves = replace(_sampling(solver, settings), samples=samples)
    made = none(questions)
    solutions = solves(questions, made)
    return _labelled(
        [
            (question, 0, decomposition, solution)
            for question, decomposition, sampled in zip(questions, made, solutions, strict=True)
            for solution in sampled
        ]
    )


def solved_by(
    solver: PromptedSolver, traces: Sequence[Trace], settings: CollectSettings, stage: Stage | None = None
) -> list[Trace]:
    """The questions and decompositions of traces, solved by another model, by the prompt of `stage` if one is given."""
    solves = _sampling(solver, settings)
    first = {(trace.question, trace.attempt): trace for trace in traces}
    asked = [
        (
            question,
            attempt,
            Decomposition(
                trace.subquestions,
                _KINDS[stage] if stage else "asked" if trace.subquestions else "not needed",
                trace.decomposition,
                trace.decomposition_usage,
            ),
        )
        for (question, attempt), trace in first.items()
    ]
    solutions = solves([question for question, _, _ in asked], [made for _, _, made in asked])
    return _labelled([(*of, solution) for of, sampled in zip(asked, solutions, strict=True) for solution in sampled])


_KINDS: dict[Stage, Kind] = {"solve": "asked", "single_stage": "not tried", "direct": "direct"}
"""Kinds of decompositions that a solver answers by the prompt of a stage."""


def _labelled(made_of: Sequence[tuple[Question, int, Decomposition, Solution]]) -> list[Trace]:
    """Traces with their verdicts; of a request that failed permanently there is none."""
    made_of = [one for one in made_of if not one[3].failed]
    verdicts = grade((solution.answer, question) for question, _, _, solution in made_of)
    return [
        Trace(
            question=question,
            subquestions=made.subquestions,
            decomposition=made.text,
            solution=solution.text,
            answer=solution.answer,
            verdict=verdict,
            attempt=attempt,
            usage=solution.usage,
            decomposition_usage=made.usage,
            logprob=solution.logprob,
            reasoning=solution.reasoning,
            decomposition_reasoning=made.reasoning,
        )
        for (question, attempt, made, solution), verdict in zip(made_of, verdicts, strict=True)
    ]


def decomposing(traces: Sequence[Trace]) -> Usage:
    """What the decompositions of traces cost: each attempt's once."""
    return sum((of[0].decomposition_usage for of in _attempts(traces)), Usage())


def solving(traces: Sequence[Trace]) -> Usage:
    """What the solutions of traces cost: the prompt that those of an attempt share once."""
    return sum((shared_prompt([trace.usage for trace in of]) for of in _attempts(traces)), Usage())


def operations(traces: Sequence[Trace], decomposer: ModelSize | None, solver: ModelSize | None) -> float | None:
    """Floating-point operations of traces, by the sizes of who wrote them; None where a size is unknown.

    `ModelSize(0)` stands for one whose work is counted elsewhere.
    """
    return total(
        part
        for of in _attempts(traces)
        for part in (_of(decomposer, [of[0].decomposition_usage]), _of(solver, [trace.usage for trace in of]))
    )


def _attempts(traces: Sequence[Trace]) -> list[list[Trace]]:
    """The traces of each decomposition."""
    attempts: dict[tuple[str, int], list[Trace]] = {}
    for trace in traces:
        attempts.setdefault((trace.question.id, trace.attempt), []).append(trace)
    return list(attempts.values())


def _of(footprint: ModelSize | None, samples: list[Usage]) -> float | None:
    if not any(usage.prompt_tokens + usage.completion_tokens for usage in samples):
        return 0.0
    return footprint.flops(samples) if footprint else None


def _sampling(solver: PromptedSolver, settings: CollectSettings) -> PromptedSolver:
    sampling = _at(solver.sampling, settings.temperature)
    return replace(solver, sampling=sampling, samples=settings.solutions, logprobs=settings.logprobs)


def _at(sampling: Sampling, temperature: float) -> Sampling:
    return replace(sampling, temperature=temperature)
