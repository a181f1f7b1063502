"""A study at work: its settings, files, store, questions and models. What is done with them are functions.

A run directory is all there is:

    config.yaml  store.sqlite  traces/traces.jsonl  decomposer/  solver/  data.json  devices.json  provenance.json
    requests.json  environments.json  results.parquet  reconstruction.parquet  SHA256SUMS  evaluated.json  report/
    report.json  log.jsonl
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..eval import devices, environments
from ..eval.config import Study
from ..eval.grid_spec import UseModel
from ..eval.run_dir import RunDirectory
from ..lm.local.environment import current
from ..lm.local.model_dir import LocalEngine
from ..lm.model import Model
from ..lm.store.store import Store
from .models import Models
from .progress import Progress
from .progress import Stage as ProgressStage
from .questions import StudyQuestions


@dataclass(frozen=True)
class StudyContext:
    """What every stage of a study works with. `opening.open_study` makes one, and holds its directory's lock."""

    study: Study
    files: RunDirectory
    store: Store
    progress: Progress
    questions: StudyQuestions
    models: Models
    shard: RunDirectory | None = None
    """The directory of the shard whose questions are asked; None where all of them are."""

    @property
    def directory(self) -> Path:
        return self.files.path

    @property
    def environment_directory(self) -> Path:
        """Where devices and environments are kept: of a shard apart, since several work at once in one run."""
        return (self.shard or self.files).path

    def stage(self, title: str, model: Model) -> AbstractContextManager[ProgressStage]:
        """A part of the run in which a model is asked. What a model on this machine works under is kept."""
        begin = partial(self.remember, title) if isinstance(model.engine, LocalEngine) else _nothing
        return self.progress.stage(title, model.status, begin)

    def remember(self, stage: str) -> None:
        """Keep what a stage that is about to generate or train works under; say so when it is not what it was."""
        now = current()
        if differs := environments.remember(self.environment_directory, stage, now):
            self.progress.event("environment changed", stage=stage, differs=differs)
            self.progress.say(
                f"{stage}: goes on under another environment than this run began with ({'; '.join(differs)}); "
                "samples and students from here on are not those it would have got there"
            )

    def keep_devices(self, *models: str) -> None:
        """Keep what these models ran on: their seconds are that device's."""
        given = {"llm"} if self.models.given_llm else set()
        ran = {name: None if name in given else self.study.model(UseModel(name)) for name in models}
        devices.remember(self.environment_directory, ran)


def _nothing() -> None:
    """Of a model that works elsewhere, nobody here knows what it works under."""
