"""What a study refuses before anything is asked: tests that overlap, formats that nobody was taught, long prompts."""

from __future__ import annotations

from ..decompose.decomposition import Stage
from ..eval.grid_spec import SolverSpec, check_format
from .context import StudyContext
from .prompt_lengths import check_contexts


def check_tests(context: StudyContext) -> None:
    """Raise ConfigError for tests that cannot be asked what the grid asks."""
    study, questions = context.study, context.questions
    questions.refuse_overlap()
    for solver in study.grid.solver_specs:
        check_format(solver, stages_taught(context, solver), study.grid.decomposer_specs)
    questions.with_gold  # noqa: B018  # refused now, and not after the training
    if not context.files.results.exists():  # what was asked once did fit, and needs no tokenizer now
        is_given = context.models.given_llm is not None
        check_contexts(study, questions.train, questions.tests, llm_is_given=is_given)


def stages_taught(context: StudyContext, solver: SolverSpec) -> frozenset[Stage] | None:
    """The prompts that a solver has learned to be asked with; of imported traces most decide. None is any."""
    taught, imported = context.study.stages_taught(solver), context.questions.imported_traces
    if taught != frozenset({"solve"}) or not imported:
        return taught
    followed = sum(bool(one.subquestions) for one in imported)
    return frozenset({"solve" if 2 * followed >= len(imported) else "single_stage"})
