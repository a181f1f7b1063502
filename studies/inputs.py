"""What the stages of a run are made from, as hashes of contents: no date of a file decides anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import prompts as templates
from ..core.errors import ConfigError
from ..eval.config import Study, flat
from ..eval.freshness import digest, hashed, software
from ..eval.run_dir import RunDirectory
from ..lm.engine import Engine
from ..lm.local.weights import model_directory, weights_hash
from ..lm.settings import LocalSettings
from ..tasks.question import Question
from . import prompting
from .context import StudyContext


def of_results(context: StudyContext, engine: Engine | None, decisive: set[str]) -> str:
    """Of a run's results, but for the samples: the same study asks for the same ones.

    `engine` stands for the config's LLM where one was given, `decisive` names the settings that decide results.
    """
    study = context.study
    settings = {key: value for key, value in flat(study).items() if key in decisive}
    asked = {"train": context.questions.train}
    asked |= {f"test: {name}": of for name, of in context.questions.tests.items()}
    own = list(engine.identity(None)) if engine else None
    return digest(
        software(),
        settings,
        own,
        {path: _weights(path) for path in _local(study, engine is not None)},
        {name: templates.load(name).sha256 for name in study.prompts.model_dump(exclude={"examples"}).values()},
        _contents(prompting.examples(study)),
        {name: _contents(questions) for name, questions in asked.items()},
        [hashed(file) for file in sorted((context.directory / "traces").glob("*.json*"))],
        _students(context.directory),
    )


def _local(study: Study, is_given: bool) -> list[str]:
    """Where the models of a study lie on this machine."""
    models = [study.student, *study.models.values(), *([] if is_given else [study.llm])]
    paths = [model.path for model in models if isinstance(model, LocalSettings)]
    return list(dict.fromkeys([*paths, *([study.grid.reader] if study.grid.reader else [])]))


def _weights(path: str) -> str | None:
    """None of a model that is not there: who needs it says so."""
    try:
        return weights_hash(model_directory(path))
    except ConfigError:
        return None


def _contents(questions: Sequence[Question]) -> list[str]:
    return [repr(question) for question in questions]


def _students(run: Path) -> dict[str, list[str | None]]:
    """Every student's card and weights, by its folder."""
    found = RunDirectory(run).student_folders()
    return {of.name: [weights_hash(of), *(hashed(file) for file in sorted(of.glob("*.json")))] for of in found}
