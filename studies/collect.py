"""A study's traces: the teacher is asked for them, or they are imported; what is there already is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..core.errors import ConfigError
from ..distill.traces import collect as teacher
from ..distill.traces import trace as traces
from ..distill.traces.source import TracesSource
from ..distill.traces.trace import Trace
from . import prompting, students
from .checks import check_tests
from .context import StudyContext


def collect(context: StudyContext) -> list[Trace]:
    """The teacher's traces on the training questions; those already there are read."""
    path, origin = context.files.traces, _origin(context)
    if traces.exist(path):
        return traces.read(path, origin)
    check_tests(context)
    return _kept(context, context.questions.imported_traces or ask_teacher(context), path, origin, "collected")


def collect_single(context: StudyContext) -> list[Trace]:
    """The teacher's single-stage solutions of the training questions; those already there are read."""
    path, origin = context.files.single_traces, f"{_origin(context)} single stage"
    if traces.exist(path):
        return traces.read(path, origin)
    check_tests(context)
    imported = [trace for trace in context.questions.imported_traces if not trace.subquestions]
    return _kept(context, imported or ask_teacher_single(context), path, origin, "collected single-stage")


def _kept(context: StudyContext, collected: Sequence[Trace], path: Path, origin: str, event: str) -> list[Trace]:
    traces.write(collected, path, origin)
    right = sum(trace.verdict == "right" for trace in collected)
    context.progress.event(event, traces=len(collected), right=right)
    return list(collected)


def ask_teacher(context: StudyContext) -> list[Trace]:
    """The teacher's traces of the training questions, which are kept nowhere but in the store."""
    study, llm = context.study, context.models.llm
    with context.stage("collect: teacher's traces", llm) as advance:
        decomposer = replace(prompting.decomposer(study, llm), advance=advance)
        solver = replace(prompting.solver(study, llm), advance=advance)
        collected = teacher.collect(context.questions.train, decomposer, solver, study.collect)
    context.keep_devices("llm")
    return collected


def ask_teacher_single(context: StudyContext) -> list[Trace]:
    """The teacher's single-stage solutions of the training questions. Raises ConfigError where there is no teacher."""
    study, llm = context.study, context.models.llm
    if isinstance(study.train, TracesSource):
        raise ConfigError("these traces hold no single-stage solution, and there is no teacher to ask for one")
    with context.stage("collect: teacher's single-stage solutions", llm) as advance:
        solver = replace(prompting.solver(study, llm), advance=advance)
        collected = teacher.collect_single(context.questions.train, solver, study.collect)
    context.keep_devices("llm")
    return collected


def _origin(context: StudyContext) -> str:
    """A hash of what the traces are collected from: the questions, the prompts and the teacher."""
    study = context.study
    if isinstance(study.train, TracesSource):
        return study.train.fingerprint()
    asked = [(q.id, q.prompt, q.answer) for q in context.questions.train]
    used = students.prompts(study, "decomposer") | students.prompts(study, "solver")
    parts = [asked, sorted(used.items()), list(context.models.llm.engine.identity(None))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
