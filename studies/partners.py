"""A student beside the LLM, or alone: asked on the tests greedily, in the format that it was taught."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..core.errors import ConfigError
from ..decompose.decomposition import Stage
from ..eval.grid.evaluate import GridDecomposer, GridSolver, compose
from ..eval.grid.rows import Results
from ..eval.grid_spec import GREEDY, LLM, NoDecomposition, Track, UseModel, UseStudent, decomposer_of
from . import prompting
from .checks import stages_taught
from .context import StudyContext

Partner = Literal["llm", "none"]


def ask_student(context: StudyContext, name: str, directory: Path, track: Track, partner: Partner = "llm") -> Results:
    """What a student of a track does on the tests. The LLM takes the other half; nobody does in a single stage."""
    study = context.study
    alone = track == "single" or (track == "solver" and partner == "none")
    taught = _stages(context, track)
    if track != "decomposer" and ("solve" in taught) == alone:
        how = "in a single stage" if alone else "behind the LLM's sub-questions"
        raise ConfigError(f"{name} cannot be asked {how}: it was taught otherwise (set methods.partner)")
    # An engine of its own: the adapters of sixty students need not lie in memory together.
    model = replace(context.models.distilled(directory), engine=study.student.open(adapters=1))
    student, llm = (UseModel(name), model), (LLM, context.models.llm)
    decomposes, solves = (student, llm) if track == "decomposer" else (llm, student)
    with context.stage(f"ask: {name}", model) as stage:
        if alone:
            decomposer = prompting.null_decomposer(decomposer_of(min(taught)))
            decomposing = GridDecomposer(NoDecomposition(), None, None, decomposer)
        else:
            spec, asking = decomposes
            watched = replace(prompting.decomposer(study, asking), advance=stage)
            decomposing = GridDecomposer(spec, asking.merged_footprint, asking.price, watched, as_run=asking.footprint)
        spec, asking = solves
        solver = replace(prompting.solver(study, asking), advance=stage)
        solving = GridSolver(spec, asking.merged_footprint, asking.price, (GREEDY,), solver, as_run=asking.footprint)
        return compose(context.questions.tests, [decomposing], [solving])


def _stages(context: StudyContext, track: Track) -> frozenset[Stage]:
    """The prompts that a track's solver was taught with."""
    return (
        stages_taught(context.study, context.questions, UseStudent("single" if track == "single" else "solver"))
        or frozenset()
    )
