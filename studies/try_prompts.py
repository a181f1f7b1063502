"""Prompts tried on validation questions, as many for a single stage as for two, before anything is taught.

The questions are of the training source, behind those that the study learns from, so that no test decides a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import nan

from ..core.errors import ConfigError
from ..core.files import replacing
from ..decompose.decomposition import Decomposition, none
from ..lm.types import Completion
from ..prompts import load
from ..solve.grading.grade import grade
from ..solve.prompted import PromptedSolver, read_solution
from ..tasks import sources
from ..tasks.contamination import overlaps
from ..tasks.question import Question
from . import prompting
from .context import StudyContext
from .prompt_trials import Trial, Trials, Way

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
    trials = [_single(context, name, examples, questions) for examples in shown for name in SINGLE_STAGE]
    trials += [_two(context, *names, examples, questions) for examples in shown for names in TWO_STAGES]
    found = Trials(tuple(trials), are_of_training)
    if test:
        best = found.best.values()
        tests = [(name, questions[:test]) for name, questions in context.questions.tests.items()]
        found = replace(
            found, tested=tuple((name, _again(context, one, asked)) for name, asked in tests for one in best)
        )
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


def _again(context: StudyContext, trial: Trial, questions: Sequence[Question]) -> Trial:
    """The same prompts on other questions."""
    if trial.way == "single stage":
        (name,) = trial.prompts
        return _single(context, name, trial.examples, questions)
    decompose, solve = trial.prompts
    return _two(context, decompose, solve, trial.examples, questions)


def _single(context: StudyContext, name: str, examples: str | None, questions: Sequence[Question]) -> Trial:
    solver = _solver(context, examples, single_stage=name)
    return _trial(context, "single stage", (name,), examples, questions, none(questions), [], solver)


def _two(
    context: StudyContext, decompose: str, solve: str, examples: str | None, questions: Sequence[Question]
) -> Trial:
    study = context.study.model_copy(
        update={"prompts": context.study.prompts.model_copy(update={"decompose": decompose, "examples": examples})}
    )
    decomposer = prompting.decomposer(study, context.models.llm)
    with context.stage(f"try: {decompose}, {examples or 'no examples'}", context.models.llm) as stage:
        replies = [made for (made,) in context.models.llm([decomposer.request(q) for q in questions], stage)]
    read = [decomposer.read(made) for made in replies]
    solver = _solver(context, examples, solve=solve)
    return _trial(context, "two stages", (decompose, solve), examples, questions, read, replies, solver)


def _solver(context: StudyContext, examples: str | None, **named: str) -> PromptedSolver:
    changed = context.study.prompts.model_copy(update={**named, "examples": examples})
    for name in named.values():
        load(name)  # raises for one that is not there
    return prompting.solver(context.study.model_copy(update={"prompts": changed}), context.models.llm)


def _trial(
    context: StudyContext,
    way: Way,
    prompts: tuple[str, ...],
    examples: str | None,
    questions: Sequence[Question],
    made: Sequence[Decomposition],
    asked: Sequence[Completion],
    solver: PromptedSolver,
) -> Trial:
    known = [(q, d) for q, d in zip(questions, made, strict=True) if d.kind != "failed"]
    requests = [solver.request(question, d.subquestions, d.stage) for question, d in known]
    with context.stage(f"try: {prompts[-1]}, {examples or 'no examples'}", context.models.llm) as stage:
        replies = [reply for (reply,) in context.models.llm(requests, stage)]
    answered = [(question, reply) for (question, _), reply in zip(known, replies, strict=True) if not reply.has_failed]
    verdicts = grade((read_solution(reply, question).answer, question) for question, reply in answered)
    is_right = {question.id: verdict == "right" for (question, _), verdict in zip(answered, verdicts, strict=True)}
    completions = [*asked, *replies]
    tokens = sum(one.usage.prompt_tokens + one.usage.completion_tokens for one in completions)
    return Trial(
        way,
        prompts,
        examples,
        is_right=tuple(is_right.get(question.id) for question in questions),
        clusters=tuple(question.cluster or question.id for question in questions),
        declined=sum(one.kind == "not needed" for one in made),
        unreadable=sum(one.kind == "unreadable" for one in made),
        cut=sum(completion.finish == "length" for completion in completions),
        tokens=tokens / len(answered) if answered else nan,
    )
