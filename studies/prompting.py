"""A study's two prompts in front of a model: what its cells, its teacher and its students are asked with."""

from __future__ import annotations

from .. import prompts
from ..core.errors import ConfigError
from ..decompose.controls import direct, empty
from ..decompose.decomposition import Decomposer, none
from ..decompose.prompted import PromptedDecomposer
from ..eval.config import Study
from ..eval.grid_spec import DecomposerSpec, EmptyDecomposition, stage
from ..lm.model import Model
from ..lm.types import Sampling
from ..solve.askers import NextQuestion
from ..solve.lockstep import InteractiveSolver
from ..solve.prompted import PromptedSolver
from ..tasks import own
from ..tasks.question import Question


def decomposer(study: Study, model: Model) -> PromptedDecomposer:
    """The study's decomposing prompt in front of a model, greedy."""
    return PromptedDecomposer(
        model=model,
        prompt=prompts.load(study.prompts.decompose),
        limit=study.decompose.max_subquestions,
        sampling=Sampling(max_tokens=study.decompose.max_tokens),
        examples=examples(study),
    )


def null_decomposer(spec: DecomposerSpec) -> Decomposer:
    """A decomposer that asks no model and needs no gold: no sub-questions, in one of three formats."""
    if isinstance(spec, EmptyDecomposition):
        return empty
    return direct if stage(spec) == "direct" else none


def solver(study: Study, model: Model) -> PromptedSolver:
    """The study's solving prompts in front of a model, greedy."""
    of = study.prompts
    return PromptedSolver(
        model=model,
        prompts=prompts.family(of.solve, of.single_stage, of.direct, of.step, of.finish),
        sampling=Sampling(max_tokens=study.solve.max_tokens),
        examples=examples(study),
    )


def asker(study: Study, model: Model) -> NextQuestion:
    """The same decomposer, asked for one sub-question at a time."""
    return NextQuestion(decomposer(study, model), prompts.load(study.prompts.next))


def interactive(study: Study, solver: PromptedSolver) -> InteractiveSolver:
    """A solver that is asked one sub-question at a time; it is shown no examples then."""
    return InteractiveSolver(solver, study.decompose.max_subquestions)


def examples(study: Study) -> tuple[Question, ...]:
    """The worked examples that are shown first. Raises ConfigError for one that cannot be shown."""
    if study.prompts.examples is None:
        return ()
    path = prompts.examples(study.prompts.examples)
    if not path.is_file():
        raise ConfigError(f"no examples {study.prompts.examples!r} (prompts.examples); give gsm8k or a JSON Lines file")
    shown = tuple(own.read(path))
    for example in shown:
        if not (example.subquestions and example.solution):
            raise ConfigError(f"the example {example.id} in {path} needs subquestions and a solution")
    return shown
