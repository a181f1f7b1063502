"""A run directory: the one place that knows where each of its files lies, and which settings it follows from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import overload

from ..core import documents
from ..core.errors import ConfigError
from .config import Study, is_operational, parse


@dataclass(frozen=True)
class Artifact:
    """A file or folder of a run; of a `RunDirectory` it is a path."""

    name: str
    """Below the directory; `*` stands for the names of several students."""
    depends_on: tuple[str, ...] = ()
    """The groups of settings that decide what is in it (`group_of`). Once it is there they cannot change any more."""

    @overload
    def __get__(self, run: None, owner: object) -> Artifact: ...
    @overload
    def __get__(self, run: RunDirectory, owner: object) -> Path: ...
    def __get__(self, run: RunDirectory | None, owner: object) -> Artifact | Path:
        return self if run is None else run.path / self.name


class RunDirectory:
    """The files of a run. Nothing of it needs to be there yet."""

    config = Artifact("config.yaml")
    origins = Artifact("origins.json")
    """What the run began with: data files and models by their contents, servers by their addresses."""
    lock = Artifact(".lock")
    """Held by the process that is at work in the run."""
    log = Artifact("log.jsonl")
    store = Artifact("store.sqlite")
    """What was bought, unless the config names a store for several runs."""
    traces = Artifact("traces/traces.jsonl")
    traces_facts = Artifact("traces/traces.json", ("teacher",))
    """How many traces there are; written when they all are."""
    single_traces = Artifact("traces/single.jsonl")
    single_traces_facts = Artifact("traces/single.json", ("teacher",))
    """Of single-stage solutions."""
    shards = Artifact("shards")
    """What parts of the questions brought, each with a store, a log and a lock of its own."""
    checkpoints = Artifact("checkpoints")
    """Of trainings that are not finished."""
    tensorboard = Artifact("tensorboard")
    decomposer = Artifact("decomposer")
    solver = Artifact("solver")
    ranker = Artifact("ranker", ("teacher", "distill.ranker"))
    decomposers = Artifact("decomposer*", ("teacher", "distill.decomposer", "distill.decomposer.method"))
    solvers = Artifact("solver*", ("teacher", "distill.solver", "distill.solver.method"))
    single = Artifact("single")
    singles = Artifact("single*", ("teacher", "distill.single", "distill.single.method"))
    methods = Artifact("methods", ("distill.decomposer", "distill.solver", "methods.role"))
    """Methods that are compared have a recipe in common, and each a method of its own."""
    method_results = Artifact("methods/results.parquet")
    curve = Artifact(
        "curve",
        (
            "teacher",
            *(f"distill.{track}{of}" for track in ("decomposer", "solver", "single") for of in ("", ".method")),
        ),
    )
    """Students of learning curves."""
    curve_results = Artifact("curve/results.parquet")
    curve_table = Artifact("curve/table.md")
    results = Artifact("results.parquet", ("teacher", "tests", "models", "grid"))
    data = Artifact("data.json")
    """Which questions the results stand on."""
    devices = Artifact("devices.json")
    environments = Artifact("environments.json")
    provenance = Artifact("provenance.json")
    sample_counts = Artifact("requests.json")
    reconstruction = Artifact("reconstruction.parquet")
    prompts_tried = Artifact("prompts.md")
    evaluated = Artifact("evaluated.json")
    """The record of the results: what they were made from, and hashes of what was written."""
    reported = Artifact("report.json")
    """The record of the report."""
    report = Artifact("report")
    page = Artifact("report/index.html")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @cached_property
    def study(self) -> Study:
        """The study that the run was begun with. Raises ConfigError when there is none."""
        if not self.config.is_file():
            raise ConfigError(f"{self.path} is not a run directory: it has no {RunDirectory.config.name}")
        return _parsed(documents.text(self.config), str(self.config))

    def check(self) -> None:
        """Raise ConfigError when this is no run, or one of a study that is none."""
        self.study  # noqa: B018  # for what it raises

    def student_folders(self) -> list[Path]:
        """The folders of all students, in order of their names."""
        return sorted(card.parent for card in self.path.glob("*/divcon.json"))

    def made_from(self, setting: str, study: Study) -> list[str]:
        """What is there already and follows from a setting of a study (its dotted name)."""
        group = group_of(setting)
        learns_from_solver = group.startswith("distill.solver") and study.distill.ranker.student_samples
        also = {RunDirectory.ranker.name} if learns_from_solver else set()
        return [
            artifact.name
            for artifact in vars(RunDirectory).values()
            if isinstance(artifact, Artifact)
            and (group in artifact.depends_on or artifact.name in also)
            and any(self.path.glob(artifact.name))
        ]


@lru_cache(maxsize=16)
def _parsed(text: str, where: str) -> Study:
    """The study in a config's text: a report asks for it many times, and YAML is slow to read."""
    return parse(documents.from_yaml(text, where), where)


def group_of(setting: str) -> str:
    """The group of settings that a setting belongs to; empty where it decides nothing that a run has made.

    `teacher` is everything that the traces follow from, `grid` what is asked of models that are there.
    """
    first, _, rest = setting.partition(".")
    if is_operational(setting) or setting.endswith(".cluster"):  # families of questions decide no answer
        return ""
    if setting in _OF_THE_GRID:
        return "grid"
    if first == "grid":
        return "" if rest in ("stops", "reader") else "grid"
    if first == "methods":
        return setting if rest == "role" else ""
    if first == "curve":
        return ""
    if first == "distill":
        role, _, field = rest.partition(".")
        return f"distill.{role}.method" if field == "method" else f"distill.{role}"
    return first if first in ("tests", "models") else "teacher"


_OF_THE_GRID = frozenset(f"prompts.{name}" for name in ("direct", "next", "step", "finish"))
"""Prompts that neither the teacher nor a student is asked with before the grid is."""
