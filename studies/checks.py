"""What a study refuses before anything is asked: tests that overlap, formats that nobody was taught, long prompts."""

from __future__ import annotations

from ..decompose.decomposition import Stage
from ..eval.config import Study
from ..eval.grid_spec import SolverSpec, check_format
from ..lm.local.weights import is_hub_name, model_directory
from ..lm.settings import LocalSettings
from .context import StudyContext
from .prompt_lengths import check_contexts
from .questions import StudyQuestions


def check_study(study: Study, questions: StudyQuestions) -> None:
    """Raise ConfigError for questions that the grid cannot ask: tests that are learned from, formats that nobody was
    taught, gold sub-questions that are not there."""
    questions.refuse_overlap()
    for solver in study.grid.solver_specs:
        check_format(solver, stages_taught(study, questions, solver), study.grid.decomposer_specs)
    questions.with_gold  # noqa: B018  # refused now, and not after the training


def check_models(study: Study) -> None:
    """Raise ConfigError for a model of this machine that is not there. One of the hub may still be downloaded."""
    for settings in (study.llm, study.student, *study.models.values()):
        if isinstance(settings, LocalSettings) and (settings.is_local or not is_hub_name(settings.path)):
            model_directory(settings.path)


def check_tests(context: StudyContext) -> None:
    """Raise ConfigError for tests that cannot be asked what the grid asks."""
    study, questions = context.study, context.questions
    check_study(study, questions)
    if not context.files.results.exists():  # what was asked once did fit, and needs no tokenizer now
        is_given = context.models.given_llm is not None
        check_contexts(study, questions.train, questions.tests, llm_is_given=is_given)


def stages_taught(study: Study, questions: StudyQuestions, solver: SolverSpec) -> frozenset[Stage] | None:
    """The prompts that a solver has learned to be asked with; of imported traces most decide. None is any."""
    taught, imported = study.stages_taught(solver), questions.imported_traces
    if taught != frozenset({"solve"}) or not imported:
        return taught
    followed = sum(bool(one.subquestions) for one in imported)
    return frozenset({"solve" if 2 * followed >= len(imported) else "single_stage"})
