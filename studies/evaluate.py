"""Evaluating a study: every cell of its grid on every test, and all that its report stands on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from .. import prompts as templates
from ..core.files import atomic_write
from ..distill import student
from ..distill.data.examples import decompositions, solutions
from ..distill.traces import trace
from ..eval import freshness
from ..eval.analysis import reconstruction
from ..eval.analysis.declined import warnings
from ..eval.config import flat, is_operational
from ..eval.grid import results, sample_counts
from ..eval.grid.evaluate import compose
from ..eval.grid.rows import Results
from ..eval.grid_spec import LLM, NoDecomposition, UseModel, decomposing_model, is_interactive
from ..tasks.contamination import fingerprint
from ..tasks.question import Question
from ..tasks.sources import BaseSource
from . import grid, inputs, provenance, students
from .checks import check_tests
from .context import StudyContext
from .distil import distil, distil_ranker


def evaluate(context: StudyContext) -> Results:
    """Every cell of the grid on every test, and `results.parquet`."""
    study, files = context.study, context.files
    reader = _reader(context)
    check_tests(context)
    _distil_variants(context)
    if study.grid.asks("rank"):
        distil_ranker(context)
    with context.store.recording_keys() as wanted:
        made = _composed(context)
    rows = results.with_overlaps(
        made, training_overlaps(context)
    )  # raises for damaged traces, before a file is replaced
    context.keep_devices("llm", "student", *study.models)
    sample_counts.write(len(wanted), rows, files.sample_counts)
    atomic_write(files.data, json.dumps(_data(context), indent=2) + "\n")
    provenance.write(_provenance(context), files.path)
    results.save(rows, files.results)
    for warning in warnings(rows.known):
        context.progress.say(f"warning: {warning}")
        context.progress.event("warning", text=warning)
    written = [files.results, files.data, files.devices, files.provenance, files.sample_counts]
    if reader:
        written.append(_reconstruct(context, reader, rows))
    freshness.write(files.evaluated, _inputs(context), written)
    return rows


def ask_grid(context: StudyContext) -> None:
    """Ask for all that the grid needs for the questions at hand, and write nothing but to the store."""
    rows = _composed(context)
    if reader := _reader(context):
        with _reading(context, reader) as watched:
            reconstruction.read_decompositions(rows.known, watched)
    context.keep_devices("llm", "student", *context.study.models)


def _composed(context: StudyContext) -> Results:
    asked = {test: questions for test, questions in context.questions.tests.items() if questions}
    return compose(asked, grid.decomposers(context), grid.solvers(context), partial(_judge, context))


def is_evaluated(context: StudyContext) -> bool:
    """Whether the results are those that `evaluate` would write again."""
    record = context.files.evaluated
    return record.is_file() and freshness.is_current(record, _inputs(context))


def _judge(context: StudyContext, test: str, question: Question, subquestions: Sequence[str]) -> bool | None:
    return context.questions.source(test).judge(question, subquestions)


def _reader(context: StudyContext) -> reconstruction.ReconstructionModel | None:
    """The model that rebuilds questions, where the config names one. Raises ConfigError when it is not there."""
    path, device = context.study.grid.reader, context.study.student.device
    return reconstruction.ReconstructionModel.at(path, context.store, device) if path else None


def _reconstruct(context: StudyContext, reader: reconstruction.ReconstructionModel, rows: Results) -> Path:
    """Let the reader say how probable every question is behind its sub-questions; where that is kept."""
    with _reading(context, reader) as watched:
        reconstruction.keep(rows.known, watched, context.files.reconstruction)
    return context.files.reconstruction


@contextmanager
def _reading(
    context: StudyContext, reader: reconstruction.ReconstructionModel
) -> Iterator[reconstruction.ReconstructionModel]:
    with context.progress.stage(f"read: {reader.path}", begin=partial(context.remember, "read")) as advance:
        yield replace(reader, advance=advance)


def _distil_variants(context: StudyContext) -> None:
    """The students of the grid that no track's recipe describes; those are stages of their own."""
    study, files = context.study, context.files
    for role in get_args(student.Role):
        for folder, spec in students.of_role(study, files, role).items():
            if folder not in (files.decomposer, files.solver):
                distil(context, spec.track, students.recipe(study, spec), folder, study.seed)


def _inputs(context: StudyContext) -> str:
    decisive = {key for key in flat(context.study) if not is_operational(key)}
    return inputs.of_results(context, context.models.given_llm, decisive)


# -- what the results stand on ----------------------------------------------------------------------------------------


def training_overlaps(context: StudyContext) -> results.Overlaps:
    """What each test question shares with the questions that each student has learned from."""
    by_role = {role: context.questions.shared_with(questions) for role, questions in _taught(context).items()}
    return {key: {role: found[key] for role, found in by_role.items()} for key in by_role["solver"]}


def _taught(context: StudyContext) -> dict[student.Role, list[Question]]:
    """The questions that each student has learned from; all training questions as long as there are no traces."""
    path = context.files.traces
    if not trace.exist(path):
        return {"decomposer": context.questions.train, "solver": context.questions.train}
    collected, recipes = trace.read(path), context.study.distill
    asked, solved = collected, collected
    if recipes.decomposer.method == "kd":
        asked = decompositions(collected, context.study.decompose.max_subquestions, recipes.decomposer.data)
    if recipes.solver.method == "kd":
        solved = solutions(collected, recipes.solver.data)
    if trace.exist(context.files.single_traces):
        solved = [*solved, *trace.read(context.files.single_traces)]
    return {"decomposer": [t.question for t in asked], "solver": [t.question for t in solved]}


def _data(context: StudyContext) -> dict[str, dict[str, Any]]:
    """Which questions the results stand on: where they came from, how many, and a hash of their contents."""
    study, questions = context.study, context.questions
    asked: dict[str, tuple[BaseSource, list[Question]]] = {"train": (study.train, questions.train)}
    asked |= {f"test: {name}": (questions.source(name), of) for name, of in questions.tests.items()}
    return {
        name: {
            **source.model_dump(mode="json", exclude_none=True),
            **source.origin(),
            "questions": len(of),
            "sha256": fingerprint(of),
        }
        for name, (source, of) in asked.items()
    }


def _provenance(context: StudyContext) -> dict[str, Any]:
    """What the results were made with."""
    study, models = context.study, context.models
    asked = {*map(decomposing_model, study.grid.decomposer_specs), *study.grid.solver_specs} - {None}
    own = [UseModel(name) for name in study.models]
    used = {"llm": models.llm} if LLM in asked else {}
    used |= {spec.name: models.own[spec.name] for spec in own if spec in asked}
    if asked - {LLM, *own}:
        used["student"] = replace(models.base, price=models.student_price)
    return provenance.record(
        {name: templates.load(name).sha256 for name in _prompts(context)},
        {name: model.engine.identity(None)._asdict() for name, model in used.items()},
        {name: model.price for name, model in used.items()},
    )


def _prompts(context: StudyContext) -> list[str]:
    """The templates that the grid is asked with."""
    of, decomposers = context.study.prompts, context.study.grid.decomposer_specs
    used = [of.decompose, of.solve, of.single_stage] + [of.direct] * (NoDecomposition("direct") in decomposers)
    return used + [of.next, of.step, of.finish] * any(map(is_interactive, decomposers))
