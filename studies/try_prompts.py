"""Prompts tried on validation questions, as many for a single stage as for two, before anything is taught.

The questions are of the training source, behind those that the study learns from, so that no test decides a prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import NamedTuple

from ..core.errors import ConfigError
from ..core.files import replacing
from ..decompose.decomposition import Decomposition, none
from ..decompose.prompted import PromptedDecomposer
from ..eval.config import Study
from ..lm.types import Completion
from ..solve.grading.grade import grade
from ..solve.prompted import PromptedSolver, read_solution
from ..tasks import sources
from ..tasks.contamination import overlaps
from ..tasks.question import Question
from . import prompting
from .context import StudyContext
from .prompt_trials import Choice, Trial, Trials

SINGLE_STAGE = ("cot", "cot-full", "cot-boxed", "cot-full-boxed")
TWO_STAGES = (
    *(("decompose", "solve"), ("decompose-always", "solve")),
    *(("decompose", "solve-full"), ("decompose-always", "solve-full")),
)


def try_prompts(context: StudyContext, n: int, test: int = 0) -> Trials:
    """Every trial with the study's LLM on `n` questions, and the best of each way on the first `test` questions of each
    test; also in `prompts.md` of the run."""
    questions, are_of_training = _validation(context, n)
    shown = [None, *([example] if (example := _examples(context)) else [])]
    choices = [Choice("single stage", (name,), examples) for examples in shown for name in SINGLE_STAGE]
    choices += [Choice("two stages", names, examples) for examples in shown for names in TWO_STAGES]
    found = Trials(tuple(_tried(context, choices, questions)), are_of_training)
    if test:
        best = [trial.choice for trial in found.best.values()]
        on_tests = [
            (name, trial)
            for name, asked in context.questions.tests.items()
            for trial in _tried(context, best, asked[:test])
        ]
        found = replace(found, tested=tuple(on_tests))
    with replacing(context.files.prompts_tried) as (part,):
        part.write_text(f"{found}\n", encoding="utf-8")
    return found


def _validation(context: StudyContext, n: int) -> tuple[list[Question], bool]:
    """Questions of the training source behind those that are learned from, and False; where it has too few others,
    those that are learned from, and True. None of them is a test question, or a spelling of one."""
    source = context.study.train
    if source.source == "traces":
        raise ConfigError("prompts are tried on questions of the training source, and there are traces alone")
    tests = [question for questions in context.questions.tests.values() for question in questions]
    learned = source.max_questions
    wanted = None if learned is None else learned + 2 * n + len(tests)
    loaded = sources.load(source.model_copy(update={"max_questions": wanted}))
    train = loaded[:learned]
    others = _excluding(loaded[len(train) :], [*train, *tests])
    if len(others) >= n:
        return others[:n], False
    train = _excluding(train, tests)
    if len(train) < n:
        raise ConfigError(
            f"the training source has {max(len(train), len(others))} questions to try prompts on, and --n asks for {n}"
        )
    return train[:n], True


def _excluding(questions: Sequence[Question], seen: Sequence[Question]) -> list[Question]:
    """Questions that are none of those seen, nor another spelling of one."""
    found = zip(questions, overlaps(seen, questions), strict=True)
    return [question for question, overlap in found if overlap not in ("exact", "normalised")]


def _examples(context: StudyContext) -> str | None:
    """The worked examples of the study, or those that are shipped for its data set."""
    named = context.study.prompts.examples or context.study.train.source
    from .. import prompts

    return named if prompts.examples(named).is_file() else None


def _tried(context: StudyContext, choices: Sequence[Choice], questions: Sequence[Question]) -> list[Trial]:
    """Each choice on the questions. All of them are asked together: first for sub-questions, then for solutions."""
    made = _decomposed(context, choices, questions)
    solvers = [_solver(context, choice) for choice in choices]
    known = [
        [(q, d) for q, d in zip(questions, decomposed.decompositions, strict=True) if d.kind != "failed"]
        for decomposed in made
    ]
    requests = [
        [solver.request(question, d.subquestions, d.stage) for question, d in of]
        for solver, of in zip(solvers, known, strict=True)
    ]
    with context.stage(f"try: {len(choices)} prompts, solve", context.models.llm) as stage:
        replies = iter(context.models.llm([request for of in requests for request in of], stage))
    return [
        _trial(choice, questions, decomposed, [(question, next(replies)[0]) for question, _ in of])
        for choice, decomposed, of in zip(choices, made, known, strict=True)
    ]


class _Decomposed(NamedTuple):
    """What one choice made of each question before it was solved."""

    decompositions: Sequence[Decomposition]
    completions: Sequence[Completion]
    """What the decompositions were read from; none of a single stage."""


def _decomposed(context: StudyContext, choices: Sequence[Choice], questions: Sequence[Question]) -> list[_Decomposed]:
    """Choices that share a prompt for sub-questions share what is made with it."""
    decomposers = {choice.decompose: _decomposer(context, choice) for choice in choices if choice.way == "two stages"}
    requests = [decomposer.request(question) for decomposer in decomposers.values() for question in questions]
    with context.stage(f"try: {len(decomposers)} prompts, decompose", context.models.llm) as stage:
        replies = iter(context.models.llm(requests, stage) if requests else [])
    completions = {key: [next(replies)[0] for _ in questions] for key in decomposers}
    read = {key: [decomposer.read(made) for made in completions[key]] for key, decomposer in decomposers.items()}
    alone = _Decomposed(none(questions), ())
    return [
        _Decomposed(read[choice.decompose], completions[choice.decompose]) if choice.way == "two stages" else alone
        for choice in choices
    ]


def _decomposer(context: StudyContext, choice: Choice) -> PromptedDecomposer:
    changed = {"decompose": choice.prompts[0], "examples": choice.examples}
    return prompting.decomposer(_with_prompts(context, changed), context.models.llm)


def _solver(context: StudyContext, choice: Choice) -> PromptedSolver:
    name = "single_stage" if choice.way == "single stage" else "solve"
    changed = {name: choice.prompts[-1], "examples": choice.examples}
    return prompting.solver(_with_prompts(context, changed), context.models.llm)


def _with_prompts(context: StudyContext, changed: Mapping[str, str | None]) -> Study:
    return context.study.model_copy(update={"prompts": context.study.prompts.model_copy(update=changed)})


def _trial(
    choice: Choice,
    questions: Sequence[Question],
    decomposed: _Decomposed,
    replies: Sequence[tuple[Question, Completion]],
) -> Trial:
    answered = [(question, reply) for question, reply in replies if not reply.has_failed]
    verdicts = grade((read_solution(reply, question).answer, question) for question, reply in answered)
    is_right = {question.id: verdict == "right" for (question, _), verdict in zip(answered, verdicts, strict=True)}
    completions = [*decomposed.completions, *(reply for _, reply in replies)]
    tokens = sum(one.usage.prompt_tokens + one.usage.completion_tokens for one in completions)
    return Trial(
        choice,
        is_right=tuple(is_right.get(question.id) for question in questions),
        clusters=tuple(question.cluster or question.id for question in questions),
        declined=sum(one.kind == "not needed" for one in decomposed.decompositions),
        unreadable=sum(one.kind == "unreadable" for one in decomposed.decompositions),
        cut=sum(completion.finish == "length" for completion in completions),
        tokens=tokens / len(answered) if answered else nan,
    )
